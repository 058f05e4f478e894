//! Protobuf's text format, as far as `config.pbtxt` uses it: fields with their lines, of any schema.

/// A field as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    /// From 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A number, a word, `true`.
    Plain(String),
    Text(String),
    Message(Vec<Field>),
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) line: usize,
    pub(super) detail: String,
}

/// Messages in messages; more are taken for a damaged file.
const MAX_DEPTH: usize = 32;

/// Reads a whole file. A list `[a, b]` becomes one field for each of its values.
pub(super) fn read(text: &str) -> Result<Vec<Field>, SyntaxError> {
    let mut reader = Reader { rest: text, line: 1 };
    let fields = reader.fields(None, 0)?;
    Ok(fields)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Reader<'a> {
    fn error<T>(&self, detail: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { line: self.line, detail: detail.into() })
    }

    fn skip(&mut self, bytes: usize) {
        let (skipped, rest) = self.rest.split_at(bytes);
        self.line += skipped.matches('\n').count();
        self.rest = rest;
    }

    /// The next character that is no space and no comment.
    fn peek(&mut self) -> Option<char> {
        loop {
            let spaces = self.rest.len() - self.rest.trim_start().len();
            self.skip(spaces);
            if !self.rest.starts_with('#') {
                return self.rest.chars().next();
            }
            self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.skip(wanted.len_utf8());
        }
        found
    }

    /// The fields of a message, up to and with its end.
    fn fields(&mut self, end: Option<char>, depth: usize) -> Result<Vec<Field>, SyntaxError> {
        if depth > MAX_DEPTH {
            return self.error(format!("messages are nested deeper than {MAX_DEPTH}"));
        }
        let mut fields = Vec::new();
        loop {
            match (self.peek(), end) {
                (None, None) => return Ok(fields),
                (None, Some(end)) => return self.error(format!("a '{end}' is missing at the end of the file")),
                (Some(found), Some(end)) if found == end => {
                    self.skip(1);
                    return Ok(fields);
                }
                (Some(',' | ';'), _) => self.skip(1),
                _ => self.field(&mut fields, depth)?,
            }
        }
    }

    fn field(&mut self, fields: &mut Vec<Field>, depth: usize) -> Result<(), SyntaxError> {
        let name = self.word();
        let line = self.line;
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
            let found: String = self.rest.chars().take(12).collect();
            return self.error(format!("the name of a field is expected, found '{name}{}'", found.trim_end()));
        }
        let colon = self.take(':');
        let mut add = |line, value| fields.push(Field { name: name.to_owned(), line, value });
        if !self.take('[') {
            add(line, self.value(name, colon, depth)?);
            return Ok(());
        }
        while !self.take(']') {
            let line = self.line;
            add(line, self.value(name, true, depth)?);
            if !self.take(',') && self.peek() != Some(']') {
                return self.error(format!("the list of '{name}' goes on with ',' or ends with ']'"));
            }
        }
        Ok(())
    }

    /// Only a message may follow without a colon.
    fn value(&mut self, name: &str, colon: bool, depth: usize) -> Result<Value, SyntaxError> {
        match self.peek() {
            Some('{') => {
                self.skip(1);
                self.fields(Some('}'), depth + 1).map(Value::Message)
            }
            Some('<') => {
                self.skip(1);
                self.fields(Some('>'), depth + 1).map(Value::Message)
            }
            _ if !colon => self.error(format!("'{name}' is followed by ':' or '{{'")),
            Some('"' | '\'') => self.text(name),
            _ => {
                let minus = if self.take('-') { "-" } else { "" };
                self.peek();
                let word = self.word();
                if word.is_empty() {
                    return self.error(format!("'{name}' has no value"));
                }
                Ok(Value::Plain(format!("{minus}{word}")))
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '+' | '-');
        let end = self.rest.find(|c: char| !belongs(c)).unwrap_or(self.rest.len());
        let word = &self.rest[..end];
        self.skip(end);
        word
    }

    /// One or several quoted pieces, which are one text.
    fn text(&mut self, name: &str) -> Result<Value, SyntaxError> {
        let mut bytes = Vec::new();
        while let Some(quote @ ('"' | '\'')) = self.peek() {
            self.skip(1);
            loop {
                let Some(c) = self.rest.chars().next().filter(|c| *c != '\n') else {
                    return self.error(format!("the text of '{name}' has no end on its line"));
                };
                self.skip(c.len_utf8());
                match c {
                    '\\' => bytes.push(self.escaped(name)?),
                    c if c == quote => break,
                    c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text)),
            Err(_) => self.error(format!("the text of '{name}' is not UTF-8")),
        }
    }

    fn escaped(&mut self, name: &str) -> Result<u8, SyntaxError> {
        let unknown = |reader: &Self| reader.error(format!("an escape in the text of '{name}' is not known"));
        let Some(c) = self.rest.chars().next() else { return unknown(self) };
        let digits = |from: &str, most: usize, radix| from.chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let (from, count, radix) = match c {
            'x' | 'X' => (&self.rest[1..], digits(&self.rest[1..], 2, 16), 16),
            '0'..='7' => (self.rest, digits(self.rest, 3, 8), 8),
            _ => ("", 0, 8),
        };
        if count > 0 {
            let Ok(byte) = u8::from_str_radix(&from[..count], radix) else { return unknown(self) };
            self.skip(self.rest.len() - from.len() + count);
            return Ok(byte);
        }
        let byte = match c {
            'n' => b'\n',
            't' => b'\t',
            'r' => b'\r',
            '\\' | '"' | '\'' | '?' => c as u8,
            _ => return unknown(self),
        };
        self.skip(1);
        Ok(byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(fields: &[Field]) -> String {
        let one = |field: &Field| match &field.value {
            Value::Plain(word) => format!("{}={word}@{}", field.name, field.line),
            Value::Text(text) => format!("{}={text:?}@{}", field.name, field.line),
            Value::Message(fields) => format!("{}({})@{}", field.name, shown(fields), field.line),
        };
        fields.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn fields_lists_messages_and_comments_are_read() {
        let text = "# a model\nname: 'di' \"gits\\x21\\n\"\nmax: -8; on: true,\nin [\n  { dims: [ 1, - 2 ] },\n  < d: TYPE_FP32 >\n]\nempty: []\nb { }";
        let expected = "name=\"digits!\\n\"@2 max=-8@3 on=true@3 in(dims=1@5 dims=-2@5)@5 in(d=TYPE_FP32@6)@6 b()@9";
        assert_eq!(shown(&read(text).unwrap()), expected);
    }

    #[test]
    fn what_is_malformed_names_line_and_field() {
        for (text, line, detail) in [
            ("a: 1\nb: {\n  c: 2\n", 4, "a '}' is missing at the end of the file"),
            ("a: 1\n\nb 2", 3, "'b' is followed by ':' or '{'"),
            ("a: \"open\nb: 1", 1, "the text of 'a' has no end on its line"),
            ("a: [1 2]", 1, "the list of 'a' goes on with ',' or ends with ']'"),
            ("\n}", 2, "the name of a field is expected, found '}'"),
            ("a:", 1, "'a' has no value"),
            ("a: '\\q'", 1, "an escape in the text of 'a' is not known"),
            ("a: '\\xff'", 1, "the text of 'a' is not UTF-8"),
        ] {
            assert_eq!(read(text), Err(SyntaxError { line, detail: detail.to_owned() }), "{text}");
        }
        assert!(read(&"a {".repeat(10_000)).unwrap_err().detail.contains("nested deeper"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-c0-9:{}<>\\[\\],;#\"'\\\\\n xä-]{0,60}") {
            let _ = read(&text);
        }
    }
}
