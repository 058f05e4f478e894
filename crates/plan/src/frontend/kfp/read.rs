//! From the text of a file to the pipeline. All names are looked up here: what is read can be run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use towpath_yaml::{Document, Field, Fields, YamlError};

use super::{
    ArtifactSource, Body, Component, Container, Dag, Executor, Importer, Input, InputArtifact, Items, Loop,
    OutputArtifact, ParameterSource, ParameterType, Pipeline, Retry, SecretVariable, Selector, Task,
};

type Result<T> = std::result::Result<T, YamlError>;

/// Components inside each other.
const DEEPEST: usize = 32;

/// Reads a file: the pipeline, and after `---` what Kubernetes is told about it.
///
/// # Errors
/// A file that is none, or a name in it that leads nowhere, with its line.
pub fn read(file: &str, text: &str) -> Result<Pipeline> {
    let (first, second) = documents(text);
    let document = towpath_yaml::parse(file, first)?;
    let mut pipeline = pipeline(&document)?;
    if let Some(second) = second {
        platform(&towpath_yaml::parse(file, &second)?, &mut pipeline)?;
    }
    Ok(pipeline)
}

/// The pipeline, and what Kubernetes is told about it, as JSON.
///
/// # Errors
/// A file that is no YAML.
pub fn documents_as_json(text: &str) -> Result<(Value, Option<Value>)> {
    let (first, second) = documents(text);
    let json = |text: &str| Ok(towpath_yaml::parse("pipeline.yaml", text)?.field().to_json());
    Ok((json(first)?, second.as_deref().map(json).transpose()?))
}

/// The two documents; the second keeps its place in the file, so that errors name its lines.
fn documents(text: &str) -> (&str, Option<String>) {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let Some(at) = text.find("\n---\n") else { return (text, None) };
    let (first, second) = (&text[..=at], &text[at + "\n---\n".len()..]);
    let lines = first.matches('\n').count() + 1;
    (first, Some("\n".repeat(lines) + second))
}

fn pipeline(document: &Document) -> Result<Pipeline> {
    let mut fields = document.field().fields()?;
    let version = fields.required("schemaVersion")?;
    if !version.as_str()?.starts_with("2.") {
        return Err(version.expected("a version of the format, such as 2.1.0"));
    }
    let mut info = fields.required("pipelineInfo")?.fields()?;
    let name = info.required("name")?.as_str()?.to_owned();
    let description = info.optional("description").map_or(Ok(""), |field| field.as_str())?.to_owned();
    let mut executors = BTreeMap::new();
    if let Some(deployment) = fields.optional("deploymentSpec") {
        for (entry, field) in deployment.fields()?.optional("executors").map_or(Ok(Vec::new()), |f| f.entries())? {
            executors.insert(entry.key.clone(), executor(field)?);
        }
    }
    let mut named = BTreeMap::new();
    for (entry, field) in fields.optional("components").map_or(Ok(Vec::new()), |field| field.entries())? {
        named.insert(entry.key.clone(), field);
    }
    let names = Known { executors: &executors, components: &named };
    let mut components = BTreeMap::new();
    for (key, field) in &named {
        components.insert(key.clone(), component(*field, &names)?);
    }
    let root_field = fields.required("root")?;
    let root = component(root_field, &names)?;
    depth(&root, &components, root_field, DEEPEST)?;
    Ok(Pipeline { name, description, root, components, executors, notices: Vec::new() })
}

struct Known<'a> {
    executors: &'a BTreeMap<String, Executor>,
    components: &'a BTreeMap<String, Field<'a>>,
}

/// Components do not contain themselves.
fn depth(component: &Component, all: &BTreeMap<String, Component>, at: Field<'_>, left: usize) -> Result<()> {
    let Body::Dag(dag) = &component.body else { return Ok(()) };
    if left == 0 {
        return Err(at.error(format!("components are nested more than {DEEPEST} deep, or contain themselves")));
    }
    let inner: BTreeSet<&String> = dag.tasks.values().map(|task| &task.component).collect();
    inner.into_iter().filter_map(|name| all.get(name)).try_for_each(|inner| depth(inner, all, at, left - 1))
}

