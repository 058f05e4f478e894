use towpath_core::{Classify, Kind, Timestamp};
use towpath_store::Store;
use towpath_tracking::metrics::{self, Metric};
use towpath_tracking::registry::{models, versions};
use towpath_tracking::runs::{self, NewRun, Update};
use towpath_tracking::{KeyValue, TrackingError, experiments, purge, tags};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    a_removed_run_leaves_nothing_behind,
    evidence_is_not_removed,
    what_was_deleted_long_ago_is_due,
    a_removed_series_is_gone_wherever_its_points_lay,
}

async fn logged(store: &Store, experiment: i64) -> String {
    write(store, move |tx| {
        let run = runs::create(tx, NOW, &alice(), &NewRun { experiment, ..NewRun::default() })?.info.run_id;
        for (key, step) in [("loss", 1), ("loss", 2), ("acc", 1)] {
            let metric = Metric { key: key.into(), value: 0.5, timestamp: 1, step, ..Metric::default() };
            metrics::log(tx, &run, &metric)?;
        }
        tags::set(tx, &run, &KeyValue::new("k", "v"))?;
        Ok(run)
    })
    .await
    .unwrap()
}

async fn rows(store: &Store, table: &'static str) -> i64 {
    let sql = format!("select count(*) as n from {table}");
    store.read(move |tx| Ok::<_, TrackingError>(tx.one(&sql, &[])?.int("n")?)).await.unwrap()
}

async fn a_removed_run_leaves_nothing_behind(store: Store) {
    let run = logged(&store, 0).await;
    let id = run.clone();
    let active = write(&store, move |tx| purge::run(tx, NOW, &alice(), &id)).await.unwrap_err();
    assert!(active.to_string().ends_with("must be in the 'deleted' state. Current state is active."), "{active}");
    let id = run.clone();
    write(&store, move |tx| {
        runs::update(tx, &id, &Update { end_time: Some(NOW), ..Update::default() })?;
        runs::delete(tx, NOW, &id)?;
        purge::run(tx, NOW, &alice(), &id)
    })
    .await
    .unwrap();
    for table in ["tracked_runs", "run_tags", "metric_tails", "metric_chunks", "metric_latest"] {
        assert_eq!(rows(&store, table).await, 0, "{table}");
    }
    let gone = store.read(move |tx| runs::get(tx, &run)).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
}

async fn evidence_is_not_removed(store: Store) {
    let (registered, piped) = (logged(&store, 0).await, logged(&store, 0).await);
    let (first, second) = (registered.clone(), piped.clone());
    write(&store, move |tx| {
        models::ensure(tx, NOW, &alice(), "net")?;
        let new = versions::NewVersion {
            model: "net".into(),
            source: format!("runs:/{first}/model"),
            ..versions::NewVersion::default()
        };
        versions::create(tx, NOW, &alice(), &new)?;
        tags::set(tx, &second, &KeyValue::new(tags::PIPELINE_RUN, "digits/3"))?;
        runs::delete(tx, NOW, &first)?;
        runs::delete(tx, NOW, &second)
    })
    .await
    .unwrap();
    for (run, reason) in [(registered, "version 1 of model 'net'"), (piped, "pipeline run digits/3")] {
        let refused = write(&store, move |tx| purge::run(tx, NOW, &alice(), &run)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Denied);
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    let due = store.read(|tx| purge::due(tx, Timestamp(NOW.millis() + 1))).await.unwrap();
    assert_eq!((due.runs.len(), due.kept.len()), (0, 2));
}

async fn what_was_deleted_long_ago_is_due(store: Store) {
    let experiment = write(&store, |tx| experiments::create(tx, NOW, "old", None, &[])).await.unwrap().id;
    let (inside, outside) = (logged(&store, experiment).await, logged(&store, 0).await);
    let later = Timestamp(NOW.millis() + 1000);
    let id = outside.clone();
    write(&store, move |tx| {
        experiments::delete(tx, NOW, experiment)?;
        runs::delete(tx, later, &id)?;
        // Deleting it again does not make it younger.
        runs::delete(tx, Timestamp(later.millis() + 9000), &id)
    })
    .await
    .unwrap();
    let due = store.read(|tx| purge::due(tx, NOW)).await.unwrap();
    assert_eq!(due, purge::Due::default());
    let due = store.read(move |tx| purge::due(tx, later)).await.unwrap();
    assert_eq!((due.runs, due.experiments), (vec![inside.clone()], vec![experiment]));
    let due = store.read(move |tx| purge::due(tx, Timestamp(later.millis() + 1))).await.unwrap();
    assert_eq!(due.runs, [inside.clone(), outside]);
    let early = write(&store, move |tx| purge::experiment(tx, later, &alice(), experiment)).await.unwrap_err();
    assert!(early.to_string().contains("still has run"), "{early}");
    write(&store, move |tx| {
        purge::run(tx, later, &alice(), &inside)?;
        purge::experiment(tx, later, &alice(), experiment)
    })
    .await
    .unwrap();
    assert!(store.read(move |tx| experiments::get(tx, experiment)).await.is_err());
    // Its name is free again.
    write(&store, |tx| experiments::create(tx, NOW, "old", None, &[])).await.unwrap();
    assert_eq!(write(&store, |tx| purge::experiment(tx, NOW, &alice(), 0)).await.unwrap_err().kind(), Kind::Denied);
}

async fn a_removed_series_is_gone_wherever_its_points_lay(store: Store) {
    let run = logged(&store, 0).await;
    let id = run.clone();
    assert_eq!(write(&store, move |tx| metrics::delete(tx, &id, "loss")).await.unwrap(), 2);
    let id = run.clone();
    let (left, acc) = store
        .read(move |tx| Ok::<_, TrackingError>((metrics::history(tx, &id, "loss", 0, None)?, runs::get(tx, &id)?)))
        .await
        .unwrap();
    assert_eq!(left, []);
    assert_eq!(acc.metrics.iter().map(|m| m.key.as_str()).collect::<Vec<_>>(), ["acc"]);
    let id = run.clone();
    let gone = write(&store, move |tx| metrics::delete(tx, &id, "loss")).await.unwrap_err();
    assert_eq!(gone.kind(), Kind::NotFound);
    // It may begin anew.
    write(&store, move |tx| {
        let metric = Metric { key: "loss".into(), value: 1.0, timestamp: 5, step: 0, ..Metric::default() };
        metrics::log(tx, &run, &metric)
    })
    .await
    .unwrap();
}
