//! The models that a data plane without a control plane was told to serve: they can be unloaded and
//! loaded again while it runs, as Triton and MLServer have it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use towpath_api::control::Batching;

use crate::data_plane::{DataPlane, standalone_revision};
use crate::error::{RequestError, RevisionError, ServeError};
use crate::revision::LoadedRevision;
use crate::router::Route;

/// Name and place of each model; none when a control plane says what is served.
#[derive(Default)]
pub(crate) struct Repository {
    models: Vec<(String, PathBuf)>,
    batching: Option<Batching>,
    /// Held while a model is loaded or unloaded: one change at a time.
    changing: tokio::sync::Mutex<()>,
}

/// A model as the index shows it.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `READY` or `UNAVAILABLE`.
    pub(crate) state: &'static str,
    pub(crate) reason: &'static str,
}

impl Repository {
    pub(crate) fn of(models: Vec<(String, PathBuf)>, batching: Option<Batching>) -> Result<Self, ServeError> {
        let twice =
            models.iter().enumerate().find(|(index, (name, _))| models[..*index].iter().any(|(n, _)| n == name));
        match twice {
            Some((_, (name, _))) => Err(ServeError::DuplicateModel(name.clone())),
            None => Ok(Self { models, batching, changing: tokio::sync::Mutex::default() }),
        }
    }
}

impl DataPlane {
    /// Loads every model of the repository before the first request is taken.
    pub(crate) async fn load_repository(&self) -> Result<(), ServeError> {
        for (name, path) in &self.repository.models {
            let route = self.standalone_route(name, path).await;
            let route = route.map_err(|source| ServeError::Load { model: name.clone(), source: Box::new(source) })?;
            self.router.put_route(name, Some(route));
        }
        Ok(())
    }

    /// Loads a model again from its place. Requests go to what was loaded until the new one is warm;
    /// it stays when the new one cannot be loaded.
    pub(crate) async fn load(&self, model: &str) -> Result<(), RequestError> {
        let path = self.place_of(model)?;
        let _one_at_a_time = self.repository.changing.lock().await;
        let route = self.standalone_route(model, path).await;
        let route = route.map_err(|error| RequestError::Load { model: model.to_owned(), detail: error.to_string() })?;
        self.router.put_route(model, Some(route));
        Ok(())
    }

    /// Answers no more requests for a model; those that it is answering are finished.
    pub(crate) async fn unload(&self, model: &str) -> Result<(), RequestError> {
        self.place_of(model)?;
        let _one_at_a_time = self.repository.changing.lock().await;
        self.router.put_route(model, None);
        Ok(())
    }

    pub(crate) fn repository_index(&self, only_ready: bool) -> Vec<Entry> {
        let snapshot = self.router.snapshot();
        let loaded = snapshot.routes.iter().flat_map(|route| route.revisions().map(move |found| (route, found)));
        let mut entries: Vec<Entry> = loaded
            .map(|(route, (arm, _, revision))| Entry {
                name: route.model.to_string(),
                version: revision.info.model_version.to_string(),
                state: "READY",
                reason: arm.name(),
            })
            .collect();
        let absent = self.repository.models.iter().filter(|(name, _)| !entries.iter().any(|entry| entry.name == *name));
        let absent: Vec<Entry> = absent
            .filter(|_| !only_ready)
            .map(|(name, _)| Entry {
                name: name.clone(),
                version: String::new(),
                state: "UNAVAILABLE",
                reason: "unloaded",
            })
            .collect();
        entries.extend(absent);
        entries
    }

    fn place_of(&self, model: &str) -> Result<&PathBuf, RequestError> {
        if self.control_token.is_some() {
            return Err(RequestError::Controlled);
        }
        let known = self.repository.models.iter().find(|(name, _)| name == model);
        known.map(|(_, path)| path).ok_or_else(|| RequestError::UnknownModel(model.to_owned()))
    }

    async fn standalone_route(&self, name: &str, path: &Path) -> Result<Route, RevisionError> {
        let (info, loader) = (standalone_revision(name, path), Arc::clone(&self.loader));
        let loading = tokio::task::spawn_blocking(move || LoadedRevision::load(info, &loader));
        let loaded = loading.await.unwrap_or_else(|join| Err(RevisionError::Interrupted(join.to_string())));
        let revision = loaded?;
        revision.set_batching(self.repository.batching);
        Ok(Route { model: Arc::from(name), stable: Some(Arc::new(revision)), candidate: None, warm: None })
    }
}
