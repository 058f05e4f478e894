//! Whether a stage runs or is reused, and why.

use std::collections::{BTreeMap, BTreeSet};

use towpath_core::{Content, HashName};
use towpath_yaml::Value;

use crate::lock::{Locked, LockedStage};
use crate::params::ParamValues;
use crate::pipeline::{RepoPath, Stage};

/// What is there now. Paths are relative to the root of the repository; `None` means missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// Of every dependency of the stage.
    pub deps: BTreeMap<String, Option<Content>>,
    /// Of every parameter file of the stage: the values of the keys it asks for.
    pub params: BTreeMap<String, ParamValues>,
    /// Of every output, in the checkout.
    pub outs: BTreeMap<String, Option<Content>>,
    /// Hash of the environment the stage would run in.
    pub environment: Option<String>,
    /// Hash of the environment that made the locked outputs, where known.
    pub locked_environment: Option<String>,
    /// MD5s of locked or run-cached outputs whose content is in the cache, folders with all files.
    pub cached: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub action: Action,
    /// One sentence without a full stop.
    pub why: String,
    /// What is not as it was; empty for a stage whose inputs are as they were.
    pub changes: Vec<Change>,
    /// What did not change, as people name it: `train.py`, `params: seed`.
    pub unchanged: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Its commands run.
    Run,
    /// Everything is in place.
    Reuse,
    /// These outputs are checked out of the cache.
    Restore {
        outs: Vec<(RepoPath, Content)>,
        /// From an earlier run with the same inputs; the lock entry is then this one.
        from_run_cache: Option<LockedStage>,
    },
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: ChangeKind,
    /// Path, or `params.yaml:model.hidden`.
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The stage has no lock entry.
    New,
    Command,
    Dependency,
    Param,
    Environment,
    Output,
}

impl ChangeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Command => "command",
            Self::Dependency => "dependency",
            Self::Param => "param",
            Self::Environment => "environment",
            Self::Output => "output",
        }
    }
}

/// Decides about one stage. `run_cache_hit` is the newest entry of the run cache under the key of
/// [`inputs`]; it counts when all of its outputs are cached. An environment that is not recorded
/// (the lock came from a machine without Towpath) is no change.
pub fn decide(
    stage: &Stage,
    locked: Option<&LockedStage>,
    observed: &Observed,
    run_cache_hit: Option<&LockedStage>,
    force: bool,
) -> Decision {
    let mut comparison = Comparison::default();
    match locked {
        Some(locked) => comparison.inputs(stage, locked, observed),
        None => comparison.change(ChangeKind::New, &stage.name, None, None),
    }
    let Comparison { mut changes, unchanged } = comparison;
    let decision = |action, why: String, changes, unchanged| Decision { action, why, changes, unchanged };

    if force {
        return decision(Action::Run, "it was asked to run whatever changed".into(), changes, unchanged);
    }
    if stage.always_changed && !stage.frozen {
        return decision(Action::Run, "it is declared always_changed".into(), changes, unchanged);
    }
    if stage.is_callback() && !stage.frozen {
        return decision(
            Action::Run,
            "it has neither dependencies nor outputs, so it runs every time".into(),
            changes,
            unchanged,
        );
    }

    if let Some(locked) = locked.filter(|_| changes.is_empty() || stage.frozen) {
        let differing = differing_outputs(stage, locked, observed);
        let unchanged_why = if stage.frozen { "it is frozen" } else { "nothing it depends on changed" };
        if differing.is_empty() {
            return decision(Action::Reuse, unchanged_why.into(), changes, unchanged);
        }
        let names = listed(differing.iter().map(|(at, ..)| at.path.as_str()));
        let wanted: Option<Vec<(RepoPath, Content)>> = differing
            .iter()
            .map(|(at, old, _)| old.filter(|c| observed.cached.contains(&c.md5)).map(|c| ((*at).clone(), c.clone())))
            .collect();
        if let Some(outs) = wanted {
            let why = format!("{unchanged_why}; {names} restored from the cache");
            return decision(Action::Restore { outs, from_run_cache: None }, why, changes, unchanged);
        }
        let known = differing.iter().map(|(at, old, new)| Change {
            kind: ChangeKind::Output,
            name: at.path.clone(),
            old: old.map(|c| c.md5.clone()),
            new: new.map(|c| c.md5.clone()),
        });
        changes.extend(known);
    }

    let environment_changed = changes.iter().any(|c| c.kind == ChangeKind::Environment);
    if let Some(hit) = run_cache_hit.filter(|_| !environment_changed)
        && let Some(outs) = cached_outputs(stage, hit, observed)
    {
        let why = format!("{}, but an earlier run had exactly these inputs", because(&changes));
        return decision(Action::Restore { outs, from_run_cache: Some(hit.clone()) }, why, changes, unchanged);
    }
    let why = because(&changes);
    decision(Action::Run, why, changes, unchanged)
}

