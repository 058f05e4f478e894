//! How a server starts and ends.

use super::installation::{Installation, eventually, is_alive, said};
use crate::program::text;

#[tokio::test]
async fn sigterm_ends_the_server_in_order_with_its_stages_and_data_planes() {
    let mut installation = Installation::serving_at_once().await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.write("train.sh", "echo begun $$\nsleep 600\n");
    installation.push("Take long");
    let stage: u32 = installation.printed(2, "train", "begun ").await.parse().unwrap();

    assert_eq!(installation.terminate_server().await.code(), Some(0));
    assert!(!is_alive(stage));
    assert_eq!(installation.children(), Vec::<u32>::new());
    assert!(installation.predict(&address, "user-1").await.is_err());
    assert!(!installation.data_dir().join("server.json").exists());

    // The next one serves at the same address, and goes on with the run.
    installation.start().await;
    eventually("the data plane answers again", async || installation.predict(&address, "user-1").await.ok()).await;
    let again = eventually("the stage has begun again", async || {
        let pid: u32 = installation.printed(2, "train", "begun ").await.parse().unwrap();
        (pid != stage).then_some(pid)
    })
    .await;
    assert!(is_alive(again));
}

#[tokio::test]
async fn a_second_server_on_the_same_data_directory_is_refused() {
    let installation = Installation::serving_at_once().await;
    let second = installation.server_command("127.0.0.1:0").output().unwrap();
    assert_eq!(second.status.code(), Some(5), "{}", said(&second));
    assert!(text(&second.stderr).contains("another server (pid "), "{}", said(&second));
    assert_eq!(installation.get("/me").await["user"], "local", "the first one goes on");
}

#[test]
fn listening_to_the_network_without_accounts_is_refused() {
    let installation = Installation::stopped();
    let refused = installation.server_command("0.0.0.0:0").output().unwrap();
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let stderr = text(&refused.stderr);
    assert!(stderr.contains("this server has no accounts") && stderr.contains("towpath user add"), "{stderr}");
}
