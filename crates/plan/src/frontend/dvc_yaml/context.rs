//! The names that templates may use: `params.yaml`, `vars`, and `item` and `key` of generated stages.

use std::collections::BTreeMap;

use towpath_yaml::{Document, Kind, Node, Scalar, Span, Value};

use super::template;
use super::{DEFAULT_PARAMS, Sources};
use crate::error::Error;
use crate::{params, paths};

type Entries = Vec<(String, Value)>;

#[derive(Clone, Default)]
pub(super) struct Context {
    values: Entries,
    /// Where each top-level name was first defined.
    origins: BTreeMap<String, String>,
    /// Files already loaded; with keys when only these were asked for.
    loaded: BTreeMap<String, Option<Vec<String>>>,
    /// `item` and `key`: nothing may redefine them.
    locals: Entries,
}

impl Context {
    /// What stages of a file in `folder` see: its `params.yaml` and the `vars` of the file.
    pub(super) fn of_file(document: &Document, folder: &str, sources: &Sources<'_>) -> Result<Self, Error> {
        let mut context = Self::default();
        if let Some(path) = paths::resolve(folder, DEFAULT_PARAMS)
            && let Some(text) = read(&path, sources)?
        {
            let entries = params::entries(&path, &text)?;
            context.merge(&path, entries).map_err(|message| document.error(document.root().span, message))?;
            context.loaded.insert(path, None);
        }
        if let Some(vars) = document.root().get("vars") {
            context.add_vars(document, vars, folder, sources)?;
        }
        Ok(context)
    }

    /// The names of one generated stage, which hide others.
    pub(super) fn set_locals(&mut self, locals: Entries) {
        self.locals = locals;
    }

    /// Adds a list of mappings and files (`file.yaml` or `file.yaml:key,key`).
    pub(super) fn add_vars(
        &mut self,
        document: &Document,
        vars: &Node,
        folder: &str,
        sources: &Sources<'_>,
    ) -> Result<(), Error> {
        let items = match &vars.kind {
            Kind::Seq(items) => items.as_slice(),
            Kind::Scalar(Scalar::Null) => &[],
            _ => return Err(document.error(vars.span, "'vars' must be a list of files and mappings").into()),
        };
        if let Some(span) = templated(vars) {
            return Err(document.error(span, "templates are not possible in 'vars'").into());
        }
        for (at, item) in items.iter().enumerate() {
            match (&item.kind, item.to_value()) {
                (Kind::Scalar(Scalar::String(written)), _) => {
                    self.add_file(document, item.span, written, folder, sources)?;
                }
                (_, Value::Map(entries)) => {
                    let merged = self.merge(&format!("vars[{at}]"), entries);
                    merged.map_err(|message| document.error(item.span, message))?;
                }
                _ => return Err(document.error(item.span, "an item of 'vars' must be a file or a mapping").into()),
            }
        }
        Ok(())
    }

    fn add_file(
        &mut self,
        document: &Document,
        span: Span,
        written: &str,
        folder: &str,
        sources: &Sources<'_>,
    ) -> Result<(), Error> {
        let (file, keys) = written.split_once(':').unwrap_or((written, ""));
        let keys: Vec<String> = keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
        let path = paths::resolve(folder, file)
            .ok_or_else(|| document.error(span, format!("'{file}' is not a path inside the repository")))?;
        match (self.loaded.get(&path), keys.is_empty()) {
            (Some(None), true) => return Ok(()),
            (Some(None), false) => {
                return Err(document.error(span, format!("'{path}' is loaded as a whole already")).into());
            }
            (Some(Some(known)), whole) if whole || keys.iter().any(|key| known.contains(key)) => {
                return Err(document.error(span, format!("'{written}' is loaded in part already")).into());
            }
            _ => {}
        }
        let text = read(&path, sources)?.ok_or_else(|| document.error(span, format!("'{path}' does not exist")))?;
        let mut entries = params::entries(&path, &text)?;
        if let Some(missing) = keys.iter().find(|key| !entries.iter().any(|(name, _)| name == *key)) {
            return Err(document.error(span, format!("'{missing}' is not in '{path}'")).into());
        }
        entries.retain(|(name, _)| keys.is_empty() || keys.contains(name));
        self.merge(&path, entries).map_err(|message| document.error(span, message))?;
        if let Some(known) = self.loaded.entry(path).or_insert_with(|| (!keys.is_empty()).then(Vec::new)) {
            known.extend(keys);
        }
        Ok(())
    }

    fn merge(&mut self, origin: &str, entries: Entries) -> Result<(), String> {
        for (name, value) in entries {
            if self.locals.iter().any(|(local, _)| *local == name) {
                return Err(format!(
                    "'{name}' is the name of a generated stage's own value, so {origin} cannot set it"
                ));
            }
            let first = self.origins.entry(name.clone()).or_insert_with(|| origin.to_owned()).clone();
            merge(&mut self.values, name, value)
                .map_err(|path| format!("cannot redefine '{path}' from '{origin}': it is in '{first}' already"))?;
        }
        Ok(())
    }

    /// The value of `a.b[0]`. Lists count from the end with negative numbers.
    pub(super) fn select(&self, reference: &str) -> Option<&Value> {
        let dotted = reference.replace('[', ".").replace(']', "");
        let mut parts = dotted.split('.').map(str::trim);
        let first = parts.next()?;
        let named = |entries: &'_ Entries| entries.iter().position(|(name, _)| name == first);
        let value = match named(&self.locals) {
            Some(at) => &self.locals[at].1,
            None => &self.values[named(&self.values)?].1,
        };
        parts.try_fold(value, |value, part| match value {
            Value::Map(_) => value.get(part),
            Value::Seq(items) => {
                let at: i64 = part.parse().ok()?;
                let at = if at < 0 { at + i64::try_from(items.len()).ok()? } else { at };
                items.get(usize::try_from(at).ok()?)
            }
            _ => None,
        })
    }
}

/// Mappings are joined at every level; the error is the path of what both sides define.
fn merge(into: &mut Entries, name: String, value: Value) -> Result<(), String> {
    let Some((_, known)) = into.iter_mut().find(|(key, _)| *key == name) else {
        into.push((name, value));
        return Ok(());
    };
    let (Value::Map(known), Value::Map(new)) = (known, value) else { return Err(name) };
    for (key, value) in new {
        merge(known, key, value).map_err(|path| format!("{name}.{path}"))?;
    }
    Ok(())
}

fn read(path: &str, sources: &Sources<'_>) -> Result<Option<String>, Error> {
    (sources.read)(path).map_err(|source| Error::Read { file: path.to_owned(), source })
}

/// The first text with a template.
fn templated(node: &Node) -> Option<Span> {
    match &node.kind {
        Kind::Scalar(Scalar::String(text)) => (!template::expressions(text).is_empty()).then_some(node.span),
        Kind::Scalar(_) => None,
        Kind::Seq(items) => items.iter().find_map(templated),
        Kind::Map(entries) => entries.iter().find_map(|entry| {
            if template::expressions(&entry.key).is_empty() { templated(&entry.value) } else { Some(entry.key_span) }
        }),
    }
}