fn executor(field: Field<'_>) -> Result<Executor> {
    let mut fields = field.fields()?;
    if let Some(container) = fields.optional("container") {
        let mut fields = container.fields()?;
        let words = |field: Option<Field<'_>>| field.map_or(Ok(Vec::new()), |field| field.strings());
        let mut variables = BTreeMap::new();
        for variable in fields.optional("env").map_or(Ok(Vec::new()), |list| list.items())? {
            let mut variable = variable.fields()?;
            let name = variable.required("name")?.as_str()?.to_owned();
            let value = variable.optional("value").map(|value| value.to_json()).unwrap_or_default();
            variables.insert(name, if value.is_null() { String::new() } else { super::shown(&value) });
        }
        return Ok(Executor::Container(Container {
            image: fields.required("image")?.as_str()?.to_owned(),
            command: words(fields.optional("command"))?,
            args: words(fields.optional("args"))?,
            variables,
            secrets: Vec::new(),
        }));
    }
    if let Some(importer) = fields.optional("importer") {
        let mut fields = importer.fields()?;
        let mut uri = fields.required("artifactUri")?.fields()?;
        let constant = |field: Field<'_>| Ok::<_, YamlError>(super::shown(&field.to_json()));
        let uri = match (uri.optional("constant"), uri.optional("runtimeParameter")) {
            (Some(field), _) => Ok(constant(field)?),
            (_, Some(field)) => Err(field.as_str()?.to_owned()),
            (None, None) => return Err(uri.map().expected("constant or runtimeParameter")),
        };
        let (schema, version) = schema(fields.optional("typeSchema"))?;
        let metadata = fields.optional("metadata").map_or_else(|| json!({}), |metadata| metadata.to_json());
        return Ok(Executor::Importer(Importer { uri, schema, version, metadata }));
    }
    Err(field.error("an executor here is a container or an importer"))
}

fn schema(field: Option<Field<'_>>) -> Result<(String, String)> {
    let mut title = "system.Artifact".to_owned();
    let mut version = "0.0.1".to_owned();
    if let Some(field) = field {
        let mut fields = field.fields()?;
        if let Some(field) = fields.optional("schemaTitle") {
            field.as_str()?.clone_into(&mut title);
        }
        if let Some(field) = fields.optional("schemaVersion") {
            field.as_str()?.clone_into(&mut version);
        }
    }
    Ok((title, version))
}

fn component(field: Field<'_>, known: &Known<'_>) -> Result<Component> {
    let mut fields = field.fields()?;
    let mut component = Component::default();
    if let Some(inputs) = fields.optional("inputDefinitions") {
        let mut inputs = inputs.fields()?;
        for (entry, field) in entries(&mut inputs, "parameters")? {
            let mut fields = field.fields()?;
            let kind = parameter_type(&mut fields)?;
            let default = fields.optional("defaultValue").map(|value| value.to_json());
            let optional = fields.optional("isOptional").map_or(Ok(false), |field| field.as_bool())?;
            component.inputs.insert(entry, Input { kind, default, optional });
        }
        for (entry, field) in entries(&mut inputs, "artifacts")? {
            let optional = field.fields()?.optional("isOptional").map_or(Ok(false), |field| field.as_bool())?;
            component.artifacts.insert(entry, InputArtifact { optional });
        }
    }
    if let Some(outputs) = fields.optional("outputDefinitions") {
        let mut outputs = outputs.fields()?;
        for (entry, field) in entries(&mut outputs, "parameters")? {
            component.outputs.insert(entry, parameter_type(&mut field.fields()?)?);
        }
        for (entry, field) in entries(&mut outputs, "artifacts")? {
            let mut fields = field.fields()?;
            let (schema, version) = schema(fields.optional("artifactType"))?;
            let is_list = fields.optional("isArtifactList").map_or(Ok(false), |field| field.as_bool())?;
            component.output_artifacts.insert(entry, OutputArtifact { schema, version, is_list });
        }
    }
    component.body = match (fields.optional("executorLabel"), fields.optional("dag")) {
        (Some(label), _) => {
            let name = label.as_str()?;
            if !known.executors.contains_key(name) {
                return Err(label.error(format!("there is no executor '{name}' under deploymentSpec")));
            }
            Body::Executor(name.to_owned())
        }
        (None, Some(field)) => Body::Dag(dag(field, &component, known)?),
        (None, None) => return Err(field.error("a component has an executorLabel or a dag")),
    };
    Ok(component)
}

