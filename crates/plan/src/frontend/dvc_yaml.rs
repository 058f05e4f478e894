//! `dvc.yaml`: the stages of a DVC pipeline (schema of DVC 3). Templating, `vars`, `foreach` and
//! `matrix` are refused by name.

use std::collections::HashSet;

use towpath_yaml::{Field, Fields, Span, Value, YamlError};

use crate::error::Error;
use crate::paths;
use crate::pipeline::{Output, OutputKind, ParamsOf, Pipeline, RepoPath, Stage};

/// Where parameters without a file come from.
pub const DEFAULT_PARAMS: &str = "params.yaml";

/// Reads a pipeline file; `file` is its path relative to the root of the repository.
pub fn read(file: &str, text: &str) -> Result<Pipeline, Error> {
    let document = towpath_yaml::parse(file, text)?;
    let root = document.field();
    if root.is_null() {
        return Ok(Pipeline { file: file.to_owned(), stages: Vec::new() });
    }
    let mut fields = root.fields()?;
    fields.not_supported("vars")?;
    fields.not_supported("datasets")?;
    // Declarations for viewers: their shape is checked, the pipeline does not depend on them.
    for key in ["params", "metrics"] {
        if let Some(list) = fields.optional(key) {
            list.strings()?;
        }
    }
    if let Some(plots) = fields.optional("plots") {
        plots.items()?;
    }
    if let Some(artifacts) = fields.optional("artifacts") {
        artifacts.entries()?;
    }
    let stages = fields.optional("stages");
    fields.finish()?;

    let folder = paths::folder(file);
    let mut pipeline = Pipeline { file: file.to_owned(), stages: Vec::new() };
    for (entry, field) in stages.map(|s| s.entries()).transpose()?.unwrap_or_default() {
        let valid =
            !entry.key.is_empty() && !entry.key.chars().any(|c| c.is_ascii_punctuation() && c != '_' && c != '-');
        if !valid {
            let message = format!("'{}' cannot be the name of a stage", entry.key);
            return Err(field.error_at(entry.key_span, message).help("use letters, digits, '_' and '-'").into());
        }
        pipeline.stages.push(stage(&entry.key, entry.key_span, field, folder)?);
    }
    Ok(pipeline)
}

fn stage(name: &str, position: Span, field: Field<'_>, folder: &str) -> Result<Stage, YamlError> {
    let mut fields = field.fields()?;
    for key in ["foreach", "do", "matrix", "vars"] {
        fields.not_supported(key)?;
    }
    let (cmd, commands) = commands(fields.required("cmd")?)?;
    let wdir = match fields.optional("wdir") {
        Some(field) => paths::resolve(folder, &literal(field)?).ok_or_else(|| outside(field))?,
        None => folder.to_owned(),
    };
    let mut stage = Stage {
        name: name.to_owned(),
        cmd,
        commands,
        wdir,
        deps: Vec::new(),
        params: Vec::new(),
        outs: Vec::new(),
        frozen: flag(&mut fields, "frozen")?,
        always_changed: flag(&mut fields, "always_changed")?,
        desc: fields.optional("desc").map(|f| f.as_str().map(str::to_owned)).transpose()?,
        meta: fields.optional("meta").map(|f| f.to_value()),
        position,
    };
    for item in items(&mut fields, "deps")? {
        let dep = repo_path(item, &stage.wdir)?;
        if stage.deps.contains(&dep) {
            return Err(item.error(format!("dependency '{}' is listed twice", dep.written)));
        }
        stage.deps.push(dep);
    }
    for item in items(&mut fields, "params")? {
        params(item, &stage.wdir, &mut stage.params)?;
    }
    for (key, kind) in [("outs", OutputKind::Out), ("metrics", OutputKind::Metric), ("plots", OutputKind::Plot)] {
        for item in items(&mut fields, key)? {
            let outputs = outputs(item, kind, &stage.wdir)?;
            for output in outputs {
                if let Some(other) = stage.outs.iter().find(|o| paths::overlap(&o.at.path, &output.at.path)) {
                    let message =
                        format!("output '{}' overlaps output '{}' of the same stage", output.at.path, other.at.path);
                    return Err(item.error(message));
                }
                stage.outs.push(output);
            }
        }
    }
    fields.finish()?;
    Ok(stage)
}

/// The command as the lock records it, and its shell lines.
fn commands(field: Field<'_>) -> Result<(Value, Vec<String>), YamlError> {
    if field.is_seq() {
        let lines = field.items()?.into_iter().map(literal).collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Err(field.error("'cmd' is an empty list"));
        }
        return Ok((Value::Seq(lines.iter().cloned().map(Value::String).collect()), lines));
    }
    let text = literal(field)?;
    let lines: Vec<String> = text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(field.error("'cmd' is empty"));
    }
    Ok((Value::String(text), lines))
}

