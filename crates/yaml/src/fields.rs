//! Typed reading of a document.

use std::collections::BTreeSet;

use crate::node::Document;
use crate::{Entry, Kind, Node, Scalar, Span, Value, YamlError};

type Result<T> = std::result::Result<T, YamlError>;

/// A value and its name (the key it stands under), for reading it as a type.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    document: &'a Document,
    node: &'a Node,
    name: &'a str,
}

impl<'a> Field<'a> {
    pub(crate) fn of(document: &'a Document, node: &'a Node, name: &'a str) -> Self {
        Self { document, node, name }
    }

    pub fn name(&self) -> &'a str {
        self.name
    }

    pub fn node(&self) -> &'a Node {
        self.node
    }

    pub fn span(&self) -> Span {
        self.node.span
    }

    pub fn is_null(&self) -> bool {
        self.node.is_null()
    }

    pub fn is_seq(&self) -> bool {
        matches!(self.node.kind, Kind::Seq(_))
    }

    pub fn is_map(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// The text of a string; a date counts as the text it is written with.
    pub fn as_str(&self) -> Result<&'a str> {
        match &self.node.kind {
            Kind::Scalar(Scalar::String(text) | Scalar::Timestamp(text)) => Ok(text),
            _ => Err(self.expected("text")),
        }
    }

    pub fn as_bool(&self) -> Result<bool> {
        match self.node.kind {
            Kind::Scalar(Scalar::Bool(b)) => Ok(b),
            _ => Err(self.expected("true or false")),
        }
    }

    pub fn as_i64(&self) -> Result<i64> {
        match self.node.kind {
            Kind::Scalar(Scalar::Int(i)) => Ok(i),
            _ => Err(self.expected("an integer")),
        }
    }

    /// A whole number from 0.
    pub fn as_u64(&self) -> Result<u64> {
        match self.node.kind {
            Kind::Scalar(Scalar::Int(i)) => u64::try_from(i).map_err(|_| self.expected("an integer from 0")),
            _ => Err(self.expected("an integer from 0")),
        }
    }

    /// A finite number, written as an integer or a float.
    pub fn as_f64(&self) -> Result<f64> {
        match self.node.kind {
            Kind::Scalar(Scalar::Int(i)) => Ok(i as f64),
            Kind::Scalar(Scalar::Float(f)) if f.is_finite() => Ok(f),
            _ => Err(self.expected("a finite number")),
        }
    }

    /// The items of a list, each under the name of the list.
    pub fn items(&self) -> Result<Vec<Field<'a>>> {
        match &self.node.kind {
            Kind::Seq(items) => Ok(items.iter().map(|node| Self { node, ..*self }).collect()),
            _ => Err(self.expected("a list")),
        }
    }

    /// The strings of a list.
    pub fn strings(&self) -> Result<Vec<String>> {
        self.items()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
    }

    /// The fields of a mapping whose keys are known.
    pub fn fields(&self) -> Result<Fields<'a>> {
        Ok(Fields { map: *self, entries: self.map_entries()?, asked: BTreeSet::new() })
    }

    /// The entries of a mapping whose keys are free: (key, value), in the order of the file.
    pub fn entries(&self) -> Result<Vec<(&'a Entry, Field<'a>)>> {
        let entries = self.map_entries()?;
        Ok(entries.iter().map(|e| (e, Self { document: self.document, node: &e.value, name: &e.key })).collect())
    }

    pub fn to_value(&self) -> Value {
        self.node.to_value()
    }

    pub fn to_json(&self) -> serde_json::Value {
        self.node.to_json()
    }

    /// An error at this value.
    pub fn error(&self, message: impl Into<String>) -> YamlError {
        self.document.error(self.node.span, message)
    }

    /// An error at a place near this value (for example a key).
    pub fn error_at(&self, span: Span, message: impl Into<String>) -> YamlError {
        self.document.error(span, message)
    }

    /// An error that says what stands here and what would be right.
    pub fn expected(&self, expected: &str) -> YamlError {
        self.error(format!("{} must be {expected}, found {}", self.title(), self.node.describe()))
    }

    fn title(&self) -> String {
        if std::ptr::eq(self.node, &raw const self.document.root) {
            self.name.to_owned()
        } else {
            format!("'{}'", self.name)
        }
    }

    fn map_entries(&self) -> Result<&'a [Entry]> {
        match &self.node.kind {
            Kind::Map(entries) => Ok(entries),
            _ => Err(self.expected("a mapping")),
        }
    }
}

