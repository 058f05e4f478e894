//! `dvc.lock`: what each stage was last run with and what came out (schema 2.0).

use md5::{Digest as _, Md5};
use towpath_core::{Content, HashName};
use towpath_yaml::{Entries, Field, Step, Value, YamlError, edit};

use crate::frontend::dvc_yaml::DEFAULT_PARAMS;

/// The stages of the file, in its order (that of their first runs).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lock {
    pub stages: Vec<(String, LockedStage)>,
}

/// What one stage was run with, and its outputs. Paths are relative to its working folder.
#[derive(Clone, Debug, PartialEq)]
pub struct LockedStage {
    /// Text, or a list of texts.
    pub cmd: Value,
    pub deps: Vec<Locked>,
    /// Values by file and dotted key.
    pub params: Vec<(String, Vec<(String, Value)>)>,
    pub outs: Vec<Locked>,
}

/// A file or folder at a version.
#[derive(Clone, Debug, PartialEq)]
pub struct Locked {
    pub path: String,
    pub content: Content,
    /// What `version_aware` remotes call this content, as the file has it: `cloud` of a file, `files` of a
    /// folder, which then stands for its hash.
    versions: Option<(String, Value)>,
}

impl Locked {
    pub fn new(path: impl Into<String>, content: Content) -> Self {
        Self { path: path.into(), content, versions: None }
    }
}

impl Lock {
    pub fn get(&self, stage: &str) -> Option<&LockedStage> {
        self.stages.iter().find(|(name, _)| name == stage).map(|(_, locked)| locked)
    }

    /// Reads the file; an empty one has no stages.
    pub fn read(file: &str, text: &str) -> Result<Self, YamlError> {
        let document = towpath_yaml::parse(file, text)?;
        let root = document.field();
        if root.is_null() {
            return Ok(Self::default());
        }
        let mut fields = root.fields()?;
        let schema = fields.required("schema")?;
        if schema.as_str()? != "2.0" {
            return Err(schema.error("the schema must be '2.0'"));
        }
        fields.optional("datasets");
        let stages = fields.optional("stages");
        fields.finish()?;
        let mut lock = Self::default();
        for (entry, field) in stages.map(|s| s.entries()).transpose()?.unwrap_or_default() {
            lock.stages.push((entry.key.clone(), LockedStage::from_field(field)?));
        }
        Ok(lock)
    }

    /// The text of the file after a run of `stage`: its entry replaced or appended, every other
    /// byte as it was.
    pub fn update_text(
        file: &str,
        old_text: Option<&str>,
        stage: &str,
        locked: &LockedStage,
    ) -> Result<String, YamlError> {
        let entry = locked.to_value();
        let Some(text) = old_text.filter(|text| !text.trim().is_empty()) else {
            let stages = Value::Map(vec![(stage.to_owned(), entry)]);
            let lock = Value::Map(vec![("schema".into(), "2.0".into()), ("stages".into(), stages)]);
            return Ok(towpath_yaml::emit(&lock));
        };
        let entry = match Self::read(file, text)?.get(stage) {
            Some(before) => locked.clone().with_versions_of(before).to_value(),
            None => entry,
        };
        edit::set(file, &with_stages(file, text)?, &[Step::Key("stages"), Step::Key(stage)], &entry)
    }

    /// The text of the file without `stage`.
    pub fn remove_text(file: &str, text: &str, stage: &str) -> Result<String, YamlError> {
        if Self::read(file, text)?.get(stage).is_none() {
            return Ok(text.to_owned());
        }
        edit::remove(file, text, &[Step::Key("stages"), Step::Key(stage)])
    }
}

/// The text with a `stages` key, so that a stage can be set below it.
fn with_stages(file: &str, text: &str) -> Result<String, YamlError> {
    if towpath_yaml::parse(file, text)?.root().get("stages").is_some() {
        return Ok(text.to_owned());
    }
    edit::set(file, text, &[Step::Key("stages")], &Value::Map(Vec::new()))
}

/// The text of the file while stages are written one after another: what was read or written is not
/// read again.
#[derive(Clone, Debug)]
pub struct LockText {
    file: String,
    text: Option<String>,
    /// The same text, where its stages can be changed one by one.
    entries: Option<Entries>,
    /// What was read.
    before: Lock,
}

