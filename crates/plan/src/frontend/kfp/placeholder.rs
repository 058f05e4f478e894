//! `{{$...}}` in commands and constants, and optional words of commands (`{"IfPresent": ...}`, `{"Concat": ...}`).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Artifact, shown};

/// What a component is told: its inputs, and where its outputs go.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExecutorInput {
    pub parameters: BTreeMap<String, Value>,
    pub artifacts: BTreeMap<String, Vec<Artifact>>,
    /// The file of each output parameter.
    pub output_files: BTreeMap<String, String>,
    pub output_artifacts: BTreeMap<String, Artifact>,
    /// Where the component says what it made.
    pub output_file: String,
}

/// Of the run and its task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    pub job: String,
    pub job_id: String,
    pub task: String,
    pub task_id: String,
    /// The folder of the run's artifacts.
    pub root: String,
}

impl ExecutorInput {
    /// As the SDK reads it.
    pub fn to_json(&self) -> Value {
        let lists = |artifacts: &Vec<Artifact>| json!({"artifacts": artifacts});
        let artifacts: Map<String, Value> =
            self.artifacts.iter().map(|(name, list)| (name.clone(), lists(list))).collect();
        let files: Map<String, Value> =
            self.output_files.iter().map(|(name, file)| (name.clone(), json!({"outputFile": file}))).collect();
        let outputs: Map<String, Value> = self
            .output_artifacts
            .iter()
            .map(|(name, artifact)| (name.clone(), json!({"artifacts": [artifact]})))
            .collect();
        json!({
            "inputs": {"parameterValues": self.parameters, "parameters": {}, "artifacts": artifacts},
            "outputs": {"parameters": files, "artifacts": outputs, "outputFile": self.output_file},
        })
    }

    fn has_input(&self, name: &str) -> bool {
        self.parameters.contains_key(name) || self.artifacts.contains_key(name)
    }
}

