//! A compiled pipeline of Kubeflow Pipelines v2 (IR YAML, `schemaVersion` 2.1.0), as the SDK's compiler and
//! Vertex AI write it: components, tasks, and how values come to them. Fields that only a cluster has a use
//! for are left alone.

mod expression;
mod placeholder;
mod preamble;
mod read;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

pub use expression::{condition_holds, selected};
pub use placeholder::{ExecutorInput, Names, fill, fill_words, flatten_words};
pub use preamble::{Preamble, preamble, python_of_image};
pub use read::{documents_as_json, read};
pub use value::{from_text, shown, typed};

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    pub name: String,
    pub description: String,
    pub root: Component,
    pub components: BTreeMap<String, Component>,
    pub executors: BTreeMap<String, Executor>,
    /// What the file asks for that is not done here, for people.
    pub notices: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Component {
    pub inputs: BTreeMap<String, Input>,
    /// Names of artifacts, and whether each may be missing.
    pub artifacts: BTreeMap<String, InputArtifact>,
    pub outputs: BTreeMap<String, ParameterType>,
    pub output_artifacts: BTreeMap<String, OutputArtifact>,
    pub body: Body,
}

/// What carries a component out.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// By the name of the executor.
    Executor(String),
    Dag(Dag),
}

impl Default for Body {
    fn default() -> Self {
        Self::Dag(Dag::default())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub kind: ParameterType,
    pub default: Option<Value>,
    pub optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputArtifact {
    pub optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputArtifact {
    /// `system.Model`.
    pub schema: String,
    pub version: String,
    pub is_list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterType {
    Double,
    Integer,
    String,
    Boolean,
    List,
    Struct,
    FinalStatus,
}

/// Tasks and what of their outputs is the whole's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dag {
    pub tasks: BTreeMap<String, Task>,
    /// Of several the first that there is.
    pub outputs: BTreeMap<String, Vec<Selector>>,
    pub output_artifacts: BTreeMap<String, Vec<Selector>>,
}

/// An output of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    pub task: String,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub component: String,
    /// Tasks of the same DAG that end before this one begins.
    pub needs: BTreeSet<String>,
    pub inputs: BTreeMap<String, ParameterSource>,
    pub artifacts: BTreeMap<String, ArtifactSource>,
    /// CEL over its own inputs.
    pub condition: Option<String>,
    /// Runs when the tasks that it needs are over, however they ended.
    pub whatever_happened: bool,
    pub cached: bool,
    pub retry: Retry,
    pub each: Option<Loop>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum ParameterSource {
    Constant(Value),
    Component { name: String, selector: Option<String> },
    Output { from: Selector, selector: Option<String> },
    FinalStatus { task: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArtifactSource {
    Component(String),
    Output(Selector),
}

/// A task that runs once for each item.
#[derive(Clone, Debug, PartialEq)]
pub struct Loop {
    pub items: Items,
    /// The input that gets the item.
    pub input: String,
    /// How many at a time; nothing is no limit.
    pub limit: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Items {
    Raw(Vec<Value>),
    /// An input of the task.
    Parameter(String),
    /// An input of the task that is a list of artifacts.
    Artifacts(String),
}

/// How often a failed task is tried again; durations in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    pub times: u32,
    pub wait: f64,
    pub factor: f64,
    pub longest: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    Container(Container),
    Importer(Importer),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    pub image: String,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub variables: BTreeMap<String, String>,
    pub secrets: Vec<SecretVariable>,
}

/// Of the platform specification for Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVariable {
    pub secret: String,
    pub key: String,
    pub variable: String,
    pub optional: bool,
}

/// Something that exists already becomes an artifact.
#[derive(Clone, Debug, PartialEq)]
pub struct Importer {
    /// A constant, or an input.
    pub uri: Result<String, String>,
    pub schema: String,
    pub version: String,
    pub metadata: Value,
}

/// An output with a place: a file or folder, and what is said of it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Artifact {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: ArtifactType,
    /// A path here, or an address.
    pub uri: String,
    #[serde(default)]
    pub metadata: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactType {
    pub schema_title: String,
    pub schema_version: String,
}

impl Pipeline {
    /// The values of the parameters: given ones, then defaults.
    ///
    /// # Errors
    /// One that is missing, unknown or of another type, in one sentence.
    pub fn parameters(&self, given: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Value>, String> {
        let known = || {
            let names: Vec<&str> = self.root.inputs.keys().map(String::as_str).collect();
            if names.is_empty() { "there are none".to_owned() } else { format!("there are: {}", names.join(", ")) }
        };
        if let Some(name) = given.keys().find(|name| !self.root.inputs.contains_key(*name)) {
            return Err(format!("the pipeline has no parameter '{name}' ({})", known()));
        }
        if let Some((name, _)) = self.root.artifacts.iter().find(|(_, artifact)| !artifact.optional) {
            return Err(format!("the pipeline wants the artifact '{name}' as an input, which cannot be given here"));
        }
        let mut values = BTreeMap::new();
        for (name, input) in &self.root.inputs {
            if let Some(value) = given.get(name).or(input.default.as_ref()) {
                let value = typed(value, input.kind).map_err(|error| format!("parameter '{name}' {error}"))?;
                values.insert(name.clone(), value);
            } else if !input.optional {
                return Err(format!("no value is given for the parameter '{name}'"));
            }
        }
        Ok(values)
    }
}
