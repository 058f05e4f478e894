use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use towpath_api::models::{Environment, Facts, Model, ModelVersion};

use super::{model, path_of, version};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a model and its versions, or everything that is known about one version, and what is not
#[derive(clap::Args, Debug)]
pub struct Show {
    /// MODEL, MODEL/VERSION or MODEL@ALIAS
    model: String,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if self.model.contains(['/', '@']) {
            let version = version(ctx, &self.model).await?;
            let path = path_of(&version.model, version.version);
            let facts: Facts = ctx.client()?.get(&format!("{path}/facts")).await?;
            ctx.ui.show(&Shown { facts, serving: version.serving, releases: version.releases })?;
        } else {
            ctx.ui.show(&model(ctx, &self.model).await?)?;
        }
        Ok(Exit::Done)
    }
}

impl Human for Model {
    fn human(&self) -> String {
        let mut text = ui::fields([
            ("model", self.name.clone()),
            ("description", self.description.clone().unwrap_or_default()),
            ("since", ui::time(self.created_at)),
        ]);
        text.push('\n');
        let rows = self.versions.iter().map(|version| {
            let run = version.lineage.as_ref().map(|lineage| format!("{} {}", lineage.project, lineage.run));
            [
                format!("v{}", version.version),
                version.aliases.join(", "),
                metrics(version),
                run.unwrap_or_default(),
                ui::time(version.created_at),
            ]
        });
        text.push_str(&ui::table(["VERSION", "ALIASES", "METRICS", "RUN", "CREATED"], rows));
        text
    }
}

/// What a version is, with its releases.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    facts: Facts,
    serving: BTreeMap<String, f64>,
    releases: Vec<i64>,
}

impl Human for Shown {
    fn human(&self) -> String {
        let facts = &self.facts;
        let serving = self.serving.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0));
        let releases: Vec<String> = self.releases.iter().map(ToString::to_string).collect();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let mut out = ui::fields([
            ("version", format!("{} v{}", facts.model, facts.version)),
            ("description", text(&facts.description)),
            ("aliases", facts.aliases.join(", ")),
            ("serving", serving.collect::<Vec<_>>().join(", ")),
            ("releases", releases.join(", ")),
            ("created", format!("{} by {}", ui::time(facts.created_at), facts.created_by)),
            ("run", text(&facts.tracking_run)),
            ("pipeline run", text(&facts.pipeline_run)),
            ("commit", text(&facts.commit)),
            ("author", text(&facts.author)),
            ("trainer", text(&facts.trainer)),
            ("content", text(&facts.content)),
            ("size", facts.size.map(ui::bytes).unwrap_or_default()),
            ("location", facts.location.clone()),
            ("flavors", facts.flavors.join(", ")),
            ("environment", facts.environment.as_ref().map(environment).unwrap_or_default()),
        ]);
        for rows in [self.values(), self.made_of(), self.unknown()] {
            if !rows.is_empty() {
                let _ = write!(out, "\n{}\n", ui::table(["", "", ""], rows).trim_start_matches('\n'));
            }
        }
        out
    }
}

impl Shown {
    fn values(&self) -> Vec<[String; 3]> {
        let metrics = self.facts.metrics.iter().map(|(key, value)| ["metric".into(), key.clone(), plain(value)]);
        let params = self.facts.params.iter().map(|(key, value)| ["param".into(), key.clone(), plain(value)]);
        let signature = self.facts.signature.iter().flat_map(|signature| {
            let parts = [("input", &signature.inputs), ("output", &signature.outputs), ("argument", &signature.params)];
            parts.into_iter().flat_map(|(word, columns)| {
                columns.iter().map(move |column| [word.to_owned(), column.name.clone(), column.kind.clone()])
            })
        });
        metrics.chain(params).chain(signature).collect()
    }

    fn made_of(&self) -> Vec<[String; 3]> {
        let data = self
            .facts
            .data
            .iter()
            .map(|item| ["data".into(), item.path.clone(), item.hash.clone().unwrap_or_else(|| "?".into())]);
        let datasets = self.facts.datasets.iter().map(|dataset| {
            let context = dataset.context.as_ref().map(|context| format!(" ({context})")).unwrap_or_default();
            ["dataset".into(), dataset.name.clone(), format!("{}{context}", dataset.digest)]
        });
        let files = self.facts.files.iter().map(|file| {
            let hash: String = file.sha256.iter().flat_map(|hash| hash.chars().take(12)).collect();
            ["file".into(), file.path.clone(), format!("{}  {hash}", ui::bytes(file.size))]
        });
        data.chain(datasets).chain(files).collect()
    }

    fn unknown(&self) -> Vec<[String; 3]> {
        let all = self.facts.unknown.iter();
        all.map(|unknown| ["unknown".into(), unknown.what.clone(), unknown.why.clone()]).collect()
    }
}

fn environment(environment: &Environment) -> String {
    let packages = ui::count(environment.packages.len() as u64, "package");
    let locked = if environment.locked { "locked" } else { "not locked" };
    let hash = environment.hash.as_deref().unwrap_or_default();
    format!("{packages}, {locked}  {hash}").trim_end().to_owned()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn metrics(version: &ModelVersion) -> String {
    let metrics: Vec<String> = version.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    metrics.join(", ")
}
