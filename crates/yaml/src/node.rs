//! Values with their places in the file.

use crate::{Field, Scalar, Value, YamlError};

/// A part of the file. Lines and columns count from 1, columns in characters; `start..end` are
/// byte offsets, without the white space and comments behind the value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub line: usize,
    pub column: usize,
    pub start: usize,
    pub end: usize,
}

/// A value of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub kind: Kind,
    pub span: Span,
    /// Written in flow style: `{a: 1}` or `[1, 2]`.
    pub flow: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Scalar(Scalar),
    Seq(Vec<Node>),
    Map(Vec<Entry>),
}

/// An entry of a mapping. Keys are scalars, kept as their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub value: Node,
}

impl Node {
    /// The entry of a mapping; nothing for other nodes.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|e| e.key == key).map(|e| &e.value),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        self.kind == Kind::Scalar(Scalar::Null)
    }

    /// The value without positions.
    pub fn to_value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar {
                Scalar::Null => Value::Null,
                Scalar::Bool(b) => Value::Bool(*b),
                Scalar::Int(i) => Value::Int(*i),
                Scalar::Float(f) => Value::Float(*f),
                Scalar::Timestamp(text) => Value::Timestamp(text.clone()),
                Scalar::String(text) => Value::String(text.clone()),
            },
            Kind::Seq(items) => Value::Seq(items.iter().map(Node::to_value).collect()),
            Kind::Map(entries) => Value::Map(entries.iter().map(|e| (e.key.clone(), e.value.to_value())).collect()),
        }
    }

    /// The value as JSON (see [`Value::to_json`]).
    pub fn to_json(&self) -> serde_json::Value {
        self.to_value().to_json()
    }

    /// What stands there, as an error says it.
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar {
                Scalar::Null => "nothing".into(),
                Scalar::Bool(b) => format!("the boolean {b}"),
                Scalar::Int(i) => format!("the integer {i}"),
                Scalar::Float(f) => format!("the number {f}"),
                Scalar::Timestamp(text) => format!("the date {text}"),
                Scalar::String(text) => {
                    let short: String = text.chars().take(60).collect();
                    let dots = if short.len() < text.len() { "..." } else { "" };
                    format!("the text '{short}{dots}'")
                }
            },
            Kind::Seq(_) => "a list".into(),
            Kind::Map(_) => "a mapping".into(),
        }
    }
}

/// A parsed file: its name, its text, its one value.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) root: Node,
    /// It has anchors, so that one place may stand for another.
    pub(crate) anchored: bool,
}

impl Document {
    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The same file with another value: what templates in it stand for. Errors show the text.
    pub fn with_root(self, root: Node) -> Self {
        Self { root, ..self }
    }

    /// The whole file, for typed reading.
    pub fn field(&self) -> Field<'_> {
        Field::of(self, &self.root, "the file")
    }

    /// An error at a place of this file.
    pub fn error(&self, span: Span, message: impl Into<String>) -> YamlError {
        error_at(&self.file, &self.text, span, message.into())
    }
}

pub(crate) fn error_at(file: &str, text: &str, span: Span, message: String) -> YamlError {
    let source_line = text.lines().nth(span.line.saturating_sub(1)).unwrap_or("").to_owned();
    let meant = text.get(span.start..span.end).unwrap_or("");
    let width = meant.lines().next().unwrap_or("").chars().count().max(1);
    YamlError {
        file: file.to_owned(),
        line: span.line.max(1),
        column: span.column.max(1),
        message,
        source_line: source_line.replace('\t', " "),
        width,
        help: None,
    }
}
