//! Pull requests: a forge tells of a new head, or mirrors it here as a ref. Whoever opened one may be
//! anybody, so what a run of it does stays its own: the strict sandbox, no secrets, nothing that other
//! runs take up, no version of a model.

use serde_json::Value;
use towpath_core::project::Concurrency;
use towpath_core::triggers::When;
use towpath_core::{Actor, Timestamp};
use towpath_git::Repository;
use towpath_plan::towpath_yaml::matches_any;
use towpath_store::{Durability, Store, Tx};

use super::rows::Kept;
use super::webhook::Delivery;
use super::{act, rows};
use crate::rows::NewRun;
use crate::service::Head;
use crate::triggers::{self, Triggered};
use crate::{Error, Runs, projects};

/// The cause of runs of pull requests.
pub(crate) const CAUSE: &str = "pull_request";

/// More new ones than this at once are a mirror, not a wish for runs.
const AT_ONCE: usize = 3;

/// A pull request with a new head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Where forges keep its head: `refs/pull/7/head`.
    pub reference: String,
    /// The commit; a shortened one of Bitbucket's.
    pub head: String,
    /// The branch that it is to be merged into.
    pub into: String,
}

impl PullRequest {
    /// Out of the body of a delivery. `None` when it tells of something else than a new head, such as a
    /// label.
    pub(super) fn of(body: &Value) -> Option<Self> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_u64);
        let (reference, head, into) = if body.get("object_attributes").is_some() {
            let moved = match text("/object_attributes/action")? {
                "open" | "reopen" => true,
                "update" => text("/object_attributes/oldrev").is_some(),
                _ => false,
            };
            let head = text("/object_attributes/last_commit/id").filter(|_| moved)?;
            let reference = format!("refs/merge-requests/{}/head", number("/object_attributes/iid")?);
            (reference, head, text("/object_attributes/target_branch")?)
        } else if body.get("pullrequest").is_some() {
            // An update may be one of the title: that head has been seen.
            let head =
                text("/pullrequest/source/commit/hash").filter(|_| text("/pullrequest/state") == Some("OPEN"))?;
            let reference = format!("refs/pull-requests/{}/from", number("/pullrequest/id")?);
            (reference, head, text("/pullrequest/destination/branch/name")?)
        } else {
            const MOVED: [&str; 5] = ["opened", "reopened", "synchronize", "synchronized", "ready_for_review"];
            let head =
                text("/pull_request/head/sha").filter(|_| text("/action").is_some_and(|a| MOVED.contains(&a)))?;
            (format!("refs/pull/{}/head", number("/number")?), head, text("/pull_request/base/ref")?)
        };
        Some(Self { reference, head: head.to_owned(), into: into.to_owned() })
    }

    /// As people call it: `pull request 7 into main`.
    fn shown(&self) -> String {
        let number = self.reference.split('/').nth(2).unwrap_or_default();
        format!("pull request {number} into {}", self.into)
    }
}

/// Starts the run unless this head has been acted on; what is to be told.
fn start(
    tx: &mut Tx<'_>,
    now: Timestamp,
    kept: &Kept,
    request: &PullRequest,
    head: Head,
    delivery: Option<&str>,
) -> Result<(Option<i64>, String), Error> {
    let by = Actor::system(CAUSE);
    if projects::seen_head(tx, &kept.project, &request.reference)?.as_ref() == Some(&head.commit.id) {
        return Ok((None, format!("the head of {} has been acted on", request.shown())));
    }
    projects::saw_head(tx, now, &kept.project, &request.reference, &head.commit.id, &by)?;
    let new = NewRun {
        branch: Some(request.reference.clone()),
        // A newer head of the same one takes its place.
        concurrency: Some(Concurrency { group: request.reference.clone(), cancel_in_progress: true }),
        ..act::from(kept, head, request.shown())
    };
    let run = act::start(tx, now, kept, new, kept.trigger.overlap, delivery)?;
    let text = match run {
        Some(number) => format!("run {number} of {} starts", kept.project),
        None => "no run: an earlier one of a pull request is not over".to_owned(),
    };
    Ok((run, text))
}

impl Runs {
    /// Acts on what a forge tells of a pull request.
    pub(super) async fn pull_request(
        &self,
        kept: Kept,
        branches: &[String],
        delivery: Delivery,
    ) -> Result<(Option<i64>, String), Error> {
        let Some(request) = delivery.pull_request else {
            return Ok((None, format!("ignored: {} without a new head of a pull request", delivery.kind)));
        };
        if !matches_any(branches, &request.into) {
            return Ok((None, format!("ignored: {}, not into {}", request.shown(), branches.join(", "))));
        }
        let now = self.store.now();
        let Ok(head) = self.head(&kept.project, &request.head).await else {
            let why = format!(
                "{}: its commit {} is not here; push the forge's {} to this repository, and it starts",
                request.shown(),
                request.head,
                request.reference
            );
            let told = why.clone();
            let id = delivery.id;
            self.store.write(Durability::Full, move |tx| act::skipped(tx, now, &kept, &why, id.as_deref())).await?;
            return Ok((None, told));
        };
        self.store
            .write(Durability::Full, move |tx| start(tx, now, &kept, &request, head.clone(), delivery.id.as_deref()))
            .await
    }
}

/// Acts on heads of pull requests that were pushed here, as a mirror of a forge does. They are taken to
/// go into the default branch: the refs do not say.
pub(crate) async fn look(
    store: &Store,
    repository: &Repository,
    project: &str,
    now: Timestamp,
) -> Result<Vec<Triggered>, Error> {
    let name = project.to_owned();
    let Some(kept) = store.read(move |tx| rows::of_project(tx, &name, CAUSE)).await?.pop() else {
        return Ok(Vec::new());
    };
    let When::PullRequest { branches } = &kept.trigger.when else { return Ok(Vec::new()) };
    if !matches_any(branches, &kept.branch) {
        return Ok(Vec::new());
    }
    let heads = triggers::blocking({
        let repository = repository.clone();
        move || repository.pull_requests()
    })
    .await?;
    let name = project.to_owned();
    let seen = store.read(move |tx| projects::seen_heads_below(tx, &name, "refs/")).await?;
    let fresh: Vec<_> =
        heads.into_iter().filter(|(at, head)| seen.get(at).map(String::as_str) != Some(head.as_str())).collect();
    let many = fresh.len() > AT_ONCE;
    let mut triggered = Vec::new();
    for (reference, id) in fresh {
        let request = PullRequest { reference, head: id.to_string(), into: kept.branch.clone() };
        let (run, text) = if many {
            let (name, seen) = (project.to_owned(), request.clone());
            let by = Actor::system(CAUSE);
            store
                .write(Durability::Full, move |tx| projects::saw_head(tx, now, &name, &seen.reference, &seen.head, &by))
                .await?;
            (None, format!("no run for {}: more than {AT_ONCE} came at once", request.shown()))
        } else {
            let info = triggers::blocking({
                let (repository, id) = (repository.clone(), id.clone());
                move || repository.commit(&id)
            })
            .await?;
            let head = Head { commit: triggers::commit(info), concurrency: None };
            let (kept, request) = (kept.clone(), request.clone());
            store.write(Durability::Full, move |tx| start(tx, now, &kept, &request, head.clone(), None)).await?
        };
        triggered.push(Triggered { branch: request.reference, commit: id.to_string(), run, text });
    }
    Ok(triggered)
}
