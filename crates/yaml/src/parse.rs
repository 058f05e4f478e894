//! From parser events to a document.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as EventSpan, StrInput, Tag};

use crate::YamlError;
use crate::node::{Document, Entry, Kind, Node, Span, error_at};
use crate::scalar::{Scalar, resolve_plain};

/// Bytes of one file.
const MAX_BYTES: usize = 32 << 20;
/// Mappings and lists inside each other.
const MAX_DEPTH: usize = 64;
/// Nodes of one file, those that aliases repeat included.
const MAX_NODES: usize = 2_000_000;
/// Nodes that aliases and merge keys repeat: a small file must not become a large value.
const MAX_REPEATED: usize = 100_000;

/// Reads one document. An empty file is null.
///
/// # Errors
/// Malformed YAML, a duplicate key, a key that is not a scalar, an application tag, more than one
/// document, or a bound exceeded (size, depth, aliases).
pub fn parse(file: &str, text: &str) -> Result<Document, YamlError> {
    if text.len() > MAX_BYTES {
        let message = format!("the file is larger than {} MiB", MAX_BYTES >> 20);
        return Err(error_at(file, "", Span::default(), message));
    }
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder {
        file,
        text,
        parser: Parser::new_from_str(body),
        offsets: Offsets::new(body, text.len() - body.len()),
        anchors: HashMap::new(),
        nodes: 0,
        repeated: 0,
    };
    let root = builder.document()?;
    let anchored = !builder.anchors.is_empty();
    Ok(Document { file: file.to_owned(), text: text.to_owned(), root, anchored })
}

/// Character index (which the parser counts) to byte offset.
struct Offsets {
    base: usize,
    /// Of every character; empty when all are ASCII.
    bytes: Vec<usize>,
    length: usize,
}

impl Offsets {
    fn new(body: &str, base: usize) -> Self {
        let bytes = if body.is_ascii() { Vec::new() } else { body.char_indices().map(|(at, _)| at).collect() };
        Self { base, bytes, length: body.len() }
    }

    fn byte(&self, character: usize) -> usize {
        let at =
            if self.bytes.is_empty() { character } else { self.bytes.get(character).copied().unwrap_or(self.length) };
        self.base + at.min(self.length)
    }
}

