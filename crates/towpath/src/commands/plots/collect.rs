//! Which plots there are and what their files hold, of one revision, as `dvc plots` collects them
//! (dvc 3.67, `repo/plots/__init__.py`). Paths are as seen from the folder of the caller.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;
use towpath_plan::params;
use towpath_yaml::Value;

use crate::error::Error;
use crate::view::View;
use crate::workspace::shown;

/// Files with these endings are pictures.
pub const PICTURES: [&str; 5] = ["jpg", "jpeg", "gif", "png", "svg"];

/// Where plots are looked for.
pub struct Place<'a> {
    pub root: &'a Path,
    /// The folder of the caller.
    pub from: &'a Path,
}

/// What one revision has.
pub struct Collected {
    pub revision: String,
    /// By name, in the order they were found; two plots of one name carry their file in front.
    pub definitions: Vec<Definition>,
    pub sources: BTreeMap<String, Result<Source, Failure>>,
}

#[derive(Clone)]
pub struct Definition {
    pub name: String,
    /// As the pipeline file has it: for plots without sources of their own a path.
    pub id: String,
    pub properties: Value,
}

pub enum Source {
    Picture(Vec<u8>),
    Data(Value),
}

/// Why a plot or one of its files is not shown, in DVC's words.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub kind: &'static str,
    pub message: String,
}

/// Definitions by pipeline file; those of outputs and targets have none.
type ByFile = Vec<(String, Vec<(String, Value)>)>;

/// `properties` are those of the command line: they win.
pub fn collect(
    place: &Place<'_>,
    view: &View,
    revision: &str,
    targets: &[String],
    properties: &Value,
) -> Result<Collected, Error> {
    let patterns = targets
        .iter()
        .map(|target| Regex::new(&format!("^(?:{target})")).map_err(|error| Error::invalid(error.to_string())));
    let wanted = Wanted { patterns: patterns.collect::<Result<Vec<_>, Error>>()? };
    let mut files = ByFile::new();
    for (file, plots) in view.plots.iter().filter(|(_, plots)| !plots.declared.is_empty()) {
        let file = shown(place.root, file, place.from);
        files.push((file.clone(), declared(place, view, &file, &plots.declared, &wanted, properties)?));
    }
    for (file, plots) in &view.plots {
        let file = shown(place.root, file, place.from);
        for (path, own) in &plots.outputs {
            let path = shown(place.root, path, place.from);
            if wanted.has(&file, &path) {
                for path in unpacked(place, view, &path)? {
                    add(&mut files, "", path, merged(own, properties));
                }
            }
        }
    }
    for target in targets {
        if files.is_empty() || exists(place, view, target)? {
            for path in unpacked(place, view, target)? {
                add(&mut files, "", path, properties.clone());
            }
        }
    }
    let mut sources = BTreeMap::new();
    for (id, definition) in files.iter().flat_map(|(_, plots)| plots) {
        for path in sources_of(id, definition) {
            if !sources.contains_key(&path) {
                let header = header_of(place, view, &path, properties);
                sources.insert(path.clone(), read(place, view, &path, header)?);
            }
        }
    }
    Ok(Collected { revision: revision.to_owned(), definitions: named(files), sources })
}

struct Wanted {
    patterns: Vec<Regex>,
}

impl Wanted {
    fn has(&self, file: &str, id: &str) -> bool {
        let whole = format!("{file}::{id}");
        self.patterns.is_empty() || self.patterns.iter().any(|p| p.is_match(id) || p.is_match(&whole))
    }
}

/// The plots of one top-level list.
fn declared(
    place: &Place<'_>,
    view: &View,
    file: &str,
    plots: &[(String, Value)],
    wanted: &Wanted,
    properties: &Value,
) -> Result<Vec<(String, Value)>, Error> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let places: Vec<String> = plots.iter().map(|(id, _)| normal(folder, id)).collect();
    let mut found = ByFile::new();
    for ((id, own), path) in plots.iter().zip(&places) {
        if !wanted.has(file, id) {
            continue;
        }
        if matches!(own.get("y"), Some(Value::Map(_))) {
            add(&mut found, file, id.clone(), merged(&beside(folder, own), properties));
            continue;
        }
        for inside in unpacked(place, view, path)? {
            // The most specific definition has it.
            let best = places.iter().max_by_key(|place| (common(&inside, place), std::cmp::Reverse(place.len())));
            if best.is_none_or(|best| best == path) {
                add(&mut found, file, inside, merged(own, properties));
            }
        }
    }
    Ok(found.pop().map(|(_, plots)| plots).unwrap_or_default())
}

