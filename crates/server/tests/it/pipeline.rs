use serde_json::json;

use crate::server::{Repo, SHELL_PIPELINE, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_push_runs_the_pipeline_and_registers_a_version_with_its_lineage() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(run["model_version"], json!({"model": "words", "version": 1}));
    let stages: Vec<_> = run["stages"].as_array().unwrap().iter().map(|s| (&s["name"], &s["status"])).collect();
    assert_eq!(stages, [(&json!("prepare"), &json!("succeeded")), (&json!("train"), &json!("succeeded"))]);

    let version = server.get("/models/words/versions/1").await;
    assert_eq!(version["metrics"], json!({"accuracy": 0.9}));
    assert_eq!(version["lineage"]["commit"], json!(repo.git(&["rev-parse", "HEAD"])));
    assert_eq!(version["lineage"]["trainer"], "local");
    let log = server.get("/projects/words/runs/1/stages/train/log").await;
    assert_eq!(log["finished"], true);

    // The new lock is on top of the pushed commit.
    repo.git(&["fetch", "--quiet", &format!("{}/git/words.git", server.url), "refs/towpath/runs/1"]);
    assert_eq!(repo.git(&["rev-parse", "FETCH_HEAD^"]), repo.git(&["rev-parse", "HEAD"]));
    assert!(repo.git(&["show", "FETCH_HEAD:dvc.lock"]).contains("train:"));

    let verified = server.get("/audit/verify").await;
    assert_eq!(verified["intact"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_stages_whose_inputs_changed_run_again() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.push(&server, "words", "main").await;
    server.ended("words", 1).await;
    repo.write(&[("words.txt", "a\nb\n")]);
    repo.commit("Another order of the same words");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 2).await;
    assert_eq!(run["stages"][0]["status"], "succeeded");
    assert_eq!(run["stages"][1]["status"], "reused", "its input came out the same: {run:#}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_finds_everything_reused_makes_no_new_version() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.push(&server, "words", "main").await;
    server.ended("words", 1).await;
    repo.write(&[("README.md", "words\n")]);
    repo.commit("Say what it is");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 2).await;
    assert_eq!(run["model_version"], json!({"model": "words", "version": 1}));
    assert_eq!(server.get("/models/words").await["versions"].as_array().unwrap().len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_stage_fails_the_run_and_names_the_exit_code() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.write(&[("dvc.yaml", "stages:\n  broken:\n    cmd: echo no luck && exit 7\n    outs:\n    - never.txt\n")]);
    repo.commit("Break it");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 1).await;
    assert_eq!(run["error"], "stage 'broken' exited with 7");
    assert_eq!(run["stages"][0]["exit_code"], 7);
    let log = server.get("/projects/words/runs/1/stages/broken/log").await;
    assert!(log["lines"].as_array().unwrap().iter().any(|l| l["text"] == "no luck"), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_project_file_fails_the_run_with_its_line() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.write(&[("towpath.yaml", "model: {name: words, path: model}\nenvironmets:\n  staging: {}\n")]);
    repo.commit("A typo");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 1).await;
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("towpath.yaml:2") && error.contains("environments"), "{error}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_run_is_cancelled_with_its_processes() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.write(&[("dvc.yaml", "stages:\n  slow:\n    cmd: echo begun && sleep 600\n    outs:\n    - never.txt\n")]);
    repo.commit("Take long");
    repo.push(&server, "words", "main").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while server.get("/projects/words/runs").await["items"][0]["stage_counts"]["running"] != 1 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (status, _) = server.call("POST", "/api/v1/projects/words/runs/1/cancel", None, None).await;
    assert_eq!(status, 200);
    let run = server.ended("words", 1).await;
    assert_eq!((run["status"].as_str(), run["stages"][0]["status"].as_str()), (Some("cancelled"), Some("cancelled")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_goes_on_with_its_runs() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    let waiting = "stages:\n  wait:\n    cmd: while [ ! -e GO ]; do sleep 0.05; done; echo done > out.txt\n    outs:\n    - out.txt\n";
    let go = server.dir.path().join("go");
    repo.write(&[("dvc.yaml", &waiting.replace("GO", &go.display().to_string()))]);
    repo.commit("Wait for a sign");
    repo.push(&server, "words", "main").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while server.get("/projects/words/runs").await["items"][0]["stage_counts"]["running"] != 1 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let dir = server.stop().await;
    std::fs::write(&go, "").unwrap();
    let server = Server::start_in(dir, None).await;
    let run = server.ended("words", 1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_happens_on_postgresql() {
    let url = towpath_testkit::postgres::schema().await.unwrap();
    let server = Server::start_in(tempfile::tempdir().unwrap(), Some(url)).await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(server.get("/audit/verify").await["intact"], true);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_cannot_read_what_is_the_servers_alone() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    let secret = server.dir.path().join("data/owner.token");
    let steal = format!(
        "stages:\n  steal:\n    cmd: git rev-parse HEAD > out.txt && ! cat {}\n    outs:\n    - out.txt\n",
        secret.display()
    );
    repo.write(&[("dvc.yaml", &steal)]);
    repo.commit("Try to become the owner");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 1).await;
    assert_eq!(run["status"], "succeeded", "git works, the secret is out of reach: {run:#}");
    let log = server.get("/projects/words/runs/1/stages/steal/log").await.to_string();
    assert!(!log.contains(&server.owner_token()), "{log}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_folder_with_a_pipeline_gets_its_lock_back() {
    let server = Server::start().await;
    let repo = Repo::with(&[
        ("towpath.yaml", "on:\n  push:\n    branches: [main]\n"),
        ("dvc.yaml", "stages:\n  use:\n    cmd: cat part/made > used\n    deps: [part/made]\n    outs: [used]\n"),
        ("part/dvc.yaml", "stages:\n  make:\n    cmd: echo made > made\n    outs: [made]\n"),
    ]);
    repo.push(&server, "parts", "main").await;
    let run = server.ended("parts", 1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    repo.git(&["fetch", "--quiet", &format!("{}/git/parts.git", server.url), "refs/towpath/runs/1"]);
    assert!(repo.git(&["show", "FETCH_HEAD:dvc.lock"]).contains("  use:\n"));
    assert!(repo.git(&["show", "FETCH_HEAD:part/dvc.lock"]).contains("  make:\n    cmd: echo made > made\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_a_stage_names_the_commit_the_stage_or_the_run_that_made_it() {
    let server = Server::start().await;
    let repo = Repo::with(&[
        (
            "dvc.yaml",
            "stages:\n  sort:\n    cmd: sort words.txt > sorted.txt\n    deps: [words.txt]\n    outs: [sorted.txt]\n  \
             say:\n    cmd: cat sorted.txt params.yaml > said.txt\n    deps: [sorted.txt]\n    params: [tone]\n    \
             outs: [said.txt]\n",
        ),
        ("towpath.yaml", "on: {push: {branches: [main]}, manual: {params: {tone: {type: text}}}}\n"),
        ("params.yaml", "tone: low\n"),
        ("words.txt", "b\na\n"),
    ]);
    repo.push(&server, "words", "main").await;
    server.ended("words", 1).await;
    repo.write(&[("words.txt", "c\na\n")]);
    repo.commit("Other words");
    repo.write(&[("README", "unrelated\n")]);
    repo.commit("Say what it is");
    repo.push(&server, "words", "main").await;
    server.ended("words", 2).await;
    let of_sort = server.get("/projects/words/runs/2/stages/sort/origins").await;
    assert_eq!(of_sort["compared"]["run"], 1, "{of_sort:#}");
    assert_eq!(of_sort["origins"][0]["kind"], "commit");
    assert_eq!(of_sort["origins"][0]["commit"]["subject"], "Other words");
    let of_say = server.get("/projects/words/runs/2/stages/say/origins").await;
    assert_eq!(of_say["origins"], json!([{"kind": "stage", "stage": "sort"}]));

    let asked = json!({"ref": "main", "params": {"tone": "high"}});
    assert_eq!(server.call("POST", "/api/v1/projects/words/runs", None, Some(asked)).await.0, 201);
    server.ended("words", 3).await;
    let given = server.get("/projects/words/runs/3/stages/say/origins").await;
    assert_eq!((&given["compared"]["run"], &given["origins"]), (&json!(2), &json!([{"kind": "run"}])));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_counted_while_the_stage_works_on_them() {
    let server = Server::start().await;
    let repo = Repo::with(&[
        (
            "dvc.yaml",
            "stages:\n  copy:\n    cmd: if [ -e in/c ]; then sleep 300; fi; test ! -e in/b && cp -r in out\n    deps: [in]\n    \
             outs: [out]\n    meta: {towpath: {datum: {over: in, jobs: 1}}}\n",
        ),
        ("towpath.yaml", "on: {push: {branches: [main]}}\n"),
        ("in/a", "a"),
        ("in/b", "b"),
        ("in/c", "c"),
    ]);
    repo.push(&server, "items", "main").await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(40);
    let items = loop {
        let (_, run) = server.call("GET", "/api/v1/projects/items/runs/1", None, None).await;
        let items = run["stages"][0]["items"].clone();
        if items["failed"] == 1 {
            assert_eq!(run["stages"][0]["status"], "running");
            break items;
        }
        assert!(std::time::Instant::now() < deadline, "{run:#}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    };
    assert_eq!((&items["total"], &items["done"], &items["items"][0]["name"]), (&json!(3), &json!(1), &json!("b")));
    assert_eq!(server.call("POST", "/api/v1/projects/items/runs/1/cancel", None, None).await.0, 200);
    server.ended("items", 1).await;
    server.stop().await;
}
