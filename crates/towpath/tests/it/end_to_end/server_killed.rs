//! `kill -9` of the server: what it was at goes on, and nothing happens twice.

use serde_json::{Value, json};

use super::installation::{Installation, eventually, is_alive};

/// A stage that goes on once there is a file, and says its process id before.
fn waiting_train(go: &std::path::Path) -> String {
    let go = go.display();
    format!(
        "echo begun $$\nwhile [ ! -e {go} ]; do sleep 0.05; done\nmkdir -p model\ncp digits.onnx model/model.onnx\n\
         echo '{{\"accuracy\": 0.9}}' > metrics.json\n"
    )
}

fn stages(run: &Value) -> Vec<(&str, &str)> {
    let stages = run["stages"].as_array().unwrap().iter();
    stages.map(|stage| (stage["name"].as_str().unwrap(), stage["status"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn in_a_stage_the_run_goes_on_and_finished_stages_are_not_run_again() {
    let mut installation = Installation::serving_at_once().await;
    let go = installation.home.outside("go");
    installation.write("train.sh", &waiting_train(&go));
    installation.push("Wait for a sign");
    let first: u32 = installation.printed(1, "train", "begun ").await.parse().unwrap();
    let prepared = installation.get("/projects/digits/runs/1").await["stages"][0].clone();
    assert_eq!(prepared["status"], "succeeded");

    installation.kill_server();
    installation.start().await;
    eventually("the stage that was left over is ended", async || (!is_alive(first)).then_some(())).await;
    std::fs::write(&go, "").unwrap();
    let run = installation.ended(1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    assert_eq!(stages(&run), [("prepare", "succeeded"), ("train", "succeeded")]);
    assert_eq!(run["stages"][0]["finished_at"], prepared["finished_at"], "it was not run again");
    assert_eq!(run["model_version"], json!({"model": "digits", "version": 1}));
    let runs = installation.get("/projects/digits/runs").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "the same run went on");
    installation.reaches(1, "live").await;
}

#[tokio::test]
async fn in_a_gate_the_release_is_gated_again_and_nothing_is_left_running() {
    let gate = "{name: fast enough, check: latency, p99_ms: 10000, requests: 2000}";
    let production = format!("  production:\n    gates:\n    - {gate}\n    rollout: {{strategy: all_at_once}}\n");
    let mut installation = Installation::with_environments(&production).await;
    installation.push("First");
    installation.reaches(1, "gating").await;
    let measured = eventually("the gate measures", async || installation.children().first().copied()).await;

    installation.kill_server();
    eventually("what it measured has ended", async || (!is_alive(measured)).then_some(())).await;
    installation.start().await;
    let release = installation.reaches(1, "live").await;
    assert_eq!(release["gates"].as_array().unwrap().len(), 1);
    assert_eq!(release["gates"][0]["outcome"], "passed");
    let told = installation.told(1).await;
    assert_eq!(told, ["release.opened", "release.gating", "release.gated", "rollout.opened", "release.live"]);
    assert_eq!(installation.children().len(), 1, "the data plane in production");
}

#[tokio::test]
async fn in_a_rollout_step_the_data_plane_serves_on_and_the_rollout_ends_live() {
    let production = "  production:\n    rollout:\n      steps: [25%, 50%, 100%]\n      \
                      step: {min_time: 100ms, min_requests: 10}\n      judge: {labels: {}}\n";
    let mut installation = Installation::with_environments(production).await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.push_words("c\n");
    installation.canary_begins(&address).await;

    installation.kill_server();
    for caller in 0..60 {
        installation.predict_right(&address, &format!("user-{caller}")).await;
    }
    installation.start().await;
    assert_eq!(installation.address().await, address);
    let mut caller = 0;
    eventually("the candidate is live", async || {
        caller += 1;
        installation.predict_right(&address, &format!("later-{caller}")).await;
        (installation.get("/releases/2").await["state"] == "live").then_some(())
    })
    .await;
    let told = installation.told(2).await;
    let expected = [
        "release.opened",
        "release.gating",
        "release.gated",
        "rollout.opened",
        "rollout.started",
        "rollout.advanced",
        "release.live",
    ];
    assert_eq!(told, expected);
    assert_eq!(installation.predict_right(&address, "user-1").await.revision, "digits-v2-r2");
    let recomputed = installation.get("/releases/2/rollout/recompute").await;
    assert_eq!(recomputed["decisions"], recomputed["equal"], "{recomputed}");
}

#[tokio::test]
async fn whenever_something_has_happened_the_push_still_ends_live_and_nothing_is_done_twice() {
    killed_at_every_turn(Installation::stopped()).await;
}

#[tokio::test]
async fn the_same_on_postgresql() {
    let mut installation = Installation::stopped();
    installation.database_url = Some(towpath_testkit::postgres::schema().await.unwrap());
    killed_at_every_turn(installation).await;
}

/// Kills the server at each state of run, stages and release that was not seen before.
async fn killed_at_every_turn(mut installation: Installation) {
    let gate = "{name: fast enough, check: latency, p99_ms: 10000, requests: 200}";
    installation.write_project(&format!("  production: {{gates: [{gate}], rollout: {{strategy: all_at_once}}}}\n"));
    installation.start().await;
    installation.push("First");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|state: &Value| state["release"] != "live") {
        let state = eventually("something happens", async || {
            let (_, run) = installation.call("GET", "/api/v1/projects/digits/runs/1", None, None).await;
            let (_, release) = installation.call("GET", "/api/v1/releases/1", None, None).await;
            let stages = run["stages"].as_array()?.iter().map(|stage| stage["status"].clone());
            let stages: Vec<Value> = stages.collect();
            let state = json!({"run": run["status"], "stages": stages, "release": release["state"]});
            (!seen.contains(&state)).then_some(state)
        })
        .await;
        seen.push(state);
        installation.kill_server();
        installation.start().await;
    }
    assert!(seen.len() >= 4, "killed too seldom: {seen:?}");
    assert_eq!(installation.ended(1).await["status"], "succeeded");
    assert_eq!(installation.get("/models/digits").await["versions"].as_array().unwrap().len(), 1);
    assert_eq!(installation.get("/releases").await["total"], 1);
    let told = installation.told(1).await;
    assert_eq!(told, ["release.opened", "release.gating", "release.gated", "rollout.opened", "release.live"]);
    let address = installation.address().await;
    eventually("production answers", async || installation.predict(&address, "user-1").await.ok()).await;
    assert_eq!(installation.children().len(), 1, "the data plane in production");
}

#[tokio::test]
async fn while_it_is_down_the_judge_of_the_data_plane_rolls_back_and_the_next_server_records_it() {
    let production = "  production:\n    rollout:\n      steps: [50%, 100%]\n      \
                      step: {min_time: 1h, min_requests: 100000}\n      judge: {labels: {}}\n";
    let mut installation = Installation::with_environments(production).await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.push_words("c\n");
    installation.canary_begins(&address).await;

    installation.kill_server();
    let mut caller = 0;
    let rolled_back = eventually("the candidate is rolled back", async || {
        caller += 1;
        let answer = installation.predict_right(&address, &format!("user-{caller}")).await;
        // Who gets the candidate says that it was wrong.
        let seen = if answer.revision == "digits-v2-r2" { [0, 0, 0, 0] } else { [1, 7, 4, 6] };
        installation.label(&address, &answer, &seen).await;
        installation.data_plane(&address).await?.rollout?.rolled_back
    })
    .await;
    assert_eq!(rolled_back.by, "judge");
    for caller in 0..40 {
        assert_eq!(installation.predict_right(&address, &format!("user-{caller}")).await.revision, "digits-v1-r1");
    }

    installation.start().await;
    eventually("the release is rolled back", async || {
        (installation.get("/releases/2").await["state"] == "rolled_back").then_some(())
    })
    .await;
    let told = installation.told(2).await;
    assert_eq!(told.iter().filter(|kind| *kind == "rollout.rolled_back").count(), 1, "{told:?}");
    assert_eq!(installation.get("/deployments/digits/production").await["live"]["version"], 1);
    let recomputed = installation.get("/releases/2/rollout/recompute").await;
    assert_eq!(recomputed["decisions"], recomputed["equal"], "{recomputed}");
}
