//! Writes YAML as DVC writes its files: block style, indent 2, lists not indented under their key,
//! long plain text folded behind column 80 (as version 0.18 of DVC's YAML library folds).

use std::fmt::Write as _;

use crate::scalar::{Scalar, resolve_plain};
use crate::value::{Value, python_float};

/// A line is folded at the first blank behind this column.
const WIDTH: usize = 80;
/// Longer keys are written in the explicit form `? key`.
const MAX_SIMPLE_KEY: usize = 128;

/// The text of a value, ending in a newline.
pub fn emit(value: &Value) -> String {
    let mut text = emit_at(value, 0);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// The text of a value whose first line starts at column `indent` (which the caller has written);
/// no newline at the end.
pub(crate) fn emit_at(value: &Value, indent: usize) -> String {
    let mut emitter = Emitter { out: String::new(), column: indent };
    emitter.value(value, indent);
    emitter.out
}

/// The text of one entry of a block mapping at column `indent`; no newline at the end.
pub(crate) fn emit_entry(key: &str, value: &Value, indent: usize) -> String {
    let mut emitter = Emitter { out: String::new(), column: indent };
    emitter.entry(key, value, indent);
    emitter.out
}

struct Emitter {
    out: String,
    /// Characters on the current line.
    column: usize,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    fn newline(&mut self, indent: usize) {
        self.out.push('\n');
        self.column = 0;
        self.put(&" ".repeat(indent));
    }

    /// A value at the start of its block.
    fn value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Map(entries) if !entries.is_empty() => {
                for (i, (key, value)) in entries.iter().enumerate() {
                    if i > 0 {
                        self.newline(indent);
                    }
                    self.entry(key, value, indent);
                }
            }
            Value::Seq(items) if !items.is_empty() => {
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        self.newline(indent);
                    }
                    // A null item is the dash and its blank.
                    self.put("- ");
                    if *item != Value::Null {
                        self.value(item, indent + 2);
                    }
                }
            }
            scalar => self.scalar(scalar, indent),
        }
    }

    fn entry(&mut self, key: &str, value: &Value, indent: usize) {
        let explicit = key.chars().count() >= MAX_SIMPLE_KEY || key.contains('\n');
        if explicit {
            self.put("? ");
            self.text(key, indent + 2, true);
            self.newline(indent);
            self.put(":");
        } else {
            self.key(key);
            self.put(":");
        }
        match value {
            Value::Null => {}
            Value::Map(entries) if !entries.is_empty() => {
                self.newline(indent + 2);
                self.value(value, indent + 2);
            }
            Value::Seq(items) if !items.is_empty() => {
                self.newline(indent);
                self.value(value, indent);
            }
            scalar => {
                self.put(" ");
                self.scalar(scalar, indent + 2);
            }
        }
    }

    fn key(&mut self, key: &str) {
        match style(key) {
            Style::Plain => self.put(key),
            Style::Single => self.put(&format!("'{key}'")),
            Style::Double => self.double_quoted(key, 0, false),
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(b) => self.put(if *b { "true" } else { "false" }),
            Value::Int(i) => self.put(&i.to_string()),
            Value::Float(f) => self.put(&yaml_float(*f)),
            Value::Timestamp(text) => self.put(text),
            Value::String(text) => self.text(text, indent, true),
            Value::Seq(_) => self.put("[]"),
            Value::Map(_) => self.put("{}"),
        }
    }

    fn text(&mut self, text: &str, indent: usize, fold: bool) {
        match style(text) {
            Style::Plain => self.folded(text, indent, true),
            Style::Single => {
                self.put("'");
                self.folded(text, indent, false);
                self.put("'");
            }
            Style::Double => self.double_quoted(text, indent, fold),
        }
    }

    /// Words with a line break instead of a single blank once the line is too long. In plain text
    /// a word longer than a line gets a line of its own.
    fn folded(&mut self, text: &str, indent: usize, plain: bool) {
        let mut rest = text;
        while !rest.is_empty() {
            let blanks = rest.len() - rest.trim_start_matches(' ').len();
            let at_the_edge = rest.len() == text.len() || rest.len() == blanks;
            if blanks == 1 && self.column > WIDTH && !at_the_edge {
                self.newline(indent);
            } else {
                self.put(&rest[..blanks]);
            }
            rest = &rest[blanks..];
            let word = &rest[..rest.find(' ').unwrap_or(rest.len())];
            if plain && word.chars().count() > WIDTH && self.column > indent && indent > 0 {
                self.newline(indent);
            }
            self.put(word);
            rest = &rest[word.len()..];
        }
    }

    fn double_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.put("\"");
        let chars: Vec<char> = text.chars().collect();
        let mut start = 0;
        for end in 0..=chars.len() {
            let here = chars.get(end).copied();
            if here.is_none_or(is_escaped) {
                if start < end {
                    let run: String = chars[start..end].iter().collect();
                    self.put(&run);
                    start = end;
                }
                if let Some(c) = here {
                    self.put(&escape(c));
                    start = end + 1;
                }
            }
            let long = self.column + end > WIDTH + start;
            let foldable = end > 0 && end + 1 < chars.len() && (here == Some(' ') || start >= end);
            if !(fold && foldable && long) {
                continue;
            }
            let needs_backslash = !(breaks_as_the_library(&chars, end) && reads_as_one_blank(&chars, start.max(end)));
            let run: String = chars[start.min(end)..end].iter().collect();
            self.put(&run);
            start = start.max(end);
            if needs_backslash {
                self.put("\\");
            }
            self.newline(indent);
            if chars[start] == ' ' {
                if needs_backslash {
                    self.put("\\");
                } else {
                    // The line break reads as this blank.
                    start += 1;
                }
            }
        }
        self.put("\"");
    }
}

