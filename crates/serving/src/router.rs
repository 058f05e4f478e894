//! What serves: one immutable snapshot, swapped whole. A request takes it once its body is read and
//! keeps it to its end.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use towpath_core::ids::new_id;
use towpath_core::project::{RoutingKey, ShadowPolicy, Variants};
pub(crate) use towpath_stats::judge::Arm as JudgedArm;
use towpath_stats::routing;

use crate::admission::TokenHash;
use crate::error::RequestError;
use crate::prediction_log::Rules;
use crate::revision::LoadedRevision;

/// Everything a request needs to know of the routing, as of one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    pub(crate) table_version: u64,
    pub(crate) project: Arc<str>,
    pub(crate) environment: Arc<str>,
    pub(crate) routes: Vec<Arc<Route>>,
    /// `None` = everybody may predict.
    pub(crate) accepted_tokens: Option<HashSet<TokenHash>>,
    /// What the log keeps.
    pub(crate) rules: Arc<Rules>,
}

/// Where the requests of one model go.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) model: Arc<str>,
    pub(crate) stable: Option<Arc<LoadedRevision>>,
    pub(crate) candidate: Option<Candidate>,
    pub(crate) warm: Option<Arc<LoadedRevision>>,
}

#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) revision: Arc<LoadedRevision>,
    pub(crate) rollout: Arc<str>,
    /// 0 after a rollback.
    pub(crate) weight: f64,
    /// What keeps a caller with one revision; `None` = what Towpath's own header, cookie or id says.
    pub(crate) key: Option<RoutingKey>,
    /// Names of an experiment's arms.
    pub(crate) variants: Option<Variants>,
    /// It answers copies of requests; none after a rollback.
    pub(crate) shadow: Option<ShadowPolicy>,
    /// Labels are judged: the answers to copies are kept for them.
    pub(crate) labels: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Stable,
    Candidate,
    Warm,
}

impl Arm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Candidate => "candidate",
            Self::Warm => "warm",
        }
    }
}

/// Where one request goes.
pub(crate) struct Choice {
    pub(crate) revision: Arc<LoadedRevision>,
    pub(crate) arm: Arm,
    /// Present when the request was routed by a rollout's weight, so that the judge may look at it.
    pub(crate) rollout: Option<Randomised>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Randomised {
    pub(crate) rollout: Arc<str>,
    pub(crate) weight: f64,
    /// `None` when routed at random for want of a key.
    pub(crate) key_hash: Option<u64>,
}

impl Snapshot {
    /// The same with other routes.
    fn with(&self, routes: Vec<Arc<Route>>) -> Self {
        Self {
            table_version: self.table_version,
            project: Arc::clone(&self.project),
            environment: Arc::clone(&self.environment),
            routes,
            accepted_tokens: self.accepted_tokens.clone(),
            rules: Arc::clone(&self.rules),
        }
    }

    /// The route of `model`; without a name, the only one there is.
    pub(crate) fn route(&self, model: Option<&str>) -> Result<&Arc<Route>, RequestError> {
        match (model, self.routes.as_slice()) {
            (_, []) => Err(RequestError::NotReady),
            (None, [only]) => Ok(only),
            (None, several) => {
                let names: Vec<&str> = several.iter().map(|route| &*route.model).collect();
                Err(RequestError::Invalid(format!(
                    "several models are served ({}): name one in /v2/models/<model>/infer",
                    names.join(", ")
                )))
            }
            (Some(name), routes) => routes
                .iter()
                .find(|route| &*route.model == name)
                .ok_or_else(|| RequestError::UnknownModel(name.to_owned())),
        }
    }
}

impl Route {
    /// Loaded revisions with their arm and their share of new keys.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = (Arm, f64, &Arc<LoadedRevision>)> {
        let weight = self.candidate.as_ref().map_or(0.0, |candidate| candidate.weight);
        let stable = self.stable.iter().map(move |revision| (Arm::Stable, 1.0 - weight, revision));
        let candidate = self.candidate.iter().map(|candidate| (Arm::Candidate, candidate.weight, &candidate.revision));
        let warm = self.warm.iter().map(|revision| (Arm::Warm, 0.0, revision));
        stable.chain(candidate).chain(warm)
    }

    /// What requests are routed by, when a rule of the rollout says so.
    pub(crate) fn key_rule(&self) -> Option<&RoutingKey> {
        self.candidate.as_ref().filter(|candidate| candidate.weight > 0.0)?.key.as_ref()
    }