/// What the stage would be run with, as a lock entry (outputs are those of `outs`): its
/// [`run_cache::key`](crate::run_cache::key) finds earlier runs. Nothing when a dependency is
/// missing.
pub fn inputs(stage: &Stage, observed: &Observed) -> Option<LockedStage> {
    let content_of = |at: &RepoPath| observed.deps.get(&at.path).cloned().flatten();
    let deps = stage.deps.iter().map(|d| Some(Locked::new(&d.written, content_of(d)?))).collect::<Option<Vec<_>>>()?;
    let no_content = Content { md5: String::new(), hash: HashName::Md5, size: 0, nfiles: None, isexec: false };
    Some(LockedStage {
        cmd: stage.cmd.clone(),
        deps,
        params: stage
            .params
            .iter()
            .map(|p| (p.file.written.clone(), observed.params.get(&p.file.path).cloned().unwrap_or_default()))
            .collect(),
        outs: stage.outs.iter().map(|o| Locked::new(&o.at.written, no_content.clone())).collect(),
    })
}

/// The lock entry after a run: [`inputs`] with the outputs that are there now. Nothing when a
/// dependency or an output is missing.
pub fn result(stage: &Stage, observed: &Observed) -> Option<LockedStage> {
    let mut entry = inputs(stage, observed)?;
    for (out, locked) in stage.outs.iter().zip(&mut entry.outs) {
        locked.content = observed.outs.get(&out.at.path).cloned().flatten()?;
    }
    Some(entry)
}

#[derive(Default)]
struct Comparison {
    changes: Vec<Change>,
    unchanged: Vec<String>,
}

impl Comparison {
    fn change(&mut self, kind: ChangeKind, name: &str, old: Option<String>, new: Option<String>) {
        self.changes.push(Change { kind, name: name.to_owned(), old, new });
    }

    fn inputs(&mut self, stage: &Stage, locked: &LockedStage, observed: &Observed) {
        if stage.cmd == locked.cmd {
            self.unchanged.push("command".into());
        } else {
            self.change(ChangeKind::Command, "command", Some(command_text(&locked.cmd)), Some(stage.command()));
        }
        self.deps(stage, locked, observed);
        self.params(stage, locked, observed);
        match (&observed.locked_environment, &observed.environment) {
            (Some(old), Some(new)) if old != new => {
                self.change(ChangeKind::Environment, "environment", Some(old.clone()), Some(new.clone()));
            }
            (Some(_), Some(_)) => self.unchanged.push("environment".into()),
            _ => {}
        }
        for out in &stage.outs {
            if locked.out(&out.at.written).is_none() {
                self.change(ChangeKind::Output, &out.at.path, None, Some("declared".into()));
            }
        }
        for out in &locked.outs {
            if !stage.outs.iter().any(|o| o.at.written == out.path) {
                self.change(ChangeKind::Output, &out.path, Some("declared".into()), None);
            }
        }
    }

    fn deps(&mut self, stage: &Stage, locked: &LockedStage, observed: &Observed) {
        for dep in &stage.deps {
            let old = locked.dep(&dep.written).map(|d| d.content.md5.clone());
            let new = observed.deps.get(&dep.path).cloned().flatten().map(|c| c.md5);
            if old.is_some() && old == new {
                self.unchanged.push(dep.path.clone());
            } else {
                self.change(ChangeKind::Dependency, &dep.path, old, new);
            }
        }
        for dep in &locked.deps {
            if !stage.deps.iter().any(|d| d.written == dep.path) {
                self.change(ChangeKind::Dependency, &dep.path, Some(dep.content.md5.clone()), None);
            }
        }
    }

