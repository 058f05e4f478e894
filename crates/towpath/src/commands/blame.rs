use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use towpath_api::trace::{Link, Trace};
use towpath_core::{Content, Kind};
use towpath_data::blame::{
    self, Appearances, Blame as History, Claim, Commit, Missing, Record, Role, Toucher, Version,
};
use towpath_data::pointer::PointerFile;
use towpath_data::{Oid, Repository};
use towpath_git::{FileVersions, WorkTree};
use towpath_plan::frontend::dvc_yaml::{self, Arguments, Sources};
use towpath_plan::lock::Lock;

use crate::config::{Context, wait};
use crate::error::{Error, Exit};
use crate::ui::{self, Human};
use crate::workspace::text_at;

/// A server is asked about so many versions, the newest.
const ASKED: usize = 20;

/// Show which commits, stages and runs wrote and read each version of tracked data
///
/// Read from the history of .dvc files and dvc.lock; runs and models from the server that the repository
/// pushes its data to. Of a file in a tracked folder, the versions of that file.
#[derive(clap::Args, Debug)]
pub struct Blame {
    /// A tracked file or folder, or a file in a tracked folder
    #[arg(required_unless_present = "content")]
    path: Option<PathBuf>,
    /// Where does this content appear: an MD5, with .dir behind a folder's
    #[arg(long, value_name = "MD5", conflicts_with = "path")]
    content: Option<String>,
    /// Look at all branches and tags, not only at the history of HEAD
    #[arg(long, short)]
    all: bool,
}

/// A history and what the server knows of its versions.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    history: History,
    /// By MD5.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    used_by: BTreeMap<String, Vec<Link>>,
}

#[derive(Serialize)]
struct Found {
    #[serde(flatten)]
    appearances: Appearances,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    used_by: Vec<Link>,
}

impl Blame {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let here = Context::current_dir()?;
        let repository = Repository::find(&here)?;
        let records = records(ctx, &repository, self.all)?;
        let cache = repository.cache()?;
        let manifests = |oid: &Oid| cache.manifest(oid);
        if let Some(md5) = &self.content {
            let appearances = blame::of_content(&records, &Oid::parse(md5)?, &manifests)?;
            let used_by = used_by(ctx, &repository, &[md5.as_str()]).remove(md5).unwrap_or_default();
            let found = !appearances.places.is_empty();
            ctx.ui.show(&Found { appearances, used_by })?;
            return Ok(if found { Exit::Done } else { Exit::No });
        }
        let path = repository.relative(&here, &self.path.unwrap_or_default())?;
        let history = blame::of_path(&records, &path.to_string_lossy(), &manifests)?;
        let newest: Vec<&str> = history.versions.iter().rev().filter_map(|v| v.md5.as_deref()).take(ASKED).collect();
        let used_by = used_by(ctx, &repository, &newest);
        ctx.ui.show(&Shown { history, used_by })?;
        Ok(Exit::Done)
    }
}

