//! What can go wrong with a release.

use towpath_api::releases::ReleaseState;
use towpath_core::{Classify, Kind};
use towpath_identity::IdentityError;
use towpath_store::StoreError;
use towpath_tracking::TrackingError;

use crate::target::TargetError;

#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tracking(#[from] TrackingError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("there is no release {0}")]
    NoRelease(i64),
    #[error("release {0} has no rollout")]
    NoRollout(i64),
    #[error("release {0} is no experiment: its judge promotes it")]
    NoExperiment(i64),
    #[error("there is no version {version} of model '{model}'")]
    NoVersion { model: String, version: i64 },
    #[error("nothing is deployed in {environment} of {project}")]
    NoDeployment { project: String, environment: String },
    #[error("towpath.yaml of {project} declares no environment '{environment}'; it has {known}")]
    NoEnvironment { project: String, environment: String, known: String },
    #[error("no run of a pipeline has made version {version} of '{model}', so no towpath.yaml says how to release it")]
    NoPolicy { model: String, version: i64 },
    #[error("version {version} of '{model}' has not been live in {after}, which comes before {environment}")]
    NotPromotedYet { model: String, version: i64, after: String, environment: String },
    #[error("release {release} of this version into {environment} is {state} already")]
    InProgress { release: i64, environment: String, state: &'static str },
    #[error("{0}")]
    Pinned(String),
    #[error("release {release} is {state}, so it cannot be {wanted}")]
    WrongState { release: i64, state: &'static str, wanted: &'static str },
    #[error("{0} changed meanwhile: look at it again")]
    Changed(String),
    #[error("you voted on release hash {seen}, and release {release} is {hash}")]
    OtherHash { release: i64, seen: String, hash: String },
    #[error("'{0}' is not a release hash: 8 to 64 hex digits are")]
    InvalidHash(String),
    #[error("a reason of 1 to 2000 characters is needed")]
    NoReason,
    #[error("{user} may not {what}: {why}")]
    MayNot { user: String, what: &'static str, why: String },
    #[error("{user} has voted on release {release} already")]
    SecondVote { user: String, release: i64 },
    #[error("a vote on release {release} would be stale: {why}")]
    Stale { release: i64, why: String },
    #[error("there is no earlier release in {environment} of {project} to go back to")]
    NothingToGoBackTo { project: String, environment: String },
    #[error("'{0}' is not a cursor of this list")]
    InvalidCursor(String),
}

impl Classify for DeliveryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Identity(error) => error.kind(),
            Self::Target(error) => error.kind(),
            Self::Tracking(error) => error.kind(),
            Self::NoRelease(_) | Self::NoRollout(_) | Self::NoVersion { .. } | Self::NoDeployment { .. } => {
                Kind::NotFound
            }
            Self::NoEnvironment { .. }
            | Self::NoPolicy { .. }
            | Self::InvalidHash(_)
            | Self::NoReason
            | Self::InvalidCursor(_) => Kind::Invalid,
            Self::NotPromotedYet { .. }
            | Self::InProgress { .. }
            | Self::Pinned(_)
            | Self::NoExperiment(_)
            | Self::WrongState { .. }
            | Self::Changed(_)
            | Self::OtherHash { .. }
            | Self::SecondVote { .. }
            | Self::Stale { .. }
            | Self::NothingToGoBackTo { .. } => Kind::Conflict,
            Self::MayNot { .. } => Kind::Denied,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Store(error) => error.hints(),
            Self::Pinned(_) => vec!["a person may release it again: give --reason".into()],
            Self::NotPromotedYet { after, .. } => vec![format!("promote it to {after} first")],
            Self::OtherHash { release, .. } => vec![format!("towpath release show {release}")],
            Self::Stale { .. } => vec!["wait until the gates have been evaluated again, then look and vote".into()],
            _ => Vec::new(),
        }
    }
}

/// As people read it: `awaiting approval`.
pub(crate) fn words(state: ReleaseState) -> &'static str {
    match state {
        ReleaseState::Pending => "pending",
        ReleaseState::Gating => "gating",
        ReleaseState::AwaitingApproval => "awaiting approval",
        ReleaseState::RollingOut => "rolling out",
        ReleaseState::Live => "live",
        ReleaseState::Rejected => "rejected",
        ReleaseState::RolledBack => "rolled back",
        ReleaseState::Superseded => "superseded",
        ReleaseState::Failed => "failed",
    }
}
