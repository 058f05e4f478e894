//! Which outputs a command is about: what `dvc checkout TARGET...` and its siblings accept.
//!
//! A target is, in this order (dvc, `repo/stage.py`): a `.dvc` file, a `dvc.yaml` or
//! `dvc.yaml:stage`; with `recursive` a folder, for all that is declared below it; the name of a stage
//! of the `dvc.yaml` in the caller's folder (of a group, for all its stages); an output, or a path
//! inside one.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use walkdir::WalkDir;

use crate::{Error, Repository, Stage, TrackedOutput};

/// The targets of a command and how to understand them. The default is everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// As typed; none: everything.
    pub names: Vec<String>,
    /// The folder that the names are relative to: where the command runs.
    pub from: PathBuf,
    /// `-R`: a folder stands for the `.dvc` files and stages below it.
    pub recursive: bool,
    /// `-d`: also the stages that a stage reads outputs of.
    pub with_deps: bool,
    /// `--glob`: names hold `*`, `?`, `[...]` and `**`.
    pub glob: bool,
}

impl Targets {
    /// `names` relative to `from`, without options.
    pub fn named(from: &Path, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), from: from.to_owned(), ..Self::default() }
    }
}

/// A stage that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenStage<'s> {
    pub stage: &'s Stage,
    /// Of its outputs or inside them, relative to the root; empty: all of them.
    pub only: Vec<String>,
}

/// An output that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    pub output: TrackedOutput,
    /// Files and folders inside it, relative to it; empty: all of it.
    pub below: Vec<String>,
}

impl ChosenStage<'_> {
    /// The outputs that were asked for.
    pub fn selections(&self) -> Vec<Selection> {
        let mut selections = Vec::new();
        for output in &self.stage.outputs {
            let inside =
                |path: &String| path.strip_prefix(&output.path).map(|rest| rest.trim_start_matches('/').into());
            let within = |path: &&String| is_within(path, &output.path);
            let mut below: Vec<String> = self.only.iter().filter(within).filter_map(inside).collect();
            if below.is_empty() && !self.only.is_empty() {
                continue;
            }
            if below.iter().any(String::is_empty) {
                below.clear();
            }
            selections.push(Selection { output: output.clone(), below });
        }
        selections
    }
}

impl Selection {
    /// True for a path inside the output (relative to it) that was asked for.
    pub fn includes(&self, below: &str) -> bool {
        self.below.is_empty() || self.below.iter().any(|asked| is_within(below, asked))
    }
}

/// The outputs that the targets name, of the `.dvc` files and of `stages`; each once, in order.
///
/// # Errors
/// [`Error::NotTracked`] for a target that is nothing of the kind.
pub fn select(repository: &Repository, stages: &[Stage], targets: &Targets) -> Result<Vec<Selection>, Error> {
    let stages = repository.stages(stages)?;
    let chosen = choose(repository, &stages, targets)?;
    Ok(chosen.iter().flat_map(ChosenStage::selections).collect())
}

/// The stages that the targets name, of `stages` (see [`Repository::stages`]); each once, in order.
///
/// # Errors
/// As [`select`].
pub fn choose<'s>(
    repository: &Repository,
    stages: &'s [Stage],
    targets: &Targets,
) -> Result<Vec<ChosenStage<'s>>, Error> {
    let resolver = Resolver { repository, stages, targets };
    if targets.names.is_empty() {
        return Ok(stages.iter().map(|stage| ChosenStage { stage, only: Vec::new() }).collect());
    }
    let names = if targets.glob { resolver.expand()? } else { targets.names.clone() };
    // By number of the stage; an empty list is the whole stage.
    let mut chosen: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for name in &names {
        for (at, only) in resolver.resolve(name)? {
            match (chosen.get_mut(&at), only) {
                (None, only) => drop(chosen.insert(at, only.into_iter().collect())),
                (Some(known), Some(only)) if !known.is_empty() => known.push(only),
                (Some(known), _) => known.clear(),
            }
        }
    }
    Ok(chosen.into_iter().map(|(at, only)| ChosenStage { stage: &stages[at], only }).collect())
}

