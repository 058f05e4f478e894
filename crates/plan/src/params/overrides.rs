//! `--set-param`: parameters given on the command line, in the grammar of Hydra's overrides as far as
//! it is about values (`lr=0.1`, `+new=1`, `~gone`, `net={depth: 2}`, `lr=0.1,0.2`, `seed=range(3)`).

use towpath_yaml::{Scalar, Value, resolve_plain};

use crate::frontend::dvc_yaml::DEFAULT_PARAMS;

/// A parameter and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// The file, relative to the folder of the caller.
    pub file: String,
    /// Dotted.
    pub key: String,
    pub change: Change,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// `key=value`: it has to be there.
    Set(Value),
    /// `+key=value`: it must not be there.
    Add(Value),
    /// `++key=value`: there or not.
    Put(Value),
    /// `~key`
    Remove,
}

/// One argument: the same parameter with each of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    pub values: Vec<Override>,
}

/// Reads one argument. The error says what is wrong with it.
pub fn parse(argument: &str) -> Result<Sweep, String> {
    let (name, value) = match argument.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (argument, None),
    };
    let (file, name) = name.split_once(':').unwrap_or((DEFAULT_PARAMS, name));
    let (sign, key) = match name {
        _ if name.starts_with("++") => ("++", &name[2..]),
        _ if name.starts_with(['+', '~']) => name.split_at(1),
        _ => ("", name),
    };
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err(format!("'{argument}' names no parameter"));
    }
    let make = |change| Override { file: file.to_owned(), key: key.to_owned(), change };
    if sign == "~" {
        return Ok(Sweep { values: vec![make(Change::Remove)] });
    }
    let value = value.ok_or_else(|| format!("'{argument}' has no value: write {key}=VALUE"))?;
    let values = values(value).map_err(|problem| format!("'{argument}': {problem}"))?;
    let change = |value| match sign {
        "" => Change::Set(value),
        "+" => Change::Add(value),
        _ => Change::Put(value),
    };
    Ok(Sweep { values: values.into_iter().map(|value| make(change(value))).collect() })
}

/// Every combination, the first argument slowest.
pub fn combinations(sweeps: &[Sweep]) -> Vec<Vec<Override>> {
    sweeps.iter().fold(vec![Vec::new()], |all, sweep| {
        let with = |start: &Vec<Override>| {
            sweep.values.iter().map(|value| start.iter().cloned().chain([value.clone()]).collect()).collect::<Vec<_>>()
        };
        all.iter().flat_map(with).collect()
    })
}

fn values(text: &str) -> Result<Vec<Value>, String> {
    let text = text.trim();
    let call = |name: &str| text.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')');
    if let Some(arguments) = call("range") {
        return range(arguments);
    }
    if let Some(arguments) = call("choice") {
        return split(arguments, ',')?.into_iter().map(element).collect();
    }
    if call("glob").is_some() {
        return Err("glob is not supported: list the values".to_owned());
    }
    split(text, ',')?.into_iter().map(element).collect()
}

