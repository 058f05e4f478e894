//! INI as ConfigObj reads and writes it, with every line that is not changed kept as it is.
//!
//! `[section]` or `['remote "name"']`, keys indented by four blanks, values quoted when they hold
//! commas, `#`, or blanks or quotes at an end; a list is written with commas, a text of several lines
//! between triple quotes. Names of sections and keys are compared in lower case, as DVC does.

/// A file as lines that know what they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    lines: Vec<Line>,
}

#[derive(Clone, Debug)]
enum Line {
    /// Blank or a comment.
    Other(String),
    Section {
        text: String,
        name: String,
    },
    /// `text` has several lines for a value between triple quotes.
    Setting {
        text: String,
        key: String,
        value: Value,
        /// From `#` on, empty without one.
        comment: String,
    },
}

/// What stands behind the `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    /// Written with commas outside quotes.
    List(Vec<String>),
}

impl Value {
    /// The text; a list with commas between.
    pub(crate) fn joined(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(","),
        }
    }
}

/// What is wrong in which line, counted from 1; `problem` says what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) line: usize,
    pub(crate) problem: String,
}

/// One setting with its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'d> {
    pub(crate) section: &'d str,
    pub(crate) key: &'d str,
    pub(crate) value: &'d Value,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Document {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut document = Self::default();
        let mut section: Option<String> = None;
        let mut physical = text.split_terminator('\n').enumerate();
        while let Some((i, raw)) = physical.next() {
            let malformed =
                |problem: &str| Malformed { line: i + 1, problem: format!("{problem}, found '{}'", raw.trim()) };
            let line = raw.trim();
            if line.is_empty() || line.starts_with('#') {
                document.lines.push(Line::Other(raw.to_owned()));
            } else if line.starts_with('[') {
                let name = section_name(line).map_err(malformed)?;
                if document.has_section(&name) {
                    return Err(malformed("a section stands once in a file"));
                }
                section = Some(name.clone());
                document.lines.push(Line::Section { text: raw.to_owned(), name });
            } else {
                let (key, rest) = key_and_rest(raw.trim_start()).map_err(malformed)?;
                let mut text = raw.to_owned();
                let (value, comment) = match triple_quote(rest) {
                    None => value_and_comment(rest).map_err(malformed)?,
                    Some(quote) => {
                        let mut inside = rest[quote.len()..].to_owned();
                        while !inside.contains(quote) {
                            let (_, next) = physical.next().ok_or_else(|| malformed("triple quotes are closed"))?;
                            inside = format!("{inside}\n{next}");
                            text = format!("{text}\n{next}");
                        }
                        let (value, behind) = inside.split_once(quote).unwrap_or((&inside, ""));
                        (Value::Text(value.to_owned()), comment_of(behind).map_err(malformed)?)
                    }
                };
                let section =
                    section.as_deref().ok_or_else(|| malformed("a [section] must stand before the first key"))?;
                if document.get(section, &key).is_some() {
                    return Err(malformed("a key stands once in a section"));
                }
                document.lines.push(Line::Setting { text, key, value, comment });
            }
        }
        Ok(document)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        for line in &self.lines {
            let (Line::Other(text) | Line::Section { text, .. } | Line::Setting { text, .. }) = line;
            out.push_str(text);
            out.push('\n');
        }
        out
    }

    /// All settings, in their order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut current = "";
        let mut number = 1;
        self.lines.iter().filter_map(move |line| {
            let at = number;
            let (Line::Other(text) | Line::Section { text, .. } | Line::Setting { text, .. }) = line;
            number += 1 + text.matches('\n').count();
            match line {
                Line::Other(_) => None,
                Line::Section { name, .. } => {
                    current = name;
                    None
                }
                Line::Setting { key, value, .. } => Some(Entry { section: current, key, value, line: at }),
            }
        })
    }

    /// The names of all sections, those without settings too, with the line of each.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&str, usize)> {
        let mut number = 1;
        self.lines.iter().filter_map(move |line| {
            let at = number;
            let (Line::Other(text) | Line::Section { text, .. } | Line::Setting { text, .. }) = line;
            number += 1 + text.matches('\n').count();
            if let Line::Section { name, .. } = line { Some((name.as_str(), at)) } else { None }
        })
    }

    pub(crate) fn has_section(&self, name: &str) -> bool {
        self.position(name).is_some()
    }

    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&Value> {
        self.entries().find(|entry| entry.section == section && entry.key == key).map(|entry| entry.value)
    }

    /// Sets one key. A changed line keeps its indentation and its comment; a new one goes to the end of
    /// its section; a new section goes where ConfigObj has it: named ones at the end, others before them.
    ///
    /// # Errors
    /// When ConfigObj has no way to write the value.
    pub(crate) fn set(&mut self, section: &str, key: &str, value: &str) -> Result<(), String> {
        let written = format!("{} = {}", quote(key, false)?, quote(value, true)?);
        let at = match self.position(section) {
            Some(at) => at,
            None => self.insert_section(section)?,
        };
        let end = self.end_of(at);
        for line in &mut self.lines[at + 1..end] {
            if let Line::Setting { text, key: found, value: old, comment } = line
                && found == key
            {
                let indent = &text[..text.len() - text.trim_start().len()];
                let blank = if comment.is_empty() { "" } else { "  " };
                *text = format!("{indent}{written}{blank}{comment}");
                *old = Value::Text(value.to_owned());
                return Ok(());
            }
        }
        // Blank lines and comments at the end of a section belong to what follows.
        let last = (at..end).rev().find(|&i| !matches!(self.lines[i], Line::Other(_))).unwrap_or(at);
        let setting = Line::Setting {
            text: format!("    {written}"),
            key: key.to_owned(),
            value: Value::Text(value.to_owned()),
            comment: String::new(),
        };
        self.lines.insert(last + 1, setting);
        Ok(())
    }

    /// Removes one key, and with the last one of a section without a name the section. False when it
    /// was not there.
    pub(crate) fn unset(&mut self, section: &str, key: &str) -> bool {
        let Some(at) = self.position(section) else { return false };
        let end = self.end_of(at);
        let is_it = |line: &Line| matches!(line, Line::Setting { key: found, .. } if found == key);
        let Some(offset) = self.lines[at + 1..end].iter().position(is_it) else { return false };
        self.lines.remove(at + 1 + offset);
        let is_empty = !self.lines[at + 1..end - 1].iter().any(|line| matches!(line, Line::Setting { .. }));
        if is_empty && !is_named(section) {
            self.lines.remove(at);
        }
        true
    }

    /// Removes a section with its settings; comments in it go too. False when it was not there.
    pub(crate) fn remove_section(&mut self, name: &str) -> bool {
        let Some(at) = self.position(name) else { return false };
        let end = self.end_of(at);
        let last = (at..end).rev().find(|&i| !matches!(self.lines[i], Line::Other(_))).unwrap_or(at);
        self.lines.drain(at..=last);
        true
    }

    /// Gives a section another name, in its place. False when it was not there.
    pub(crate) fn rename_section(&mut self, from: &str, to: &str) -> Result<bool, String> {
        let Some(at) = self.position(from) else { return Ok(false) };
        self.lines[at] = Line::Section { text: format!("[{}]", quote(to, false)?), name: to.to_owned() };
        Ok(true)
    }

    fn position(&self, section: &str) -> Option<usize> {
        self.lines.iter().position(|line| matches!(line, Line::Section { name, .. } if name == section))
    }

    /// Behind the last line of the section that begins at `at`.
    fn end_of(&self, at: usize) -> usize {
        let next = self.lines[at + 1..].iter().position(|line| matches!(line, Line::Section { .. }));
        next.map_or(self.lines.len(), |offset| at + 1 + offset)
    }

    fn insert_section(&mut self, name: &str) -> Result<usize, String> {
        let first_named = || {
            let named = |line: &Line| matches!(line, Line::Section { name, .. } if is_named(name));
            let mut at = self.lines.iter().position(named)?;
            // A comment right above a section is about it.
            while at > 0 && matches!(&self.lines[at - 1], Line::Other(text) if !text.trim().is_empty()) {
                at -= 1;
            }
            Some(at)
        };
        let at = if is_named(name) { None } else { first_named() }.unwrap_or(self.lines.len());
        let text = format!("[{}]", quote(name, false)?);
        self.lines.insert(at, Line::Section { text, name: name.to_owned() });
        Ok(at)
    }
}

