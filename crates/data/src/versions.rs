//! What a `version_aware` remote calls the versions of an output: `cloud` of a file, `files` of a folder
//! (dvc, `output.py`; dvc-data, `hashfile/meta.py`). Such a remote keeps files under their names in the
//! workspace, and the store keeps their versions.

use std::collections::BTreeMap;

use towpath_core::{Content, HashName};
use towpath_yaml::{Field, Fields, Step, Value, YamlError, edit, parse};

use crate::Oid;
use crate::manifest::{Entry, Manifest, stays_inside};
use crate::remote::Stat;

/// The version of one file on each remote that has it.
pub type OnRemotes = BTreeMap<String, Version>;

/// A version as a store names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    pub etag: Option<String>,
    pub version_id: Option<String>,
}

/// The versions of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Versions {
    File(OnRemotes),
    /// Sorted by path.
    Folder(Vec<VersionedFile>),
}

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedFile {
    /// Below the folder, `/`-separated.
    pub relpath: String,
    pub oid: Oid,
    pub size: u64,
    pub on: OnRemotes,
}

impl Version {
    /// `None` for a store that keeps no versions.
    pub(crate) fn of(stat: &Stat) -> Option<Self> {
        stat.version.as_ref()?;
        Some(Self { etag: stat.etag.clone(), version_id: stat.version.clone() })
    }

    fn to_value(&self) -> Value {
        let named = [("etag", &self.etag), ("version_id", &self.version_id)];
        let given = named.into_iter().filter_map(|(key, text)| Some((key.to_owned(), Value::string(text.as_ref()?))));
        Value::Map(given.collect())
    }
}

impl Versions {
    /// The manifest of a folder.
    pub fn manifest(&self) -> Option<Manifest> {
        let Self::Folder(files) = self else { return None };
        let entry = |file: &VersionedFile| Entry { relpath: file.relpath.clone(), oid: file.oid.clone() };
        Some(Manifest::new(files.iter().map(entry).collect()))
    }

    /// What the entry would record without versions; of a folder only.
    pub(crate) fn content(&self) -> Option<Content> {
        let Self::Folder(files) = self else { return None };
        Some(self.manifest()?.content(files.iter().map(|file| file.size).sum()))
    }

    /// The key and value of an entry: `cloud`, or `files`.
    pub(crate) fn to_entry(&self) -> (&'static str, Value) {
        match self {
            Self::File(on) => ("cloud", cloud(on)),
            Self::Folder(files) => ("files", Value::Seq(files.iter().map(VersionedFile::to_value).collect())),
        }
    }
}

impl VersionedFile {
    fn to_value(&self) -> Value {
        let mut entry = vec![
            ("relpath".to_owned(), Value::string(self.relpath.as_str())),
            ("md5".to_owned(), Value::string(self.oid.to_string())),
            ("size".to_owned(), Value::Int(i64::try_from(self.size).unwrap_or(i64::MAX))),
        ];
        if !self.on.is_empty() {
            entry.push(("cloud".to_owned(), cloud(&self.on)));
        }
        Value::Map(entry)
    }
}

fn cloud(on: &OnRemotes) -> Value {
    Value::Map(on.iter().map(|(remote, version)| (remote.clone(), version.to_value())).collect())
}

/// The versions of the outputs of stages that a `dvc.lock` records, by stage and path.
pub fn of_lock(file: &str, text: &str) -> Result<BTreeMap<(String, String), Versions>, YamlError> {
    let mut versions = BTreeMap::new();
    each_output(file, text, |stage, _, path, mut output| {
        let cloud = output.optional("cloud").map(read_cloud).transpose()?.map(Versions::File);
        let files = output.optional("files").map(read_files).transpose()?.map(Versions::Folder);
        versions.extend(files.or(cloud).map(|found| ((stage.to_owned(), path.to_owned()), found)));
        Ok(())
    })?;
    Ok(versions)
}

/// The text of a `dvc.lock` with the versions of an output of a stage; unchanged without such an output.
pub(crate) fn with_lock(
    file: &str,
    text: &str,
    (stage, path): (&str, &str),
    versions: &Versions,
) -> Result<String, YamlError> {
    let mut at = None;
    each_output(file, text, |named, index, found, _| {
        at = at.or((named == stage && found == path).then_some(index));
        Ok(())
    })?;
    let Some(index) = at else { return Ok(text.to_owned()) };
    let place = |key| [Step::Key("stages"), Step::Key(stage), Step::Key("outs"), Step::Index(index), Step::Key(key)];
    let mut text = text.to_owned();
    if let Versions::Folder(_) = versions {
        for key in ["md5", "size", "nfiles"] {
            text = edit::remove(file, &text, &place(key))?;
        }
    }
    let (key, value) = versions.to_entry();
    edit::set(file, &text, &place(key), &value)
}

/// Tells `visit` of each output: its stage, its number, its path, its entry.
fn each_output(
    file: &str,
    text: &str,
    mut visit: impl FnMut(&str, usize, &str, Fields<'_>) -> Result<(), YamlError>,
) -> Result<(), YamlError> {
    let document = parse(file, text)?;
    if document.field().is_null() {
        return Ok(());
    }
    let stages = document.field().fields()?.optional("stages");
    for (stage, locked) in stages.map(|stages| stages.entries()).transpose()?.unwrap_or_default() {
        let outs = locked.fields()?.optional("outs").map(|outs| outs.items()).transpose()?.unwrap_or_default();
        for (index, out) in outs.into_iter().enumerate() {
            let mut entry = out.fields()?;
            let path = entry.required("path")?.as_str()?.to_owned();
            visit(&stage.key, index, &path, entry)?;
        }
    }
    Ok(())
}

/// Reads `cloud`.
pub(crate) fn read_cloud(field: Field<'_>) -> Result<OnRemotes, YamlError> {
    let mut on = OnRemotes::new();
    for (remote, field) in field.entries()? {
        let mut fields = field.fields()?;
        let mut text = |key| fields.optional(key).map(|field| field.as_str().map(str::to_owned)).transpose();
        let version = Version { etag: text("etag")?, version_id: text("version_id")? };
        // What else a store tells of a file is not needed here.
        for other in ["checksum", "md5", "size", "remote"] {
            fields.optional(other);
        }
        fields.finish()?;
        on.insert(remote.key.clone(), version);
    }
    Ok(on)
}

/// Reads `files`.
pub(crate) fn read_files(field: Field<'_>) -> Result<Vec<VersionedFile>, YamlError> {
    let mut files = Vec::new();
    for item in field.items()? {
        let mut fields = item.fields()?;
        let relpath = fields.required("relpath")?;
        let md5 = fields.required("md5")?;
        let oid = Oid::parse(md5.as_str()?).ok().filter(|oid| !oid.is_dir());
        let file = VersionedFile {
            relpath: Some(relpath.as_str()?)
                .filter(|path| stays_inside(path))
                .ok_or_else(|| relpath.expected("a path below the folder"))?
                .to_owned(),
            oid: oid.ok_or_else(|| md5.expected("32 lowercase hex digits"))?.hashed_by(HashName::Md5),
            size: fields.optional("size").map_or(Ok(0), |size| size.as_u64())?,
            on: fields.optional("cloud").map(read_cloud).transpose()?.unwrap_or_default(),
        };
        // Of an import the version stands without the name of a remote.
        for other in ["etag", "version_id", "checksum", "isexec", "hash"] {
            fields.optional(other);
        }
        fields.finish()?;
        files.push(file);
    }
    files.sort_by(|a, b| a.relpath.cmp(&b.relpath));
    Ok(files)
}