/// What the files of each commit say, oldest first. A file that cannot be read is named and says nothing.
fn records(ctx: &Context, repository: &Repository, all: bool) -> Result<Vec<Record>, Error> {
    let tree = WorkTree::discover(repository.root())?;
    // Paths of Git begin at the top of the clone, ours where `.dvc` is.
    let below = repository.root().strip_prefix(tree.root()).ok().filter(|below| !below.as_os_str().is_empty());
    let prefix = below.map(|below| format!("{}/", below.display())).unwrap_or_default();
    let mut pipelines: BTreeMap<String, String> = BTreeMap::new();
    let mut records = Vec::new();
    for FileVersions { commit, files } in tree.file_history(&[".dvc", "dvc.lock", "dvc.yaml"], all)? {
        let by = Commit {
            id: commit.id.to_string(),
            author: commit.author.clone(),
            at: commit.authored_at,
            subject: commit.subject.clone(),
        };
        let mut files: Vec<(&str, String)> = files
            .iter()
            .filter_map(|(path, content)| {
                let text = content.as_ref().map(|c| String::from_utf8_lossy(c).into_owned()).unwrap_or_default();
                Some((path.strip_prefix(prefix.as_str())?, text))
            })
            .collect();
        // What a commit adds comes before what its stages did with it.
        files.sort_by_key(|(path, _)| name_of(path) == "dvc.lock");
        // A lock is read with the pipeline of its commit.
        for (path, text) in files.iter().filter(|(path, _)| name_of(path) == "dvc.yaml") {
            pipelines.insert(folder_of(path).to_owned(), text.clone());
        }
        for (path, text) in files.into_iter().filter(|(path, _)| name_of(path) != "dvc.yaml") {
            let claims = if name_of(path) == "dvc.lock" {
                let folder_of_lock = folder_of(path);
                let pipeline = pipelines.get(folder_of_lock).map_or("", String::as_str);
                let at_top = |path: &str| Path::new(&prefix).join(folder_of_lock).join(path);
                let read = |path: &str| text_at(&tree, &commit.id, &at_top(path));
                of_lock(path, &text, pipeline, &Sources { read: &read, arguments: Arguments::default() })
            } else {
                of_pointer(path, text)
            };
            match claims {
                Ok(claims) => records.push(Record { commit: by.clone(), file: path.to_owned(), claims }),
                Err(error) => ctx.ui.note(format!(
                    "warning: {path} of commit {} is passed over: {}",
                    commit.id.short(),
                    error.message
                )),
            }
        }
    }
    Ok(records)
}

fn name_of(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn of_pointer(path: &str, text: String) -> Result<Vec<Claim>, Error> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let tracked = PointerFile::parse(path, text)?.tracked()?;
    let claim = |out: towpath_data::TrackedOutput| {
        Some(Claim { path: out.path, content: out.content?, stage: None, role: Role::Wrote })
    };
    Ok(tracked.into_iter().filter_map(claim).collect())
}

/// Paths of a lock are relative to the working folder of the stage, which its pipeline names.
fn of_lock(path: &str, text: &str, pipeline: &str, sources: &Sources<'_>) -> Result<Vec<Claim>, Error> {
    let lock = Lock::read(path, text)?;
    let pipeline = dvc_yaml::read("dvc.yaml", pipeline, sources).ok();
    let mut claims = Vec::new();
    for (name, stage) in &lock.stages {
        let wdir = pipeline.as_ref().and_then(|p| p.stage(name)).map_or("", |stage| stage.wdir.as_str());
        let mut claim = |written: &str, content: &Content, role| {
            if let Some(path) = joined(&[folder_of(path), wdir, written]) {
                claims.push(Claim { path, content: content.clone(), stage: Some(name.clone()), role });
            }
        };
        for dep in &stage.deps {
            claim(&dep.path, &dep.content, Role::Read);
        }
        for out in &stage.outs {
            claim(&out.path, &out.content, Role::Wrote);
        }
    }
    Ok(claims)
}

/// `None` when the path leads out of the repository.
fn joined(parts: &[&str]) -> Option<String> {
    let mut whole: Vec<&str> = Vec::new();
    for part in parts.iter().flat_map(|part| part.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(whole.pop()?),
            part => whole.push(part),
        }
    }
    Some(whole.join("/"))
}

/// What runs and model versions of the server did with these contents. Nothing when the repository does
/// not push its data to it; a server that does not answer is a warning.
fn used_by(ctx: &Context, repository: &Repository, md5s: &[&str]) -> BTreeMap<String, Vec<Link>> {
    let config = repository.config();
    let on_server = |name: &String| config.remote(Some(name)).is_ok_and(|remote| ctx.is_on_server(&remote.url));
    let mut used = BTreeMap::new();
    if !config.remote_names().iter().any(on_server) {
        return used;
    }
    for md5 in md5s {
        let ask = async { Ok(ctx.client()?.get::<Trace>(&format!("/trace?of={md5}")).await?) };
        match wait(ask) {
            Ok(trace) => {
                let links = trace.links.into_iter().filter(|l| matches!(l.kind.as_str(), "run" | "model_version"));
                used.insert((*md5).to_owned(), links.collect());
            }
            // It has never seen this content.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => {
                ctx.ui.note(format!(
                    "warning: {} cannot say which runs and models used it: {}",
                    ctx.server, error.message
                ));
                break;
            }
        }
    }
    used
}

