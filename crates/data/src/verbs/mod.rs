//! What the commands do: one file for each verb.
//!
//! Each looks after the `.dvc` files of the repository and the stages that the caller read from
//! `dvc.yaml` and `dvc.lock`. Those that change something hold DVC's lock meanwhile.

mod add;
mod checkout;
mod cloud_status;
mod fetch;
mod pull;
mod push;
mod status;

pub use add::{Added, add};
pub use checkout::checkout;
pub use cloud_status::{CloudChange, cloud_status};
pub use fetch::fetch;
pub use pull::{Pulled, pull, pull_scope};
pub use push::{Scope, push, push_scope};
pub use status::status;

use crate::{Error, Repository, Stage, TrackedOutput};

/// Every output of the `.dvc` files and of `stages`.
pub fn tracked(repository: &Repository, stages: &[Stage]) -> Result<Vec<TrackedOutput>, Error> {
    Ok(repository.stages(stages)?.into_iter().flat_map(|stage| stage.outputs).collect())
}
