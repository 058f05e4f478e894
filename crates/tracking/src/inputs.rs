//! What a run read and made: datasets, logged models in and out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use towpath_core::ids;
use towpath_store::Tx;

use crate::{KeyValue, TrackingError, logged_models, rows, runs, validate};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    pub name: String,
    /// A hash the client computed, at most 36 characters.
    pub digest: String,
    pub source_type: String,
    pub source: String,
    pub schema: Option<String>,
    pub profile: Option<String>,
}

/// A dataset as one run used it: `mlflow.data.context` among the tags says for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatasetInput {
    pub dataset: Dataset,
    pub tags: Vec<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelOutput {
    pub model_id: String,
    pub step: i64,
}

pub const DATASETS: usize = 1000;
pub const CONTEXT: &str = "mlflow.data.context";

impl DatasetInput {
    fn check(&self) -> Result<(), TrackingError> {
        let dataset = &self.dataset;
        validate::length("name", &dataset.name, validate::DATASET_NAME)?;
        validate::length("digest", &dataset.digest, validate::DATASET_DIGEST)?;
        validate::length("source_type", &dataset.source_type, validate::KEY)?;
        validate::length("source", &dataset.source, validate::DATASET_SOURCE)?;
        validate::length("schema", dataset.schema.as_deref().unwrap_or(""), validate::DATASET_SCHEMA)?;
        validate::length("profile", dataset.profile.as_deref().unwrap_or(""), validate::DATASET_PROFILE)?;
        for tag in &self.tags {
            validate::length("key", &tag.key, validate::INPUT_TAG_KEY)?;
            validate::length("value", &tag.value, validate::INPUT_TAG_VALUE)?;
        }
        Ok(())
    }
}

/// Notes what an active run read. The same dataset again keeps its first tags.
pub fn log(tx: &mut Tx<'_>, run_id: &str, datasets: &[DatasetInput], models: &[String]) -> Result<(), TrackingError> {
    if datasets.len() > DATASETS {
        return Err(TrackingError::Conflicting(format!(
            "at most {DATASETS} datasets can be logged at once, not {}",
            datasets.len()
        )));
    }
    for input in datasets {
        input.check()?;
    }
    let run = runs::active(tx, run_id)?;
    for model_id in models {
        logged_models::get(tx, model_id)?;
    }
    put(tx, &run, datasets, models)?;
    runs::notify(tx, &run);
    Ok(())
}

/// What a run read, whatever state it is in and whether the models are here or not.
pub(crate) fn put(
    tx: &mut Tx<'_>,
    run: &runs::RunInfo,
    datasets: &[DatasetInput],
    models: &[String],
) -> Result<(), TrackingError> {
    let before = tx.one("select count(*) as n from run_datasets where run = $1", &[&run.id])?.int("n")?;
    for (position, DatasetInput { dataset, tags }) in (before..).zip(datasets) {
        tx.run(
            "insert into datasets (id, experiment, name, digest, source_type, source, schema, profile) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (experiment, name, digest) do nothing",
            &[
                &format!("d-{}", ids::new_id()),
                &run.experiment,
                &dataset.name,
                &dataset.digest,
                &dataset.source_type,
                &dataset.source,
                &dataset.schema,
                &dataset.profile,
            ],
        )?;
        let id = tx
            .one(
                "select id from datasets where experiment = $1 and name = $2 and digest = $3",
                &[&run.experiment, &dataset.name, &dataset.digest],
            )?
            .text("id")?;
        tx.run(
            "insert into run_datasets (run, position, dataset, tags) values ($1, $2, $3, $4) on conflict do nothing",
            &[&run.id, &position, &id, &json!(tags)],
        )?;
    }
    for model_id in models {
        put_model(tx, run, "input", model_id, 0)?;
    }
    Ok(())
}

