//! Signed requests that start runs. Pure up to the transaction: headers and the raw body in, who sent
//! what out. The signature is checked over the raw bytes before anything of the body is read.
//!
//! Forgejo, Gitea, GitHub and Bitbucket sign with HMAC-SHA256, GitLab sends the secret itself or
//! signs as Standard Webhooks does. Forgejo and Gitea send GitHub's headers too, so theirs come first.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use towpath_core::Timestamp;
use towpath_core::triggers::When;
use towpath_store::Durability;

use super::pull_requests::PullRequest;
use super::{act, rows};
use crate::params::Params;
use crate::{Error, Runs};

/// Longest value that a body may give to a parameter.
const LONGEST_VALUE: usize = 1000;

/// A signature with a time in it is good for this long, in seconds.
const SIGNED_FOR: i64 = 300;

/// The secret of a webhook: made from the server's own, so that it is kept nowhere.
pub fn secret(owner: &[u8], project: &str, name: &str, generation: i64) -> String {
    hex::encode(mac(owner, &[format!("webhook/{project}/{name}/{generation}").as_bytes()]))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "no signature: none of the headers of GitHub, GitLab, Gitea, Forgejo, Bitbucket or Standard Webhooks is there"
    )]
    Unsigned,
    #[error("the signature does not match the body and the secret")]
    Signature,
    #[error("the signature is older than five minutes")]
    Old,
    #[error("the body is not JSON")]
    Body,
    #[error("the secret of the Authorization header is not that of the trigger")]
    Secret,
    #[error("the body has no list 'alerts' as Alertmanager's webhook (version 4) has")]
    Alerts,
}

/// What was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The sender's number of it: a repetition has the same one.
    pub id: Option<String>,
    /// `push`, `push_deleted`, `tag`, `pull_request`, `comment`, `ping`, or the sender's own word.
    pub kind: String,
    pub reference: Option<String>,
    /// The commit, when the sender names one.
    pub after: Option<String>,
    /// The pull request that has a new head.
    pub pull_request: Option<PullRequest>,
    pub body: Value,
}

/// Checks the signature, then reads the body.
///
/// # Errors
/// See [`Refused`].
pub fn receive<'h>(
    secret: &str,
    header: impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<Delivery, Refused> {
    signed(secret.as_bytes(), &header, body, now)?;
    let json = match header("content-type") {
        // GitHub's other way to send.
        Some(kind) if kind.starts_with("application/x-www-form-urlencoded") => form(body).ok_or(Refused::Body)?,
        _ => serde_json::from_slice(body).map_err(|_| Refused::Body)?,
    };
    let first = |names: &[&str]| names.iter().find_map(|name| header(name)).map(str::to_owned);
    let id = first(&[
        "x-forgejo-delivery",
        "x-gitea-delivery",
        "x-github-delivery",
        "idempotency-key",
        "x-gitlab-event-uuid",
        "x-request-uuid",
        "webhook-id",
    ]);
    let event = first(&["x-forgejo-event", "x-gitea-event", "x-github-event", "x-gitlab-event", "x-event-key"]);
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    // Bitbucket puts several refs into one push: the first stands for it.
    let change = json.pointer("/push/changes/0");
    let (reference, after) = match change {
        Some(change) => bitbucket(change),
        None => (text("/ref").filter(|r| r.starts_with("refs/")), text("/checkout_sha").or_else(|| text("/after"))),
    };
    let kind = kind(event.as_deref(), &json, reference.as_deref(), after.as_deref());
    let commit = after.filter(|after| !is_zero(after));
    let pull_request = PullRequest::of(&json).filter(|_| kind == "pull_request");
    Ok(Delivery { id, kind, reference, after: commit, pull_request, body: json })
}

