//! Secrets of webhooks lie encrypted.

use towpath_core::Timestamp;
use towpath_store::vault::KEY_LENGTH;
use towpath_store::{Store, Vault};
use towpath_tracking::TrackingError;
use towpath_tracking::registry::models;
use towpath_tracking::webhooks::{self, Told, Webhook};

use crate::{alice, on_both_databases, write};

on_both_databases!(a_secret_is_encrypted_and_one_of_an_older_version_becomes_so);

fn told(secret: &str) -> Told {
    Told {
        name: Some("ci".into()),
        url: Some("https://example.org/hook".into()),
        events: Some(vec!["registered_model.created".into()]),
        secret: Some(secret.into()),
        ..Told::default()
    }
}

/// What the two columns hold.
async fn kept(store: &Store, webhook: &Webhook) -> (Option<String>, Option<String>) {
    let id = webhook.webhook_id.clone();
    let read = store.read(move |tx| {
        let row = tx.one("select secret, sealed from webhooks where webhook_id = $1", &[&id])?;
        Ok::<_, TrackingError>((row.opt_text("secret")?, row.opt_text("sealed")?))
    });
    read.await.unwrap()
}

async fn a_secret_is_encrypted_and_one_of_an_older_version_becomes_so(store: Store) {
    let vault = Vault::new(&[7; KEY_LENGTH]);
    let now = store.now();
    let mine = vault.clone();
    let made = write(&store, move |tx| webhooks::create(tx, now, &mine, &told("hush"))).await.unwrap();
    let (plain, sealed) = kept(&store, &made).await;
    assert_eq!(plain, None);
    assert!(!sealed.unwrap().contains("hush"));
    assert_eq!(made.secret(&vault).unwrap().as_deref(), Some("hush"));
    let other = Vault::new(&[8; KEY_LENGTH]);
    let refused = made.secret(&other).unwrap_err().to_string();
    assert!(refused.ends_with("set it again"), "{refused}");

    // As an older version wrote it.
    let id = made.webhook_id.clone();
    write(&store, move |tx| {
        tx.run("update webhooks set secret = 'old', sealed = null where webhook_id = $1", &[&id])?;
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(webhooks::seal_secrets(&store, &vault).await.unwrap(), 1);
    assert_eq!(webhooks::seal_secrets(&store, &vault).await.unwrap(), 0);
    let (plain, sealed) = kept(&store, &made).await;
    assert!(plain.is_none() && sealed.is_some());

    // A delivery is signed with it; without a secret it is not signed.
    let later = Timestamp(now.millis() + 1);
    write(&store, move |tx| models::create(tx, now, &alice(), "digits", None, &[])).await.unwrap();
    let claimed = write(&store, move |tx| webhooks::claim(tx, later, 10)).await.unwrap();
    assert_eq!(claimed[0].secret(&vault).unwrap().as_deref(), Some("old"));
    assert!(claimed[0].secret(&other).is_err());
    let (mine, id) = (vault.clone(), made.webhook_id.clone());
    let nothing = Told { secret: Some(String::new()), ..Told::default() };
    let bare = write(&store, move |tx| webhooks::update(tx, now, &mine, &id, &nothing)).await.unwrap();
    assert_eq!((bare.secret(&vault).unwrap(), kept(&store, &bare).await), (None, (None, None)));
}