fn flag(fields: &mut Fields<'_>, key: &'static str) -> Result<bool, YamlError> {
    fields.optional(key).map_or(Ok(false), |f| f.as_bool())
}

fn items<'a>(fields: &mut Fields<'a>, key: &'static str) -> Result<Vec<Field<'a>>, YamlError> {
    fields.optional(key).map_or(Ok(Vec::new()), |f| f.items())
}

/// Text without templating: `${...}` is refused, `\${` stands for a literal `${`.
fn literal(field: Field<'_>) -> Result<String, YamlError> {
    let text = field.as_str()?;
    let mut from = 0;
    while let Some(at) = text[from..].find("${").map(|at| from + at) {
        let escaped = text[..at].ends_with('\\');
        if let Some(end) = text[at..].find('}').filter(|_| !escaped) {
            let message = format!("not supported yet: templating ('{}')", &text[at..=at + end]);
            return Err(field.error(message).help("write the value itself, or pass it through params"));
        }
        from = at + 2;
    }
    Ok(text.replace("\\${", "${"))
}

fn repo_path(field: Field<'_>, wdir: &str) -> Result<RepoPath, YamlError> {
    let written = literal(field)?;
    written_path(field, field.span(), written, wdir)
}

fn written_path(field: Field<'_>, span: Span, written: String, wdir: &str) -> Result<RepoPath, YamlError> {
    if written.contains("://") {
        return Err(field.error_at(span, format!("not supported yet: '{written}' is outside the repository")));
    }
    match paths::resolve(wdir, &written) {
        Some(path) if !path.is_empty() => Ok(RepoPath { path, written }),
        _ => Err(field
            .error_at(span, format!("'{written}' is not a path inside the repository"))
            .help("give a path relative to the stage's wdir")),
    }
}

fn outside(field: Field<'_>) -> YamlError {
    field.error(format!("'{}' is outside the repository", field.as_str().unwrap_or_default()))
}

/// `key`, `{file: [keys]}` or `{file: null}`; several items for one file are joined.
fn params(item: Field<'_>, wdir: &str, all: &mut Vec<ParamsOf>) -> Result<(), YamlError> {
    if !item.is_map() {
        let key = literal(item)?;
        let file = written_path(item, item.span(), DEFAULT_PARAMS.to_owned(), wdir)?;
        add_params(all, file, Some(vec![key]));
        return Ok(());
    }
    for (entry, keys) in item.entries()? {
        let file = written_path(item, entry.key_span, entry.key.clone(), wdir)?;
        let keys = if keys.is_null() {
            None
        } else {
            Some(keys.items()?.into_iter().map(literal).collect::<Result<Vec<_>, _>>()?)
        };
        add_params(all, file, keys.filter(|k| !k.is_empty()));
    }
    Ok(())
}

fn add_params(all: &mut Vec<ParamsOf>, file: RepoPath, keys: Option<Vec<String>>) {
    let Some(known) = all.iter_mut().find(|p| p.file.path == file.path) else {
        all.push(ParamsOf { file, keys });
        return;
    };
    match (&mut known.keys, keys) {
        (Some(known), Some(keys)) => {
            let mut seen: HashSet<String> = known.iter().cloned().collect();
            known.extend(keys.into_iter().filter(|k| seen.insert(k.clone())));
        }
        // The whole file holds every key.
        (known, _) => *known = None,
    }
}

/// `path` or `{path: {flags}}`.
fn outputs(item: Field<'_>, kind: OutputKind, wdir: &str) -> Result<Vec<Output>, YamlError> {
    let output = |at: RepoPath| Output {
        at,
        kind,
        cache: true,
        persist: false,
        push: true,
        remote: None,
        desc: None,
        labels: Vec::new(),
        meta: None,
    };
    if !item.is_map() {
        return Ok(vec![output(repo_path(item, wdir)?)]);
    }
    let mut all = Vec::new();
    for (entry, flags) in item.entries()? {
        let mut output = output(written_path(item, entry.key_span, entry.key.clone(), wdir)?);
        if !flags.is_null() {
            // A plot may be shown several times: a list of properties.
            let variants = if flags.is_seq() && kind == OutputKind::Plot { flags.items()? } else { vec![flags] };
            for flags in variants {
                output_flags(flags, &mut output)?;
            }
        }
        all.push(output);
    }
    Ok(all)
}

