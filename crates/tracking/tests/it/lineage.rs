use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::{Actor, Content, Digest, HashName};
use towpath_store::Store;
use towpath_tracking::lineage::{self, CheckVerdict, DataItem, VersionLineage};
use towpath_tracking::{TrackingError, registry::models};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    a_lineage_is_written_once,
    data_leads_to_the_versions_made_of_it,
}

const MD5: &str = "0123456789abcdef0123456789abcdef.dir";

fn digits(number: i64) -> VersionLineage {
    VersionLineage {
        project: "digits".into(),
        number,
        tracking_run: None,
        commit: "c0ffee".into(),
        author: "Alice".into(),
        author_email: "alice@example.com".into(),
        trainer: Actor::user("alice"),
        model: Content { md5: "m".repeat(32), hash: HashName::Md5, size: 3, nfiles: None, isexec: false },
        content: Digest::of(b"model"),
        size: 3,
        data: vec![DataItem {
            path: "data/images".into(),
            md5: MD5.into(),
            size: Some(10),
            nfiles: Some(2),
            stage: None,
        }],
        params: BTreeMap::from([("seed".into(), json!(7))]),
        params_hash: Digest::of(b"params"),
        metrics: BTreeMap::from([("accuracy".into(), 0.96)]),
        environment_hash: None,
        evaluation_hash: Some("e".repeat(32)),
        checks: vec![CheckVerdict {
            name: "images".into(),
            path: "data/images".into(),
            data_hash: MD5.into(),
            suite_hash: "s".into(),
            passed: true,
        }],
        lock_sha: BTreeMap::new(),
        path: "/srv/models/digits/1".into(),
    }
}

async fn a_lineage_is_written_once(store: Store) {
    for _ in 0..2 {
        write(&store, |tx| lineage::record(tx, NOW, &alice(), "digits", 1, &digits(4))).await.unwrap();
    }
    let changed = write(&store, |tx| lineage::record(tx, NOW, &alice(), "digits", 1, &digits(5))).await.unwrap_err();
    assert!(matches!(changed, TrackingError::LineageChanged { version: 1, .. }));
    let read = store.read(|tx| lineage::get(tx, "digits", 1)).await.unwrap();
    assert_eq!(read, Some(digits(4)));
    let made = store.read(|tx| lineage::of_run(tx, "digits", 4)).await.unwrap();
    assert_eq!(made, Some(("digits".to_owned(), 1)));
    write(&store, |tx| models::ensure(tx, NOW, &alice(), "digits")).await.unwrap();
    let kept = write(&store, |tx| models::delete(tx, NOW, &alice(), "digits")).await.unwrap_err();
    assert!(matches!(kept, TrackingError::ModelReserved(_)), "evidence is not deleted");
}

async fn data_leads_to_the_versions_made_of_it(store: Store) {
    write(&store, |tx| {
        lineage::record(tx, NOW, &alice(), "digits", 1, &digits(4))?;
        lineage::record(tx, NOW, &alice(), "digits", 2, &digits(5))
    })
    .await
    .unwrap();
    for wanted in [MD5, MD5.trim_end_matches(".dir"), "data/images"] {
        let found = store.read(move |tx| lineage::find_by_data(tx, wanted)).await.unwrap();
        let versions: Vec<i64> = found.iter().map(|(_, version, _)| *version).collect();
        assert_eq!(versions, [2, 1], "{wanted}");
    }
    assert_eq!(store.read(|tx| lineage::find_by_data(tx, "nothing")).await.unwrap(), []);
}
