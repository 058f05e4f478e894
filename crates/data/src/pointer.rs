//! `.dvc` files: which version of which data belongs to a commit.
//!
//! The schema is closed as DVC's is (dvc, `schema.py` and `output.py`): an unknown key is an error,
//! except below `meta`. Edits change what must change and keep comments and order.

use std::fs;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use towpath_core::{Content, HashName};
use towpath_yaml::{Field, Step, Value, YamlError, edit, emit, parse};

use crate::imports::Import;
use crate::versions::{self, Versions};
use crate::{Error, Oid, Role, Stage, TrackedOutput, files};

/// A `.dvc` file as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct PointerFile {
    /// Relative to the root, `/`-separated.
    pub path: String,
    /// As on disk.
    pub text: String,
    pub outs: Vec<Out>,
    /// Where its data comes from, of an import.
    pub import: Option<Import>,
    /// Relative to the root: what the paths of the outs are relative to.
    working_dir: String,
}

/// An entry of `outs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Out {
    /// As written: relative to the file's folder or its `wdir`.
    pub path: String,
    pub content: Option<Content>,
    pub cache: bool,
    pub push: bool,
    pub remote: Option<String>,
    pub role: Role,
    pub versions: Option<Versions>,
}

impl PointerFile {
    /// Where the pointer of a path is: beside it, with `.dvc` behind.
    pub fn path_for(path: &str) -> String {
        format!("{path}.dvc")
    }

    /// Reads the file at `path` (relative to `root`); `None` when there is none.
    pub fn read(root: &Path, path: &str) -> Result<Option<Self>, Error> {
        let Some(text) = files::read_text(&root.join(path))? else { return Ok(None) };
        Self::parse(path, text).map(Some)
    }

    /// Reads the text of a `.dvc` file; `path` names it in errors and anchors its relative paths.
    pub fn parse(path: &str, text: String) -> Result<Self, Error> {
        let document = parse(path, &text)?;
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let Read { outs, import, working_dir } = read_file(document.field(), folder)?;
        Ok(Self { path: path.to_owned(), text, outs, import, working_dir })
    }

    /// The text of a new pointer to one file or folder beside it.
    pub fn text_for(name: &str, content: &Content) -> String {
        emit(&Value::Map(vec![("outs".into(), Value::Seq(vec![entry_of(name, content)]))]))
    }

    /// This file's text with a new version of the out that is called `name`; unchanged if it has
    /// this version already.
    pub fn with_content(&self, name: &str, content: &Content) -> Result<String, Error> {
        let index = self.outs.iter().position(|out| out.path == name);
        let index = index.ok_or_else(|| Error::NotTracked { path: name.to_owned() })?;
        let out = &self.outs[index];
        if out.content.as_ref() == Some(content) {
            return Ok(self.text.clone());
        }
        let Value::Map(entries) = entry_of(name, content) else { return Ok(self.text.clone()) };
        let mut text = self.text.clone();
        // Versions on remotes are of the content that was there before.
        for key in ["md5", "size", "nfiles", "isexec", "hash", "cloud", "files"] {
            let place = [Step::Key("outs"), Step::Index(index), Step::Key(key)];
            text = match entries.iter().find(|(name, _)| name == key) {
                Some((_, value)) => edit::set(&self.path, &text, &place, value)?,
                None => edit::remove(&self.path, &text, &place)?,
            };
        }
        Ok(text)
    }

    /// This file's text with the versions that remotes have of the out that is called `name`. A folder is
    /// then recorded by its files, without an id of its own, as DVC does.
    pub(crate) fn with_versions(&self, name: &str, versions: &Versions) -> Result<String, Error> {
        let index = self.outs.iter().position(|out| out.path == name);
        let index = index.ok_or_else(|| Error::NotTracked { path: name.to_owned() })?;
        let place = |key| [Step::Key("outs"), Step::Index(index), Step::Key(key)];
        let mut text = self.text.clone();
        if let Versions::Folder(_) = versions {
            for key in ["md5", "size", "nfiles"] {
                text = edit::remove(&self.path, &text, &place(key))?;
            }
        }
        let (key, value) = versions.to_entry();
        Ok(edit::set(&self.path, &text, &place(key), &value)?)
    }

