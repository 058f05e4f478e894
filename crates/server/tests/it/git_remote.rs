use crate::server::{Repo, SHELL_PIPELINE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_push_makes_the_project_and_a_clone_gets_it_back() {
    let server = Server::start().await;
    let repo = Repo::with(&[("README.md", "hello\n")]);
    repo.push(&server, "notes", "trunk").await;
    let project = server.get("/projects/notes").await;
    assert_eq!(project["default_branch"], "trunk", "HEAD follows the first branch");
    let clone = tempfile::tempdir().unwrap();
    let url = format!("{}/git/notes.git", server.url);
    let copied = Repo { dir: clone };
    let (ok, text) =
        tokio::task::spawn_blocking(move || copied.try_git(&["clone", "--quiet", &url, "copy"])).await.unwrap();
    assert!(ok, "{text}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_push_is_compressed_and_chunked() {
    let server = Server::start().await;
    let repo = Repo::with(&[("README.md", "hello\n")]);
    let noise: Vec<String> = (0..400_000_u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_string()).collect();
    repo.write(&[("noise.txt", &noise.join("\n"))]);
    repo.commit("Four megabytes");
    repo.push(&server, "notes", "main").await;
    assert_eq!(server.get("/projects/notes").await["head"]["subject"], "Four megabytes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_push_starts_nothing() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.push(&server, "words", "main").await;
    server.ended("words", 1).await;
    // A history that does not contain what is there is refused by git itself.
    let other = Repo::with(&[("README.md", "another history\n")]);
    let url = format!("{}/git/words.git", server.url);
    let (ok, text) =
        tokio::task::spawn_blocking(move || other.try_git(&["push", &url, "HEAD:refs/heads/main"])).await.unwrap();
    assert!(!ok && text.contains("rejected"), "{text}");
    assert_eq!(server.get("/projects/words/runs").await["total"], 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_the_project_file_does_not_name_starts_nothing() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.push(&server, "words", "experiment").await;
    repo.push(&server, "words", "main").await;
    server.ended("words", 1).await;
    assert_eq!(server.get("/projects/words/runs").await["items"][0]["branch"], "main");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_repository_names_are_not_found() {
    let server = Server::start().await;
    for path in ["/git/..%2f..%2fetc.git/info/refs", "/git/a%00b.git/info/refs", "/git/.git/info/refs"] {
        let (status, _) = server.call("GET", &format!("{path}?service=git-upload-pack"), None, None).await;
        assert_eq!(status, 404, "{path}");
    }
    let (status, _) = server.call("GET", "/git/words.git/info/refs", None, None).await;
    assert_eq!(status, 403, "the dumb protocol is not spoken");
    server.stop().await;
}
