//! `towpath.yaml`: what a project wants done with its pipeline. The schema is closed; what the file
//! leaves out is in [`defaults`]. `towpath.schema.json` beside this crate's manifest publishes it.

pub mod defaults;
mod environments;
mod on;
mod retries;
mod rollout;
mod stages;
mod timeouts;
mod units;

use std::collections::BTreeMap;

use towpath_core::names::is_valid_name;
use towpath_core::project::{CheckDeclaration, Concurrency, ModelOutput, OnFail, ProjectFile};
use towpath_yaml::{Field, Fields, YamlError};

use crate::paths;

/// The JSON Schema (draft 2020-12) of the file.
pub const SCHEMA: &str = include_str!("../../towpath.schema.json");

/// Reads the file; an empty one is a project with defaults only.
pub fn read(file_name: &str, text: &str) -> Result<ProjectFile, YamlError> {
    let document = towpath_yaml::parse(file_name, text)?;
    let root = document.field();
    if root.is_null() {
        return Ok(ProjectFile { push_branches: defaults::push_branches(), ..ProjectFile::default() });
    }
    let mut fields = root.fields()?;
    for key in ["monitors", "lock", "runners"] {
        fields.not_supported(key)?;
    }
    let checks = checks(fields.optional("checks"))?;
    let check_names: Vec<&str> = checks.keys().map(String::as_str).collect();
    let on = on::read(fields.optional("on"))?;
    let timeouts = timeouts::read(fields.optional("timeouts"))?;
    let project = ProjectFile {
        model: fields.optional("model").map(model).transpose()?,
        python: fields.optional("python").map(python).transpose()?,
        push_branches: on.push_branches,
        push_tags: on.push_tags,
        triggers: on.triggers,
        manual: on.manual,
        environments: environments::read(fields.optional("environments"), &check_names)?,
        timeouts: timeouts.run,
        waits: timeouts.waits,
        retries: retries::read(fields.optional("retries"))?,
        stages: stages::read(fields.optional("stages"))?,
        concurrency: fields.optional("concurrency").map(concurrency).transpose()?,
        checks,
    };
    fields.finish()?;
    Ok(project)
}

/// True when a push to `branch` starts a run. A `*` in a pattern does not match `/`, `**` does.
pub fn push_starts_run(project: &ProjectFile, branch: &str) -> bool {
    on::matches_any(&project.push_branches, branch)
}

/// True when a push of `tag` starts a run.
pub fn tag_starts_run(project: &ProjectFile, tag: &str) -> bool {
    on::matches_any(&project.push_tags, tag)
}

/// True when a branch or tag matches one of the patterns. A `*` does not match `/`, `**` does.
pub fn matches_any(patterns: &[String], name: &str) -> bool {
    on::matches_any(patterns, name)
}

fn model(field: Field<'_>) -> Result<ModelOutput, YamlError> {
    let mut fields = field.fields()?;
    let model = ModelOutput {
        name: name(fields.required("name")?)?,
        path: path(fields.required("path")?)?,
        evaluation: fields.optional("evaluation").map(path).transpose()?,
    };
    fields.finish()?;
    Ok(model)
}

fn python(field: Field<'_>) -> Result<String, YamlError> {
    let path = path(field)?;
    let file = path.rsplit('/').next().unwrap_or_default();
    let known = matches!(file, "pyproject.toml" | "uv.lock")
        || std::path::Path::new(file).extension().is_some_and(|e| e == "txt");
    if known { Ok(path) } else { Err(field.expected("a requirements .txt file, pyproject.toml or uv.lock")) }
}

fn checks(field: Option<Field<'_>>) -> Result<BTreeMap<String, CheckDeclaration>, YamlError> {
    let mut checks = BTreeMap::new();
    for (entry, field) in field.map(|f| f.entries()).transpose()?.unwrap_or_default() {
        valid_name(field, entry.key_span, &entry.key)?;
        if entry.key == "all" {
            return Err(
                field.error_at(entry.key_span, "'all' cannot be the name of a check: gates use it for every check")
            );
        }
        let mut fields = field.fields()?;
        let check = CheckDeclaration {
            path: path(fields.required("path")?)?,
            suite: path(fields.required("suite")?)?,
            on_fail: fields.optional("on_fail").map_or(Ok(defaults::ON_FAIL), on_fail)?,
        };
        fields.finish()?;
        checks.insert(entry.key.clone(), check);
    }
    Ok(checks)
}

fn on_fail(field: Field<'_>) -> Result<OnFail, YamlError> {
    match field.as_str()? {
        "stop" => Ok(OnFail::Stop),
        "warn" => Ok(OnFail::Warn),
        "quarantine" => Err(field.error("not supported yet: on_fail quarantine")),
        _ => Err(field.expected("stop or warn")),
    }
}

/// A group alone, or with what happens to older runs of it.
fn concurrency(field: Field<'_>) -> Result<Concurrency, YamlError> {
    let group = |field: Field<'_>| match field.as_str()? {
        "" => Err(field.expected("the name of a group")),
        text => Ok(text.to_owned()),
    };
    if !field.is_map() {
        return Ok(Concurrency { group: group(field)?, cancel_in_progress: false });
    }
    let mut fields = field.fields()?;
    let concurrency = Concurrency {
        group: group(fields.required("group")?)?,
        cancel_in_progress: bool_or(&mut fields, "cancel_in_progress", false)?,
    };
    fields.finish()?;
    Ok(concurrency)
}

/// A name that becomes part of paths and URLs.
fn name(field: Field<'_>) -> Result<String, YamlError> {
    let name = field.as_str()?;
    valid_name(field, field.span(), name)?;
    Ok(name.to_owned())
}

fn valid_name(field: Field<'_>, span: towpath_yaml::Span, name: &str) -> Result<(), YamlError> {
    if is_valid_name(name) {
        return Ok(());
    }
    let message = format!("'{name}' cannot be a name");
    Err(field
        .error_at(span, message)
        .help("begin with a letter or digit, then letters, digits, '.', '_', '-'; at most 100"))
}

/// A path inside the repository, normalised.
fn path(field: Field<'_>) -> Result<String, YamlError> {
    match paths::resolve("", field.as_str()?) {
        Some(path) if !path.is_empty() => Ok(path),
        _ => Err(field.expected("a path inside the repository")),
    }
}

/// A number above 0.
fn positive(field: Field<'_>) -> Result<f64, YamlError> {
    let number = field.as_f64()?;
    if number > 0.0 { Ok(number) } else { Err(field.expected("a number above 0")) }
}

fn bool_or(fields: &mut Fields<'_>, key: &'static str, default: bool) -> Result<bool, YamlError> {
    fields.optional(key).map_or(Ok(default), |f| f.as_bool())
}

#[cfg(test)]
mod tests;
