//! What a pipeline reads that no stage makes: the left edge of its graph.

use std::collections::BTreeSet;

use towpath_api::runs::{Source, StageRun};
use towpath_pipeline::engine::journal::Planned;
use towpath_plan::pipeline::Pipeline;

/// Dependencies of the planned stages that are no output of a stage. Their content is known later: see
/// [`with_content`].
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

/// The sources with hash and size: data is hashed when it is decided whether the first stage that reads it
/// runs, so the stage knows.
pub(crate) fn with_content(mut sources: Vec<Source>, stages: &[StageRun]) -> Vec<Source> {
    for source in &mut sources {
        if let Some(read) = stages.iter().flat_map(|stage| &stage.inputs).find(|input| input.path == source.path) {
            source.hash.clone_from(&read.hash);
            source.size = read.size;
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::queued;
    use towpath_api::runs::Item;
    use towpath_core::Timestamp;
    use towpath_plan::frontend::dvc_yaml::Sources;

    const PIPELINE: &str = "stages:
  prepare: {cmd: python prepare.py, deps: [data/images, prepare.py], outs: [prepared]}
  train: {cmd: python train.py, deps: [prepared, train.py], outs: [model]}
";

    #[test]
    fn a_source_has_the_content_that_a_stage_read() {
        let pipeline = towpath_plan::frontend::dvc_yaml::read("dvc.yaml", PIPELINE, &Sources::none()).unwrap();
        let planned = |stage: &str| Planned { stage: stage.into(), needs: Vec::new() };
        let sources = sources(&pipeline, &[planned("prepare"), planned("train")]);
        let mut prepare = queued(pipeline.stage("prepare").unwrap(), &[], Timestamp(0));
        let hash = Some("0123456789abcdef0123456789abcdef.dir".to_owned());
        prepare.inputs = vec![Item { path: "data/images".into(), hash: hash.clone(), size: Some(7), files: Some(2) }];

        let known = with_content(sources, &[prepare]);

        let shown: Vec<_> = known.into_iter().map(|source| (source.path, source.hash, source.size)).collect();
        let unread = |path: &str| (path.to_owned(), None, None);
        assert_eq!(shown, [("data/images".to_owned(), hash, Some(7)), unread("prepare.py"), unread("train.py")]);
    }
}