fn signed<'h>(
    secret: &[u8],
    header: &impl Fn(&str) -> Option<&'h str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refused> {
    let equal = |given: &[u8], expected: &[u8]| bool::from(given.ct_eq(expected));
    let check = |ok: bool| if ok { Ok(()) } else { Err(Refused::Signature) };
    let bare = header("x-forgejo-signature").or_else(|| header("x-gitea-signature"));
    let prefixed = header("x-hub-signature-256").or_else(|| header("x-hub-signature"));
    if let Some(digest) = bare.or_else(|| prefixed.map(|p| p.strip_prefix("sha256=").unwrap_or_default())) {
        let given = hex::decode(digest).map_err(|_| Refused::Signature)?;
        return check(equal(&given, &mac(secret, &[body])));
    }
    if let (Some(id), Some(time), Some(signatures)) =
        (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"))
    {
        let seconds: i64 = time.parse().map_err(|_| Refused::Signature)?;
        if now.millis().div_euclid(1000).abs_diff(seconds) > SIGNED_FOR.unsigned_abs() {
            return Err(Refused::Old);
        }
        let expected = mac(secret, &[id.as_bytes(), b".", time.as_bytes(), b".", body]);
        let given = signatures.split(' ').filter_map(|s| s.strip_prefix("v1,")).filter_map(base64);
        return check(given.fold(false, |found, given| found | equal(&given, &expected)));
    }
    match header("x-gitlab-token") {
        Some(token) => check(equal(&mac(secret, &[token.as_bytes()]), &mac(secret, &[secret]))),
        None => Err(Refused::Unsigned),
    }
}

pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// `payload=<JSON, percent-encoded>`.
fn form(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body).ok()?;
    let encoded = text.split('&').find_map(|pair| pair.strip_prefix("payload="))?.as_bytes();
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut i = 0;
    while let Some(byte) = encoded.get(i) {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                bytes.push(hex::decode(encoded.get(i + 1..i + 3)?).ok()?[0]);
                i += 2;
            }
            other => bytes.push(*other),
        }
        i += 1;
    }
    serde_json::from_slice(&bytes).ok()
}

/// A change of Bitbucket: its ref, and the commit it names now.
fn bitbucket(change: &Value) -> (Option<String>, Option<String>) {
    let side = change.get("new").filter(|new| !new.is_null()).or_else(|| change.get("old"));
    let text = |pointer: &str| side.and_then(|s| s.pointer(pointer)).and_then(Value::as_str);
    let folder = if text("/type") == Some("tag") { "tags" } else { "heads" };
    let deleted = change.get("new").is_none_or(Value::is_null);
    let after = if deleted { Some("0".repeat(40)) } else { text("/target/hash").map(str::to_owned) };
    (text("/name").map(|name| format!("refs/{folder}/{name}")), after)
}

fn is_zero(commit: &str) -> bool {
    commit.bytes().all(|b| b == b'0')
}

fn kind(event: Option<&str>, body: &Value, reference: Option<&str>, after: Option<&str>) -> String {
    let deleted = body.get("deleted") == Some(&Value::Bool(true))
        || body.get("after").and_then(Value::as_str).or(after).is_some_and(is_zero);
    match event.unwrap_or_default() {
        "push" | "Push Hook" | "Tag Push Hook" | "repo:push" => {
            let tag = reference.is_some_and(|r| r.starts_with("refs/tags/"));
            if deleted {
                "push_deleted"
            } else if tag {
                "tag"
            } else {
                "push"
            }
            .to_owned()
        }
        "pull_request" | "Merge Request Hook" => "pull_request".into(),
        "issue_comment" | "Note Hook" => "comment".into(),
        event if event.starts_with("pullrequest:comment") => "comment".into(),
        event if event.starts_with("pullrequest:") => "pull_request".into(),
        "" => body.get("type").and_then(Value::as_str).unwrap_or("event").to_owned(),
        other => other.to_owned(),
    }
}

