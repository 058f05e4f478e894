//! `datum: {over, glob, jobs}` in the `meta` of a stage.

use towpath_yaml::{Field, YamlError};

use super::{repo_path, text};
use crate::datums;
use crate::pipeline::{Datums, OutputKind, Stage};

/// Everything else of the stage has been read.
pub(super) fn read(datum: Field<'_>, stage: &Stage) -> Result<Datums, YamlError> {
    let mut fields = datum.fields()?;
    let over = fields.required("over")?;
    let glob = fields.optional("glob");
    let jobs = fields.optional("jobs");
    fields.finish()?;

    let at = repo_path(over, &stage.wdir)?;
    if !stage.deps.iter().any(|dep| dep.path == at.path) {
        return Err(over.error(format!("'{}' is not among the stage's deps", at.written)).help("add it to 'deps'"));
    }
    if stage.outs.is_empty() {
        return Err(datum.error("a stage with datums needs an output"));
    }
    if let Some(out) = stage.outs.iter().find(|out| !out.cache || out.kind == OutputKind::Metric) {
        let help = "let a stage after this one make metrics, and files that Git tracks, out of the folder";
        let message = format!("'{}' cannot be an output of a stage with datums: cached folders can", out.at.written);
        return Err(datum.error(message).help(help));
    }
    let glob = match glob {
        None => "*".to_owned(),
        Some(field) => {
            let pattern = text(field)?;
            datums::matcher(&pattern).map_err(|problem| field.error(format!("not a pattern: {problem}")))?;
            pattern
        }
    };
    let jobs = match jobs.map(|field| (field, field.as_u64())) {
        None => None,
        Some((_, Ok(jobs @ 1..=1024))) => Some(jobs as usize),
        Some((field, _)) => return Err(field.expected("how many run at a time (1 to 1024)")),
    };
    Ok(Datums { over: at, glob, jobs })
}

#[cfg(test)]
mod tests {
    use crate::frontend::dvc_yaml::{Sources, read};

    fn problem(stage: &str) -> String {
        let text = format!("stages:\n  thumbs:\n    cmd: ./thumbs.sh\n    deps: [images]\n{stage}");
        match read("dvc.yaml", &text, &Sources::none()) {
            Ok(pipeline) => format!("{:?}", pipeline.stages[0].datums),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_stage_works_on_the_items_of_a_dependency_one_by_one() {
        let found = problem(
            "    outs: [small]\n    meta: {team: vision, towpath: {datum: {over: images, glob: '*/*.png', jobs: 4}}}\n",
        );
        assert!(
            found.contains("path: \"images\"") && found.contains("*/*.png") && found.contains("Some(4)"),
            "{found}"
        );
        assert_eq!(problem("    outs: [small]\n    meta: free text\n"), "None");
    }

    #[test]
    fn what_cannot_be_done_item_by_item_is_refused() {
        for (stage, expected) in [
            (
                "    outs: [small]\n    meta: {towpath: {datum: {over: other}}}\n",
                "'other' is not among the stage's deps",
            ),
            ("    meta: {towpath: {datum: {over: images}}}\n", "needs an output"),
            ("    metrics: [m.json]\n    meta: {towpath: {datum: {over: images}}}\n", "'m.json' cannot be an output"),
            ("    outs: [small]\n    meta: {towpath: {datum: {over: images, glob: '['}}}\n", "not a pattern"),
            ("    outs: [small]\n    meta: {towpath: {datum: {over: images, jobs: 0}}}\n", "how many run at a time"),
            ("    outs: [small]\n    meta: {towpath: {datun: {over: images}}}\n", "datun"),
        ] {
            let found = problem(stage);
            assert!(found.contains(expected), "{stage}: {found}");
        }
    }
}
