//! Alerts of monitors: what Alertmanager posts (version 4 of its webhook), and Grafana after it.
//!
//! An alert that goes on firing is posted again and again; each is acted on once, told by its
//! fingerprint and when it began.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use subtle::ConstantTimeEq as _;
use towpath_core::triggers::When;
use towpath_plan::towpath_yaml::matches_any;
use towpath_store::Durability;

use super::webhook::{self, Refused};
use super::{act, rows};
use crate::params::Params;
use crate::{Error, Runs};

/// One alert of a request.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    pub starts_at: String,
    /// A hash of its labels.
    pub fingerprint: String,
}

#[derive(Deserialize)]
struct Notification {
    alerts: Vec<Alert>,
}

impl Alert {
    fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }

    /// The same however often it is posted.
    fn key(&self) -> String {
        format!("{}/{}", self.fingerprint, self.starts_at)
    }

    /// `alert Drift (model=digits)`.
    fn shown(&self) -> String {
        let others = self.labels.iter().filter(|(label, _)| *label != "alertname");
        let others: Vec<String> = others.map(|(label, value)| format!("{label}={value}")).collect();
        let labels = if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
        format!("alert {}{labels}", self.name())
    }

    fn fits(&self, alerts: &[String], labels: &BTreeMap<String, String>) -> bool {
        let named = alerts.is_empty() || matches_any(alerts, self.name());
        named
            && labels.iter().all(|(label, pattern)| {
                self.labels.get(label).is_some_and(|value| matches_any(std::slice::from_ref(pattern), value))
            })
    }

    fn values(&self, pointers: &BTreeMap<String, String>) -> Params {
        let parts = Value::Object(
            [("labels", &self.labels), ("annotations", &self.annotations)]
                .into_iter()
                .map(|(name, part)| {
                    (name.to_owned(), part.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect())
                })
                .collect(),
        );
        webhook::values(&parts, pointers)
    }
}

/// Checks who sent it (`Authorization: Bearer SECRET`, or `Basic` with the secret as password), then reads
/// the body.
///
/// # Errors
/// See [`Refused`].
pub fn receive<'h>(secret: &str, header: impl Fn(&str) -> Option<&'h str>, body: &[u8]) -> Result<Vec<Alert>, Refused> {
    let given = header("authorization").ok_or(Refused::Unsigned)?;
    let password = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim().as_bytes().to_vec(),
        Some((scheme, pair)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = webhook::base64(pair.trim()).ok_or(Refused::Secret)?;
            let colon = pair.iter().position(|byte| *byte == b':').ok_or(Refused::Secret)?;
            pair[colon + 1..].to_vec()
        }
        _ => return Err(Refused::Secret),
    };
    if !bool::from(password.ct_eq(secret.as_bytes())) {
        return Err(Refused::Secret);
    }
    let notification: Notification = serde_json::from_slice(body).map_err(|_| Refused::Alerts)?;
    Ok(notification.alerts)
}

impl Runs {
    /// Acts on alerts: one run for those of a request that fire and were not acted on yet.
    pub async fn alerts(&self, project: &str, name: &str, alerts: Vec<Alert>) -> Result<(Option<i64>, String), Error> {
        let (p, n) = (project.to_owned(), name.to_owned());
        let kept = self.store.read(move |tx| rows::kept(tx, &p, &n)).await?;
        let When::Monitor { alerts: wanted, labels, values } = kept.trigger.when.clone() else {
            return Err(Error::NoSchedule { project: project.to_owned(), name: name.to_owned() });
        };
        if kept.is_paused() {
            return Ok((None, "ignored: the trigger is paused".into()));
        }
        let firing: Vec<Alert> =
            alerts.into_iter().filter(|alert| alert.status == "firing" && alert.fits(&wanted, &labels)).collect();
        if firing.is_empty() {
            return Ok((None, "ignored: none of the alerts fires and is wanted".into()));
        }
        let head = self.head(project, &kept.branch).await?;
        let now = self.store.now();
        self.store
            .write(Durability::Full, move |tx| {
                let mut fresh = Vec::new();
                for alert in &firing {
                    if !rows::delivered(tx, &kept.project, &kept.trigger.name, &alert.key())? {
                        fresh.push(alert);
                    }
                }
                let Some((first, others)) = fresh.split_first() else {
                    return Ok((None, "the alerts have been acted on".to_owned()));
                };
                let mut new = act::from(&kept, head.clone(), first.shown());
                new.params.extend(first.values(&values));
                let run = act::start(tx, now, &kept, new, kept.trigger.overlap, Some(&first.key()))?;
                for other in others {
                    let with = format!("{}: came with {}", other.shown(), first.shown());
                    act::skipped(tx, now, &kept, &with, Some(&other.key()))?;
                }
                let text = match run {
                    Some(number) => format!("run {number} of {} starts", kept.project),
                    None => "no run: an earlier one of the monitor is not over".to_owned(),
                };
                Ok::<_, Error>((run, text))
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "a secret of the test";

    fn posted() -> Vec<u8> {
        serde_json::to_vec(&json!({
            "version": "4",
            "status": "firing",
            "alerts": [{
                "status": "firing",
                "labels": {"alertname": "Drift", "model": "digits"},
                "annotations": {"summary": "pixels are darker"},
                "startsAt": "2026-11-30T00:00:00Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "fingerprint": "c0ffee",
            }],
        }))
        .unwrap()
    }

    fn with(authorization: &str) -> Result<Vec<Alert>, Refused> {
        receive(SECRET, |name| (name == "authorization").then_some(authorization), &posted())
    }

    #[test]
    fn the_secret_comes_as_a_token_or_a_password() {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("towpath:{SECRET}"));
        assert_eq!(with(&format!("Bearer {SECRET}")).unwrap().len(), 1);
        assert_eq!(with(&format!("Basic {basic}")).unwrap().len(), 1);
        assert_eq!(with("Bearer guess"), Err(Refused::Secret));
        assert_eq!(with("Digest x"), Err(Refused::Secret));
        assert_eq!(receive(SECRET, |_| None, &posted()), Err(Refused::Unsigned));
        let bearer = format!("Bearer {SECRET}");
        assert_eq!(receive(SECRET, |_| Some(bearer.as_str()), b"{}"), Err(Refused::Alerts));
    }

    #[test]
    fn an_alert_fits_by_its_name_and_all_labels_and_gives_values() {
        let alert = with(&format!("Bearer {SECRET}")).unwrap().remove(0);
        let labels = |value: &str| BTreeMap::from([("model".to_owned(), value.to_owned())]);
        assert!(alert.fits(&[], &BTreeMap::new()));
        assert!(alert.fits(&["Dr*".into()], &labels("digits")));
        assert!(!alert.fits(&["Latency".into()], &BTreeMap::new()));
        assert!(!alert.fits(&[], &labels("faces")));
        assert_eq!(alert.shown(), "alert Drift (model=digits)");
        let pointers = BTreeMap::from([("note".to_owned(), "/annotations/summary".to_owned())]);
        assert_eq!(alert.values(&pointers).get("note"), Some(&json!("pixels are darker")));
    }
}
