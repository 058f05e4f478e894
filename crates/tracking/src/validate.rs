//! What names and values may be, as MLflow has it. Lengths count characters.

use crate::TrackingError;

pub const KEY: usize = 250;
pub const PARAM_VALUE: usize = 6_000;
pub const RUN_TAG_VALUE: usize = 8_000;
pub const EXPERIMENT_NAME: usize = 500;
pub const EXPERIMENT_TAG_VALUE: usize = 20_000;
/// Prompts live in tags of the registry.
pub const REGISTRY_TAG_VALUE: usize = 100_000;
pub const ALIAS: usize = 255;
pub const DATASET_NAME: usize = 500;
pub const DATASET_DIGEST: usize = 36;
pub const DATASET_SCHEMA: usize = 1_048_575;
pub const DATASET_SOURCE: usize = 65_535;
pub const DATASET_PROFILE: usize = 16_777_215;
pub const INPUT_TAG_KEY: usize = 255;
pub const INPUT_TAG_VALUE: usize = 500;
/// For what MLflow leaves unbounded: run names, users, sources, descriptions.
pub const TEXT: usize = 65_535;

pub(crate) fn invalid(parameter: impl Into<String>, value: &str, reason: impl Into<String>) -> TrackingError {
    let shown: String = value.chars().take(KEY).collect();
    TrackingError::InvalidValue {
        parameter: parameter.into(),
        value: serde_json::Value::String(shown).to_string(),
        reason: reason.into(),
    }
}

pub(crate) fn length(parameter: &str, value: &str, limit: usize) -> Result<(), TrackingError> {
    // Bytes are never fewer than characters, so most values need no counting.
    if value.len() <= limit || value.chars().count() <= limit {
        Ok(())
    } else {
        Err(TrackingError::TooLong { parameter: parameter.to_owned(), limit })
    }
}

/// The first `limit` characters: MLflow's way with long parameter and tag values of runs.
pub(crate) fn truncated(value: &str, limit: usize) -> &str {
    value.char_indices().nth(limit).map_or(value, |(end, _)| &value[..end])
}

/// Keys of metrics, parameters and run tags: `[/\w.\- :]*`, and a path that stays what it is.
/// `parameter` is how the message calls it: `name`, `metrics[0].name`.
pub(crate) fn key(parameter: &str, key: &str) -> Result<(), TrackingError> {
    let spelled = key.chars().all(|c| c.is_alphanumeric() || matches!(c, '/' | '_' | '.' | '-' | ' ' | ':'));
    if !spelled {
        return Err(invalid(
            parameter,
            key,
            "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
        ));
    }
    stable_path(parameter, key)?;
    length(parameter, key, KEY)
}

fn stable_path(parameter: &str, name: &str) -> Result<(), TrackingError> {
    let normal = normalized(name);
    if normal != name || normal == "." || normal.starts_with("..") || normal.starts_with('/') {
        return Err(invalid(
            parameter,
            name,
            format!(
                "Names may be treated as files in certain cases, and must not resolve to other names when treated as such. This name would resolve to '{normal}'"
            ),
        ));
    }
    Ok(())
}