fn output_flags(flags: Field<'_>, output: &mut Output) -> Result<(), YamlError> {
    let mut fields = flags.fields()?;
    let bool_or = |field: Option<Field<'_>>, default: bool| field.map_or(Ok(default), |f| f.as_bool());
    output.cache = bool_or(fields.optional("cache"), output.cache)?;
    output.persist = bool_or(fields.optional("persist"), output.persist)?;
    output.push = bool_or(fields.optional("push"), output.push)?;
    if let Some(remote) = fields.optional("remote") {
        output.remote = Some(remote.as_str()?.to_owned());
    }
    if let Some(desc) = fields.optional("desc") {
        output.desc = Some(desc.as_str()?.to_owned());
    }
    if let Some(labels) = fields.optional("labels") {
        output.labels = labels.strings()?;
    }
    if let Some(type_) = fields.optional("type") {
        type_.as_str()?;
    }
    if let Some(meta) = fields.optional("meta") {
        output.meta = Some(meta.to_value());
    }
    fields.not_supported("checkpoint")?;
    if output.kind == OutputKind::Plot {
        for key in ["template", "x", "y", "x_label", "y_label", "title"] {
            if let Some(text) = fields.optional(key) {
                text.as_str()?;
            }
        }
        if let Some(header) = fields.optional("header") {
            header.as_bool()?;
        }
    }
    fields.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(text: &str) -> Stage {
        read("dvc.yaml", &format!("stages: {{train: {text}}}")).unwrap_or_else(|e| panic!("{e}")).stages.remove(0)
    }

    fn refusal(text: &str) -> String {
        match read("dvc.yaml", text) {
            Err(Error::Yaml(error)) => error.headline(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn outputs_have_the_flags_of_dvc() {
        let stage = stage(
            "{cmd: x, outs: [model: {cache: false, persist: true, push: false, remote: backup}], metrics: [m.json]}",
        );
        let model = &stage.outs[0];
        assert_eq!(
            (model.cache, model.persist, model.push, model.remote.as_deref()),
            (false, true, false, Some("backup"))
        );
        assert_eq!((stage.outs[1].kind, stage.outs[1].cache), (OutputKind::Metric, true));
    }

    #[test]
    fn parameters_are_joined_by_file() {
        let stage = stage("{cmd: x, params: [lr, other.json: [a.b], params.yaml: [seed, lr], whole.yaml: null]}");
        let files: Vec<(&str, Option<&[String]>)> =
            stage.params.iter().map(|p| (p.file.path.as_str(), p.keys.as_deref())).collect();
        let (lr, seed, ab) = ("lr".to_owned(), "seed".to_owned(), "a.b".to_owned());
        assert_eq!(
            files,
            [("params.yaml", Some(&[lr, seed][..])), ("other.json", Some(&[ab][..])), ("whole.yaml", None)]
        );
    }

    #[test]
    fn a_command_is_split_into_the_lines_that_run() {
        assert_eq!(stage("{cmd: \"a\\n\\nb\\n\"}").commands, ["a", "b"]);
        assert_eq!(stage("{cmd: [a, b]}").commands, ["a", "b"]);
        assert_eq!(stage("{cmd: 'echo \\${HOME}'}").commands, ["echo ${HOME}"]);
    }

    #[test]
    fn what_comes_later_is_refused_by_name_and_place() {
        for (text, headline) in [
            ("vars: [a: 1]", "dvc.yaml:1:1: not supported yet: vars"),
            ("stages: {a: {foreach: [1], do: {cmd: x}}}", "dvc.yaml:1:14: not supported yet: foreach"),
            ("stages: {a: {cmd: x, matrix: {b: [1]}}}", "dvc.yaml:1:22: not supported yet: matrix"),
            ("stages: {a: {cmd: 'x ${lr}'}}", "dvc.yaml:1:19: not supported yet: templating ('${lr}')"),
            (
                "stages: {a: {cmd: x, deps: ['s3://b/x']}}",
                "dvc.yaml:1:29: not supported yet: 's3://b/x' is outside the repository",
            ),
        ] {
            assert_eq!(refusal(text), headline);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, headline) in [
            ("stages: {a: {deps: [x]}}", "dvc.yaml:1:13: 'cmd' is missing in 'a'"),
            ("stages: {a: {cmd: x, out: [y]}}", "dvc.yaml:1:22: unknown key 'out' in 'a'"),
            ("stages: {a.b: {cmd: x}}", "dvc.yaml:1:10: 'a.b' cannot be the name of a stage"),
            ("stages: {a: {cmd: x, deps: [../y]}}", "dvc.yaml:1:29: '../y' is not a path inside the repository"),
            (
                "stages: {a: {cmd: x, outs: [d, d/e]}}",
                "dvc.yaml:1:32: output 'd/e' overlaps output 'd' of the same stage",
            ),
        ] {
            assert_eq!(refusal(text), headline);
        }
    }
}
