//! Registered models, with their versions under the same numbers.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use towpath_tracking::registry::models::RegisteredModel;
use towpath_tracking::registry::versions::ModelVersion;
use towpath_tracking::{Lifecycle, runs, views};

use super::{Export, Numbers, pairs, text};
use crate::ImportError;

/// Models of a page.
const PAGE: i64 = 100;

impl Export<'_> {
    pub(super) async fn registry(&mut self, numbers: Numbers) -> Result<(), ImportError> {
        let mut after: Option<String> = None;
        loop {
            let from = after.clone();
            let page = self.store.read(move |tx| views::models(tx, from.as_deref(), PAGE)).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            for (model, versions) in &page {
                let asked = json!({"name": model.name, "description": model.description, "tags": pairs(&model.tags)});
                accepted(self.rest.post("/registered-models/create", &asked).await)?;
                self.done.models += 1;
                match numbers {
                    Numbers::Same => self.model(model, versions).await?,
                    Numbers::Next => self.more_versions(model, versions).await?,
                }
            }
        }
    }

    async fn model(&mut self, model: &RegisteredModel, versions: &[ModelVersion]) -> Result<(), ImportError> {
        let name = &model.name;
        // Numbers count up there: one that was deleted here is made and deleted there.
        let newest = versions.iter().map(|version| version.version).max().unwrap_or(0);
        for number in 1..=newest {
            let ours = versions.iter().find(|version| version.version == number);
            self.done.versions += usize::from(ours.is_some());
            if self.has_version(name, number, ours.is_none(), newest).await? {
                continue;
            }
            let made = match self.create_version(name, ours).await {
                // Later ones would get its number.
                Err(ImportError::Refused { status: 400, message, .. }) => {
                    self.done.differences.push(format!("{name} v{number} and later ones: {message}"));
                    return Ok(());
                }
                made => made?,
            };
            if made != number.to_string() {
                let what = format!("{name} v{number} has the number {made} there: others made versions of that model");
                self.done.differences.push(what);
                return Ok(());
            }
            if let Some(version) = ours {
                self.finish_version(name, version).await?;
            } else {
                let asked = json!({"name": name, "version": made});
                self.rest.call(Method::DELETE, "/model-versions/delete", &asked).await?;
            }
        }
        for (alias, version) in &model.aliases {
            let asked = json!({"name": name, "alias": alias, "version": version.to_string()});
            self.rest.post("/registered-models/alias", &asked).await?;
        }
        Ok(())
    }

    /// Versions that are not there get the next numbers; aliases that nobody has set lead to them.
    async fn more_versions(&mut self, model: &RegisteredModel, versions: &[ModelVersion]) -> Result<(), ImportError> {
        let name = &model.name;
        let quote = if name.contains('\'') { '"' } else { '\'' };
        let asked = [("filter", format!("name = {quote}{name}{quote}")), ("max_results", "1000".to_owned())];
        let asked = asked.each_ref().map(|(key, value)| (*key, value.as_str()));
        let found = self.rest.all_by_query("/model-versions/search", &asked, "model_versions").await?;
        let mut numbers: BTreeMap<(String, String), String> = found
            .iter()
            .map(|version| ((text(&version["run_id"]), text(&version["source"])), text(&version["version"])))
            .collect();
        let mut ours: Vec<&ModelVersion> = versions.iter().collect();
        ours.sort_by_key(|version| version.version);
        for version in ours {
            self.done.versions += 1;
            let (source, run, _) = self.source_of(version).await?;
            let key = (run.unwrap_or_default(), source);
            if !numbers.contains_key(&key) {
                let made = match self.create_version(name, Some(version)).await {
                    Err(ImportError::Refused { status: 400 | 403, message, .. }) => {
                        self.done.differences.push(format!("{name} v{}: {message}", version.version));
                        continue;
                    }
                    made => made?,
                };
                numbers.insert(key.clone(), made);
            }
            for (alias, _) in model.aliases.iter().filter(|(_, number)| **number == version.version) {
                self.free_alias(name, alias, &numbers[&key]).await?;
            }
        }
        Ok(())
    }

    /// An alias that is there stays where it leads.
    async fn free_alias(&mut self, model: &str, alias: &str, version: &str) -> Result<(), ImportError> {
        match self.rest.get("/registered-models/alias", &[("name", model), ("alias", alias)]).await {
            Err(ImportError::Refused { status: 400 | 404, .. }) => {}
            found => return found.map(|_| ()),
        }
        let asked = json!({"name": model, "alias": alias, "version": version});
        match self.rest.post("/registered-models/alias", &asked).await {
            Err(ImportError::Refused { status: 400 | 403, message, .. }) => {
                self.done.differences.push(format!("alias {alias} of {model}: {message}"));
                Ok(())
            }
            set => set.map(|_| ()),
        }
    }

    /// Whether the number is taken there. A deleted one cannot be asked for: it is taken when a later
    /// one is there.
    async fn has_version(&self, model: &str, number: i64, deleted: bool, newest: i64) -> Result<bool, ImportError> {
        let last = if deleted { newest } else { number };
        for number in number..=last {
            let asked = [("name", model), ("version", &number.to_string())];
            match self.rest.get("/model-versions/get", &asked).await {
                Ok(_) => return Ok(true),
                Err(ImportError::Refused { status: 404, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The number that it got.
    async fn create_version(&mut self, model: &str, version: Option<&ModelVersion>) -> Result<String, ImportError> {
        let asked = match version {
            None => json!({"name": model, "source": "s3://deleted/version"}),
            Some(version) => {
                let (source, run, model_id) = self.source_of(version).await?;
                json!({
                    "name": model, "source": source, "run_id": run, "model_id": model_id,
                    "run_link": version.run_link, "description": version.description, "tags": pairs(&version.tags),
                })
            }
        };
        let made = self.rest.post("/model-versions/create", &asked).await?;
        self.done.new_versions += usize::from(version.is_some());
        Ok(made["model_version"]["version"].as_str().unwrap_or_default().to_owned())
    }

    /// Where its files are there; run and logged model, when they were brought along.
    async fn source_of(&self, version: &ModelVersion) -> Result<(String, Option<String>, Option<String>), ImportError> {
        let run = version.run_id.as_ref().and_then(|id| self.runs.get(id));
        let run_id = run.map(|there| there.id.clone());
        if let Some(model) = version.model_id.as_ref().and_then(|id| self.models.get(id)) {
            return Ok((format!("models:/{}", model.id), run_id, Some(model.id.clone())));
        }
        if let (Some(id), Some(run)) = (version.run_id.clone(), run) {
            let info = self.store.read(move |tx| runs::info(tx, &id)).await?;
            let below = version.storage_location.strip_prefix(&info.artifact_uri);
            if let Some(rest) = below.filter(|_| info.lifecycle == Lifecycle::Active) {
                return Ok((format!("{}{rest}", run.artifact_uri), run_id, None));
            }
        }
        Ok((version.storage_location.clone(), run_id, None))
    }

    async fn finish_version(&self, model: &str, version: &ModelVersion) -> Result<(), ImportError> {
        if version.stage != "None" {
            let asked = json!({
                "name": model, "version": version.version.to_string(), "stage": version.stage,
                "archive_existing_versions": false,
            });
            self.rest.post("/model-versions/transition-stage", &asked).await?;
        }
        Ok(())
    }
}

/// What is there already is no error.
fn accepted(answer: Result<Value, ImportError>) -> Result<(), ImportError> {
    match answer {
        Err(ImportError::Refused { ref code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => Ok(()),
        answer => answer.map(|_| ()),
    }
}
