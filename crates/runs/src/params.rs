//! Parameters that a run has of its own: checked against what `towpath.yaml` declares, then written
//! into the checkout, so that DVC and the engine see them as if they had been committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use towpath_core::triggers::ManualParam;
use towpath_yaml::{Step, edit};

use crate::Error;

/// Values by `key` of `params.yaml`, or `file:key`.
pub type Params = BTreeMap<String, Value>;

const DEFAULT_FILE: &str = "params.yaml";

/// What a run started by hand gets: what was given, and the defaults of the rest.
pub(crate) fn checked(declared: &BTreeMap<String, ManualParam>, given: &Params) -> Result<Params, Error> {
    let mut params = Params::new();
    for (name, value) in given {
        let Some(param) = declared.get(name) else {
            let known: Vec<&str> = declared.keys().map(String::as_str).collect();
            let problem = if known.is_empty() {
                "is not declared: towpath.yaml has no on.manual.params".to_owned()
            } else {
                format!("is not declared; on.manual.params has {}", known.join(", "))
            };
            return Err(Error::Param { name: name.clone(), problem });
        };
        param
            .check(value)
            .map_err(|right| Error::Param { name: name.clone(), problem: format!("must be {right}, found {value}") })?;
        params.insert(name.clone(), value.clone());
    }
    for (name, param) in declared {
        if params.contains_key(name) {
            continue;
        }
        match &param.default {
            Some(default) => drop(params.insert(name.clone(), default.clone())),
            None if param.required => {
                return Err(Error::Param { name: name.clone(), problem: "is required".into() });
            }
            None => {}
        }
    }
    Ok(params)
}

/// The file of a parameter and its keys.
fn place(name: &str) -> (&str, &str) {
    match name.split_once(':') {
        Some((file, key)) if Path::new(file).extension().is_some_and(|e| e == "yaml" || e == "yml") => (file, key),
        _ => (DEFAULT_FILE, name),
    }
}

/// The files that hold these parameters.
pub(crate) fn files(params: &Params) -> BTreeSet<&str> {
    params.keys().map(|name| place(name).0).collect()
}

/// Writes the parameters into the files of a checkout.
pub(crate) fn apply(tree: &Path, params: &Params) -> Result<(), Error> {
    for file in files(params) {
        let fail = |detail: String| Error::Param { name: file.to_owned(), problem: detail };
        let relative = towpath_core::names::confined_path(file)
            .ok_or_else(|| fail("is not a path inside the repository".into()))?;
        let path = tree.join(relative);
        if fs::symlink_metadata(&path).is_ok_and(|m| m.is_symlink()) {
            return Err(fail("is a symbolic link".into()));
        }
        let mut text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(fail(error.to_string())),
        };
        for (name, value) in params.iter().filter(|(name, _)| place(name).0 == file) {
            text = set(file, &text, place(name).1, value).map_err(|e| fail(e.to_string()))?;
        }
        fs::write(&path, text).map_err(|e| fail(e.to_string()))?;
    }
    Ok(())
}

/// One value; mappings on its way that are not there are made.
fn set(file: &str, text: &str, key: &str, value: &Value) -> Result<String, towpath_yaml::YamlError> {
    let keys: Vec<&str> = key.split('.').collect();
    let document = towpath_yaml::parse(file, text)?;
    let mut node = Some(document.root());
    let mut known = 0;
    for key in &keys {
        node = node.and_then(|node| node.get(key));
        if node.is_none() {
            break;
        }
        known += 1;
    }
    // The first step that is missing gets the rest as its value.
    let depth = (known + 1).min(keys.len());
    let nested = keys[depth..].iter().rev().fold(value.clone(), |inner, key| serde_json::json!({*key: inner}));
    let value = towpath_yaml::Value::from_json(&nested);
    if document.root().is_null() {
        let whole = towpath_yaml::Value::Map(vec![(keys[0].to_owned(), value)]);
        return Ok(towpath_yaml::emit(&whole));
    }
    let steps: Vec<Step<'_>> = keys[..depth].iter().map(|key| Step::Key(key)).collect();
    edit::set(file, text, &steps, &value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params(values: &[(&str, Value)]) -> Params {
        values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn parameters_are_written_where_the_stages_read_them_and_nothing_else_changes() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("params.yaml"), "# how long\ntrain:\n  epochs: 3  # few\nseed: 1\n").unwrap();
        let given = params(&[
            ("train.epochs", json!(9)),
            ("train.opt.name", json!("adam")),
            ("day", json!("2026-01-02")),
            ("other.yaml:a.b", json!(true)),
        ]);
        apply(dir.path(), &given).unwrap();
        let text = fs::read_to_string(dir.path().join("params.yaml")).unwrap();
        assert_eq!(
            text,
            "# how long\ntrain:\n  epochs: 9  # few\n  opt:\n    name: adam\nseed: 1\nday: '2026-01-02'\n"
        );
        assert_eq!(fs::read_to_string(dir.path().join("other.yaml")).unwrap(), "a:\n  b: true\n");
    }

    #[test]
    fn a_parameter_never_leaves_the_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let error = apply(dir.path(), &params(&[("../x.yaml:a", json!(1))])).unwrap_err();
        assert_eq!(error.to_string(), "parameter '../x.yaml' is not a path inside the repository");
        std::os::unix::fs::symlink("/tmp", dir.path().join("l.yaml")).unwrap();
        let error = apply(dir.path(), &params(&[("l.yaml:a", json!(1))])).unwrap_err();
        assert_eq!(error.to_string(), "parameter 'l.yaml' is a symbolic link");
    }
}