struct Builder<'t> {
    file: &'t str,
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    offsets: Offsets,
    /// Finished anchored nodes and how many nodes each holds.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    repeated: usize,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, YamlError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => break,
                event if root.is_none() => root = Some(self.node(event, span, 0)?),
                _ => {
                    let message = "the file has a second document ('---')".to_owned();
                    return Err(self.error(span.start, message).help("keep one document in a file"));
                }
            }
        }
        Ok(root.unwrap_or(Node {
            kind: Kind::Scalar(Scalar::Null),
            span: Span { line: 1, column: 1, start: 0, end: 0 },
            flow: false,
        }))
    }

    fn next(&mut self) -> Result<(Event<'t>, EventSpan), YamlError> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.error(*error.marker(), error.info().to_owned())),
            None => Ok((Event::StreamEnd, EventSpan::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, at: EventSpan, depth: usize) -> Result<Node, YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.error(at.start, format!("the file holds more than {MAX_NODES} values")));
        }
        if depth > MAX_DEPTH {
            return Err(self.error(at.start, format!("nested more than {MAX_DEPTH} levels deep")));
        }
        let before = self.nodes;
        let (anchor, node) = match event {
            Event::Scalar(text, style, anchor, tag) => (anchor, self.scalar(&text, style, tag.as_deref(), at)?),
            Event::SequenceStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "seq", at)?;
                (anchor, self.sequence(at, depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.collection_tag(tag.as_deref(), "map", at)?;
                (anchor, self.mapping(at, depth)?)
            }
            Event::Alias(anchor) => return self.alias(anchor, at),
            _ => return Err(self.error(at.start, "a value is missing here".to_owned())),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, at: EventSpan) -> Result<Node, YamlError> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(self.error(at.start, "an alias inside the value it stands for".to_owned()));
        };
        self.repeated += size;
        // The budget of all values counts repetitions too: nested aliases multiply.
        self.nodes += size;
        if self.repeated > MAX_REPEATED {
            return Err(self.error(at.start, format!("aliases repeat more than {MAX_REPEATED} values")));
        }
        Ok(Node { span: self.span(at), ..node.clone() })
    }

    fn sequence(&mut self, at: EventSpan, depth: usize) -> Result<Node, YamlError> {
        let mut items: Vec<Node> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                let end = items.last().map(|i| i.span.end);
                return Ok(self.collection(Kind::Seq(items), b'[', at, span, end));
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: EventSpan, depth: usize) -> Result<Node, YamlError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut keys = HashSet::new();
        let mut merged: Vec<Entry> = Vec::new();
        let mut end = None;
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                if !merged.is_empty() {
                    merged.retain(|e| keys.insert(e.key.clone()));
                    merged.append(&mut entries);
                    entries = merged;
                }
                return Ok(self.collection(Kind::Map(entries), b'{', at, span, end));
            }
            let (key, merge) = self.key(event, span)?;
            let key_span = self.span(span);
            let (event, value_at) = self.next()?;
            let mut value = self.node(event, value_at, depth + 1)?;
            if value.is_null() && value.span.start == value.span.end {
                // An empty value stands right behind its key, wherever the parser found out.
                let behind = key_span.end + 1;
                value.span = Span { line: key_span.line, column: key_span.column, start: behind, end: behind };
            }
            end = Some(value.span.end);
            if merge {
                self.merge(value, value_at, &mut merged)?;
            } else if keys.insert(key.clone()) {
                entries.push(Entry { key, key_span, value });
            } else {
                return Err(self.error(span.start, format!("duplicate key '{key}'")));
            }
        }
    }

    /// A key's text, and whether it is the merge key `<<`.
    fn key(&mut self, event: Event<'t>, at: EventSpan) -> Result<(String, bool), YamlError> {
        match event {
            Event::Scalar(text, style, ..) => {
                let merge = style == ScalarStyle::Plain && text == "<<";
                Ok((text.into_owned(), merge))
            }
            Event::Alias(anchor) => match self.alias(anchor, at)?.kind {
                Kind::Scalar(Scalar::String(text)) => Ok((text, false)),
                _ => Err(self.error(at.start, "a key must be text".to_owned())),
            },
            _ => Err(self.error(at.start, "a key must be text".to_owned())),
        }
    }

    /// `<<: *a` or `<<: [*a, *b]`: earlier mappings win over later ones, own keys over all.
    fn merge(&self, value: Node, at: EventSpan, merged: &mut Vec<Entry>) -> Result<(), YamlError> {
        match value.kind {
            Kind::Map(entries) => merged.extend(entries),
            Kind::Seq(items) if items.iter().all(|i| matches!(i.kind, Kind::Map(_))) => {
                for item in items {
                    self.merge(item, at, merged)?;
                }
            }
            _ => {
                return Err(self.error(at.start, "'<<' must be a mapping or a list of mappings".to_owned()));
            }
        }
        Ok(())
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: EventSpan) -> Result<Node, YamlError> {
        let resolve =
            || resolve_plain(text).map_err(|_| self.error(at.start, format!("integer {text} does not fit 64 bits")));
        let scalar = match tag {
            None if style == ScalarStyle::Plain => resolve()?,
            None => Scalar::String(text.to_owned()),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Scalar::String(text.to_owned()),
            Some(tag)
                if tag.is_yaml_core_schema()
                    && matches!(&*tag.suffix, "int" | "float" | "bool" | "null" | "timestamp") =>
            {
                let resolved = resolve()?;
                match (&*tag.suffix, resolved) {
                    ("float", Scalar::Int(i)) => Scalar::Float(i as f64),
                    ("int", s @ Scalar::Int(_))
                    | ("float", s @ Scalar::Float(_))
                    | ("bool", s @ Scalar::Bool(_))
                    | ("null", s @ Scalar::Null)
                    | ("timestamp", s @ Scalar::Timestamp(_)) => s,
                    _ => {
                        return Err(self.error(at.start, format!("'{text}' is not of the type !!{}", tag.suffix)));
                    }
                }
            }
            Some(tag) => return Err(self.unknown_tag(tag, at)),
        };
        Ok(Node { kind: Kind::Scalar(scalar), span: self.span(at), flow: false })
    }

    fn collection_tag(&self, tag: Option<&Tag>, expected: &str, at: EventSpan) -> Result<(), YamlError> {
        match tag {
            Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(self.unknown_tag(tag, at)),
            _ => Ok(()),
        }
    }

    fn unknown_tag(&self, tag: &Tag, at: EventSpan) -> YamlError {
        self.error(at.start, format!("the tag {tag} is not allowed here"))
    }

    /// `last` is where the last item ends: what ends a block collection for the parser is the next
    /// token, behind blank lines and comments.
    fn collection(&self, kind: Kind, open: u8, from: EventSpan, to: EventSpan, last: Option<usize>) -> Node {
        let mut span = self.span(from);
        let flow = self.text.as_bytes().get(span.start) == Some(&open);
        span.end = if flow { self.offsets.byte(to.start.index()) + 1 } else { last.unwrap_or(span.start) };
        Node { kind, span, flow }
    }

    fn span(&self, at: EventSpan) -> Span {
        let start = self.offsets.byte(at.start.index());
        let end = self.offsets.byte(at.end.index()).max(start);
        let trimmed = self.text.get(start..end).map_or(end, |t| start + t.trim_end().len());
        Span { line: at.start.line(), column: at.start.col() + 1, start, end: trimmed }
    }

    fn error(&self, at: Marker, message: String) -> YamlError {
        error_at(self.file, self.text, self.span(EventSpan::empty(at)), message)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::Value;

    fn value(text: &str) -> Value {
        parse("x.yaml", text).unwrap_or_else(|e| panic!("{e}")).root().to_value()
    }

    fn refusal(text: &str) -> String {
        parse("x.yaml", text).map(|d| d.root().to_value()).unwrap_err().headline()
    }

    #[test]
    fn an_empty_file_is_null() {
        assert_eq!(value(""), Value::Null);
        assert_eq!(value("# only a comment\n"), Value::Null);
    }

    #[test]
    fn quoted_scalars_are_text() {
        assert_eq!(value("'12'"), Value::string("12"));
        assert_eq!(value("!!str 12"), Value::string("12"));
        assert_eq!(value("|\n  a\n  b\n"), Value::string("a\nb\n"));
    }

    #[test]
    fn merge_keys_are_merged_under_own_keys() {
        let text = "base: &b {lr: 1, seed: 2}\ntrain:\n  <<: *b\n  lr: 3\n";
        assert_eq!(
            value(text).get("train"),
            Some(&Value::Map(vec![("seed".into(), Value::Int(2)), ("lr".into(), Value::Int(3))]))
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused_with_its_place() {
        for (text, headline) in [
            ("a: 1\na: 2\n", "x.yaml:2:1: duplicate key 'a'"),
            ("[a]: 1\n", "x.yaml:1:1: a key must be text"),
            ("a: !custom 1\n", "x.yaml:1:4: the tag !custom is not allowed here"),
            ("a: 1\n---\nb: 2\n", "x.yaml:3:1: the file has a second document ('---')"),
            ("ä: 99999999999999999999\n", "x.yaml:1:4: integer 99999999999999999999 does not fit 64 bits"),
        ] {
            assert_eq!(refusal(text), headline);
        }
    }

    #[test]
    fn nested_aliases_do_not_blow_up() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
            let _ = writeln!(text, "a{i}: &a{i} [{aliases}]");
        }
        assert!(refusal(&text).contains("aliases repeat more than 100000 values"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(refusal(&"[".repeat(100)).contains("nested more than 64 levels deep"));
        assert!(parse("x.yaml", &"[".repeat(100_000)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[-a-c:0-9 \\n{}\\[\\],&*|>'\"#!?%~<ä\t]{0,60}") {
            if let Ok(document) = parse("x.yaml", &text) {
                let _ = document.root().to_json();
            }
        }
    }
}
