//! Series against a model that keeps every point in a set.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use towpath_store::{Durability, Store, StoreError};
use towpath_tracking::batch::{self, Batch};
use towpath_tracking::metrics::{self, Metric, Point, Stretch};
use towpath_tracking::runs::{self, NewRun, RunStatus};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    series_are_what_was_logged_whatever_is_folded,
    what_an_older_version_wrote_is_packed,
    a_chart_gets_finer_points_of_a_shorter_stretch,
    an_ended_run_leaves_no_tail,
}

const KEYS: [&str; 3] = ["loss", "a/b", "é"];

async fn start(store: &Store) -> String {
    write(store, |tx| runs::create(tx, NOW, &alice(), &NewRun::default())).await.unwrap().info.run_id
}

/// Values that compare, steps and times that come again and out of order.
fn any_metric() -> impl Strategy<Value = Metric> {
    let value = prop_oneof![-3..3_i32, Just(i32::MAX)].prop_map(|v| match v {
        -3 => f64::NAN,
        i32::MAX => f64::INFINITY,
        v => f64::from(v) / 2.0,
    });
    let step = prop_oneof![5 => -20..1500_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    (0..KEYS.len(), step, 0..4_i64, value).prop_map(|(key, step, timestamp, value)| Metric {
        key: KEYS[key].into(),
        value,
        timestamp,
        step,
        ..Metric::default()
    })
}

/// (number, NaN): equal points have equal keys, and keys are in the order of values.
fn key_of(value: f64) -> (i64, bool) {
    if value.is_nan() { (0, true) } else { ((value.clamp(-1e6, 1e6) * 2.0) as i64, false) }
}

#[derive(Default)]
struct Model {
    by_time: BTreeMap<(i64, i64, (i64, bool)), f64>,
    by_step: BTreeMap<(i64, i64, (i64, bool)), f64>,
}

impl Model {
    fn add(&mut self, metric: &Metric) {
        let value = metric.value.clamp(f64::MIN, f64::MAX);
        let rank = key_of(value);
        self.by_time.insert((metric.timestamp, metric.step, rank), value);
        self.by_step.insert((metric.step, metric.timestamp, rank), value);
    }

    fn history(&self) -> Vec<Point> {
        self.by_time.iter().map(|(&(at, step, _), &value)| Point { step, at, value }).collect()
    }

    fn ordered(&self, from: i64, to: i64) -> Vec<Point> {
        let all = self.by_step.iter().map(|(&(step, at, _), &value)| Point { step, at, value });
        all.filter(|p| (from..=to).contains(&p.step)).collect()
    }
}

async fn series_are_what_was_logged_whatever_is_folded(store: Store) {
    let mut random = TestRunner::deterministic();
    let run_ids = [start(&store).await, start(&store).await];
    let mut models: BTreeMap<(usize, &str), Model> = BTreeMap::new();
    // Some 16000 points: tails are folded several times, chunks filled up and begun.
    for round in 0..40 {
        let sizes = prop_oneof![1..4_usize, 200..=1000_usize];
        let batch = (0..run_ids.len(), sizes.prop_flat_map(|n| proptest::collection::vec(any_metric(), n)));
        let (run, metrics) = batch.new_tree(&mut random).unwrap().current();
        for metric in &metrics {
            let key = KEYS.into_iter().find(|k| *k == metric.key).unwrap();
            models.entry((run, key)).or_default().add(metric);
        }
        let (run_id, batch) = (run_ids[run].clone(), Batch { metrics, ..Batch::default() });
        write(&store, move |tx| batch::log(tx, &run_id, &batch)).await.unwrap();
        if round % 13 == 12 {
            let run_id = run_ids[run].clone();
            write(&store, move |tx| runs::finish(tx, NOW, &run_id, RunStatus::Finished)).await.unwrap();
        }
    }
    for ((run, key), model) in models {
        let run_id = run_ids[run].clone();
        let (history, page, between, latest) = store
            .read(move |tx| {
                Ok::<_, towpath_tracking::TrackingError>((
                    metrics::history(tx, &run_id, key, 0, None)?,
                    metrics::history(tx, &run_id, key, 700, Some(30))?,
                    metrics::sampled(tx, &run_id, key, Some((100, 200)), usize::MAX)?,
                    runs::get(tx, &run_id)?.metrics.into_iter().find(|m| m.key == key).unwrap(),
                ))
            })
            .await
            .unwrap();
        let expected = model.history();
        assert!(expected.len() > 730, "{}", expected.len());
        assert_eq!(page, expected[700..730]);
        assert_eq!(history, expected);
        assert_eq!(between, model.ordered(100, 200));
        let last = *model.ordered(i64::MIN, i64::MAX).last().unwrap();
        // Of a NaN and a 0 at the same step and time either may be the latest, as in MLflow.
        assert_eq!((latest.step, latest.timestamp, key_of(latest.value).0), (last.step, last.at, key_of(last.value).0));
    }
}

async fn what_an_older_version_wrote_is_packed(store: Store) {
    let run_id = start(&store).await;
    let first = Metric { key: "loss".into(), value: 1.0, timestamp: 5, ..Metric::default() };
    let id = run_id.clone();
    write(&store, move |tx| metrics::log(tx, &id, &first)).await.unwrap();
    store
        .write(Durability::Full, |tx| {
            for step in 1..=2500_i64 {
                tx.run(
                    "insert into metric_points (run, key, step, at, value, is_nan) \
                     select r.id, k.id, $1, $2, 0.5, 0 from tracked_runs r, metric_keys k",
                    &[&step, &(step + 5)],
                )?;
            }
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    assert_eq!(metrics::upgrade(&store).await.unwrap(), 2500);
    assert_eq!(metrics::upgrade(&store).await.unwrap(), 0);
    let history = store.read(move |tx| metrics::history(tx, &run_id, "loss", 0, None)).await.unwrap();
    assert_eq!(history.len(), 2501);
    assert_eq!((history[0].at, history[2500]), (5, Point { step: 2500, at: 2505, value: 0.5 }));
}

async fn a_chart_gets_finer_points_of_a_shorter_stretch(store: Store) {
    let run_id = start(&store).await;
    // One peak that no coarse step meets.
    let point = |step: i64| Metric {
        key: "loss".into(),
        value: if step == 7_777 { 9.0 } else { 1.0 / (1.0 + step as f64) },
        timestamp: 1_000 + 2 * step,
        step,
        ..Metric::default()
    };
    for batch in (0..20_000).collect::<Vec<i64>>().chunks(1_000) {
        let id = run_id.clone();
        let batch = Batch { metrics: batch.iter().map(|&step| point(step)).collect(), ..Batch::default() };
        write(&store, move |tx| batch::log(tx, &id, &batch)).await.unwrap();
    }
    let charted = async |stretch: Stretch| {
        let id = run_id.clone();
        store.read(move |tx| metrics::charted(tx, &id, "loss", stretch, 100)).await.unwrap()
    };
    let (whole, total) = charted(Stretch::Steps(i64::MIN, i64::MAX)).await;
    assert_eq!((whole.len() <= 100, total), (true, 20_000));
    assert!(whole.iter().any(|p| p.step == 7_777), "the peak is there");
    let gap = |points: &[Point]| points.windows(2).map(|w| w[1].step - w[0].step).max().unwrap();
    let (part, total) = charted(Stretch::Steps(7_000, 8_000)).await;
    assert_eq!((part[0].step, part[part.len() - 1].step, total), (7_000, 8_000, 1_001));
    assert!(gap(&part) < gap(&whole) / 10, "{} {}", gap(&part), gap(&whole));
    // The same stretch by time; and one that is short enough to come whole.
    let (by_time, total) = charted(Stretch::Times(1_000 + 2 * 7_000, 1_000 + 2 * 8_000)).await;
    assert_eq!((by_time, total), (part, 1_001));
    let (few, total) = charted(Stretch::Steps(7_770, 7_780)).await;
    assert_eq!((few.iter().map(|p| p.step).collect::<Vec<_>>(), total), ((7_770..=7_780).collect(), 11));
    assert_eq!(charted(Stretch::Steps(30_000, 40_000)).await, (Vec::new(), 0));
}

async fn an_ended_run_leaves_no_tail(store: Store) {
    let run_id = start(&store).await;
    for step in 0..10 {
        let point = Metric { key: "loss".into(), timestamp: 5, step, ..Metric::default() };
        let id = run_id.clone();
        write(&store, move |tx| metrics::log(tx, &id, &point)).await.unwrap();
    }
    let id = run_id.clone();
    write(&store, move |tx| runs::finish(tx, NOW, &id, RunStatus::Finished)).await.unwrap();
    let row = store.read(|tx| tx.one("select count(*) as n from metric_tails", &[])).await.unwrap();
    let tails = row.int("n").unwrap();
    assert_eq!(tails, 0);
    assert_eq!(store.read(move |tx| metrics::history(tx, &run_id, "loss", 0, None)).await.unwrap().len(), 10);
}
