use towpath_core::Timestamp;
use towpath_store::Store;
use towpath_tracking::batch::{self, Batch};
use towpath_tracking::metrics::{self, Metric, Point};
use towpath_tracking::runs::{self, NewRun, RunStatus};
use towpath_tracking::{KeyValue, TrackingError, experiments, tags};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    a_batch_is_written_whole_or_not_at_all,
    the_same_point_is_kept_once,
    the_latest_point_is_the_greatest_step,
    a_series_is_sampled_evenly_with_both_ends,
    many_clients_log_to_their_runs_at_once,
    children_descend_from_their_parents,
    a_deleted_experiment_takes_its_runs_along,
}

async fn start(store: &Store) -> String {
    write(store, |tx| runs::create(tx, NOW, &alice(), &NewRun::default())).await.unwrap().info.run_id
}

fn point(key: &str, step: i64, value: f64) -> Metric {
    Metric { key: key.into(), value, timestamp: 1000 + step, step, ..Metric::default() }
}

async fn log(store: &Store, run_id: &str, batch: Batch) -> Result<(), TrackingError> {
    let run_id = run_id.to_owned();
    write(store, move |tx| batch::log(tx, &run_id, &batch)).await
}

async fn history(store: &Store, run_id: &str, key: &'static str) -> Vec<Point> {
    let run_id = run_id.to_owned();
    store.read(move |tx| metrics::history(tx, &run_id, key, 0, None)).await.unwrap()
}

async fn a_batch_is_written_whole_or_not_at_all(store: Store) {
    let run_id = start(&store).await;
    let params = |value: &str| Batch {
        metrics: vec![point("loss", 1, 0.5)],
        params: vec![KeyValue::new("lr", value)],
        tags: vec![KeyValue::new("t", value)],
    };
    log(&store, &run_id, Batch { params: vec![KeyValue::new("lr", "0.1")], ..Batch::default() }).await.unwrap();
    let refused = log(&store, &run_id, params("0.2")).await.unwrap_err();
    assert!(matches!(refused, TrackingError::ParamChanged { .. }), "{refused}");
    assert_eq!(history(&store, &run_id, "loss").await, []);
    log(&store, &run_id, params("0.1")).await.unwrap();
    let id = run_id.clone();
    let run = store.read(move |tx| runs::get(tx, &id)).await.unwrap();
    assert_eq!(run.tags["t"], "0.1");
    assert_eq!(run.metrics, [point("loss", 1, 0.5)]);
}

async fn the_same_point_is_kept_once(store: Store) {
    let run_id = start(&store).await;
    let points: Vec<Metric> = (0..120).map(|i| point("loss", i, i as f64)).collect();
    for _ in 0..2 {
        log(&store, &run_id, Batch { metrics: points.clone(), ..Batch::default() }).await.unwrap();
    }
    let kept: Vec<Point> = points.iter().map(|p| Point { step: p.step, at: p.timestamp, value: p.value }).collect();
    assert_eq!(history(&store, &run_id, "loss").await, kept);
}

async fn the_latest_point_is_the_greatest_step(store: Store) {
    let run_id = start(&store).await;
    for metrics in [
        vec![point("loss", 7, 0.7), point("loss", 3, 0.3)],
        vec![point("loss", -1, 9.0), point("nan", 1, f64::NAN), point("big", 0, f64::INFINITY)],
    ] {
        log(&store, &run_id, Batch { metrics, ..Batch::default() }).await.unwrap();
    }
    let run = store.read(move |tx| runs::get(tx, &run_id)).await.unwrap();
    let latest: Vec<(&str, i64)> = run.metrics.iter().map(|m| (m.key.as_str(), m.step)).collect();
    assert_eq!(latest, [("big", 0), ("loss", 7), ("nan", 1)]);
    assert!(run.metrics[2].value.is_nan());
    assert!((run.metrics[0].value - f64::MAX).abs() < 1.0, "infinity is the greatest number");
}

async fn a_series_is_sampled_evenly_with_both_ends(store: Store) {
    let run_id = start(&store).await;
    let points: Vec<Metric> = (0..100).map(|i| point("loss", i, 1.0)).collect();
    log(&store, &run_id, Batch { metrics: points, ..Batch::default() }).await.unwrap();
    let id = run_id.clone();
    let sampled = store.read(move |tx| metrics::sampled(tx, &id, "loss", None, 10)).await.unwrap();
    assert_eq!(sampled.iter().map(|p| p.step).collect::<Vec<_>>(), [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]);
    let between = store.read(move |tx| metrics::sampled(tx, &run_id, "loss", Some((10, 12)), 5)).await.unwrap();
    assert_eq!(between.iter().map(|p| p.step).collect::<Vec<_>>(), [10, 11, 12]);
}

async fn many_clients_log_to_their_runs_at_once(store: Store) {
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let run_id = start(&store).await;
                for step in 0..5 {
                    let metrics = vec![point("shared", step, 1.0), point(&format!("own{client}"), step, 2.0)];
                    log(&store, &run_id, Batch { metrics, ..Batch::default() }).await.unwrap();
                }
                run_id
            })
        })
        .collect();
    for client in clients {
        let run_id = client.await.unwrap();
        assert_eq!(history(&store, &run_id, "shared").await.len(), 5);
    }
}

async fn children_descend_from_their_parents(store: Store) {
    let parent = start(&store).await;
    let other = start(&store).await;
    let tag = KeyValue::new(tags::PARENT, &parent);
    let child = write(&store, move |tx| {
        let new = NewRun { tags: vec![tag.clone()], name: Some("child".into()), ..NewRun::default() };
        runs::create(tx, NOW, &alice(), &new)
    })
    .await
    .unwrap();
    assert_eq!(child.tags[tags::RUN_NAME], "child");
    let id = child.info.run_id.clone();
    let answers = store
        .read(move |tx| {
            Ok::<_, TrackingError>((
                runs::descends_from(tx, &id, &parent)?,
                runs::descends_from(tx, &id, &id)?,
                runs::descends_from(tx, &id, &other)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!(answers, (true, true, false));
}

async fn a_deleted_experiment_takes_its_runs_along(store: Store) {
    let experiment = write(&store, |tx| experiments::ensure(tx, NOW, "e")).await.unwrap().id;
    let new = NewRun { experiment, ..NewRun::default() };
    let made = new.clone();
    let run = write(&store, move |tx| runs::create(tx, NOW, &alice(), &made)).await.unwrap().info;
    write(&store, move |tx| experiments::delete(tx, NOW, experiment)).await.unwrap();
    let id = run.run_id.clone();
    let refused = write(&store, move |tx| runs::active(tx, &id)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("The run {} must be in the 'active' state. Current state is deleted.", run.run_id)
    );
    assert!(write(&store, move |tx| runs::create(tx, NOW, &alice(), &new)).await.is_err());
    // Asking for the experiment again brings it back.
    assert_eq!(write(&store, |tx| experiments::ensure(tx, NOW, "e")).await.unwrap().id, experiment);
    let id = run.run_id.clone();
    write(&store, move |tx| runs::finish(tx, Timestamp(NOW.0 + 5), &id, RunStatus::Failed)).await.unwrap();
    let ended = write(&store, move |tx| runs::active(tx, &run.run_id)).await.unwrap();
    assert_eq!((ended.status, ended.end_time), (RunStatus::Failed, Some(Timestamp(NOW.0 + 5))));
}
