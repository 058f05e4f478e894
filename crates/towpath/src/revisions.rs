//! The outputs that other commits record.

use std::collections::HashSet;
use std::path::Path;

use towpath_data::TrackedOutput;
use towpath_data::pointer::PointerFile;
use towpath_data::targets::is_dvc_file;
use towpath_git::{CommitId, WorkTree};
use towpath_plan::frontend::dvc_yaml::{Arguments, Sources};

use crate::error::Error;
use crate::workspace::{lock_file, stages_of, text_at};

/// Of all `.dvc` files and pipelines in these commits; a file that several commits share counts once.
pub fn outputs(tree: &WorkTree, root: &Path, commits: &[CommitId]) -> Result<Vec<TrackedOutput>, Error> {
    let root = root.strip_prefix(tree.root()).unwrap_or(Path::new(""));
    let mut seen = HashSet::new();
    let mut outputs = Vec::new();
    for commit in commits.iter().collect::<std::collections::BTreeSet<_>>() {
        let files = tree.files(commit)?;
        let blob = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.blob.clone());
        let text = |path: &str| -> Result<Option<String>, Error> {
            Ok(tree.file(commit, path)?.and_then(|bytes| String::from_utf8(bytes).ok()))
        };
        for file in &files {
            let Ok(below) = Path::new(&file.path).strip_prefix(root) else { continue };
            let Some(below) = below.to_str().filter(|path| is_dvc_file(path)) else { continue };
            if !below.ends_with(".dvc") {
                let lock = lock_file(&file.path);
                if !seen.insert((below.to_owned(), format!("{} {:?}", file.blob, blob(&lock)))) {
                    continue;
                }
                let Some(pipeline) = text(&file.path)? else { continue };
                let read = |path: &str| text_at(tree, commit, &root.join(path));
                // Arguments are part of commands only, never of outputs.
                let sources = Sources { read: &read, arguments: Arguments::default() };
                let stages = stages_of(below, &pipeline, &text(&lock)?.unwrap_or_default(), &sources)?;
                outputs.extend(stages.into_iter().flat_map(|stage| stage.outputs));
                continue;
            }
            if !seen.insert((below.to_owned(), file.blob.clone())) {
                continue;
            }
            let Some(text) = text(&file.path)? else { continue };
            outputs.extend(PointerFile::parse(below, text)?.tracked()?);
        }
    }
    Ok(outputs)
}