/// What a POSIX path resolves to without looking at the disk.
fn normalized(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        match parts.last() {
            Some(&last) if part == ".." && last != ".." => {
                parts.pop();
            }
            None if part == ".." && absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

pub(crate) fn experiment_name(name: &str) -> Result<(), TrackingError> {
    if name.is_empty() {
        return Err(TrackingError::Missing("name".into()));
    }
    length("name", name, EXPERIMENT_NAME)
}

pub(crate) fn artifact_location(location: &str) -> Result<(), TrackingError> {
    length("artifact_location", location, TEXT)?;
    if location.starts_with("runs:") {
        return Err(TrackingError::Conflicting(format!(
            "Artifact location cannot be a runs:/ URI. Given: '{location}'"
        )));
    }
    if location.contains(['?', '#', ';']) {
        return Err(TrackingError::Conflicting("'artifact_location' URL can't include fragments or params.".into()));
    }
    Ok(())
}

/// Names of registered models: not blank, no `/` and no `:`, a path that stays what it is.
pub(crate) fn model_name(parameter: &str, name: &str) -> Result<(), TrackingError> {
    if name.trim().is_empty() {
        return Err(TrackingError::Conflicting("Registered model name cannot be empty.".into()));
    }
    if name.contains(['/', ':']) {
        return Err(TrackingError::Conflicting(format!(
            "Invalid name: '{}'. Registered model name cannot contain '/' or ':'",
            truncated(name, KEY)
        )));
    }
    stable_path(parameter, name)?;
    length(parameter, name, 256)
}

/// Names of logged models.
pub(crate) fn logged_model_name(name: &str) -> Result<(), TrackingError> {
    if name.is_empty() || name.contains(['/', ':', '.', '%', '"', '\'']) {
        return Err(TrackingError::Conflicting(format!(
            "Invalid model name ('{}') provided. Model name must be a non-empty string and cannot contain the following characters: ('/', ':', '.', '%', '\"', \"'\")",
            truncated(name, KEY)
        )));
    }
    length("name", name, EXPERIMENT_NAME)
}

/// Aliases: `[\w\-]*`, neither `latest` nor what looks like a version (`v12`).
pub(crate) fn alias(alias: &str) -> Result<(), TrackingError> {
    if alias.is_empty() {
        return Err(TrackingError::Conflicting("Registered model alias name cannot be empty.".into()));
    }
    if !alias.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-')) {
        return Err(invalid("alias", alias, "Names may only contain alphanumerics, underscores (_), and dashes (-)."));
    }
    length("alias", alias, ALIAS)?;
    if alias.eq_ignore_ascii_case("latest") {
        return Err(TrackingError::Conflicting("'latest' alias name (case insensitive) is reserved.".into()));
    }
    let digits = alias.strip_prefix(['v', 'V']);
    if digits.is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_ascii_digit())) {
        return Err(TrackingError::Conflicting(format!("Version alias name '{alias}' is reserved.")));
    }
    Ok(())
}

/// `max_results` of a list.
pub fn max_results(given: Option<i64>, default: usize, cap: usize) -> Result<usize, TrackingError> {
    let Some(given) = given else { return Ok(default) };
    let refused = |reason: String| TrackingError::MaxResults { value: given, reason };
    if given < 1 {
        return Err(refused("It must be a positive integer".into()));
    }
    usize::try_from(given).ok().filter(|&n| n <= cap).ok_or_else(|| refused(format!("It must be at most {cap}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_like_paths_that_stay_what_they_are() {
        for good in ["loss", "a/b", "größe", "a.b-c d:e", "train/loss 1"] {
            assert!(key("name", good).is_ok(), "{good}");
        }
        for bad in ["a?b", "a//b", "a/", "./a", "/a", "..", "a/../b", ".", "", "..a", "a\nb"] {
            assert!(key("name", bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            key("metrics[0].name", "a?b").unwrap_err().to_string(),
            "Invalid value \"a?b\" for parameter 'metrics[0].name' supplied: Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and slashes (/)."
        );
        assert!(key("name", &"a".repeat(250)).is_ok());
        assert!(key("name", &"a".repeat(251)).is_err());
    }

    #[test]
    fn an_alias_is_neither_latest_nor_a_version() {
        assert!(alias("champion_1-x").is_ok());
        for bad in ["latest", "LATEST", "v1", "V12", "a b", "a/b", ""] {
            assert!(alias(bad).is_err(), "{bad:?}");
        }
        assert!(alias("v1a").is_ok());
    }

    #[test]
    fn an_artifact_location_is_a_plain_uri() {
        assert!(artifact_location("s3://bucket/x").is_ok());
        for bad in ["runs:/abc", "s3://b/x?y=1", "s3://b/x#y", "a;b"] {
            assert!(artifact_location(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lengths_count_characters() {
        assert!(length("x", &"ä".repeat(10), 10).is_ok());
        assert!(length("x", &"ä".repeat(11), 10).is_err());
        assert_eq!(truncated("äöü", 2), "äö");
        assert_eq!(truncated("äö", 2), "äö");
    }

    #[test]
    fn max_results_is_positive_and_capped() {
        assert_eq!(max_results(None, 100, 1000).unwrap(), 100);
        assert_eq!(
            max_results(Some(0), 100, 1000).unwrap_err().to_string(),
            "Invalid value 0 for parameter 'max_results' supplied. It must be a positive integer"
        );
        assert!(max_results(Some(1001), 100, 1000).is_err());
    }
}
