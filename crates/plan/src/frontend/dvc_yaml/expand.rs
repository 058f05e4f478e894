//! A `dvc.yaml` without `vars`, templates, `foreach` and `matrix`: the same document with their
//! values in place. Each value keeps the place of the template it came from, for errors.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use towpath_yaml::{Document, Entry, Kind, Node, Scalar, Span, Value, YamlError};

use super::context::Context;
use super::template::{self, Expression};
use super::{Arguments, Sources};
use crate::error::Error;
use crate::paths;

/// Values of the whole expanded file; a small file must not become an endless one.
const MAX_VALUES: usize = 1_000_000;
/// So many bytes of text count as one value.
const BYTES_PER_VALUE: usize = 64;

/// The document with everything resolved.
pub(super) fn expanded(document: Document, sources: &Sources<'_>) -> Result<Document, Error> {
    let needs_it = ["${", "vars", "foreach", "matrix"].iter().any(|word| document.text().contains(word));
    let Kind::Map(entries) = &document.root().kind else { return Ok(document) };
    if !needs_it {
        return Ok(document);
    }
    let folder = paths::folder(document.file());
    let mut context = Context::of_file(&document, folder, sources)?;
    let expansion = Expansion { document: &document, folder, sources, left: Cell::new(MAX_VALUES) };
    let mut resolved = Vec::new();
    for entry in entries.iter().filter(|entry| entry.key != "vars") {
        let value = match (entry.key.as_str(), &entry.value.kind) {
            ("stages", Kind::Map(stages)) => {
                Node { kind: Kind::Map(expansion.stages(stages, &mut context)?), ..entry.value.clone() }
            }
            _ => expansion.node(&entry.value, &context, None)?,
        };
        resolved.push(Entry { key: entry.key.clone(), key_span: entry.key_span, value });
    }
    let root = Node { kind: Kind::Map(resolved), ..document.root().clone() };
    Ok(document.with_root(root))
}

struct Expansion<'a> {
    document: &'a Document,
    folder: &'a str,
    sources: &'a Sources<'a>,
    /// Values that may still be made.
    left: Cell<usize>,
}

/// Generated stages by name: a name that comes again replaces the first one.
#[derive(Default)]
struct Generated {
    stages: Vec<Entry>,
    places: HashMap<String, usize>,
}

impl Generated {
    fn add(&mut self, stage: Entry) {
        if let Some(&at) = self.places.get(&stage.key) {
            self.stages[at] = stage;
        } else {
            self.places.insert(stage.key.clone(), self.stages.len());
            self.stages.push(stage);
        }
    }
}

