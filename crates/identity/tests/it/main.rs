//! Users and tokens on both databases.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use towpath_core::{Actor, Classify, Kind, ManualClock, Timestamp};
use towpath_identity::{Identity, IdentityError, Secret, StageScope, Token, accounts_exist, tokens, users};
use towpath_store::{Durability, Store, ledger};

const NOW: Timestamp = Timestamp(1_767_225_600_000);

async fn sqlite() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("towpath.db");
    let store = Store::open(path.to_str().unwrap(), Arc::new(ManualClock::at(NOW))).await.unwrap();
    (store, folder)
}

async fn postgres() -> (Store, ()) {
    let url = towpath_testkit::postgres::schema().await.unwrap();
    let store = Store::open(&url, Arc::new(ManualClock::at(NOW))).await.unwrap();
    (store, ())
}

/// Runs each behaviour on SQLite and on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident)*) => {
        mod on_sqlite {
            $(#[tokio::test]
            async fn $name() {
                let (store, _folder) = super::sqlite().await;
                super::$name(store).await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test]
            async fn $name() {
                let (store, ()) = super::postgres().await;
                super::$name(store).await;
            })*
        }
    };
}

on_both_databases! {
    the_first_user_closes_the_server
    a_token_is_known_by_its_secret_until_it_ends
    the_ledger_names_users_and_tokens_but_no_secret
    names_and_addresses_belong_to_one_user
    only_an_admin_gets_an_admin_token
    the_token_of_a_stage_dies_with_it
}

async fn add(store: &Store, name: &'static str, email: &'static str, admin: bool) {
    store
        .write(Durability::Full, move |tx| users::add(tx, NOW, &Actor::local(), name, &[email.to_owned()], admin))
        .await
        .unwrap();
}

async fn create(
    store: &Store,
    user: &'static str,
    roles: &'static [&'static str],
    lifetime: Option<Duration>,
) -> Result<(Token, Secret), IdentityError> {
    store
        .write(Durability::Full, move |tx| {
            let roles: Vec<String> = roles.iter().map(|&r| r.to_owned()).collect();
            tokens::create(tx, NOW, &Actor::local(), user, &roles, lifetime)
        })
        .await
}

async fn whose(store: &Store, secret: &Secret, now: Timestamp) -> Option<Identity> {
    let secret = secret.clone();
    store.read(move |tx| tokens::authenticate(tx, now, secret.reveal())).await.unwrap()
}

async fn the_first_user_closes_the_server(store: Store) {
    assert!(!store.read(accounts_exist).await.unwrap());
    add(&store, "alice", "alice@example.com", true).await;
    assert!(store.read(accounts_exist).await.unwrap());
}

async fn a_token_is_known_by_its_secret_until_it_ends(store: Store) {
    add(&store, "bob", "bob@example.com", false).await;
    let hour = Duration::from_hours(1);
    let (token, secret) = create(&store, "bob", &["risk", "write"], Some(hour)).await.unwrap();
    assert_eq!(secret.reveal().len(), 46);
    let identity = whose(&store, &secret, NOW).await.unwrap();
    assert_eq!(identity.actor, Actor::user("bob"));
    assert!(identity.holds("risk") && identity.may_write() && !identity.may_admin());

    assert_eq!(whose(&store, &secret, NOW.plus(hour)).await, None);
    let by_name = store.read(|tx| users::get(tx, NOW, "bob")).await.unwrap().unwrap();
    assert_eq!(by_name.roles, ["risk", "write"]);

    let id = token.id.clone();
    store.write(Durability::Full, move |tx| tokens::revoke(tx, NOW, &Actor::local(), &id)).await.unwrap();
    assert_eq!(whose(&store, &secret, NOW).await, None);
    let left = store.read(|tx| tokens::list(tx, NOW, Some("bob"))).await.unwrap();
    assert_eq!(left, []);
}

async fn the_ledger_names_users_and_tokens_but_no_secret(store: Store) {
    add(&store, "alice", "alice@example.com", true).await;
    let (_, secret) = create(&store, "alice", &[], None).await.unwrap();
    let entries = store.read(|tx| ledger::list(tx, Some("user/alice"), None, 10)).await.unwrap();
    let kinds: Vec<&str> = entries.iter().map(|e| e.kind.as_str()).collect();
    assert_eq!(kinds, ["token.created", "user.added"]);
    assert!(!format!("{entries:?}").contains(secret.reveal()));
    assert_eq!(format!("{secret:?}"), "Secret(tp_...)");
}

async fn names_and_addresses_belong_to_one_user(store: Store) {
    add(&store, "alice", "Alice@Example.com", false).await;
    let again = |name: &'static str, email: &'static str| {
        let store = store.clone();
        async move {
            store
                .write(Durability::Full, move |tx| {
                    users::add(tx, NOW, &Actor::local(), name, &[email.to_owned()], false)
                })
                .await
                .unwrap_err()
        }
    };
    assert_eq!(again("alice", "a@b.c").await.to_string(), "there is a user 'alice' already");
    assert_eq!(
        again("eve", "alice@example.COM").await.to_string(),
        "the e-mail address 'alice@example.com' belongs to user 'alice' already"
    );
    assert_eq!(again("../eve", "e@b.c").await.kind(), Kind::Invalid);
    assert_eq!(again("local", "e@b.c").await.kind(), Kind::Invalid);
    assert_eq!(again("eve", "nobody").await.kind(), Kind::Invalid);
    let author = store.read(|tx| users::by_email(tx, "ALICE@example.com")).await.unwrap();
    assert_eq!(author.unwrap().name, "alice");
    let names: Vec<String> = store.read(|tx| users::list(tx, NOW)).await.unwrap().into_iter().map(|u| u.name).collect();
    assert_eq!(names, ["alice"], "a refused user leaves nothing behind");
}

async fn only_an_admin_gets_an_admin_token(store: Store) {
    add(&store, "bob", "bob@example.com", false).await;
    add(&store, "alice", "alice@example.com", true).await;
    let refused = create(&store, "bob", &["admin"], None).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    let (token, secret) = create(&store, "alice", &[], None).await.unwrap();
    assert_eq!(token.roles, ["admin", "write"]);
    assert!(whose(&store, &secret, NOW).await.unwrap().may_admin());
    let (_, secret) = create(&store, "alice", &["read"], None).await.unwrap();
    assert!(!whose(&store, &secret, NOW).await.unwrap().may_write());
    let nobody = create(&store, "carol", &[], None).await.unwrap_err();
    assert_eq!(nobody.to_string(), "there is no user 'carol'");
}

async fn the_token_of_a_stage_dies_with_it(store: Store) {
    let stage =
        StageScope { project: "digits".into(), number: 4, stage: "train".into(), tracking_run: "ab".repeat(16) };
    let scope = stage.clone();
    let (_, secret) = store
        .write(Durability::Relaxed, move |tx| {
            let day = Duration::from_hours(24);
            tokens::create_for_stage(tx, NOW, &Actor::user("alice"), &scope, day)
        })
        .await
        .unwrap();
    let identity = whose(&store, &secret, NOW).await.unwrap();
    assert_eq!(identity.stage(), Some(&stage));
    assert!(!identity.may_write());
    let ended = store
        .write(Durability::Relaxed, |tx| tokens::revoke_stage_tokens(tx, NOW, "digits", 4, Some("train")))
        .await
        .unwrap();
    assert_eq!(ended, 1);
    assert_eq!(whose(&store, &secret, NOW).await, None);
}
