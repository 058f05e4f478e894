//! Stages that work on the items of an input one by one.
//!
//! The commands stay what they are: for each item they run in a view of the checkout in which the input has
//! only that item. What the items gave is put together to the stage's outputs, so that `dvc` sees a stage like
//! any other. The result of an item is recorded by what went into it, and found again until that changes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};
use towpath_core::{Digest, UndeclaredInput};
use towpath_data::manifest::{Entry, Manifest};
use towpath_data::{Oid, Workspace};
use towpath_plan::datums::{self, Item, Source};
use towpath_plan::decide::{self, Observed};
use towpath_plan::paths;
use towpath_plan::pipeline::{Datums, Stage};
use towpath_plan::run_cache;

use super::commands::{Place, Ran, denied};
use super::{StageRunner, create_folder};
use crate::Error;
use crate::engine::items::{ItemOutcome, ItemStatus, Items};
use crate::engine::journal::{Event, Variable};
use crate::engine::outcome::StageFailure;
use crate::executor::{Ending, Finished, Progress};
use crate::log::{self, Stream, Writer};

/// Larger lists are refused.
const LIST_LIMIT: u64 = 256 << 20;

/// The files that one item gave, with their sizes, by the output (as the stage writes it).
type Made = BTreeMap<String, Vec<(Entry, u64)>>;

/// What the runs of the items share.
struct Shared {
    log: Writer,
    sandbox: String,
    observed: usize,
    unobserved: Option<String>,
    undeclared: BTreeMap<String, UndeclaredInput>,
    failed: Vec<(String, StageFailure)>,
    ran: Vec<ItemOutcome>,
    /// How many have not begun.
    to_begin: usize,
    error: Option<Error>,
}

