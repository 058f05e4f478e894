use std::fmt::Write as _;

use towpath_api::models::{Model, ModelVersion};
use towpath_core::Kind;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a model and its versions, or one version and what made it
#[derive(clap::Args, Debug)]
pub struct Show {
    /// MODEL, MODEL/VERSION or MODEL@ALIAS
    model: String,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        if self.model.contains(['/', '@']) {
            ctx.ui.show(&version(ctx, &self.model).await?)?;
        } else {
            ctx.ui.show(&model(ctx, &self.model).await?)?;
        }
        Ok(Exit::Done)
    }
}

async fn model(ctx: &Context, name: &str) -> Result<Model, Error> {
    if !towpath_core::names::is_valid_name(name) {
        return Err(Error::invalid(format!("'{name}' is not MODEL, MODEL/VERSION or MODEL@ALIAS")));
    }
    Ok(ctx.client()?.get(&format!("/models/{name}")).await?)
}

/// The version that `MODEL/VERSION` or `MODEL@ALIAS` names.
pub async fn version(ctx: &Context, reference: &str) -> Result<ModelVersion, Error> {
    let invalid =
        || Error::invalid(format!("'{reference}' is not MODEL/VERSION or MODEL@ALIAS, for example digits@production"));
    let (name, number) = if let Some((name, alias)) = reference.split_once('@') {
        let model = model(ctx, name).await?;
        let number = model.aliases.get(alias).copied().ok_or_else(|| {
            let known: Vec<&str> = model.aliases.keys().map(String::as_str).collect();
            let error = Error::new(Kind::NotFound, format!("model '{name}' has no alias '{alias}'"));
            if known.is_empty() { error } else { error.hint(format!("aliases: {}", known.join(", "))) }
        })?;
        (name, number)
    } else {
        let (name, number) = reference.split_once('/').ok_or_else(invalid)?;
        (name, number.trim_start_matches('v').parse().map_err(|_| invalid())?)
    };
    if !towpath_core::names::is_valid_name(name) {
        return Err(invalid());
    }
    Ok(ctx.client()?.get(&format!("/models/{name}/versions/{number}")).await?)
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

impl Human for ModelVersion {
    fn human(&self) -> String {
        let serving = self.serving.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0));
        let params: Vec<String> = self.params.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let releases: Vec<String> = self.releases.iter().map(ToString::to_string).collect();
        let mut text = ui::fields([
            ("version", format!("{} v{}", self.model, self.version)),
            ("aliases", self.aliases.join(", ")),
            ("serving", serving.collect::<Vec<_>>().join(", ")),
            ("created", ui::time(self.created_at)),
            ("metrics", metrics(self)),
            ("params", params.join(", ")),
            ("releases", releases.join(", ")),
            ("source", self.source.clone()),
        ]);
        if let Some(lineage) = &self.lineage {
            text.push('\n');
            text.push_str(&ui::fields([
                ("run", format!("{} {}", lineage.project, lineage.run)),
                ("commit", lineage.commit.clone()),
                ("author", lineage.author.clone()),
                ("trainer", lineage.trainer.clone()),
                ("content", format!("{} ({})", lineage.content, ui::bytes(lineage.size))),
                ("environment", lineage.environment_hash.clone().unwrap_or_default()),
            ]));
            text.push('\n');
            for item in &lineage.data {
                let _ = writeln!(text, "data  {}  {}", item.hash.as_deref().unwrap_or("?"), item.path);
            }
        }
        text
    }
}

fn metrics(version: &ModelVersion) -> String {
    let metrics: Vec<String> = version.metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    metrics.join(", ")
}
