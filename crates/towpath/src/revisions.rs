//! The outputs that other commits record.

use std::collections::HashSet;
use std::path::Path;

use towpath_data::TrackedOutput;
use towpath_data::pointer::PointerFile;
use towpath_git::{CommitId, WorkTree};
use towpath_plan::frontend::dvc_yaml::{Arguments, Sources};

use crate::error::Error;
use crate::workspace::{LOCK_FILE, PIPELINE_FILE, stages_of, text_at};

/// Of all `.dvc` files and pipelines in these commits; a file that several commits share counts once.
pub fn outputs(tree: &WorkTree, root: &Path, commits: &[CommitId]) -> Result<Vec<TrackedOutput>, Error> {
    let root = root.strip_prefix(tree.root()).unwrap_or(Path::new(""));
    let mut seen = HashSet::new();
    let mut outputs = Vec::new();
    for commit in commits.iter().collect::<std::collections::BTreeSet<_>>() {
        let files = tree.files(commit)?;
        let blob = |name: &str| {
            let path = root.join(name);
            files.iter().find(|file| Path::new(&file.path) == path).map(|file| file.blob.clone())
        };
        let text = |path: &str| -> Result<Option<String>, Error> {
            Ok(tree.file(commit, path)?.and_then(|bytes| String::from_utf8(bytes).ok()))
        };
        for file in &files {
            let Ok(below) = Path::new(&file.path).strip_prefix(root) else { continue };
            let Some(below) = below.to_str().filter(|path| path.ends_with(".dvc")) else { continue };
            if !seen.insert((below.to_owned(), file.blob.clone())) {
                continue;
            }
            let Some(text) = text(&file.path)? else { continue };
            outputs.extend(PointerFile::parse(below, text)?.tracked()?);
        }
        let pipeline = (blob(PIPELINE_FILE), blob(LOCK_FILE));
        let key = (PIPELINE_FILE.to_owned(), format!("{pipeline:?}"));
        if pipeline.0.is_none() || !seen.insert(key) {
            continue;
        }
        let at_root = |name: &str| root.join(name).to_string_lossy().into_owned();
        if let Some(pipeline) = text(&at_root(PIPELINE_FILE))? {
            let lock = text(&at_root(LOCK_FILE))?.unwrap_or_default();
            let read = |path: &str| text_at(tree, commit, &root.join(path));
            // Arguments are part of commands only, never of outputs.
            let sources = Sources { read: &read, arguments: Arguments::default() };
            outputs.extend(stages_of(&pipeline, &lock, &sources)?.into_iter().flat_map(|stage| stage.outputs));
        }
    }
    Ok(outputs)
}