/// True for `remote "name"` and its like.
fn is_named(section: &str) -> bool {
    section.contains('"')
}

/// The name between the brackets, unquoted, in lower case, `remote   "x"` with one blank.
fn section_name(line: &str) -> Result<String, &'static str> {
    const RIGHT: &str = "a section is '[name]'";
    let inside = line.strip_prefix('[').ok_or(RIGHT)?.trim_start();
    if inside.starts_with('[') {
        return Err("sections are not nested");
    }
    let quote = inside.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (name, rest) = if let Some(quote) = quote {
        let mut closings = inside[1..].match_indices(quote).map(|(i, _)| i + 1);
        let end = closings.find(|&i| inside[i + 1..].trim_start().starts_with(']')).ok_or(RIGHT)?;
        (inside[1..end].trim(), inside[end + 1..].trim_start())
    } else {
        let end = inside.find(']').ok_or("a section ends with ']'")?;
        (inside[..end].trim(), &inside[end..])
    };
    comment_of(rest.strip_prefix(']').ok_or(RIGHT)?)?;
    if name.is_empty() {
        return Err(RIGHT);
    }
    let name = name.to_lowercase();
    for kind in ["remote", "machine", "db"] {
        if let Some(quoted) = name.strip_prefix(kind).map(str::trim)
            && quoted.len() >= 2
            && quoted.starts_with('"')
            && quoted.ends_with('"')
        {
            return Ok(format!("{kind} {quoted}"));
        }
    }
    Ok(name)
}

