//! `/trace?of=`: from one prediction down to file hashes, commit and approvers; from one data file
//! up to everything it touched.

use std::collections::BTreeMap;

use axum::Json;
use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::Deserialize;
use towpath_api::control::PredictionRecord;
use towpath_api::releases::Release;
use towpath_api::trace::{Link, Trace};
use towpath_core::ledger as words;
use towpath_data::{Cache, Oid};
use towpath_store::ledger;
use towpath_tracking::lineage::{self, DataItem};
use towpath_tracking::registry::{aliases, versions};
use towpath_tracking::{TrackingError, VersionLineage, views};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Files of a folder that are listed.
const FILES: usize = 200;
/// Models looked through for a data file.
const MODELS: i64 = 1_000;

pub(super) fn router() -> Router<App> {
    Router::new().route("/trace", get(trace))
}

#[derive(Deserialize)]
struct Asked {
    of: String,
}

async fn trace(State(app): State<App>, _: Caller, Query(asked): Query<Asked>) -> Result<Json<Trace>, ApiError> {
    let of = asked.of.trim();
    let mut chain = Chain { app: &app, links: Vec::new() };
    let resolved = if let Some((model, version)) = version_named(&app, of).await? {
        chain.version(0, &model, version).await?;
        words::model_version(&model, version)
    } else if let Some(record) = app.delivery.prediction(of).await? {
        chain.prediction(&record).await?;
        format!("prediction/{}", record.id)
    } else {
        chain.data(of).await?
    };
    Ok(Json(Trace { of: resolved, links: chain.links }))
}