impl StageRunner<'_> {
    /// Runs the commands for each item that has no result yet, or for all of them `again`.
    pub(super) fn run_datums(
        &self,
        stage: &Stage,
        datums: &Datums,
        observed: &Observed,
        again: bool,
    ) -> Result<Ran, Error> {
        let started = Instant::now();
        let request = self.run.request;
        let items = match self.items(datums)? {
            Ok(items) => items,
            Err(problem) => return Ok(denied(problem)),
        };
        let Some(keys) = keys(stage, datums, observed, &items) else {
            return Ok(denied(format!("{} does not exist", datums.over.path)));
        };
        let mut results = Vec::new();
        for key in &keys {
            results.push(if again { None } else { self.recorded_datum(stage, key)? });
        }
        let names = items.iter().zip(&results).map(|(item, result)| (item.name.clone(), result.is_some())).collect();
        let waiting: Vec<usize> = (0..items.len()).filter(|at| results[*at].is_none()).collect();
        let given = match self.given(stage)? {
            Ok(given) => given,
            Err(problem) => return Ok(denied(problem)),
        };
        let path = request.log_of(&stage.name);
        let log_error = |source| Error::Log { path: path.clone(), source };
        let mut log = Writer::create(&path, request.log_limit, &[]).map_err(log_error)?;
        let note = format!("{} items in {}, {} of them to run", items.len(), datums.over.path, waiting.len());
        log.note(&note).map_err(log_error)?;

        let (total, kept) = (items.len() as u64, (items.len() - waiting.len()) as u64);
        self.run.record(Event::Items { stage: &stage.name, over: &datums.over.path, total, kept })?;
        let shared = Mutex::new(Shared {
            log,
            sandbox: String::new(),
            observed: 0,
            unobserved: None,
            undeclared: BTreeMap::new(),
            failed: Vec::new(),
            ran: Vec::new(),
            to_begin: waiting.len(),
            error: None,
        });
        let made: Vec<Mutex<Option<Made>>> = results.into_iter().map(Mutex::new).collect();
        let next = AtomicUsize::new(0);
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| {
            for _ in 0..datums.jobs.unwrap_or(cores).min(waiting.len()) {
                scope.spawn(|| {
                    while let Some(&at) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
                        {
                            let mut shared = lock(&shared);
                            if self.run.cancel.is_cancelled() || shared.error.is_some() {
                                return;
                            }
                            shared.to_begin -= 1;
                        }
                        match self.run_item(stage, datums, at, &items[at], &keys[at], &given, &shared) {
                            Ok(result) => *made[at].lock().unwrap_or_else(PoisonError::into_inner) = result,
                            Err(error) => drop(lock(&shared).error.get_or_insert(error)),
                        }
                    }
                });
            }
        });
        drop(fs::remove_dir_all(request.scratch.join(paths::file_name(&stage.name))));
        let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = shared.error {
            return Err(error);
        }
        let results: Vec<(String, Option<Made>)> = items
            .into_iter()
            .zip(made)
            .map(|(item, made)| (item.name, made.into_inner().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        let mut failed = shared.failed;
        failed.sort_by(|(a, _), (b, _)| a.cmp(b));
        let cancelled = self.run.cancel.is_cancelled();
        let failure = if failed.is_empty() && !cancelled {
            self.put_together(stage, &results)?
        } else {
            (!failed.is_empty()).then_some(StageFailure::Datums { failed, of: results.len() })
        };
        let log_lines = shared.log.finish().map_err(log_error)?;
        let finished = Finished {
            ending: if cancelled { Ending::Cancelled } else { Ending::Exited(0) },
            duration: started.elapsed(),
            log_lines,
            sandbox: shared.sandbox,
            denied: String::new(),
            observation: None,
        };
        let ran = Items::new(&datums.over.path, names, shared.ran);
        let observed = shared.unobserved.unwrap_or_else(|| format!("{} items", shared.observed));
        let undeclared = shared.undeclared.into_values().collect();
        Ok(Ran { finished, undeclared, observed, failure, items: Some(ran) })
    }

    /// The inner error, for people, fails the stage.
    fn items(&self, datums: &Datums) -> Result<Result<Vec<Item>, String>, Error> {
        let over = &datums.over.path;
        let Some(found) = self.run.workspace.hash(Path::new(over))? else {
            return Ok(Err(format!("{over} does not exist")));
        };
        if let Some(manifest) = found.manifest {
            let oids: Vec<String> = manifest.entries().iter().map(|entry| entry.oid.to_string()).collect();
            let files = manifest.entries().iter().zip(&oids).map(|(entry, oid)| (entry.relpath.as_str(), oid.as_str()));
            return Ok(datums::of_folder(files, &datums.glob).map_err(|problem| problem.to_string()));
        }
        if found.content.size > LIST_LIMIT {
            return Ok(Err(format!(
                "{over} has {} bytes: a list of items has at most {LIST_LIMIT}",
                found.content.size
            )));
        }
        let path = self.run.workspace.root().join(over);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(datums::of_list(over, &text)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Err(format!("{over} is not UTF-8"))),
            Err(source) => Err(Error::Io { action: "read", path, source }),
        }
    }

    /// `None` when there is none, it cannot be read, or the cache lost some of it.
    fn recorded_datum(&self, stage: &Stage, key: &Digest) -> Result<Option<Made>, Error> {
        let Some(made) = self.run.earlier_runs.datum(key)?.as_deref().and_then(read_record) else { return Ok(None) };
        if !stage.outs.iter().all(|out| made.contains_key(&out.at.written)) {
            return Ok(None);
        }
        for (entry, _) in made.values().flatten() {
            if !self.run.cache.has(&entry.oid)? {
                return Ok(None);
            }
        }
        Ok(Some(made))
    }

    /// What the item gave; `None` when it failed, or the run was cancelled.
    #[expect(clippy::too_many_arguments, reason = "what all items have in common, and the item")]
    fn run_item(
        &self,
        stage: &Stage,
        datums: &Datums,
        at: usize,
        item: &Item,
        key: &Digest,
        given: &[Variable],
        shared: &Mutex<Shared>,
    ) -> Result<Option<Made>, Error> {
        let request = self.run.request;
        let stage_name = paths::file_name(&stage.name);
        let folder = request.scratch.join(&stage_name).join(at.to_string());
        let (view, scratch) = (folder.join("tree"), folder.join("tmp"));
        drop(fs::remove_dir_all(&folder));
        create_folder(&scratch)?;
        let apart: Vec<&str> = stage.outs.iter().map(|out| out.at.path.as_str()).collect();
        View { root: self.run.workspace.root(), over: &datums.over.path, apart: &apart, wdir: &stage.wdir }
            .make(&view, &item.source)
            .map_err(|source| Error::Io { action: "make a view for an item in", path: view.clone(), source })?;
        let log = request.logs.join(format!("{stage_name}.datum-{at}.log"));
        let variables = vec![("TOWPATH_DATUM".to_owned(), item.name.replace('\0', ""))];
        let place = Place { root: &view, scratch: &scratch, log: log.clone(), variables, key: None };
        let mut unrecorded = None;
        let mut progress = |progress| {
            if let Progress::Started(id) = progress
                && let Err(error) = self.run.record(Event::Process { stage: &stage.name, id })
            {
                unrecorded.get_or_insert(error);
            }
        };
        let ran = self.run_at(stage, &place, given, &mut progress)?;
        if let Some(error) = unrecorded {
            return Err(error);
        }
        let failure = ran.failure.clone().or_else(|| self.refused(stage, &ran));
        let result = match failure {
            _ if ran.finished.ending == Ending::Cancelled => None,
            Some(failure) => Some(Err(failure)),
            None => Some(self.keep_item(stage, &view, item, key)?),
        };
        self.tell(stage, item, &log, ran, result.as_ref().and_then(|result| result.as_ref().err()), shared)?;
        drop(fs::remove_dir_all(&folder));
        Ok(result.and_then(Result::ok))
    }

    /// Into the cache, then into the records.
    fn keep_item(
        &self,
        stage: &Stage,
        view: &Path,
        item: &Item,
        key: &Digest,
    ) -> Result<Result<Made, StageFailure>, Error> {
        let workspace = Workspace::open(view, None)?;
        let mut made = Made::new();
        for out in &stage.outs {
            let path = &out.at.path;
            match fs::metadata(view.join(path)) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Ok(Err(StageFailure::NotAFolder(path.clone()))),
                Err(_) => return Ok(Err(StageFailure::MissingOutputs(vec![path.clone()]))),
            }
            made.insert(out.at.written.clone(), self.run.cache.add_files(&workspace, Path::new(path))?);
        }
        if self.run.request.recorded {
            self.run.earlier_runs.save_datum(key, &record(item, &made))?;
        }
        Ok(Ok(made))
    }

    /// Into the stage's log, which gets the item's.
    fn tell(
        &self,
        stage: &Stage,
        item: &Item,
        log: &Path,
        ran: Ran,
        failure: Option<&StageFailure>,
        shared: &Mutex<Shared>,
    ) -> Result<(), Error> {
        let mut shared = lock(shared);
        let log_error = |source| Error::Log { path: log.to_owned(), source };
        let how = match failure {
            Some(failure) => failure.to_string(),
            None if ran.finished.ending == Ending::Cancelled => "was cancelled".to_owned(),
            None => format!("is done after {:.2} s", ran.finished.duration.as_secs_f64()),
        };
        shared.log.note(&format!("item {} {how}", item.name)).map_err(log_error)?;
        if ran.finished.log_lines > 0 {
            let mut lines = log::Reader::open(log).map_err(log_error)?;
            loop {
                let some = lines.read(1000).map_err(log_error)?;
                if some.is_empty() {
                    break;
                }
                for line in some.iter().filter(|line| line.stream != Stream::Towpath) {
                    shared.log.take(line.stream, format!("{}\n", line.text).as_bytes()).map_err(log_error)?;
                }
            }
        }
        drop(fs::remove_file(log));
        shared.sandbox = ran.finished.sandbox;
        if ran.observed.starts_with("none: ") {
            shared.unobserved = Some(ran.observed);
        } else {
            shared.observed += 1;
        }
        shared.undeclared.extend(ran.undeclared.into_iter().map(|input| (input.to_string(), input)));
        let status = match failure {
            Some(failure) => ItemStatus::Failed(failure.to_string()),
            None if ran.finished.ending == Ending::Cancelled => ItemStatus::NotRun,
            None => ItemStatus::Done,
        };
        let duration = ran.finished.duration;
        let outcome = ItemOutcome { name: item.name.clone(), status, attempts: 1, duration };
        let last = shared.to_begin == 0;
        self.run.record(Event::Item { stage: &stage.name, outcome: &outcome, last })?;
        shared.ran.push(outcome);
        if let Some(failure) = failure {
            shared.failed.push((item.name.clone(), failure.clone()));
        }
        self.run.record(Event::Logged { stage: &stage.name, lines: shared.log.lines() })
    }

    /// The outputs of all items as the outputs of the stage, in the checkout.
    fn put_together(&self, stage: &Stage, results: &[(String, Option<Made>)]) -> Result<Option<StageFailure>, Error> {
        let _lock = self.lock_repository()?;
        for out in &stage.outs {
            let mut files: BTreeMap<&str, (&Oid, u64, &str)> = BTreeMap::new();
            for (name, made) in results {
                let of_item = made.as_ref().and_then(|made| made.get(&out.at.written)).into_iter().flatten();
                for (entry, size) in of_item {
                    let earlier = files.insert(&entry.relpath, (&entry.oid, *size, name));
                    if let Some((_, _, other)) = earlier.filter(|(oid, _, _)| *oid != &entry.oid) {
                        return Ok(Some(StageFailure::DatumsClash {
                            path: format!("{}/{}", out.at.path, entry.relpath),
                            items: [other.to_owned(), name.clone()],
                        }));
                    }
                }
            }
            let size = files.values().map(|(_, size, _)| size).sum();
            let entry = |(relpath, (oid, _, _)): (&&str, &(&Oid, u64, &str))| Entry {
                relpath: (*relpath).to_owned(),
                oid: (*oid).clone(),
            };
            let manifest = Manifest::new(files.iter().map(entry).collect());
            self.run.cache.add_manifest(&manifest)?;
            self.run.cache.checkout(&self.run.workspace, &manifest.content(size), Path::new(&out.at.path))?;
        }
        Ok(None)
    }
}

