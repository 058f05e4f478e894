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

/// The real Alertmanager, which posts to an address; it ends with the value.
struct Alertmanager {
    process: std::process::Child,
    url: String,
}

impl Alertmanager {
    fn posting_to(dir: &std::path::Path, address: &str, secret: &str) -> Self {
        let config = format!(
            "route: {{receiver: towpath, group_by: [alertname], group_wait: 0s, group_interval: 1s}}\n\
             receivers: [{{name: towpath, webhook_configs: [{{url: '{address}', http_config: {{authorization: \
             {{credentials: '{secret}'}}}}}}]}}]\n"
        );
        std::fs::write(dir.join("alertmanager.yml"), config).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = std::process::Command::new("prometheus-alertmanager")
            .arg(format!("--config.file={}", dir.join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", dir.join("alertmanager").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }

    /// Posts alerts as Prometheus does, as soon as it answers.
    async fn fire(&self, alerts: serde_json::Value) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let sent = reqwest::Client::new().post(format!("{}/api/v2/alerts", self.url)).json(&alerts).send().await;
            if sent.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "Alertmanager does not answer");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_the_real_alertmanager_starts_one_run_with_its_values() {
    let server = Server::start().await;
    let repo = Repo::with(PARAMS);
    repo.write(&[(
        "towpath.yaml",
        "on: {monitor: {alerts: [Drift*], labels: {model: digits}, values: {word: /labels/word}}}\n",
    )]);
    repo.commit("Listen to alerts");
    repo.push(&server, "words", "main").await;
    let secret = server.get("/projects/words/schedules/monitor/secret").await;
    let (address, secret) = (secret["url"].as_str().unwrap(), secret["secret"].as_str().unwrap());
    let alertmanager = Alertmanager::posting_to(server.dir.path(), address, secret);
    let alert = |name: &str, model: &str, word: &str| json!({"labels": {"alertname": name, "model": model, "word": word}, "startsAt": "2026-11-30T00:00:00Z"});
    alertmanager.fire(json!([alert("Latency", "digits", "no"), alert("DriftHigh", "faces", "no")])).await;
    alertmanager.fire(json!([alert("DriftHigh", "digits", "dark")])).await;
    let run = server.ended("words", 1).await;
    assert_eq!((&run["trigger"], &run["params"]), (&json!("monitor"), &json!({"word": "dark"})), "{run:#}");
    assert_eq!(run["reason"], "alert DriftHigh (model=digits, word=dark)");
    // The group is posted again with a new alert in it: the old one has been acted on.
    alertmanager.fire(json!([alert("DriftHigh", "digits", "bright")])).await;
    assert_eq!(server.ended("words", 2).await["params"], json!({"word": "bright"}));
    let shown = server.get("/projects/words/schedules/monitor").await;
    let decisions = shown["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 2, "{shown:#}");
    assert_eq!(shown["when"], "alert Drift* model=digits");
    server.stop().await;
}
