//! The MLflow 3.17 REST surface over `towpath-tracking`: what the unmodified `mlflow` client calls.
//! Handlers extract, call the domain, and map; one file per resource under `routes`.

mod access;
mod error;
mod otlp;
mod request;
mod routes;
pub mod webhooks;
mod wire;

use axum::Router;
use axum::routing::{get, post};
use towpath_store::{Durability, Store, StoreError, Tx, Vault};
use towpath_tracking::artifacts::Artifacts;

pub use error::ApiError;

/// The MLflow version whose surface this is; the client parses it.
pub const MLFLOW_VERSION: &str = "3.17.2";

/// What the handlers work on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    pub store: Store,
    pub artifacts: Artifacts,
    /// Bytes of one uploaded file.
    pub upload_limit: u64,
    /// Where webhooks may lead.
    pub webhooks: webhooks::Reach,
    /// For the secrets of webhooks.
    pub vault: Vault,
}

impl State {
    pub fn new(store: Store, artifacts: Artifacts, vault: Vault) -> Self {
        // A file larger than this is data, and belongs to DVC.
        const UPLOAD: u64 = 64 << 30;
        Self { store, artifacts, upload_limit: UPLOAD, webhooks: webhooks::Reach::default(), vault }
    }

    async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.read(work).await
    }

    /// A few rows by their keys.
    async fn look_up<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.look_up(work).await
    }

    /// Progress: metrics, runs, experiments.
    async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.write_briefly(work).await
    }

    /// Control: the registry.
    async fn commit<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.write(Durability::Full, work).await
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::classified(&error)
    }
}

/// All routes, to be mounted at `/`. The server's middleware has put the caller's
/// `towpath_identity::Identity` into the request's extensions; a request without one is answered
/// with 401.
pub fn router(state: State) -> Router {
    let v2 = Router::new()
        .merge(routes::experiments::router())
        .merge(routes::runs::router())
        .merge(routes::metrics::router())
        .merge(routes::logged_models::router())
        .merge(routes::registered_models::router())
        .merge(routes::model_versions::router())
        .merge(routes::webhooks::router())
        .merge(routes::traces::v2())
        .merge(routes::traces::only_v2())
        .fallback(error::no_such_endpoint);
    let v3 = Router::new()
        .route("/server-info", get(routes::probes::server_info))
        .merge(routes::traces::v3())
        .merge(routes::assessments::router())
        .merge(routes::evaluation_datasets::router())
        .merge(routes::scorers::router())
        .fallback(error::no_such_endpoint);
    Router::new()
        .nest("/api/2.0/mlflow", v2.clone())
        .nest("/ajax-api/2.0/mlflow", v2)
        .nest("/api/3.0/mlflow", v3.clone())
        .nest("/ajax-api/3.0/mlflow", v3)
        .nest("/api/2.0/mlflow-artifacts", routes::artifacts::router())
        .nest("/ajax-api/2.0/mlflow-artifacts", routes::artifacts::router())
        .route("/v1/traces", post(routes::traces::spans))
        .route("/get-artifact", get(routes::artifacts::of_run))
        .route("/model-versions/get-artifact", get(routes::artifacts::of_version))
        .route("/health", get(routes::probes::health))
        .route("/version", get(routes::probes::version))
        .with_state(state)
}

/// Where the parts of an upload are sent, to be mounted at `/` outside of what asks for a token: the
/// secret in the address is what lets them in.
pub fn parts(state: State) -> Router {
    routes::uploads::parts().with_state(state)
}