/// What each item's result depends on: all that the stage's does, with the item in the place of the whole
/// input.
fn keys(stage: &Stage, datums: &Datums, observed: &Observed, items: &[Item]) -> Option<Vec<Digest>> {
    let mut inputs = decide::inputs(stage, observed)?;
    inputs.deps.retain(|dep| dep.path != datums.over.written);
    let environment = observed.environment.as_deref().unwrap_or_default();
    let stage = json!([run_cache::key(&inputs), environment, stage.wdir, datums.over.path]);
    let key = |item: &Item| Digest::of(json!([stage, item.name, item.content.as_str()]).to_string().as_bytes());
    Some(items.iter().map(key).collect())
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record(item: &Item, made: &Made) -> String {
    let files = |files: &Vec<(Entry, u64)>| {
        files.iter().map(|(entry, size)| json!([entry.relpath, entry.oid.to_string(), size])).collect::<Value>()
    };
    let outs: serde_json::Map<String, Value> =
        made.iter().map(|(out, entries)| (out.clone(), files(entries))).collect();
    json!({"item": item.name, "outs": outs}).to_string()
}

fn read_record(text: &str) -> Option<Made> {
    let record: Value = serde_json::from_str(text).ok()?;
    let file = |file: &Value| {
        let oid = Oid::parse(file.get(1)?.as_str()?).ok()?;
        Some((Entry { relpath: file.get(0)?.as_str()?.to_owned(), oid }, file.get(2)?.as_u64()?))
    };
    let files = |files: &Value| files.as_array()?.iter().map(file).collect::<Option<Vec<_>>>();
    record.get("outs")?.as_object()?.iter().map(|(out, entries)| Some((out.clone(), files(entries)?))).collect()
}

/// The checkout as the commands of one item see it: links to everything, but for the input, which has only the
/// item, and the outputs, which are not there.
struct View<'a> {
    root: &'a Path,
    over: &'a str,
    apart: &'a [&'a str],
    wdir: &'a str,
}

