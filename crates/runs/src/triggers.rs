//! What a push starts. A branch whose head was not acted on yet is looked at: after each push, and
//! at start, so that a push just before a crash is not lost.

use std::collections::BTreeMap;
use std::path::Path;

use towpath_api::projects::Commit;
use towpath_core::project::ProjectFile;
use towpath_core::triggers::When;
use towpath_core::{Actor, Timestamp};
use towpath_data::pointer::PointerFile;
use towpath_git::{CommitId, CommitInfo, Head, Repository, Tag};
use towpath_plan::towpath_yaml::{push_starts_run, tag_starts_run};
use towpath_store::{Durability, Store};

use crate::rows::{self, NewRun};
use crate::schedules::{self, Declaration};
use crate::{Error, projects};

/// Largest `towpath.yaml` that is read.
const PROJECT_FILE_LIMIT: usize = 1 << 20;

/// The file that makes a repository a Towpath project.
pub const PROJECT_FILE: &str = "towpath.yaml";

/// More new tags than this at once are a mirror, not a wish for runs.
const TAGS_AT_ONCE: usize = 3;

/// Largest `.dvc` file that is read.
const POINTER_LIMIT: usize = 1 << 20;

/// A run that a push started, or why none was.
#[derive(Clone, Debug, PartialEq)]
pub struct Triggered {
    pub branch: String,
    pub commit: String,
    pub run: Option<i64>,
    /// One sentence for the pusher.
    pub text: String,
}

/// Acts on every branch head and tag that was not acted on yet. `now` is when the push came.
pub(crate) async fn look(
    store: &Store,
    repository_path: &Path,
    project: &str,
    now: Timestamp,
) -> Result<Vec<Triggered>, Error> {
    let repository = Repository::open(repository_path)?;
    let tips = blocking({
        let repository = repository.clone();
        move || repository.tips()
    })
    .await?;
    let mut triggered = Vec::new();
    for head in tips.heads {
        let seen = {
            let (project, branch) = (project.to_owned(), head.branch.clone());
            store.read(move |tx| projects::seen_head(tx, &project, &branch)).await?
        };
        if seen.as_deref() != Some(head.commit.as_str()) {
            let is_default = tips.default_branch.as_ref() == Some(&head.branch);
            triggered.extend(on_head(store, &repository, project, head, is_default, now).await?);
        }
    }
    triggered.extend(on_tags(store, &repository, project, tips.tags, now).await?);
    triggered.extend(schedules::pull_requests::look(store, &repository, project, now).await?);
    Ok(triggered)
}

/// Acts on a branch that has a new head. The default branch declares what else starts runs.
async fn on_head(
    store: &Store,
    repository: &Repository,
    project: &str,
    head: Head,
    is_default: bool,
    now: Timestamp,
) -> Result<Vec<Triggered>, Error> {
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
    let wanted = match &found {
        Ok(file) => push_starts_run(file, &head.branch),
        // A file that cannot be read is a run that failed, so that the pusher sees why.
        Err(Error::ProjectFile { .. }) => true,
        Err(_) => false,
    };
    let declaration = match &found {
        Ok(file) if is_default => Some(declaration(repository, &head, file).await?),
        // What an unreadable file declares is not known: what was declared before holds.
        _ => None,
    };
    let concurrency = found.as_ref().ok().and_then(|file| file.concurrency.clone());
    let new = NewRun {
        concurrency,
        branch: Some(head.branch.clone()),
        ..NewRun::new(project, commit(info), "push", pusher.clone())
    };
    let (run, by_data) = store
        .write(Durability::Full, move |tx| {
            let branch = new.branch.as_deref().unwrap_or_default();
            projects::saw_head(tx, now, &new.project, branch, &new.commit.id, &pusher)?;
            let run = if wanted { Some(rows::create(tx, now, &new)?) } else { None };
            let mut by_data = Vec::new();
            if let Some(declaration) = &declaration {
                schedules::declare(tx, now, &new.project, declaration)?;
                by_data = schedules::on_contents(tx, now, &new, &declaration.contents, run)?;
            }
            Ok::<_, Error>((run, by_data))
        })
        .await?;
    let short = head.commit.short();
    let text = match (&run, &found) {
        (Some(number), _) => format!("run {number} of {project} starts at {short}"),
        (None, Ok(_)) => format!("no run: {PROJECT_FILE} does not name branch {}", head.branch),
        (None, Err(error)) => format!("no run: {error}"),
    };
    let triggered = |run, text| Triggered { branch: head.branch.clone(), commit: head.commit.to_string(), run, text };
    let mut all: Vec<Triggered> = by_data
        .into_iter()
        .map(|number| triggered(Some(number), format!("run {number} of {project} starts: its data changed")))
        .collect();
    if run.is_some() || all.is_empty() {
        all.insert(0, triggered(run, text));
    }
    Ok(all)
}

