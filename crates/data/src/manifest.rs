//! The `.dir` manifest: which files a tracked folder holds.
//!
//! The bytes are exactly what Python's `json.dumps(entries, sort_keys=True)` writes, because their
//! MD5 is the folder's id (dvc-data, `hashfile/tree.py`).

use md5::{Digest as _, Md5};
use towpath_core::{Content, HashName};
use towpath_yaml::write_python_string;

use crate::{Error, Oid};

/// More than this is not a manifest: 200 bytes an entry makes five million files.
const MAX_BYTES: u64 = 1 << 30;

/// A file of a tracked folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the folder, `/`-separated.
    pub relpath: String,
    pub oid: Oid,
}

/// The files of a tracked folder, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    hash: HashName,
    entries: Vec<Entry>,
}

impl Manifest {
    /// Of DVC 3.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self::hashed_by(HashName::Md5, entries)
    }

    /// Files and manifest are hashed alike, so all entries have to be.
    pub fn hashed_by(hash: HashName, mut entries: Vec<Entry>) -> Self {
        debug_assert!(entries.iter().all(|entry| entry.oid.hash_name() == hash));
        entries.sort_by(|a, b| a.relpath.cmp(&b.relpath));
        Self { hash, entries }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// `[{"md5": "<hex>", "relpath": "<path>"}, ...]`, ASCII only.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut json = String::with_capacity(2 + 80 * self.entries.len());
        json.push('[');
        for (i, entry) in self.entries.iter().enumerate() {
            if i > 0 {
                json.push_str(", ");
            }
            json.push_str("{\"md5\": \"");
            json.push_str(&entry.oid.to_string());
            json.push_str("\", \"relpath\": ");
            write_python_string(&entry.relpath, &mut json);
            json.push('}');
        }
        json.push(']');
        json.into_bytes()
    }

    pub fn oid(&self) -> Oid {
        Oid::of_dir(Md5::digest(self.to_bytes()).into(), self.hash)
    }

    /// What a `.dvc` file records of a folder with these files, which have `size` bytes together.
    pub fn content(&self, size: u64) -> Content {
        let md5 = self.oid().to_string();
        Content { md5, hash: self.hash, size, nfiles: Some(self.entries.len() as u64), isexec: false }
    }

    /// Reads a manifest. Paths that would leave the folder are refused.
    pub fn parse(oid: &Oid, bytes: &[u8]) -> Result<Self, Error> {
        let malformed = |problem: String| Error::Manifest { oid: oid.clone(), problem };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(malformed(format!("{} bytes, at most {MAX_BYTES} are allowed", bytes.len())));
        }
        let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|e| malformed(e.to_string()))?;
        let list = json.as_array().ok_or_else(|| malformed("it is not a list".into()))?;
        let mut entries = Vec::with_capacity(list.len());
        for (i, item) in list.iter().enumerate() {
            let field = |name: &str| {
                let value = item.get(name).and_then(serde_json::Value::as_str);
                value.ok_or_else(|| malformed(format!("entry {i} has no text field '{name}'")))
            };
            let relpath = field("relpath")?;
            if !stays_inside(relpath) {
                return Err(malformed(format!("entry {i} has the path {relpath:?}, which is not below the folder")));
            }
            let file = Oid::parse(field("md5")?).map_err(|e| malformed(format!("entry {i}: {e}")))?;
            if file.is_dir() {
                return Err(malformed(format!("entry {i} is a folder; manifests list files only")));
            }
            entries.push(Entry { relpath: relpath.to_owned(), oid: file.hashed_by(oid.hash_name()) });
        }
        let manifest = Self::hashed_by(oid.hash_name(), entries);
        if let Some(pair) = manifest.entries.windows(2).find(|pair| pair[0].relpath == pair[1].relpath) {
            return Err(malformed(format!("{:?} is listed twice", pair[0].relpath)));
        }
        Ok(manifest)
    }
}

/// True for a relative path without empty, `.` or `..` parts and without NUL.
pub(crate) fn stays_inside(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(relpath: &str) -> Entry {
        Entry { relpath: relpath.into(), oid: Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap() }
    }

    #[test]
    fn a_manifest_is_python_json_sorted_by_path() {
        let manifest = Manifest::new(vec![entry("a/z"), entry("A"), entry("a b"), entry("ä\u{7f}\"")]);
        let md5 = "60b725f10c9c85c70d97880dfe8191b3";
        let expected =
            [r"A", r"a b", r"a/z", r#"\u00e4\u007f\""#].map(|p| format!(r#"{{"md5": "{md5}", "relpath": "{p}"}}"#));
        assert_eq!(String::from_utf8(manifest.to_bytes()).unwrap(), format!("[{}]", expected.join(", ")));
    }

    #[test]
    fn an_empty_folder_is_an_empty_list() {
        assert_eq!(Manifest::default().oid().to_string(), "d751713988987e9331980363e24189ce.dir");
    }

    #[test]
    fn reading_gives_back_what_was_written() {
        let manifest = Manifest::new(vec![entry("b/\u{1f600}"), entry("a\n")]);
        assert_eq!(Manifest::parse(&manifest.oid(), &manifest.to_bytes()).unwrap(), manifest);
    }

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        let oid = Manifest::default().oid();
        for bad in ["../x", "/etc/passwd", "a//b", "a/./b", "", "a/.."] {
            let json = format!(r#"[{{"md5": "60b725f10c9c85c70d97880dfe8191b3", "relpath": "{bad}"}}]"#);
            let error = Manifest::parse(&oid, json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("not below the folder"), "{bad}: {error}");
        }
        let twice = r#"{"md5": "60b725f10c9c85c70d97880dfe8191b3", "relpath": "a"}"#;
        assert!(Manifest::parse(&oid, format!("[{twice}, {twice}]").as_bytes()).is_err());
        assert!(Manifest::parse(&oid, b"{}").is_err());
    }
}
