//! The models that a data plane without a control plane was told to serve: they can be unloaded and
//! loaded again while it runs, as Triton and MLServer have it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use towpath_api::control::Batching;

use crate::data_plane::{DataPlane, standalone_revision};
use crate::error::{RequestError, RevisionError, ServeError};
use crate::memory_budget::MemoryBudget;
use crate::revision::{LoadedRevision, lock};
use crate::router::Route;

/// Name and place of each model; none when a control plane says what is served.
#[derive(Default)]
pub(crate) struct Repository {
    models: Mutex<Vec<(String, PathBuf)>>,
    batching: Option<Batching>,
    /// Models that lie in this folder may be loaded by who asks for them.
    folder: Option<PathBuf>,
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
    pub(crate) fn of(
        models: Vec<(String, PathBuf)>,
        batching: Option<Batching>,
        folder: Option<PathBuf>,
    ) -> Result<Self, ServeError> {
        let folder = match folder {
            None => None,
            Some(path) => Some(path.canonicalize().map_err(|source| ServeError::State { path, source })?),
        };
        let twice =
            models.iter().enumerate().find(|(index, (name, _))| models[..*index].iter().any(|(n, _)| n == name));
        match twice {
            Some((_, (name, _))) => Err(ServeError::DuplicateModel(name.clone())),
            None => Ok(Self { models: Mutex::new(models), batching, folder, changing: tokio::sync::Mutex::default() }),
        }
    }

    fn models(&self) -> Vec<(String, PathBuf)> {
        lock(&self.models).clone()
    }

    /// It is ready without any model: they come later.
    pub(crate) fn may_be_empty(&self) -> bool {
        self.folder.is_some()
    }
}

impl DataPlane {
    /// Loads every model of the repository before the first request is taken.
    pub(crate) async fn load_repository(&self) -> Result<(), ServeError> {
        for (name, path) in &self.repository.models() {
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
        let route = self.standalone_route(model, &path).await;
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
        let models = self.repository.models();
        let absent = models.iter().filter(|(name, _)| !entries.iter().any(|entry| entry.name == *name));
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

    /// The models that are there now, by name; for a folder of models only.
    pub(crate) fn more_models(&self) -> Result<Vec<(String, PathBuf)>, RequestError> {
        if !self.repository.may_be_empty() {
            return Err(RequestError::UnknownPath("this path without --model-folder".to_owned()));
        }
        let mut models = self.repository.models();
        models.sort();
        Ok(models)
    }

    /// Serves one more model, which lies in the folder of models.
    pub(crate) async fn load_more(&self, model: &str, path: &Path) -> Result<(), RequestError> {
        let folder = self.repository.folder.as_ref().filter(|_| self.more_models().is_ok());
        let folder = folder.ok_or_else(|| RequestError::UnknownPath("this path without --model-folder".to_owned()))?;
        if model.is_empty() || model.len() > 256 || model.contains(['/', '\0']) {
            return Err(RequestError::Invalid("a model's name has 1 to 256 characters and no '/'".to_owned()));
        }
        let place =
            path.canonicalize().ok().filter(|place| place.starts_with(folder)).ok_or_else(|| {
                RequestError::Invalid(format!("{} is not inside {}", path.display(), folder.display()))
            })?;
        let _one_at_a_time = self.repository.changing.lock().await;
        if self.repository.models().iter().any(|(name, _)| name == model) {
            return Err(RequestError::LoadedAlready(model.to_owned()));
        }
        if let Some(budget) = &self.memory_budget {
            let (bytes, free) = (MemoryBudget::size_of(&place), budget.free());
            if bytes > free {
                return Err(RequestError::NoMemory { model: model.to_owned(), bytes, free });
            }
        }
        let route = self.standalone_route(model, &place).await;
        let route = route.map_err(|error| RequestError::Load { model: model.to_owned(), detail: error.to_string() })?;
        lock(&self.repository.models).push((model.to_owned(), path.to_owned()));
        self.router.put_route(model, Some(route));
        Ok(())
    }

    /// Forgets a model; requests that it is answering are finished.
    pub(crate) async fn unload_more(&self, model: &str) -> Result<(), RequestError> {
        let known = self.more_models()?.iter().any(|(name, _)| name == model);
        if !known {
            return Err(RequestError::UnknownModel(model.to_owned()));
        }
        let _one_at_a_time = self.repository.changing.lock().await;
        lock(&self.repository.models).retain(|(name, _)| name != model);
        self.router.put_route(model, None);
        Ok(())
    }

    fn place_of(&self, model: &str) -> Result<PathBuf, RequestError> {
        if self.control_token.is_some() {
            return Err(RequestError::Controlled);
        }
        let known = self.repository.models().into_iter().find(|(name, _)| name == model);
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
