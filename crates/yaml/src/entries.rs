//! A mapping whose entries are set one after another, in a file that is read only once.

use std::ops::Range;

use crate::emit::emit_entry;
use crate::{Document, Kind, Node, Value};

/// The text of a file and the places of one mapping's entries in it. Gives the same text as
/// [`edit::set`](crate::edit::set), without reading the file before and after each change.
#[derive(Clone, Debug, PartialEq)]
pub struct Entries {
    text: String,
    /// Columns before each key.
    indent: usize,
    known: Vec<Known>,
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    key: String,
    value: Value,
    /// From the key to the end of the value, in bytes.
    place: Range<usize>,
}

impl Entries {
    /// The entries of the mapping at the top-level `key`. Nothing when they cannot be changed one by
    /// one: the mapping is empty or in flow style, or the file has anchors.
    pub fn of(document: &Document, key: &str) -> Option<Self> {
        let mapping = document.root().get(key).filter(|node| !node.flow && !document.anchored)?;
        let Node { kind: Kind::Map(entries), .. } = mapping else { return None };
        let text = document.text();
        let first = entries.first()?.key_span.start;
        let line = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        // Keys behind something else on their line are no lines of their own.
        let indent = text[line..first].chars().all(|c| c == ' ').then_some(first - line)?;
        let places = entries.iter().map(|entry| {
            let place = entry.key_span.start..entry.value.span.end;
            text.get(place.clone())?;
            Some(Known { key: entry.key.clone(), value: entry.value.to_value(), place })
        });
        Some(Self { text: text.to_owned(), indent, known: places.collect::<Option<_>>()? })
    }

    /// The whole file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the entry, or appends it behind the last one. An entry with this value already keeps
    /// its text.
    pub fn set(&mut self, key: &str, value: &Value) {
        let written = emit_entry(key, value, self.indent);
        let known = self.known.iter().position(|entry| entry.key == key);
        match known {
            Some(at) if self.known[at].value == *value => {}
            Some(at) => {
                let old = self.known[at].place.clone();
                let place = old.start..old.start + written.len();
                self.text.replace_range(old.clone(), &written);
                for later in &mut self.known[at + 1..] {
                    later.place = later.place.start - old.end + place.end..later.place.end - old.end + place.end;
                }
                self.known[at].value = value.clone();
                self.known[at].place = place;
            }
            None => {
                let last = self.known.last().map_or(0, |entry| entry.place.end);
                let line_end = self.text[last..].find('\n').map_or(self.text.len(), |at| last + at);
                let start = line_end + 1 + self.indent;
                let place = start..start + written.len();
                let newline = if line_end == self.text.len() { "\n" } else { "" };
                let added = format!("\n{}{written}{newline}", " ".repeat(self.indent));
                self.text.insert_str(line_end, &added);
                self.known.push(Known { key: key.to_owned(), value: value.clone(), place });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Step, edit, parse};

    #[test]
    fn a_mapping_that_is_not_plain_lines_is_left_to_a_full_edit() {
        for text in
            ["stages: {}\n", "stages: {a: 1}\n", "x: &x 1\nstages:\n  a: *x\n", "stages:\n", "other: 1\n", "[1]\n"]
        {
            assert_eq!(Entries::of(&parse("x.yaml", text).unwrap(), "stages"), None, "{text}");
        }
    }

    #[test]
    fn comments_and_other_keys_stay() {
        let text = "# ours\nstages:\n  a: 1 # one\n\n  # two\n  b: 2\nafter: x\n";
        let mut entries = Entries::of(&parse("x.yaml", text).unwrap(), "stages").unwrap();
        entries.set("c", &Value::Int(3));
        entries.set("a", &Value::Int(10));
        entries.set("b", &Value::Int(2));
        assert_eq!(entries.text(), "# ours\nstages:\n  a: 10 # one\n\n  # two\n  b: 2\n  c: 3\nafter: x\n");
    }

    proptest::proptest! {
        /// Whatever is set in whatever order: the text is that of the edits which read the file.
        #[test]
        fn it_writes_what_single_edits_write(
            keys in proptest::collection::vec("[a-c0-9 é#:-]{1,3}", 1..4),
            sets in proptest::collection::vec(("[a-c0-9 é#:-]{1,3}", "[ -~é\n]{0,30}"), 1..6),
            between in "(|# c\n|\n|# é\n\n)",
            unended in proptest::bool::ANY,
        ) {
            let value = |text: &str| Value::Map(vec![
                ("cmd".into(), Value::string(text)),
                ("outs".into(), Value::Seq(vec![Value::Map(vec![("path".into(), Value::string(text))])])),
            ]);
            let mut first: Vec<(String, Value)> = Vec::new();
            for key in keys {
                if first.iter().all(|(known, _)| *known != key) {
                    first.push((key.clone(), value(&key)));
                }
            }
            let whole = Value::Map(vec![("schema".into(), "2.0".into()), ("stages".into(), Value::Map(first))]);
            let mut text = format!("{between}{}", crate::emit(&whole));
            if unended {
                text.truncate(text.trim_end_matches('\n').len());
            }
            let mut entries = parse("x.yaml", &text).ok().and_then(|d| Entries::of(&d, "stages"));
            proptest::prop_assert!(entries.is_some());
            for (key, new) in &sets {
                let edited = edit::set("x.yaml", &text, &[Step::Key("stages"), Step::Key(key)], &value(new));
                text = edited.map_err(|e| e.to_string()).unwrap_or_default();
                if let Some(entries) = &mut entries {
                    entries.set(key, &value(new));
                    proptest::prop_assert_eq!(entries.text(), &text);
                }
            }
        }
    }
}
