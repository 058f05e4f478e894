//! Data versioning in DVC's formats: `.dvc` files, `.dir` manifests, the content cache, remotes.
//!
//! Files are those of DVC 3 and the real `dvc` works on the same repository at the same time.
//! Everything is synchronous; hashing, copying and transfers run on several threads. Asynchronous
//! callers use a blocking task: HTTP remotes panic on a thread that drives a runtime.

pub mod blame;
pub mod cache;
pub mod chunked;
pub mod config;
pub mod content_hash;
pub mod diff;
pub mod error;
pub mod external;
pub mod gc;
pub mod hooks;
pub mod ignore;
pub mod imports;
pub mod links;
pub mod locks;
pub mod manifest;
pub mod merge;
pub mod migrate;
pub mod oid;
pub mod pointer;
pub mod progress;
pub mod remote;
pub mod repository;
pub mod run_cache;
pub mod scratch;
pub mod state;
pub mod status;
pub mod targets;
pub mod tracked;
pub mod transfer;
pub mod unpack;
pub mod verbs;
pub mod versions;
pub mod workspace;

mod add;
mod batch;
mod checkout;
mod dos2unix;
mod files;
mod folder_edit;
mod hash;
mod incoming;
mod listing;
mod unprotect;
mod walk;

pub use cache::Cache;
pub use config::Config;
pub use error::Error;
pub use oid::Oid;
pub use progress::{Event, Progress, Silent};
pub use remote::Remote;
pub use repository::Repository;
pub use run_cache::RunCache;
pub use status::{Change, OutputStatus};
pub use targets::{Selection, Targets};
pub use tracked::{Role, Stage, TrackedOutput};
pub use workspace::Workspace;