/// Notes the logged models that an active run made.
pub fn log_outputs(tx: &mut Tx<'_>, run_id: &str, models: &[ModelOutput]) -> Result<(), TrackingError> {
    let run = runs::active(tx, run_id)?;
    for output in models {
        logged_models::get(tx, &output.model_id)?;
        put_model(tx, &run, "output", &output.model_id, output.step)?;
    }
    runs::notify(tx, &run);
    Ok(())
}

/// A dataset that runs of an experiment read, once for each use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSummary {
    pub experiment: i64,
    pub name: String,
    pub digest: String,
    pub context: Option<String>,
}

/// What active runs of these experiments read, by name; at most 1000 for each.
pub fn summaries(tx: &mut Tx<'_>, experiments: &[i64]) -> Result<Vec<DatasetSummary>, TrackingError> {
    let mut found = Vec::new();
    for experiment in experiments {
        let mut seen: BTreeSet<(String, String, Option<String>)> = BTreeSet::new();
        for row in tx.all(
            "select distinct d.name, d.digest, r.tags from run_datasets r join datasets d on d.id = r.dataset \
             join tracked_runs t on t.id = r.run \
             where d.experiment = $1 and t.lifecycle_stage = 'active' order by d.name, d.digest limit 1000",
            &[experiment],
        )? {
            let tags: Vec<KeyValue> = row.json("tags")?;
            let context = tags.into_iter().find(|tag| tag.key == CONTEXT).map(|tag| tag.value);
            seen.insert((row.text("name")?, row.text("digest")?, context));
        }
        found.extend(seen.into_iter().map(|(name, digest, context)| DatasetSummary {
            experiment: *experiment,
            name,
            digest,
            context,
        }));
    }
    Ok(found)
}

pub(crate) fn put_model(
    tx: &mut Tx<'_>,
    run: &runs::RunInfo,
    direction: &str,
    model_id: &str,
    step: i64,
) -> Result<(), TrackingError> {
    tx.run(
        "insert into run_models (run, direction, model_id, step) values ($1, $2, $3, $4) on conflict do nothing",
        &[&run.id, &direction, &model_id, &step],
    )?;
    Ok(())
}

pub(crate) fn datasets_of(tx: &mut Tx<'_>, runs: &[i64]) -> Result<BTreeMap<i64, Vec<DatasetInput>>, TrackingError> {
    let mut found: BTreeMap<i64, BTreeMap<i64, DatasetInput>> = BTreeMap::new();
    for row in rows::of_many(
        tx,
        "select r.run, r.position, r.tags, d.name, d.digest, d.source_type, d.source, d.schema, d.profile \
         from run_datasets r join datasets d on d.id = r.dataset where r.run in ({})",
        &[],
        runs,
    )? {
        let input = DatasetInput {
            dataset: Dataset {
                name: row.text("name")?,
                digest: row.text("digest")?,
                source_type: row.text("source_type")?,
                source: row.text("source")?,
                schema: row.opt_text("schema")?,
                profile: row.opt_text("profile")?,
            },
            tags: row.json("tags")?,
        };
        found.entry(row.int("run")?).or_default().insert(row.int("position")?, input);
    }
    Ok(found.into_iter().map(|(run, inputs)| (run, inputs.into_values().collect())).collect())
}

type Models = (Vec<String>, Vec<ModelOutput>);

pub(crate) fn models_of(tx: &mut Tx<'_>, runs: &[i64]) -> Result<BTreeMap<i64, Models>, TrackingError> {
    let mut found: BTreeMap<i64, Models> = BTreeMap::new();
    for row in rows::of_many(
        tx,
        "select run, direction, model_id, step from run_models where run in ({}) order by model_id",
        &[],
        runs,
    )? {
        let (inputs, outputs) = found.entry(row.int("run")?).or_default();
        let model_id = row.text("model_id")?;
        if row.text("direction")? == "input" {
            inputs.push(model_id);
        } else {
            outputs.push(ModelOutput { model_id, step: row.int("step")? });
        }
    }
    Ok(found)
}