struct Resolver<'r> {
    repository: &'r Repository,
    stages: &'r [Stage],
    targets: &'r Targets,
}

impl Resolver<'_> {
    /// Numbers of stages, with the path if it is an output or inside one.
    fn resolve(&self, name: &str) -> Result<Vec<(usize, Option<String>)>, Error> {
        let path = self.below_root(name);
        let whole = |found: Vec<usize>| found.into_iter().map(|at| (at, None)).collect();
        if let Some((file, stage)) = address(name) {
            let file = self.below_root(file).unwrap_or_default();
            let found = self.find(|s| s.file == file && stage.is_none_or(|stage| s.is_called(stage)));
            if !found.is_empty() {
                return Ok(whole(self.with_deps(found)));
            }
        }
        if let Some(folder) = path.as_ref().filter(|_| self.targets.recursive)
            && self.repository.root().join(folder).is_dir()
        {
            return Ok(whole(self.find(|s| is_within(&s.file, folder))));
        }
        if let Some(own) = self.below_root("dvc.yaml") {
            let found = self.find(|s| s.file == own && s.is_called(name));
            if !found.is_empty() {
                return Ok(whole(self.with_deps(found)));
            }
        }
        let holder = path.as_ref().and_then(|path| {
            self.stages.iter().position(|s| s.outputs.iter().any(|output| is_within(path, &output.path)))
        });
        match holder {
            Some(at) => Ok(vec![(at, path)]),
            None => Err(Error::NotTracked { path: name.to_owned() }),
        }
    }

    fn find(&self, wanted: impl Fn(&Stage) -> bool) -> Vec<usize> {
        (0..self.stages.len()).filter(|&at| wanted(&self.stages[at])).collect()
    }

    /// With `-d`, also what the stages need, directly or not.
    fn with_deps(&self, mut found: Vec<usize>) -> Vec<usize> {
        if !self.targets.with_deps {
            return found;
        }
        let mut next = 0;
        while let Some(&at) = found.get(next) {
            for dep in &self.stages[at].deps {
                let makes = |output: &TrackedOutput| is_within(&output.path, dep) || is_within(dep, &output.path);
                let makers = self.find(|s| s.outputs.iter().any(makes));
                let new: Vec<usize> = makers.into_iter().filter(|maker| !found.contains(maker)).collect();
                found.extend(new);
            }
            next += 1;
        }
        found
    }

    /// The names that the patterns match: files and folders, tracked or holding something tracked,
    /// also those that are not here now.
    fn expand(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for pattern in &self.targets.names {
            let unusable = |problem: String| Error::UnusablePath { path: pattern.into(), problem };
            let below = self.below_root(pattern).ok_or_else(|| unusable("it is outside the repository".into()))?;
            let matcher = matcher(&below).map_err(|error| unusable(error.to_string()))?;
            let before = names.len();
            let known = self.stages.iter().flat_map(|stage| {
                stage.outputs.iter().map(|output| &output.path).chain(stage.name.is_none().then_some(&stage.file))
            });
            names.extend(known.filter(|path| matcher.is_match(path)).cloned());
            for output in self.stages.iter().flat_map(|stage| &stage.outputs) {
                names.extend(self.matching_inside(&matcher, &output.path));
            }
            if names.len() == before {
                return Err(Error::NotTracked { path: pattern.clone() });
            }
        }
        let root = self.repository.root();
        Ok(names.iter().map(|path| root.join(path).to_string_lossy().into_owned()).collect())
    }

    /// Files and folders inside a tracked folder, as far as they are here.
    fn matching_inside(&self, matcher: &GlobMatcher, output: &str) -> Vec<String> {
        let root = self.repository.root();
        let inside = WalkDir::new(root.join(output)).min_depth(1).into_iter().flatten();
        let below = inside.filter_map(|entry| Some(entry.path().strip_prefix(root).ok()?.to_str()?.to_owned()));
        below.filter(|path| matcher.is_match(path)).collect()
    }

    /// Relative to the root; `None` outside of the repository. Nothing is asked of the disk, so that
    /// what is not here can be named.
    fn below_root(&self, name: &str) -> Option<String> {
        below(self.repository.root(), &self.targets.from, name)
    }
}