/// The text with its places filled.
///
/// # Errors
/// A place that names nothing, in one sentence.
pub fn fill(text: &str, input: &ExecutorInput, names: &Names) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{$") {
        filled.push_str(&rest[..at]);
        let from = &rest[at + "{{$".len()..];
        let Some(end) = from.find("}}") else {
            return Err(format!("'{}' does not close", &rest[at..]));
        };
        let path = from[..end].trim();
        let value =
            resolve(path, input, names).ok_or_else(|| format!("'{{{{${path}}}}}' names nothing that is there"))?;
        filled.push_str(&value);
        rest = &from[end + 2..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Every word filled.
pub fn fill_words(words: &[String], input: &ExecutorInput, names: &Names) -> Result<Vec<String>, String> {
    flatten_words(words, input)?.iter().map(|word| fill(word, input, names)).collect()
}

/// Words that are only there with an input, and those that are put together of several.
pub fn flatten_words(words: &[String], input: &ExecutorInput) -> Result<Vec<String>, String> {
    let mut flat = Vec::new();
    for word in words {
        let structured = word.starts_with("{\"IfPresent\"") || word.starts_with("{\"Concat\"");
        match serde_json::from_str(word) {
            Ok(value) if structured => structured_words(&value, input, &mut flat)?,
            _ => flat.push(word.clone()),
        }
    }
    Ok(flat)
}

fn structured_words(value: &Value, input: &ExecutorInput, flat: &mut Vec<String>) -> Result<(), String> {
    if let Some(text) = value.as_str() {
        flat.push(text.to_owned());
    } else if let Some(list) = value.as_array() {
        for item in list {
            structured_words(item, input, flat)?;
        }
    } else if let Some(parts) = value.get("Concat") {
        let mut words = Vec::new();
        structured_words(parts, input, &mut words)?;
        flat.push(words.concat());
    } else if let Some(present) = value.get("IfPresent") {
        let name = present.get("InputName").and_then(Value::as_str).unwrap_or_default();
        let branch = if input.has_input(name) { present.get("Then") } else { present.get("Else") };
        if let Some(branch) = branch {
            structured_words(branch, input, flat)?;
        }
    } else {
        return Err(format!("'{value}' is no word of a command"));
    }
    Ok(())
}

fn resolve(path: &str, input: &ExecutorInput, names: &Names) -> Option<String> {
    match path {
        "" => return Some(input.to_json().to_string()),
        ".pipeline_job_name" | ".pipeline_job_resource_name" => return Some(names.job.clone()),
        ".pipeline_job_uuid" => return Some(names.job_id.clone()),
        ".pipeline_task_name" => return Some(names.task.clone()),
        ".pipeline_task_uuid" => return Some(names.task_id.clone()),
        ".pipeline_root" => return Some(names.root.clone()),
        ".outputs.output_file" => return Some(input.output_file.clone()),
        _ => {}
    }
    if let Some(rest) = path.strip_prefix(".inputs.parameters") {
        let (name, rest) = key(rest)?;
        return rest.is_empty().then(|| input.parameters.get(name).map(shown))?;
    }
    if let Some(rest) = path.strip_prefix(".outputs.parameters") {
        let (name, rest) = key(rest)?;
        return (rest == ".output_file").then(|| input.output_files.get(name).cloned())?;
    }
    let (artifact, rest) = if let Some(rest) = path.strip_prefix(".inputs.artifacts") {
        let (name, rest) = key(rest)?;
        (input.artifacts.get(name)?.first()?, rest)
    } else {
        let (name, rest) = key(path.strip_prefix(".outputs.artifacts")?)?;
        (input.output_artifacts.get(name)?, rest)
    };
    match rest {
        // Addresses here are paths.
        ".uri" | ".path" => Some(artifact.uri.clone()),
        ".name" => Some(artifact.name.clone()),
        ".metadata" => Some(Value::Object(artifact.metadata.clone()).to_string()),
        _ => {
            let (name, rest) = key(rest.strip_prefix(".metadata")?)?;
            rest.is_empty().then(|| artifact.metadata.get(name).map(shown))?
        }
    }
}

/// `['name']` and what follows.
fn key(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix('[')?;
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (name, rest) = text[1..].split_once(quote)?;
    Some((name, rest.strip_prefix(']')?))
}

#[cfg(test)]
mod tests {
    use super::super::ArtifactType;
    use super::*;

    fn input() -> ExecutorInput {
        let artifact = Artifact {
            name: "data".into(),
            kind: ArtifactType { schema_title: "system.Dataset".into(), schema_version: "0.0.1".into() },
            uri: "/runs/1/data".into(),
            metadata: Map::from_iter([("rows".to_owned(), json!(3))]),
        };
        ExecutorInput {
            parameters: BTreeMap::from([("n".to_owned(), json!(3)), ("list".to_owned(), json!([1, "a"]))]),
            artifacts: BTreeMap::from([("data".to_owned(), vec![artifact])]),
            output_files: BTreeMap::from([("out".to_owned(), "/runs/1/out".to_owned())]),
            ..ExecutorInput::default()
        }
    }

    #[test]
    fn places_are_filled_with_inputs_and_with_where_outputs_go() {
        let names = Names { job: "wine-1".into(), ..Names::default() };
        for (text, expected) in [
            ("n is {{$.inputs.parameters['n']}}, {{$.inputs.parameters[\"list\"]}}", "n is 3, [1,\"a\"]"),
            ("{{$.inputs.artifacts['data'].path}}:{{$.inputs.artifacts['data'].metadata['rows']}}", "/runs/1/data:3"),
            ("{{$.outputs.parameters['out'].output_file}}", "/runs/1/out"),
            ("{{$.pipeline_job_name}}/{{other}}", "wine-1/{{other}}"),
        ] {
            assert_eq!(fill(text, &input(), &names).as_deref(), Ok(expected), "{text}");
        }
        let error = fill("{{$.inputs.parameters['gone']}}", &input(), &names).unwrap_err();
        assert_eq!(error, "'{{$.inputs.parameters['gone']}}' names nothing that is there");
    }

    #[test]
    fn words_may_depend_on_an_input() {
        let words = [
            "run".to_owned(),
            r#"{"IfPresent": {"InputName": "n", "Then": ["--n", "{{$.inputs.parameters['n']}}"]}}"#.to_owned(),
            r#"{"IfPresent": {"InputName": "gone", "Then": ["--gone"], "Else": "--none"}}"#.to_owned(),
            r#"{"Concat": ["a=", "{{$.inputs.parameters['n']}}"]}"#.to_owned(),
        ];
        let filled = fill_words(&words, &input(), &Names::default()).unwrap();
        assert_eq!(filled, ["run", "--n", "3", "--none", "a=3"]);
    }
}
