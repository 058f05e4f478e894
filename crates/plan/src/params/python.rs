//! Parameters in a Python file, read without running it: `name = literal` at the top, in classes and
//! on `self` in `__init__`. Whatever is not a literal is no parameter.

use towpath_yaml::Value;

use crate::error::Error;

type Entries = Vec<(String, Value)>;

/// Brackets inside each other.
const MAX_DEPTH: usize = 64;

pub(super) fn read(file: &str, text: &str) -> Result<Value, Error> {
    let lines = logical_lines(text).map_err(|(line, message)| Error::Python {
        file: file.to_owned(),
        line,
        message: message.to_owned(),
    })?;
    Ok(Value::Map(block(&lines, false)))
}

/// A statement without comments, over as many lines as its brackets and strings span.
struct Line {
    indent: usize,
    text: String,
}

fn logical_lines(text: &str) -> Result<Vec<Line>, (usize, &'static str)> {
    let mut lines = Vec::new();
    let mut current = String::new();
    let mut depth = 0_usize;
    let mut number = 1;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let mut taken = next.len_utf8();
        match next {
            '"' | '\'' => {
                taken = string_length(rest).ok_or((number, "a string does not end"))?;
                current.push_str(&rest[..taken]);
            }
            '#' => taken = rest.find('\n').unwrap_or(rest.len()),
            '\\' if rest[1..].starts_with('\n') || rest[1..].starts_with("\r\n") => {
                taken = rest.find('\n').map_or(rest.len(), |at| at + 1);
                current.push(' ');
            }
            '\n' if depth == 0 => finish(&mut current, &mut lines),
            '\n' => current.push(' '),
            _ => {
                match next {
                    '(' | '[' | '{' => depth += 1,
                    ')' | ']' | '}' => depth = depth.checked_sub(1).ok_or((number, "a bracket is closed twice"))?,
                    _ => {}
                }
                current.push(next);
            }
        }
        number += rest[..taken].matches('\n').count();
        rest = &rest[taken..];
    }
    if depth > 0 {
        return Err((number, "a bracket is not closed"));
    }
    finish(&mut current, &mut lines);
    Ok(lines)
}

fn finish(current: &mut String, lines: &mut Vec<Line>) {
    let text = std::mem::take(current);
    let trimmed = text.trim();
    if !trimmed.is_empty() {
        lines.push(Line { indent: text.len() - text.trim_start().len(), text: trimmed.to_owned() });
    }
}

/// Bytes of the string that `text` begins with, quotes included. Also in a raw string, a quote behind
/// a backslash does not end it.
fn string_length(text: &str) -> Option<usize> {
    let quote = &text[..1];
    let triple = quote.repeat(3);
    let end = if text.starts_with(&triple) { triple.as_str() } else { quote };
    let mut at = end.len();
    loop {
        let rest = &text[at..];
        if rest.starts_with(end) {
            return Some(at + end.len());
        }
        let next = rest.chars().next()?;
        if next == '\n' && end.len() == 1 {
            return None;
        }
        at += next.len_utf8();
        if next == '\\' {
            at += text[at..].chars().next()?.len_utf8();
        }
    }
}

/// The assignments of the lines that are indented like the first one.
fn block(lines: &[Line], only_self: bool) -> Entries {
    let mut entries = Entries::new();
    let Some(indent) = lines.first().map(|line| line.indent) else { return entries };
    let mut at = 0;
    while at < lines.len() {
        let line = &lines[at];
        let end = at + 1 + lines[at + 1..].iter().take_while(|inner| inner.indent > indent).count();
        let body = &lines[at + 1..end];
        if let Some(name) = declared(&line.text, "class ") {
            put(&mut entries, name.to_owned(), Value::Map(block(body, false)));
        } else if declared(&line.text, "def ") == Some("__init__") {
            for (name, value) in block(body, true) {
                put(&mut entries, name, value);
            }
        } else if let Some((name, value)) = assignment(&line.text, only_self) {
            put(&mut entries, name, value);
        }
        at = end;
    }
    entries
}

fn put(entries: &mut Entries, name: String, value: Value) {
    match entries.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => *known = value,
        None => entries.push((name, value)),
    }
}

fn declared<'t>(text: &'t str, keyword: &str) -> Option<&'t str> {
    let name = text.strip_prefix(keyword)?.trim_start();
    let end = name.find(|c: char| !is_name(c)).unwrap_or(name.len());
    (end > 0).then(|| &name[..end])
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `name = literal` or `name: type = literal`; inside `__init__` only `self.name`.
fn assignment(text: &str, only_self: bool) -> Option<(String, Value)> {
    let (target, value) = match text.split_once(':') {
        Some((target, annotated)) if target.trim().chars().all(|c| is_name(c) || c == '.') => {
            (target, annotated.split_once('=')?.1)
        }
        _ => text.split_once('=')?,
    };
    let target = target.trim();
    let name = match target.strip_prefix("self.") {
        Some(attribute) => attribute,
        None if only_self => return None,
        None => target,
    };
    if name.is_empty() || !name.chars().all(is_name) {
        return None;
    }
    let mut literal = Literal { rest: value.trim() };
    let value = literal.value(0)?;
    literal.space();
    literal.rest.is_empty().then(|| (name.to_owned(), value))
}

struct Literal<'t> {
    rest: &'t str,
}

