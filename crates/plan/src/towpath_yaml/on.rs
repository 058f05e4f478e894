//! `on`: what starts runs.

use std::collections::BTreeMap;

use globset::GlobBuilder;
use jiff::tz::TimeZone;
use towpath_core::triggers::{
    CatchUp, Ended, ManualParam, Overlap, ParamKind, Rhythm, Schedule, TimeParam, Trigger, When,
};
use towpath_yaml::{Field, Fields, YamlError};

use super::{bool_or, defaults, name, path, units, valid_name};
use crate::cron::Cron;

/// Everything below `on`.
#[derive(Debug, Default)]
pub(super) struct On {
    pub(super) push_branches: Vec<String>,
    pub(super) push_tags: Vec<String>,
    pub(super) triggers: Vec<Trigger>,
    pub(super) manual: BTreeMap<String, ManualParam>,
}

/// A schedule oftener than this is a mistake.
const SHORTEST: f64 = 10.0;

/// Most runs that are made up for at once.
const CATCH_UP_LIMIT: u64 = 1000;

/// Names that triggers of these kinds have, so that no schedule may have them.
const KINDS: [&str; 6] = ["data", "model", "run", "webhook", "pull_request", "monitor"];

pub(super) fn read(field: Option<Field<'_>>) -> Result<On, YamlError> {
    let Some(field) = field else {
        return Ok(On { push_branches: defaults::push_branches(), ..On::default() });
    };
    let mut fields = field.fields()?;
    let mut on = On::default();
    // `on:` without `push:` starts nothing by itself.
    if let Some(push) = fields.optional("push") {
        let mut fields = push.fields()?;
        on.push_branches = match fields.optional("branches") {
            Some(branches) => patterns(branches, "a branch or a pattern such as 'release/*'")?,
            None => defaults::push_branches(),
        };
        on.push_tags = match fields.optional("tags") {
            Some(tags) => patterns(tags, "a tag or a pattern such as 'v*'")?,
            None => Vec::new(),
        };
        fields.finish()?;
    }
    if let Some(field) = fields.optional("schedule") {
        schedules(field, &mut on.triggers)?;
    }
    for (word, read) in [
        ("data", data as fn(&mut Fields<'_>) -> Result<When, YamlError>),
        ("model", model),
        ("run", run),
        ("webhook", webhook),
        ("pull_request", pull_request),
        ("monitor", monitor),
    ] {
        if let Some(field) = fields.optional(word) {
            let mut fields = field.fields()?;
            let when = read(&mut fields)?;
            on.triggers.push(trigger(word, when, fields, Overlap::Allow)?);
        }
    }
    if let Some(field) = fields.optional("manual") {
        let mut fields = field.fields()?;
        on.manual = manual(fields.required("params")?)?;
        fields.finish()?;
    }
    fields.finish()?;
    Ok(on)
}

/// Whether a name matches one of the patterns. A `*` does not match `/`, `**` does.
pub(super) fn matches_any(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob(pattern).is_ok_and(|p| p.compile_matcher().is_match(name)))
}

fn glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

fn patterns(field: Field<'_>, what: &str) -> Result<Vec<String>, YamlError> {
    let pattern = |field: Field<'_>| {
        let pattern = field.as_str()?;
        match glob(pattern) {
            Ok(_) if !pattern.is_empty() => Ok(pattern.to_owned()),
            _ => Err(field.expected(what)),
        }
    };
    field.items()?.into_iter().map(pattern).collect()
}

/// The keys that every trigger has.
fn trigger(name: &str, when: When, mut fields: Fields<'_>, overlap: Overlap) -> Result<Trigger, YamlError> {
    let params = match fields.optional("params") {
        Some(params) => params.entries()?.into_iter().map(|(e, f)| (e.key.clone(), f.to_json())).collect(),
        None => BTreeMap::new(),
    };
    let overlap = match fields.optional("overlap") {
        None => overlap,
        Some(field) => match field.as_str()? {
            "skip" => Overlap::Skip,
            "allow" => Overlap::Allow,
            "cancel" => Overlap::Cancel,
            _ => return Err(field.expected("skip, allow or cancel")),
        },
    };
    fields.finish()?;
    Ok(Trigger { name: name.to_owned(), when, params, overlap })
}

