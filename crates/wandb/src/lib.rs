//! What the unmodified `wandb` client calls while it logs a run: GraphQL operations, the stream of
//! lines, uploads of files. A thin edge over `towpath-tracking`; what a run becomes is the mapping of
//! `towpath-imports`.

mod access;
mod address;
mod artifacts;
mod error;
mod filter;
mod graphql;
mod history;
mod lookup;
mod progress;
mod runs;
mod stream;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use towpath_store::{Durability, Store, StoreError, Tx, Vault};
use towpath_tracking::artifacts::Artifacts;

pub use error::ApiError;

/// Bytes of one request: the client sends at most 10 MiB of lines.
const REQUEST: usize = 64 << 20;

/// What the handlers work on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct State {
    pub store: Store,
    pub artifacts: Artifacts,
    /// Seals where an upload may go into its address.
    pub vault: Vault,
}

impl State {
    async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.read(work).await
    }

    async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.write(Durability::Relaxed, work).await
    }

    /// For a few rows.
    async fn write_briefly<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> Result<T, ApiError> + Send + 'static,
    {
        self.store.write_briefly(work).await
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        Self::classified(&error)
    }
}

/// The routes for callers, to be mounted at `/`. The server's middleware has put the caller's
/// `towpath_identity::Identity` into the request's extensions.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/graphql", post(graphql::answer))
        .route("/files/{entity}/{project}/{run}/file_stream", post(stream::receive))
        .layer(DefaultBodyLimit::max(REQUEST))
        .with_state(state)
}

/// Where files are sent and fetched, and what the client tells of itself, to be mounted at `/` outside of what asks
/// for a token: the client sends these without its key, the first to addresses that let it in.
pub fn open(state: State) -> Router {
    Router::new()
        .route("/wandb/uploads/{address}", put(address::upload))
        .route("/wandb/downloads/{address}", get(address::download))
        // Telemetry of the client about itself is not kept.
        .route("/sdk/otel/v1/{signal}", post(|| async { StatusCode::OK }))
        .with_state(state)
}
