//! `webhooks/...`

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use towpath_tracking::webhooks::{self, EVENTS, Told, Webhook};

use super::{Answer, empty};
use crate::access::Caller;
use crate::request::Fields;
use crate::webhooks::{addresses, example};
use crate::{ApiError, wire};

pub(crate) fn router() -> Router<crate::State> {
    Router::new()
        .route("/webhooks", post(create).get(list))
        .route("/webhooks/{id}", get(fetch).patch(update).delete(remove))
        .route("/webhooks/{id}/test", post(test))
}

/// The secret is never shown.
fn shown(webhook: &Webhook) -> Value {
    let events: Vec<Value> = webhook
        .events
        .iter()
        .filter_map(|event| event.split_once('.'))
        .map(|(entity, action)| json!({"entity": entity.to_uppercase(), "action": action.to_uppercase()}))
        .collect();
    let mut shown = json!({
        "webhook_id": webhook.webhook_id,
        "name": webhook.name,
        "url": webhook.url,
        "events": events,
        "status": if webhook.active { "ACTIVE" } else { "DISABLED" },
        "creation_timestamp": webhook.created_at.millis(),
        "last_updated_timestamp": webhook.updated_at.millis(),
    });
    if let Some(description) = &webhook.description {
        shown["description"] = json!(description);
    }
    shown
}

fn answer(webhook: &Webhook) -> Json<Value> {
    Json(json!({"webhook": shown(webhook)}))
}

/// `{entity: "MODEL_VERSION", action: "CREATED"}`
fn event(fields: &Fields) -> Result<String, ApiError> {
    let (entity, action) = (fields.required("entity")?.to_lowercase(), fields.required("action")?.to_lowercase());
    let event = format!("{entity}.{action}");
    if EVENTS.contains(&event.as_str()) {
        return Ok(event);
    }
    let valid: Vec<&str> = EVENTS.iter().filter_map(|e| e.strip_prefix(&format!("{entity}."))).collect();
    Err(ApiError::invalid(format!("Invalid action '{action}' for entity '{entity}'. Valid actions are: {valid:?}")))
}

async fn told(state: &crate::State, fields: &Fields) -> Result<Told, ApiError> {
    let some = |text: Option<String>| text.filter(|t| !t.is_empty());
    let events: Vec<String> = fields.objects("events")?.iter().map(event).collect::<Result<_, _>>()?;
    let told = Told {
        name: some(fields.text("name")?),
        url: some(fields.text("url")?),
        events: (!events.is_empty()).then_some(events),
        description: fields.text("description")?,
        secret: fields.text("secret")?,
        active: match fields.text("status")?.as_deref() {
            None | Some("") => None,
            Some("ACTIVE") => Some(true),
            Some("DISABLED") => Some(false),
            Some(other) => {
                return Err(ApiError::invalid(format!("Invalid value \"{other}\" for parameter 'status' supplied")));
            }
        },
    };
    if let Some(url) = &told.url {
        addresses::check(url, state.webhooks).await.map_err(ApiError::invalid)?;
    }
    Ok(told)
}

async fn create(State(state): State<crate::State>, caller: Caller, fields: Fields) -> Answer {
    caller.may_write()?;
    fields.required("name")?;
    fields.required("url")?;
    if fields.objects("events")?.is_empty() {
        return Err(ApiError::missing("events"));
    }
    let told = told(&state, &fields).await?;
    let (now, vault) = (state.store.now(), state.vault.clone());
    Ok(answer(&state.commit(move |tx| Ok(webhooks::create(tx, now, &vault, &told)?)).await?))
}

async fn list(State(state): State<crate::State>, _: Caller, fields: Fields) -> Answer {
    let limit = match fields.int("max_results")? {
        None | Some(0) => 100,
        Some(n @ 1..=1000) => n as usize,
        Some(_) => return Err(ApiError::invalid("max_results must be between 1 and 1000.")),
    };
    let token = fields.text("page_token")?;
    let (found, next) = state.read(move |tx| Ok(webhooks::list(tx, limit, token.as_deref())?)).await?;
    Ok(Json(wire::page("webhooks", found.iter().map(shown).collect(), next)))
}

async fn fetch(State(state): State<crate::State>, _: Caller, Path(id): Path<String>) -> Answer {
    Ok(answer(&state.read(move |tx| Ok(webhooks::get(tx, &id)?)).await?))
}

async fn update(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    caller.may_write()?;
    let told = told(&state, &fields).await?;
    let (now, vault) = (state.store.now(), state.vault.clone());
    Ok(answer(&state.commit(move |tx| Ok(webhooks::update(tx, now, &vault, &id, &told)?)).await?))
}

async fn remove(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, _: Fields) -> Answer {
    caller.may_write()?;
    state.commit(move |tx| Ok(webhooks::delete(tx, &id)?)).await?;
    Ok(empty())
}

/// Sends an example at once, and answers what came back.
async fn test(State(state): State<crate::State>, caller: Caller, Path(id): Path<String>, fields: Fields) -> Answer {
    caller.may_write()?;
    let asked = fields.object("event")?.map(|fields| event(&fields)).transpose()?;
    let webhook = state.read(move |tx| Ok(webhooks::get(tx, &id)?)).await?;
    let event = asked.or_else(|| webhook.events.first().cloned()).unwrap_or_default();
    let now = state.store.now();
    let (delivery_id, body) = example(&event, now);
    let secret = webhook.secret(&state.vault)?;
    let sender = crate::webhooks::Sender::new(state.webhooks).map_err(|e| ApiError::invalid(e.to_string()))?;
    let sent = sender.send(now, &webhook.url, secret.as_deref(), &delivery_id, &body).await;
    let result = match sent {
        Ok(answer) => {
            let mut result = json!({"success": answer.status < 400, "response_status": answer.status});
            if !answer.body.is_empty() {
                result["response_body"] = json!(answer.body);
            }
            result
        }
        Err(error) => json!({"success": false, "error_message": format!("Failed to test webhook: {error}")}),
    };
    Ok(Json(json!({"result": result})))
}
