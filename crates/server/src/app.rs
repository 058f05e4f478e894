//! What every handler can reach.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use towpath_data::Cache;
use towpath_delivery::Delivery;
use towpath_mlflow::webhooks::Reach;
use towpath_runs::Runs;
use towpath_store::Store;
use towpath_tracking::artifacts::Artifacts;

use crate::metrics::Metrics;
use crate::paths::Paths;

/// The running server; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

pub struct Parts {
    pub store: Store,
    pub paths: Paths,
    /// One content cache for data, stages and models; the data remote serves it.
    pub cache: Cache,
    pub artifacts: Artifacts,
    pub runs: Arc<Runs>,
    pub delivery: Arc<Delivery>,
    /// `http://127.0.0.1:4400`, as clients reach it.
    pub url: String,
    pub owner_secret: String,
    pub shutdown: CancellationToken,
    pub metrics: Metrics,
    /// Where webhooks of the registry may lead.
    pub webhooks: Reach,
    pushes: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    #[expect(clippy::too_many_arguments, reason = "the parts of the server, each once")]
    pub fn new(
        store: Store,
        paths: Paths,
        cache: Cache,
        artifacts: Artifacts,
        runs: Arc<Runs>,
        delivery: Arc<Delivery>,
        url: String,
        owner_secret: String,
        shutdown: CancellationToken,
        webhooks: Reach,
    ) -> Self {
        Self(Arc::new(Parts {
            store,
            paths,
            cache,
            artifacts,
            runs,
            delivery,
            url,
            owner_secret,
            shutdown,
            metrics: Metrics::default(),
            webhooks,
            pushes: Mutex::default(),
        }))
    }

    /// Held while a push to the project goes on.
    pub fn push_lock(&self, project: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pushes = self.pushes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pushes.entry(project.to_owned()).or_default())
    }
}