/// `model@alias` or `model/version`.
async fn version_named(app: &App, of: &str) -> Result<Option<(String, i64)>, ApiError> {
    if let Some((model, alias)) = of.split_once('@') {
        let (model, alias) = (model.to_owned(), alias.to_owned());
        let found = app.store.read(move |tx| aliases::resolve(tx, &model, &alias)).await?;
        return Ok(Some((found.model, found.version)));
    }
    let Some((model, version)) = of.rsplit_once('/') else { return Ok(None) };
    let Ok(version) = version.trim_start_matches('v').parse::<i64>() else { return Ok(None) };
    let model = model.to_owned();
    let found = app.store.read(move |tx| versions::get(tx, &model, version)).await;
    match found {
        Ok(found) => Ok(Some((found.model, found.version))),
        Err(TrackingError::NoVersion { .. } | TrackingError::NoModel(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

struct Chain<'a> {
    app: &'a App,
    links: Vec<Link>,
}

impl Chain<'_> {
    fn link(&mut self, depth: u32, kind: &str, name: impl Into<String>) -> &mut Link {
        self.links.push(Link {
            depth,
            kind: kind.to_owned(),
            name: name.into(),
            hash: None,
            facts: Vec::new(),
            ledger_seq: None,
        });
        let last = self.links.len() - 1;
        &mut self.links[last]
    }

    async fn prediction(&mut self, record: &PredictionRecord) -> Result<(), ApiError> {
        let link = self.link(0, "prediction", &record.id);
        link.fact("at", record.at.to_string());
        if let Some(note) = &record.note {
            link.fact("note", note.clone());
        } else {
            link.hash = Some(record.input_sha256.clone());
            link.fact("answered", record.output.to_string());
            if let Some(label) = &record.label {
                link.fact("label", label.to_string());
            }
            link.fact("took", format!("{:.2} ms", record.latency_micros as f64 / 1000.0));
        }
        let link = self.link(1, "revision", &record.revision);
        link.fact("deployment", format!("{}/{}", record.project, record.environment));
        if !record.arm.is_empty() {
            link.fact("arm", record.arm.clone());
        }
        if record.rollout.is_some() {
            link.fact("candidate share", format!("{:.0} %", record.weight * 100.0));
        }
        if record.release > 0 {
            let release = self.app.delivery.release(record.release).await?;
            self.release(2, &release).await?;
        }
        self.version(3, &record.model, record.model_version).await
    }

    /// A release with its gates and votes.
    async fn release(&mut self, depth: u32, release: &Release) -> Result<(), ApiError> {
        let summary = &release.summary;
        let opened = self.ledger_of(&words::release(summary.id), "release.opened").await?;
        let link = self.link(depth, "release", format!("release {} into {}", summary.id, summary.environment));
        link.hash = Some(summary.hash.to_string());
        link.ledger_seq = opened;
        link.fact("requested by", summary.requested_by.clone());
        if let Some(live) = summary.live_at {
            link.fact("live since", live.to_string());
        }
        for gate in &release.gates {
            let link = self.link(depth + 1, "gate", &gate.name);
            link.hash = Some(gate.hash.to_string());
            link.fact("verdict", gate.reason.clone());
        }
        for vote in &release.votes {
            let word = if vote.approved { "approved by" } else { "rejected by" };
            let link = self.link(depth + 1, "approval", format!("{word} {} ({})", vote.user, vote.role));
            link.fact("reason", vote.reason.clone());
            link.fact("at", vote.at.to_string());
            if let Some(stale) = &vote.stale {
                link.fact("stale", stale.clone());
            }
        }
        Ok(())
    }

    /// A model version, down to what made it.
    async fn version(&mut self, depth: u32, model: &str, version: i64) -> Result<(), ApiError> {
        let name = model.to_owned();
        let made = self.app.store.read(move |tx| lineage::get(tx, &name, version)).await?;
        let recorded = self.ledger_of(&words::model_version(model, version), "model_version.created").await?;
        let link = self.link(depth, "model_version", format!("{model} v{version}"));
        link.ledger_seq = recorded;
        let Some(made) = made else {
            link.fact("origin", "registered from outside a pipeline: nothing more is known".into());
            return Ok(());
        };
        link.hash = Some(made.content.to_string());
        for (metric, value) in &made.metrics {
            link.fact(metric, format!("{value:.4}"));
        }
        self.origins(depth + 1, &made).await
    }

    async fn origins(&mut self, depth: u32, made: &VersionLineage) -> Result<(), ApiError> {
        let ended = self.ledger_of(&words::run(&made.project, made.number), "run.succeeded").await?;
        let link = self.link(depth, "run", format!("run {} of {}", made.number, made.project));
        link.ledger_seq = ended;
        link.fact("started by", made.trainer.to_string());
        let link = self.link(depth + 1, "commit", &made.commit);
        link.hash = Some(made.commit.clone());
        link.fact("author", format!("{} <{}>", made.author, made.author_email));
        if let Some(hash) = &made.environment_hash {
            self.link(depth + 1, "environment", "resolved Python environment").hash = Some(hash.clone());
        }
        let link = self.link(depth + 1, "params", "parameters");
        link.hash = Some(made.params_hash.to_string());
        for (key, value) in &made.params {
            link.fact(key, value.to_string());
        }
        for item in &made.data {
            self.data_item(depth + 1, item).await?;
        }
        Ok(())
    }

    /// A file or folder, with the files of a folder below it.
    async fn data_item(&mut self, depth: u32, item: &DataItem) -> Result<(), ApiError> {
        let files = manifest(&self.app.cache, &item.md5).await?;
        let link = self.link(depth, "data", &item.path);
        link.hash = Some(item.md5.clone());
        if let Some(stage) = &item.stage {
            link.fact("read by", format!("stage {stage}"));
        }
        if let Some(count) = item.nfiles {
            link.fact("files", count.to_string());
        }
        // Code lies in the commit; only data folders are opened up.
        for (path, md5) in files.iter().take(FILES) {
            self.link(depth + 1, "data", format!("{}/{path}", item.path)).hash = Some(md5.clone());
        }
        Ok(())
    }

    /// From a data path or hash up to versions, releases and deployments.
    async fn data(&mut self, of: &str) -> Result<String, ApiError> {
        let models = self.app.store.read(|tx| views::models(tx, None, MODELS)).await?;
        let mut found = Vec::new();
        for version in models.iter().flat_map(|(_, versions)| versions) {
            let (model, number) = (version.model.clone(), version.version);
            let Some(made) = self.app.store.read(move |tx| lineage::get(tx, &model, number)).await? else { continue };
            for item in &made.data {
                if let Some(hit) = hit(&self.app.cache, item, of).await? {
                    found.push((version.model.clone(), version.version, hit));
                    break;
                }
            }
        }
        if found.is_empty() {
            return Err(ApiError::not_found(format!(
                "prediction, model version or data known as '{of}' (try model@alias, model/version, a prediction id, a path or an MD5)"
            )));
        }
        let mut versions_of: BTreeMap<(String, String), Vec<(String, i64)>> = BTreeMap::new();
        for (model, version, hit) in found {
            versions_of.entry(hit).or_default().push((model, version));
        }
        for ((path, md5), touched) in &versions_of {
            self.link(0, "data", path).hash = Some(md5.clone());
            for (model, version) in touched {
                self.effects(1, model, *version).await?;
            }
        }
        Ok(format!("data/{of}"))
    }

    /// A version and where it went.
    async fn effects(&mut self, depth: u32, model: &str, version: i64) -> Result<(), ApiError> {
        let recorded = self.ledger_of(&words::model_version(model, version), "model_version.created").await?;
        self.link(depth, "model_version", format!("{model} v{version}")).ledger_seq = recorded;
        for (id, environment, _) in self.app.delivery.of_version(model, version).await? {
            let release = self.app.delivery.release(id).await?;
            let project = release.summary.project.clone();
            self.release(depth + 1, &release).await?;
            let Ok(deployment) = self.app.delivery.deployment(&project, &environment).await else { continue };
            let of_release = format!("-r{id}");
            for revision in deployment.revisions.iter().filter(|r| r.id.ends_with(&of_release)) {
                let link = self.link(depth + 2, "deployment", format!("{project}/{environment}"));
                link.fact("share", format!("{:.0} %", revision.weight * 100.0));
                link.fact("predictions", revision.requests.to_string());
            }
        }
        Ok(())
    }

    /// The newest ledger entry of a kind about a thing.
    async fn ledger_of(&self, about: &str, kind: &str) -> Result<Option<i64>, ApiError> {
        let (about, kind) = (about.to_owned(), kind.to_owned());
        let entries = self.app.store.read(move |tx| ledger::list(tx, Some(&about), None, 200)).await?;
        Ok(entries.into_iter().find(|e| e.kind == kind).map(|e| e.seq))
    }
}

/// Adds something people want to know.
trait Fact {
    fn fact(&mut self, name: &str, value: String);
}

impl Fact for Link {
    fn fact(&mut self, name: &str, value: String) {
        self.facts.push((name.to_owned(), value));
    }
}

/// The files of a folder by the cache; empty for a file, and for a folder that is not here any more.
pub(super) async fn manifest(cache: &Cache, md5: &str) -> Result<Vec<(String, String)>, ApiError> {
    if !md5.ends_with(".dir") {
        return Ok(Vec::new());
    }
    let oid = Oid::parse(md5)?;
    let cache = cache.clone();
    let read = tokio::task::spawn_blocking(move || cache.manifest(&oid)).await;
    let found = read.map_err(|e| ApiError::new(towpath_core::Kind::Internal, e.to_string()))??;
    let entries = found.iter().flat_map(|m| m.entries());
    Ok(entries.map(|e| (e.relpath.clone(), e.oid.to_string())).collect())
}

/// The path and hash by which `of` names the item or a file of it.
async fn hit(cache: &Cache, item: &DataItem, of: &str) -> Result<Option<(String, String)>, ApiError> {
    let itself = item.path == of || item.md5 == of || item.md5.strip_suffix(".dir") == Some(of);
    if itself {
        return Ok(Some((item.path.clone(), item.md5.clone())));
    }
    let inside = of.strip_prefix(&item.path).and_then(|rest| rest.strip_prefix('/'));
    let is_hash = of.len() == 32 && of.bytes().all(|b| b.is_ascii_hexdigit());
    if inside.is_none() && !is_hash {
        return Ok(None);
    }
    let files = manifest(cache, &item.md5).await?;
    let found = files.into_iter().find(|(path, md5)| inside == Some(path.as_str()) || md5 == of);
    Ok(found.map(|(path, md5)| (format!("{}/{path}", item.path), md5)))
}
