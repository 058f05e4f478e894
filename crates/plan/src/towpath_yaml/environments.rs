//! `environments`: their order, gates, approvals and targets.

use std::collections::HashSet;

use towpath_core::project::{Approvals, Batching, Environment, Gate, GateCondition, LogPolicy, Target};
use towpath_yaml::{Field, YamlError};

use super::{bool_or, defaults, name, positive, rollout, units, valid_name};

pub(super) fn read(field: Option<Field<'_>>, checks: &[&str]) -> Result<Vec<Environment>, YamlError> {
    let mut all: Vec<Environment> = Vec::new();
    for (entry, field) in field.map(|f| f.entries()).transpose()?.unwrap_or_default() {
        valid_name(field, entry.key_span, &entry.key)?;
        let environment = environment(&entry.key, field, &all, checks)?;
        if environment.after.is_none() && !all.is_empty() {
            let message = format!("'after' is missing in '{}'", entry.key);
            return Err(field
                .error_at(entry.key_span, message)
                .help("only the first environment opens by itself; name the one before"));
        }
        all.push(environment);
    }
    Ok(all)
}

fn environment(
    name: &str,
    field: Field<'_>,
    earlier: &[Environment],
    checks: &[&str],
) -> Result<Environment, YamlError> {
    if field.is_null() {
        return Ok(Environment {
            name: name.to_owned(),
            after: None,
            soak_seconds: 0.0,
            gates: Vec::new(),
            approvals: None,
            rollout: defaults::rollout(),
            target: Target::Local,
            batching: None,
            prediction_log: None,
        });
    }
    let mut fields = field.fields()?;
    fields.not_supported("freeze")?;
    let after = fields.optional("after").map(|f| after(f, earlier)).transpose()?;
    let soak_seconds = match fields.optional("soak") {
        Some(soak) if after.is_none() => {
            return Err(soak.error("'soak' needs 'after': the time is spent live in the environment before"));
        }
        Some(soak) => units::duration(soak)?,
        None => 0.0,
    };
    let environment = Environment {
        name: name.to_owned(),
        after,
        soak_seconds,
        gates: fields.optional("gates").map_or(Ok(Vec::new()), |f| gates(f, checks))?,
        approvals: fields.optional("approvals").map(approvals).transpose()?,
        rollout: fields.optional("rollout").map_or_else(|| Ok(defaults::rollout()), rollout::read)?,
        target: fields.optional("target").map_or(Ok(Target::Local), target)?,
        batching: fields.optional("batching").map(batching).transpose()?,
        prediction_log: fields.optional("prediction_log").map(prediction_log).transpose()?,
    };
    fields.finish()?;
    Ok(environment)
}

fn after(field: Field<'_>, earlier: &[Environment]) -> Result<String, YamlError> {
    let wanted = name(field)?;
    if !earlier.iter().any(|e| e.name == wanted) {
        let names: Vec<&str> = earlier.iter().map(|e| e.name.as_str()).collect();
        let error = field.error(format!("'{wanted}' is not an environment that stands above"));
        return Err(if names.is_empty() { error } else { error.help(format!("above stand: {}", names.join(", "))) });
    }
    if let Some(other) = earlier.iter().find(|e| e.after.as_deref() == Some(&wanted)) {
        let error = field.error(format!("'{}' comes after '{wanted}' already", other.name));
        return Err(error.help("environments follow each other one by one"));
    }
    Ok(wanted)
}

fn gates(field: Field<'_>, checks: &[&str]) -> Result<Vec<Gate>, YamlError> {
    let mut gates: Vec<Gate> = Vec::new();
    for item in field.items()? {
        let gate = gate(item, checks)?;
        if gates.iter().any(|g| g.name == gate.name) {
            return Err(item.error(format!("two gates are named '{}'", gate.name)));
        }
        gates.push(gate);
    }
    Ok(gates)
}

/// `{name, checks}`, `{name, require}` or `{name, check, ...}`.
fn gate(item: Field<'_>, declared: &[&str]) -> Result<Gate, YamlError> {
    let mut fields = item.fields()?;
    let name = fields.required("name")?;
    let title = name.as_str()?.trim();
    if title.is_empty() || title.chars().count() > 200 || title.chars().any(char::is_control) {
        return Err(name.expected("a line of 1 to 200 characters"));
    }
    let (checks, require, check) = (fields.optional("checks"), fields.optional("require"), fields.optional("check"));
    let condition = match (checks, require, check) {
        (Some(checks), None, None) => GateCondition::Checks { checks: checks_of_gate(checks, declared)? },
        (None, Some(require), None) => {
            let expression = require.as_str()?;
            if expression.trim().is_empty() {
                return Err(require.expected("a CEL expression"));
            }
            GateCondition::Require { expression: expression.to_owned() }
        }
        (None, None, Some(check)) => match check.as_str()? {
            "latency" => GateCondition::Latency {
                p99_ms: positive(fields.required("p99_ms")?)?,
                requests: match fields.optional("requests") {
                    Some(field) => requests(field)?,
                    None => defaults::LATENCY_REQUESTS,
                },
            },
            "artifact_scan" => {
                GateCondition::ArtifactScan { allow_pickle: bool_or(&mut fields, "allow_pickle", false)? }
            }
            _ => return Err(check.expected("latency or artifact_scan")),
        },
        _ => {
            let error = item.error(format!("gate '{title}' must have exactly one condition"));
            return Err(error.help("give one of: checks, require, check"));
        }
    };
    fields.finish()?;
    Ok(Gate { name: title.to_owned(), condition })
}