/// `name`, relative to `from`, as seen from `root`: `/`-separated, `..` resolved.
fn below(root: &Path, from: &Path, name: &str) -> Option<String> {
    let from = if from.as_os_str().is_empty() { root } else { from };
    let mut path = PathBuf::new();
    for part in from.join(name).components() {
        match part {
            Component::ParentDir => drop(path.pop()),
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

/// The files and folders that a pattern matches from the folder `from` on, sorted: what `dvc add
/// --glob` accepts. Hidden ones only where the pattern spells their dot.
pub fn matching(from: &Path, pattern: &str) -> Result<Vec<PathBuf>, Error> {
    let unusable = |problem: String| Error::UnusablePath { path: pattern.into(), problem };
    let matcher = matcher(pattern.trim_start_matches("./")).map_err(|error| unusable(error.to_string()))?;
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().first() == Some(&b'.');
    let spells_dots = pattern.starts_with('.') || pattern.contains("/.");
    let walk = WalkDir::new(from).min_depth(1).sort_by_file_name().into_iter();
    let shown = walk.filter_entry(|entry| spells_dots || !is_hidden(entry.file_name()));
    let below = shown.flatten().filter_map(|entry| Some(entry.path().strip_prefix(from).ok()?.to_owned()));
    Ok(below.filter(|path| matcher.is_match(path)).collect())
}

/// As Python's `glob`: `*` stays within a folder.
fn matcher(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(pattern).literal_separator(true).build()?.compile_matcher())
}

/// `file:stage`, or a file of DVC; `None` for anything else.
fn address(name: &str) -> Option<(&str, Option<&str>)> {
    let (file, stage) = match name.rsplit_once(':') {
        Some((file, stage)) if !stage.contains(['/', '\\']) => (file, Some(stage)),
        _ => (name, None),
    };
    let file = if file.is_empty() && stage.is_some() { "dvc.yaml" } else { file };
    is_dvc_file(file).then_some((file, stage))
}

/// True for the name of a `dvc.yaml` or a `.dvc` file.
pub fn is_dvc_file(path: &str) -> bool {
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    name == "dvc.yaml" || (name.ends_with(".dvc") && name != ".dvc")
}

/// True when `path` is `folder` or inside it; everything is inside `""`.
pub fn is_within(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Stage {
    /// True for its name, and for that of the group (`foreach`, `matrix`) that it was generated from.
    fn is_called(&self, name: &str) -> bool {
        self.name
            .as_deref()
            .is_some_and(|own| own == name || own.split_once('@').is_some_and(|(group, _)| group == name))
    }

    /// As DVC addresses it in messages: the `.dvc` file, `train`, `sub/dvc.yaml:train`.
    pub fn addressing(&self) -> String {
        match &self.name {
            None => self.file.clone(),
            Some(name) if self.file == "dvc.yaml" => name.clone(),
            Some(name) => format!("{}:{name}", self.file),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn output(path: &str, declared_by: &str) -> TrackedOutput {
        let declared_by = declared_by.to_owned();
        TrackedOutput {
            path: path.to_owned(),
            written: path.to_owned(),
            content: None,
            cached: true,
            push: true,
            remote: None,
            role: crate::Role::Data,
            versions: None,
            import: None,
            declared_by,
        }
    }

    fn stage(file: &str, name: &str, deps: &[&str], outs: &[&str]) -> Stage {
        let outputs = outs.iter().map(|out| output(out, name)).collect();
        let deps = deps.iter().map(|dep| (*dep).to_owned()).collect();
        Stage { file: file.to_owned(), name: Some(name.to_owned()), deps, outputs }
    }

    /// What the targets select, as `path` or `path[below]`.
    fn selected(set: impl FnOnce(&mut Targets)) -> Result<Vec<String>, Error> {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::init(dir.path()).unwrap();
        fs::create_dir_all(repository.root().join("data/images")).unwrap();
        fs::create_dir_all(repository.root().join("sub")).unwrap();
        fs::write(repository.root().join("data/images/a.png"), "a").unwrap();
        for name in ["images", "labels.csv"] {
            fs::write(repository.root().join(format!("data/{name}.dvc")), format!("outs:\n- path: {name}\n")).unwrap();
        }
        let stages = [
            stage("dvc.yaml", "prepare", &["data/images"], &["clean"]),
            stage("dvc.yaml", "train@a", &["clean/a"], &["model-a"]),
            stage("dvc.yaml", "train@b", &["clean/b"], &["model-b"]),
            stage("sub/dvc.yaml", "report", &["model-a"], &["sub/report.md"]),
        ];
        let mut targets = Targets { from: repository.root().to_owned(), ..Targets::default() };
        set(&mut targets);
        targets.from = repository.root().join(&targets.from);
        let shown = |s: &Selection| match s.below.as_slice() {
            [] => s.output.path.clone(),
            below => format!("{}[{}]", s.output.path, below.join(",")),
        };
        Ok(select(&repository, &stages, &targets)?.iter().map(shown).collect())
    }

    fn named(names: &[&str]) -> Result<Vec<String>, Error> {
        selected(|targets| targets.names = names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_target_is_a_file_a_stage_a_group_or_a_path() {
        assert_eq!(named(&[]).unwrap().len(), 6);
        assert_eq!(named(&["data/images.dvc"]).unwrap(), ["data/images"]);
        assert_eq!(named(&["prepare"]).unwrap(), ["clean"]);
        assert_eq!(named(&["train"]).unwrap(), ["model-a", "model-b"]);
        assert_eq!(named(&["dvc.yaml:train@b"]).unwrap(), ["model-b"]);
        assert_eq!(named(&["sub/dvc.yaml:report"]).unwrap(), ["sub/report.md"]);
        assert_eq!(named(&["sub/dvc.yaml"]).unwrap(), ["sub/report.md"]);
        assert_eq!(named(&["./data/../data/labels.csv"]).unwrap(), ["data/labels.csv"]);
        let unknown = named(&["data"]).unwrap_err();
        assert!(matches!(unknown, Error::NotTracked { path } if path == "data"));
    }

    #[test]
    fn paths_inside_an_output_are_kept_until_the_whole_is_named() {
        assert_eq!(named(&["data/images/a.png", "data/images/b/"]).unwrap(), ["data/images[a.png,b]"]);
        assert_eq!(named(&["data/images/a.png", "data/images"]).unwrap(), ["data/images"]);
        assert_eq!(named(&["data/images.dvc", "data/images/a.png"]).unwrap(), ["data/images"]);
    }

    #[test]
    fn names_are_relative_to_where_the_command_runs() {
        let report = selected(|targets| (targets.names, targets.from) = (vec!["report".into()], "sub".into()));
        assert_eq!(report.unwrap(), ["sub/report.md"]);
        let above = selected(|targets| (targets.names, targets.from) = (vec!["../clean".into()], "sub".into()));
        assert_eq!(above.unwrap(), ["clean"]);
    }

    #[test]
    fn options_widen_the_selection() {
        let below = selected(|targets| (targets.names, targets.recursive) = (vec!["data".into()], true));
        assert_eq!(below.unwrap(), ["data/images", "data/labels.csv"]);
        let deps = selected(|targets| (targets.names, targets.with_deps) = (vec!["train@a".into()], true));
        assert_eq!(deps.unwrap(), ["data/images", "clean", "model-a"]);
        let pointers = selected(|targets| (targets.names, targets.glob) = (vec!["data/*.dvc".into()], true));
        assert_eq!(pointers.unwrap(), ["data/images", "data/labels.csv"]);
        let inside = selected(|targets| (targets.names, targets.glob) = (vec!["data/images/*.png".into()], true));
        assert_eq!(inside.unwrap(), ["data/images[a.png]"]);
        assert!(selected(|targets| (targets.names, targets.glob) = (vec!["none*".into()], true)).is_err());
    }
}
