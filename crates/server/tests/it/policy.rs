use serde_json::{Value, json};

use crate::server::{Repo, Server};

async fn push(server: &Server, dvc_yaml: &str, towpath_yaml: &str) -> Repo {
    let repo = Repo::with(&[("dvc.yaml", dvc_yaml), ("towpath.yaml", towpath_yaml)]);
    repo.push(server, "words", "main").await;
    repo
}

fn stage<'r>(run: &'r Value, name: &str) -> &'r Value {
    run["stages"].as_array().unwrap().iter().find(|s| s["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_fails_with_a_named_exit_code_is_tried_again_and_others_are_not() {
    let server = Server::start().await;
    let flaky = "stages:\n  flaky:\n    cmd: echo try; if [ -e tried ]; then echo ok > out.txt; else touch tried; exit 75; fi\n    outs:\n    - out.txt\n";
    let repo = push(&server, flaky, "retries: {flaky: {count: 2, delay: 50ms, exit_codes: [75]}}\n").await;
    let run = server.ended("words", 1).await;
    assert_eq!((&run["status"], &stage(&run, "flaky")["attempt"]), (&json!("succeeded"), &json!(2)), "{run:#}");
    assert_eq!(stage(&run, "flaky")["error"], json!(null));
    repo.write(&[("dvc.yaml", &flaky.replace("exit 75", "exit 3"))]);
    repo.commit("Fail otherwise");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 2).await;
    assert_eq!((&run["error"], &stage(&run, "flaky")["attempt"]), (&json!("stage 'flaky' exited with 3"), &json!(1)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_made_again_goes_on_at_the_stage_that_failed() {
    let server = Server::start().await;
    let go = server.dir.path().join("go");
    let pipeline = format!(
        "stages:\n  a:\n    cmd: echo a > a.txt\n    outs:\n    - a.txt\n  b:\n    cmd: test -e {} && cp a.txt b.txt\n    deps:\n    - a.txt\n    outs:\n    - b.txt\n",
        go.display()
    );
    let _repo = push(&server, &pipeline, "on: {push: {branches: [main]}}\n").await;
    assert_eq!(server.ended("words", 1).await["error"], "stage 'b' exited with 1");
    std::fs::write(&go, "").unwrap();
    let again = |number: i64, body: Value| {
        let path = format!("/api/v1/projects/words/runs/{number}/again");
        let server = &server;
        async move { server.call("POST", &path, None, Some(body)).await }
    };
    assert_eq!(again(1, json!({})).await.0, 201);
    let run = server.ended("words", 2).await;
    let states = |run: &Value| [stage(run, "a")["status"].clone(), stage(run, "b")["status"].clone()];
    assert_eq!(states(&run), ["reused", "succeeded"], "{run:#}");
    assert_eq!((&run["trigger"], &run["reason"]), (&json!("retry"), &json!("run 1 again")));
    again(2, json!({"from": "b"})).await;
    assert_eq!(states(&server.ended("words", 3).await), ["reused", "succeeded"]);
    again(2, json!({"from": "a"})).await;
    assert_eq!(states(&server.ended("words", 4).await), ["succeeded", "succeeded"]);
    again(2, json!({"from": "nothing"})).await;
    let run = server.ended("words", 5).await;
    assert!(run["error"].as_str().unwrap().contains("nothing"), "{run:#}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_one_group_follow_each_other_and_a_newer_one_may_cancel_the_older() {
    let server = Server::start().await;
    let go = server.dir.path().join("go");
    let pipeline = format!(
        "stages:\n  wait:\n    cmd: while [ ! -e {} ]; do sleep 0.05; done; echo done > out.txt\n    outs:\n    - out.txt\n",
        go.display()
    );
    let repo = push(&server, &pipeline, "concurrency: train\n").await;
    let start = || server.call("POST", "/api/v1/projects/words/runs", None, Some(json!({"ref": "main"})));
    assert_eq!(start().await.0, 201);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while server.get("/projects/words/runs/1").await["stage_counts"]["running"] != 1 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(server.get("/projects/words/runs/2").await["status"], "queued", "there is a slot, but not in the group");
    repo.write(&[("towpath.yaml", "concurrency: {group: train, cancel_in_progress: true}\n")]);
    repo.commit("Only the newest counts");
    repo.push(&server, "words", "main").await;
    assert_eq!(server.ended("words", 1).await["status"], "cancelled");
    assert_eq!(server.ended("words", 2).await["status"], "cancelled");
    std::fs::write(&go, "").unwrap();
    assert_eq!(server.ended("words", 3).await["status"], "succeeded");
    server.stop().await;
}