impl Literal<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.space();
        match self.rest.chars().next()? {
            '[' => self.items("[", "]", depth).map(|(items, _)| Value::Seq(items)),
            '(' => {
                let (mut items, trailing_comma) = self.items("(", ")", depth)?;
                let parenthesised = items.len() == 1 && !trailing_comma;
                if parenthesised { items.pop() } else { Some(Value::Seq(items)) }
            }
            '{' => self.braces(depth),
            '"' | '\'' => self.string(),
            '-' | '+' | '.' | '0'..='9' => self.number(),
            _ => self.word(),
        }
    }

    fn items(&mut self, open: &str, close: &str, depth: usize) -> Option<(Vec<Value>, bool)> {
        self.eat(open);
        let mut items = Vec::new();
        let mut trailing_comma = false;
        while !self.eat(close) {
            items.push(self.value(depth + 1)?);
            trailing_comma = self.eat(",");
            if !trailing_comma && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
        Some((items, trailing_comma))
    }

    /// A dictionary, or a set (which is a list here).
    fn braces(&mut self, depth: usize) -> Option<Value> {
        self.eat("{");
        let mut entries = Entries::new();
        let mut items = Vec::new();
        while !self.eat("}") {
            let key = self.value(depth + 1)?;
            if self.eat(":") {
                let name = match key {
                    Value::String(text) => text,
                    other => other.to_python_json(),
                };
                put(&mut entries, name, self.value(depth + 1)?);
            } else {
                items.push(key);
            }
            if !self.eat(",") && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        if items.is_empty() { Some(Value::Map(entries)) } else { entries.is_empty().then_some(Value::Seq(items)) }
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !is_name(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::Null,
            "r" | "R" | "u" | "U" if rest.starts_with(['"', '\'']) => {
                self.rest = rest;
                return if word.eq_ignore_ascii_case("r") { self.raw() } else { self.string() };
            }
            _ => return None,
        };
        self.rest = rest;
        Some(value)
    }

    fn number(&mut self) -> Option<Value> {
        let negative = self.eat("-");
        if !negative {
            self.eat("+");
        }
        self.space();
        let mut end = 0;
        for c in self.rest.chars() {
            let exponent_sign = matches!(c, '+' | '-') && self.rest[..end].ends_with(['e', 'E']);
            if !(is_name(c) || c == '.' || exponent_sign && !self.rest.starts_with("0x")) {
                break;
            }
            end += c.len_utf8();
        }
        let (digits, rest) = self.rest.split_at(end);
        let digits = digits.replace('_', "").to_ascii_lowercase();
        let radix = |prefix: &str, radix| digits.strip_prefix(prefix).map(|d| i64::from_str_radix(d, radix));
        let whole = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2));
        let whole = whole.unwrap_or_else(|| digits.parse());
        let value = match whole {
            Ok(number) => Value::Int(if negative { -number } else { number }),
            Err(_) if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                let number: f64 = digits.parse().ok()?;
                Value::Float(if negative { -number } else { number })
            }
            Err(_) => return None,
        };
        self.rest = rest;
        Some(value)
    }

    /// The text between the quotes.
    fn between_quotes(&mut self) -> Option<String> {
        let length = string_length(self.rest)?;
        let (whole, rest) = self.rest.split_at(length);
        let quotes = if whole.len() >= 6 && whole.starts_with(&whole[..1].repeat(3)) { 3 } else { 1 };
        self.rest = rest;
        Some(whole[quotes..whole.len() - quotes].to_owned())
    }

    fn raw(&mut self) -> Option<Value> {
        self.between_quotes().map(Value::String)
    }

    /// Strings beside each other are one.
    fn string(&mut self) -> Option<Value> {
        let mut text = String::new();
        loop {
            text.push_str(&unescaped(&self.between_quotes()?)?);
            self.space();
            if !self.rest.starts_with(['"', '\'']) {
                return Some(Value::String(text));
            }
        }
    }
}

fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escaped = rest.next()?;
        let mut code = |digits: usize| {
            let hex: String = rest.by_ref().take(digits).collect();
            char::from_u32(u32::from_str_radix(&hex, 16).ok()?)
        };
        match escaped {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            '0' => out.push('\0'),
            '\n' => {}
            '\\' | '\'' | '"' => out.push(escaped),
            'x' => out.push(code(2)?),
            'u' => out.push(code(4)?),
            'U' => out.push(code(8)?),
            other => out.extend(['\\', other]),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_the_module_of_classes_and_of_their_constructors_are_parameters() {
        let text = "\
import os  # x = 9
LR = 1e-3  # the rate
LAYERS: list = [64, 32,
    16]  # over two lines
NAME = 'a # b' \"c\"
OPTIONS = {'a': {'b': -1}, 'on': True, 'off': None}
PAIR = (1, 2)
COMPUTED = LR * 2
HOME = os.environ['HOME']

def main():
    HIDDEN = 3

class Train:
    \"\"\"A docstring: x = 1\"\"\"
    epochs = 0x10

    def __init__(self):
        self.batch = 1_000
        local = 5
";
        let value = read("params.py", text).unwrap();
        assert_eq!(
            value.to_python_json(),
            r#"{"LAYERS": [64, 32, 16], "LR": 0.001, "NAME": "a # bc", "OPTIONS": {"a": {"b": -1}, "off": null, "on": true}, "PAIR": [1, 2], "Train": {"batch": 1000, "epochs": 16}}"#
        );
    }

    #[test]
    fn what_is_not_python_is_refused_with_its_line() {
        let error = read("params.py", "a = 1\nb = [1,\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 3 of params.py is not Python that parameters can be read from: a bracket is not closed"
        );
    }
}