    /// What the file calls the output at `path` (relative to the root).
    pub fn name_of(&self, path: &str) -> Option<&str> {
        let out = self.outs.iter().find(|out| join(&self.working_dir, &out.path).as_deref() == Some(path))?;
        Some(&out.path)
    }

    /// This file's text without the size of the out that is called `name`.
    pub(crate) fn without_size(&self, name: &str) -> Result<String, Error> {
        let index = self.outs.iter().position(|out| out.path == name);
        let index = index.ok_or_else(|| Error::NotTracked { path: name.to_owned() })?;
        Ok(edit::remove(&self.path, &self.text, &[Step::Key("outs"), Step::Index(index), Step::Key("size")])?)
    }

    /// This file's text when it stands at `pointer` and its output `from` is at `to` (all relative to
    /// the root). A file that moves has no `wdir` any more.
    pub(crate) fn with_moved(&self, from: &str, to: &str, pointer: &str) -> Result<String, Error> {
        let name = self.name_of(from).ok_or_else(|| Error::NotTracked { path: from.to_owned() })?;
        let index = self.outs.iter().position(|out| out.path == name).unwrap_or(0);
        let folder = pointer.rsplit_once('/').map_or("", |(folder, _)| folder);
        let (base, text) = if pointer == self.path {
            (self.working_dir.as_str(), self.text.clone())
        } else {
            (folder, edit::remove(&self.path, &self.text, &[Step::Key("wdir")])?)
        };
        let place = [Step::Key("outs"), Step::Index(index), Step::Key("path")];
        Ok(edit::set(&self.path, &text, &place, &Value::string(relative(to, base)))?)
    }

    /// The outs as seen from the root.
    pub fn tracked(&self) -> Result<Vec<TrackedOutput>, Error> {
        self.outs.iter().map(|out| self.tracked_out(out)).collect()
    }

    /// What it declares.
    pub fn stage(&self) -> Result<Stage, Error> {
        Ok(Stage { file: self.path.clone(), name: None, deps: Vec::new(), outputs: self.tracked()? })
    }

    fn tracked_out(&self, out: &Out) -> Result<TrackedOutput, Error> {
        let path = join(&self.working_dir, &out.path).ok_or_else(|| Error::UnusablePath {
            path: PathBuf::from(&self.path),
            problem: format!("'{}' is outside the repository, where nothing can be tracked", out.path),
        })?;
        Ok(TrackedOutput {
            path,
            written: out.path.clone(),
            content: out.content.clone(),
            cached: out.cache,
            push: out.push,
            remote: out.remote.clone(),
            role: out.role,
            versions: out.versions.clone(),
            import: self.import.clone(),
            declared_by: self.path.clone(),
        })
    }

    /// All `.dvc` files below `root`, sorted.
    pub(crate) fn find_all(root: &Path) -> Result<Vec<Self>, Error> {
        let files = find_files(root, |name| name.ends_with(".dvc"))?;
        let read = files.iter().map(|path| Self::read(root, path).transpose());
        read.flatten().collect()
    }
}

