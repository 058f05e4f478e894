//! The tables of `mlflow server`, from version 1.11 on as far as they are read here.

use std::collections::BTreeMap;

use towpath_core::Timestamp;
use towpath_store::{Foreign, Row, StoreError, ToValue, Tx};
use towpath_tracking::inputs::{Dataset, DatasetInput, ModelOutput};
use towpath_tracking::logged_models::{ModelMetric, Status};
use towpath_tracking::metrics::{Metric, Point};
use towpath_tracking::runs::RunStatus;
use towpath_tracking::{KeyValue, adopt};

use super::{DELETED, lifecycle};
use crate::ImportError;

pub(crate) struct Database(Foreign);

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

type Texts = BTreeMap<String, BTreeMap<String, String>>;

impl Database {
    pub(crate) async fn open(url: &str) -> Result<Self, ImportError> {
        Ok(Self(Foreign::open(url).await?))
    }

    pub(crate) async fn experiments(&self) -> Result<BTreeMap<String, adopt::Experiment>, ImportError> {
        self.0
            .read(|tx| {
                let mut tags = texts(tx, "select experiment_id as owner, \"key\", value from experiment_tags", &[])?;
                let rows = tx.all(
                    "select experiment_id, name, lifecycle_stage, creation_time, last_update_time from experiments",
                    &[],
                )?;
                rows.iter()
                    .map(|row| {
                        let id = owner(row, "experiment_id")?;
                        let experiment = adopt::Experiment {
                            name: row.text("name")?,
                            lifecycle: lifecycle(row.opt_text("lifecycle_stage")?.as_deref()),
                            created_at: time(row, "creation_time")?,
                            updated_at: time(row, "last_update_time")?,
                            tags: tags.remove(&id).unwrap_or_default(),
                        };
                        Ok((id, experiment))
                    })
                    .collect()
            })
            .await
    }

    pub(crate) async fn runs(&self, experiment: &str) -> Result<Vec<adopt::Run>, ImportError> {
        let experiment: i64 = experiment.parse().unwrap_or(-1);
        let links = self.has("inputs").await;
        self.0
            .read(move |tx| {
                let of = "where r.experiment_id = $1";
                let mut logged = |table: &str| {
                    let sql = format!(
                        "select t.run_uuid as owner, t.\"key\", t.value from {table} t join runs r on r.run_uuid = t.run_uuid {of}"
                    );
                    texts(tx, &sql, &[&experiment])
                };
                let mut params = logged("params")?;
                let mut tags = logged("tags")?;
                let mut links = if links { Links::of(tx, experiment)? } else { Links::default() };
                let rows = tx.all(&format!("select r.* from runs r {of} order by r.start_time, r.run_uuid"), &[&experiment])?;
                rows.iter()
                    .map(|row| {
                        let run_id = row.text("run_uuid")?;
                        let status = row.opt_text("status")?;
                        Ok(adopt::Run {
                            name: row.opt_text("name")?.unwrap_or_default(),
                            user: row.opt_text("user_id")?.unwrap_or_default(),
                            status: status.and_then(|s| RunStatus::parse(&s)).unwrap_or(RunStatus::Finished),
                            start_time: time(row, "start_time")?,
                            end_time: row.opt_time("end_time")?,
                            lifecycle: lifecycle(row.opt_text("lifecycle_stage")?.as_deref()),
                            artifact_uri: row.opt_text("artifact_uri")?,
                            params: params.remove(&run_id).unwrap_or_default(),
                            tags: tags.remove(&run_id).unwrap_or_default(),
                            datasets: links.datasets.remove(&run_id).unwrap_or_default(),
                            model_inputs: links.model_inputs.remove(&run_id).unwrap_or_default(),
                            model_outputs: links.model_outputs.remove(&run_id).unwrap_or_default(),
                            run_id,
                        })
                    })
                    .collect()
            })
            .await
    }

    pub(crate) async fn series(&self, run_id: &str) -> Result<adopt::Series, ImportError> {
        let run_id = run_id.to_owned();
        self.0
            .read(move |tx| {
                let mut series = adopt::Series::new();
                for row in tx.all(
                    "select \"key\", value, \"timestamp\", step, is_nan from metrics where run_uuid = $1",
                    &[&run_id],
                )? {
                    let value = if row.bool("is_nan")? { f64::NAN } else { row.real("value")? };
                    let point = Point { step: row.int("step")?, at: row.int("timestamp")?, value };
                    series.entry(row.text("key")?).or_default().push(point);
                }
                Ok(series)
            })
            .await
    }

