//! What of a stage is not as its `dvc.lock` records it, in the words of `dvc status`; and the entry
//! that would record it as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use towpath_core::Content;
use towpath_data::{OutputStatus, Repository, Workspace};
use towpath_plan::decide::{self, Observed};
use towpath_plan::lock::LockedStage;
use towpath_plan::params;
use towpath_plan::pipeline::{ParamsOf, Stage};

use crate::error::Error;
use crate::workspace::{read, shown};

/// What a stage is compared in.
pub struct StageChanges<'a> {
    pub repository: &'a Repository,
    pub workspace: &'a Workspace,
    /// Where the command runs: paths are shown from here.
    pub from: &'a std::path::Path,
}

impl StageChanges<'_> {
    /// The list below the stage in `dvc status --json`; empty when nothing changed. `outputs` are the
    /// differences of its outputs.
    pub fn of(
        &self,
        stage: &Stage,
        locked: Option<&LockedStage>,
        outputs: &[&OutputStatus],
    ) -> Result<Vec<Value>, Error> {
        let mut changes = Vec::new();
        if !stage.frozen {
            let mut deps = Map::new();
            for dep in &stage.deps {
                if let Some(change) =
                    self.dependency(&dep.path, locked.and_then(|locked| locked.dep(&dep.written)).map(|l| &l.content))?
                {
                    deps.insert(self.shown(&dep.path), json!(change));
                }
            }
            for file in &stage.params {
                if let Some(change) = self.params(file, locked)? {
                    deps.insert(self.shown(&file.file.path), change);
                }
            }
            if !deps.is_empty() {
                changes.push(json!({ "changed deps": deps }));
            }
        }
        if !outputs.is_empty() {
            let outs = outputs.iter().map(|o| (self.shown(&o.path), json!(o.change.to_string())));
            changes.push(json!({ "changed outs": outs.collect::<Map<_, _>>() }));
        }
        if stage.always_changed || stage.is_callback() {
            changes.push(json!("always changed"));
        }
        if locked.is_some_and(|locked| locked.cmd != stage.cmd) {
            changes.push(json!("changed command"));
        }
        Ok(changes)
    }

    fn shown(&self, path: &str) -> String {
        shown(self.repository.root(), path, self.from)
    }

    fn dependency(&self, path: &str, recorded: Option<&Content>) -> Result<Option<&'static str>, Error> {
        let hash = recorded.map(|content| content.hash).unwrap_or_default();
        Ok(match self.workspace.hash_as(path.as_ref(), hash)? {
            None => Some("deleted"),
            Some(found) => recorded.is_none_or(|content| content.md5 != found.content.md5).then_some("modified"),
        })
    }

    /// `"deleted"` or `"new"` for the file, or its parameters with what became of them.
    fn params(&self, file: &ParamsOf, locked: Option<&LockedStage>) -> Result<Option<Value>, Error> {
        let Some(text) = read(&self.repository.root().join(&file.file.path))? else {
            return Ok(Some(json!("deleted")));
        };
        let recorded = locked.and_then(|l| l.params.iter().find(|(name, _)| *name == file.file.written));
        let Some((_, recorded)) = recorded else { return Ok(Some(json!("new"))) };
        let all = if file.keys.is_none() { params::read(&file.file.path, &text, None)? } else { Vec::new() };
        let of_file = all.iter().map(|(key, _)| key).chain(recorded.iter().map(|(key, _)| key));
        let keys: Vec<&String> = match &file.keys {
            Some(keys) => keys.iter().collect(),
            None => of_file.collect(),
        };
        let mut changes = Map::new();
        for key in keys {
            let now = match &file.keys {
                None => all.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()),
                Some(_) => match params::read(&file.file.path, &text, Some(std::slice::from_ref(key))) {
                    Ok(values) => values.into_iter().next().map(|(_, value)| value),
                    Err(towpath_plan::Error::MissingParam { .. }) => None,
                    Err(error) => return Err(error.into()),
                },
            };
            let before = recorded.iter().find(|(name, _)| name == key).map(|(_, value)| value);
            let change = match (before, &now) {
                (_, None) => "deleted",
                (None, Some(_)) => "new",
                (Some(before), Some(now)) if before != now => "modified",
                _ => continue,
            };
            changes.insert(key.clone(), json!(change));
        }
        Ok((!changes.is_empty()).then_some(Value::Object(changes)))
    }

    /// The lock entry of the stage as everything is now.
    ///
    /// # Errors
    /// A dependency, parameter or output is missing.
    pub fn entry_now(&self, stage: &Stage) -> Result<LockedStage, Error> {
        let content = |path: &str| -> Result<Option<Content>, Error> {
            Ok(self.workspace.hash(path.as_ref())?.map(|found| found.content))
        };
        let mut observed = Observed { cached: BTreeSet::new(), params: BTreeMap::new(), ..Observed::default() };
        for dep in &stage.deps {
            observed.deps.insert(dep.path.clone(), content(&dep.path)?);
        }
        for out in &stage.outs {
            observed.outs.insert(out.at.path.clone(), content(&out.at.path)?);
        }
        for file in &stage.params {
            let text = read(&self.repository.root().join(&file.file.path))?.unwrap_or_default();
            observed.params.insert(file.file.path.clone(), params::read(&file.file.path, &text, file.keys.as_deref())?);
        }
        let missing = || {
            let all = observed.deps.iter().chain(&observed.outs).filter(|(_, content)| content.is_none());
            let names: Vec<&str> = all.map(|(path, _)| path.as_str()).collect();
            Error::not_found(format!("stage '{}' cannot be committed: {} missing", stage.name, names.join(", ")))
        };
        decide::result(stage, &observed).ok_or_else(missing)
    }
}
