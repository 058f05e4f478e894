//! What starts runs. A branch whose head was not acted on yet is looked at: after each push, and
//! at start, so that a push just before a crash is not lost.

use std::path::Path;

use towpath_api::projects::Commit;
use towpath_core::project::ProjectFile;
use towpath_core::{Actor, Timestamp};
use towpath_git::{CommitId, Repository};
use towpath_plan::towpath_yaml::push_starts_run;
use towpath_store::{Durability, Store};

use crate::rows::{self, NewRun};
use crate::{Error, projects};

/// Largest `towpath.yaml` that is read.
const PROJECT_FILE_LIMIT: usize = 1 << 20;

/// The file that makes a repository a Towpath project.
pub const PROJECT_FILE: &str = "towpath.yaml";

/// A run that a push started, or why none was.
#[derive(Clone, Debug, PartialEq)]
pub struct Triggered {
    pub branch: String,
    pub commit: String,
    pub run: Option<i64>,
    /// One sentence for the pusher.
    pub text: String,
}

/// Acts on every branch head that was not acted on yet. `now` is when the push came.
pub(crate) async fn look(
    store: &Store,
    repository_path: &Path,
    project: &str,
    now: Timestamp,
) -> Result<Vec<Triggered>, Error> {
    let repository = Repository::open(repository_path)?;
    let mut triggered = Vec::new();
    for head in blocking({
        let repository = repository.clone();
        move || repository.heads()
    })
    .await?
    {
        let seen = {
            let (project, branch) = (project.to_owned(), head.branch.clone());
            store.read(move |tx| projects::seen_head(tx, &project, &branch)).await?
        };
        if seen.as_deref() == Some(head.commit.as_str()) {
            continue;
        }
        let (found, info, pusher) = blocking({
            let (repository, branch, commit) = (repository.clone(), head.branch.clone(), head.commit.clone());
            move || {
                let pusher = repository.pusher_of(&branch, &commit)?;
                // Two processes at the same time: somebody waits for the run to begin.
                let (found, info) = std::thread::scope(|scope| {
                    let info = scope.spawn(|| repository.commit(&commit));
                    (project_file(&repository, &commit), info.join())
                });
                let info = info.unwrap_or_else(|_| repository.commit(&commit));
                Ok::<_, towpath_git::Error>((found, info?, pusher))
            }
        })
        .await?;
        let pusher = Actor::user(pusher.unwrap_or_else(|| "unknown".into()));
        let commit = Commit {
            id: info.id.to_string(),
            subject: info.subject,
            author: info.author,
            author_email: info.email,
            at: info.authored_at,
        };
        let wanted = match &found {
            Ok(file) => push_starts_run(file, &head.branch),
            // A file that cannot be read is a run that failed, so that the pusher sees why.
            Err(Error::ProjectFile { .. }) => true,
            Err(_) => false,
        };
        let new = NewRun {
            project: project.to_owned(),
            commit,
            branch: Some(head.branch.clone()),
            trigger: "push",
            started_by: pusher.clone(),
            force: false,
        };
        let run = store
            .write(Durability::Full, move |tx| {
                let branch = new.branch.as_deref().unwrap_or_default();
                projects::saw_head(tx, now, &new.project, branch, &new.commit.id, &pusher)?;
                if wanted { rows::create(tx, now, &new).map(Some) } else { Ok::<_, Error>(None) }
            })
            .await?;
        let text = match (&run, &found) {
            (Some(number), _) => format!("run {number} of {project} starts at {}", head.commit.short()),
            (None, Ok(_)) => format!("no run: {PROJECT_FILE} does not name branch {}", head.branch),
            (None, Err(error)) => format!("no run: {error}"),
        };
        triggered.push(Triggered { branch: head.branch, commit: head.commit.to_string(), run, text });
    }
    Ok(triggered)
}

/// `towpath.yaml` at a commit.
pub fn project_file(repository: &Repository, commit: &CommitId) -> Result<ProjectFile, Error> {
    let fail = |detail: String| Error::ProjectFile {
        file: PROJECT_FILE.to_owned(),
        commit: commit.short().to_owned(),
        detail,
    };
    let bytes = repository.show(commit, PROJECT_FILE, PROJECT_FILE_LIMIT)?;
    let text = String::from_utf8(bytes).map_err(|_| fail("not UTF-8".into()))?;
    towpath_plan::towpath_yaml::read(PROJECT_FILE, &text).map_err(|e| fail(e.to_string()))
}

/// Runs `work` (git processes) off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, towpath_git::Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::Store(towpath_store::StoreError::Closed)),
    }
}