impl LockText {
    /// `None` when there is no file yet.
    pub fn new(file: &str, text: Option<String>) -> Self {
        Self { file: file.to_owned(), text, entries: None, before: Lock::default() }
    }

    pub fn text(&self) -> Option<&str> {
        self.entries.as_ref().map(Entries::text).or(self.text.as_deref())
    }

    /// As [`Lock::update_text`]. Returns the text of the file afterwards.
    ///
    /// # Errors
    /// The text that it was made with is not a lock.
    pub fn set(&mut self, stage: &str, locked: &LockedStage) -> Result<&str, YamlError> {
        if let Some(entries) = &mut self.entries {
            let value = match self.before.get(stage) {
                Some(before) => locked.clone().with_versions_of(before).to_value(),
                None => locked.to_value(),
            };
            entries.set(stage, &value);
        } else {
            self.before = Lock::read(&self.file, self.text.as_deref().unwrap_or_default())?;
            let text = Lock::update_text(&self.file, self.text.as_deref(), stage, locked)?;
            self.entries = Entries::of(&towpath_yaml::parse(&self.file, &text)?, "stages");
            self.text = Some(text);
        }
        Ok(self.text().unwrap_or_default())
    }
}

impl LockedStage {
    /// The lock entry: `cmd`, `deps`, `params`, `outs`, empty ones left out; deps and outs by path,
    /// `params.yaml` first, then files and keys by name.
    pub fn to_value(&self) -> Value {
        Value::Map(self.entries())
    }

    pub(crate) fn entries(&self) -> Vec<(String, Value)> {
        let mut entries = vec![("cmd".to_owned(), self.cmd.clone())];
        if !self.deps.is_empty() {
            entries.push(("deps".into(), items(&self.deps)));
        }
        if !self.params.is_empty() {
            let mut files = self.params.clone();
            files.sort_by(|a, b| (a.0 != DEFAULT_PARAMS, &a.0).cmp(&(b.0 != DEFAULT_PARAMS, &b.0)));
            let files = files.into_iter().map(|(file, mut values)| {
                values.sort_by(|a, b| a.0.cmp(&b.0));
                (file, Value::Map(values))
            });
            entries.push(("params".into(), Value::Map(files.collect())));
        }
        if !self.outs.is_empty() {
            entries.push(("outs".into(), items(&self.outs)));
        }
        entries
    }

    /// Outputs that came out as before keep what remotes call them.
    fn with_versions_of(mut self, before: &Self) -> Self {
        for out in &mut self.outs {
            if out.versions.is_none()
                && let Some(known) = before.out(&out.path).filter(|known| known.content.md5 == out.content.md5)
            {
                out.versions.clone_from(&known.versions);
            }
        }
        self
    }

    /// Reads a lock entry, also the content of a run-cache file.
    pub fn read(file: &str, text: &str) -> Result<Self, YamlError> {
        Self::from_field(towpath_yaml::parse(file, text)?.field())
    }

    fn from_field(field: Field<'_>) -> Result<Self, YamlError> {
        let mut fields = field.fields()?;
        let cmd = fields.required("cmd")?;
        if cmd.is_seq() {
            cmd.strings()?;
        } else {
            cmd.as_str()?;
        }
        let mut params = Vec::new();
        if let Some(files) = fields.optional("params") {
            for (entry, values) in files.entries()? {
                let values = values.entries()?.into_iter().map(|(key, value)| (key.key.clone(), value.to_value()));
                params.push((entry.key.clone(), values.collect()));
            }
        }
        let stage = Self {
            cmd: cmd.to_value(),
            deps: locked(fields.optional("deps"))?,
            params,
            outs: locked(fields.optional("outs"))?,
        };
        fields.finish()?;
        Ok(stage)
    }

    pub fn dep(&self, path: &str) -> Option<&Locked> {
        self.deps.iter().find(|d| d.path == path)
    }

    pub fn out(&self, path: &str) -> Option<&Locked> {
        self.outs.iter().find(|o| o.path == path)
    }

