//! The data remote: packs and chunks with our client, whole objects with plain HTTP, and what a
//! hostile client tries.

use md5::{Digest as _, Md5};
use towpath_chunks::{ChunkId, PackWriter, Recipe};
use towpath_core::Content;
use towpath_data::{Cache, Error, Oid, Repository, Silent, transfer};

use crate::server::{Repo, Server};

/// Bytes that look random, the same ones each time.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn content(bytes: &[u8]) -> Content {
    let md5 = hex::encode(Md5::digest(bytes));
    Content { md5, hash: towpath_core::HashName::Md5, size: bytes.len() as u64, nfiles: None, isexec: false }
}

fn oid(bytes: &[u8]) -> Oid {
    Oid::of(&content(bytes)).unwrap()
}

/// A cache of its own, and the server as its remote.
struct Client {
    repo: Repo,
    cache: Cache,
}

impl Client {
    fn of(server: &Server) -> Self {
        let repo = Repo::with(&[("README.md", "data\n")]);
        let config = format!("[core]\n    remote = ours\n['remote \"ours\"']\n    url = {}/dvc/digits\n", server.url);
        std::fs::write(repo.path().join(".dvc/config"), config).unwrap();
        let cache = Repository::open(repo.path()).unwrap().cache().unwrap();
        Self { repo, cache }
    }

    /// Keeps bytes as an object.
    fn keep(&self, bytes: &[u8]) -> Content {
        self.cache.receive(&oid(bytes), bytes).unwrap();
        content(bytes)
    }

    async fn push(&self, contents: Vec<Content>) -> Result<transfer::Transferred, Error> {
        let (cache, root) = (self.cache.clone(), self.repo.path().to_owned());
        tokio::task::spawn_blocking(move || {
            let remote = Repository::open(&root)?.remote(None)?;
            let parts: Vec<transfer::Part> = contents.into_iter().map(Into::into).collect();
            transfer::push(&cache, remote.as_ref(), &parts, &Silent)
        })
        .await
        .unwrap()
    }

    async fn pull(&self, contents: Vec<Content>) -> Result<transfer::Transferred, Error> {
        let (cache, root) = (self.cache.clone(), self.repo.path().to_owned());
        tokio::task::spawn_blocking(move || {
            let remote = Repository::open(&root)?.remote(None)?;
            let parts: Vec<transfer::Part> = contents.into_iter().map(Into::into).collect();
            transfer::pull(&cache, remote.as_ref(), &parts, &Silent)
        })
        .await
        .unwrap()
    }

    fn read(&self, content: &Content) -> Vec<u8> {
        std::fs::read(self.cache.path(&Oid::of(content).unwrap())).unwrap()
    }
}