/// How many parts two paths share from the left.
fn common(a: &str, b: &str) -> usize {
    a.split('/').zip(b.split('/')).take_while(|(a, b)| a == b).count()
}

/// The files of axes as seen from the caller.
fn beside(folder: &str, properties: &Value) -> Value {
    let Value::Map(entries) = properties else { return Value::Map(Vec::new()) };
    let axis = |(key, value): &(String, Value)| match value {
        Value::Map(files) if key == "x" || key == "y" => {
            let files = files.iter().map(|(file, fields)| (normal(folder, file), fields.clone()));
            (key.clone(), Value::Map(files.collect()))
        }
        _ => (key.clone(), value.clone()),
    };
    Value::Map(entries.iter().map(axis).collect())
}

fn add(files: &mut ByFile, file: &str, id: String, properties: Value) {
    let at = files.iter().position(|(known, _)| known == file).unwrap_or_else(|| {
        files.push((file.to_owned(), Vec::new()));
        files.len() - 1
    });
    let plots = &mut files[at].1;
    match plots.iter_mut().find(|(known, _)| *known == id) {
        Some((_, known)) => *known = merged(known, &properties),
        None => plots.push((id, properties)),
    }
}

/// `over` laid over `under`, mappings entry by entry.
pub fn merged(under: &Value, over: &Value) -> Value {
    let (Value::Map(under), Value::Map(over)) = (under, over) else { return over.clone() };
    let mut entries = under.clone();
    for (key, value) in over {
        match entries.iter_mut().find(|(known, _)| known == key) {
            Some((_, known)) => *known = value.clone(),
            None => entries.push((key.clone(), value.clone())),
        }
    }
    Value::Map(entries)
}

fn named(files: ByFile) -> Vec<Definition> {
    let times = |id: &str| files.iter().filter(|(_, plots)| plots.iter().any(|(known, _)| known == id)).count();
    let mut definitions = Vec::new();
    for (file, plots) in &files {
        for (id, properties) in plots {
            let name = if times(id) > 1 && !file.is_empty() { format!("{file}::{id}") } else { id.clone() };
            definitions.push(Definition { name, id: id.clone(), properties: properties.clone() });
        }
    }
    definitions
}

/// The files that a plot is made of.
pub fn sources_of(id: &str, properties: &Value) -> Vec<String> {
    let mut files: Vec<String> = match properties.get("y") {
        Some(Value::Map(files)) => files.iter().map(|(file, _)| file.clone()).collect(),
        _ => vec![id.to_owned()],
    };
    if let Some(Value::Map(of_x)) = properties.get("x")
        && let Some((file, _)) = of_x.first().filter(|(file, _)| !files.contains(file))
    {
        files.push(file.clone());
    }
    files
}

/// The file, or those of the folder.
fn unpacked(place: &Place<'_>, view: &View, path: &str) -> Result<Vec<String>, Error> {
    let below = below_root(place, path).map(|below| view.files_in(&below)).transpose()?.flatten();
    Ok(match below {
        Some(files) => files.iter().map(|file| shown(place.root, file, place.from)).collect(),
        None => vec![path.to_owned()],
    })
}

fn exists(place: &Place<'_>, view: &View, path: &str) -> Result<bool, Error> {
    let Some(path) = below_root(place, path) else { return Ok(false) };
    Ok(view.files_in(&path)?.is_some() || view.bytes(&path)?.is_some())
}

/// Below the root of the repository; nothing for what is outside.
fn below_root(place: &Place<'_>, path: &str) -> Option<String> {
    let from = place.from.strip_prefix(place.root).ok()?.to_str()?;
    towpath_plan::paths::resolve(from, path)
}