impl Human for Shown {
    fn human(&self) -> String {
        let within = self.history.within.as_ref().map(|folder| format!(", in {folder}")).unwrap_or_default();
        let mut text = format!("{}{within}\n\n", self.history.path);
        let used = |md5: &Option<String>| md5.as_ref().and_then(|md5| self.used_by.get(md5)).map(|l| names(l));
        let rows = self.history.versions.iter().rev().map(|version| {
            let Version { since, read_by, .. } = version;
            [
                since.at.to_string().get(..10).unwrap_or_default().to_owned(),
                short(&since.id).to_owned(),
                since.author.clone(),
                version.md5.clone().unwrap_or_else(|| "removed".to_owned()),
                size(version),
                writer(version),
                read_by.iter().filter_map(|reader| reader.stage.clone()).collect::<Vec<_>>().join(", "),
                used(&version.md5).unwrap_or_default(),
            ]
        });
        text.push_str(&ui::table(
            ["SINCE", "COMMIT", "AUTHOR", "MD5", "SIZE", "WRITTEN BY", "READ BY", "ON THE SERVER"],
            rows,
        ));
        text.push_str(&gaps(&self.history.missing));
        text
    }
}

impl Human for Found {
    fn human(&self) -> String {
        if self.appearances.places.is_empty() {
            return format!("{} appears in no commit.{}", self.appearances.md5, gaps(&self.appearances.missing));
        }
        let rows = self.appearances.places.iter().map(|place| {
            let Toucher { file, stage, commit } = &place.by;
            let role = if place.role == Role::Read { "read" } else { "wrote" };
            let by = stage.as_ref().map_or_else(|| file.clone(), |stage| format!("stage {stage}"));
            let date = commit.at.to_string().get(..10).unwrap_or_default().to_owned();
            [date, short(&commit.id).to_owned(), commit.author.clone(), place.path.clone(), format!("{by} {role} it")]
        });
        let mut text = ui::table(["SINCE", "COMMIT", "AUTHOR", "PATH", "BY"], rows);
        if !self.used_by.is_empty() {
            let _ = write!(text, "\n\nOn the server: {}", names(&self.used_by));
        }
        text.push_str(&gaps(&self.appearances.missing));
        text
    }
}

fn names(links: &[Link]) -> String {
    links.iter().map(|link| link.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn short(id: &str) -> &str {
    id.get(..10).unwrap_or(id)
}

fn size(version: &Version) -> String {
    match (version.size, version.nfiles) {
        (Some(size), Some(files)) => format!("{} in {}", ui::bytes(size), ui::count(files, "file")),
        (Some(size), None) => ui::bytes(size),
        (None, _) => String::new(),
    }
}

fn writer(version: &Version) -> String {
    match (&version.written_by, &version.md5) {
        (Some(stage), _) => format!("stage {stage}"),
        (None, Some(_)) => "towpath add".to_owned(),
        (None, None) => String::new(),
    }
}

fn gaps(missing: &[Missing]) -> String {
    let lines = missing.iter().map(|gap| {
        format!(
            "\nWhat was in the folder from commit {} on is not known: its manifest {} is not in the cache.",
            short(&gap.since.id),
            gap.manifest
        )
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_lock_are_joined_with_the_working_folder_of_the_stage() {
        let lock = "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    deps:\n    - path: ../a\n      hash: md5\n      md5: d41d8cd98f00b204e9800998ecf8427e\n      size: 0\n    outs:\n    - path: m\n      hash: md5\n      md5: d41d8cd98f00b204e9800998ecf8427e\n      size: 0\n";
        let pipeline = "stages:\n  train:\n    cmd: x\n    wdir: src\n    deps: [../a]\n    outs: [m]\n";
        let claims = of_lock("dvc.lock", lock, pipeline, &Sources::none()).unwrap();
        let shown: Vec<_> = claims.iter().map(|c| (c.path.as_str(), c.role)).collect();
        assert_eq!(shown, [("a", Role::Read), ("src/m", Role::Wrote)]);
        assert_eq!(joined(&["a", "../..", "b"]), None);
    }
}
