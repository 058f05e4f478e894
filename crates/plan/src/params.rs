//! Parameter values from YAML, JSON, TOML and Python files.

pub mod edit;
pub mod overrides;
mod python;

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

/// The top-level entries of a parameter file, in its order; an empty file has none.
pub fn entries(file: &str, text: &str) -> Result<ParamValues, Error> {
    match parse(file, text)? {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(Vec::new()),
        _ => Err(Error::NotAMapping { file: file.to_owned() }),
    }
}

/// The value of a whole file, in the format of its extension. Whatever has another name is YAML, as for DVC.
pub fn parse(file: &str, text: &str) -> Result<Value, Error> {
    match file.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => {
            Value::parse_json(text).map_err(|e| Error::Json { file: file.to_owned(), message: e.to_string() })
        }
        Some("toml") => {
            let document: toml_edit::DocumentMut = text
                .parse()
                .map_err(|e: toml_edit::TomlError| Error::Toml { file: file.to_owned(), message: e.to_string() })?;
            Ok(table(document.as_table()))
        }
        Some("py") => python::read(file, text),
        _ => Ok(towpath_yaml::parse(file, text)?.root().to_value()),
    }
}

fn table(table: &dyn toml_edit::TableLike) -> Value {
    let entry = |(key, item): (&str, &toml_edit::Item)| {
        let value = match item {
            toml_edit::Item::None => return None,
            toml_edit::Item::Value(value) => toml_value(value),
            toml_edit::Item::Table(inner) => self::table(inner),
            toml_edit::Item::ArrayOfTables(tables) => Value::Seq(tables.iter().map(|t| self::table(t)).collect()),
        };
        Some((key.to_owned(), value))
    };
    Value::Map(table.iter().filter_map(entry).collect())
}

fn toml_value(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::String(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Int(*number.value()),
        toml_edit::Value::Float(number) => Value::Float(*number.value()),
        toml_edit::Value::Boolean(flag) => Value::Bool(*flag.value()),
        toml_edit::Value::Datetime(time) => Value::Timestamp(time.value().to_string()),
        toml_edit::Value::Array(items) => Value::Seq(items.iter().map(toml_value).collect()),
        toml_edit::Value::InlineTable(inner) => table(inner),
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
    fn toml_and_python_files_have_parameters_and_other_names_are_yaml() {
        let seed = |file: &str, text: &str| read(file, text, Some(&keys(&["train.seed"]))).unwrap().remove(0).1;
        assert_eq!(seed("p.toml", "[train]\nseed = 3\n"), Value::Int(3));
        assert_eq!(seed("p.py", "class train:\n    seed = 3\n"), Value::Int(3));
        assert_eq!(seed("settings", "train: {seed: 3}\n"), Value::Int(3));
        let error = read("p.toml", "a =", None).unwrap_err();
        assert!(error.to_string().starts_with("p.toml is not valid TOML: "), "{error}");
    }
}