fn key_and_rest(line: &str) -> Result<(String, &str), &'static str> {
    const RIGHT: &str = "a setting is 'key = value'";
    let quote = line.chars().next().filter(|c| matches!(c, '"' | '\''));
    let (key, rest) = match quote {
        Some(quote) => {
            let end = line[1..].find(quote).ok_or(RIGHT)? + 1;
            (&line[1..end], line[end + 1..].trim_start().strip_prefix('=').ok_or(RIGHT)?)
        }
        None => line.split_once('=').ok_or(RIGHT)?,
    };
    let key = key.trim().to_lowercase();
    if key.is_empty() { Err(RIGHT) } else { Ok((key, rest.trim_start())) }
}

fn triple_quote(text: &str) -> Option<&'static str> {
    ["\"\"\"", "'''"].into_iter().find(|quote| text.starts_with(quote))
}

/// A value, or several with commas; `#` outside quotes begins a comment.
fn value_and_comment(text: &str) -> Result<(Value, String), &'static str> {
    let (first, mut rest) = item(text)?;
    let mut items = vec![first];
    let mut is_list = false;
    while let Some(more) = rest.strip_prefix(',') {
        is_list = true;
        let (next, after) = item(more.trim_start())?;
        items.push(next);
        rest = after;
    }
    let comment = comment_of(rest)?;
    if is_list {
        items.retain(|item| !item.is_empty());
        return Ok((Value::List(items), comment));
    }
    Ok((Value::Text(items.remove(0)), comment))
}

/// The value at the start of `text` and what stands behind it and behind blanks.
fn item(text: &str) -> Result<(String, &str), &'static str> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        // A quote inside does no harm as long as more than an end stands behind it.
        for (end, _) in text[1..].match_indices(quote) {
            let rest = text[end + 2..].trim_start();
            if rest.is_empty() || rest.starts_with(['#', ',']) {
                return Ok((text[1..=end].to_owned(), rest));
            }
        }
        return Err("a quoted value ends with the quote it began with");
    }
    let end = text.find([',', '#']).unwrap_or(text.len());
    Ok((text[..end].trim_end().to_owned(), &text[end..]))
}

fn comment_of(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') { Ok(text.to_owned()) } else { Err("nothing may stand behind a value") }
}