/// A mapping below `key`, or none.
fn entries<'a>(fields: &mut Fields<'a>, key: &'static str) -> Result<Vec<(String, Field<'a>)>> {
    let entries = fields.optional(key).map_or(Ok(Vec::new()), |field| field.entries())?;
    Ok(entries.into_iter().map(|(entry, field)| (entry.key.clone(), field)).collect())
}

fn parameter_type(fields: &mut Fields<'_>) -> Result<ParameterType> {
    let field = fields.required("parameterType")?;
    ParameterType::parse(field.as_str()?).ok_or_else(|| field.expected("a type such as NUMBER_INTEGER or STRING"))
}

fn dag(field: Field<'_>, component: &Component, known: &Known<'_>) -> Result<Dag> {
    let mut fields = field.fields()?;
    let listed = entries(&mut fields, "tasks")?;
    let names: BTreeSet<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    let mut dag = Dag::default();
    for (name, field) in &listed {
        dag.tasks.insert(name.clone(), task(*field, component, known, &names)?);
    }
    if let Some(name) = in_a_circle(&dag.tasks) {
        return Err(field.error(format!("the task '{name}' needs itself, by way of others")));
    }
    if let Some(outputs) = fields.optional("outputs") {
        let mut outputs = outputs.fields()?;
        for (name, field) in entries(&mut outputs, "parameters")? {
            let mut fields = field.fields()?;
            let selectors = match (fields.optional("valueFromParameter"), fields.optional("valueFromOneof")) {
                (Some(one), _) => vec![one],
                (_, Some(several)) => several.fields()?.required("parameterSelectors")?.items()?,
                (None, None) => return Err(field.expected("valueFromParameter or valueFromOneof")),
            };
            let selectors: Result<Vec<Selector>> =
                selectors.into_iter().map(|f| selector(f, "producerSubtask", "outputParameterKey", &names)).collect();
            dag.outputs.insert(name, selectors?);
        }
        for (name, field) in entries(&mut outputs, "artifacts")? {
            let selectors: Result<Vec<Selector>> = field
                .fields()?
                .required("artifactSelectors")?
                .items()?
                .into_iter()
                .map(|field| selector(field, "producerSubtask", "outputArtifactKey", &names))
                .collect();
            dag.output_artifacts.insert(name, selectors?);
        }
    }
    Ok(dag)
}

fn selector(field: Field<'_>, task: &'static str, key: &'static str, names: &BTreeSet<&str>) -> Result<Selector> {
    let mut fields = field.fields()?;
    let producer = one_of(fields.required(task)?, names)?;
    Ok(Selector { task: producer, key: fields.required(key)?.as_str()?.to_owned() })
}

fn one_of(field: Field<'_>, names: &BTreeSet<&str>) -> Result<String> {
    let name = field.as_str()?;
    if names.contains(name) {
        return Ok(name.to_owned());
    }
    Err(field.error(format!("there is no task '{name}' beside this one")))
}

