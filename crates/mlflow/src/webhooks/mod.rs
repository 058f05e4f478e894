//! Telling webhooks: signed as MLflow signs, sent again after pauses, never to addresses inside.

pub(crate) mod addresses;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::{Client, Url, redirect};
use sha2::Sha256;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use towpath_core::{Timestamp, ids};
use towpath_reconcile::{Reconciler, Schedule, Status};
use towpath_store::{Durability, Store, Vault};
use towpath_tracking::{TrackingError, webhooks};

pub use addresses::Reach;

/// When deliveries are looked for.
const SCHEDULE: Schedule = Schedule { topics: &["webhooks"], period: Duration::from_secs(5) };

const TIMEOUT: Duration = Duration::from_secs(30);
/// Deliveries under way at once.
const AT_ONCE: usize = 10;
/// Bytes of an answer that are shown to whoever tests a webhook.
const SHOWN: usize = 64 << 10;

/// Sends bodies to addresses.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    client: Client,
    reach: Reach,
}

/// What a receiver answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Sender {
    /// Fails when the platform's certificates cannot be used.
    pub(crate) fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        // No redirects and no proxy: both would choose another address.
        let mut builder = Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(TIMEOUT);
        if reach == Reach::Public {
            builder = builder.dns_resolver(Arc::new(addresses::PublicOnly));
        }
        Ok(Self { client: builder.build()?, reach })
    }

    pub(crate) async fn send(
        &self,
        now: Timestamp,
        url: &str,
        secret: Option<&str>,
        delivery_id: &str,
        body: &str,
    ) -> Result<Answer, String> {
        // An address that is a number is not resolved, so it is looked at here.
        addresses::check(url, self.reach).await?;
        let url = Url::parse(url).map_err(|e| e.to_string())?;
        let seconds = (now.millis() / 1000).to_string();
        let mut request = self
            .client
            .post(url)
            .header("Content-Type", "application/json")
            .header("X-MLflow-Delivery-Id", delivery_id)
            .header("X-MLflow-Timestamp", &seconds);
        if let Some(secret) = secret {
            request = request.header("X-MLflow-Signature", signature(secret, delivery_id, &seconds, body));
        }
        let answer = request.body(body.to_owned()).send().await.map_err(|e| chain(&e))?;
        let status = answer.status().as_u16();
        let mut chunks = answer.bytes_stream();
        let mut shown = Vec::new();
        while let (Some(chunk), true) = (chunks.next().await, shown.len() < SHOWN) {
            shown.extend_from_slice(&chunk.map_err(|e| chain(&e))?);
        }
        shown.truncate(SHOWN);
        Ok(Answer { status, body: String::from_utf8_lossy(&shown).into_owned() })
    }
}

/// An error of the client with what is below it: the top says only that sending failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text = format!("{text}: {cause}");
        below = cause.source();
    }
    text
}

/// `v1,` and the HMAC-SHA256 of id, time and body.
fn signature(secret: &str, delivery_id: &str, seconds: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{delivery_id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

/// Sends what is queued. Each delivery is claimed before it is sent, so that one that ends half-way is
/// sent again: receivers know it by its id.
#[derive(Debug)]
pub struct Deliveries {
    store: Store,
    vault: Vault,
    sender: Sender,
}

impl Deliveries {
    /// # Errors
    /// When the platform's certificates cannot be used.
    pub fn new(store: Store, vault: Vault, reach: Reach) -> Result<Self, reqwest::Error> {
        Ok(Self { store, vault, sender: Sender::new(reach)? })
    }

    /// Delivers until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let changes = self.store.listen_to(SCHEDULE.topics);
        towpath_reconcile::run(self, changes, Arc::new(Notify::new()), SCHEDULE, shutdown).await;
    }

    async fn deliver(&self, delivery: webhooks::Delivery) -> Result<(), TrackingError> {
        let now = self.store.now();
        // Without its signature nothing is sent.
        let sent = match delivery.secret(&self.vault) {
            Ok(secret) => {
                let (url, secret) = (&delivery.url, secret.as_deref());
                self.sender.send(now, url, secret, &delivery.delivery_id, &delivery.body).await
            }
            Err(error) => Err(error.to_string()),
        };
        let failed = match sent {
            Ok(answer) if (200..300).contains(&answer.status) => None,
            Ok(answer) => Some(format!("status {}", answer.status)),
            Err(error) => Some(error),
        };
        if let Some(error) = &failed {
            tracing::warn!(url = %delivery.url, delivery = %delivery.delivery_id, error, "a webhook was not reached");
        }
        let now = self.store.now();
        self.store
            .write(Durability::Relaxed, move |tx| match &failed {
                None => webhooks::delivered(tx, &delivery),
                Some(error) => webhooks::failed(tx, now, &delivery, error),
            })
            .await
    }
}

impl Reconciler for Deliveries {
    fn name(&self) -> &'static str {
        "webhook deliveries"
    }

    async fn activate(&mut self) -> Status {
        let now = self.store.now();
        let claimed = self.store.write(Durability::Relaxed, move |tx| webhooks::claim(tx, now, AT_ONCE as i64)).await;
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => return Status::Failed(error.to_string()),
        };
        if claimed.is_empty() {
            return Status::Settled;
        }
        let done: Vec<_> = futures_util::stream::iter(claimed.into_iter().map(|one| self.deliver(one)))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        match done.into_iter().find_map(Result::err) {
            Some(error) => Status::Failed(error.to_string()),
            None => Status::Moved,
        }
    }
}

/// A delivery that says nothing: for whoever tests a webhook.
pub(crate) fn example(event: &str, now: Timestamp) -> (String, String) {
    use serde_json::json;
    let data = match event {
        "registered_model.created" => {
            json!({"name": "example_model", "tags": {"example_key": "example_value"}, "description": "An example registered model"})
        }
        "model_version.created" => json!({
            "name": "example_model", "version": "1", "source": "models:/123", "run_id": "abcd1234abcd5678",
            "tags": {"example_key": "example_value"}, "description": "An example model version",
        }),
        "prompt.created" => {
            json!({"name": "example_prompt", "tags": {"example_key": "example_value"}, "description": "An example prompt"})
        }
        "prompt_version.created" => json!({
            "name": "example_prompt", "version": "1", "template": "Hello {{name}}!",
            "tags": {"example_key": "example_value"}, "description": "An example prompt version",
        }),
        "budget_policy.exceeded" => json!({
            "budget_policy_id": "bp-abc123", "budget_unit": "USD", "budget_amount": 100.0, "current_spend": 105.5,
            "duration_unit": "MONTHS", "duration_value": 1, "target_scope": "ENDPOINT", "workspace": "default",
            "target_value": "ep-abc123", "window_start": 1_704_067_200_000_i64,
        }),
        other => {
            let name = if other.starts_with("prompt") { "example_prompt" } else { "example_model" };
            let mut data = json!({"name": name});
            if other.contains("alias") {
                data["alias"] = json!("example_alias");
            } else {
                data["key"] = json!("example_key");
            }
            if other.contains("version_tag") || other.ends_with("alias.created") {
                data["version"] = json!("1");
            }
            if other.ends_with(".set") {
                data["value"] = json!("example_value");
            }
            data
        }
    };
    (ids::new_uuid(), webhooks::body(event, now, &data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_mlflow_documents() {
        // By Python: base64(hmac.new(b"secret", b"id.1700000000.{}", "sha256").digest())
        assert_eq!(signature("secret", "id", "1700000000", "{}"), "v1,GBemBzTgbKoVEGKycqyY3615LbdJbhFLE1oQk+zZ+lo=");
    }
}
