//! A canary under the judge of the data plane.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use towpath_api::control::{RoutingKey, RoutingTable, Variants};

use crate::deployment::{Deployment, revision, rolling_out, row, table, until};

fn canary(version: u64, candidate: &str, weight: f64, step: usize) -> RoutingTable {
    rolling_out(table(version, revision(1, "label:7")), candidate, weight, step)
}

#[tokio::test]
async fn a_key_stays_with_its_revision_and_a_larger_weight_only_adds_keys() {
    let deployment = Deployment::start().await;
    let on_candidate = async || {
        let mut keys = HashSet::new();
        for i in 0..200 {
            if deployment.predict(&format!("user-{i}")).await.revision == "digits-v2-r2" {
                keys.insert(i);
            }
        }
        keys
    };
    deployment.serve_table(&canary(1, "label:7", 0.25, 0)).await;
    let first = on_candidate().await;
    assert!((25..75).contains(&first.len()), "{} of 200 at 25 %", first.len());
    assert_eq!(on_candidate().await, first);
    deployment.serve_table(&canary(2, "label:7", 0.5, 1)).await;
    assert!(on_candidate().await.is_superset(&first));

    let rollout = deployment.state().await.rollout.unwrap();
    assert_eq!((rollout.step, rollout.weight, rollout.rolled_back), (1, 0.5, None));
    assert_eq!(rollout.evidence_at_step.requests.candidate, 2 * first.len() as u64);
}

#[tokio::test]
async fn an_experiment_routes_by_its_own_key_and_testers_name_its_variants() {
    let deployment = Deployment::start().await;
    let (infer, mut version) = ("/v2/models/digits/infer", 0);
    let mut serve = async |key: RoutingKey| {
        version += 1;
        let mut experiment = canary(version, "label:7", 0.5, 0);
        let rollout = experiment.rollout.as_mut().unwrap();
        rollout.key = Some(key);
        rollout.variants = Some(Variants { stable: "control".into(), candidate: "treatment".into() });
        deployment.serve_table(&experiment).await;
    };
    // Forty requests of one caller: one revision when the rule finds the key, both when it does not.
    let seen = async |a: f32, name: &'static str, value: &'static str| {
        let mut revisions = HashSet::new();
        for _ in 0..40 {
            let request = deployment.post(infer, &row(a, 2.0)).header("x-towpath-key", "the same").header(name, value);
            let answer = request.send().await.unwrap();
            revisions.insert(answer.headers()["x-towpath-revision"].to_str().unwrap().to_owned());
        }
        revisions.len()
    };
    serve(RoutingKey::Header("x-user".into())).await;
    assert_eq!(seen(1.0, "x-user", "7").await, 1);
    assert_eq!(seen(1.0, "x-other", "7").await, 2, "the key of others is not this experiment's");
    serve(RoutingKey::Cookie("uid".into())).await;
    assert_eq!(seen(1.0, "cookie", "a=b; uid=7").await, 1);
    assert_eq!(seen(1.0, "cookie", "a=b").await, 2);
    serve(RoutingKey::Field("X".into())).await;
    assert_eq!((seen(1.0, "x-user", "7").await, seen(3.0, "x-user", "8").await), (1, 1));
    serve(RoutingKey::Field("none".into())).await;
    assert_eq!(seen(1.0, "x-user", "7").await, 2);
    for (variant, revision) in [("control", "digits-v1-r1"), ("treatment", "digits-v2-r2"), ("stable", "digits-v1-r1")]
    {
        let asked = deployment.post(infer, &row(1.0, 2.0)).header("x-towpath-variant", variant).send().await.unwrap();
        assert_eq!(asked.headers()["x-towpath-revision"], revision);
    }
}

#[tokio::test]
async fn without_a_key_the_request_id_decides_and_without_both_chance() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "label:7", 0.5, 0)).await;
    let revisions = async |id: Option<&str>| {
        let mut revisions = HashSet::new();
        for _ in 0..40 {
            let mut request = row(1.0, 2.0);
            if let Some(id) = id {
                request["id"] = id.into();
            }
            let answer = deployment.post("/v2/models/digits/infer", &request).send().await.unwrap();
            revisions.insert(answer.headers()["x-towpath-revision"].to_str().unwrap().to_owned());
        }
        revisions
    };
    assert_eq!(revisions(Some("order-17")).await.len(), 1);
    assert_eq!(revisions(Some("")).await.len(), 2);
    assert_eq!(revisions(None).await.len(), 2);
}