/// Requests to the data remote so far whose route ends like this.
async fn requests(server: &Server, route: &str) -> u64 {
    let (_, metrics) = server.call("GET", "/metrics", None, None).await;
    let metrics = metrics.as_str().unwrap().to_owned();
    let counted = metrics.lines().filter(|line| line.starts_with("towpath_http_requests_total{route=\"/dvc/"));
    let counted = counted.filter(|line| line.contains(&format!("{route}\"")));
    counted.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

/// A request with bytes; the status and the text of the answer.
async fn send(server: &Server, method: &str, path: &str, body: Vec<u8>) -> (u16, String) {
    let url = format!("{}/dvc/digits/{path}", server.url);
    let request = reqwest::Client::new().request(method.parse().unwrap(), url).body(body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn pack(frames: &[(&str, &[u8])]) -> Vec<u8> {
    let mut pack = PackWriter::new(Vec::new()).unwrap();
    for (name, bytes) in frames {
        pack.content(name, bytes).unwrap();
    }
    pack.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_small_files_take_a_handful_of_requests_each_way() {
    let server = Server::start().await;
    let client = Client::of(&server);
    let contents: Vec<Content> = (0..1000_u32).map(|i| client.keep(&i.to_le_bytes())).collect();
    assert_eq!(client.push(contents.clone()).await.unwrap().objects, 1000);
    let another = Client::of(&server);
    assert_eq!(another.pull(contents.clone()).await.unwrap().objects, 1000);
    assert_eq!(another.read(&contents[7]), 7_u32.to_le_bytes());
    let all = requests(&server, "").await;
    assert!(all <= 10, "{all} requests");
    assert_eq!(client.push(contents).await.unwrap().objects, 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_large_file_with_one_byte_more_only_the_changed_chunks_move_both_ways() {
    let server = Server::start().await;
    let (client, another) = (Client::of(&server), Client::of(&server));
    let old = noise(6 << 20, 1);
    let old_content = client.keep(&old);
    client.push(vec![old_content.clone()]).await.unwrap();
    another.pull(vec![old_content.clone()]).await.unwrap();
    assert_eq!(another.read(&old_content), old);

    let mut new = old.clone();
    new.insert(3 << 20, 42);
    let recipe = Recipe::of(new.as_slice(), new.len() as u64).unwrap();
    let path = format!("towpath/recipes/{}", oid(&new));
    let (status, missing) = send(&server, "PUT", &path, recipe.encode()).await;
    assert_eq!(status, 200);
    assert!((1..=3).contains(&missing.lines().count()), "the server asks for {missing}");
    // Another client goes on with what this one began.
    let new_content = client.keep(&new);
    client.push(vec![new_content.clone()]).await.unwrap();
    let before = requests(&server, "/recipes/{oid}/chunks").await;
    another.pull(vec![new_content.clone()]).await.unwrap();
    assert_eq!(another.read(&new_content), new);
    assert_eq!(requests(&server, "/recipes/{oid}/chunks").await - before, 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chunks_of_an_object_that_came_whole_are_known_and_ranges_of_it_are_served() {
    let server = Server::start().await;
    let bytes = noise(2 << 20, 9);
    let name = oid(&bytes).to_string();
    let path = format!("files/md5/{}/{}", &name[..2], &name[2..]);
    assert_eq!(send(&server, "POST", &path, bytes.clone()).await.0, 200);
    let url = format!("{}/dvc/digits/{path}", server.url);
    let asked = reqwest::Client::new().get(url).header("range", "bytes=1000000-").send().await.unwrap();
    assert_eq!(asked.status(), 206);
    assert_eq!(asked.headers()["content-range"], "bytes 1000000-2097151/2097152");
    assert_eq!(asked.bytes().await.unwrap(), bytes[1_000_000..]);
    let client = Client::of(&server);
    client.pull(vec![content(&bytes)]).await.unwrap();
    assert_eq!(client.read(&content(&bytes)), bytes);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_is_refused_with_the_reason_and_never_published() {
    let server = Server::start().await;
    let bytes = noise(2 << 20, 4);
    let recipe = Recipe::of(bytes.as_slice(), bytes.len() as u64).unwrap();
    let upload = |name: &str| format!("towpath/uploads/{name}/{}", recipe.id());
    let name = oid(b"something else").to_string();
    let refused = async |method: &str, path: &str, body: Vec<u8>, reason: &str| {
        let (status, text) = send(&server, method, path, body).await;
        assert!((400..500).contains(&status) && text.contains(reason), "{method} {path}: {status} {text}");
    };
    // Packs.
    refused("POST", "towpath/objects", pack(&[("../../etc/passwd", b"x")]), "is not an object id").await;
    refused("POST", "towpath/objects", pack(&[(&name, b"x")]), "has the content of").await;
    refused("POST", "towpath/objects", pack(&[(&name, &vec![0; (1 << 20) + 1])]), "are the most").await;
    refused("POST", "towpath/objects", b"PK a zip file".to_vec(), "TPPACK01").await;
    refused("POST", "towpath/missing", b"../x\n".to_vec(), "is not an object id").await;
    refused("POST", "towpath/missing", format!("{name}\n").repeat(10_001).into_bytes(), "10000 ids").await;
    // Recipes and chunks.
    refused("PUT", "towpath/recipes/..%2Fx", recipe.encode(), "is not an object id").await;
    refused("PUT", &format!("towpath/recipes/{name}"), b"TPRECIP1 but short".to_vec(), "malformed").await;
    refused("POST", &format!("{}/chunks", upload(&name)), pack(&[]), "was begun").await;
    assert_eq!(send(&server, "PUT", &format!("towpath/recipes/{name}"), recipe.encode()).await.0, 200);
    refused("POST", &upload(&name), Vec::new(), "are missing").await;
    let foreign = ChunkId::of(b"x").to_string();
    refused("POST", &format!("{}/chunks", upload(&name)), pack(&[(&foreign, b"x")]), "does not belong").await;
    let first = recipe.chunks()[0].id.to_string();
    refused("POST", &format!("{}/chunks", upload(&name)), pack(&[(&first, b"x")]), "has the content of").await;
    let cut = |(offset, chunk): (u64, towpath_chunks::Chunk)| {
        (chunk.id.to_string(), bytes[offset as usize..][..chunk.length as usize].to_vec())
    };
    let chunks: Vec<(String, Vec<u8>)> = recipe.placed().map(cut).collect();
    let frames: Vec<(&str, &[u8])> = chunks.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    assert_eq!(send(&server, "POST", &format!("{}/chunks", upload(&name)), pack(&frames)).await.0, 200);
    refused("POST", &upload(&name), Vec::new(), "has the content of").await;
    let (status, _) = send(&server, "GET", &format!("files/md5/{}/{}", &name[..2], &name[2..]), Vec::new()).await;
    assert_eq!(status, 404);
    server.stop().await;
}
