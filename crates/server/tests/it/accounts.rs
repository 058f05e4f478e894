use serde_json::json;

use crate::server::{Repo, Server};

#[tokio::test(flavor = "multi_thread")]
async fn from_the_first_user_on_every_request_needs_a_token() {
    let server = Server::start().await;
    assert_eq!(server.get("/me").await["user"], "local");
    let owner = server.owner_token();
    let user = json!({"name": "ds-1", "emails": ["ds-1@example.org"]});
    let (status, _) = server.call("POST", "/api/v1/users", Some(&owner), Some(user)).await;
    assert_eq!(status, 201);
    let (status, problem) = server.call("GET", "/api/v1/me", None, None).await;
    assert_eq!((status, problem["kind"].as_str()), (401, Some("unauthenticated")));
    let asked = json!({"user": "ds-1", "roles": ["write"]});
    let (status, token) = server.call("POST", "/api/v1/tokens", Some(&owner), Some(asked)).await;
    assert_eq!(status, 201);
    let secret = token["secret"].as_str().unwrap().to_owned();
    let (_, me) = server.call("GET", "/api/v1/me", Some(&secret), None).await;
    assert_eq!((me["user"].as_str(), me["admin"].as_bool()), (Some("ds-1"), Some(false)));
    // Git takes the token as the password.
    let repo = Repo::with(&[("README.md", "hello\n")]);
    let url = format!("{}/git/notes.git", server.url.replace("http://", &format!("http://ds-1:{secret}@")));
    let (ok, text) =
        tokio::task::spawn_blocking(move || repo.try_git(&["push", "--quiet", &url, "HEAD:main"])).await.unwrap();
    assert!(ok, "{text}");
    let (status, _) = server.call("POST", "/api/v1/users", Some(&secret), Some(json!({"name": "x"}))).await;
    assert_eq!(status, 403, "only the owner or an admin makes users");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_need_no_token_and_metrics_pass_promtool() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.call("GET", path, None, None).await.0, 200, "{path}");
    }
    let (_, metrics) = server.call("GET", "/metrics", None, None).await;
    let text = metrics.as_str().unwrap().to_owned();
    let mut promtool = std::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    assert!(done.status.success(), "{}\n{text}", String::from_utf8_lossy(&done.stderr));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_is_refused() {
    let server = Server::start().await;
    let options = towpath_server::Options {
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: server.dir.path().join("data"),
        database_url: None,
        artifact_root: None,
        environments_dir: server.dir.path().join("environments"),
        program: "/bin/false".into(),
        run_slots: 1,
        stage_jobs: 2,
        strict_stages: false,
        webhooks: towpath_server::Reach::Public,
        capacity: towpath_server::Capacity::of_machine(),
    };
    let wide = towpath_server::Options {
        listen: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
        data_dir: server.dir.path().join("other"),
        ..options.clone()
    };
    let token = tokio_util::sync::CancellationToken::new();
    let refused = towpath_server::serve(options, token.clone(), |_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("another server"), "{refused}");
    let refused = towpath_server::serve(wide, token, |_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("can be reached from other machines"), "{refused}");
    server.stop().await;
}