/// The files below `root` (relative to it) with a name that is wanted, sorted; what `.dvcignore` or
/// Git ignores and repositories inside this one are left out.
pub(crate) fn find_files(root: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, Error> {
    let mut walk = WalkBuilder::new(root);
    walk.hidden(false).require_git(false).git_global(false).parents(false);
    walk.add_custom_ignore_filename(".dvcignore");
    let top = root.to_owned();
    walk.filter_entry(move |entry| {
        let own = entry.path() == top;
        let name = entry.file_name();
        own || !(name == ".git" || name == ".dvc" || name == ".hg" || entry.path().join(".dvc").is_dir())
    });
    let mut found = Vec::new();
    for entry in walk.build() {
        let entry = entry.map_err(|e| Error::UnusablePath { path: root.to_owned(), problem: e.to_string() })?;
        let is_wanted = wanted(&entry.file_name().to_string_lossy());
        if !is_wanted || !fs::metadata(entry.path()).is_ok_and(|m| m.is_file()) {
            continue;
        }
        let below = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let Some(path) = below.to_str() else {
            let problem = "its name is not UTF-8".to_owned();
            return Err(Error::UnusablePath { path: entry.path().to_owned(), problem });
        };
        found.push(path.to_owned());
    }
    found.sort();
    Ok(found)
}

/// Joins `/`-separated relative paths, resolving `.` and `..`; `None` when the result is not below
/// the start of the first one, or is absolute or a URL.
fn join(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains("://") || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// `path` as seen from `folder`, both relative to the root.
pub fn relative(path: &str, folder: &str) -> String {
    let (path, folder): (Vec<&str>, Vec<&str>) =
        (path.split('/').collect(), folder.split('/').filter(|part| !part.is_empty()).collect());
    let common = path.iter().zip(&folder).take_while(|(a, b)| a == b).count();
    let up = vec![".."; folder.len() - common];
    [up.as_slice(), &path[common..]].concat().join("/")
}

pub(crate) fn entry_of(name: &str, content: &Content) -> Value {
    let number = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    let mut entry =
        vec![("md5".to_owned(), Value::string(content.md5.as_str())), ("size".to_owned(), number(content.size))];
    entry.extend(content.nfiles.map(|n| ("nfiles".to_owned(), number(n))));
    if content.isexec {
        entry.push(("isexec".to_owned(), Value::Bool(true)));
    }
    if content.hash == HashName::Md5 {
        entry.push(("hash".to_owned(), Value::string("md5")));
    }
    entry.push(("path".to_owned(), Value::string(name)));
    Value::Map(entry)
}

/// What a file says.
struct Read {
    outs: Vec<Out>,
    import: Option<Import>,
    working_dir: String,
}

fn read_file(file: Field<'_>, folder: &str) -> Result<Read, YamlError> {
    if file.is_null() {
        return Ok(Read { outs: Vec::new(), import: None, working_dir: folder.to_owned() });
    }
    let mut fields = file.fields()?;
    let mut outs = Vec::new();
    if let Some(list) = fields.optional("outs").filter(|list| !list.is_null()) {
        for item in list.items()? {
            outs.push(read_out(item)?);
        }
    }
    let mut import = None;
    let has_command = fields.optional("cmd").is_some_and(|cmd| !cmd.is_null());
    if let Some(list) = fields.optional("deps").filter(|list| !list.is_null()) {
        let dependencies = list.items()?;
        for item in &dependencies {
            check_dependency(*item)?;
        }
        if let ([only], false) = (dependencies.as_slice(), has_command) {
            import = Import::read(*only, folder)?;
        }
    }
    let mut working_dir = folder.to_owned();
    if let Some(wdir) = fields.optional("wdir").filter(|wdir| !wdir.is_null()) {
        let inside = join(folder, wdir.as_str()?);
        working_dir = inside.ok_or_else(|| wdir.expected("a folder of the repository"))?;
    }
    for key in ["frozen", "locked", "always_changed"] {
        fields.optional(key).map(|field| field.as_bool()).transpose()?;
    }
    fields.optional("desc").map(|desc| desc.as_str()).transpose()?;
    for free in ["md5", "meta"] {
        fields.optional(free);
    }
    fields.finish()?;
    Ok(Read { outs, import, working_dir })
}

fn read_out(item: Field<'_>) -> Result<Out, YamlError> {
    let mut fields = item.fields()?;
    let path = fields.required("path")?.as_str()?.to_owned();
    let boolean = |field: Option<Field<'_>>, default: bool| field.map_or(Ok(default), |field| field.as_bool());
    let number = |field: Option<Field<'_>>| field.map(|field| field.as_u64()).transpose();
    let hash = fields.optional("hash").map(|hash| hash.as_str()).transpose()?;
    let size = number(fields.optional("size"))?;
    let nfiles = number(fields.optional("nfiles"))?;
    let isexec = boolean(fields.optional("isexec"), false)?;
    let mut content = None;
    if let Some(md5) = fields.optional("md5").filter(|md5| !md5.is_null()) {
        let oid = Oid::parse(md5.as_str()?);
        let oid = oid.map_err(|_| md5.expected("32 lowercase hex digits, with '.dir' behind for a folder"))?;
        let hash = if hash.is_some() { HashName::Md5 } else { HashName::Md5Dos2unix };
        content = Some(Content { md5: oid.to_string(), hash, size: size.unwrap_or(0), nfiles, isexec });
    }
    // `metric: true`, or a mapping that says more.
    let is_set = |field: Option<Field<'_>>| field.is_some_and(|field| field.as_bool().unwrap_or(!field.is_null()));
    let role = match (is_set(fields.optional("metric")), is_set(fields.optional("plot"))) {
        (true, _) => Role::Metric,
        (_, true) => Role::Plot,
        _ => Role::Data,
    };
    let cloud = fields.optional("cloud").map(versions::read_cloud).transpose()?;
    let files = fields.optional("files").map(versions::read_files).transpose()?;
    let versions = files.map(Versions::Folder).or(cloud.map(Versions::File));
    let content = content.or_else(|| versions.as_ref()?.content());
    let out = Out {
        path,
        content,
        cache: boolean(fields.optional("cache"), true)?,
        push: boolean(fields.optional("push"), true)?,
        remote: fields.optional("remote").map(|remote| remote.as_str().map(str::to_owned)).transpose()?,
        role,
        versions,
    };
    boolean(fields.optional("persist"), false)?;
    for text in ["desc", "type"] {
        fields.optional(text).map(|field| field.as_str()).transpose()?;
    }
    fields.optional("labels").map(|labels| labels.strings()).transpose()?;
    // Of other stores than files; kept as they are.
    for other in ["etag", "checksum", "version_id", "fs_config", "meta"] {
        fields.optional(other);
    }
    fields.finish()?;
    Ok(out)
}

/// Dependencies of imports: their keys are checked, their meaning is DVC's.
fn check_dependency(item: Field<'_>) -> Result<(), YamlError> {
    let mut fields = item.fields()?;
    for key in [
        "path",
        "md5",
        "etag",
        "checksum",
        "size",
        "nfiles",
        "isexec",
        "version_id",
        "hash",
        "persist",
        "cloud",
        "files",
        "fs_config",
        "repo",
        "db",
        "dataset",
        "params",
    ] {
        fields.optional(key);
    }
    fields.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str =
        "outs:\n- md5: 45b1eb2ff8072c35f82255c3c22c1ae9.dir\n  size: 2\n  nfiles: 1\n  hash: md5\n  path: d\n";

    fn file(md5: &str, size: u64) -> Content {
        Content { md5: md5.into(), hash: HashName::Md5, size, nfiles: None, isexec: false }
    }

    #[test]
    fn a_new_version_has_no_versions_on_remotes() {
        let text = "outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: x\n    md5: 401b30e3b8b5d629635a5c613cdb7919\n    size: 2\n    cloud:\n      r:\n        etag: 401b30e3b8b5d629635a5c613cdb7919\n        version_id: v1\n";
        let pointer = PointerFile::parse("d.dvc", text.to_owned()).unwrap();
        let content = pointer.outs[0].content.clone().unwrap();
        assert_eq!(
            (content.size, content.nfiles, content.md5.as_str()),
            (2, Some(1), "3bf3fa1ca4277e87b5193c2612d8eb3c.dir")
        );
        assert_eq!(pointer.with_content("d", &content).unwrap(), text);
        let new = Content { size: 3, ..content };
        let edited = pointer.with_content("d", &new).unwrap();
        let plain =
            "outs:\n- hash: md5\n  path: d\n  md5: 3bf3fa1ca4277e87b5193c2612d8eb3c.dir\n  size: 3\n  nfiles: 1\n";
        assert_eq!(edited, plain);
        let versions = pointer.outs[0].versions.clone().unwrap();
        assert_eq!(PointerFile::parse("d.dvc", edited).unwrap().with_versions("d", &versions).unwrap(), text);
    }

    #[test]
    fn a_new_pointer_is_what_dvc_writes() {
        let content = Content { nfiles: Some(1), ..file("45b1eb2ff8072c35f82255c3c22c1ae9.dir", 2) };
        assert_eq!(PointerFile::text_for("d", &content), FOLDER);
        let digits = file("12345678901234567890123456789012", 0);
        assert!(PointerFile::text_for("x", &digits).contains("md5: '12345678901234567890123456789012'"));
    }

    #[test]
    fn paths_are_seen_from_the_root() {
        let pointer = PointerFile::parse("data/d.dvc", format!("wdir: ../other\n{FOLDER}")).unwrap();
        let tracked = pointer.tracked().unwrap();
        assert_eq!((tracked[0].path.as_str(), tracked[0].declared_by.as_str()), ("other/d", "data/d.dvc"));
        let outside = PointerFile::parse("d.dvc", "outs:\n- path: ../../d\n".to_owned()).unwrap();
        assert!(outside.tracked().is_err());
    }

    #[test]
    fn a_file_moves_with_its_output_or_points_to_the_new_place() {
        let text = format!("# ours\nwdir: ../other\n{FOLDER}");
        let pointer = PointerFile::parse("data/d.dvc", text).unwrap();
        assert_eq!(pointer.name_of("other/d"), Some("d"));
        assert_eq!(
            pointer.with_moved("other/d", "x/e", "x/e.dvc").unwrap(),
            format!("# ours\n{}", FOLDER.replace("path: d", "path: e"))
        );
        let stays = pointer.with_moved("other/d", "x/e", "data/d.dvc").unwrap();
        assert!(stays.starts_with("# ours\nwdir: ../other\n") && stays.ends_with("path: ../x/e\n"), "{stays}");
    }

    #[test]
    fn an_edit_keeps_comments_order_and_meta() {
        let text = "# ours\nouts:\n- path: d   # the folder\n  md5: 45b1eb2ff8072c35f82255c3c22c1ae9.dir\n  size: 2\n  nfiles: 1\n  hash: md5\nmeta: {free: 1}\n";
        let pointer = PointerFile::parse("d.dvc", text.to_owned()).unwrap();
        let edited = pointer.with_content("d", &file("60b725f10c9c85c70d97880dfe8191b3", 7)).unwrap();
        assert_eq!(
            edited,
            "# ours\nouts:\n- path: d   # the folder\n  md5: 60b725f10c9c85c70d97880dfe8191b3\n  size: 7\n  hash: md5\nmeta: {free: 1}\n"
        );
    }

    #[test]
    fn an_entry_of_dvc_2_stays_one_until_its_content_changes() {
        let text = "outs:\n- md5: 60b725f10c9c85c70d97880dfe8191b3\n  size: 2\n  path: a\n";
        let pointer = PointerFile::parse("a.dvc", text.to_owned()).unwrap();
        let content = pointer.tracked().unwrap().remove(0).content.unwrap();
        assert_eq!(content.hash, HashName::Md5Dos2unix);
        assert_eq!(pointer.with_content("a", &content).unwrap(), text);
        assert_eq!(
            pointer.with_content("a", &file("d41d8cd98f00b204e9800998ecf8427e", 0)).unwrap(),
            "outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n  size: 0\n  path: a\n  hash: md5\n"
        );
    }

    #[test]
    fn what_is_wrong_is_shown_with_its_place() {
        for (text, expected) in [
            ("outs:\n- path: a\n  sise: 3\n", "a.dvc:3:3: unknown key 'sise'"),
            ("outs:\n- size: 3\n", "'path' is missing"),
            ("outs:\n- path: a\n  size: -3\n", "'size' must be an integer from 0"),
            ("outs:\n- path: a\n  md5: ../../etc\n", "'md5' must be 32 lowercase hex digits"),
            ("outs: {a: b}\n", "'outs' must be a list"),
            ("outs: [\n", "a.dvc:"),
        ] {
            let error = PointerFile::parse("a.dvc", text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
