//! What the items of a stage's input are. Pure: names and contents in, items out.
//!
//! The idea is that of Pachyderm's datums (a glob over an input says what is processed alone); lists are
//! added, so that an earlier stage can say what there is to do.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use globset::{GlobBuilder, GlobMatcher};
use serde_json::Value;
use towpath_core::Digest;

/// One thing to work on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// For people, and in `TOWPATH_DATUM`: the path below the folder, or the value.
    pub name: String,
    /// Changes when its content does.
    pub content: Digest,
    pub source: Source,
}

/// What the stage finds in the place of its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These files, by their paths below the folder.
    Files(Vec<String>),
    /// A list with this one item in it.
    List(String),
}

/// What of a folder is one item. A leading `/` is Pachyderm's way to write it; `/` alone is the whole folder.
pub fn matcher(pattern: &str) -> Result<GlobMatcher, globset::Error> {
    let pattern = pattern.strip_prefix('/').unwrap_or(pattern);
    Ok(GlobBuilder::new(pattern).literal_separator(true).build()?.compile_matcher())
}

/// The items of a folder: the outermost paths that the pattern matches, each with all files beneath. Files that
/// belong to none are left out.
pub fn of_folder<'a>(
    files: impl Iterator<Item = (&'a str, &'a str)>,
    pattern: &str,
) -> Result<Vec<Item>, globset::Error> {
    let matches = matcher(pattern)?;
    let whole = pattern.is_empty() || pattern == "/";
    let mut items: BTreeMap<&str, (String, Vec<String>)> = BTreeMap::new();
    for (path, content) in files {
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let name = if whole { Some("/") } else { ends.map(|end| &path[..end]).find(|prefix| matches.is_match(prefix)) };
        if let Some(name) = name {
            let (text, paths) = items.entry(name).or_default();
            let _ = writeln!(text, "{path}\t{content}");
            paths.push(path.to_owned());
        }
    }
    let item = |(name, (text, paths)): (&str, (String, Vec<String>))| Item {
        name: name.to_owned(),
        content: Digest::of(text.as_bytes()),
        source: Source::Files(paths),
    };
    Ok(items.into_iter().map(item).collect())
}

/// The items of a list, each once: the elements of a JSON array, the lines of `.jsonl` and `.txt`, the rows of a
/// CSV file with its header. The error is for people.
pub fn of_list(path: &str, text: &str) -> Result<Vec<Item>, String> {
    let lists: Vec<(String, String)> = match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json") => {
            let elements: Vec<Value> =
                serde_json::from_str(text).map_err(|problem| format!("{path} is not a JSON array: {problem}"))?;
            elements.into_iter().map(|value| (shown(&value), format!("{}\n", Value::Array(vec![value])))).collect()
        }
        Some("jsonl" | "ndjson") => lines(text)
            .map(|line| {
                let value: Value =
                    serde_json::from_str(line).map_err(|problem| format!("{path}: {line}: {problem}"))?;
                Ok((shown(&value), format!("{line}\n")))
            })
            .collect::<Result<_, String>>()?,
        Some("txt") => lines(text).map(|line| (line.to_owned(), format!("{line}\n"))).collect(),
        Some("csv") => {
            let mut rows = records(text).into_iter();
            let header = rows.next().ok_or_else(|| format!("{path} has no header"))?;
            rows.map(|row| (row.trim_end().to_owned(), format!("{header}{}\n", row.trim_end_matches(['\r', '\n']))))
                .collect()
        }
        _ => return Err(format!("{path} is neither a folder nor a list: .json, .jsonl, .csv or .txt")),
    };
    let mut known = std::collections::BTreeSet::new();
    let item = |(name, list): (String, String)| {
        let content = Digest::of(list.as_bytes());
        known.insert(content.clone()).then_some(Item { name: cut(name), content, source: Source::List(list) })
    };
    Ok(lists.into_iter().filter_map(item).collect())
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim().is_empty())
}

/// The records of a CSV text with their line ends; a quoted field may hold lines.
fn records(text: &str) -> Vec<&str> {
    let mut records = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' if !quoted => {
                records.push(&text[start..=at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    records.push(&text[start..]);
    records.retain(|record| !record.trim().is_empty());
    records
}

fn cut(mut name: String) -> String {
    const LONGEST: usize = 200;
    if name.len() > LONGEST {
        name.truncate(name.floor_char_boundary(LONGEST));
        name.push_str("...");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> Vec<(String, usize)> {
        let files = [("a/1.png", "x"), ("a/2.png", "y"), ("b/1.png", "x"), ("read.me", "z")];
        let files_of = |source| match source {
            Source::Files(files) => files.len(),
            Source::List(_) => 0,
        };
        of_folder(files.into_iter(), pattern).unwrap().into_iter().map(|i| (i.name, files_of(i.source))).collect()
    }

    #[test]
    fn a_pattern_says_what_of_a_folder_is_one_item() {
        let item = |name: &str, files| (name.to_owned(), files);
        assert_eq!(names("*"), [item("a", 2), item("b", 1), item("read.me", 1)]);
        assert_eq!(names("/*/*.png"), [item("a/1.png", 1), item("a/2.png", 1), item("b/1.png", 1)]);
        assert_eq!(names("**/1.png"), [item("a/1.png", 1), item("b/1.png", 1)]);
        assert_eq!(names("/"), [item("/", 4)]);
        assert_eq!(names("c*"), []);
    }

    #[test]
    fn an_item_changes_with_its_files_and_not_with_others() {
        let content =
            |files: [(&'static str, &'static str); 2]| of_folder(files.into_iter(), "*").unwrap()[0].content.clone();
        let before = content([("a/1", "x"), ("b", "y")]);
        assert_eq!(before, content([("a/1", "x"), ("b", "z")]));
        assert_ne!(before, content([("a/1", "y"), ("b", "y")]));
        assert_ne!(before, content([("a/2", "x"), ("b", "y")]));
    }

    #[test]
    fn each_element_of_a_list_becomes_a_list_of_one() {
        let lists = |path: &str, text: &str| -> Vec<(String, String)> {
            let list = |source| match source {
                Source::List(list) => list,
                Source::Files(_) => panic!("a list"),
            };
            of_list(path, text).unwrap().into_iter().map(|i| (i.name, list(i.source))).collect()
        };
        let pair = |name: &str, list: &str| (name.to_owned(), list.to_owned());
        assert_eq!(
            lists("l.json", "[\"de\", {\"n\": 1}, \"de\"]"),
            [pair("de", "[\"de\"]\n"), pair("{\"n\":1}", "[{\"n\":1}]\n")]
        );
        assert_eq!(lists("l.jsonl", "1\n\n2\n"), [pair("1", "1\n"), pair("2", "2\n")]);
        assert_eq!(lists("l.txt", "one\ntwo"), [pair("one", "one\n"), pair("two", "two\n")]);
        let csv = "id,text\n1,\"two\nlines\"\n2,x";
        assert_eq!(
            lists("l.csv", csv),
            [pair("1,\"two\nlines\"", "id,text\n1,\"two\nlines\"\n"), pair("2,x", "id,text\n2,x\n")]
        );
        assert!(of_list("l.json", "{}").unwrap_err().contains("not a JSON array"));
        assert!(of_list("l.parquet", "").unwrap_err().contains("neither a folder nor a list"));
    }
}
