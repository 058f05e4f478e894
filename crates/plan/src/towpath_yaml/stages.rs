//! `stages`: whether, when and with what each stage runs.

use std::collections::BTreeMap;

use towpath_core::project::{Limits, Resources, SlurmOptions, StagePolicy, Undeclared};
use towpath_yaml::{Field, Fields, YamlError};

use super::{environments, name, units};
use crate::{condition, confinement};

pub(super) fn read(field: Option<Field<'_>>) -> Result<BTreeMap<String, StagePolicy>, YamlError> {
    let mut stages = BTreeMap::new();
    for (entry, field) in field.map(|f| f.entries()).transpose()?.unwrap_or_default() {
        let mut fields = field.fields()?;
        let policy = StagePolicy {
            condition: fields.optional("if").map(expression).transpose()?,
            approval: fields.optional("approval").map(environments::approvals).transpose()?,
            environment: fields.optional("environment").map(name).transpose()?,
            secrets: secrets(fields.optional("secrets"))?,
            resources: fields.optional("resources").map(resources).transpose()?.unwrap_or_default(),
            priority: fields.optional("priority").map_or(Ok(0), |f| f.as_i64())?,
            undeclared: fields.optional("undeclared").map_or(Ok(Undeclared::Warn), undeclared)?,
            sandbox: confinement::read(&mut fields)?.unwrap_or_default(),
            limits: fields.optional("limits").map(limits).transpose()?.unwrap_or_default(),
            slurm: executor(&mut fields)?,
        };
        fields.finish()?;
        stages.insert(entry.key.clone(), policy);
    }
    Ok(stages)
}

fn expression(field: Field<'_>) -> Result<String, YamlError> {
    let text = field.as_str()?;
    condition::check(text).map_err(|problem| field.error(format!("'if': {problem}")))?;
    Ok(text.to_owned())
}

fn undeclared(field: Field<'_>) -> Result<Undeclared, YamlError> {
    match field.as_str()? {
        "warn" => Ok(Undeclared::Warn),
        "refuse" => Ok(Undeclared::Refuse),
        "allow" => Ok(Undeclared::Allow),
        _ => Err(field.expected("warn, refuse or allow")),
    }
}

/// Options of `sbatch` that say where Towpath finds a job and what it prints.
const OF_TOWPATH: [&str; 12] = [
    "array",
    "chdir",
    "comment",
    "error",
    "export",
    "input",
    "job-name",
    "open-mode",
    "output",
    "parsable",
    "requeue",
    "wrap",
];

/// `executor` and `slurm`.
fn executor(fields: &mut Fields<'_>) -> Result<Option<SlurmOptions>, YamlError> {
    let (executor, slurm) = (fields.optional("executor"), fields.optional("slurm"));
    let is_slurm = match executor.map(|field| Ok((field, field.as_str()?))).transpose()? {
        None | Some((_, "local")) => false,
        Some((_, "slurm")) => true,
        Some((field, _)) => return Err(field.expected("local or slurm")),
    };
    match slurm {
        Some(field) if !is_slurm => Err(field.error("only a job of Slurm has it").help("add executor: slurm")),
        Some(field) => slurm_options(field).map(Some),
        None => Ok(is_slurm.then(SlurmOptions::default)),
    }
}

fn slurm_options(field: Field<'_>) -> Result<SlurmOptions, YamlError> {
    let mut fields = field.fields()?;
    let mut options = Vec::new();
    for item in fields.optional("options").map(|f| f.items()).transpose()?.unwrap_or_default() {
        let word = item.as_str()?;
        let Some(option) = word.strip_prefix("--").and_then(|word| word.split('=').next()) else {
            return Err(item.expected("an option of sbatch, such as --constraint=a100"));
        };
        if OF_TOWPATH.iter().any(|of| of.starts_with(option)) {
            return Err(item.error(format!("--{option} is Towpath's own to set")));
        }
        options.push(word.to_owned());
    }
    let options = SlurmOptions {
        partition: fields.optional("partition").map(name).transpose()?,
        account: fields.optional("account").map(name).transpose()?,
        options,
    };
    fields.finish()?;
    Ok(options)
}

fn limits(field: Field<'_>) -> Result<Limits, YamlError> {
    let mut fields = field.fields()?;
    let count = |field: Field<'_>| match field.as_u64() {
        Ok(count @ 1..=1_000_000_000) => Ok(count),
        _ => Err(field.expected("a number from 1 to 1000000000")),
    };
    let limits = Limits {
        open_files: fields.optional("open_files").map(count).transpose()?,
        processes: fields.optional("processes").map(count).transpose()?,
        file_size: fields.optional("file_size").map(units::bytes).transpose()?,
        cpu_seconds: fields.optional("cpu").map(units::duration).transpose()?.map(|seconds| seconds.ceil() as u64),
    };
    fields.finish()?;
    Ok(limits)
}

/// Names, each the variable as well, or names by variable.
fn secrets(field: Option<Field<'_>>) -> Result<BTreeMap<String, String>, YamlError> {
    let Some(field) = field else { return Ok(BTreeMap::new()) };
    let mut secrets = BTreeMap::new();
    if field.is_map() {
        for (entry, field) in field.entries()? {
            if !is_variable(&entry.key) {
                return Err(field.error_at(entry.key_span, VARIABLE));
            }
            secrets.insert(entry.key.clone(), name(field)?);
        }
        return Ok(secrets);
    }
    for item in field.items()? {
        let secret = name(item)?;
        if !is_variable(&secret) {
            return Err(item.error(VARIABLE).help("write VARIABLE: name-of-the-secret"));
        }
        secrets.insert(secret.clone(), secret);
    }
    Ok(secrets)
}

const VARIABLE: &str = "a variable has letters, digits and '_', and does not begin with a digit";

fn is_variable(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// `cpu`, `memory`, `gpu`; any other key is a pool of the server.
fn resources(field: Field<'_>) -> Result<Resources, YamlError> {
    let mut resources = Resources::default();
    for (entry, field) in field.entries()? {
        let places = |field: Field<'_>| match field.as_u64() {
            Ok(count @ 1..=10_000) => Ok(count as u32),
            _ => Err(field.expected("how many (1 to 10000)")),
        };
        match entry.key.as_str() {
            "cpu" => resources.cpu = super::positive(field)?,
            "memory" => resources.memory = Some(units::bytes(field)?),
            "gpu" => resources.gpu = places(field)?,
            pool => {
                super::valid_name(field, entry.key_span, pool)?;
                resources.pools.insert(pool.to_owned(), places(field)?);
            }
        }
    }
    Ok(resources)
}