    /// The revision for a key: the same one for the same key while the weight does not shrink.
    pub(crate) fn choose(&self, key: Option<&[u8]>) -> Result<Choice, RequestError> {
        let Some(candidate) = self.candidate.as_ref().filter(|candidate| candidate.weight > 0.0) else {
            let revision = self.stable.clone().ok_or(RequestError::NotReady)?;
            return Ok(Choice { revision, arm: Arm::Stable, rollout: None });
        };
        let Some(stable) = &self.stable else {
            // A first release has nobody to be compared with.
            return Ok(Choice { revision: Arc::clone(&candidate.revision), arm: Arm::Candidate, rollout: None });
        };
        let key_hash = key.map(|key| routing::key_hash(&candidate.rollout, key));
        let position = key_hash.map_or_else(random_position, routing::unit);
        let to_candidate = position < candidate.weight;
        let (arm, revision) = if to_candidate { (Arm::Candidate, &candidate.revision) } else { (Arm::Stable, stable) };
        let rollout = Randomised { rollout: Arc::clone(&candidate.rollout), weight: candidate.weight, key_hash };
        Ok(Choice { revision: Arc::clone(revision), arm, rollout: Some(rollout) })
    }

    /// The candidate and its policy, when it shall answer a copy of a request that goes to stable.
    pub(crate) fn copied(&self, choice: &Choice) -> Option<(&Candidate, ShadowPolicy)> {
        let candidate = self.candidate.as_ref().filter(|_| choice.arm == Arm::Stable)?;
        let policy = candidate.shadow?;
        (policy.share >= 1.0 || random_position() < policy.share).then_some((candidate, policy))
    }

    /// A revision that the client named by its arm; the judge does not look at those.
    pub(crate) fn variant(&self, name: &str) -> Result<Choice, RequestError> {
        let named = |arm: Arm| {
            let variants = self.candidate.as_ref()?.variants.as_ref()?;
            match arm {
                Arm::Stable => Some(variants.stable.as_str()),
                Arm::Candidate => Some(variants.candidate.as_str()),
                Arm::Warm => None,
            }
        };
        let mut revisions = self.revisions();
        revisions.find(|(arm, _, _)| arm.name() == name || named(*arm) == Some(name)).map_or_else(
            || Err(RequestError::UnknownVariant { model: self.model.to_string(), variant: name.to_owned() }),
            |(arm, _, revision)| Ok(Choice { revision: Arc::clone(revision), arm, rollout: None }),
        )
    }

    /// A revision that the client named by its model version; the judge does not look at those.
    pub(crate) fn pinned(&self, version: &str) -> Result<Choice, RequestError> {
        self.revisions()
            .find(|(_, _, revision)| revision.info.model_version.to_string() == version)
            .map(|(arm, _, revision)| Choice { revision: Arc::clone(revision), arm, rollout: None })
            .ok_or_else(|| RequestError::UnknownVersion { model: self.model.to_string(), version: version.to_owned() })
    }
}

/// Uniform in [0, 1), from the random bits of a fresh id.
fn random_position() -> f64 {
    let id = new_id();
    routing::unit(routing::key_hash("", id.as_bytes()))
}

/// Holds the snapshot in force.
#[derive(Default)]
pub(crate) struct Router {
    snapshot: ArcSwap<Snapshot>,
}

impl Router {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn swap(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
    }

    /// Gives the candidate of `rollout` no more requests. Those it is answering are finished.
    pub(crate) fn stop_candidate(&self, rollout: &str) {
        self.snapshot.rcu(|current| {
            let routes = current.routes.iter().map(|route| {
                let mut route = Route::clone(route);
                if let Some(candidate) = route.candidate.as_mut().filter(|candidate| &*candidate.rollout == rollout) {
                    candidate.weight = 0.0;
                    candidate.shadow = None;
                }
                Arc::new(route)
            });
            current.with(routes.collect())
        });
    }

    /// Gives the requests of `model` another route, or none.
    pub(crate) fn put_route(&self, model: &str, route: Option<Route>) {
        let route = route.map(Arc::new);
        self.snapshot.rcu(|current| {
            let mut routes: Vec<Arc<Route>> =
                current.routes.iter().filter(|route| &*route.model != model).cloned().collect();
            routes.extend(route.clone());
            current.with(routes)
        });
    }
}
