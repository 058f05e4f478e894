//! Plots that a pipeline file declares: in its own list, and as outputs of its stages.

use towpath_yaml::{Field, Value, YamlError};

use super::{Sources, expand};
use crate::error::Error;
use crate::paths;

/// How an output is plotted; its other properties are about storage.
const PROPERTIES: [&str; 7] = ["template", "x", "y", "x_label", "y_label", "title", "header"];

/// Properties are mappings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plots {
    /// Names, or files and folders as written, of the top-level list.
    pub declared: Vec<(String, Value)>,
    /// Outputs of stages, relative to the root.
    pub outputs: Vec<(String, Value)>,
}

/// The plots of a pipeline file; `file` is its path relative to the root of the repository.
pub fn read(file: &str, text: &str, sources: &Sources<'_>) -> Result<Plots, Error> {
    let document = towpath_yaml::parse(file, text)?;
    if document.root().is_null() {
        return Ok(Plots::default());
    }
    let document = expand::expanded(document, sources)?;
    let mut fields = document.field().fields()?;
    let mut plots = Plots::default();
    for item in fields.optional("plots").map(|list| list.items()).transpose()?.unwrap_or_default() {
        for (name, properties) in named(item)? {
            plots.declared.retain(|(known, _)| *known != name);
            plots.declared.push((name, properties.map_or(Value::Map(Vec::new()), |field| field.to_value())));
        }
    }
    for (_, stage) in fields.optional("stages").map(|list| list.entries()).transpose()?.unwrap_or_default() {
        let mut stage = stage.fields()?;
        let wdir = stage.optional("wdir").map_or(Ok("."), |field| field.as_str())?;
        let folder = paths::resolve(paths::folder(file), wdir).unwrap_or_default();
        for item in stage.optional("plots").map(|list| list.items()).transpose()?.unwrap_or_default() {
            for (written, properties) in named(item)? {
                let path = paths::resolve(&folder, &written).unwrap_or(written);
                plots.outputs.push((path, properties.map_or(Ok(Value::Map(Vec::new())), shown)?));
            }
        }
    }
    Ok(plots)
}

/// `name` or `{name: properties}`.
fn named(item: Field<'_>) -> Result<Vec<(String, Option<Field<'_>>)>, YamlError> {
    if !item.is_map() {
        return Ok(vec![(item.as_str()?.to_owned(), None)]);
    }
    let entries = item.entries()?.into_iter();
    Ok(entries.map(|(entry, field)| (entry.key.clone(), Some(field).filter(|field| !field.is_null()))).collect())
}

/// What of the properties of an output is about its looks. A list stands for several plots of one
/// file, which DVC takes and does not show: the first one is shown.
fn shown(field: Field<'_>) -> Result<Value, YamlError> {
    let properties = if field.is_seq() { field.items()?.first().map(Field::to_value) } else { Some(field.to_value()) };
    let Some(Value::Map(entries)) = properties else { return Ok(Value::Map(Vec::new())) };
    Ok(Value::Map(entries.into_iter().filter(|(key, _)| PROPERTIES.contains(&key.as_str())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_of_the_file_and_of_outputs_are_told_apart() {
        let text = "\
vars: [{kind: acc}]
stages:
  train:
    cmd: x
    wdir: run
    plots:
    - logs.csv: {x: step, cache: false}
    - folder
plots:
- logs.csv
- '${kind} of both': {y: {a.csv: acc}}
";
        let plots = read("sub/dvc.yaml", text, &Sources::none()).unwrap();
        let map = |entries: &[(&str, Value)]| {
            Value::Map(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
        };
        assert_eq!(
            plots.outputs,
            [
                ("sub/run/logs.csv".to_owned(), map(&[("x", Value::string("step"))])),
                ("sub/run/folder".to_owned(), map(&[]))
            ]
        );
        assert_eq!(plots.declared[0], ("logs.csv".to_owned(), map(&[])));
        let (name, properties) = &plots.declared[1];
        assert_eq!(
            (name.as_str(), properties),
            ("acc of both", &map(&[("y", map(&[("a.csv", Value::string("acc"))]))]))
        );
    }
}