#[tokio::test]
async fn a_version_in_the_path_bypasses_the_rollout_and_its_judge() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "label:7", 0.5, 0)).await;
    for version in ["1", "2", "2"] {
        let path = format!("/v2/models/digits/versions/{version}/infer");
        let answer = deployment.post(&path, &row(1.0, 2.0)).send().await.unwrap();
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["model_version"], version);
    }
    let requests = deployment.state().await.rollout.unwrap().evidence.requests;
    assert_eq!((requests.stable, requests.candidate), (0, 0));
}

#[tokio::test]
async fn a_failing_candidate_is_rolled_back_within_100_ms_and_stays_away() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "fails", 0.5, 0)).await;
    let mut failed = 0;
    for i in 0..200 {
        failed += u64::from(deployment.predict(&format!("user-{i}")).await.status == 500);
        if deployment.state().await.rollout.unwrap().rolled_back.is_some() {
            break;
        }
    }
    let rollout = deployment.state().await.rollout.unwrap();
    let rolled_back = rollout.rolled_back.expect("it was rolled back");
    assert_eq!(rolled_back.by, "judge");
    assert!(rolled_back.reason.contains("(errors)"), "{}", rolled_back.reason);
    assert!(rolled_back.effective_micros < 100_000, "{} us", rolled_back.effective_micros);
    assert!(rollout.weight <= 0.0);
    // At an even split, E passes 1 / (0.01 x 0.5) after about eleven failures and no stable one.
    assert!((5..20).contains(&failed), "{failed} requests failed");

    // No request fails after the decision, no table brings the candidate back.
    for i in 0..100 {
        assert_eq!(deployment.predict(&format!("user-{i}")).await.status, 200);
    }
    deployment.serve_table(&canary(2, "fails", 0.9, 1)).await;
    assert_eq!(deployment.predict("user-1").await.revision, "digits-v1-r1");
    assert!(deployment.state().await.rollout.unwrap().weight <= 0.0);
}

#[tokio::test]
async fn wrong_labels_roll_back_although_every_request_succeeds() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "label:1", 0.5, 0)).await;
    for i in 0..200 {
        let answer = deployment.predict(&format!("user-{i}")).await;
        assert_eq!(answer.status, 200);
        deployment.label(&answer.id, 7).await;
    }
    let rolled_back = deployment.state().await.rollout.unwrap().rolled_back.expect("it was rolled back");
    assert!(rolled_back.reason.contains("(labels)"), "{}", rolled_back.reason);
    let labels = rolled_back.evidence.labels.unwrap();
    assert_eq!(labels.tallies[0].stable.bad, 0);
}

#[tokio::test]
async fn a_kill_forgets_neither_the_evidence_nor_a_rollback() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "fails", 0.2, 0)).await;
    let mut failed = 0;
    for i in 0.. {
        failed += u64::from(deployment.predict(&format!("user-{i}")).await.status == 500);
        if failed == 2 {
            break;
        }
    }
    let evidence = deployment.state().await.rollout.unwrap().evidence;
    let stored = async || std::fs::read(deployment.state_dir().join("state.bin")).unwrap_or_default();
    let needle = serde_json::to_string(&evidence).unwrap();
    until(stored, |bytes| String::from_utf8_lossy(bytes).contains(&needle)).await;

    let after_kill = deployment.as_killed_now().await;
    assert_eq!(after_kill.state().await.rollout.unwrap().evidence, evidence);
    for i in 1000..2000 {
        after_kill.predict(&format!("user-{i}")).await;
        if after_kill.state().await.rollout.unwrap().rolled_back.is_some() {
            break;
        }
    }
    let rolled_back = after_kill.state().await.rollout.unwrap().rolled_back;
    assert!(rolled_back.is_some());
    let stored = async || std::fs::read(after_kill.state_dir().join("state.bin")).unwrap_or_default();
    until(stored, |bytes| String::from_utf8_lossy(bytes).contains("\"by\":\"judge\"")).await;

    let again = after_kill.as_killed_now().await;
    assert_eq!(again.state().await.rollout.unwrap().rolled_back, rolled_back);
    for i in 0..50 {
        assert_eq!(again.predict(&format!("user-{i}")).await.revision, "digits-v1-r1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_drop_no_request() {
    let deployment = Arc::new(Deployment::start().await);
    deployment.serve_table(&table(1, revision(1, "label:1"))).await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (deployment, stop, answered) = (Arc::clone(&deployment), Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = deployment.predict(&format!("user-{caller}")).await;
                    assert_eq!(answer.status, 200, "{}", answer.body);
                    // The answer is of the revision that it names.
                    let label = answer.body["outputs"][0]["data"][0].as_i64().unwrap();
                    assert!(answer.revision.starts_with(&format!("digits-v{label}-")), "{label}");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let started = Instant::now();
    let mut version = 1;
    while version < 30 || answered.load(Ordering::Relaxed) < 200 {
        version += 1;
        let serves = 1 + version % 3;
        let revision = revision(serves, &format!("label:{serves}"));
        deployment.serve_table(&table(u64::try_from(version).unwrap(), revision)).await;
        assert!(started.elapsed() < Duration::from_secs(30), "{version} swaps");
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_requests_in_flight() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "slow"))).await;
    let request = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0));
    let in_flight = tokio::spawn(request.send());
    let metrics = async || deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
    until(metrics, |text| text.contains("towpath_in_flight_requests 1")).await;
    deployment.stop().await;
    assert_eq!(in_flight.await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_candidate_with_other_inputs_is_at_fault_not_its_callers() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&canary(1, "wider", 0.5, 0)).await;
    for i in 0..100 {
        let answer = deployment.predict(&format!("user-{i}")).await;
        if answer.revision == "digits-v2-r2" {
            let error = answer.body["error"].as_str().unwrap().to_owned();
            assert!(error.contains("does not take what the stable revision takes: input 'X'"), "{error}");
            assert_eq!(answer.status, 500);
        }
    }
    assert!(deployment.state().await.rollout.unwrap().rolled_back.is_some());
}

