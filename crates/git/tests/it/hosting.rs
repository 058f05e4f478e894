use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use towpath_git::{Mode, Pusher, Service};

use crate::Fixture;

const FLUSH: &str = "0000";

async fn exchange(fixture: &Fixture, service: Service, mode: Mode, body: &[u8], pusher: Option<&Pusher>) -> Vec<u8> {
    let mut child = fixture.bare.serve(service, mode, None, pusher).unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(body).await.unwrap();
    }
    let mut answer = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut answer).await.unwrap();
    assert!(child.wait().await.unwrap().success());
    answer
}

#[tokio::test]
async fn the_refs_of_a_repository_are_advertised() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a")]);
    let head = fixture.bare.resolve("main").unwrap();
    let answer = exchange(&fixture, Service::UploadPack, Mode::Advertise, b"", None).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.contains(&format!("{head} refs/heads/main")) && text.ends_with(FLUSH), "{text}");
}

/// A push that only makes a branch at a commit the repository has: no pack, so the request is one
/// pkt-line. What a client sends is tested with the real one in the server.
#[tokio::test]
async fn a_push_is_recorded_with_the_name_of_its_pusher() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a")]);
    let head = fixture.bare.resolve("main").unwrap();
    let command = format!("{} {head} refs/heads/next\0 report-status", "0".repeat(40));
    let mut body = format!("{:04x}{command}{FLUSH}", command.len() + 4).into_bytes();
    body.extend(empty_pack());
    let pusher = Pusher { name: "grace".into(), email: "grace@towpath".into() };
    let answer = exchange(&fixture, Service::ReceivePack, Mode::Exchange, &body, Some(&pusher)).await;
    assert!(String::from_utf8_lossy(&answer).contains("ok refs/heads/next"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(fixture.bare.pusher_of("next", &head).unwrap().as_deref(), Some("grace"));
    assert_eq!(fixture.bare.pusher_of("nowhere", &head).unwrap(), None);
    let branches: Vec<_> = fixture.bare.heads().unwrap().into_iter().map(|h| h.branch).collect();
    assert_eq!(branches, ["main", "next"]);
}

#[tokio::test]
async fn refs_of_the_server_cannot_be_pushed() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a")]);
    let head = fixture.bare.resolve("main").unwrap();
    let command = format!("{} {head} refs/towpath/runs/7\0 report-status", "0".repeat(40));
    let mut body = format!("{:04x}{command}{FLUSH}", command.len() + 4).into_bytes();
    body.extend(empty_pack());
    let answer = exchange(&fixture, Service::ReceivePack, Mode::Exchange, &body, None).await;
    assert!(String::from_utf8_lossy(&answer).contains("ng refs/towpath/runs/7 deny updating a hidden ref"));
    assert!(fixture.bare.resolve("refs/towpath/runs/7").is_err());
}

/// Version 2, no objects, and the SHA-1 of those 12 bytes.
fn empty_pack() -> Vec<u8> {
    let sum = [
        0x02, 0x9d, 0x08, 0x82, 0x3b, 0xd8, 0xa8, 0xea, 0xb5, 0x10, 0xad, 0x6a, 0xc7, 0x5c, 0x82, 0x3c, 0xfd, 0x3e,
        0xd3, 0x1e,
    ];
    [b"PACK\0\0\0\x02\0\0\0\0".as_slice(), &sum].concat()
}