    pub fn param(&self, file: &str, key: &str) -> Option<&Value> {
        let (_, values) = self.params.iter().find(|(f, _)| f == file)?;
        values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
}

fn items(all: &[Locked]) -> Value {
    let mut sorted: Vec<&Locked> = all.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    Value::Seq(sorted.into_iter().map(item).collect())
}

/// `path`, `hash: md5` (not in an entry of DVC 2), `md5`, `size`, `nfiles`, `isexec`, `cloud`; of a folder on
/// `version_aware` remotes `path`, `hash: md5`, `files`.
fn item(locked: &Locked) -> Value {
    let content = &locked.content;
    let int = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let mut entries = vec![("path".to_owned(), Value::string(&locked.path))];
    if content.hash == HashName::Md5 {
        entries.push(("hash".into(), "md5".into()));
    }
    if locked.versions.as_ref().is_none_or(|(key, _)| key != "files") {
        entries.push(("md5".into(), Value::string(&content.md5)));
        entries.push(("size".into(), int(content.size)));
        if let Some(nfiles) = content.nfiles {
            entries.push(("nfiles".into(), int(nfiles)));
        }
    }
    if content.isexec {
        entries.push(("isexec".into(), Value::Bool(true)));
    }
    entries.extend(locked.versions.clone());
    Value::Map(entries)
}

fn locked(field: Option<Field<'_>>) -> Result<Vec<Locked>, YamlError> {
    let Some(field) = field else { return Ok(Vec::new()) };
    field.items()?.into_iter().map(locked_item).collect()
}

fn locked_item(field: Field<'_>) -> Result<Locked, YamlError> {
    let mut fields = field.fields()?;
    let path = fields.required("path")?.as_str()?.to_owned();
    for key in ["etag", "checksum", "repo", "dataset"] {
        fields.not_supported(key)?;
    }
    // What other tools recorded beside the hash; the entry keeps its text until its stage runs.
    for key in ["version_id", "remote", "fs_config"] {
        fields.optional(key);
    }
    let cloud = fields.optional("cloud").map(|cloud| ("cloud".to_owned(), cloud.to_value()));
    if let Some(files) = fields.optional("files") {
        fields.optional("hash");
        let content = content_of(files)?;
        fields.finish()?;
        return Ok(Locked { path, content, versions: Some(("files".to_owned(), files.to_value())) });
    }
    let md5 = fields.required("md5")?;
    let hash = fields.optional("hash");
    if let Some(hash) = hash.filter(|h| h.as_str().ok() != Some("md5")) {
        return Err(hash.expected("'md5'"));
    }
    let number = |f: Option<Field<'_>>| f.map(|f| f.as_u64()).transpose();
    let content = Content {
        md5: hash_text(md5)?,
        hash: if hash.is_some() { HashName::Md5 } else { HashName::Md5Dos2unix },
        size: number(fields.optional("size"))?.unwrap_or(0),
        nfiles: number(fields.optional("nfiles"))?,
        isexec: fields.optional("isexec").map_or(Ok(false), |f| f.as_bool())?,
    };
    fields.finish()?;
    Ok(Locked { path, content, versions: cloud })
}

/// The content of a folder that is recorded by its files: the MD5 of the manifest that they make.
fn content_of(files: Field<'_>) -> Result<Content, YamlError> {
    let mut entries = Vec::new();
    let mut size = 0;
    for file in files.items()? {
        let mut file = file.fields()?;
        let relpath = file.required("relpath")?.as_str()?.to_owned();
        let md5 = hash_text(file.required("md5")?)?;
        size += file.optional("size").map_or(Ok(0), |size| size.as_u64())?;
        file.optional("cloud");
        file.finish()?;
        entries.push((relpath, md5));
    }
    entries.sort();
    let nfiles = Some(entries.len() as u64);
    let entry = |(relpath, md5): (String, String)| {
        Value::Map(vec![("md5".to_owned(), Value::String(md5)), ("relpath".to_owned(), Value::String(relpath))])
    };
    let manifest = Value::Seq(entries.into_iter().map(entry).collect()).to_python_json();
    let md5 = format!("{}.dir", hex::encode(Md5::digest(manifest)));
    Ok(Content { md5, hash: HashName::Md5, size, nfiles, isexec: false })
}

/// 32 hex digits, `.dir` behind a folder's: it becomes a path of the cache.
fn hash_text(field: Field<'_>) -> Result<String, YamlError> {
    let text = field.as_str().map_err(|e| e.help("quote an MD5 that reads as a number"))?;
    let digits = text.strip_suffix(".dir").unwrap_or(text);
    let fine = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if fine {
        Ok(text.to_owned())
    } else {
        Err(field.expected("an MD5 (32 hex digits, for a folder with '.dir' behind)"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked(path: &str, md5: &str) -> Locked {
        Locked::new(
            path,
            Content {
                md5: md5.into(),
                hash: HashName::Md5,
                size: 3,
                nfiles: md5.ends_with(".dir").then_some(2),
                isexec: false,
            },
        )
    }

    fn stage() -> LockedStage {
        LockedStage {
            cmd: "python train.py".into(),
            deps: vec![
                locked("train.py", "acbd18db4cc2f85cedef654fccc4a4d8"),
                locked("data", "37b51d194a7513e45b56f6524f2d51f2.dir"),
            ],
            params: vec![
                ("a.yaml".into(), vec![("z".into(), Value::Int(1))]),
                ("params.yaml".into(), vec![("lr".into(), Value::Float(1e-5)), ("epochs".into(), Value::Int(3))]),
            ],
            outs: vec![locked("model", "1234567890123456789e123456789012")],
        }
    }

    const TEXT: &str = "\
schema: '2.0'
stages:
  train:
    cmd: python train.py
    deps:
    - path: data
      hash: md5
      md5: 37b51d194a7513e45b56f6524f2d51f2.dir
      size: 3
      nfiles: 2
    - path: train.py
      hash: md5
      md5: acbd18db4cc2f85cedef654fccc4a4d8
      size: 3
    params:
      params.yaml:
        epochs: 3
        lr: 1e-05
      a.yaml:
        z: 1
    outs:
    - path: model
      hash: md5
      md5: '1234567890123456789e123456789012'
      size: 3
";

    #[test]
    fn an_entry_is_written_as_dvc_orders_and_quotes_it() {
        assert_eq!(Lock::update_text("dvc.lock", None, "train", &stage()).unwrap(), TEXT);
    }

    #[test]
    fn other_stages_keep_their_text() {
        let text = TEXT.replace("stages:\n", "stages:\n  # by hand\n  old: {cmd: 'x'}   # keep\n");
        let changed = LockedStage { cmd: "python3 train.py".into(), ..stage() };
        let updated = Lock::update_text("dvc.lock", Some(&text), "train", &changed).unwrap();
        assert_eq!(updated, text.replace("python train.py", "python3 train.py"));
        assert_eq!(
            Lock::remove_text("dvc.lock", &updated, "old").unwrap(),
            updated.replace("  old: {cmd: 'x'}   # keep\n", "")
        );
    }

    #[test]
    fn an_unquoted_number_is_no_md5() {
        let error =
            Lock::read("dvc.lock", &TEXT.replace('\'', "").replace("schema: 2.0", "schema: '2.0'")).unwrap_err();
        assert_eq!((error.line, error.help.as_deref()), (24, Some("quote an MD5 that reads as a number")));
    }

    #[test]
    fn a_hash_that_would_leave_the_cache_is_refused() {
        let error = Lock::read("dvc.lock", &TEXT.replace("acbd18db4cc2f85cedef654fccc4a4d8", "../../../../etc/passwd"))
            .unwrap_err();
        assert!(error.message.contains("must be an MD5"), "{error}");
    }

    #[test]
    fn stages_written_one_after_another_give_the_text_of_single_updates() {
        let locked = |cmd: &str| LockedStage {
            cmd: cmd.into(),
            deps: vec![Locked::new(
                "a",
                Content { md5: "0".repeat(32), hash: HashName::Md5, size: 1, nfiles: None, isexec: false },
            )],
            params: Vec::new(),
            outs: Vec::new(),
        };
        let mut kept = LockText::new("dvc.lock", None);
        let mut text: Option<String> = None;
        for (stage, cmd) in [("b", "x"), ("a", "y && z"), ("b", "w"), ("a", "y && z"), ("c", "'q'")] {
            let updated = Lock::update_text("dvc.lock", text.as_deref(), stage, &locked(cmd)).unwrap();
            assert_eq!(kept.set(stage, &locked(cmd)).unwrap(), updated);
            text = Some(updated);
        }
        assert!(LockText::new("dvc.lock", Some("schema: '1.0'\n".into())).set("a", &locked("x")).is_err());
    }
}
