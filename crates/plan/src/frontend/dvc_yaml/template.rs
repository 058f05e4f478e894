//! `${...}` in a text: finding it, checking it, writing values into text as DVC does.

use std::ops::Range;

use towpath_yaml::{Value, python_float};

use super::Arguments;

/// One `${...}`.
pub(super) struct Expression<'t> {
    pub(super) at: Range<usize>,
    pub(super) inner: &'t str,
}

/// The templates of a text. `\${` is none, and a line break ends the search for `}`.
pub(super) fn expressions(text: &str) -> Vec<Expression<'_>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find("${").map(|at| from + at) {
        from = start + 2;
        let end = text[from..].find(['}', '\n']).map(|at| from + at).filter(|&at| text[at..].starts_with('}'));
        if let Some(end) = end.filter(|_| !text[..start].ends_with('\\')) {
            found.push(Expression { at: start..end + 1, inner: &text[from..end] });
            from = end + 1;
        }
    }
    found
}

/// `name`, `name.key`, `name[0].key`.
pub(super) fn is_reference(text: &str) -> bool {
    after_reference(text).is_some()
}

fn after_reference(text: &str) -> Option<()> {
    fn after_word(text: &str) -> Option<&str> {
        let end = text.find(['.', '[', ']']).unwrap_or(text.len());
        (end > 0).then(|| &text[end..])
    }
    let mut rest = after_word(text)?;
    while !rest.is_empty() {
        rest = match rest.strip_prefix('.') {
            Some(attribute) => after_word(attribute)?,
            None => after_word(rest.strip_prefix('[')?)?.strip_prefix(']')?,
        };
    }
    Some(())
}

/// A value inside a text: as Python prints it, booleans in lower case. A mapping becomes command
/// line arguments.
///
/// # Errors
/// A list, which has no text.
pub(super) fn written(value: &Value, arguments: Arguments) -> Result<String, String> {
    match value {
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Map(_) => {
            let mut words = Vec::new();
            command_line("", value, arguments, &mut words)?;
            Ok(words.join(" "))
        }
        Value::Seq(_) => Err("a list cannot stand inside text".into()),
        scalar => Ok(printed(scalar)),
    }
}

/// `--key value`, nested keys joined by dots.
fn command_line(name: &str, value: &Value, arguments: Arguments, words: &mut Vec<String>) -> Result<(), String> {
    match value {
        Value::Map(entries) => {
            for (key, value) in entries {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                command_line(&name, value, arguments, words)?;
            }
        }
        Value::Bool(true) => words.push(format!("--{name}")),
        Value::Bool(false) if arguments.boolean_optional => words.push(format!("--no-{name}")),
        Value::Bool(false) => {}
        Value::Seq(items) => {
            for (at, item) in items.iter().enumerate() {
                let item = match item {
                    Value::Seq(_) | Value::Map(_) => return Err(format!("the list '{name}' holds lists or mappings")),
                    Value::Bool(true) => "True".to_owned(),
                    Value::Bool(false) => "False".to_owned(),
                    scalar => argument(scalar),
                };
                let with_name = at == 0 || arguments.append;
                words.push(if with_name { format!("--{name} {item}") } else { item });
            }
        }
        scalar => words.push(format!("--{name} {}", argument(scalar))),
    }
    Ok(())
}

fn argument(scalar: &Value) -> String {
    match scalar {
        Value::String(text) | Value::Timestamp(text) => quoted(text),
        other => printed(other),
    }
}

/// One word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r#"'"'"'"#))
}

fn printed(scalar: &Value) -> String {
    match scalar {
        Value::Null => "None".into(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) if number.is_nan() => "nan".into(),
        Value::Float(number) if number.is_infinite() => if *number > 0.0 { "inf" } else { "-inf" }.into(),
        Value::Float(number) => python_float(*number),
        Value::String(text) | Value::Timestamp(text) => text.clone(),
        Value::Bool(_) | Value::Seq(_) | Value::Map(_) => scalar.to_python_json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_end_at_the_first_brace_and_escaped_ones_are_text() {
        let inner = |text: &'static str| expressions(text).iter().map(|e| e.inner).collect::<Vec<_>>();
        assert_eq!(inner("a ${b} ${c.d[0]}"), ["b", "c.d[0]"]);
        assert_eq!(inner(r"\${b} ${c}"), ["c"]);
        assert_eq!(inner("${a\n} ${b}"), ["b"]);
        assert_eq!(inner("${${a}}"), ["${a"]);
        assert!(inner("${").is_empty());
    }

    #[test]
    fn references_are_names_keys_and_indices() {
        for good in ["a", "a.b", "a[0]", "a[b].c", " a ", "a-b_c"] {
            assert!(is_reference(good), "{good}");
        }
        for bad in ["", ".", "a.", "a..b", "a[", "a[]", "[0]", "a[0", "a]"] {
            assert!(!is_reference(bad), "{bad}");
        }
    }
}
