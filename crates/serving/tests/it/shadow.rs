//! Copies of requests: what they say of a candidate, and that nobody notices them.

use std::time::{Duration, Instant};

use towpath_api::control::RoutingTable;
use towpath_core::project::ShadowPolicy;
use towpath_stats::judge::ShadowComparison;

use crate::deployment::{Deployment, revision, rolling_out, row, table, until};

fn canary(version: u64, candidate: &str, weight: f64) -> RoutingTable {
    rolling_out(table(version, revision(1, "label:7")), candidate, weight, 0)
}

/// A candidate that no user sees: it gets a copy of each request.
fn shadowed(version: u64, candidate: &str) -> RoutingTable {
    let mut table = canary(version, candidate, 0.0);
    let rollout = table.rollout.as_mut().unwrap();
    rollout.judge.shadow = Some(ShadowPolicy { share: 1.0, disagreement: 0.05, tolerance: 0.0 });
    table
}

async fn compared(deployment: &Deployment, copies: u64) -> ShadowComparison {
    let seen = async || deployment.state().await.rollout.unwrap().evidence.shadow.unwrap();
    until(seen, |shadow| shadow.compared >= copies).await
}

/// All of stable, and how long half of them took at most.
async fn ask(deployment: &Deployment, count: usize) -> Duration {
    let mut took = Vec::new();
    for user in 0..count {
        let started = Instant::now();
        let answer = deployment.predict(&format!("user-{user}")).await;
        assert_eq!((answer.status, answer.revision.as_str()), (200, "digits-v1-r1"), "{}", answer.body);
        took.push(started.elapsed());
    }
    took.sort();
    took[count / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_no_user_sees_is_compared_with_stable() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&shadowed(1, "label:7")).await;
    ask(&deployment, 20).await;
    let same = compared(&deployment, 20).await;
    assert_eq!((same.compared, same.disagreed, same.failed), (20, 0, 0));
    assert_eq!(deployment.state().await.revisions[1].requests, 0, "no user saw it");

    let mut other = shadowed(2, "label:8");
    other.rollout.as_mut().unwrap().id = "other".to_owned();
    deployment.serve_table(&other).await;
    ask(&deployment, 20).await;
    let different = compared(&deployment, 20).await;
    assert_eq!(
        (different.disagreed, different.stable_outputs.sum, different.candidate_outputs.sum),
        (20, 140.0, 160.0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_come_later_judge_the_answers_to_copies() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&shadowed(1, "label:8")).await;
    let mut ids = Vec::new();
    for user in 0..40 {
        ids.push(deployment.predict(&format!("user-{user}")).await.id);
    }
    compared(&deployment, 40).await;
    // The answers to copies are on disk as well.
    let deployment = deployment.restart().await;
    let pairs = async || deployment.state().await.rollout.unwrap().evidence.label_pairs.unwrap();
    for id in &ids[..3] {
        deployment.label(id, 9).await;
    }
    let both = pairs().await;
    assert_eq!((both.all, both.both_wrong, both.first_candidate), (3, 3, 0));
    let mut labelled = 3;
    for id in &ids[3..] {
        deployment.label(id, 7).await;
        labelled += 1;
        if deployment.state().await.rollout.unwrap().rolled_back.is_some() {
            break;
        }
    }
    let state = deployment.state().await.rollout.unwrap();
    let rolled_back = state.rolled_back.unwrap();
    assert_eq!((rolled_back.by.as_str(), state.weight), ("judge", 0.0));
    let wrong = format!("{labelled} of {labelled} wrong against 3 of {labelled} (labels of copies)");
    assert!(rolled_back.reason.contains(&wrong), "{}", rolled_back.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_neither_delay_nor_fail_what_users_get() {
    for (candidate, failed) in [("panics", true), ("fails", true), ("wider", true), ("slow", false), ("hangs", false)] {
        let deployment = Deployment::start().await;
        deployment.serve_table(&shadowed(1, candidate)).await;
        let median = ask(&deployment, 300).await;
        assert!(median < Duration::from_millis(100), "{candidate}: {median:?}"); // It takes 200 ms or more.
        if failed {
            let shadow = compared(&deployment, 20).await;
            assert_eq!((shadow.failed, shadow.disagreed), (shadow.compared, shadow.compared), "{candidate}");
        } else {
            let metrics = deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
            let dropped = metrics.lines().find(|l| l.starts_with("towpath_shadow_copies_dropped_total")).unwrap();
            assert!(!dropped.ends_with(" 0"), "more copies than it answers are dropped: {dropped}");
        }
        assert!(deployment.state().await.rollout.unwrap().rolled_back.is_none());
    }
}

#[tokio::test]
async fn a_tester_names_the_variant_and_the_judge_does_not_count_it() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "label:7", 0.5)).await;
    let ask = async |name: &str| {
        let request = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0)).header("x-towpath-variant", name);
        request.send().await.unwrap()
    };
    for (name, revision) in [("stable", "digits-v1-r1"), ("candidate", "digits-v2-r2")] {
        for _ in 0..20 {
            assert_eq!(ask(name).await.headers()["x-towpath-revision"], revision);
        }
    }
    let unknown = ask("warm").await;
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().await.unwrap().contains("no variant 'warm'"));
    let evidence = deployment.state().await.rollout.unwrap().evidence;
    assert_eq!((evidence.requests.stable, evidence.requests.candidate), (0, 0));
}

#[tokio::test]
async fn a_cookie_keeps_a_user_with_one_revision() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "label:7", 0.5)).await;
    for user in 0..20 {
        let keyed = deployment.predict(&format!("user-{user}")).await;
        let cookie = format!("theme=dark; x-towpath-key=user-{user}");
        let request = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0)).header("cookie", cookie);
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["x-towpath-revision"], *keyed.revision, "{user}");
    }
}