fn task(field: Field<'_>, parent: &Component, known: &Known<'_>, names: &BTreeSet<&str>) -> Result<Task> {
    let mut fields = field.fields()?;
    let reference = fields.required("componentRef")?.fields()?.required("name")?;
    let component = reference.as_str()?.to_owned();
    if !known.components.contains_key(&component) {
        return Err(reference.error(format!("there is no component '{component}'")));
    }
    let mut needs = BTreeSet::new();
    for field in fields.optional("dependentTasks").map_or(Ok(Vec::new()), |list| list.items())? {
        needs.insert(one_of(field, names)?);
    }
    let mut task = Task {
        component,
        needs,
        inputs: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        condition: None,
        whatever_happened: false,
        cached: false,
        retry: Retry { times: 0, wait: 0.0, factor: 2.0, longest: 3600.0 },
        each: None,
    };
    if let Some(inputs) = fields.optional("inputs") {
        let mut inputs = inputs.fields()?;
        for (name, field) in entries(&mut inputs, "parameters")? {
            let source = parameter_source(field, parent, names)?;
            match &source {
                ParameterSource::Output { from, .. } => drop(task.needs.insert(from.task.clone())),
                ParameterSource::FinalStatus { task: of } => drop(task.needs.insert(of.clone())),
                _ => {}
            }
            task.inputs.insert(name, source);
        }
        for (name, field) in entries(&mut inputs, "artifacts")? {
            let source = artifact_source(field, parent, names)?;
            if let ArtifactSource::Output(from) = &source {
                task.needs.insert(from.task.clone());
            }
            task.artifacts.insert(name, source);
        }
    }
    if let Some(policy) = fields.optional("triggerPolicy") {
        let mut policy = policy.fields()?;
        task.condition = policy.optional("condition").map(|field| field.as_str().map(str::to_owned)).transpose()?;
        let strategy = policy.optional("strategy").map(|field| field.as_str()).transpose()?;
        task.whatever_happened = strategy == Some("ALL_UPSTREAM_TASKS_COMPLETED");
    }
    if let Some(options) = fields.optional("cachingOptions") {
        task.cached = options.fields()?.optional("enableCache").map_or(Ok(false), |field| field.as_bool())?;
    }
    if let Some(policy) = fields.optional("retryPolicy") {
        retry(policy, &mut task.retry)?;
    }
    task.each = iterator(&mut fields)?;
    Ok(task)
}

fn parameter_source(field: Field<'_>, parent: &Component, names: &BTreeSet<&str>) -> Result<ParameterSource> {
    let mut fields = field.fields()?;
    let selector_of = |fields: &mut Fields<'_>| {
        fields.optional("parameterExpressionSelector").map(|field| field.as_str().map(str::to_owned)).transpose()
    };
    if let Some(value) = fields.optional("runtimeValue") {
        let mut value = value.fields()?;
        if let Some(name) = value.optional("runtimeParameter") {
            let name = name.as_str()?.to_owned();
            return Ok(ParameterSource::Component { name, selector: None });
        }
        return Ok(ParameterSource::Constant(value.required("constant")?.to_json()));
    }
    if let Some(name) = fields.optional("componentInputParameter") {
        let text = name.as_str()?;
        if !parent.inputs.contains_key(text) {
            return Err(name.error(format!("the component around this task has no input '{text}'")));
        }
        return Ok(ParameterSource::Component { name: text.to_owned(), selector: selector_of(&mut fields)? });
    }
    if let Some(output) = fields.optional("taskOutputParameter") {
        let from = selector(output, "producerTask", "outputParameterKey", names)?;
        return Ok(ParameterSource::Output { from, selector: selector_of(&mut fields)? });
    }
    if let Some(status) = fields.optional("taskFinalStatus") {
        let task = one_of(status.fields()?.required("producerTask")?, names)?;
        return Ok(ParameterSource::FinalStatus { task });
    }
    Err(field.expected("runtimeValue, componentInputParameter, taskOutputParameter or taskFinalStatus"))
}

fn artifact_source(field: Field<'_>, parent: &Component, names: &BTreeSet<&str>) -> Result<ArtifactSource> {
    let mut fields = field.fields()?;
    if let Some(name) = fields.optional("componentInputArtifact") {
        let text = name.as_str()?;
        if !parent.artifacts.contains_key(text) {
            return Err(name.error(format!("the component around this task has no artifact '{text}'")));
        }
        return Ok(ArtifactSource::Component(text.to_owned()));
    }
    if let Some(output) = fields.optional("taskOutputArtifact") {
        return Ok(ArtifactSource::Output(selector(output, "producerTask", "outputArtifactKey", names)?));
    }
    Err(field.expected("componentInputArtifact or taskOutputArtifact"))
}

