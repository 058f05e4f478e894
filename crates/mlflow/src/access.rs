//! What a caller may write. A user's token needs the role `write`; a stage may write its own run, the
//! runs below it, their experiment's new runs, and the logged models of all these.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use towpath_core::Actor;
use towpath_edge::Refusal as _;
use towpath_identity::Identity;
use towpath_store::Tx;
use towpath_tracking::logged_models::{self, LoggedModel, NewModel};
use towpath_tracking::registry::versions;
use towpath_tracking::runs::{self, NewRun};
use towpath_tracking::{KeyValue, tags, traces};

use crate::ApiError;

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Identity);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        towpath_edge::caller(parts).map(Self)
    }
}

impl Caller {
    pub(crate) fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// Experiments and the registry: users only.
    pub(crate) fn may_write(&self) -> Result<(), ApiError> {
        towpath_edge::user_may_write(
            &self.0,
            " and models; the server registers the model when the pipeline run succeeds",
        )
    }

    /// Writing to a run.
    pub(crate) fn may_write_run(&self, tx: &mut Tx<'_>, run_id: &str) -> Result<(), ApiError> {
        let Some(stage) = self.0.stage() else { return self.may_write() };
        // A run that does not exist is reported as such by whoever writes to it.
        runs::info(tx, run_id)?;
        if runs::descends_from(tx, run_id, &stage.tracking_run)? {
            Ok(())
        } else {
            Err(ApiError::denied(format!(
                "the token of stage '{}' may only write run {} and the runs below it, not {run_id}",
                stage.stage, stage.tracking_run
            )))
        }
    }

    /// Starting a run. One that a stage starts without a parent becomes a child of the stage's.
    pub(crate) fn may_start(&self, tx: &mut Tx<'_>, new: &mut NewRun) -> Result<(), ApiError> {
        let Some(stage) = self.0.stage() else { return self.may_write() };
        self.in_own_experiment(tx, new.experiment)?;
        if let Some(parent) = new.tags.iter().find(|t| t.key == tags::PARENT) {
            return self.may_write_run(tx, &parent.value);
        }
        new.tags.push(KeyValue::new(tags::PARENT, &stage.tracking_run));
        Ok(())
    }

    /// Starting a logged model. One that a stage makes without a source run belongs to the stage's.
    pub(crate) fn may_log_model(&self, tx: &mut Tx<'_>, new: &mut NewModel) -> Result<(), ApiError> {
        let Some(stage) = self.0.stage() else { return self.may_write() };
        self.in_own_experiment(tx, new.experiment)?;
        if let Some(run) = new.source_run_id.as_ref().filter(|r| !r.is_empty()) {
            return self.may_write_run(tx, run);
        }
        new.source_run_id = Some(stage.tracking_run.clone());
        Ok(())
    }

    pub(crate) fn may_write_model(&self, tx: &mut Tx<'_>, model_id: &str) -> Result<LoggedModel, ApiError> {
        let model = logged_models::get(tx, model_id)?;
        match &model.source_run_id {
            Some(run) => self.may_write_run(tx, run)?,
            None => self.may_write()?,
        }
        Ok(model)
    }

    /// Writing to an experiment: traces.
    pub(crate) fn may_write_experiment(&self, tx: &mut Tx<'_>, experiment: i64) -> Result<(), ApiError> {
        if self.0.is_user() { self.may_write() } else { self.in_own_experiment(tx, experiment) }
    }

    /// Writing to a trace: whoever may write to its experiment.
    pub(crate) fn may_write_trace(&self, tx: &mut Tx<'_>, trace_id: &str) -> Result<(), ApiError> {
        let experiment = traces::experiment_of(tx, trace_id)?;
        self.may_write_experiment(tx, experiment)
    }

    fn in_own_experiment(&self, tx: &mut Tx<'_>, experiment: i64) -> Result<(), ApiError> {
        let Some(stage) = self.0.stage() else { return Ok(()) };
        let own = runs::info(tx, &stage.tracking_run)?.experiment;
        if own == experiment {
            Ok(())
        } else {
            Err(ApiError::denied(format!(
                "the token of stage '{}' may only write to experiment {own}, not {experiment}",
                stage.stage
            )))
        }
    }

    /// Writing a file: `<experiment>/<run>/artifacts/...` or `<experiment>/models/<model>/artifacts/...`.
    pub(crate) fn may_write_file(&self, tx: &mut Tx<'_>, path: &str) -> Result<(), ApiError> {
        if let Some((model, version)) = versions::with_files_at(tx, path)? {
            return Err(ApiError::denied(format!(
                "'{path}' belongs to version {version} of model '{model}', whose files never change: push a commit to make another version"
            )));
        }
        if self.0.is_user() {
            return self.may_write();
        }
        let mut parts = path.split('/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("models"), Some(model_id), Some("artifacts")) => self.may_write_model(tx, model_id).map(|_| ()),
            (Some(run_id), Some("artifacts"), _) => self.may_write_run(tx, run_id),
            _ => Err(ApiError::denied(format!("the token of a stage may not write '{path}'"))),
        }
    }
}

/// Tags of the server's own say which pipeline run and stage a run belongs to: no client sets them.
pub(crate) fn may_tag<'k>(keys: impl IntoIterator<Item = &'k str>) -> Result<(), ApiError> {
    match keys.into_iter().find(|key| tags::is_reserved(key)) {
        Some(key) => Err(ApiError::denied(format!("tag '{key}' is written by the server only"))),
        None => Ok(()),
    }
}
