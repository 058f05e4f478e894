//! Three-way merges of DVC's files, for `git merge`.
//!
//! A `.dvc` file is merged key by key, its outputs by path; two versions of a tracked folder are
//! merged file by file through their manifests. `dvc.lock` is merged stage by stage. What both sides
//! changed differently is a conflict: it is named, and stands in the text between Git's markers.

mod driver;
mod lock;
mod manifest;
mod markers;
mod pointer;

use towpath_core::{Classify, Kind};
use towpath_yaml::{Step, Value, YamlError, edit, parse};

use crate::Error;

pub use driver::{Installed, driver, install};
pub use manifest::{PathConflict, merge_manifests};
pub use pointer::Folders;

/// The result of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// With conflict markers where there are conflicts.
    pub text: String,
    /// A sentence for each conflict; empty when the merge is clean.
    pub conflicts: Vec<String>,
}

impl Merged {
    fn clean(text: &str) -> Self {
        Self { text: text.to_owned(), conflicts: Vec::new() }
    }
}

/// What a merge is made of.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// Names the file in messages.
    pub file: &'a str,
    /// The text that both sides began with; empty when both made the file.
    pub base: &'a str,
    pub ours: &'a str,
    pub theirs: &'a str,
    /// Characters of a conflict marker, 7 unless Git says otherwise.
    pub marker_size: usize,
}

/// Merges a `.dvc` file or a `dvc.lock`; a file with another name is told apart by what is in it.
///
/// # Errors
/// A manifest cannot be read or written. A text that is no YAML is a conflict.
pub fn merge(sides: Sides<'_>, folders: &mut dyn Folders) -> Result<Merged, Error> {
    if sides.ours == sides.theirs || sides.theirs == sides.base {
        return Ok(Merged::clean(sides.ours));
    }
    if sides.ours == sides.base {
        return Ok(Merged::clean(sides.theirs));
    }
    let values = match Values::read(&sides) {
        Ok(values) => values,
        Err(problem) => {
            let sentence = format!("{}: it cannot be merged: {}", sides.file, problem.headline());
            return Ok(Merged { text: markers::around_all(&sides), conflicts: vec![sentence] });
        }
    };
    let draft = if values.is_lock(sides.file) { lock::merge(&values) } else { pointer::merge(&values, folders)? };
    match draft.apply(&sides) {
        Ok(merged) => Ok(merged),
        // For example an alias that stands for both sides of a change.
        Err(Error::Pointer(problem)) if problem.kind() == Kind::Invalid => {
            let sentence = format!("{}: it cannot be merged: {}", sides.file, problem.headline());
            Ok(Merged { text: markers::around_all(&sides), conflicts: vec![sentence] })
        }
        Err(error) => Err(error),
    }
}

/// The three texts as values.
#[derive(Debug)]
struct Values {
    base: Value,
    ours: Value,
    theirs: Value,
}

impl Values {
    fn read(sides: &Sides<'_>) -> Result<Self, YamlError> {
        let read = |side: &str, text: &str| {
            let document = parse(&format!("{} ({side})", sides.file), text)?;
            let file = document.field();
            if file.is_null() || file.is_map() { Ok(file.to_value()) } else { Err(file.expected("a mapping")) }
        };
        Ok(Self {
            base: read("base", sides.base)?,
            ours: read("ours", sides.ours)?,
            theirs: read("theirs", sides.theirs)?,
        })
    }

    fn is_lock(&self, file: &str) -> bool {
        let name = file.rsplit('/').next().unwrap_or(file);
        let has_stages = [&self.ours, &self.theirs].iter().any(|side| side.get("stages").is_some());
        name == "dvc.lock" || (has_stages && !name.ends_with(".dvc"))
    }
}

/// Whose version of something is the merged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Take {
    Ours,
    Theirs,
    /// Both changed it, each in another way.
    Neither,
}

/// The rule of every three-way merge: the side that changed it wins. `None` is "not there".
fn take<T: PartialEq + ?Sized>(base: Option<&T>, ours: Option<&T>, theirs: Option<&T>) -> Take {
    if ours == theirs || theirs == base {
        Take::Ours
    } else if ours == base {
        Take::Theirs
    } else {
        Take::Neither
    }
}

/// One step to a place in a file.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Key(String),
    /// The item of a list whose `path` this is.
    Item(String),
}