/// As ConfigObj writes it: quoted when it would not read back otherwise.
fn quote(value: &str, several_lines: bool) -> Result<String, String> {
    let blank_or_quote = |c: char| matches!(c, ' ' | '\r' | '\n' | '\u{b}' | '\t' | '\'' | '"');
    let both_quotes = value.contains('\'') && value.contains('"');
    let quoted = if value.is_empty() {
        "\"\"".to_owned()
    } else if several_lines && (both_quotes || value.contains('\n')) {
        let quote = if value.contains("\"\"\"") { "\"\"\"" } else { "'''" };
        format!("{quote}{value}{quote}")
    } else if !value.starts_with(blank_or_quote) && !value.ends_with(blank_or_quote) && !value.contains([',', '#']) {
        value.to_owned()
    } else if value.contains('"') {
        format!("'{value}'")
    } else {
        format!("\"{value}\"")
    };
    // ConfigObj does not put a text with both quotes between either.
    let is_between = !value.is_empty() && quoted.len() == value.len() + 2;
    let reads_back = match triple_quote(&quoted).filter(|_| several_lines) {
        Some(quote) => quoted[3..].split_once(quote).is_some_and(|(inside, rest)| inside == value && rest.is_empty()),
        None if value.contains('\n') || (both_quotes && is_between) => false,
        None => item(&quoted) == Ok((value.to_owned(), "")),
    };
    if reads_back { Ok(quoted) } else { Err(format!("there is no way to write '{value}' in an INI file")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<(String, String, Value)> {
        let document = Document::parse(text).unwrap();
        document.entries().map(|e| (e.section.to_owned(), e.key.to_owned(), e.value.clone())).collect()
    }

    fn value(text: &str) -> Value {
        values(&format!("[s]\nk = {text}\n")).remove(0).2
    }

    #[test]
    fn values_are_read_as_configobj_reads_them() {
        let text = |text: &str| Value::Text(text.to_owned());
        assert_eq!(value("a b  # comment"), text("a b"));
        assert_eq!(value("it's"), text("it's"));
        assert_eq!(value("'http://x/\"a,b#'  # comment"), text("http://x/\"a,b#"));
        assert_eq!(value("\"a\"b\""), text("a\"b"));
        assert_eq!(value(""), text(""));
        assert_eq!(value("'''it's \"odd\"'''"), text("it's \"odd\""));
        assert_eq!(value("'''first\nsecond''' # comment"), text("first\nsecond"));
        assert_eq!(value("a, \"b,c\", d"), Value::List(vec!["a".into(), "b,c".into(), "d".into()]));
        assert_eq!(value("a,"), Value::List(vec!["a".into()]));
        assert_eq!(value(","), Value::List(Vec::new()));
    }

    #[test]
    fn sections_and_keys_are_compared_in_lower_case() {
        let text = "[Core]  # mine\nRemote = O\n  [ 'remote   \"My One\"' ]\n'url' = x\n[remote \"two\"]\n";
        let names: Vec<_> = values(text).into_iter().map(|(section, key, _)| (section, key)).collect();
        assert_eq!(names, [("core".into(), "remote".into()), ("remote \"my one\"".into(), "url".into())]);
        assert!(Document::parse(text).unwrap().has_section("remote \"two\""));
    }

    #[test]
    fn a_malformed_line_is_named() {
        for (text, line, problem) in [
            ("[core\n", 1, "a section ends with ']', found '[core'"),
            ("[core]\nremote\n", 2, "a setting is 'key = value', found 'remote'"),
            ("a = b\n", 1, "a [section] must stand before the first key, found 'a = b'"),
            ("[a]\n[[b]]\n", 2, "sections are not nested, found '[[b]]'"),
            ("[a]\n[a]\n", 2, "a section stands once in a file, found '[a]'"),
            ("[a]\nk = 1\nk = 2\n", 3, "a key stands once in a section, found 'k = 2'"),
            ("[a]\nk = 'b\n", 2, "a quoted value ends with the quote it began with, found 'k = 'b'"),
            ("[a]\nk = '''b\n\n", 2, "triple quotes are closed, found 'k = '''b'"),
        ] {
            assert_eq!(Document::parse(text).unwrap_err(), Malformed { line, problem: problem.into() }, "{text}");
        }
    }

    #[test]
    fn an_edit_leaves_the_other_lines_alone() {
        let text = "# mine\n[core]\n  analytics = false  # no\n\n# the store\n['remote \"o\"']\n    url = a\n";
        let edited = |edit: &dyn Fn(&mut Document)| {
            let mut document = Document::parse(text).unwrap();
            edit(&mut document);
            document.to_text()
        };
        assert_eq!(edited(&|_| {}), text);
        assert_eq!(
            edited(&|d| d.set("core", "remote", "o").unwrap()),
            text.replace("# no\n", "# no\n    remote = o\n")
        );
        assert_eq!(edited(&|d| d.set("core", "analytics", "true").unwrap()), text.replace("false", "true"));
        assert_eq!(
            edited(&|d| d.set("cache", "type", "hardlink,copy").unwrap()),
            text.replace("# the store", "[cache]\n    type = \"hardlink,copy\"\n# the store")
        );
        assert_eq!(
            edited(&|d| d.set("remote \"p\"", "url", "b").unwrap()),
            format!("{text}['remote \"p\"']\n    url = b\n")
        );
        assert_eq!(
            edited(&|d| assert!(d.unset("core", "analytics"))),
            text.replace("[core]\n  analytics = false  # no\n", "")
        );
        assert_eq!(
            edited(&|d| assert!(d.remove_section("remote \"o\""))),
            text.replace("['remote \"o\"']\n    url = a\n", "")
        );
        assert_eq!(
            edited(&|d| assert!(d.rename_section("remote \"o\"", "remote \"p\"").unwrap())),
            text.replace("\"o\"", "\"p\"")
        );
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let mut document = Document::default();
        assert!(document.set("core", "site_cache_dir", "'''\"\"\"").is_err());
        assert!(document.set("remote \"it's\"", "url", "a").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in "[ -~\n\tä'\",#]{0,20}") {
            let mut document = Document::default();
            if document.set("core", "k", &value).is_ok() {
                let read = Document::parse(&document.to_text()).unwrap();
                prop_assert_eq!(read.get("core", "k"), Some(&Value::Text(value)));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[\\[\\]a-c='\"#, \n]{0,60}") {
            if let Ok(document) = Document::parse(&text) {
                let written = document.to_text();
                prop_assert_eq!(written.trim_end(), text.trim_end());
            }
        }
    }
}
