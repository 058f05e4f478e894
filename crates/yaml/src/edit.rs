//! Changes one place of a file and keeps every other byte: comments, order and style survive.

use std::fmt::Write as _;

use crate::emit::{emit, emit_at, emit_entry};
use crate::node::{Document, Kind, Node};
use crate::{Value, YamlError, parse};

/// One step of a path into a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    Key(&'a str),
    /// From 0; the length of the list appends.
    Index(usize),
}

/// Sets the value at `path`. A last step that does not exist yet is appended to its mapping or
/// list; every step before it must exist. A place inside flow style (`{...}`) is rewritten from the
/// nearest block on.
///
/// # Errors
/// The file does not parse, the path does not lead anywhere, or (checked by reading the result
/// back) the text cannot be changed in this one place only, for example because an alias elsewhere
/// stands for it.
pub fn set(file: &str, text: &str, path: &[Step<'_>], value: &Value) -> Result<String, YamlError> {
    change(file, text, path, Some(value))
}

/// Removes the entry or item at `path`; leaves the text alone when there is none.
///
/// # Errors
/// As [`set`].
pub fn remove(file: &str, text: &str, path: &[Step<'_>]) -> Result<String, YamlError> {
    change(file, text, path, None)
}

fn change(file: &str, text: &str, path: &[Step<'_>], value: Option<&Value>) -> Result<String, YamlError> {
    let document = parse(file, text)?;
    let before = document.root().to_value();
    let Some(wanted) = changed(&before, path, value) else {
        return Err(document.error(document.root().span, format!("there is no {} to change", show(path))));
    };
    if wanted == before {
        return Ok(text.to_owned());
    }
    let edited = splice(&document, path, value, &wanted);
    let read_back = parse(file, &edited)?;
    if read_back.root().to_value() == wanted {
        return Ok(edited);
    }
    let message = format!("{} cannot be changed without changing other parts of the file", show(path));
    Err(document.error(document.root().span, message).help("write the file without anchors, aliases and tags"))
}

/// The whole value after the change; nothing when the path leads nowhere.
fn changed(value: &Value, path: &[Step<'_>], new: Option<&Value>) -> Option<Value> {
    let Some((step, rest)) = path.split_first() else {
        return new.cloned();
    };
    match (value, step) {
        (Value::Map(entries), Step::Key(key)) => {
            let mut entries = entries.clone();
            match entries.iter().position(|(k, _)| k == key) {
                Some(at) if rest.is_empty() && new.is_none() => drop(entries.remove(at)),
                Some(at) => entries[at].1 = changed(&entries[at].1, rest, new)?,
                None if rest.is_empty() => {
                    entries.extend(new.map(|v| ((*key).to_owned(), v.clone())));
                }
                None => return None,
            }
            Some(Value::Map(entries))
        }
        (Value::Seq(items), Step::Index(at)) => {
            let mut items = items.clone();
            match items.get(*at) {
                Some(_) if rest.is_empty() && new.is_none() => drop(items.remove(*at)),
                Some(item) => items[*at] = changed(item, rest, new)?,
                None if rest.is_empty() && *at == items.len() => items.extend(new.cloned()),
                None => return None,
            }
            Some(Value::Seq(items))
        }
        (Value::Null, Step::Key(_)) => changed(&Value::Map(Vec::new()), path, new),
        (Value::Null, Step::Index(_)) => changed(&Value::Seq(Vec::new()), path, new),
        _ => None,
    }
}

/// Replaces the smallest block that holds the change. `wanted` is the whole value afterwards.
fn splice(document: &Document, path: &[Step<'_>], value: Option<&Value>, wanted: &Value) -> String {
    for length in (1..=path.len()).rev() {
        let (place, parent_path) = (&path[..length], &path[..length - 1]);
        let new = if length == path.len() { value } else { lookup(wanted, place) };
        let Some(parent) = find(document.root(), parent_path) else {
            continue;
        };
        if let Some(edited) = splice_child(document.text(), parent, place[length - 1], new) {
            return edited;
        }
    }
    emit(wanted)
}

/// Sets or removes one child of a block mapping or list; nothing when that needs a larger rewrite.
fn splice_child(text: &str, parent: &Node, step: Step<'_>, new: Option<&Value>) -> Option<String> {
    if parent.flow {
        return None;
    }
    // (start of the first child's line content, (start, end) of this child, end of the last child)
    let (first, child, last, count) = match (&parent.kind, step) {
        (Kind::Map(entries), Step::Key(key)) => {
            let first = entries.first()?;
            let child = entries.iter().find(|e| e.key == key).map(|e| (e.key_span.start, e.value.span.end));
            (first.key_span.start, child, entries.last()?.value.span.end, entries.len())
        }
        (Kind::Seq(items), Step::Index(at)) => {
            let dash = |item: &Node| text[..item.span.start].rfind('-');
            let first = dash(items.first()?)?;
            let child = match items.get(at) {
                Some(item) => Some((dash(item)?, item.span.end)),
                None => None,
            };
            (first, child, items.last()?.span.end, items.len())
        }
        _ => return None,
    };
    let indent = column(text, first);
    let written = |value: &Value| match step {
        Step::Key(key) => emit_entry(key, value, indent),
        Step::Index(_) if *value == Value::Null => "- ".to_owned(),
        Step::Index(_) => format!("- {}", emit_at(value, indent + 2)),
    };
    match (child, new) {
        (Some((start, end)), Some(value)) => {
            Some(format!("{}{}{}", &text[..start], written(value), text.get(end.min(text.len())..)?))
        }
        // The last child of all: what is left is no block any more.
        (Some(_), None) if count == 1 => None,
        (Some((start, end)), None) => {
            let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
            let next_line = text.get(end..)?.find('\n').map_or(text.len(), |at| end + at + 1);
            if text[line..start].trim().is_empty() {
                return Some(format!("{}{}", &text[..line], &text[next_line..]));
            }
            // The first entry of a mapping in a list stands behind the dash: the next takes its place.
            let next = next_line + (text[next_line..].len() - text[next_line..].trim_start().len());
            Some(format!("{}{}", &text[..start], &text[next..]))
        }
        (None, Some(value)) => {
            let line_end = text.get(last.min(text.len())..)?.find('\n').map_or(text.len(), |at| last + at);
            let (before, after) = text.split_at(line_end);
            let after = if after.is_empty() { "\n" } else { after };
            Some(format!("{before}\n{}{}{after}", " ".repeat(indent), written(value)))
        }
        (None, None) => Some(text.to_owned()),
    }
}

fn column(text: &str, at: usize) -> usize {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[line..at].chars().count()
}

fn find<'n>(node: &'n Node, path: &[Step<'_>]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, step| match (&node.kind, step) {
        (Kind::Map(_), Step::Key(key)) => node.get(key),
        (Kind::Seq(items), Step::Index(at)) => items.get(*at),
        _ => None,
    })
}

fn lookup<'v>(value: &'v Value, path: &[Step<'_>]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match (value, step) {
        (Value::Map(_), Step::Key(key)) => value.get(key),
        (Value::Seq(items), Step::Index(at)) => items.get(*at),
        _ => None,
    })
}

fn show(path: &[Step<'_>]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Key(key) if out.is_empty() => out.push_str(key),
            Step::Key(key) => {
                out.push('.');
                out.push_str(key);
            }
            Step::Index(at) => {
                let _ = write!(out, "[{at}]");
            }
        }
    }
    format!("'{out}'")
}