    /// False for a table that MLflow's older versions do not have.
    async fn has(&self, table: &'static str) -> bool {
        let found = self.0.read(move |tx| tx.all(&format!("select 1 as one from {table} limit 1"), &[])).await;
        found.is_ok()
    }

    pub(crate) async fn logged_models(&self, experiment: &str) -> Result<Vec<adopt::LoggedModel>, ImportError> {
        if !self.has("logged_models").await {
            return Ok(Vec::new());
        }
        let experiment: i64 = experiment.parse().unwrap_or(-1);
        self.0.read(move |tx| logged_models(tx, experiment)).await
    }

    pub(crate) async fn models(&self) -> Result<Vec<adopt::Model>, ImportError> {
        self.0
            .read(|tx| {
                let mut tags = texts(tx, "select name as owner, \"key\", value from registered_model_tags", &[])?;
                let mut aliases: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
                for row in tx.all("select name, alias, version from registered_model_aliases", &[])? {
                    aliases.entry(row.text("name")?).or_default().insert(row.text("alias")?, row.int("version")?);
                }
                let mut versions = versions(tx)?;
                let rows = tx.all(
                    "select name, creation_time, last_updated_time, description from registered_models order by name",
                    &[],
                )?;
                rows.iter()
                    .map(|row| {
                        let name = row.text("name")?;
                        Ok(adopt::Model {
                            created_at: time(row, "creation_time")?,
                            updated_at: time(row, "last_updated_time")?,
                            description: row.opt_text("description")?,
                            tags: tags.remove(&name).unwrap_or_default(),
                            aliases: aliases.remove(&name).unwrap_or_default(),
                            versions: versions.remove(&name).unwrap_or_default(),
                            name,
                        })
                    })
                    .collect()
            })
            .await
    }
}

/// What runs read and made.
#[derive(Default)]
struct Links {
    datasets: BTreeMap<String, Vec<DatasetInput>>,
    model_inputs: BTreeMap<String, Vec<String>>,
    model_outputs: BTreeMap<String, Vec<ModelOutput>>,
}

impl Links {
    fn of(tx: &mut Tx<'_>, experiment: i64) -> Result<Self, StoreError> {
        let mut links = Self::default();
        let mut tags: BTreeMap<String, Vec<KeyValue>> = BTreeMap::new();
        let of_run = "from inputs i join runs r on r.run_uuid";
        let sql = format!(
            "select t.input_uuid, t.name, t.value {of_run} = i.destination_id \
             join input_tags t on t.input_uuid = i.input_uuid where r.experiment_id = $1"
        );
        for row in tx.all(&sql, &[&experiment])? {
            let tag = KeyValue::new(row.text("name")?, row.text("value")?);
            tags.entry(row.text("input_uuid")?).or_default().push(tag);
        }
        let sql = format!(
            "select i.input_uuid, i.destination_id, d.* {of_run} = i.destination_id \
             join datasets d on d.dataset_uuid = i.source_id \
             where r.experiment_id = $1 and i.source_type = 'DATASET'"
        );
        for row in tx.all(&sql, &[&experiment])? {
            let dataset = Dataset {
                name: row.text("name")?,
                digest: row.text("digest")?,
                source_type: row.text("dataset_source_type")?,
                source: row.text("dataset_source")?,
                schema: row.opt_text("dataset_schema")?,
                profile: row.opt_text("dataset_profile")?,
            };
            let tags = tags.remove(&row.text("input_uuid")?).unwrap_or_default();
            links.datasets.entry(row.text("destination_id")?).or_default().push(DatasetInput { dataset, tags });
        }
        let sql = format!(
            "select i.source_id, i.source_type, i.destination_id, i.step {of_run} = i.source_id \
             where r.experiment_id = $1 and i.destination_type in ('MODEL_INPUT', 'MODEL_OUTPUT')"
        );
        for row in tx.all(&sql, &[&experiment])? {
            let (run, model_id) = (row.text("source_id")?, row.text("destination_id")?);
            if row.text("source_type")? == "RUN_INPUT" {
                links.model_inputs.entry(run).or_default().push(model_id);
            } else {
                let output = ModelOutput { model_id, step: row.int("step")? };
                links.model_outputs.entry(run).or_default().push(output);
            }
        }
        Ok(links)
    }
}