fn iterator(fields: &mut Fields<'_>) -> Result<Option<Loop>> {
    let policy = fields.optional("iteratorPolicy");
    let limit = policy.map(|policy| policy.fields()?.optional("parallelismLimit").map(|f| f.as_u64()).transpose());
    let limit = limit.transpose()?.flatten().filter(|limit| *limit > 0).map(|limit| limit as usize);
    let (items, input) = if let Some(field) = fields.optional("parameterIterator") {
        let mut fields = field.fields()?;
        let mut items = fields.required("items")?.fields()?;
        let source = if let Some(raw) = items.optional("raw") {
            let list: Option<Vec<Value>> = serde_json::from_str(raw.as_str()?).ok();
            Items::Raw(list.ok_or_else(|| raw.expected("a list in JSON"))?)
        } else {
            Items::Parameter(items.required("inputParameter")?.as_str()?.to_owned())
        };
        (source, fields.required("itemInput")?.as_str()?.to_owned())
    } else if let Some(field) = fields.optional("artifactIterator") {
        let mut fields = field.fields()?;
        let source = fields.required("items")?.fields()?.required("inputArtifact")?.as_str()?.to_owned();
        (Items::Artifacts(source), fields.required("itemInput")?.as_str()?.to_owned())
    } else {
        return Ok(None);
    };
    Ok(Some(Loop { items, input, limit }))
}

fn retry(field: Field<'_>, retry: &mut Retry) -> Result<()> {
    let mut fields = field.fields()?;
    if let Some(count) = fields.optional("maxRetryCount") {
        retry.times = count.as_u64()?.try_into().unwrap_or(u32::MAX);
    }
    if let Some(factor) = fields.optional("backoffFactor") {
        retry.factor = factor.as_f64()?;
    }
    let seconds = |field: Field<'_>| -> Result<f64> {
        let text = field.as_str()?;
        let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok()).filter(|s: &f64| *s >= 0.0);
        seconds.ok_or_else(|| field.expected("seconds, such as 30s"))
    };
    if let Some(wait) = fields.optional("backoffDuration") {
        retry.wait = seconds(wait)?;
    }
    if let Some(longest) = fields.optional("backoffMaxDuration") {
        retry.longest = seconds(longest)?;
    }
    Ok(())
}

/// A task that cannot begin since what it needs cannot.
fn in_a_circle(tasks: &BTreeMap<String, Task>) -> Option<String> {
    let mut open: BTreeSet<&str> = tasks.keys().map(String::as_str).collect();
    loop {
        let ready: Vec<&str> =
            open.iter().copied().filter(|name| tasks[*name].needs.iter().all(|n| !open.contains(n.as_str()))).collect();
        if ready.is_empty() {
            return open.first().map(|name| (*name).to_owned());
        }
        for name in ready {
            open.remove(name);
        }
    }
}

/// Variables out of secrets are taken; all else that Kubernetes is told becomes a notice.
fn platform(document: &Document, pipeline: &mut Pipeline) -> Result<()> {
    let Some(platforms) = document.field().fields()?.optional("platforms") else { return Ok(()) };
    for (platform, field) in platforms.entries()? {
        let Some(deployment) = field.fields()?.optional("deploymentSpec") else { continue };
        for (name, field) in entries(&mut deployment.fields()?, "executors")? {
            for (entry, field) in field.entries()? {
                if platform.key == "kubernetes" && entry.key == "secretAsEnv" {
                    if let Some(Executor::Container(container)) = pipeline.executors.get_mut(&name) {
                        for field in field.items()? {
                            secret(field, &mut container.secrets)?;
                        }
                    }
                } else {
                    let notice = format!("{}: '{}' of {name} has no effect here", platform.key, entry.key);
                    pipeline.notices.push(notice);
                }
            }
        }
    }
    Ok(())
}

