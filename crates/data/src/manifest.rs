//! The `.dir` manifest: which files a tracked folder holds.
//!
//! The bytes are exactly what Python's `json.dumps(entries, sort_keys=True)` writes, because their
//! MD5 is the folder's id (dvc-data, `hashfile/tree.py`).

use std::borrow::Cow;
use std::{fmt, io};

use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use towpath_core::{Content, HashName};
use towpath_yaml::write_python_string;

use crate::{Error, Oid};

/// More than this is not a manifest: 200 bytes an entry makes five million files.
const MAX_BYTES: u64 = 1 << 30;

/// So much of it is written at a time.
const PORTION: usize = 1 << 16;

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
        // Unstable: it needs no memory, and no two entries have the same path.
        entries.sort_unstable_by(|a, b| a.relpath.cmp(&b.relpath));
        Self { hash, entries }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How its files and it itself are hashed.
    pub fn hash_name(&self) -> HashName {
        self.hash
    }

    /// The file at a path below the folder.
    pub fn entry(&self, relpath: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.relpath.as_str().cmp(relpath)).ok()?;
        self.entries.get(at)
    }

    /// What is in the folder `below`, relative to it; if that is a file, the one entry has no path.
    #[must_use]
    pub fn below(&self, below: &str) -> Self {
        let inside = self.entries.iter().filter_map(|entry| {
            let rest = entry.relpath.strip_prefix(below)?;
            let relpath = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
            Some(Entry { relpath: relpath.to_owned(), oid: entry.oid.clone() })
        });
        Self::hashed_by(self.hash, inside.collect())
    }

    /// `[{"md5": "<hex>", "relpath": "<path>"}, ...]`, ASCII only.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(2 + 80 * self.entries.len());
        // Memory takes all that is written to it.
        let written = self.write_to(&mut json);
        debug_assert!(written.is_ok());
        json
    }

    /// Writes the bytes without holding them all.
    pub(crate) fn write_to(&self, mut to: impl io::Write) -> io::Result<()> {
        let mut json = String::with_capacity(2 * PORTION);
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
            if json.len() >= PORTION {
                to.write_all(json.as_bytes())?;
                json.clear();
            }
        }
        json.push(']');
        to.write_all(json.as_bytes())
    }

    pub fn oid(&self) -> Oid {
        let mut hashing = Hashing(Md5::new());
        // A digest takes all that is written to it.
        let written = self.write_to(&mut hashing);
        debug_assert!(written.is_ok());
        Oid::of_dir(hashing.0.finalize().into(), self.hash)
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
        let mut entries = Vec::with_capacity(bytes.len() / 80);
        let each = |entry| entries.push(entry);
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let read = Entries { each, hash: oid.hash_name() }.deserialize(&mut json).and_then(|()| json.end());
        read.map_err(|error| malformed(error.to_string()))?;
        let manifest = Self::hashed_by(oid.hash_name(), entries);
        if let Some(pair) = manifest.entries.windows(2).find(|pair| pair[0].relpath == pair[1].relpath) {
            return Err(malformed(format!("{:?} is listed twice", pair[0].relpath)));
        }
        Ok(manifest)
    }
}

/// A digest that can be written to.
struct Hashing(Md5);

impl io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a list entry by entry, so that nothing but the entries is held.
struct Entries<F> {
    each: F,
    hash: HashName,
}

#[derive(Deserialize)]
struct Item<'j> {
    #[serde(borrow)]
    md5: Cow<'j, str>,
    #[serde(borrow)]
    relpath: Cow<'j, str>,
}

impl<'j, F: FnMut(Entry)> DeserializeSeed<'j> for Entries<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'j>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'j, F: FnMut(Entry)> Visitor<'j> for Entries<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'j>>(mut self, mut list: A) -> Result<(), A::Error> {
        let mut i = 0;
        while let Some(Item { md5, relpath }) = list.next_element()? {
            let bad = |problem: String| A::Error::custom(format!("entry {i} {problem}"));
            if !stays_inside(&relpath) {
                return Err(bad(format!("has the path {relpath:?}, which is not below the folder")));
            }
            let file = Oid::parse(&md5).map_err(|e| bad(format!("has a wrong md5: {e}")))?;
            if file.is_dir() {
                return Err(bad("is a folder; manifests list files only".to_owned()));
            }
            (self.each)(Entry { relpath: relpath.into_owned(), oid: file.hashed_by(self.hash) });
            i += 1;
        }
        Ok(())
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