impl Runs {
    /// Acts on a delivery; the run it started, or why there is none.
    pub async fn webhook(&self, project: &str, name: &str, delivery: Delivery) -> Result<(Option<i64>, String), Error> {
        let (p, n) = (project.to_owned(), name.to_owned());
        let kept = self.store.read(move |tx| rows::kept(tx, &p, &n)).await?;
        if delivery.kind == "ping" {
            return Ok((None, "answered the ping".into()));
        }
        if kept.is_paused() {
            return Ok((None, "ignored: the trigger is paused".into()));
        }
        let (events, values) = match kept.trigger.when.clone() {
            When::Webhook { events, values } => (events, values),
            When::PullRequest { branches } => return self.pull_request(kept, &branches, delivery).await,
            _ => return Err(Error::NoSchedule { project: project.to_owned(), name: name.to_owned() }),
        };
        if !events.is_empty() && !events.contains(&delivery.kind) {
            return Ok((None, format!("ignored: {} is not among {}", delivery.kind, events.join(", "))));
        }
        // The sender's commit when it is here, or what the default branch is now.
        let named = match &delivery.after {
            Some(after) => self.head(project, after).await.ok(),
            None => None,
        };
        let head = match named {
            Some(head) => head,
            None => self.head(project, &kept.branch).await?,
        };
        let now = self.store.now();
        self.store
            .write(Durability::Full, move |tx| {
                if let Some(id) = &delivery.id
                    && rows::delivered(tx, &kept.project, &kept.trigger.name, id)?
                {
                    return Ok((None, format!("delivery {id} has been acted on")));
                }
                let at = delivery.reference.as_ref().map(|r| format!(" of {r}")).unwrap_or_default();
                let mut new = act::from(&kept, head.clone(), format!("webhook: {}{at}", delivery.kind));
                new.params.extend(self::values(&delivery.body, &values));
                let run = act::start(tx, now, &kept, new, kept.trigger.overlap, delivery.id.as_deref())?;
                let text = match run {
                    Some(number) => format!("run {number} of {} starts", kept.project),
                    None => "no run: an earlier one of the webhook is not over".to_owned(),
                };
                Ok::<_, Error>((run, text))
            })
            .await
    }
}

/// Single values out of a body, by parameter; what is not there or long is left out.
pub(super) fn values(body: &Value, pointers: &BTreeMap<String, String>) -> Params {
    let value = |(param, pointer): (&String, &String)| {
        let scalar = body.pointer(pointer).filter(|v| !v.is_object() && !v.is_array() && !v.is_null())?;
        let short = scalar.as_str().is_none_or(|text| text.len() <= LONGEST_VALUE);
        short.then(|| (param.clone(), scalar.clone()))
    };
    pointers.iter().filter_map(value).collect()
}

/// What has an address of its own and a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Signed by a forge.
    Forge,
    /// Alerts of a monitor.
    Monitor,
}

