//! Parameter values from YAML and JSON files.

use towpath_yaml::Value;

use crate::error::Error;

/// Values by dotted key, sorted by key as the lock records them.
pub type ParamValues = Vec<(String, Value)>;

/// Reads the values of `keys` (`model.hidden`, `layers.0.units`) from a parameter file, or every
/// top-level entry when `keys` is `None`. The format is that of the file's extension.
pub fn read(file: &str, text: &str, keys: Option<&[String]>) -> Result<ParamValues, Error> {
    let root = parse(file, text)?;
    let mut values = match keys {
        None => match root {
            Value::Map(entries) => entries,
            _ => Vec::new(),
        },
        Some(keys) => {
            let find = |key: &String| match lookup(&root, key) {
                Some(value) => Ok((key.clone(), value.clone())),
                None => Err(Error::MissingParam { file: file.to_owned(), key: key.clone() }),
            };
            keys.iter().map(find).collect::<Result<_, _>>()?
        }
    };
    values.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(values)
}

fn parse(file: &str, text: &str) -> Result<Value, Error> {
    match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("yaml" | "yml") => Ok(towpath_yaml::parse(file, text)?.root().to_value()),
        Some("json") => {
            Value::parse_json(text).map_err(|e| Error::Json { file: file.to_owned(), message: e.to_string() })
        }
        _ => Err(Error::ParamsFormat { file: file.to_owned() }),
    }
}

fn lookup<'v>(root: &'v Value, key: &str) -> Option<&'v Value> {
    key.split('.').try_fold(root, |value, part| match value {
        Value::Map(_) => value.get(part),
        Value::Seq(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "lr: 0.1\nmodel:\n  hidden: 64\nlayers:\n- units: 8\n";

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn dotted_keys_lead_into_mappings_and_lists() {
        let values = read("params.yaml", YAML, Some(&keys(&["model.hidden", "layers.0.units", "lr"]))).unwrap();
        assert_eq!(
            values,
            [
                ("layers.0.units".to_owned(), Value::Int(8)),
                ("lr".into(), Value::Float(0.1)),
                ("model.hidden".into(), Value::Int(64))
            ]
        );
    }

    #[test]
    fn a_whole_file_is_its_top_level_entries() {
        let values = read("p.json", r#"{"b": {"z": 1, "a": 2}, "a": null}"#, None).unwrap();
        let b = Value::Map(vec![("z".into(), Value::Int(1)), ("a".into(), Value::Int(2))]);
        assert_eq!(values, [("a".to_owned(), Value::Null), ("b".into(), b)]);
    }

    #[test]
    fn a_missing_key_is_named_with_its_file() {
        let error = read("params.yaml", YAML, Some(&keys(&["model.depth"]))).unwrap_err();
        assert_eq!(error.to_string(), "parameter 'model.depth' is missing in params.yaml");
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        assert_eq!(
            read("params.toml", "", None).unwrap_err().to_string(),
            "parameters from params.toml are not supported yet"
        );
    }
}