impl View<'_> {
    fn make(&self, view: &Path, item: &Source) -> io::Result<()> {
        fs::create_dir_all(view)?;
        self.mirror("", view)?;
        let over = view.join(self.over);
        match item {
            Source::Files(files) => {
                fs::create_dir_all(&over)?;
                for file in files {
                    let (from, to) = (self.root.join(self.over).join(file), over.join(file));
                    fs::create_dir_all(to.parent().unwrap_or(&over))?;
                    // Programs that look for regular files pass over symbolic links.
                    if fs::hard_link(&from, &to).is_err() {
                        fs::copy(&from, &to)?;
                    }
                }
            }
            Source::List(text) => {
                fs::create_dir_all(over.parent().unwrap_or(view))?;
                fs::write(&over, text)?;
            }
        }
        for out in self.apart {
            let out = view.join(out);
            fs::create_dir_all(out.parent().unwrap_or(view))?;
        }
        Ok(())
    }

    fn mirror(&self, folder: &str, to: &Path) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(folder))? {
            let name = entry?.file_name();
            // What is not UTF-8 cannot be named by a stage.
            let path =
                name.to_str().map(|name| if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") });
            let (from, to) = (self.root.join(folder).join(&name), to.join(&name));
            match path {
                Some(path) if path == self.over || self.apart.contains(&path.as_str()) => {}
                Some(path) if self.opens(&path) && from.is_dir() => {
                    fs::create_dir(&to)?;
                    self.mirror(&path, &to)?;
                }
                _ => symlink(&from, &to)?,
            }
        }
        Ok(())
    }

    /// A folder that has to be a real one, because something in it differs, or the commands run in it.
    fn opens(&self, folder: &str) -> bool {
        paths::is_within(self.over, folder)
            || paths::is_within(self.wdir, folder)
            || self.apart.iter().any(|out| paths::is_within(out, folder))
    }
}
