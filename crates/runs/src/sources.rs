//! What a pipeline reads that no stage makes: the left edge of its graph.

use std::collections::BTreeSet;

use towpath_api::runs::Source;
use towpath_pipeline::engine::journal::Planned;
use towpath_plan::pipeline::Pipeline;

/// Dependencies of the planned stages that are no output of a stage; hashes come with the stages.
pub(crate) fn sources(pipeline: &Pipeline, order: &[Planned]) -> Vec<Source> {
    let made: BTreeSet<&str> = pipeline.stages.iter().flat_map(|s| &s.outs).map(|out| out.at.path.as_str()).collect();
    let inside = |path: &str| made.iter().any(|out| path == *out || path.starts_with(&format!("{out}/")));
    let read: BTreeSet<&str> = order
        .iter()
        .filter_map(|planned| pipeline.stage(&planned.stage))
        .flat_map(|stage| &stage.deps)
        .map(|dep| dep.path.as_str())
        .filter(|path| !inside(path))
        .collect();
    read.into_iter().map(|path| Source { path: path.to_owned(), hash: None, size: None }).collect()
}
