use towpath_store::Store;
use towpath_tracking::batch::{self, Batch};
use towpath_tracking::metrics::Metric;
use towpath_tracking::runs::{self, NewRun};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{KeyValue, View, views};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    filters_and_orders_look_at_latest_values,
    pages_follow_each_other,
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
