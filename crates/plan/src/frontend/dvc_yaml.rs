//! `dvc.yaml`: the stages of a DVC pipeline (schema of DVC 3), with `vars`, templates, `foreach` and
//! `matrix` resolved.

mod context;
mod datums;
mod expand;
mod meta;
pub mod plots;
mod template;

use std::collections::HashSet;
use std::io;

use towpath_yaml::{Field, Fields, Span, Value, YamlError};

use crate::error::Error;
use crate::paths;
use crate::pipeline::{Output, OutputKind, ParamsOf, Pipeline, RepoPath, Stage};

/// Where parameters without a file come from.
pub const DEFAULT_PARAMS: &str = "params.yaml";

/// What a pipeline file needs beside its text.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The text of a file (`params.yaml`, files of `vars`) by its path below the root of the
    /// repository; `None` when there is no such file.
    pub read: &'a dyn Fn(&str) -> io::Result<Option<String>>,
    pub arguments: Arguments,
}

impl Sources<'_> {
    /// No other file: templates use the `vars` of the file itself.
    pub const fn none() -> Self {
        Self { read: &|_| Ok(None), arguments: Arguments { boolean_optional: false, append: false } }
    }
}

/// How a mapping in `cmd` becomes arguments: section `parsing` of DVC's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    /// `bool = boolean_optional`: false is `--no-name` instead of nothing.
    pub boolean_optional: bool,
    /// `list = append`: `--name 1 --name 2` instead of `--name 1 2`.
    pub append: bool,
}

impl Arguments {
    /// From the values of `parsing.bool` and `parsing.list`.
    pub fn of_config(bool_: Option<&str>, list: Option<&str>) -> Self {
        Self { boolean_optional: bool_ == Some("boolean_optional"), append: list == Some("append") }
    }
}

/// Reads a pipeline file; `file` is its path relative to the root of the repository.
pub fn read(file: &str, text: &str, sources: &Sources<'_>) -> Result<Pipeline, Error> {
    let document = towpath_yaml::parse(file, text)?;
    if document.root().is_null() {
        return Ok(Pipeline { file: file.to_owned(), stages: Vec::new() });
    }
    check_names(document.field())?;
    let document = expand::expanded(document, sources)?;
    let mut fields = document.field().fields()?;
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

    let mut pipeline = Pipeline { file: file.to_owned(), stages: Vec::new() };
    for (entry, field) in stages.map(|s| s.entries()).transpose()?.unwrap_or_default() {
        pipeline.stages.push(stage(&entry.key, entry.key_span, field, file)?);
    }
    Ok(pipeline)
}

/// Names as they are written; those of generated stages get `@` and more.
fn check_names(root: Field<'_>) -> Result<(), YamlError> {
    let mut fields = root.fields()?;
    for (entry, field) in fields.optional("stages").map(|s| s.entries()).transpose()?.unwrap_or_default() {
        let valid =
            !entry.key.is_empty() && !entry.key.chars().any(|c| c.is_ascii_punctuation() && c != '_' && c != '-');
        if !valid {
            let message = format!("'{}' cannot be the name of a stage", entry.key);
            return Err(field.error_at(entry.key_span, message).help("use letters, digits, '_' and '-'"));
        }
    }
    Ok(())
}

fn stage(name: &str, position: Span, field: Field<'_>, file: &str) -> Result<Stage, YamlError> {
    let folder = paths::folder(file);
    let mut fields = field.fields()?;
    let (cmd, commands) = commands(fields.required("cmd")?)?;
    let wdir = match fields.optional("wdir") {
        Some(field) => paths::resolve(folder, &text(field)?).ok_or_else(|| outside(field))?,
        None => folder.to_owned(),
    };
    let mut stage = Stage {
        name: name.to_owned(),
        entry: name.to_owned(),
        file: file.to_owned(),
        cmd,
        commands,
        wdir,
        deps: Vec::new(),
        params: Vec::new(),
        outs: Vec::new(),
        frozen: flag(&mut fields, "frozen")?,
        always_changed: flag(&mut fields, "always_changed")?,
        desc: fields.optional("desc").map(|f| f.as_str().map(str::to_owned)).transpose()?,
        meta: None,
        datums: None,
        confinement: None,
        position,
    };
    let meta = fields.optional("meta");
    stage.meta = meta.map(|f| f.to_value());
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
    if let Some(meta) = meta {
        meta::read(meta, &mut stage)?;
    }
    fields.finish()?;
    Ok(stage)
}