impl Expansion<'_> {
    fn stages(&self, stages: &[Entry], context: &mut Context) -> Result<Vec<Entry>, Error> {
        let mut generated = Generated::default();
        for entry in stages {
            if let Some(axes) = entry.value.get("matrix") {
                self.matrix(entry, axes, context, &mut generated)?;
            } else if let Some(iterable) = entry.value.get("foreach") {
                self.foreach(entry, iterable, context, &mut generated)?;
            } else {
                generated.add(self.stage(&entry.key, entry, &entry.value, context)?);
            }
        }
        Ok(generated.stages)
    }

    /// A stage for each item. `item` is the value; `key` is there for mappings only.
    fn foreach(
        &self,
        entry: &Entry,
        iterable: &Node,
        context: &mut Context,
        generated: &mut Generated,
    ) -> Result<(), Error> {
        let document = self.document;
        let Some(template) = entry.value.get("do") else {
            return Err(document.error(entry.value.span, format!("'do' is missing in '{}'", entry.key)).into());
        };
        refuse_other_keys(document, entry, &["foreach", "do"])?;
        let items: Vec<(String, Value, bool)> = match self.node(iterable, context, None)?.to_value() {
            Value::Map(entries) => entries.into_iter().map(|(key, value)| (key, value, true)).collect(),
            Value::Seq(items) if items.iter().any(is_composite) => {
                items.into_iter().enumerate().map(|(at, value)| (at.to_string(), value, false)).collect()
            }
            Value::Seq(items) => {
                let named = items.into_iter().enumerate().map(|(at, value)| {
                    let name = self.name_part(&value, item_of(Some(iterable), at), iterable)?;
                    Ok((name, value, false))
                });
                named.collect::<Result<_, YamlError>>()?
            }
            _ => return Err(document.error(iterable.span, "'foreach' must be a list or a mapping").into()),
        };
        for (key, item, keyed) in items {
            let name = format!("{}@{key}", entry.key);
            let mut locals = vec![("item".to_owned(), item)];
            if keyed {
                locals.push(("key".to_owned(), Value::String(key)));
            }
            context.set_locals(locals);
            generated.add(self.stage(&name, entry, template, context)?);
        }
        context.set_locals(Vec::new());
        Ok(())
    }

    /// A stage for each combination, the first axis slowest. `item` has the values by axis.
    fn matrix(
        &self,
        entry: &Entry,
        axes: &Node,
        context: &mut Context,
        generated: &mut Generated,
    ) -> Result<(), Error> {
        let document = self.document;
        for key in ["foreach", "do"] {
            if entry.value.get(key).is_some() {
                let message = format!("'{}' has both 'matrix' and '{key}'", entry.key);
                return Err(document.error(axes.span, message).into());
            }
        }
        let mut values: Vec<(String, Vec<Value>)> = Vec::new();
        let Value::Map(resolved) = self.node(axes, context, None)?.to_value() else {
            return Err(document.error(axes.span, "'matrix' must be a mapping of lists").into());
        };
        for (axis, value) in resolved {
            match value {
                Value::Seq(items) => values.push((axis, items)),
                _ => return Err(document.error(axes.span, format!("'{axis}' of 'matrix' must be a list")).into()),
            }
        }
        let Kind::Map(fields) = &entry.value.kind else { return Ok(()) };
        let fields = fields.iter().filter(|field| field.key != "matrix").cloned().collect();
        let template = Node { kind: Kind::Map(fields), ..entry.value.clone() };

        let mut at = vec![0; values.len()];
        let mut more = values.iter().all(|(_, items)| !items.is_empty());
        while more {
            let mut item = Vec::new();
            let mut parts = Vec::new();
            for ((axis, items), &at) in values.iter().zip(&at) {
                let value = &items[at];
                parts.push(if is_composite(value) {
                    format!("{axis}{at}")
                } else {
                    self.name_part(value, item_of(axes.get(axis), at), axes)?
                });
                item.push((axis.clone(), value.clone()));
            }
            let key = parts.join("-");
            let name = format!("{}@{key}", entry.key);
            context.set_locals(vec![("key".into(), Value::String(key)), ("item".into(), Value::Map(item))]);
            generated.add(self.stage(&name, entry, &template, context)?);
            more = advance(&mut at, &values);
        }
        context.set_locals(Vec::new());
        Ok(())
    }

    /// `written` is what stands in the list for the value. DVC names booleans otherwise when a template
    /// gave them.
    fn name_part(&self, value: &Value, written: Option<&Node>, near: &Node) -> Result<String, YamlError> {
        let literal = written.is_some_and(|node| matches!(node.kind, Kind::Scalar(Scalar::Bool(_))));
        match value {
            Value::Bool(true) if !literal => return Ok("True".into()),
            Value::Bool(false) if !literal => return Ok("False".into()),
            _ => {}
        }
        template::written(value, Arguments::default()).map_err(|message| self.document.error(near.span, message))
    }

    fn stage(&self, name: &str, entry: &Entry, template: &Node, context: &Context) -> Result<Entry, Error> {
        let value = match &template.kind {
            Kind::Map(fields) => {
                let scope = self.scope(template, context)?;
                let mut resolved = Vec::with_capacity(fields.len());
                for field in fields.iter().filter(|field| field.key != "vars") {
                    let value = self.node(&field.value, &scope, Some(&field.key))?;
                    resolved.push(Entry { key: field.key.clone(), key_span: field.key_span, value });
                }
                Node { kind: Kind::Map(resolved), ..template.clone() }
            }
            // The reader says what is wrong with it.
            _ => template.clone(),
        };
        Ok(Entry { key: name.to_owned(), key_span: entry.key_span, value })
    }

    /// The names of one stage: its own `vars` come to those of the file.
    fn scope<'c>(&self, template: &Node, context: &'c Context) -> Result<Cow<'c, Context>, Error> {
        let Some(vars) = template.get("vars") else { return Ok(Cow::Borrowed(context)) };
        let folder = match template.get("wdir") {
            Some(wdir) => match self.node(wdir, context, Some("wdir"))?.to_value() {
                Value::String(written) => paths::resolve(self.folder, &written),
                _ => None,
            }
            .ok_or_else(|| self.document.error(wdir.span, "'wdir' is not a folder inside the repository"))?,
            None => self.folder.to_owned(),
        };
        let mut own = context.clone();
        own.add_vars(self.document, vars, &folder, self.sources)?;
        Ok(Cow::Owned(own))
    }

    /// `key` is the key of the stage that the node belongs to.
    fn node(&self, node: &Node, context: &Context, key: Option<&str>) -> Result<Node, YamlError> {
        self.spend(1, node.span)?;
        let kind = match &node.kind {
            Kind::Scalar(Scalar::String(text)) if text.contains("${") => {
                return self.placed(self.text(text, node.span, context, key)?, node.span);
            }
            Kind::Scalar(scalar) => Kind::Scalar(scalar.clone()),
            Kind::Seq(items) => {
                Kind::Seq(items.iter().map(|item| self.node(item, context, key)).collect::<Result<_, _>>()?)
            }
            Kind::Map(entries) => {
                let mut resolved: Vec<Entry> = Vec::with_capacity(entries.len());
                for entry in entries {
                    let value = self.node(&entry.value, context, key)?;
                    let name = if entry.key.contains("${") {
                        let name = self.text(&entry.key, entry.key_span, context, key)?;
                        template::written(&name, Arguments::default())
                            .map_err(|message| self.document.error(entry.key_span, message))?
                    } else {
                        entry.key.clone()
                    };
                    resolved.push(Entry { key: name, key_span: entry.key_span, value });
                }
                Kind::Map(resolved)
            }
        };
        Ok(Node { kind, ..node.clone() })
    }

    /// A text that is one template as a whole has the type of its value.
    fn text(&self, text: &str, span: Span, context: &Context, key: Option<&str>) -> Result<Value, YamlError> {
        let expressions = template::expressions(text);
        if let [only] = expressions.as_slice()
            && only.at == (0..text.len())
        {
            return self.value(only, span, context, key).cloned();
        }
        let mut out = String::new();
        let mut at = 0;
        for expression in &expressions {
            out.push_str(&text[at..expression.at.start]);
            let value = self.value(expression, span, context, key)?;
            let written = template::written(value, self.sources.arguments);
            out.push_str(&written.map_err(|message| {
                self.document.error(span, format!("'${{{}}}' has no text: {message}", expression.inner))
            })?);
            at = expression.at.end;
        }
        out.push_str(&text[at..]);
        self.spend(out.len() / BYTES_PER_VALUE, span)?;
        Ok(Value::String(out.replace("\\${", "${")))
    }

    fn value<'c>(
        &self,
        expression: &Expression<'_>,
        span: Span,
        context: &'c Context,
        key: Option<&str>,
    ) -> Result<&'c Value, YamlError> {
        let Expression { inner, .. } = expression;
        if !template::is_reference(inner) {
            let message = format!("'${{{inner}}}' is not a template");
            return Err(self.document.error(span, message).help("write ${name}, ${name.key} or ${name[0]}"));
        }
        let Some(value) = context.select(inner) else {
            let help = "define it in params.yaml or under 'vars'; write \\${...} for the text itself";
            return Err(self.document.error(span, format!("'{inner}' has no value")).help(help));
        };
        let kind = match value {
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
            _ => return Ok(value),
        };
        match key {
            Some("cmd") if matches!(value, Value::Map(_)) => Ok(value),
            Some(key) => Err(self.document.error(span, format!("'{inner}' is {kind}, which '{key}' cannot take"))),
            None => Ok(value),
        }
    }

    /// A value at the place of its template.
    fn placed(&self, value: Value, span: Span) -> Result<Node, YamlError> {
        self.spend(1, span)?;
        let kind = match value {
            Value::Null => Kind::Scalar(Scalar::Null),
            Value::Bool(flag) => Kind::Scalar(Scalar::Bool(flag)),
            Value::Int(number) => Kind::Scalar(Scalar::Int(number)),
            Value::Float(number) => Kind::Scalar(Scalar::Float(number)),
            Value::Timestamp(text) => Kind::Scalar(Scalar::Timestamp(text)),
            Value::String(text) => Kind::Scalar(Scalar::String(text)),
            Value::Seq(items) => {
                Kind::Seq(items.into_iter().map(|item| self.placed(item, span)).collect::<Result<_, _>>()?)
            }
            Value::Map(entries) => {
                let placed = |(key, value)| Ok(Entry { key, key_span: span, value: self.placed(value, span)? });
                Kind::Map(entries.into_iter().map(placed).collect::<Result<_, YamlError>>()?)
            }
        };
        Ok(Node { kind, span, flow: true })
    }

    fn spend(&self, values: usize, span: Span) -> Result<(), YamlError> {
        let left = self.left.get().checked_sub(values).ok_or_else(|| {
            self.document.error(span, format!("the file becomes more than {MAX_VALUES} values with its templates"))
        })?;
        self.left.set(left);
        Ok(())
    }
}

fn refuse_other_keys(document: &Document, entry: &Entry, known: &[&str]) -> Result<(), YamlError> {
    let Kind::Map(fields) = &entry.value.kind else { return Ok(()) };
    match fields.iter().find(|field| !known.contains(&field.key.as_str())) {
        Some(field) => {
            let message = format!("unknown key '{}' beside 'foreach' in '{}'", field.key, entry.key);
            Err(document.error(field.key_span, message).help("write it under 'do'"))
        }
        None => Ok(()),
    }
}

fn item_of(list: Option<&Node>, at: usize) -> Option<&Node> {
    match &list?.kind {
        Kind::Seq(items) => items.get(at),
        _ => None,
    }
}

fn is_composite(value: &Value) -> bool {
    matches!(value, Value::Seq(_) | Value::Map(_))
}

/// The next combination, the last axis fastest; false after the last one.
fn advance(at: &mut [usize], values: &[(String, Vec<Value>)]) -> bool {
    for (at, (_, items)) in at.iter_mut().zip(values).rev() {
        *at += 1;
        if *at < items.len() {
            return true;
        }
        *at = 0;
    }
    false
}
