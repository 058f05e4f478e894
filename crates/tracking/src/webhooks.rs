//! Webhooks of the registry: who is told of which changes, and what is still to be told. A delivery is
//! a row, written with the change; whoever sends it claims it first.

use serde_json::{Value, json};
use towpath_core::{Timestamp, ids};
use towpath_store::{Durability, Row, Store, Tx, Vault, sequence};

use crate::registry::models::RegisteredModel;
use crate::registry::versions::ModelVersion;
use crate::search::page_token;
use crate::search::registered_models::IS_PROMPT;
use crate::{TrackingError, rows};

/// What can be subscribed to, as `entity.action`.
pub const EVENTS: [&str; 15] = [
    "registered_model.created",
    "model_version.created",
    "model_version_tag.set",
    "model_version_tag.deleted",
    "model_version_alias.created",
    "model_version_alias.deleted",
    "prompt.created",
    "prompt_version.created",
    "prompt_tag.set",
    "prompt_tag.deleted",
    "prompt_version_tag.set",
    "prompt_version_tag.deleted",
    "prompt_alias.created",
    "prompt_alias.deleted",
    "budget_policy.exceeded",
];

/// Tags of prompts that say what the others are.
const PROMPT_TEXT: &str = "mlflow.prompt.text";
const PROMPT_TYPE: &str = "_mlflow_prompt_type";
/// Times between the attempts to deliver, in milliseconds; after the last it is given up.
const PAUSES: [i64; 5] = [1_000, 10_000, 60_000, 600_000, 3_600_000];
/// An attempt that has not ended after this long has failed.
const CLAIM: i64 = 90_000;
/// Deliveries that were given up are kept for a week.
const KEPT: i64 = 7 * 24 * 3_600_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    id: i64,
    /// A UUID.
    pub webhook_id: String,
    pub name: String,
    pub url: String,
    /// Of [`EVENTS`], one or more.
    pub events: Vec<String>,
    pub description: Option<String>,
    sealed: Option<String>,
    pub active: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Webhook {
    /// What deliveries are signed with.
    pub fn secret(&self, vault: &Vault) -> Result<Option<String>, TrackingError> {
        opened(vault, &self.webhook_id, self.sealed.as_deref())
    }
}

fn place(webhook_id: &str) -> String {
    format!("webhook\n{webhook_id}")
}

/// The empty text is no secret.
fn sealed(vault: &Vault, webhook_id: &str, secret: &str) -> Result<Option<String>, TrackingError> {
    if secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(vault.seal(&place(webhook_id), secret)?))
}

fn opened(vault: &Vault, webhook_id: &str, sealed: Option<&str>) -> Result<Option<String>, TrackingError> {
    let Some(sealed) = sealed else { return Ok(None) };
    let secret = vault.open(&place(webhook_id), sealed);
    Ok(Some(secret.ok_or_else(|| TrackingError::WebhookSecret(webhook_id.to_owned()))?))
}

/// Encrypts the secrets that an older version kept as they are; how many.
pub async fn seal_secrets(store: &Store, vault: &Vault) -> Result<usize, TrackingError> {
    let vault = vault.clone();
    store
        .write(Durability::Full, move |tx| {
            let rows = tx.all("select id, webhook_id, secret from webhooks where secret is not null", &[])?;
            for row in &rows {
                let text = sealed(&vault, &row.text("webhook_id")?, &row.text("secret")?)?;
                tx.run("update webhooks set sealed = $1, secret = null where id = $2", &[&text, &row.int("id")?])?;
            }
            Ok(rows.len())
        })
        .await
}

/// What a client says of a webhook; what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub name: Option<String>,
    pub url: Option<String>,
    pub events: Option<Vec<String>>,
    /// The empty text removes it.
    pub description: Option<String>,
    /// The empty text removes it.
    pub secret: Option<String>,
    pub active: Option<bool>,
}