/// The command as the lock records it, and its shell lines.
fn commands(field: Field<'_>) -> Result<(Value, Vec<String>), YamlError> {
    if field.is_seq() {
        let lines = field.items()?.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
        if lines.is_empty() {
            return Err(field.error("'cmd' is an empty list"));
        }
        return Ok((Value::Seq(lines.iter().cloned().map(Value::String).collect()), lines));
    }
    let whole = text(field)?;
    let lines: Vec<String> = whole.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.is_empty() {
        return Err(field.error("'cmd' is empty"));
    }
    Ok((Value::String(whole), lines))
}

fn flag(fields: &mut Fields<'_>, key: &'static str) -> Result<bool, YamlError> {
    fields.optional(key).map_or(Ok(false), |f| f.as_bool())
}

fn items<'a>(fields: &mut Fields<'a>, key: &'static str) -> Result<Vec<Field<'a>>, YamlError> {
    fields.optional(key).map_or(Ok(Vec::new()), |f| f.items())
}

fn text(field: Field<'_>) -> Result<String, YamlError> {
    field.as_str().map(str::to_owned)
}

fn repo_path(field: Field<'_>, wdir: &str) -> Result<RepoPath, YamlError> {
    let written = text(field)?;
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
        let key = text(item)?;
        let file = written_path(item, item.span(), DEFAULT_PARAMS.to_owned(), wdir)?;
        add_params(all, file, Some(vec![key]));
        return Ok(());
    }
    for (entry, keys) in item.entries()? {
        let file = written_path(item, entry.key_span, entry.key.clone(), wdir)?;
        let keys = if keys.is_null() {
            None
        } else {
            Some(keys.items()?.into_iter().map(text).collect::<Result<Vec<_>, _>>()?)
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
        read("dvc.yaml", &format!("stages: {{train: {text}}}"), &Sources::none())
            .unwrap_or_else(|e| panic!("{e}"))
            .stages
            .remove(0)
    }

    fn refusal(text: &str) -> String {
        match read("dvc.yaml", text, &Sources::none()) {
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
            ("datasets: []", "dvc.yaml:1:1: not supported yet: datasets"),
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
            ("stages: {a: {cmd: 'x ${lr}'}}", "dvc.yaml:1:19: 'lr' has no value"),
            ("stages: {a: {cmd: 'x ${l..r}'}}", "dvc.yaml:1:19: '${l..r}' is not a template"),
            ("vars: [{a: 1}, {a: 2}]", "dvc.yaml:1:16: cannot redefine 'a' from 'vars[1]': it is in 'vars[0]' already"),
            ("vars: [x.yaml]", "dvc.yaml:1:8: 'x.yaml' does not exist"),
            ("vars: [{a: [1]}]\nstages: {a: {cmd: 'x ${a}'}}", "dvc.yaml:2:19: 'a' is a list, which 'cmd' cannot take"),
            ("stages: {a: {foreach: [1]}}", "dvc.yaml:1:13: 'do' is missing in 'a'"),
            ("stages: {a: {foreach: 1, do: {cmd: x}}}", "dvc.yaml:1:23: 'foreach' must be a list or a mapping"),
            ("stages: {a: {matrix: {b: 1}, cmd: x}}", "dvc.yaml:1:22: 'b' of 'matrix' must be a list"),
            (
                "stages: {a: {foreach: [1], do: {cmd: x, vars: [{item: 2}]}}}",
                "dvc.yaml:1:48: 'item' is the name of a generated stage's own value, so vars[0] cannot set it",
            ),
            ("stages: {a@b: {cmd: x}}", "dvc.yaml:1:10: 'a@b' cannot be the name of a stage"),
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