/// What the file declares, and which content each `data` trigger finds at the commit.
async fn declaration(repository: &Repository, head: &Head, file: &ProjectFile) -> Result<Declaration, Error> {
    let mut contents = BTreeMap::new();
    for trigger in &file.triggers {
        if let When::Data { paths } = &trigger.when {
            let (repository, commit, paths) = (repository.clone(), head.commit.clone(), paths.clone());
            let content = blocking(move || {
                let found: Result<Vec<String>, _> =
                    paths.iter().map(|path| content_at(&repository, &commit, path)).collect();
                found.map(|found| found.join(" "))
            })
            .await?;
            contents.insert(trigger.name.clone(), content);
        }
    }
    Ok(Declaration { branch: head.branch.clone(), triggers: file.triggers.clone(), contents })
}

/// The content of tracked data at a commit, as its `.dvc` file has it; of a file in Git, its object;
/// `-` when there is none.
fn content_at(repository: &Repository, commit: &CommitId, path: &str) -> Result<String, towpath_git::Error> {
    let pointer_path = PointerFile::path_for(path);
    if let Ok(bytes) = repository.show(commit, &pointer_path, POINTER_LIMIT) {
        let pointer = PointerFile::parse(&pointer_path, String::from_utf8_lossy(&bytes).into_owned());
        let tracked = pointer.and_then(|pointer| pointer.tracked()).unwrap_or_default();
        if let Some(content) = tracked.into_iter().find_map(|t| t.content) {
            return Ok(content.md5);
        }
    }
    Ok(repository.object_at(commit, path)?.unwrap_or_else(|| "-".into()))
}

/// Acts on tags that are new or name another commit.
async fn on_tags(
    store: &Store,
    repository: &Repository,
    project: &str,
    tags: Vec<Tag>,
    now: Timestamp,
) -> Result<Vec<Triggered>, Error> {
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let name = project.to_owned();
    let seen = store.read(move |tx| projects::seen_tags(tx, &name)).await?;
    let fresh: Vec<Tag> =
        tags.into_iter().filter(|tag| seen.get(&tag.name).map(String::as_str) != Some(tag.commit.as_str())).collect();
    let many = fresh.len() > TAGS_AT_ONCE;
    let mut triggered = Vec::new();
    for tag in fresh {
        let (found, info) = blocking({
            let (repository, commit) = (repository.clone(), tag.commit.clone());
            move || Ok((project_file(&repository, &commit), repository.commit(&commit)?))
        })
        .await?;
        let asked = found.as_ref().is_ok_and(|file| tag_starts_run(file, &tag.name));
        let new = NewRun {
            reason: Some(format!("tag {} was pushed", tag.name)),
            concurrency: found.as_ref().ok().and_then(|file| file.concurrency.clone()),
            ..NewRun::new(project, commit(info), "tag", Actor::user("unknown"))
        };
        let (tag_name, wanted) = (tag.name.clone(), asked && !many);
        let run = store
            .write(Durability::Full, move |tx| {
                projects::saw_tag(tx, now, &new.project, &tag_name, &new.commit.id)?;
                if wanted { rows::create(tx, now, &new).map(Some) } else { Ok::<_, Error>(None) }
            })
            .await?;
        let text = match run {
            Some(number) => format!("run {number} of {project} starts at tag {}", tag.name),
            None if asked => format!("no run for tag {}: more than {TAGS_AT_ONCE} tags came at once", tag.name),
            None => continue,
        };
        triggered.push(Triggered { branch: tag.name, commit: tag.commit.to_string(), run, text });
    }
    Ok(triggered)
}

/// A commit as runs keep it.
pub(crate) fn commit(info: CommitInfo) -> Commit {
    Commit {
        id: info.id.to_string(),
        subject: info.subject,
        author: info.author,
        author_email: info.email,
        at: info.authored_at,
    }
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
