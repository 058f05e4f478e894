//! Tracked data that stages and checks read: which `.dvc` file holds it, getting it in place.

use std::path::Path;

use towpath_core::Content;
use towpath_data::{Cache, Repository, TrackedOutput, Workspace};
use towpath_plan::paths;
use towpath_plan::pipeline::Pipeline;

use crate::Error;

/// Everything that `.dvc` files of the repository track.
pub(super) struct TrackedData {
    outputs: Vec<TrackedOutput>,
}

impl TrackedData {
    pub(super) fn read(repository: &Repository) -> Result<Self, Error> {
        let outputs = towpath_data::verbs::tracked(repository, &[])?;
        Ok(Self { outputs: outputs.into_iter().filter(|o| o.cached).collect() })
    }

    /// True when a `.dvc` file tracks the path, something in it or a folder around it.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.outputs.iter().any(|o| paths::overlap(&o.path, path))
    }

    /// What a `.dvc` file records of exactly this path.
    pub(super) fn recorded(&self, path: &str) -> Option<Content> {
        self.outputs.iter().find(|output| output.path == path)?.content.clone()
    }

    /// Checks out of the cache what the given paths need, after `fetch` was asked for what is not in
    /// it. With `exact` the checkout becomes what the
    /// `.dvc` files say; without, what is there stays.
    pub(super) fn fetch(
        &self,
        needed: &[&str],
        exact: bool,
        cache: &Cache,
        workspace: &Workspace,
        fetch: &dyn Fn(&[TrackedOutput]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for output in &self.outputs {
            let wanted = needed.iter().any(|path| paths::overlap(&output.path, path));
            let in_place = !exact && workspace.root().join(&output.path).exists();
            let Some(content) = output.content.as_ref().filter(|_| wanted && !in_place) else { continue };
            if !cache.missing(content)?.is_empty() {
                fetch(std::slice::from_ref(output))?;
            }
            checkout(cache, workspace, content, output)?;
        }
        Ok(())
    }
}

fn checkout(cache: &Cache, workspace: &Workspace, content: &Content, output: &TrackedOutput) -> Result<(), Error> {
    cache.checkout(workspace, content, Path::new(&output.path)).map(drop).map_err(|error| match error {
        towpath_data::Error::NotInCache { oids, .. } => Error::MissingData {
            path: output.path.clone(),
            declared_by: output.declared_by.clone(),
            objects: oids.len(),
        },
        other => other.into(),
    })
}

/// The stage whose output is, holds or lies in `path`.
pub(super) fn maker_of<'p>(pipeline: &'p Pipeline, path: &str) -> Option<&'p str> {
    let makes = |s: &&towpath_plan::pipeline::Stage| s.outs.iter().any(|o| paths::overlap(&o.at.path, path));
    pipeline.stages.iter().find(makes).map(|s| s.name.as_str())
}
