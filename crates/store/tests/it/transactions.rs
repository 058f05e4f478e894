use serde_json::json;
use towpath_store::{Durability, Store, StoreError, Tx, sequence};

crate::store_suite!(
    an_error_rolls_back_its_own_transaction_only,
    concurrent_writers_never_get_the_same_number,
    brief_writes_and_others_get_along,
    a_write_that_panics_leaves_nothing_behind_and_stops_no_other,
    listeners_hear_of_commits_and_not_of_rollbacks,
    a_listener_to_chosen_topics_hears_of_no_others,
    a_look_up_sees_what_was_committed_and_changes_nothing,
    values_come_back_as_they_went_in,
);

async fn an_error_rolls_back_its_own_transaction_only(store: Store) {
    let failing = store.write(Durability::Full, |tx| {
        sequence::next(tx, "releases")?;
        Err::<(), _>(StoreError::Constraint("no".into()))
    });
    let fine = store.write(Durability::Full, |tx| sequence::next(tx, "runs/digits"));
    let (failed, number) = tokio::join!(failing, fine);
    assert!(matches!(failed, Err(StoreError::Constraint(_))));
    assert_eq!(number.unwrap(), 1);
    let release = store.write(Durability::Relaxed, |tx| sequence::next(tx, "releases")).await;
    assert_eq!(release.unwrap(), 1, "the rolled back number is used again");
}

async fn concurrent_writers_never_get_the_same_number(store: Store) {
    let writers: Vec<_> = (0..40)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.write(Durability::Relaxed, |tx| sequence::next(tx, "n")).await })
        })
        .collect();
    let mut numbers = Vec::new();
    for writer in writers {
        numbers.push(writer.await.unwrap().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=40).collect::<Vec<i64>>());
}

async fn brief_writes_and_others_get_along(store: Store) {
    let writers: Vec<_> = (0..200)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                match i % 4 {
                    0 => store.write(Durability::Full, |tx| sequence::next(tx, "n")).await,
                    1 => store.write(Durability::Relaxed, |tx| sequence::next(tx, "n")).await,
                    _ => store.write_briefly(|tx| sequence::next(tx, "n")).await,
                }
            })
        })
        .collect();
    let mut numbers = Vec::new();
    for writer in writers {
        numbers.push(writer.await.unwrap().unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=200).collect::<Vec<i64>>());
}

async fn a_write_that_panics_leaves_nothing_behind_and_stops_no_other(store: Store) {
    let panics = |tx: &mut Tx<'_>| {
        sequence::next(tx, "n")?;
        assert!(tx.opt("select 1", &[])?.is_none(), "on purpose");
        Ok::<_, StoreError>(())
    };
    let (brief, queued) = (store.clone(), store.clone());
    let brief = tokio::spawn(async move { brief.write_briefly(panics).await });
    assert!(!matches!(brief.await, Ok(Ok(()))));
    let queued = tokio::spawn(async move { queued.write(Durability::Full, panics).await });
    // It may be committed together with this one.
    let (queued, number) = tokio::join!(queued, store.write(Durability::Full, |tx| sequence::next(tx, "n")));
    assert!(!matches!(queued, Ok(Ok(()))));
    assert_eq!(number.unwrap(), 1);
    let failing = store.write_briefly(|tx| {
        sequence::next(tx, "n")?;
        Err::<(), _>(StoreError::Constraint("no".into()))
    });
    assert!(failing.await.is_err());
    assert_eq!(store.write(Durability::Full, |tx| sequence::next(tx, "n")).await.unwrap(), 2);
}

async fn listeners_hear_of_commits_and_not_of_rollbacks(store: Store) {
    let mut listener = store.listen();
    let rolled_back = store
        .write(Durability::Relaxed, |tx| {
            tx.notify(&[json!("runs"), json!("lost")]);
            Err::<(), _>(StoreError::Constraint("no".into()))
        })
        .await;
    assert!(rolled_back.is_err());
    store
        .write(Durability::Relaxed, |tx| {
            sequence::next(tx, "n")?;
            tx.notify(&[json!("runs"), json!("digits"), json!(4)]);
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let heard = listener.recv().await.unwrap();
    assert_eq!((heard.topic(), heard.0.len()), ("runs", 3));
    assert_eq!(heard.0[1], json!("digits"));
}

async fn a_listener_to_chosen_topics_hears_of_no_others(store: Store) {
    let mut listeners = [store.listen_to(&["runs", "models"]), store.listen_to(&["runs", "models"])];
    for key in ["tracking", "models", "experiments", "runs"] {
        let told = store.write(Durability::Relaxed, move |tx| {
            sequence::next(tx, "n")?;
            tx.notify(&[json!(key)]);
            Ok::<_, StoreError>(())
        });
        told.await.unwrap();
    }
    for listener in &mut listeners {
        let heard = [listener.recv().await.unwrap(), listener.recv().await.unwrap()];
        assert_eq!([heard[0].topic(), heard[1].topic()], ["models", "runs"]);
        assert!(listener.try_recv().is_err());
    }
}

async fn a_look_up_sees_what_was_committed_and_changes_nothing(store: Store) {
    for count in 1..4 {
        store.write(Durability::Relaxed, |tx| sequence::next(tx, "n")).await.unwrap();
        let seen = store.look_up(|tx| tx.one("select value from sequences where name = $1", &[&"n"])?.int("value"));
        assert_eq!(seen.await.unwrap(), count);
        let failed = store.look_up(|_| Err::<(), _>(StoreError::Constraint("no".into()))).await;
        assert!(matches!(failed, Err(StoreError::Constraint(_))));
    }
}

async fn values_come_back_as_they_went_in(store: Store) {
    store
        .write(Durability::Relaxed, |tx| {
            tx.run(
                "insert into projects (name, created_at, created_by) values ($2, $1, $3)",
                &[&i64::MAX, &"grüße 'n' $1", &"local"],
            )?;
            Ok::<_, StoreError>(())
        })
        .await
        .unwrap();
    let row = store
        .read(|tx| tx.one("select p.*, cast(null as bigint) as absence from projects p where name like $1", &[&"gr%"]))
        .await
        .unwrap();
    assert_eq!(row.int("created_at").unwrap(), i64::MAX);
    assert_eq!(row.text("name").unwrap(), "grüße 'n' $1");
    assert_eq!(row.opt_int("absence").unwrap(), None);
    assert!(matches!(row.int("name"), Err(StoreError::Column { .. })));
    assert!(matches!(row.int("absent"), Err(StoreError::Column { .. })));
}
