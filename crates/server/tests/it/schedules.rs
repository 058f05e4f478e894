use serde_json::json;

use crate::server::{Repo, SHELL_PIPELINE, Server};

const PARAMS: &[(&str, &str)] = &[
    (
        "dvc.yaml",
        "stages:\n  say:\n    cmd: cp params.yaml said.yaml\n    params:\n    - word\n    outs:\n    - said.yaml\n",
    ),
    ("params.yaml", "word: one  # the first\nother: 1\n"),
    (
        "towpath.yaml",
        "on:\n  webhook: {events: [push], values: {word: /word}}\n  manual: {params: {word: {type: text, choices: [one, two]}}}\n  \
         schedule: {nightly: {cron: 0 3 * * *, timezone: Europe/Berlin}}\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_parameters_of_its_own_makes_what_they_say_and_its_lock_stands_beside_them() {
    let server = Server::start().await;
    let repo = Repo::with(PARAMS);
    repo.push(&server, "words", "main").await;
    let start = |params| {
        let body = json!({"ref": "main", "params": params});
        server.call("POST", "/api/v1/projects/words/runs", None, Some(body))
    };
    let (status, refused) = start(json!({"word": "three"})).await;
    assert_eq!(
        (status, refused["detail"].as_str()),
        (400, Some("parameter 'word' must be one of \"one\", \"two\", found \"three\""))
    );
    assert_eq!(start(json!({"word": "two"})).await.0, 201);
    let run = server.ended("words", 1).await;
    assert_eq!((&run["status"], &run["params"]), (&json!("succeeded"), &json!({"word": "two"})), "{run:#}");
    repo.git(&["fetch", "--quiet", &format!("{}/git/words.git", server.url), "refs/towpath/runs/1"]);
    assert_eq!(repo.git(&["show", "FETCH_HEAD:params.yaml"]), "word: two  # the first\nother: 1");
    assert!(repo.git(&["show", "FETCH_HEAD:dvc.lock"]).contains("word: two"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_starts_one_run_for_each_signed_delivery() {
    let server = Server::start().await;
    let repo = Repo::with(PARAMS);
    repo.push(&server, "words", "main").await;
    let secret = server.get("/projects/words/schedules/webhook/secret").await;
    let (address, secret) = (secret["url"].as_str().unwrap(), secret["secret"].as_str().unwrap());
    let http = reqwest::Client::new();
    let send = |token: &str, event: &str, delivery: &str| {
        let request = http.post(address).header("X-Gitlab-Token", token).header("X-Gitlab-Event", event);
        let request =
            request.header("Idempotency-Key", delivery).json(&json!({"word": "two", "ref": "refs/heads/main"}));
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.json::<serde_json::Value>().await.unwrap())
        }
    };
    assert_eq!(send("guess", "Push Hook", "1").await.0, 401);
    assert_eq!(send(secret, "Note Hook", "2").await.1["text"], "ignored: comment is not among push");
    assert_eq!(send(secret, "Push Hook", "3").await, (202, json!({"run": 1, "text": "run 1 of words starts"})));
    assert_eq!(send(secret, "Push Hook", "3").await.1["text"], "delivery 3 has been acted on");
    let run = server.ended("words", 1).await;
    assert_eq!((&run["trigger"], &run["params"]), (&json!("webhook"), &json!({"word": "two"})));
    assert_eq!(run["reason"], "webhook: push of refs/heads/main");
    let (status, renewed) = server.call("POST", "/api/v1/projects/words/schedules/webhook/secret", None, None).await;
    assert_eq!((status, renewed["secret"] == secret), (200, false));
    assert_eq!(send(secret, "Push Hook", "4").await.0, 401, "the old secret is void");
    let gone =
        http.post(address.replace("/webhook", "/nothing")).header("X-Gitlab-Token", secret).send().await.unwrap();
    assert_eq!(gone.status(), 401);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_paused_and_resumed() {
    let server = Server::start().await;
    let repo = Repo::with(PARAMS);
    repo.push(&server, "words", "main").await;
    let all = server.get("/schedules").await;
    let names: Vec<_> = all.as_array().unwrap().iter().map(|s| (&s["name"], &s["when"])).collect();
    let expected = [("nightly", "0 3 * * * Europe/Berlin"), ("webhook", "signed request: push")];
    assert_eq!(names, expected.map(|(n, w)| (json!(n), json!(w))).iter().map(|(n, w)| (n, w)).collect::<Vec<_>>());
    let path = "/api/v1/projects/words/schedules/nightly";
    let (_, paused) = server.call("POST", &format!("{path}/pause"), None, None).await;
    assert_eq!((&paused["paused_by"], &paused["next_at"]), (&json!("local"), &json!(null)));
    let (_, resumed) = server.call("POST", &format!("{path}/resume"), None, None).await;
    assert!(resumed["next_at"].is_i64(), "{resumed}");
    assert_eq!(server.get("/projects/words/schedules/nightly?times=3").await["next"].as_array().unwrap().len(), 3);
    let (status, missing) = server.call("POST", "/api/v1/projects/words/schedules/weekly/pause", None, None).await;
    assert_eq!((status, missing["detail"].as_str()), (404, Some("project 'words' has no trigger 'weekly'")));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_starts_its_run_by_itself() {
    let server = Server::start().await;
    let repo = Repo::with(SHELL_PIPELINE);
    repo.write(&[("towpath.yaml", "on: {schedule: {often: {every: 10s}}}\n")]);
    repo.commit("Often");
    repo.push(&server, "words", "main").await;
    let run = server.ended("words", 1).await;
    let late = run["created_at"].as_i64().unwrap() - run["planned_at"].as_i64().unwrap();
    assert!((0..1000).contains(&late), "{late} ms after its time");
    assert_eq!(run["status"], "succeeded");
    server.stop().await;
}