impl Place {
    fn key(name: &str) -> Self {
        Self::Key(name.to_owned())
    }
}

/// A value to set, or with `None` to remove.
#[derive(Clone, Debug, PartialEq)]
struct Edit {
    place: Vec<Place>,
    value: Option<Value>,
}

impl Edit {
    fn new(place: &[Place], value: Option<&Value>) -> Self {
        Self { place: place.to_vec(), value: value.cloned() }
    }

    /// The text after the change. Mappings and lists above the place are made.
    fn apply(&self, file: &str, text: &str) -> Result<String, YamlError> {
        let document = parse(file, text)?;
        let mut value = document.root().to_value();
        let mut steps = Vec::with_capacity(self.place.len());
        for (depth, place) in self.place.iter().enumerate() {
            let child = match place {
                Place::Key(key) => {
                    steps.push(Step::Key(key));
                    value.get(key).cloned()
                }
                Place::Item(path) => {
                    let items = if let Value::Seq(items) = &value { items.as_slice() } else { &[] };
                    let at = items.iter().position(|item| path_of(item) == Some(path));
                    steps.push(Step::Index(at.unwrap_or(items.len())));
                    at.map(|at| items[at].clone())
                }
            };
            match (child, self.place.get(depth + 1)) {
                (Some(child), _) => value = child,
                (None, None) => {}
                // Nothing to remove from.
                (None, Some(_)) if self.value.is_none() => return Ok(text.to_owned()),
                (None, Some(next)) => {
                    let empty = if let Place::Key(_) = next { Value::Map(Vec::new()) } else { Value::Seq(Vec::new()) };
                    let made = edit::set(file, text, &steps, &empty)?;
                    return self.apply(file, &made);
                }
            }
        }
        match &self.value {
            Some(value) => edit::set(file, text, &steps, value),
            None => edit::remove(file, text, &steps),
        }
    }
}

/// What both sides changed differently.
#[derive(Clone, Debug, PartialEq)]
struct Conflict {
    /// What was changed, and what to do.
    sentence: String,
    /// What would make our text theirs.
    theirs: Vec<Edit>,
}

/// A merge that was decided and not yet written: edits to our text, and conflicts.
#[derive(Clone, Debug, Default, PartialEq)]
struct Draft {
    edits: Vec<Edit>,
    conflicts: Vec<Conflict>,
    /// The file records an MD5 over itself (imports do), to be made again.
    checksum: bool,
}

impl Draft {
    fn apply(self, sides: &Sides<'_>) -> Result<Merged, Error> {
        let mut text = sides.ours.to_owned();
        for edit in &self.edits {
            text = edit.apply(sides.file, &text)?;
        }
        if self.checksum && self.conflicts.is_empty() {
            let md5 = crate::imports::checksum(&parse(sides.file, &text)?.root().to_value());
            text = edit::set(sides.file, &text, &[Step::Key("md5")], &Value::String(md5))?;
        }
        let mut alternatives = Vec::with_capacity(self.conflicts.len());
        for conflict in &self.conflicts {
            let mut theirs = text.clone();
            for edit in &conflict.theirs {
                theirs = edit.apply(sides.file, &theirs)?;
            }
            alternatives.push(theirs);
        }
        let text = markers::between(&text, &alternatives, sides);
        let named = |conflict: Conflict| format!("{}: {}", sides.file, conflict.sentence);
        Ok(Merged { text, conflicts: self.conflicts.into_iter().map(named).collect() })
    }
}

/// The `path` of an output or dependency.
fn path_of(item: &Value) -> Option<&str> {
    match item.get("path") {
        Some(Value::String(path)) => Some(path),
        _ => None,
    }
}

/// The keys of a mapping, none of another value.
fn keys(value: &Value) -> impl Iterator<Item = &str> {
    let entries = if let Value::Map(entries) = value { entries.as_slice() } else { &[] };
    entries.iter().map(|(key, _)| key.as_str())
}

/// All keys of the three mappings, ours first.
fn all_keys<'v>(base: Option<&'v Value>, ours: Option<&'v Value>, theirs: Option<&'v Value>) -> Vec<&'v str> {
    let mut all = Vec::new();
    for key in [ours, theirs, base].into_iter().flatten().flat_map(keys) {
        if !all.contains(&key) {
            all.push(key);
        }
    }
    all
}
