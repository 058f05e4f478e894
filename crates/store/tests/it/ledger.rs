use serde_json::json;
use towpath_core::ledger::Entry;
use towpath_core::{Actor, Timestamp};
use towpath_store::{Durability, Store, StoreError, ledger};

crate::store_suite!(
    an_untouched_ledger_verifies,
    an_edited_entry_is_named,
    a_deleted_entry_is_named,
    a_ledger_cut_off_at_its_end_is_noticed,
    appends_of_many_writers_form_one_chain,
    entries_are_found_by_what_they_are_about,
    entries_are_found_by_their_kind_or_its_noun,
);

async fn append(store: &Store, kind: &'static str, about: &'static str) {
    store
        .write(Durability::Full, move |tx| {
            let entry = Entry::new(kind, &Actor::local(), Timestamp(5)).about(about);
            ledger::append(tx, entry.evidence(json!({"p99": 0.1 + 0.2, "n": i64::MAX})))
        })
        .await
        .unwrap();
}

async fn execute(store: &Store, sql: &'static str) {
    store.write(Durability::Full, move |tx| tx.run(sql, &[])).await.unwrap();
}

async fn an_untouched_ledger_verifies(store: Store) {
    for kind in ["release.opened", "release.approved", "rollout.advanced"] {
        append(&store, kind, "release/1").await;
    }
    let found = ledger::verify(&store).await.unwrap();
    assert_eq!((found.entries, found.broken), (3, None));
}

async fn an_edited_entry_is_named(store: Store) {
    append(&store, "release.opened", "release/1").await;
    append(&store, "release.approved", "release/1").await;
    append(&store, "rollout.advanced", "release/1").await;
    execute(&store, "update ledger set actor = 'mallory' where seq = 2").await;
    assert_eq!(ledger::verify(&store).await.unwrap().broken.unwrap().0, 2);
}

async fn a_deleted_entry_is_named(store: Store) {
    append(&store, "release.opened", "release/1").await;
    append(&store, "release.approved", "release/1").await;
    append(&store, "rollout.advanced", "release/1").await;
    execute(&store, "delete from ledger_about where seq = 2").await;
    execute(&store, "delete from ledger where seq = 2").await;
    let (seq, detail) = ledger::verify(&store).await.unwrap().broken.unwrap();
    assert_eq!((seq, detail.as_str()), (2, "entry 2 is missing"));
}

async fn a_ledger_cut_off_at_its_end_is_noticed(store: Store) {
    append(&store, "release.opened", "release/1").await;
    append(&store, "release.approved", "release/1").await;
    execute(&store, "delete from ledger_about where seq = 2").await;
    execute(&store, "delete from ledger where seq = 2").await;
    let (seq, detail) = ledger::verify(&store).await.unwrap().broken.unwrap();
    assert_eq!((seq, detail.as_str()), (2, "cut off: the head counts 2 entries"));
}

async fn appends_of_many_writers_form_one_chain(store: Store) {
    let writers: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { append(&store, "run.started", "run/digits/1").await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let found = ledger::verify(&store).await.unwrap();
    assert_eq!((found.entries, found.broken), (20, None));
}

async fn entries_are_found_by_what_they_are_about(store: Store) {
    append(&store, "release.opened", "release/1").await;
    append(&store, "release.opened", "release/2").await;
    append(&store, "release.rejected", "release/1").await;
    let found = store.read(|tx| ledger::list(tx, Some("release/1"), None, 10)).await.unwrap();
    let kinds: Vec<_> = found.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["release.rejected", "release.opened"]);
    let older: Result<Vec<_>, StoreError> = store.read(|tx| ledger::list(tx, Some("release/1"), Some(3), 10)).await;
    assert_eq!(older.unwrap().len(), 1);
}

async fn entries_are_found_by_their_kind_or_its_noun(store: Store) {
    for kind in ["release.opened", "releases.other", "release.approved", "run.started"] {
        append(&store, kind, "release/1").await;
    }
    let search = |kind: &'static str| {
        let store = store.clone();
        async move {
            let found = store.read(move |tx| ledger::search(tx, None, Some(kind), None, 10)).await.unwrap();
            found.into_iter().map(|e| e.kind).collect::<Vec<_>>()
        }
    };
    assert_eq!(search("release").await, ["release.approved", "release.opened"]);
    assert_eq!(search("run.started").await, ["run.started"]);
    assert_eq!(search("nothing").await, Vec::<String>::new());
    let count = async |about: Option<&'static str>, kind: Option<&'static str>| {
        store.read(move |tx| ledger::count(tx, about, kind)).await.unwrap()
    };
    assert_eq!((count(None, None).await, count(None, Some("release")).await), (4, 2));
    assert_eq!((count(Some("release/1"), Some("run.started")).await, count(Some("run/1"), None).await), (1, 0));
}