/// The fields of a mapping with a closed set of keys: ask for each, then [`finish`](Self::finish),
/// which refuses what was not asked for.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    map: Field<'a>,
    entries: &'a [Entry],
    asked: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn optional(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.asked.insert(key);
        let entry = self.entries.iter().find(|e| e.key == key)?;
        Some(Field { document: self.map.document, node: &entry.value, name: &entry.key })
    }

    pub fn required(&mut self, key: &'static str) -> Result<Field<'a>> {
        self.optional(key).ok_or_else(|| self.map.error(format!("'{key}' is missing in {}", self.map.title())))
    }

    /// Refuses a key that is known but not possible yet.
    pub fn not_supported(&self, key: &str) -> Result<()> {
        match self.entries.iter().find(|e| e.key == key) {
            Some(entry) => Err(self.map.error_at(entry.key_span, format!("not supported yet: {key}"))),
            None => Ok(()),
        }
    }

    /// The mapping itself.
    pub fn map(&self) -> Field<'a> {
        self.map
    }

    /// Refuses keys that were never asked for.
    pub fn finish(self) -> Result<()> {
        for entry in self.entries {
            if self.asked.contains(entry.key.as_str()) {
                continue;
            }
            let message = format!("unknown key '{}' in {}", entry.key, self.map.title());
            let error = self.map.error_at(entry.key_span, message);
            return Err(match nearest(&entry.key, self.asked.iter().copied()) {
                Some(near) => error.help(format!("did you mean '{near}'?")),
                None => {
                    error.help(format!("known keys: {}", self.asked.iter().copied().collect::<Vec<_>>().join(", ")))
                }
            });
        }
        Ok(())
    }
}

/// The candidate that differs least from `word`, when it is near enough to be meant.
fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = word.chars().count().div_ceil(3).min(3);
    candidates.map(|c| (edit_distance(word, c), c)).min().filter(|(distance, _)| *distance <= allowed).map(|(_, c)| c)
}

/// How many characters must be inserted, removed, replaced or swapped with their neighbour
/// (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            rows[i][j] = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                rows[i][j] = rows[i][j].min(rows[i - 2][j - 2] + 1);
            }
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use crate::parse;

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let document = parse("towpath.yaml", "on:\n  push: {brnches: [main]}\n").unwrap();
        let push =
            document.field().fields().unwrap().required("on").unwrap().fields().unwrap().required("push").unwrap();
        let mut fields = push.fields().unwrap();
        assert!(fields.optional("branches").is_none());
        let error = fields.finish().unwrap_err();
        assert_eq!(
            error.to_string(),
            "towpath.yaml:2:10: unknown key 'brnches' in 'push'\n  |\n2 |   push: {brnches: [main]}\n  |          ^^^^^^^\n  = help: did you mean 'branches'?"
        );
    }

    #[test]
    fn a_wrong_type_says_what_stands_there_and_what_would_be_right() {
        let document = parse("dvc.yaml", "cmd: 3\n").unwrap();
        let error = document.field().fields().unwrap().required("cmd").unwrap().as_str().unwrap_err();
        assert_eq!(error.headline(), "dvc.yaml:1:6: 'cmd' must be text, found the integer 3");
    }

    #[test]
    fn a_missing_key_is_named_with_the_mapping_it_belongs_to() {
        let document = parse("a.yaml", "model: {name: digits}\n").unwrap();
        let mut fields = document.field().fields().unwrap().required("model").unwrap().fields().unwrap();
        assert_eq!(fields.required("path").unwrap_err().headline(), "a.yaml:1:8: 'path' is missing in 'model'");
    }
}