#[cfg(test)]
mod tests {
    use super::Step::{Index, Key};
    use super::*;

    const LOCK: &str = "# ours\nschema: '2.0'\nstages:\n  prepare:   # first\n    cmd: python prepare.py\n    deps:\n    - path: prepare.py\n      md5: aa\n\n  # the second\n  train:\n    cmd: python train.py\n";

    fn cmd(text: &str) -> Value {
        Value::Map(vec![("cmd".into(), text.into())])
    }

    #[test]
    fn replacing_a_stage_keeps_every_other_byte() {
        let edited = set("dvc.lock", LOCK, &[Key("stages"), Key("train")], &cmd("python train.py --fast")).unwrap();
        assert_eq!(edited, LOCK.replace("python train.py", "python train.py --fast"));
    }

    #[test]
    fn a_new_stage_goes_behind_the_last_one() {
        let edited = set("dvc.lock", LOCK, &[Key("stages"), Key("evaluate")], &cmd("python evaluate.py")).unwrap();
        assert_eq!(edited, format!("{LOCK}  evaluate:\n    cmd: python evaluate.py\n"));
    }

    #[test]
    fn one_value_in_a_list_is_replaced_alone() {
        let edited =
            set("dvc.lock", LOCK, &[Key("stages"), Key("prepare"), Key("deps"), Index(0), Key("md5")], &"bb".into())
                .unwrap();
        assert_eq!(edited, LOCK.replace("md5: aa", "md5: bb"));
    }