fn from_row(row: &Row) -> Result<Webhook, TrackingError> {
    Ok(Webhook {
        id: row.int("id")?,
        webhook_id: row.text("webhook_id")?,
        name: row.text("name")?,
        url: row.text("url")?,
        events: Vec::new(),
        description: row.opt_text("description")?,
        sealed: row.opt_text("sealed")?,
        active: row.text("status")? == "ACTIVE",
        created_at: row.time("created_at")?,
        updated_at: row.time("updated_at")?,
    })
}

/// Letters, digits and `._-` inside, 63 at most.
fn check_name(name: &str) -> Result<(), TrackingError> {
    let inside = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if name.len() <= 63 && name.chars().all(inside) && ends(name.chars().next()) && ends(name.chars().next_back()) {
        return Ok(());
    }
    Err(TrackingError::Conflicting(format!(
        "Webhook name {name:?} is invalid. It must start and end with a letter or digit, be less than 63 characters long, and contain only letters, digits, dots (.), underscores (_), and hyphens (-)."
    )))
}

/// The caller has looked at the address.
pub fn create(tx: &mut Tx<'_>, now: Timestamp, vault: &Vault, told: &Told) -> Result<Webhook, TrackingError> {
    let (Some(name), Some(url)) = (&told.name, &told.url) else {
        return Err(TrackingError::Missing(if told.name.is_none() { "name" } else { "url" }.into()));
    };
    check_name(name)?;
    let id = sequence::next(tx, "webhooks")?;
    let webhook_id = ids::new_uuid();
    let some = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    tx.run(
        "insert into webhooks (id, webhook_id, name, url, description, sealed, status, created_at, updated_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        &[
            &id,
            &webhook_id,
            name,
            url,
            &some(&told.description),
            &sealed(vault, &webhook_id, told.secret.as_deref().unwrap_or_default())?,
            &status(told.active.unwrap_or(true)),
            &now,
        ],
    )?;
    put_events(tx, id, told.events.as_deref().unwrap_or_default())?;
    get(tx, &webhook_id)
}

fn status(active: bool) -> &'static str {
    if active { "ACTIVE" } else { "DISABLED" }
}

fn put_events(tx: &mut Tx<'_>, id: i64, events: &[String]) -> Result<(), TrackingError> {
    if events.is_empty() {
        return Err(TrackingError::Conflicting(
            "Webhook events must be a non-empty list of WebhookEvent objects.".into(),
        ));
    }
    tx.run("delete from webhook_events where webhook = $1", &[&id])?;
    for (position, event) in events.iter().enumerate() {
        tx.run(
            "insert into webhook_events (webhook, position, event) values ($1, $2, $3)",
            &[&id, &(position as i64), event],
        )?;
    }
    Ok(())
}

pub fn get(tx: &mut Tx<'_>, webhook_id: &str) -> Result<Webhook, TrackingError> {
    let none = || TrackingError::NoWebhook(webhook_id.to_owned());
    let row = tx.opt("select * from webhooks where webhook_id = $1", &[&webhook_id])?.ok_or_else(none)?;
    with_events(tx, vec![from_row(&row)?])?.pop().ok_or_else(none)
}

/// Newest first.
pub fn list(
    tx: &mut Tx<'_>,
    limit: usize,
    page_token: Option<&str>,
) -> Result<(Vec<Webhook>, Option<String>), TrackingError> {
    let offset = page_token::offset(page_token)?;
    let mut found: Vec<Webhook> = tx.list(
        "select * from webhooks order by created_at desc, id desc limit $1 offset $2",
        &[&(limit as i64 + 1), &(offset as i64)],
        from_row,
    )?;
    let next = (found.len() > limit).then(|| page_token::at(offset + limit));
    found.truncate(limit);
    Ok((with_events(tx, found)?, next))
}

