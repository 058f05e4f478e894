//! Parameter files with other values: what the overrides do not name keeps its text (YAML, TOML) or
//! its order (JSON).

use std::fmt::Write as _;

use towpath_yaml::{Step, Value, edit, write_python_string};

use super::overrides::{Change, Override};
use super::{lookup, parse};
use crate::error::Error;

/// The text of `file` after the overrides; their `file` is not looked at.
///
/// # Errors
/// A parameter is not there, or is there though it must not be; the file is Python.
pub fn edited(file: &str, text: &str, overrides: &[Override]) -> Result<String, Error> {
    let mut text = text.to_owned();
    for one in overrides {
        let root = parse(file, &text)?;
        let edit = planned(file, &root, one)?;
        text = match file.rsplit_once('.').map(|(_, extension)| extension) {
            Some("py") => {
                let problem = "Python files are only read: set it in there".to_owned();
                return Err(Error::Override { file: file.to_owned(), key: one.key.clone(), problem });
            }
            Some("json") => {
                let mut root = root;
                edit.apply(&mut root);
                let mut json = String::new();
                write_json(&root, 0, &mut json);
                json.push('\n');
                json
            }
            Some("toml") => edit.in_toml(file, &text)?,
            _ => edit.in_yaml(file, &text, &root)?,
        };
    }
    Ok(text)
}

/// The place of a change, every step before the last one there already.
struct Edit {
    path: Vec<String>,
    /// Nothing removes it.
    value: Option<Value>,
}

fn planned(file: &str, root: &Value, one: &Override) -> Result<Edit, Error> {
    let wrong =
        |problem: &str| Error::Override { file: file.to_owned(), key: one.key.clone(), problem: problem.to_owned() };
    let parts: Vec<String> = one.key.split('.').map(str::to_owned).collect();
    let known = lookup(root, &one.key);
    let value = match (&one.change, known) {
        (Change::Remove, Some(_)) => return Ok(Edit { path: parts, value: None }),
        (Change::Remove | Change::Set(_), None) => {
            return Err(wrong("it is not there; a new one is written with a + in front"));
        }
        (Change::Add(_), Some(_)) => return Err(wrong("it is there already; set it without the +")),
        (Change::Set(value) | Change::Add(value) | Change::Put(value), _) => value,
    };
    if let Some(known) = known {
        return Ok(Edit { path: parts, value: Some(merged(known, value)) });
    }
    // From the first step that is missing on.
    let there = (0..parts.len()).take_while(|n| lookup_parts(root, &parts[..=*n]).is_some()).count();
    if !matches!(lookup_parts(root, &parts[..there]), Some(Value::Map(_) | Value::Null)) {
        return Err(wrong(&format!("'{}' is no mapping", parts[..there].join("."))));
    }
    let below = parts[there + 1..].iter().rev();
    let value = below.fold(value.clone(), |value, key| Value::Map(vec![(key.clone(), value)]));
    Ok(Edit { path: parts[..=there].to_vec(), value: Some(value) })
}

fn lookup_parts<'v>(root: &'v Value, parts: &[String]) -> Option<&'v Value> {
    if parts.is_empty() { Some(root) } else { lookup(root, &parts.join(".")) }
}

/// A mapping over a mapping keeps what it does not name.
fn merged(known: &Value, value: &Value) -> Value {
    let (Value::Map(known), Value::Map(over)) = (known, value) else { return value.clone() };
    let mut entries = known.clone();
    for (key, value) in over {
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, known)) => *known = merged(known, value),
            None => entries.push((key.clone(), value.clone())),
        }
    }
    Value::Map(entries)
}

impl Edit {
    fn in_yaml(&self, file: &str, text: &str, root: &Value) -> Result<String, Error> {
        if text.trim().is_empty() || *root == Value::Null {
            let mut root = Value::Map(Vec::new());
            self.apply(&mut root);
            return Ok(towpath_yaml::emit(&root));
        }
        let mut steps = Vec::new();
        let mut at = Some(root);
        for part in &self.path {
            steps.push(match (at, part.parse()) {
                (Some(Value::Seq(_)), Ok(index)) => Step::Index(index),
                _ => Step::Key(part.as_str()),
            });
            at = at.and_then(|value| lookup(value, part));
        }
        Ok(match &self.value {
            Some(value) => edit::set(file, text, &steps, value)?,
            None => edit::remove(file, text, &steps)?,
        })
    }

