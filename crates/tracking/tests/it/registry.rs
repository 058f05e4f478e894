use towpath_core::{Classify, Kind};
use towpath_store::{Store, ledger};
use towpath_tracking::registry::{aliases, models, stages, versions};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{KeyValue, TrackingError};

use crate::{NOW, alice, on_both_databases, write};

on_both_databases! {
    numbers_of_deleted_versions_are_not_given_again,
    the_alias_of_an_environment_moves_with_releases_only,
    a_source_belongs_to_the_run_it_names,
    changes_are_in_the_ledger,
    renaming_takes_everything_along,
    a_model_without_the_tag_is_no_prompt,
}

async fn register(store: &Store, model: &'static str) -> versions::ModelVersion {
    write(store, move |tx| {
        models::ensure(tx, NOW, &alice(), model)?;
        let new = versions::NewVersion {
            model: model.into(),
            source: "mlflow-artifacts:/1/model".into(),
            tags: vec![KeyValue::new("k", "v")],
            ..versions::NewVersion::default()
        };
        versions::create(tx, NOW, &alice(), &new)
    })
    .await
    .unwrap()
}

async fn numbers_of_deleted_versions_are_not_given_again(store: Store) {
    assert_eq!(register(&store, "m").await.version, 1);
    assert_eq!(register(&store, "m").await.version, 2);
    write(&store, |tx| versions::delete(tx, NOW, &alice(), "m", 2)).await.unwrap();
    assert_eq!(register(&store, "m").await.version, 3);
    let gone = store.read(|tx| versions::get(tx, "m", 2)).await.unwrap_err();
    assert_eq!(gone.to_string(), "Model Version (name=m, version=2) not found");
    let listed = store.read(|tx| versions::list(tx, "m")).await.unwrap();
    assert_eq!(listed.iter().map(|v| v.version).collect::<Vec<_>>(), [3, 1]);
}

async fn the_alias_of_an_environment_moves_with_releases_only(store: Store) {
    register(&store, "m").await;
    register(&store, "m").await;
    write(&store, |tx| aliases::reserve(tx, "m", "production")).await.unwrap();
    let refused = write(&store, |tx| aliases::set(tx, NOW, &alice(), "m", "production", 2)).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.to_string().contains("`towpath release promote m --version 2 --to production`"), "{refused}");
    write(&store, |tx| aliases::follow_release(tx, NOW, &alice(), "m", "production", Some(1))).await.unwrap();
    let live = store.read(|tx| aliases::resolve(tx, "m", "production")).await.unwrap();
    assert_eq!((live.version, live.aliases), (1, vec!["production".to_owned()]));
    let attempts: Vec<Result<(), TrackingError>> = vec![
        write(&store, |tx| aliases::delete(tx, NOW, &alice(), "m", "production")).await,
        write(&store, |tx| versions::delete(tx, NOW, &alice(), "m", 1)).await,
        write(&store, |tx| models::delete(tx, NOW, &alice(), "m")).await,
        write(&store, |tx| models::rename(tx, NOW, &alice(), "m", "n").map(|_| ())).await,
        write(&store, |tx| versions::set_tag(tx, NOW, "m", 2, &KeyValue::new("Production", "yes"))).await,
        write(&store, |tx| stages::transition(tx, NOW, &alice(), "m", 2, "production", false).map(|_| ())).await,
    ];
    for attempt in attempts {
        assert_eq!(attempt.unwrap_err().kind(), Kind::Denied);
    }
    write(&store, |tx| aliases::follow_release(tx, NOW, &alice(), "m", "production", None)).await.unwrap();
    let none = store.read(|tx| aliases::resolve(tx, "m", "production")).await.unwrap_err();
    assert_eq!(none.to_string(), "Registered model alias production not found.");
    // Other aliases are the client's own.
    write(&store, |tx| aliases::set(tx, NOW, &alice(), "m", "champion", 2)).await.unwrap();
}

async fn a_source_belongs_to_the_run_it_names(store: Store) {
    use towpath_tracking::runs::{self, NewRun};
    let run = write(&store, |tx| runs::create(tx, NOW, &alice(), &NewRun::default())).await.unwrap().info;
    write(&store, |tx| models::ensure(tx, NOW, &alice(), "m")).await.unwrap();
    let create = |source: String, run_id: Option<String>| {
        let store = store.clone();
        async move {
            write(&store, move |tx| {
                let new = versions::NewVersion {
                    model: "m".into(),
                    source: source.clone(),
                    run_id: run_id.clone(),
                    ..versions::NewVersion::default()
                };
                versions::create(tx, NOW, &alice(), &new)
            })
            .await
        }
    };
    let made = create(format!("runs:/{}/model", run.run_id), None).await.unwrap();
    assert_eq!(made.storage_location, format!("{}/model", run.artifact_uri));
    assert_eq!(made.run_id.as_deref(), Some(run.run_id.as_str()));
    for (source, run_id) in [
        (format!("runs:/{}/model", run.run_id), Some("other".to_owned())),
        ("/etc/passwd".to_owned(), Some(run.run_id.clone())),
        ("file:///etc".to_owned(), None),
        ("mlflow-artifacts:/1/../../x".to_owned(), None),
        (String::new(), None),
        ("models:/m-0".to_owned(), None),
    ] {
        assert!(create(source.clone(), run_id).await.is_err(), "{source}");
    }
}

async fn changes_are_in_the_ledger(store: Store) {
    register(&store, "m").await;
    write(&store, |tx| aliases::set(tx, NOW, &alice(), "m", "champion", 1)).await.unwrap();
    write(&store, |tx| versions::delete(tx, NOW, &alice(), "m", 1)).await.unwrap();
    let entries = store.read(|tx| ledger::list(tx, Some("model/m/1"), None, 10)).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["model_version.deleted", "alias.moved", "model_version.created"]);
    assert_eq!(ledger::verify(&store).await.unwrap().broken, None);
}

async fn renaming_takes_everything_along(store: Store) {
    register(&store, "m").await;
    write(&store, |tx| aliases::set(tx, NOW, &alice(), "m", "champion", 1)).await.unwrap();
    write(&store, |tx| models::rename(tx, NOW, &alice(), "m", "n")).await.unwrap();
    let named = store.read(|tx| aliases::resolve(tx, "n", "champion")).await.unwrap();
    assert_eq!((named.model.as_str(), named.tags["k"].as_str()), ("n", "v"));
    assert!(store.read(|tx| models::get(tx, "m")).await.is_err());
}

async fn a_model_without_the_tag_is_no_prompt(store: Store) {
    register(&store, "plain").await;
    write(&store, |tx| {
        let tag = KeyValue::new(search::registered_models::IS_PROMPT, "true");
        models::create(tx, NOW, &alice(), "greeting", None, &[tag])
    })
    .await
    .unwrap();
    for (filter, expected) in [
        ("tags.`mlflow.prompt.is_prompt` != 'true'", "plain"),
        ("tag.`mlflow.prompt.is_prompt` = 'false'", "plain"),
        ("tags.`mlflow.prompt.is_prompt` = 'true'", "greeting"),
    ] {
        let query = Query { filter: filter.into(), limit: 10, ..Query::default() };
        let found = store.read(move |tx| search::registered_models::search(tx, &query)).await.unwrap();
        let names: Vec<&str> = found.items.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, [expected], "{filter}");
    }
}