    fn params(&mut self, stage: &Stage, locked: &LockedStage, observed: &Observed) {
        let mut current: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
        for params in &stage.params {
            for (key, value) in observed.params.get(&params.file.path).into_iter().flatten() {
                current.insert((&params.file.written, key), value);
            }
        }
        for (&(file, key), &new) in &current {
            match locked.param(file, key) {
                // As texts: equal also when the order of keys differs, or both are `.nan`.
                Some(old) if old.to_python_json() == new.to_python_json() => {
                    self.unchanged.push(format!("params: {key}"));
                }
                old => self.change(ChangeKind::Param, &format!("{file}:{key}"), old.map(shown), Some(shown(new))),
            }
        }
        for (file, values) in &locked.params {
            for (key, old) in values {
                if !current.contains_key(&(file.as_str(), key.as_str())) {
                    self.change(ChangeKind::Param, &format!("{file}:{key}"), Some(shown(old)), None);
                }
            }
        }
    }
}

/// Outputs of the checkout that are not as locked: (output, locked content, content now).
fn differing_outputs<'a>(
    stage: &'a Stage,
    locked: &'a LockedStage,
    observed: &'a Observed,
) -> Vec<(&'a RepoPath, Option<&'a Content>, Option<&'a Content>)> {
    let compared = stage.outs.iter().map(|out| {
        let old = locked.out(&out.at.written).map(|l| &l.content);
        (&out.at, old, observed.outs.get(&out.at.path).and_then(Option::as_ref))
    });
    compared.filter(|(_, old, new)| old.is_none() || old.map(|c| &c.md5) != new.map(|c| &c.md5)).collect()
}

/// The outputs of a run-cache entry, when each is declared and cached.
fn cached_outputs(stage: &Stage, hit: &LockedStage, observed: &Observed) -> Option<Vec<(RepoPath, Content)>> {
    if stage.frozen {
        return None;
    }
    let content = |at: &RepoPath| hit.out(&at.written).map(|l| &l.content).filter(|c| observed.cached.contains(&c.md5));
    stage.outs.iter().map(|o| content(&o.at).map(|c| (o.at.clone(), c.clone()))).collect()
}

/// The reason in words: the first kinds of change, each with its names.
fn because(changes: &[Change]) -> String {
    let of = |kind: ChangeKind| changes.iter().filter(move |c| c.kind == kind);
    if of(ChangeKind::New).next().is_some() {
        return "it has not run before".into();
    }
    let mut parts = Vec::new();
    if of(ChangeKind::Command).next().is_some() {
        parts.push("its command changed".to_owned());
    }
    if of(ChangeKind::Dependency).next().is_some() {
        parts.push(format!("{} changed", listed(of(ChangeKind::Dependency).map(|c| c.name.as_str()))));
    }
    match of(ChangeKind::Param).collect::<Vec<_>>().as_slice() {
        [] => {}
        [Change { name, old: Some(old), new: Some(new), .. }] => {
            parts.push(format!("{name} changed from {old} to {new}"));
        }
        many => parts.push(format!("{} changed", listed(many.iter().map(|c| c.name.as_str())))),
    }
    if of(ChangeKind::Environment).next().is_some() {
        parts.push("its environment changed".into());
    }
    if of(ChangeKind::Output).next().is_some() {
        let names = listed(of(ChangeKind::Output).map(|c| c.name.as_str()));
        parts.push(format!("{names} not as recorded and not in the cache"));
    }
    parts.join(", ")
}

/// `a`, `a and b`, `a, b and 3 more`.
fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one} and {two}"),
        [one, two, rest @ ..] => format!("{one}, {two} and {} more", rest.len()),
    }
}

fn command_text(cmd: &Value) -> String {
    match cmd {
        Value::String(text) => text.clone(),
        Value::Seq(lines) => lines.iter().map(command_text).collect::<Vec<_>>().join("\n"),
        other => other.to_python_json(),
    }
}

/// A parameter value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) | Value::Timestamp(text) => text.clone(),
        other => other.to_python_json(),
    }
}

#[cfg(test)]
mod tests;