    fn apply(&self, root: &mut Value) {
        let Some((last, before)) = self.path.split_last() else { return };
        let mut place = root;
        for part in before {
            let next = match place {
                Value::Map(entries) => entries.iter_mut().find(|(key, _)| key == part).map(|(_, value)| value),
                Value::Seq(items) => part.parse::<usize>().ok().and_then(|index| items.get_mut(index)),
                _ => None,
            };
            match next {
                Some(next) => place = next,
                None => return,
            }
        }
        if *place == Value::Null {
            *place = Value::Map(Vec::new());
        }
        match (place, &self.value) {
            (Value::Map(entries), Some(value)) => match entries.iter_mut().find(|(key, _)| key == last) {
                Some((_, known)) => known.clone_from(value),
                None => entries.push((last.clone(), value.clone())),
            },
            (Value::Map(entries), None) => entries.retain(|(key, _)| key != last),
            (Value::Seq(items), value) => {
                let Some(index) = last.parse::<usize>().ok().filter(|index| *index < items.len()) else { return };
                match value {
                    Some(value) => items[index] = value.clone(),
                    None => drop(items.remove(index)),
                }
            }
            _ => {}
        }
    }

    fn in_toml(&self, file: &str, text: &str) -> Result<String, Error> {
        let wrong = |message: String| Error::Toml { file: file.to_owned(), message };
        let mut document: toml_edit::DocumentMut =
            text.parse().map_err(|error: toml_edit::TomlError| wrong(error.to_string()))?;
        let Some((last, before)) = self.path.split_last() else { return Ok(text.to_owned()) };
        let mut place: &mut dyn toml_edit::TableLike = document.as_table_mut();
        for part in before {
            place = place
                .get_mut(part)
                .and_then(toml_edit::Item::as_table_like_mut)
                .ok_or_else(|| wrong(format!("'{part}' is no table")))?;
        }
        match &self.value {
            None => drop(place.remove(last)),
            Some(value) => {
                let mut new = toml_of(value).ok_or_else(|| wrong("TOML has no null".to_owned()))?;
                if let Some(known) = place.get(last).and_then(toml_edit::Item::as_value) {
                    *new.decor_mut() = known.decor().clone();
                }
                match place.get_mut(last) {
                    Some(item) => *item = toml_edit::Item::Value(new),
                    None => drop(place.insert(last, toml_edit::Item::Value(new))),
                }
            }
        }
        Ok(document.to_string())
    }
}

fn toml_of(value: &Value) -> Option<toml_edit::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::String(text) | Value::Timestamp(text) => text.as_str().into(),
        Value::Seq(items) => toml_edit::Value::Array(items.iter().map(toml_of).collect::<Option<toml_edit::Array>>()?),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| Some((key.as_str(), toml_of(value)?)));
            toml_edit::Value::InlineTable(entries.collect::<Option<Vec<_>>>()?.into_iter().collect())
        }
    })
}

fn write_json(value: &Value, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                line(out, depth + 1);
                write_python_string(key, out);
                out.push_str(": ");
                write_json(value, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        Value::Seq(items) if !items.is_empty() => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_json(item, depth + 1, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{}", scalar.to_python_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::overrides;

    fn with(file: &str, text: &str, arguments: &[&str]) -> Result<String, Error> {
        let overrides = arguments.iter().flat_map(|argument| overrides::parse(argument).unwrap().values);
        edited(file, text, &overrides.collect::<Vec<_>>())
    }

    #[test]
    fn other_parts_of_a_file_stay_as_they_are() {
        let yaml = "# all\nlr: 0.1 # rate\nnet:\n  depth: 2\n  act: relu\nlayers:\n- 1\n- 2\n";
        assert_eq!(
            with("params.yaml", yaml, &["lr=0.2", "net.depth=3", "+net.drop.rate=0.5", "~net.act", "layers.1=9"])
                .unwrap(),
            "# all\nlr: 0.2 # rate\nnet:\n  depth: 3\n  drop:\n    rate: 0.5\nlayers:\n- 1\n- 9\n"
        );
        let json = r#"{"lr": 0.1, "net": {"depth": 2}, "a": []}"#;
        assert_eq!(
            with("p.json", json, &["net={width: 4}", "++b=x"]).unwrap(),
            "{\n  \"lr\": 0.1,\n  \"net\": {\n    \"depth\": 2,\n    \"width\": 4\n  },\n  \"a\": [],\n  \"b\": \"x\"\n}\n"
        );
        let toml = "# all\nlr = 0.1 # rate\n\n[net]\ndepth = 2\n";
        assert_eq!(
            with("p.toml", toml, &["lr=0.2", "net.depth=3", "+net.act=relu"]).unwrap(),
            "# all\nlr = 0.2 # rate\n\n[net]\ndepth = 3\nact = \"relu\"\n"
        );
        assert_eq!(with("new.yaml", "", &["+a.b=1"]).unwrap(), "a:\n  b: 1\n");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let message = |argument: &str| with("p.yaml", "a: 1\n", &[argument]).unwrap_err().to_string();
        assert_eq!(
            message("b=1"),
            "'b' of p.yaml cannot be set: it is not there; a new one is written with a + in front"
        );
        assert_eq!(message("+a=1"), "'a' of p.yaml cannot be set: it is there already; set it without the +");
        assert_eq!(message("+a.c=1"), "'a.c' of p.yaml cannot be set: 'a' is no mapping");
        assert!(with("p.py", "a = 1\n", &["a=2"]).unwrap_err().to_string().contains("Python"));
    }
}
