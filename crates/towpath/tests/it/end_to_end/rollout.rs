//! `towpath rollout` beside a real rollout.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::installation::{Installation, eventually};
use crate::program::text;

const PRODUCTION: &str = "  production:\n    rollout:\n      steps: [50%, 100%]\n      \
                          step: {min_time: 1h, min_requests: 100000}\n      judge: {labels: {}}\n";

fn rollout(installation: &Installation, arguments: &[&str]) -> Command {
    let mut command = installation.command(env!("CARGO_BIN_EXE_towpath"));
    command.arg("rollout").args(arguments);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn its_evidence_is_watched_until_it_is_taken_back() {
    let installation = Installation::with_environments(PRODUCTION).await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.push_words("c\n");
    installation.canary_begins(&address).await;

    let mut watching = rollout(&installation, &["watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!((&first["release"], &first["weight"]), (&2.into(), &0.5.into()), "{first}");

    // Whatever the candidate answers is wrong.
    let mut caller = 0;
    eventually("the judge rolls back", async || {
        caller += 1;
        let answer = installation.predict_right(&address, &format!("user-{caller}")).await;
        let truth = if answer.revision.contains("-v2-") { vec![9, 9, 9, 9] } else { answer.digits.clone() };
        installation.label(&address, &answer, &truth).await;
        let state = installation.data_plane(&address).await?;
        state.rollout.is_none_or(|rollout| rollout.rolled_back.is_some()).then_some(())
    })
    .await;
    let looks: Vec<Value> = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(watching.wait().unwrap().code(), Some(1), "a candidate that was taken back is a failure");
    let last = looks.last().unwrap();
    assert_eq!(last["status"], "rolled_back", "{last}");
    assert!(last["verdict"]["combined"].as_f64().unwrap() >= 100.0, "{last}");
    let requests = |look: &Value| look["requests"].as_u64().unwrap();
    assert!(looks.windows(2).all(|pair| requests(&pair[0]) <= requests(&pair[1])), "{looks:?}");

    let listed = text(&rollout(&installation, &["ls"]).output().unwrap().stdout);
    let rows: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().take(5).collect()).collect();
    assert_eq!(rows[0], ["RELEASE", "VERSION", "IN", "STATUS", "SHARE"]);
    assert_eq!(rows[1], ["2", "digits", "v2", "production", "rolled"]);
    assert_eq!(rows[2], ["1", "digits", "v1", "production", "promoted"]);

    let shown = text(&rollout(&installation, &["show", "2"]).output().unwrap().stdout);
    for said in ["candidate  v2 against v1", "status     rolled back", "labels", "worse (", "▁", "roll back"] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let output = rollout(&installation, &["show", "2", "--json"]).output().unwrap();
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!view["series"].as_array().unwrap().is_empty(), "{view}");
    assert_eq!(view["decisions"][0]["verb"], "roll_back");
    let missing = rollout(&installation, &["show", "9"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_goes_on_until_a_person_promotes_a_variant() {
    let production = "  production:\n    rollout:\n      strategy: ab\n      \
                      variants: {control: 50%, treatment: 50%}\n      key: header:x-towpath-key\n      \
                      judge: {labels: {}}\n";
    let installation = Installation::with_environments(production).await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.push_words("c\n");
    installation.canary_begins(&address).await;
    for caller in 0..60 {
        let answer = installation.predict_right(&address, &format!("user-{caller}")).await;
        // Better than what serves: no reason to end it by itself.
        let truth = if answer.revision.contains("-v2-") { answer.digits.clone() } else { vec![9, 9, 9, 9] };
        installation.label(&address, &answer, &truth).await;
    }
    let shown = eventually("the experiment has a result", async || {
        let shown = text(&rollout(&installation, &["show"]).output().unwrap().stdout);
        (shown.contains("Experiment with 50 % of treatment") && shown.contains(", p ")).then_some(shown)
    })
    .await;
    assert!(shown.contains("variants   treatment (candidate) against control"), "{shown}");
    assert_eq!(installation.get("/releases/2").await["state"], "rolling_out");

    let canary = rollout(&installation, &["promote", "1", "--reason", "x"]).output().unwrap();
    assert_eq!(canary.status.code(), Some(5), "{}", text(&canary.stderr));
    let promoted = rollout(&installation, &["promote", "2", "--reason", "fewer wrong labels"]).output().unwrap();
    assert_eq!(text(&promoted.stdout), "digits v2 serves everybody in production\n", "{}", text(&promoted.stderr));
    assert_eq!(installation.reaches(2, "live").await["state"], "live");
    eventually("everybody gets the candidate", async || {
        let state = installation.data_plane(&address).await?;
        (state.rollout.is_none() && state.revisions.iter().any(|r| r.id == "digits-v2-r2" && r.weight >= 1.0))
            .then_some(())
    })
    .await;
    assert_eq!(installation.told(2).await.last().unwrap(), "release.live");
    assert_eq!(installation.get("/releases/2/rollout/recompute").await["differences"], serde_json::json!([]));
}