/// `all`, or a list of declared checks.
fn checks_of_gate(field: Field<'_>, declared: &[&str]) -> Result<Vec<String>, YamlError> {
    if !field.is_seq() {
        return match field.as_str() {
            Ok("all") => Ok(vec!["all".into()]),
            _ => Err(field.expected("all or a list of checks")),
        };
    }
    let mut names = Vec::new();
    for item in field.items()? {
        let name = item.as_str()?;
        if !declared.contains(&name) {
            let help = if declared.is_empty() {
                "declare it under 'checks'".to_owned()
            } else {
                format!("declared: {}", declared.join(", "))
            };
            return Err(item.error(format!("there is no check '{name}'")).help(help));
        }
        names.push(name.to_owned());
    }
    if names.is_empty() { Err(field.expected("all or a list of checks")) } else { Ok(names) }
}

fn requests(field: Field<'_>) -> Result<u32, YamlError> {
    match field.as_u64()? {
        count @ 100..=100_000 => Ok(count as u32),
        _ => Err(field.expected("between 100 and 100000 requests")),
    }
}

pub(super) fn approvals(field: Field<'_>) -> Result<Approvals, YamlError> {
    let mut fields = field.fields()?;
    let count = fields.required("count")?;
    let approvals = Approvals {
        count: match count.as_u64()? {
            n @ 1..=100 => n as u32,
            _ => return Err(count.expected("between 1 and 100")),
        },
        from: match fields.optional("from") {
            Some(from) => roles(from)?,
            None => Vec::new(),
        },
    };
    fields.finish()?;
    Ok(approvals)
}

fn roles(field: Field<'_>) -> Result<Vec<String>, YamlError> {
    let mut seen = HashSet::new();
    let mut roles = Vec::new();
    for item in field.items()? {
        let role = name(item)?;
        if !seen.insert(role.clone()) {
            return Err(item.error(format!("role '{role}' is listed twice")));
        }
        roles.push(role);
    }
    Ok(roles)
}

fn batching(field: Field<'_>) -> Result<Batching, YamlError> {
    let mut fields = field.fields()?;
    let rows = fields.required("max_rows")?;
    let batching = Batching {
        max_rows: match rows.as_u64()? {
            count @ 2..=65_536 => count as usize,
            _ => return Err(rows.expected("between 2 and 65536 rows")),
        },
        max_delay_ms: match fields.optional("max_delay") {
            None => 0,
            Some(delay) => match units::duration(delay)? {
                seconds if seconds <= 10.0 => (seconds * 1000.0) as u64,
                _ => return Err(delay.expected("at most 10s")),
            },
        },
    };
    fields.finish()?;
    Ok(batching)
}

fn prediction_log(field: Field<'_>) -> Result<LogPolicy, YamlError> {
    let default = LogPolicy::default();
    let mut fields = field.fields()?;
    let policy = LogPolicy {
        sample: fields.optional("sample").map_or(Ok(default.sample), units::percent)?,
        always_errors: match fields.optional("errors") {
            None => default.always_errors,
            Some(errors) => match errors.as_str()? {
                "always" => true,
                "sampled" => false,
                _ => return Err(errors.expected("always or sampled")),
            },
        },
        features: bool_or(&mut fields, "features", default.features)?,
        drop: fields.optional("drop").map_or(Ok(default.drop), features)?,
        hash: fields.optional("hash").map_or(Ok(default.hash), features)?,
        mask: fields.optional("mask").map_or(Ok(default.mask), features)?,
        keep_seconds: fields.optional("keep").map(units::duration).transpose()?,
        keep_bytes: fields.optional("keep_bytes").map(units::bytes).transpose()?,
    };
    fields.finish()?;
    Ok(policy)
}

/// Names as models have them: any text.
fn features(field: Field<'_>) -> Result<Vec<String>, YamlError> {
    field.items()?.into_iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn target(field: Field<'_>) -> Result<Target, YamlError> {
    let mut fields = field.fields()?;
    let kind = fields.required("kind")?;
    match kind.as_str()? {
        "local" => {}
        "kubernetes" => return Err(kind.error("not supported yet: target kubernetes")),
        _ => return Err(kind.expected("local")),
    }
    fields.finish()?;
    Ok(Target::Local)
}