    #[test]
    fn removing_a_stage_removes_its_lines() {
        let edited = remove("dvc.lock", LOCK, &[Key("stages"), Key("train")]).unwrap();
        assert_eq!(edited, LOCK.replace("  train:\n    cmd: python train.py\n", ""));
    }

    #[test]
    fn the_first_key_of_a_list_item_can_be_removed() {
        let edited = remove("a.dvc", "outs:\n- md5: aa\n  path: x\n", &[Key("outs"), Index(0), Key("md5")]).unwrap();
        assert_eq!(edited, "outs:\n- path: x\n");
    }

    #[test]
    fn flow_style_is_rewritten_as_a_block() {
        let edited =
            set("dvc.lock", "schema: '2.0'\nstages: {} # none\n", &[Key("stages"), Key("train")], &cmd("x")).unwrap();
        assert_eq!(edited, "schema: '2.0'\nstages:\n  train:\n    cmd: x # none\n");
    }

    #[test]
    fn a_value_that_an_alias_stands_for_is_left_alone() {
        let text = "a: &x {k: 1}\nb: *x\n";
        let error = set("x.yaml", text, &[Key("a"), Key("k")], &Value::Int(2)).unwrap_err();
        assert!(error.to_string().contains("x.yaml:"), "{error}");
    }

    #[test]
    fn a_path_that_leads_nowhere_is_named() {
        let error = set("x.yaml", "a: 1\n", &[Key("a"), Key("b")], &Value::Int(2)).unwrap_err();
        assert_eq!(error.message, "there is no 'a.b' to change");
    }

    #[test]
    fn the_last_child_of_a_mapping_leaves_an_empty_one() {
        let edited = remove("x.yaml", "a:\n  b: 1\nc: 2\n", &[Key("a"), Key("b")]).unwrap();
        assert_eq!(edited, "a: {}\nc: 2\n");
    }

    proptest::proptest! {
        /// Any entry of a nested file can be set, added and removed, whatever stands around it.
        #[test]
        fn an_edit_changes_what_it_says_and_nothing_else(
            keys in proptest::collection::btree_set("[a-c0-9 é#:-]{1,4}", 1..5),
            text in "[ -~é\n]{0,30}",
            at in 0usize..5,
            blank in proptest::bool::ANY,
        ) {
            let entries: Vec<(String, Value)> = keys.iter().map(|k| (k.clone(), Value::Seq(vec![Value::string(k), cmd(k)]))).collect();
            let before = Value::Map(vec![("x".into(), Value::Int(1)), ("stages".into(), Value::Map(entries.clone())), ("z".into(), Value::Null)]);
            let separator = if blank { "# c\n\nstages:" } else { "stages:" };
            let file = emit(&before).replacen("stages:", separator, 1);
            let key = keys.iter().nth(at).map_or("new key", String::as_str);

            let edited = set("x.yaml", &file, &[Key("stages"), Key(key)], &cmd(&text)).map_err(|e| e.to_string());
            proptest::prop_assert!(edited.is_ok(), "{:?}", edited);
            let read = parse("x.yaml", &edited.unwrap_or_default()).map(|d| d.root().to_value());
            let read = read.map_err(|e| e.to_string());
            let stages = read.as_ref().ok().and_then(|v| v.get("stages"));
            proptest::prop_assert_eq!(stages.and_then(|s| s.get(key)), Some(&cmd(&text)));
            for (other, value) in entries.iter().filter(|(k, _)| k != key) {
                proptest::prop_assert_eq!(stages.and_then(|s| s.get(other)), Some(value));
            }
            proptest::prop_assert!(remove("x.yaml", &file, &[Key("stages"), Key(key)]).is_ok());
        }
    }
}