/// `path` seen from `folder`, without `.` and with `..` only in front.
fn normal(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// False when the output is declared without a header, or the command line says so.
fn header_of(place: &Place<'_>, view: &View, path: &str, properties: &Value) -> bool {
    let of_output = || {
        let path = below_root(place, path)?;
        let mut outputs = view.plots.iter().flat_map(|(_, plots)| &plots.outputs);
        outputs.find(|(output, _)| *output == path)?.1.get("header").cloned()
    };
    properties.get("header").cloned().or_else(of_output) != Some(Value::Bool(false))
}

pub fn is_picture(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| PICTURES.iter().any(|known| extension == *known))
}

fn read(place: &Place<'_>, view: &View, path: &str, header: bool) -> Result<Result<Source, Failure>, Error> {
    let failed = |kind, message| Ok(Err(Failure { kind, message }));
    let bytes = match below_root(place, path) {
        Some(below) => view.bytes(&below)?,
        None => None,
    };
    let Some(bytes) = bytes else {
        return failed("FileNotFoundError", format!("[Errno 2] No such file or directory: '{path}'"));
    };
    if is_picture(path) {
        return Ok(Ok(Source::Picture(bytes)));
    }
    let text = String::from_utf8_lossy(&bytes);
    let extension = Path::new(path).extension().and_then(|extension| extension.to_str());
    let separator = match extension {
        Some("csv") => b',',
        Some("tsv") => b'\t',
        Some("json" | "yaml" | "yml" | "toml" | "py") => {
            return Ok(params::parse(path, &text).map(Source::Data).map_err(|error| Failure {
                kind: match extension {
                    Some("json") => "JSONFileCorruptedError",
                    Some("toml") => "TOMLFileCorruptedError",
                    Some("py") => "PythonFileCorruptedError",
                    _ => "YAMLFileCorruptedError",
                },
                message: error.to_string(),
            }));
        }
        _ => {
            let message = format!("'{path}' - file type error\nOnly JSON, YAML, CSV and TSV formats are supported.");
            return failed("PlotMetricTypeError", message);
        }
    };
    match table(&text, separator, header) {
        Ok(rows) => Ok(Ok(Source::Data(rows))),
        Err(error) => failed("Error", error.to_string()),
    }
}

/// Rows of a table, all values as text. What a row lacks is nothing.
fn table(text: &str, separator: u8, header: bool) -> Result<Value, csv::Error> {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.delimiter(separator).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut records = reader.records().collect::<Result<Vec<_>, _>>()?.into_iter().peekable();
    let Some(first) = records.peek() else { return Ok(Value::Seq(Vec::new())) };
    let names: Vec<String> = if header {
        first.iter().map(str::to_owned).collect()
    } else {
        (0..first.len()).map(|at| at.to_string()).collect()
    };
    let row = |record: csv::StringRecord| {
        let cell = |(at, name): (usize, &String)| (name.clone(), record.get(at).map_or(Value::Null, Value::string));
        Value::Map(names.iter().enumerate().map(cell).collect())
    };
    Ok(Value::Seq(records.skip(usize::from(header)).map(row).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain() {
        for (folder, path, plain) in
            [("", "./a//b", "a/b"), ("sub", "../x", "x"), ("..", "../x/./y/..", "../../x"), ("a", ".", "a")]
        {
            assert_eq!(normal(folder, path), plain);
        }
    }

    #[test]
    fn tables_have_rows_of_texts() {
        let rows = table("a,b\n1,\"x, y\"\n\n2\n", b',', true).unwrap();
        let row = |a: &str, b: Value| Value::Map(vec![("a".into(), Value::string(a)), ("b".into(), b)]);
        assert_eq!(rows, Value::Seq(vec![row("1", Value::string("x, y")), row("2", Value::Null)]));
        let rows = table("1\t2\n", b'\t', false).unwrap();
        assert_eq!(rows.to_json(), serde_json::json!([{"0": "1", "1": "2"}]));
    }

    #[test]
    fn the_files_of_both_axes_are_sources() {
        let files = |text: &str| sources_of("id", &towpath_yaml::parse("x", text).unwrap().root().to_value());
        assert_eq!(files("{y: acc}"), ["id"]);
        assert_eq!(files("{y: {a.csv: [p, q], b.csv: r}, x: {c.csv: s}}"), ["a.csv", "b.csv", "c.csv"]);
    }
}
