use super::Changed;
use super::add::{AddOptions, Added, Adding};
use crate::links::LinkType;
use crate::targets::ChosenStage;
use crate::{Error, Progress, Repository, TrackedOutput};

/// What a commit made of one output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub output: TrackedOutput,
    /// Of a `.dvc` file, which was written; an output of a stage is stored, and the caller writes the
    /// `dvc.lock`.
    pub added: Option<Added>,
}

/// Stores what is in the workspace now as the version that `.dvc` files record. Outputs that are not
/// there are left alone, and with `no_relink` the files in the workspace, too. The caller holds the
/// lock ([`Repository::lock`]).
pub fn commit(
    repository: &Repository,
    chosen: &[ChosenStage<'_>],
    no_relink: bool,
    progress: &dyn Progress,
) -> Result<Vec<Commit>, Error> {
    let outputs = chosen.iter().flat_map(ChosenStage::selections).map(|selection| selection.output.path);
    let _paths = repository.lock_to_write(outputs)?;
    let mut cache = repository.cache()?;
    if no_relink {
        cache = cache.with_links(vec![LinkType::Copy]);
    }
    let workspace = repository.workspace()?;
    let options = AddOptions { no_relink, ..AddOptions::default() };
    let adding = Adding { repository, cache: &cache, workspace: &workspace, options, progress };
    let mut committed = Vec::new();
    let mut changed = Changed::new(repository);
    for stage in chosen {
        for selection in stage.selections() {
            let output = selection.output;
            if selection.below.is_empty() && !repository.root().join(&output.path).exists() {
                continue;
            }
            if stage.stage.name.is_none() {
                let added = adding.update(&output, &selection.below)?;
                changed.file(&added.pointer);
                committed.push(Commit { output, added: Some(added) });
            } else {
                if output.cached {
                    let recorded = output.content.as_ref();
                    cache.add_path_watched(&workspace, output.path.as_ref(), recorded, progress)?;
                }
                committed.push(Commit { output, added: None });
            }
        }
    }
    workspace.save()?;
    changed.stage()?;
    Ok(committed)
}