/// The kind of a trigger that requests start, and the generation of its secret.
pub fn hook(tx: &mut towpath_store::Tx<'_>, project: &str, name: &str) -> Result<(Hook, i64), Error> {
    let kept = rows::kept(tx, project, name)?;
    match kept.trigger.when {
        When::Webhook { .. } | When::PullRequest { .. } => Ok((Hook::Forge, kept.generation)),
        When::Monitor { .. } => Ok((Hook::Monitor, kept.generation)),
        _ => Err(Error::NoSchedule { project: project.to_owned(), name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SECRET: &str = "a secret of the test";

    fn now() -> Timestamp {
        Timestamp::from_millis(1_790_000_000_000)
    }

    fn take(headers: &BTreeMap<String, String>, body: &[u8]) -> Result<Delivery, Refused> {
        receive(SECRET, |name| headers.get(name).map(String::as_str), body, now())
    }

    /// Each recorded delivery of each forge, signed as that forge signs.
    #[test]
    fn deliveries_of_every_forge_are_verified_and_understood() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/webhooks");
        let mut seen = 0;
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let recorded: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let body = serde_json::to_vec(&recorded["body"]).unwrap();
            let digest = hex::encode(mac(SECRET.as_bytes(), &[&body]));
            let headers: BTreeMap<String, String> = recorded["headers"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| {
                    let value = value.as_str().unwrap().replace("<hex>", &digest).replace("<secret>", SECRET);
                    (name.to_lowercase(), value)
                })
                .collect();
            let delivery = take(&headers, &body).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let normal = &recorded["normal"];
            let kind = if normal["kind"] == "ignored" { "create" } else { normal["kind"].as_str().unwrap() };
            assert_eq!(delivery.kind, kind, "{}", path.display());
            let moved = kind == "pull_request"
                && ["opened", "updated", "updated_or_metadata"].contains(&normal["action"].as_str().unwrap());
            let request = delivery.pull_request.as_ref();
            assert_eq!(request.is_some(), moved, "{}", path.display());
            if let Some(request) = request {
                let number = normal["number"].to_string();
                assert!(request.reference.contains(&format!("/{number}/")), "{}", path.display());
                assert_eq!(request.into, normal["base_ref"], "{}", path.display());
                let head = normal["head_sha"].as_str().or_else(|| normal["head_sha_prefix"].as_str());
                assert_eq!(Some(request.head.as_str()), head, "{}", path.display());
            }
            assert!(delivery.id.is_some(), "{}", path.display());
            if kind == "push" || kind == "tag" {
                assert_eq!(delivery.reference.as_deref(), normal["ref"].as_str(), "{}", path.display());
                assert!(delivery.after.is_some(), "{}", path.display());
            }
            let mut changed = body.clone();
            changed.push(b' ');
            let signs_the_body = !headers.contains_key("x-gitlab-token");
            assert_eq!(take(&headers, &changed).is_err(), signs_the_body, "{}", path.display());
            let other = receive("another", |name| headers.get(name).map(String::as_str), &body, now());
            assert_eq!(other, Err(Refused::Signature), "{}", path.display());
            seen += 1;
        }
        assert_eq!(seen, 24);
    }

    #[test]
    fn a_standard_webhook_is_signed_with_its_time() {
        use base64::Engine as _;
        let body = br#"{"type": "labels.ready", "data": {"version": 3}}"#;
        let headers = |seconds: i64| {
            let signed = mac(SECRET.as_bytes(), &[format!("msg_1.{seconds}.").as_bytes(), body]);
            let signature = base64::engine::general_purpose::STANDARD.encode(signed);
            BTreeMap::from([
                ("webhook-id".to_owned(), "msg_1".to_owned()),
                ("webhook-timestamp".to_owned(), seconds.to_string()),
                ("webhook-signature".to_owned(), format!("v1,AAAA v1,{signature}")),
            ])
        };
        let seconds = now().millis() / 1000;
        let delivery = take(&headers(seconds), body).unwrap();
        assert_eq!((delivery.kind.as_str(), delivery.id.as_deref()), ("labels.ready", Some("msg_1")));
        assert_eq!(take(&headers(seconds - 301), body), Err(Refused::Old));
    }

    #[test]
    fn an_unsigned_request_and_a_body_that_is_no_json_are_refused() {
        assert_eq!(take(&BTreeMap::new(), b"{}"), Err(Refused::Unsigned));
        let digest = hex::encode(mac(SECRET.as_bytes(), &[b"{"]));
        let headers = BTreeMap::from([("x-hub-signature-256".to_owned(), format!("sha256={digest}"))]);
        assert_eq!(take(&headers, b"{"), Err(Refused::Body));
    }

    #[test]
    fn a_form_encoded_delivery_is_read() {
        let body = b"payload=%7B%22ref%22%3A+%22refs%2Fheads%2Fmain%22%7D";
        let digest = hex::encode(mac(SECRET.as_bytes(), &[body]));
        let headers = BTreeMap::from([
            ("x-hub-signature-256".to_owned(), format!("sha256={digest}")),
            ("x-github-event".to_owned(), "push".to_owned()),
            ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ]);
        assert_eq!(take(&headers, body).unwrap().reference.as_deref(), Some("refs/heads/main"));
    }
}
