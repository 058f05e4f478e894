//! Pull requests: their commits come from anybody, so their runs are confined and leave nothing behind that
//! another run takes up.

use serde_json::{Value, json};

use super::installation::{Installation, said};

const PROJECT: &str = "\
model: {name: digits, path: model}
on:
  push: {branches: [main]}
  pull_request: {branches: [main]}
environments:
  production: {rollout: {strategy: all_at_once}}
";

async fn installation() -> Installation {
    let mut installation = Installation::stopped();
    installation.write("towpath.yaml", PROJECT);
    installation.start().await;
    installation.push("First");
    installation.ended(1).await;
    installation
}

/// Commits everything and pushes it as a forge that mirrors its pull requests does.
fn push_request(installation: &Installation, message: &str, number: u64) {
    installation.home.git(&["add", "--all"]);
    installation.home.git(&["commit", "--quiet", "--message", message]);
    let reference = format!("+HEAD:refs/pull/{number}/head");
    let pushed = installation
        .command("git")
        .args(["push", "--no-verify", "--quiet", &installation.git_url(), &reference])
        .output();
    let pushed = pushed.unwrap();
    assert!(pushed.status.success(), "{}", said(&pushed));
}

fn stages<'a>(run: &'a Value, key: &str) -> Vec<&'a str> {
    run["stages"].as_array().unwrap().iter().filter_map(|stage| stage[key].as_str()).collect()
}

#[tokio::test]
async fn a_pull_request_runs_confined_and_leaves_nothing_to_other_runs() {
    let installation = installation().await;
    installation.home.git(&["switch", "--quiet", "--create", "feature"]);
    installation.write("words.txt", "c\nb\n");
    push_request(&installation, "Other words", 7);
    let run = installation.ended(2).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(
        (&run["trigger"], &run["branch"], &run["reason"]),
        (&json!("pull_request"), &json!("refs/pull/7/head"), &json!("pull request 7 into main"))
    );
    assert!(stages(&run, "sandbox").iter().all(|level| level.starts_with("strict")), "{run:#}");
    assert_eq!(run["model_version"], Value::Null, "it registers no model");
    assert_eq!(installation.get("/releases").await["items"].as_array().unwrap().len(), 1);

    let merged = installation.command("git").args(["push", "--quiet", &installation.git_url(), "HEAD:main"]).output();
    assert!(merged.unwrap().status.success());
    let run = installation.ended(3).await;
    assert_eq!(run["trigger"], "push");
    assert_eq!(stages(&run, "status"), ["succeeded", "succeeded"], "not reused: {run:#}");
    assert_eq!(run["model_version"]["version"], 2);

    let again = installation.call("POST", "/api/v1/projects/digits/runs/2/again", None, Some(json!({}))).await;
    assert_eq!(again.0, 201, "{again:?}");
    assert_eq!(installation.ended(4).await["trigger"], "pull_request", "it stays one");
}

#[tokio::test]
async fn a_newer_head_takes_the_place_of_the_older_and_secrets_stay_with_the_project() {
    let installation = installation().await;
    let project = format!("{PROJECT}stages: {{train: {{secrets: [TOKEN]}}}}\n");
    installation.write("train.sh", "echo waiting; sleep 300\n");
    push_request(&installation, "Sleeps", 8);
    installation.printed(2, "train", "waiting").await;
    installation.write("towpath.yaml", &project);
    push_request(&installation, "Wants a secret", 8);
    assert_eq!(installation.ended(2).await["status"], "cancelled");
    let run = installation.ended(3).await;
    assert_eq!(run["status"], "failed");
    assert!(run["error"].as_str().unwrap().contains("which a run of a pull request does not get"), "{run:#}");
}

#[tokio::test]
async fn a_forge_that_tells_of_a_commit_that_is_not_here_is_told_what_to_push() {
    let installation = installation().await;
    let secret = installation.get("/projects/digits/schedules/pull_request/secret").await;
    let (url, secret) = (secret["url"].as_str().unwrap(), secret["secret"].as_str().unwrap());
    let tell = |head: &str, into: &str| {
        let body = json!({"object_attributes": {
            "iid": 9, "action": "open", "target_branch": into, "last_commit": {"id": head},
        }});
        let request = reqwest::Client::new().post(url).header("X-Gitlab-Token", secret);
        let request = request.header("X-Gitlab-Event", "Merge Request Hook").json(&body);
        async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
    };
    let nowhere = "0123456789012345678901234567890123456789";
    let told = tell(nowhere, "main").await;
    let expected = format!(
        "pull request 9 into main: its commit {nowhere} is not here; push the forge's refs/merge-requests/9/head to this \
         repository, and it starts"
    );
    assert_eq!((&told["run"], &told["text"]), (&Value::Null, &json!(expected)));
    let head = installation.home.git(&["rev-parse", "HEAD"]);
    assert_eq!(tell(head.trim(), "release").await["text"], "ignored: pull request 9 into release, not into main");
    assert_eq!(tell(head.trim(), "main").await["run"], 2);
    assert_eq!(tell(head.trim(), "main").await["text"], "the head of pull request 9 into main has been acted on");
    assert_eq!(installation.ended(2).await["branch"], "refs/merge-requests/9/head");
}