/// Where the library breaks without a backslash: the next blank stands alone, with no quotes before
/// it.
fn breaks_as_the_library(chars: &[char], end: usize) -> bool {
    let Some(blank) = chars[end..].iter().position(|c| *c == ' ').map(|at| end + at) else { return false };
    let quotes = chars[end..blank].iter().any(|c| matches!(c, '"' | '\''));
    let two_blanks = chars[end - 1] == ' ' && chars[end] == ' ';
    !quotes && !two_blanks && chars.get(blank + 1).is_some_and(|c| *c != ' ')
}

/// Only then does the text read back equal after a break without a backslash before `next`, which
/// the library does not look at.
fn reads_as_one_blank(chars: &[char], next: usize) -> bool {
    chars[next] == ' ' && chars.get(next + 1).is_some_and(|c| *c != ' ')
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
}

fn style(text: &str) -> Style {
    if needs_double_quotes(text) {
        return Style::Double;
    }
    let resolves_to_text = matches!(resolve_plain(text), Ok(Scalar::String(_)));
    let plain = resolves_to_text
        && !is_number_without_digits(text)
        && !matches!(text, "<<" | "=")
        && !has_block_indicator(text)
        && !text.starts_with(' ')
        && !text.ends_with(' ');
    match plain {
        true => Style::Plain,
        false if text.contains('\'') => Style::Double,
        false => Style::Single,
    }
}

/// `+_`, `._`, `0x__`: the library takes these for numbers and fails on them.
fn is_number_without_digits(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let body = [".", "0b", "0o", "0x"].iter().find_map(|p| unsigned.strip_prefix(p)).unwrap_or(unsigned);
    body.len() < text.len() && !body.is_empty() && body.bytes().all(|b| b == b'_')
}

/// Line breaks and characters that only an escape can write.
fn needs_double_quotes(text: &str) -> bool {
    text.chars().any(|c| {
        let printable =
            matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..) && c != '\u{feff}';
        !printable || matches!(c, '\u{2028}' | '\u{2029}')
    })
}

/// Characters that would mean something else in plain text.
fn has_block_indicator(text: &str) -> bool {
    if text.starts_with("---") || text.starts_with("...") {
        return true;
    }
    let mut previous: Option<char> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let blank_follows = chars.peek().is_none_or(|next| *next == ' ');
        let indicator = match previous {
            None => {
                matches!(
                    c,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                ) || (matches!(c, '?' | ':' | '-') && blank_follows)
            }
            Some(before) => (c == ':' && blank_follows) || (c == '#' && before == ' '),
        };
        if indicator {
            return true;
        }
        previous = Some(c);
    }
    false
}

fn is_escaped(c: char) -> bool {
    matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}' | '\u{feff}')
        || !matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(c);
            let mut out = String::new();
            let _ = match code {
                0..=0xff => write!(out, "\\x{code:02X}"),
                0x100..=0xffff => write!(out, "\\u{code:04X}"),
                _ => write!(out, "\\U{code:08X}"),
            };
            return out;
        }
    };
    format!("\\{short}")
}

fn yaml_float(value: f64) -> String {
    match python_float(value).as_str() {
        "nan" => ".nan".into(),
        "inf" => ".inf".into(),
        "-inf" => "-.inf".into(),
        finite => finite.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse;

    fn map(entries: &[(&str, Value)]) -> Value {
        Value::Map(entries.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect())
    }

    #[test]
    fn lists_are_not_indented_under_their_key() {
        let out = map(&[
            ("md5", "d41d8cd98f00b204e9800998ecf8427e".into()),
            ("size", Value::Int(0)),
            ("path", "a.txt".into()),
        ]);
        let file = map(&[("outs", Value::Seq(vec![out])), ("empty", Value::Seq(vec![])), ("none", Value::Null)]);
        assert_eq!(
            emit(&file),
            "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 0\n  path: a.txt\nempty: []\nnone:\n"
        );
    }

    #[test]
    fn text_that_would_read_as_another_type_is_quoted() {
        for (text, written) in [
            ("2.0", "'2.0'"),
            ("12345678901234567890123456789012", "'12345678901234567890123456789012'"),
            ("1234567890123456789e123456789012", "'1234567890123456789e123456789012'"),
            ("true", "'true'"),
            ("yes", "yes"),
            ("2026-11-23", "'2026-11-23'"),
            ("", "''"),
            ("a\nb", "\"a\\nb\""),
            ("it's", "it's"),
            ("- it's", "\"- it's\""),
            ("a: b", "'a: b'"),
            ("a:b #c", "'a:b #c'"),
            ("ä", "ä"),
            ("+_", "'+_'"),
        ] {
            assert_eq!(emit(&Value::string(text)).trim_end(), written);
        }
    }

    #[test]
    fn a_long_command_is_folded_behind_column_80() {
        let cmd = "python src/train.py --data data/images --epochs 100 --learning-rate 0.001 --output models/digits --seed 42";
        assert_eq!(
            emit(&map(&[("cmd", cmd.into())])),
            "cmd: python src/train.py --data data/images --epochs 100 --learning-rate 0.001 --output\n  models/digits --seed 42\n"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_reads_back_equal(text in "[ -~\n\t'\":#äé😀-]{0,200}", key in "[ -~ä]{0,20}") {
            let value = map(&[("stages", map(&[(&key, Value::Seq(vec![Value::string(&text), map(&[("a", Value::string(&text))])]))]))]);
            let written = emit(&value);
            let read = parse("x.yaml", &written).map(|d| d.root().to_value());
            proptest::prop_assert_eq!(read.map_err(|e| e.to_string()), Ok(value), "{}", written);
        }
    }
}
