//! The prediction log and the labels that come later.

use serde_json::{Value, json};
use towpath_api::control::LogPolicy;
use towpath_core::project::{Better, ValueMetric};

use crate::deployment::{Deployment, revision, rolling_out, table, until};

#[tokio::test]
async fn labels_are_accepted_once_and_unknown_predictions_are_counted() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "label:7"))).await;
    let (right, wrong) = (deployment.predict("a").await, deployment.predict("b").await);
    let batch = json!({ "labels": [
        { "prediction_id": right.id, "label": "7" },
        { "prediction_id": wrong.id, "label": 8 },
        { "prediction_id": right.id, "label": 9 },
        { "prediction_id": "no such id", "label": 7 },
    ] });
    let received: Value = deployment.post("/feedback", &batch).send().await.unwrap().json().await.unwrap();
    assert_eq!(received, json!({ "accepted": 2, "duplicate": 1, "unknown": 1, "late": 0 }));

    let state = deployment.state().await;
    assert_eq!((state.revisions[0].labelled, state.revisions[0].correct), (2, 1));
    assert_eq!((state.labels.accepted, state.labels.duplicate, state.labels.unknown), (2, 1, 1));
    assert_eq!(deployment.prediction(&right.id).await.label, Some(json!("7")));
}

#[tokio::test]
async fn a_label_after_its_rollout_is_accepted_and_counted_as_late() {
    let deployment = Deployment::start().await;
    let stable = table(1, revision(1, "label:7"));
    deployment.serve_table(&rolling_out(stable.clone(), "label:7", 0.5, 0)).await;
    let (during, after) = (deployment.predict("a").await, deployment.predict("b").await);
    assert_eq!(deployment.label(&during.id, 7).await["late"], 0);
    let evidence = deployment.state().await.rollout.unwrap().evidence;
    assert_eq!(evidence.labels.unwrap().tallies.len(), 1);

    deployment.serve_table(&table(2, revision(1, "label:7"))).await;
    assert_eq!(deployment.label(&after.id, 7).await, json!({ "accepted": 1, "duplicate": 0, "unknown": 0, "late": 1 }));
}

#[tokio::test]
async fn labels_and_predictions_survive_a_restart() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "label:7"))).await;
    let (first, second) = (deployment.predict("a").await, deployment.predict("b").await);
    deployment.label(&first.id, 7).await;

    let deployment = deployment.restart().await;
    assert_eq!(deployment.label(&first.id, 7).await["duplicate"], 1);
    assert_eq!(deployment.label(&second.id, 7).await["accepted"], 1);
    let record = deployment.prediction(&second.id).await;
    assert_eq!((record.output, record.label), (json!([7]), Some(json!(7))));
    let state = deployment.state().await;
    assert_eq!((state.requests, state.predictions_logged, state.revisions[0].labelled), (2, 2, 2));
}

#[tokio::test]
async fn the_log_keeps_a_sample_hides_features_and_every_id_still_names_its_release() {
    let deployment = Deployment::start().await;
    let mut kept = table(1, revision(1, "label:7"));
    deployment.serve_table(&kept).await;
    let whole = deployment.prediction(&deployment.predict("a").await.id).await;
    assert_eq!((whole.features, whole.note), (Some(json!({"X": [[1.0, 2.0]]})), None));

    let mask = vec!["X".to_owned()];
    kept.version = 2;
    kept.prediction_log = Some(LogPolicy { sample: 0.5, mask, ..LogPolicy::default() });
    deployment.serve_table(&kept).await;
    let (mut rows, mut notes) = (0, 0);
    for caller in 0..60 {
        let predicted = deployment.predict(&format!("user-{caller}")).await;
        let record = deployment.prediction(&predicted.id).await;
        assert_eq!((record.release, record.id.as_str()), (1, predicted.id.as_str()));
        match record.note {
            None => {
                rows += 1;
                assert_eq!(record.features, Some(json!({"X": "***"})));
            }
            Some(note) => {
                notes += 1;
                assert!(note.contains("sampled out"), "{note}");
                assert_eq!(deployment.label(&predicted.id, 7).await["accepted"], 1, "a label counts all the same");
            }
        }
    }
    assert!(rows > 10 && notes > 10, "{rows} {notes}");
    let metrics = deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains(&format!("towpath_predictions_sampled_out_total {notes}\n")), "{metrics}");
    let stranger = deployment.get("/control/predictions/019000000000700080000000000000ab");
    assert_eq!(deployment.control(stranger).await.status(), 404);
}