/// One expression (its schedule is called `schedule`), or schedules by name.
fn schedules(field: Field<'_>, triggers: &mut Vec<Trigger>) -> Result<(), YamlError> {
    if let Ok(expression) = field.as_str() {
        Cron::parse(expression).map_err(|e| field.error(format!("'schedule': {e}")))?;
        let rhythm = Rhythm::Cron { expression: expression.to_owned(), timezone: "UTC".into() };
        let schedule = Schedule { rhythm, jitter_seconds: 0, catch_up: defaults::CATCH_UP, time_param: None };
        triggers.push(Trigger {
            name: "schedule".into(),
            when: When::Schedule(schedule),
            params: BTreeMap::new(),
            overlap: Overlap::Skip,
        });
        return Ok(());
    }
    for (entry, field) in field.entries()? {
        valid_name(field, entry.key_span, &entry.key)?;
        if KINDS.contains(&entry.key.as_str()) {
            let message = format!("'{}' cannot be the name of a schedule: another trigger has it", entry.key);
            return Err(field.error_at(entry.key_span, message));
        }
        let mut fields = field.fields()?;
        let when = When::Schedule(schedule(field, &mut fields)?);
        triggers.push(trigger(&entry.key, when, fields, Overlap::Skip)?);
    }
    Ok(())
}

fn schedule(field: Field<'_>, fields: &mut Fields<'_>) -> Result<Schedule, YamlError> {
    let timezone = match fields.optional("timezone") {
        None => None,
        Some(zone) => {
            TimeZone::get(zone.as_str()?).map_err(|_| zone.expected("a time zone such as Europe/Berlin"))?;
            Some(zone)
        }
    };
    let rhythm = match (fields.optional("cron"), fields.optional("every")) {
        (Some(cron), None) => {
            let expression = cron.as_str()?;
            Cron::parse(expression).map_err(|e| cron.error(format!("'cron': {e}")))?;
            let timezone = timezone.map(|zone| zone.as_str()).transpose()?.unwrap_or("UTC").to_owned();
            Rhythm::Cron { expression: expression.to_owned(), timezone }
        }
        (None, Some(every)) => {
            let seconds = units::duration(every)?;
            if seconds < SHORTEST {
                return Err(every.error(format!("'every' must be at least {SHORTEST} s")));
            }
            if let Some(zone) = timezone {
                return Err(zone.error("'timezone' belongs to 'cron': 'every' counts from 1970 in UTC"));
            }
            Rhythm::Every { seconds: seconds.round() as u64 }
        }
        _ => return Err(field.error(format!("'{}' needs either 'cron' or 'every'", field.name()))),
    };
    let jitter_seconds = match fields.optional("jitter") {
        Some(jitter) => units::duration(jitter)?.round() as u64,
        None => 0,
    };
    let catch_up = match fields.optional("catch_up") {
        None => defaults::CATCH_UP,
        Some(field) => match field.as_str() {
            Ok("skip") => CatchUp::Skip,
            Ok("latest") => CatchUp::Latest,
            _ => match field.as_u64() {
                Ok(limit) if (1..=CATCH_UP_LIMIT).contains(&limit) => CatchUp::All { limit: limit as u32 },
                _ => return Err(field.expected("skip, latest, or how many runs are made up for (1 to 1000)")),
            },
        },
    };
    let format = fields.optional("time_format");
    let time_param = match fields.optional("time_param") {
        None => match format {
            Some(format) => return Err(format.error("'time_format' needs 'time_param'")),
            None => None,
        },
        Some(param) => {
            let format_text = format.map(|f| f.as_str()).transpose()?.unwrap_or(defaults::TIME_FORMAT);
            if jiff::fmt::strtime::format(format_text, &jiff::Zoned::new(jiff::Timestamp::UNIX_EPOCH, TimeZone::UTC))
                .is_err()
            {
                return Err(format.unwrap_or(param).expected("a format such as %Y-%m-%d"));
            }
            Some(TimeParam { name: param.as_str()?.to_owned(), format: format_text.to_owned() })
        }
    };
    Ok(Schedule { rhythm, jitter_seconds, catch_up, time_param })
}