#[tokio::test]
async fn latency_limits_are_frozen_from_stable_before_the_rollout() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "label:7"))).await;
    for _ in 0..300 {
        deployment.predict("user").await;
    }
    deployment.serve_table(&canary(2, "label:7", 0.5, 0)).await;
    let limits = |latency: &[towpath_stats::judge::LatencyComparison]| -> Vec<(f64, f64)> {
        latency.iter().map(|part| (part.quantile, part.limit_seconds)).collect()
    };
    let frozen = limits(&deployment.state().await.rollout.unwrap().evidence.latency);
    assert_eq!(frozen.iter().map(|(quantile, _)| *quantile).collect::<Vec<_>>(), [0.9, 0.99]);
    assert!(frozen.iter().all(|(_, seconds)| *seconds > 0.000_5), "{frozen:?}");
    for i in 0..50 {
        deployment.predict(&format!("user-{i}")).await;
    }
    let evidence = deployment.state().await.rollout.unwrap().evidence;
    assert_eq!(limits(&evidence.latency), frozen);
    let tally = evidence.latency[0].comparison.tallies[0];
    assert_eq!(tally.stable.all + tally.candidate.all, 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_and_green_switch_at_once_in_both_directions() {
    let deployment = Deployment::start().await;
    let at = |version, candidate: &str, weight: f64| {
        let step = usize::from(weight > 0.0);
        let mut table = rolling_out(table(version, revision(1, "label:7")), candidate, weight, step);
        let rollout = table.rollout.as_mut().unwrap();
        rollout.judge.alone = true;
        rollout.id = candidate.to_owned();
        table
    };
    let ask = async |variant: Option<&str>| {
        let request = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0));
        let request = variant.into_iter().fold(request, |request, name| request.header("x-towpath-variant", name));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers()["x-towpath-revision"].to_str().unwrap().to_owned())
    };
    let (old, new) = ((200, "digits-v1-r1".to_owned()), (200, "digits-v2-r2".to_owned()));

    deployment.serve_table(&at(1, "label:8", 0.0)).await;
    for _ in 0..20 {
        assert_eq!(ask(None).await, old);
    }
    assert_eq!(ask(Some("candidate")).await, new, "who asks for it sees it");
    deployment.serve_table(&at(2, "label:8", 1.0)).await;
    for _ in 0..20 {
        assert_eq!(ask(None).await, new);
    }

    deployment.serve_table(&at(3, "fails", 0.0)).await;
    deployment.serve_table(&at(4, "fails", 1.0)).await;
    let mut failed = 0;
    while ask(None).await.0 != 200 {
        failed += 1;
        assert!(failed < 20, "it is taken back");
    }
    assert!((3..10).contains(&failed), "{failed}");
    assert_eq!(ask(None).await, old, "what served before is loaded still");
    let rolled_back = deployment.state().await.rollout.unwrap().rolled_back.unwrap();
    let reason = format!("{failed} of {failed} failed, at most 1 % may be (errors)");
    assert!(rolled_back.reason.contains(&reason), "{}", rolled_back.reason);
    assert!(rolled_back.effective_micros < 10_000, "{} us", rolled_back.effective_micros);
}