/// `range(stop)`, `range(start,stop)`, `range(start,stop,step)`, the end left out.
fn range(arguments: &str) -> Result<Vec<Value>, String> {
    const MOST: usize = 10_000;
    let numbers: Vec<Value> = split(arguments, ',')?
        .into_iter()
        .map(|part| element(part.rsplit_once('=').map_or(part, |(_, value)| value)))
        .collect::<Result<_, _>>()?;
    let wrong = || "range takes one to three numbers: range(start,stop,step)".to_owned();
    if let Some(whole) =
        numbers.iter().map(|n| if let Value::Int(n) = n { Some(*n) } else { None }).collect::<Option<Vec<i64>>>()
    {
        let (start, stop, step) = match whole[..] {
            [stop] => (0, stop, 1),
            [start, stop] => (start, stop, 1),
            [start, stop, step] if step != 0 => (start, stop, step),
            _ => return Err(wrong()),
        };
        let all = (0..MOST as i64).map(|n| start + n * step);
        return Ok(all.take_while(|n| if step > 0 { *n < stop } else { *n > stop }).map(Value::Int).collect());
    }
    let number = |value: &Value| match value {
        Value::Int(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        _ => None,
    };
    let parts: Vec<f64> = numbers.iter().map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    let (start, stop, step) = match parts[..] {
        [stop] => (0.0, stop, 1.0),
        [start, stop] => (start, stop, 1.0),
        [start, stop, step] if step != 0.0 => (start, stop, step),
        _ => return Err(wrong()),
    };
    // 0.1 + 0.2 is written as 0.3.
    let at = |n: usize| format!("{:.12}", start + n as f64 * step).parse().unwrap_or(stop);
    let all = (0..MOST).map(at);
    Ok(all.take_while(|n| if step > 0.0 { *n < stop } else { *n > stop }).map(Value::Float).collect())
}

/// Parts between separators that are not inside of brackets or quotes.
fn split(text: &str, separator: char) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let (mut start, mut depth, mut quote, mut escaped) = (0, 0_u32, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[' | '{' | '(') => depth += 1,
            (None, ']' | '}' | ')') => depth = depth.checked_sub(1).ok_or_else(|| format!("'{c}' closes nothing"))?,
            _ if c == separator && depth == 0 => {
                parts.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if depth > 0 || quote.is_some() {
        return Err("a bracket or a quote is not closed".to_owned());
    }
    parts.push(&text[start..]);
    Ok(parts)
}

fn element(text: &str) -> Result<Value, String> {
    let text = text.trim();
    let inside = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(items) = inside('[', ']') {
        if items.trim().is_empty() {
            return Ok(Value::Seq(Vec::new()));
        }
        return split(items, ',')?.into_iter().map(element).collect::<Result<_, _>>().map(Value::Seq);
    }
    if let Some(entries) = inside('{', '}') {
        if entries.trim().is_empty() {
            return Ok(Value::Map(Vec::new()));
        }
        let entry = |part: &str| {
            let (key, value) = part.split_once(':').ok_or_else(|| format!("'{part}' is no key: value"))?;
            Ok((key.trim().trim_matches(['\'', '"']).to_owned(), element(value)?))
        };
        return split(entries, ',')?.into_iter().map(entry).collect::<Result<_, String>>().map(Value::Map);
    }
    for quote in ['\'', '"'] {
        if text.len() > 1
            && let Some(quoted) = inside(quote, quote)
        {
            return Ok(Value::String(quoted.replace(&format!("\\{quote}"), &quote.to_string())));
        }
    }
    Ok(match text.to_lowercase().as_str() {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "nan" => Value::Float(f64::NAN),
        "inf" | "+inf" => Value::Float(f64::INFINITY),
        "-inf" => Value::Float(f64::NEG_INFINITY),
        _ => match resolve_plain(text) {
            Ok(Scalar::Int(number)) => Value::Int(number),
            Ok(Scalar::Float(number)) => Value::Float(number),
            _ => Value::String(text.replace("\\,", ",").replace("\\ ", " ")),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(argument: &str) -> (String, Change) {
        let mut sweep = parse(argument).unwrap();
        assert_eq!(sweep.values.len(), 1, "{argument}");
        let found = sweep.values.remove(0);
        (format!("{}:{}", found.file, found.key), found.change)
    }

    #[test]
    fn values_have_the_types_that_hydra_gives_them() {
        let map = Value::Map(vec![("depth".into(), Value::Int(2)), ("act".into(), Value::string("relu"))]);
        for (argument, value) in [
            ("a=1", Value::Int(1)),
            ("a=-1e-3", Value::Float(-1e-3)),
            ("a=True", Value::Bool(true)),
            ("a=null", Value::Null),
            ("a=yes", Value::string("yes")),
            ("a='1'", Value::string("1")),
            ("a=\"x, y\"", Value::string("x, y")),
            ("a=", Value::string("")),
            ("a=[1,[x]]", Value::Seq(vec![Value::Int(1), Value::Seq(vec![Value::string("x")])])),
            ("a={depth: 2, act: relu}", map),
            ("a=http://h/p", Value::string("http://h/p")),
        ] {
            assert_eq!(one(argument), ("params.yaml:a".to_owned(), Change::Set(value)), "{argument}");
        }
        assert_eq!(one("p.json:a.b=1"), ("p.json:a.b".to_owned(), Change::Set(Value::Int(1))));
        assert_eq!(one("+a=1").1, Change::Add(Value::Int(1)));
        assert_eq!(one("++a=1").1, Change::Put(Value::Int(1)));
        assert_eq!(one("~a").1, Change::Remove);
        for bad in ["a", "=1", "a=[1", "a=]", "a..b=1", "a=glob(*)", "a=range(x)", "a=range(1,2,0)"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_and_ranges_are_swept_in_all_combinations() {
        let sweeps = ["lr=0.1,0.2", "seed=range(1,6,2)"].map(|argument| parse(argument).unwrap());
        let all = combinations(&sweeps);
        let values = |combination: &Vec<Override>| {
            let value = |one: &Override| {
                if let Change::Set(value) = &one.change { value.to_python_json() } else { String::new() }
            };
            combination.iter().map(value).collect::<Vec<_>>().join(" ")
        };
        let all: Vec<String> = all.iter().map(values).collect();
        assert_eq!(all, ["0.1 1", "0.1 3", "0.1 5", "0.2 1", "0.2 3", "0.2 5"]);
        let floats = parse("a=range(0,0.5,0.1)").unwrap();
        assert_eq!(floats.values.len(), 5);
        assert_eq!(floats.values[3].change, Change::Set(Value::Float(0.3)));
        assert_eq!(parse("a=choice(x,y)").unwrap().values.len(), 2);
    }
}