fn data(fields: &mut Fields<'_>) -> Result<When, YamlError> {
    let paths = match (fields.optional("path"), fields.optional("paths")) {
        (Some(one), None) => vec![path(one)?],
        (None, Some(list)) => list.items()?.into_iter().map(path).collect::<Result<_, _>>()?,
        _ => return Err(fields.map().error("'data' needs either 'path' or 'paths'")),
    };
    Ok(When::Data { paths })
}

fn model(fields: &mut Fields<'_>) -> Result<When, YamlError> {
    Ok(When::Model { model: name(fields.required("name")?)?, alias: name(fields.required("alias")?)? })
}

fn run(fields: &mut Fields<'_>) -> Result<When, YamlError> {
    let ended = match fields.optional("ended") {
        None => Ended::Succeeded,
        Some(field) => match field.as_str()? {
            "succeeded" => Ended::Succeeded,
            "failed" => Ended::Failed,
            "any" => Ended::Any,
            _ => return Err(field.expected("succeeded, failed or any")),
        },
    };
    Ok(When::Run { project: name(fields.required("project")?)?, ended })
}

fn webhook(fields: &mut Fields<'_>) -> Result<When, YamlError> {
    let events = fields.optional("events").map_or(Ok(Vec::new()), |events| events.strings())?;
    Ok(When::Webhook { events, values: pointers(fields)? })
}

/// `values`: parameter -> JSON pointer.
fn pointers(fields: &mut Fields<'_>) -> Result<BTreeMap<String, String>, YamlError> {
    let mut values = BTreeMap::new();
    if let Some(field) = fields.optional("values") {
        for (entry, field) in field.entries()? {
            let pointer = field.as_str()?;
            if !pointer.starts_with('/') {
                return Err(field.expected("a JSON pointer such as /data/version"));
            }
            values.insert(entry.key.clone(), pointer.to_owned());
        }
    }
    Ok(values)
}

fn pull_request(fields: &mut Fields<'_>) -> Result<When, YamlError> {
    let branches = match fields.optional("branches") {
        Some(branches) => patterns(branches, "a branch or a pattern such as 'release/*'")?,
        None => vec!["**".to_owned()],
    };
    Ok(When::PullRequest { branches })
}

fn monitor(fields: &mut Fields<'_>) -> Result<When, YamlError> {
    let alerts = match fields.optional("alerts") {
        Some(alerts) => patterns(alerts, "the name of an alert or a pattern such as 'Drift*'")?,
        None => Vec::new(),
    };
    let mut labels = BTreeMap::new();
    if let Some(field) = fields.optional("labels") {
        for (entry, field) in field.entries()? {
            let pattern = field.as_str()?;
            glob(pattern).map_err(|_| field.expected("a value or a pattern such as 'digits-*'"))?;
            labels.insert(entry.key.clone(), pattern.to_owned());
        }
    }
    Ok(When::Monitor { alerts, labels, values: pointers(fields)? })
}

fn manual(field: Field<'_>) -> Result<BTreeMap<String, ManualParam>, YamlError> {
    let mut params = BTreeMap::new();
    for (entry, field) in field.entries()? {
        let mut fields = field.fields()?;
        let kind = fields.required("type")?;
        let param = ManualParam {
            kind: match kind.as_str()? {
                "integer" => ParamKind::Integer,
                "number" => ParamKind::Number,
                "text" => ParamKind::Text,
                "boolean" => ParamKind::Boolean,
                _ => return Err(kind.expected("integer, number, text or boolean")),
            },
            default: None,
            min: fields.optional("min").map(|f| f.as_f64()).transpose()?,
            max: fields.optional("max").map(|f| f.as_f64()).transpose()?,
            choices: match fields.optional("choices") {
                Some(choices) => choices.items()?.iter().map(Field::to_json).collect(),
                None => Vec::new(),
            },
            description: fields.optional("description").map(|f| f.as_str().map(str::to_owned)).transpose()?,
            required: bool_or(&mut fields, "required", false)?,
        };
        let default = fields.optional("default");
        if let Some(default) = default {
            param.check(&default.to_json()).map_err(|right| default.expected(&right))?;
        }
        fields.finish()?;
        params.insert(entry.key.clone(), ManualParam { default: default.map(|d| d.to_json()), ..param });
    }
    Ok(params)
}
