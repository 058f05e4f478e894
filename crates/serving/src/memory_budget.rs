//! Many models in one process: those that were not asked for longest are put out of memory, and loaded again by the
//! next request for them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Instant, SystemTime};
use std::{fs, io};

use towpath_api::control::Revision;

use crate::revision::lock;
use crate::runtime::{ExplainError, LoadError, RunError, Runtime, Signature};
use crate::server::Loader;
use crate::tensor::Tensor;

/// What all models together may take, by the size of their files.
pub(crate) struct MemoryBudget {
    bytes: u64,
    models: Mutex<Vec<Weak<Model>>>,
    /// Rises with each use of a model.
    uses: AtomicU64,
    loads: AtomicU64,
    evictions: AtomicU64,
}

/// What `/metrics` shows.
pub(crate) struct Occupied {
    pub(crate) bytes: u64,
    pub(crate) models: usize,
    pub(crate) loads: u64,
    pub(crate) evictions: u64,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let [uses, loads, evictions] = [0, 0, 0].map(AtomicU64::new);
        Arc::new(Self { bytes, models: Mutex::default(), uses, loads, evictions })
    }

    /// Loads as `loader` does, within the budget.
    pub(crate) fn within(self: &Arc<Self>, loader: Loader) -> Loader {
        let budget = Arc::clone(self);
        Arc::new(move |revision: &Revision| {
            let files = Files::of(Path::new(&revision.path));
            let runtime: Arc<dyn Runtime> = Arc::from(loader(revision)?);
            let model = Arc::new(Model {
                signature: runtime.signature().clone(),
                engine: runtime.engine(),
                runs_foreign_code: runtime.runs_foreign_code(),
                runs_at_once: runtime.runs_at_once(),
                used: AtomicU64::new(budget.uses.fetch_add(1, Ordering::Relaxed)),
                loaded: Mutex::new(Some(runtime)),
                revision: revision.clone(),
                loader: Arc::clone(&loader),
                budget: Arc::clone(&budget),
                files,
            });
            budget.loads.fetch_add(1, Ordering::Relaxed);
            lock(&budget.models).push(Arc::downgrade(&model));
            budget.make_room(&model);
            Ok(Box::new(Resident(model)) as Box<dyn Runtime>)
        })
    }

    /// Puts models out until the budget holds, but never `kept`. A model that answers a request leaves memory after it.
    fn make_room(&self, kept: &Model) {
        let mut models = lock(&self.models);
        models.retain(|model| model.strong_count() > 0);
        let mut loaded: Vec<Arc<Model>> = models.iter().filter_map(Weak::upgrade).filter(|m| m.is_loaded()).collect();
        let mut bytes: u64 = loaded.iter().map(|model| model.files.bytes).sum();
        loaded.sort_by_key(|model| model.used.load(Ordering::Relaxed));
        for model in loaded.iter().filter(|model| !std::ptr::eq(Arc::as_ptr(model), kept)) {
            if bytes <= self.bytes {
                return;
            }
            // One that is being loaded is wanted.
            if let Ok(mut place) = model.loaded.try_lock()
                && place.take().is_some()
            {
                bytes -= model.files.bytes;
                self.evictions.fetch_add(1, Ordering::Relaxed);
                tracing::info!(model = model.revision.id, "put out of memory");
            }
        }
    }

    /// What a model there would take.
    pub(crate) fn size_of(path: &Path) -> u64 {
        Files::of(path).bytes
    }

    /// What no model in memory takes.
    pub(crate) fn free(&self) -> u64 {
        self.bytes.saturating_sub(self.occupied().bytes)
    }

    pub(crate) fn occupied(&self) -> Occupied {
        let models: Vec<Arc<Model>> = lock(&self.models).iter().filter_map(Weak::upgrade).collect();
        let loaded: Vec<&Arc<Model>> = models.iter().filter(|model| model.is_loaded()).collect();
        Occupied {
            bytes: loaded.iter().map(|model| model.files.bytes).sum(),
            models: loaded.len(),
            loads: self.loads.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }
}

/// A model that may be out of memory.
struct Model {
    revision: Revision,
    loader: Loader,
    budget: Arc<MemoryBudget>,
    files: Files,
    signature: Signature,
    engine: &'static str,
    runs_foreign_code: bool,
    runs_at_once: Option<usize>,
    /// When it was asked for last, in uses of all models.
    used: AtomicU64,
    /// Held while it is loaded: whoever asks meanwhile waits for this one load.
    loaded: Mutex<Option<Arc<dyn Runtime>>>,
}

impl Model {
    /// Whoever runs it holds it, so that it is not taken from under a request.
    fn hold(&self) -> Result<Arc<dyn Runtime>, String> {
        self.used.store(self.budget.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let mut place = lock(&self.loaded);
        if let Some(runtime) = &*place {
            return Ok(Arc::clone(runtime));
        }
        if Files::of(Path::new(&self.revision.path)) != self.files {
            return Err("its files have changed since it was loaded: load it again".to_owned());
        }
        let again = |error: LoadError| format!("it could not be loaded again: {error}");
        let runtime: Arc<dyn Runtime> = Arc::from((self.loader)(&self.revision).map_err(again)?);
        *place = Some(Arc::clone(&runtime));
        drop(place);
        self.budget.loads.fetch_add(1, Ordering::Relaxed);
        self.budget.make_room(self);
        Ok(runtime)
    }

    fn is_loaded(&self) -> bool {
        self.loaded.try_lock().is_ok_and(|place| place.is_some())
    }
}

/// The runtime that a revision has.
struct Resident(Arc<Model>);

impl Runtime for Resident {
    fn signature(&self) -> &Signature {
        &self.0.signature
    }

    fn run(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RunError> {
        self.0.hold().map_err(|detail| RunError::Worker { detail })?.run(inputs)
    }

    fn explain(&self, inputs: &[Tensor], until: Instant) -> Result<Tensor, ExplainError> {
        self.0.hold().map_err(ExplainError::Unsupported)?.explain(inputs, until)
    }

    fn engine(&self) -> &'static str {
        self.0.engine
    }

    /// Nor is it loaded on a thread that answers other requests.
    fn runs_foreign_code(&self) -> bool {
        self.0.runs_foreign_code || !self.0.is_loaded()
    }

    fn runs_at_once(&self) -> Option<usize> {
        self.0.runs_at_once
    }

    fn warm_up(&self) -> Vec<Tensor> {
        let zeros = || self.0.signature.inputs.iter().map(Tensor::zeros).collect();
        self.0.hold().map_or_else(|_| zeros(), |runtime| runtime.warm_up())
    }
}

/// What a model is read from: enough to see that it was replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Files {
    bytes: u64,
    newest: Option<SystemTime>,
}

impl Files {
    /// All below `path`; what cannot be read counts nothing.
    fn of(path: &Path) -> Self {
        let mut files = Self::default();
        let mut open: Vec<PathBuf> = vec![path.to_owned()];
        while let Some(path) = open.pop() {
            let _ = files.add(&path, &mut open);
        }
        files
    }

    fn add(&mut self, path: &Path, open: &mut Vec<PathBuf>) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            // Links may lead round in circles.
            let below =
                fs::read_dir(path)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()));
            open.extend(below.map(|entry| entry.path()));
        } else {
            self.bytes += metadata.len();
            self.newest = self.newest.max(metadata.modified().ok());
        }
        Ok(())
    }
}