fn with_events(tx: &mut Tx<'_>, mut webhooks: Vec<Webhook>) -> Result<Vec<Webhook>, TrackingError> {
    let ids: Vec<i64> = webhooks.iter().map(|w| w.id).collect();
    let sql = "select webhook, event from webhook_events where webhook in ({}) order by webhook, position";
    for row in rows::of_many(tx, sql, &[], &ids)? {
        let id = row.int("webhook")?;
        if let Some(webhook) = webhooks.iter_mut().find(|w| w.id == id) {
            webhook.events.push(row.text("event")?);
        }
    }
    Ok(webhooks)
}

pub fn update(
    tx: &mut Tx<'_>,
    now: Timestamp,
    vault: &Vault,
    webhook_id: &str,
    told: &Told,
) -> Result<Webhook, TrackingError> {
    let mut webhook = get(tx, webhook_id)?;
    if let Some(name) = &told.name {
        check_name(name)?;
        webhook.name.clone_from(name);
    }
    if let Some(url) = &told.url {
        webhook.url.clone_from(url);
    }
    if let Some(events) = &told.events {
        put_events(tx, webhook.id, events)?;
    }
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    if let Some(description) = &told.description {
        webhook.description = some(description);
    }
    if let Some(secret) = &told.secret {
        webhook.sealed = sealed(vault, webhook_id, secret)?;
    }
    let active = told.active.unwrap_or(webhook.active);
    tx.run(
        "update webhooks set name = $1, url = $2, description = $3, sealed = $4, status = $5, updated_at = $6 \
         where id = $7",
        &[&webhook.name, &webhook.url, &webhook.description, &webhook.sealed, &status(active), &now, &webhook.id],
    )?;
    get(tx, webhook_id)
}

/// What it was still to be told goes with it.
pub fn delete(tx: &mut Tx<'_>, webhook_id: &str) -> Result<(), TrackingError> {
    let webhook = get(tx, webhook_id)?;
    for sql in [
        "delete from webhook_deliveries where webhook = $1",
        "delete from webhook_events where webhook = $1",
        "delete from webhooks where id = $1",
    ] {
        tx.run(sql, &[&webhook.id])?;
    }
    Ok(())
}

/// A change that webhooks are told of.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Of [`EVENTS`].
    pub event: &'static str,
    pub data: Value,
}

impl Change {
    pub(crate) fn model_created(model: &RegisteredModel) -> Self {
        let prompt = model.tags.get(IS_PROMPT).is_some_and(|t| t.eq_ignore_ascii_case("true"));
        let mut tags = model.tags.clone();
        if prompt {
            tags.retain(|key, _| key != IS_PROMPT && key != PROMPT_TYPE);
        }
        let description = model.description.clone().unwrap_or_default();
        Self {
            event: if prompt { "prompt.created" } else { "registered_model.created" },
            data: json!({"name": model.name, "tags": tags, "description": description}),
        }
    }

    pub(crate) fn version_created(version: &ModelVersion, prompt: bool) -> Self {
        let (name, number) = (&version.model, version.version.to_string());
        let description = version.description.as_ref().filter(|d| !d.is_empty());
        let mut tags = version.tags.clone();
        if prompt {
            let template = tags.remove(PROMPT_TEXT);
            tags.retain(|key, _| key != IS_PROMPT && key != PROMPT_TYPE);
            let data = json!({
                "name": name, "version": number, "template": template, "tags": tags, "description": description,
            });
            return Self { event: "prompt_version.created", data };
        }
        let data = json!({
            "name": name, "version": number, "source": version.source, "run_id": version.run_id,
            "tags": tags, "description": description,
        });
        Self { event: "model_version.created", data }
    }
}

/// The body of a delivery.
pub fn body(event: &str, at: Timestamp, data: &Value) -> String {
    let (entity, action) = event.split_once('.').unwrap_or((event, ""));
    json!({"entity": entity, "action": action, "timestamp": at.to_string(), "data": data}).to_string()
}