fn logged_models(tx: &mut Tx<'_>, experiment: i64) -> Result<Vec<adopt::LoggedModel>, ImportError> {
    let logged = |tx: &mut Tx<'_>, of: &str| {
        let sql = format!(
            "select model_id as owner, {of}_key as \"key\", {of}_value as value from logged_model_{of}s \
             where experiment_id = $1"
        );
        texts(tx, &sql, &[&experiment])
    };
    let (mut params, mut tags) = (logged(tx, "param")?, logged(tx, "tag")?);
    let mut metrics: BTreeMap<String, Vec<ModelMetric>> = BTreeMap::new();
    for row in tx.all("select * from logged_model_metrics where experiment_id = $1", &[&experiment])? {
        let model_id = row.text("model_id")?;
        let metric = Metric {
            key: row.text("metric_name")?,
            value: row.real("metric_value")?,
            timestamp: row.int("metric_timestamp_ms")?,
            step: row.int("metric_step")?,
            model_id: Some(model_id.clone()),
            dataset_name: row.opt_text("dataset_name")?,
            dataset_digest: row.opt_text("dataset_digest")?,
        };
        metrics.entry(model_id).or_default().push(ModelMetric { metric, run_id: row.text("run_id")? });
    }
    let sql = "select * from logged_models where experiment_id = $1 and lifecycle_stage = 'active' order by model_id";
    let rows = tx.all(sql, &[&experiment])?;
    rows.iter()
        .map(|row| {
            let model_id = row.text("model_id")?;
            Ok(adopt::LoggedModel {
                name: row.text("name")?,
                model_type: row.opt_text("model_type")?.filter(|text| !text.is_empty()),
                source_run_id: row.opt_text("source_run_id")?.filter(|text| !text.is_empty()),
                // As MLflow numbers them.
                status: match row.int("status")? {
                    1 => Status::Pending,
                    3 => Status::UploadFailed,
                    _ => Status::Ready,
                },
                created_at: time(row, "creation_timestamp_ms")?,
                updated_at: time(row, "last_updated_timestamp_ms")?,
                artifact_uri: row.opt_text("artifact_location")?,
                params: params.remove(&model_id).unwrap_or_default(),
                tags: tags.remove(&model_id).unwrap_or_default(),
                metrics: metrics.remove(&model_id).unwrap_or_default(),
                model_id,
            })
        })
        .collect()
}

fn versions(tx: &mut Tx<'_>) -> Result<BTreeMap<String, Vec<adopt::Version>>, ImportError> {
    let mut tags: BTreeMap<(String, i64), BTreeMap<String, String>> = BTreeMap::new();
    for row in tx.all("select name, version, \"key\", value from model_version_tags", &[])? {
        let tags = tags.entry((row.text("name")?, row.int("version")?)).or_default();
        tags.insert(row.text("key")?, row.opt_text("value")?.unwrap_or_default());
    }
    let mut versions: BTreeMap<String, Vec<adopt::Version>> = BTreeMap::new();
    // MLflow keeps the row of a deleted version under a stage of its own.
    for row in tx.all("select * from model_versions where current_stage <> $1 order by name, version", &[&DELETED])? {
        let (name, version) = (row.text("name")?, row.int("version")?);
        let source = row.opt_text("source")?.unwrap_or_default();
        let some = |column: &str| Ok::<_, StoreError>(row.opt_text(column)?.filter(|t| !t.is_empty()));
        versions.entry(name.clone()).or_default().push(adopt::Version {
            version,
            created_at: time(&row, "creation_time")?,
            updated_at: time(&row, "last_updated_time")?,
            created_by: some("user_id")?.unwrap_or_default(),
            description: some("description")?,
            stage: some("current_stage")?.unwrap_or_else(|| "None".into()),
            storage_location: some("storage_location")?.unwrap_or_else(|| source.clone()),
            source,
            run_id: some("run_id")?,
            run_link: some("run_link")?,
            tags: tags.remove(&(name, version)).unwrap_or_default(),
        });
    }
    Ok(versions)
}

fn texts(tx: &mut Tx<'_>, sql: &str, params: &[&dyn ToValue]) -> Result<Texts, StoreError> {
    let mut found = Texts::new();
    for row in tx.all(sql, params)? {
        let value = row.opt_text("value")?.unwrap_or_default();
        found.entry(owner(&row, "owner")?).or_default().insert(row.text("key")?, value);
    }
    Ok(found)
}

/// An id that is a number in one table and a text in another.
fn owner(row: &Row, column: &str) -> Result<String, StoreError> {
    row.int(column).map(|id| id.to_string()).or_else(|_| row.text(column))
}

fn time(row: &Row, column: &str) -> Result<Timestamp, StoreError> {
    Ok(row.opt_time(column)?.unwrap_or(Timestamp(0)))
}
