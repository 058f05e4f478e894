use towpath_store::Store;
use towpath_tracking::batch::{self, Batch};
use towpath_tracking::metrics::{self, Metric};
use towpath_tracking::runs::{self, NewRun};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{KeyValue, TrackingError, View, views};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    filters_and_orders_look_at_latest_values,
    pages_follow_each_other,
    every_way_of_walking_finds_the_same_runs_in_the_same_order,
    a_token_of_another_search_is_refused,
}

/// Runs `r0..` with `acc` = i / 10, a tag on the even ones.
async fn some_runs(store: &Store, count: i64) {
    write(store, move |tx| {
        for i in 0..count {
            let new = NewRun {
                name: Some(format!("r{i}")),
                start_time: Some(towpath_core::Timestamp(NOW.0 + i)),
                ..NewRun::default()
            };
            let run = runs::create(tx, NOW, &alice(), &new)?.info.run_id;
            let metric = Metric { key: "acc".into(), value: i as f64 / 10.0, timestamp: 1, ..Metric::default() };
            let even = (i % 2 == 0).then(|| KeyValue::new("even", "yes"));
            let batch = Batch { metrics: vec![metric], tags: even.into_iter().collect(), ..Batch::default() };
            batch::log(tx, &run, &batch)?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn found(store: &Store, filter: &str, order: &[&str]) -> Vec<String> {
    let query = Query {
        filter: filter.into(),
        order_by: order.iter().map(|&o| o.to_owned()).collect(),
        limit: 100,
        page_token: None,
    };
    let found = store.read(move |tx| search::runs::search(tx, &[0], View::Active, &query)).await.unwrap();
    found.items.into_iter().map(|r| r.info.name).collect()
}

async fn filters_and_orders_look_at_latest_values(store: Store) {
    some_runs(&store, 5).await;
    assert_eq!(found(&store, "", &[]).await, ["r4", "r3", "r2", "r1", "r0"]);
    assert_eq!(found(&store, "metrics.acc > 0.1 AND tags.even = 'yes'", &["metrics.acc"]).await, ["r2", "r4"]);
    assert_eq!(found(&store, "tags.even IS NULL", &["metrics.acc DESC"]).await, ["r3", "r1"]);
}

async fn pages_follow_each_other(store: Store) {
    some_runs(&store, 5).await;
    let mut names = Vec::new();
    let mut token = None;
    loop {
        let query = Query { limit: 2, page_token: token.clone(), ..Query::default() };
        let page = store.read(move |tx| views::runs(tx, 0, &query)).await.unwrap();
        assert_eq!(page.total, 5);
        names.extend(page.items.into_iter().map(|r| r.info.name));
        token = page.next_page_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["r4", "r3", "r2", "r1", "r0"]);
    let counted = store.read(views::experiments).await.unwrap();
    assert_eq!((counted[0].runs, counted[0].running), (5, 5));
}

/// 2300 runs, so that a walk takes several steps: ties, NaN, and runs without the metric.
async fn many_runs(store: &Store) {
    write(store, |tx| {
        for i in 0..2300_i64 {
            let start_time = Some(towpath_core::Timestamp(NOW.0 + i / 3));
            let tags = if i % 50 == 0 { vec![KeyValue::new("rare", "yes")] } else { Vec::new() };
            let new = NewRun { name: Some(format!("r{i}")), start_time, tags, ..NewRun::default() };
            let run = runs::create(tx, NOW, &alice(), &new)?.info.run_id;
            let value = match i % 10 {
                0 => f64::NAN,
                1 => continue,
                _ => ((i * 7919) % 400) as f64,
            };
            metrics::log(tx, &run, &Metric { key: "acc".into(), value, timestamp: 1, ..Metric::default() })?;
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Ids of all pages of a search, `limit` at a time.
async fn paged(store: &Store, filter: &'static str, order: &'static str, limit: usize) -> Vec<String> {
    let (mut ids, mut page_token) = (Vec::new(), None);
    loop {
        let order_by = if order.is_empty() { Vec::new() } else { vec![order.to_owned()] };
        let query = Query { filter: filter.into(), order_by, limit, page_token };
        let found = store.read(move |tx| search::runs::search(tx, &[0], View::Active, &query)).await.unwrap();
        assert!(found.items.len() <= limit);
        ids.extend(found.items.into_iter().map(|r| r.info.run_id));
        page_token = found.next_page_token;
        if page_token.is_none() {
            return ids;
        }
    }
}

/// What a search of `all` runs finds, by looking at each of them.
fn expected(
    all: &[runs::Run],
    matches: impl Fn(Option<f64>) -> bool,
    rank: impl Fn(Option<f64>) -> (u8, f64),
) -> Vec<String> {
    let value = |run: &runs::Run| run.metrics.first().map(|m| m.value);
    let mut found: Vec<_> = all.iter().filter(|run| matches(value(run))).collect();
    found.sort_by(|a, b| {
        let ((ra, va), (rb, vb)) = (rank(value(a)), rank(value(b)));
        ra.cmp(&rb)
            .then(va.total_cmp(&vb))
            .then(b.info.start_time.cmp(&a.info.start_time))
            .then(a.info.run_id.cmp(&b.info.run_id))
    });
    found.into_iter().map(|run| run.info.run_id.clone()).collect()
}

async fn every_way_of_walking_finds_the_same_runs_in_the_same_order(store: Store) {
    many_runs(&store).await;
    let everything = Query { limit: 5000, ..Query::default() };
    let all = store.read(move |tx| search::runs::search(tx, &[0], View::Active, &everything)).await.unwrap().items;
    assert_eq!(all.len(), 2300);
    let up = |v: Option<f64>| v.map_or((2, 0.0), |v| if v.is_nan() { (1, 0.0) } else { (0, v) });
    let down = move |v: Option<f64>| (up(v).0, -up(v).1);
    let newest = |_: Option<f64>| (0, 0.0);
    let at_least = |v: Option<f64>| v.is_some_and(|v| v >= 250.0);
    for limit in [97, 1000, 5000] {
        assert_eq!(paged(&store, "", "metrics.acc", limit).await, expected(&all, |_| true, up), "{limit}");
        assert_eq!(paged(&store, "", "metrics.acc DESC", limit).await, expected(&all, |_| true, down), "{limit}");
        assert_eq!(
            paged(&store, "metrics.acc >= 250", "metrics.acc DESC", limit).await,
            expected(&all, at_least, down)
        );
        assert_eq!(paged(&store, "metrics.acc >= 250", "", limit).await, expected(&all, at_least, newest));
        let other = |v: Option<f64>| v.is_some_and(|v| v.is_nan() || (v - 14.0).abs() > 0.5);
        assert_eq!(paged(&store, "metrics.acc != 14", "metrics.acc", limit).await, expected(&all, other, up));
    }
    let rare: Vec<String> = paged(&store, "tags.rare = 'yes'", "", 10).await;
    assert_eq!(rare.len(), 46);
    let count = |filter: &'static str| store.read(move |tx| search::runs::count(tx, &[0], View::Active, filter));
    assert_eq!((count("").await.unwrap(), count("tags.rare = 'yes'").await.unwrap()), (2300, 46));
    assert_eq!(count("metrics.acc >= 250").await.unwrap(), expected(&all, at_least, up).len());
    assert_eq!(count("metrics.unknown > 1").await.unwrap(), 0);
}

async fn a_token_of_another_search_is_refused(store: Store) {
    some_runs(&store, 3).await;
    let first = Query { limit: 1, ..Query::default() };
    let page = store.read(move |tx| search::runs::search(tx, &[0], View::Active, &first)).await.unwrap();
    let token = page.next_page_token;
    assert!(token.is_some());
    for (filter, token) in
        [("tags.even = 'yes'", token), ("", Some("eyJvZmZzZXQiOiAxfQ==".to_owned())), ("", Some("?".into()))]
    {
        let query = Query { filter: filter.into(), limit: 1, page_token: token, ..Query::default() };
        let refused = store.read(move |tx| search::runs::search(tx, &[0], View::Active, &query)).await.unwrap_err();
        assert!(matches!(refused, TrackingError::Filter(_)), "{refused}");
    }
}