fn secret(field: Field<'_>, secrets: &mut Vec<SecretVariable>) -> Result<()> {
    let mut fields = field.fields()?;
    let secret = if let Some(field) = fields.optional("secretName") {
        field.as_str()?.to_owned()
    } else {
        let value = fields.required("secretNameParameter")?.fields()?.required("runtimeValue")?;
        value.fields()?.required("constant")?.as_str()?.to_owned()
    };
    let optional = fields.optional("optional").map_or(Ok(false), |field| field.as_bool())?;
    for field in fields.required("keyToEnv")?.items()? {
        let mut fields = field.fields()?;
        secrets.push(SecretVariable {
            secret: secret.clone(),
            key: fields.required("secretKey")?.as_str()?.to_owned(),
            variable: fields.required("envVar")?.as_str()?.to_owned(),
            optional,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPELINE: &str = "\
components:
  comp-say:
    executorLabel: exec-say
    inputDefinitions: {parameters: {text: {parameterType: STRING}}}
deploymentSpec:
  executors:
    exec-say: {container: {image: 'python:3.11', command: [echo], args: ['{{$.inputs.parameters[''text'']}}']}}
pipelineInfo: {name: hello}
root:
  dag:
    tasks:
      say:
        componentRef: {name: comp-say}
        dependentTasks: [first]
        inputs: {parameters: {text: {componentInputParameter: greeting}}}
        retryPolicy: {maxRetryCount: 2, backoffDuration: 1.5s}
      first:
        componentRef: {name: comp-say}
        inputs: {parameters: {text: {runtimeValue: {constant: hi}}}}
  inputDefinitions: {parameters: {greeting: {parameterType: STRING, defaultValue: hello, isOptional: true}}}
schemaVersion: 2.1.0
";

    #[test]
    fn tasks_components_and_executors_are_read() {
        let pipeline = read("p.yaml", PIPELINE).unwrap();
        let Body::Dag(dag) = &pipeline.root.body else { panic!("a dag") };
        assert_eq!(dag.tasks["say"].needs, BTreeSet::from(["first".to_owned()]));
        assert_eq!(dag.tasks["say"].retry, Retry { times: 2, wait: 1.5, factor: 2.0, longest: 3600.0 });
        assert_eq!(pipeline.parameters(&BTreeMap::new()).unwrap()["greeting"], json!("hello"));
        let unknown = pipeline.parameters(&BTreeMap::from([("x".to_owned(), json!(1))])).unwrap_err();
        assert_eq!(unknown, "the pipeline has no parameter 'x' (there are: greeting)");
    }

    #[test]
    fn names_that_lead_nowhere_are_errors_with_their_line() {
        for (from, to, message) in [
            ("[first]", "[second]", "there is no task 'second'"),
            ("executorLabel: exec-say", "executorLabel: exec-none", "no executor 'exec-none'"),
            ("componentInputParameter: greeting", "componentInputParameter: gone", "has no input 'gone'"),
            (
                "runtimeValue: {constant: hi}",
                "taskOutputParameter: {producerTask: say, outputParameterKey: x}",
                "needs itself",
            ),
            ("STRING}}}\ndep", "TEXT}}}\ndep", "NUMBER_INTEGER"),
            ("2.1.0", "1.0.0", "a version of the format"),
        ] {
            let error = read("p.yaml", &PIPELINE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(message) && error.contains("p.yaml:"), "{error}");
        }
    }

    #[test]
    fn the_second_document_gives_secrets_and_notices() {
        let platform = "---\nplatforms:\n  kubernetes:\n    deploymentSpec:\n      executors:\n        exec-say:\n          \
            secretAsEnv:\n          - {secretName: token, keyToEnv: [{secretKey: value, envVar: TOKEN}]}\n          \
            pvcMount: [{mountPath: /data}]\n";
        let pipeline = read("p.yaml", &format!("{PIPELINE}{platform}")).unwrap();
        let Executor::Container(container) = &pipeline.executors["exec-say"] else { panic!("a container") };
        assert_eq!(container.secrets[0].variable, "TOKEN");
        assert_eq!(pipeline.notices, ["kubernetes: 'pvcMount' of exec-say has no effect here"]);
        let broken = read("p.yaml", &format!("{PIPELINE}{platform}").replace("secretKey: value, ", "")).unwrap_err();
        assert!(broken.to_string().contains("p.yaml:29"), "{broken}");
    }
}