#[tokio::test]
async fn values_that_are_told_later_are_kept_and_judge_the_rollout() {
    let deployment = Deployment::start().await;
    let mut rolling = rolling_out(table(1, revision(1, "label:7")), "label:7", 0.5, 0);
    let metric = |name: &str, better, bounds| ValueMetric {
        name: name.to_owned(),
        better,
        effect: 1.0,
        bounds,
        share: 0.5,
        required: false,
    };
    let judge = &mut rolling.rollout.as_mut().unwrap().judge;
    judge.metrics = vec![metric("revenue", Better::Higher, Some((0.0, 50.0))), metric("value", Better::Lower, None)];
    deployment.serve_table(&rolling).await;
    let tell = async |deployment: &Deployment, body: &Value| {
        deployment.post("/feedback", body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let first = deployment.predict("user-0").await;
    let both = json!({ "prediction_id": first.id, "label": 7, "value": 1.5, "metrics": { "revenue": 20, "other": 1 } });
    assert_eq!(tell(&deployment, &both).await, json!({ "accepted": 4, "duplicate": 0, "unknown": 0, "late": 0 }));
    assert_eq!(tell(&deployment, &both).await["duplicate"], 4);
    let record = deployment.prediction(&first.id).await;
    assert_eq!(json!(record.values), json!({ "other": 1.0, "revenue": 20.0, "value": 1.5 }));
    // Who pays less with the candidate: a caller is one value.
    let mut told = 1;
    for user in 0.. {
        let answer = deployment.predict(&format!("user-{user}")).await;
        let revenue = if answer.revision == "digits-v2-r2" { 5 } else { 20 };
        let value = json!({ "prediction_id": answer.id, "metrics": { "revenue": revenue } });
        assert_eq!(tell(&deployment, &value).await["accepted"], 1);
        told += u64::from(user > 0);
        let rollout = deployment.state().await.rollout.unwrap();
        let values = &rollout.evidence.values;
        assert_eq!(values[0].stable.count + values[0].candidate.count, told);
        assert_eq!(values[1].stable.count + values[1].candidate.count, 1);
        if let Some(rolled_back) = rollout.rolled_back {
            assert!(rolled_back.reason.contains(" against 20.0000 in "), "{}", rolled_back.reason);
            break;
        }
        assert!(user < 400, "{values:?}");
    }
    let deployment = deployment.restart().await;
    assert_eq!(tell(&deployment, &both).await["duplicate"], 4);
    let rollout = deployment.state().await.rollout.unwrap();
    assert_eq!(rollout.evidence.values[0].stable.count + rollout.evidence.values[0].candidate.count, told);
}

#[tokio::test]
async fn a_body_that_holds_no_labels_is_refused() {
    let deployment = Deployment::start().await;
    let answer = deployment.post("/feedback", &json!({ "label": 3 })).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let error: Value = answer.json().await.unwrap();
    assert!(error["error"].as_str().unwrap().contains("missing field `prediction_id`"), "{error}");
}

#[tokio::test]
async fn while_the_disk_refuses_answers_go_on_and_rows_follow_later() {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(1, "label:7"))).await;
    let (folder, away) = (deployment.state_dir().join("predictions"), deployment.state_dir().join("away"));
    std::fs::rename(&folder, &away).unwrap();
    let answer = deployment.predict("a").await;
    assert_eq!(answer.status, 200);
    let failures = async || deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
    until(failures, |text| !text.contains("towpath_prediction_log_failures_total 0")).await;
    assert_eq!(deployment.predict("b").await.status, 200);

    std::fs::rename(&away, &folder).unwrap();
    let state = async || deployment.state().await.predictions_logged;
    until(state, |logged| *logged == 2).await;
    assert_eq!(deployment.prediction(&answer.id).await.output, json!([7]));
}

#[tokio::test]
async fn a_policy_may_refuse_predictions_that_cannot_be_logged() {
    let deployment = Deployment::start_refusing().await;
    deployment.serve_table(&table(1, revision(1, "label:7"))).await;
    std::fs::remove_dir(deployment.state_dir().join("predictions")).unwrap();
    let refused = until(async || deployment.predict("a").await, |answer| answer.status != 200).await;
    assert_eq!(refused.status, 503);
    assert!(refused.body["error"].as_str().unwrap().starts_with("predictions cannot be logged"));
}