/// Queues a change for everybody who subscribed to it.
pub(crate) fn emit(tx: &mut Tx<'_>, now: Timestamp, change: &Change) -> Result<(), TrackingError> {
    let told: Vec<i64> = tx.list(
        "select distinct w.id from webhook_events e join webhooks w on w.id = e.webhook \
         where e.event = $1 and w.status = 'ACTIVE' order by w.id",
        &[&change.event],
        |row| Ok::<_, TrackingError>(row.int("id")?),
    )?;
    if told.is_empty() {
        return Ok(());
    }
    let body = body(change.event, now, &change.data);
    for webhook in told {
        let id = sequence::next(tx, "webhook_deliveries")?;
        tx.run(
            "insert into webhook_deliveries (id, webhook, delivery_id, event, body, attempts, due_at, created_at) \
             values ($1, $2, $3, $4, $5, 0, $6, $6)",
            &[&id, &webhook, &ids::new_uuid(), &change.event, &body, &now],
        )?;
    }
    tx.notify(&[json!("webhooks")]);
    Ok(())
}

/// A delivery that somebody has claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    id: i64,
    /// The same at each attempt.
    pub delivery_id: String,
    pub url: String,
    webhook_id: String,
    sealed: Option<String>,
    pub body: String,
    attempts: i64,
}

impl Delivery {
    /// What it is signed with.
    pub fn secret(&self, vault: &Vault) -> Result<Option<String>, TrackingError> {
        opened(vault, &self.webhook_id, self.sealed.as_deref())
    }
}

/// Claims what is due, oldest first, and drops what was given up long ago.
pub fn claim(tx: &mut Tx<'_>, now: Timestamp, limit: i64) -> Result<Vec<Delivery>, TrackingError> {
    tx.run(
        "delete from webhook_deliveries where due_at is null and created_at < $1",
        &[&Timestamp(now.millis() - KEPT)],
    )?;
    let due: Vec<(Delivery, Timestamp)> = tx.list(
        "select d.id, d.delivery_id, d.body, d.attempts, d.due_at, w.url, w.webhook_id, w.sealed from webhook_deliveries d \
         join webhooks w on w.id = d.webhook where d.due_at <= $1 and w.status = 'ACTIVE' order by d.due_at, d.id \
         limit $2",
        &[&now, &limit],
        |row| {
            let delivery = Delivery {
                id: row.int("id")?,
                delivery_id: row.text("delivery_id")?,
                url: row.text("url")?,
                webhook_id: row.text("webhook_id")?,
                sealed: row.opt_text("sealed")?,
                body: row.text("body")?,
                attempts: row.int("attempts")? + 1,
            };
            Ok::<_, TrackingError>((delivery, row.time("due_at")?))
        },
    )?;
    let mut claimed = Vec::new();
    for (delivery, due_at) in due {
        // Another server may have been faster.
        let ours = tx.run(
            "update webhook_deliveries set attempts = $1, due_at = $2 where id = $3 and due_at = $4",
            &[&delivery.attempts, &Timestamp(now.millis() + CLAIM), &delivery.id, &due_at],
        )?;
        if ours == 1 {
            claimed.push(delivery);
        }
    }
    Ok(claimed)
}

/// It was taken: nothing is left to do.
pub fn delivered(tx: &mut Tx<'_>, delivery: &Delivery) -> Result<(), TrackingError> {
    tx.run("delete from webhook_deliveries where id = $1", &[&delivery.id])?;
    Ok(())
}

/// It was not: it is sent again after a pause, or given up.
pub fn failed(tx: &mut Tx<'_>, now: Timestamp, delivery: &Delivery, error: &str) -> Result<(), TrackingError> {
    let pause = usize::try_from(delivery.attempts - 1).ok().and_then(|n| PAUSES.get(n));
    let due = pause.map(|pause| Timestamp(now.millis() + pause));
    tx.run("update webhook_deliveries set due_at = $1, error = $2 where id = $3", &[&due, &error, &delivery.id])?;
    Ok(())
}
