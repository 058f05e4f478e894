//! What identifies the files of an artifact (a model): one SHA-256 over names and contents, whoever
//! made them and wherever they lie.
//!
//! ```text
//! for each file, by name:  u64 length of the name | name | u64 length of the content | content
//! ```
//! Lengths are big-endian. Names are relative and `/`-separated; that of a single file is empty, so
//! renaming it changes nothing.

use std::fs;
use std::io;
use std::path::Path;

use sha2::{Digest as _, Sha256};
use towpath_core::Digest;
use walkdir::WalkDir;

use crate::Error;

/// The files of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    pub content: Digest,
    /// Bytes of all files.
    pub size: u64,
    /// Relative names, sorted; one empty name for a single file.
    pub names: Vec<String>,
}

/// Hashes the file or folder at `path`.
pub fn of(path: &Path) -> Result<Hashed, Error> {
    let names = names(path)?;
    let mut hasher = Sha256::new();
    let mut size = 0;
    for name in &names {
        let file = if name.is_empty() { path.to_owned() } else { path.join(name) };
        let bytes = fs::read(&file).map_err(Error::io("read", &file))?;
        size += bytes.len() as u64;
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name.as_bytes());
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(&bytes);
    }
    Ok(Hashed { content: Digest::from_bytes(hasher.finalize().into()), size, names })
}

fn names(path: &Path) -> Result<Vec<String>, Error> {
    if path.is_file() {
        return Ok(vec![String::new()]);
    }
    let mut names = Vec::new();
    for entry in WalkDir::new(path).sort_by_file_name() {
        let entry = entry.map_err(|error| Error::io("read", path)(io::Error::from(error)))?;
        if entry.file_type().is_file() {
            let name = entry.path().strip_prefix(path).ok().and_then(Path::to_str);
            let problem = || "its name is not UTF-8, which an artifact cannot have".to_owned();
            let unusable = || Error::UnusablePath { path: entry.path().to_owned(), problem: problem() };
            names.push(name.ok_or_else(unusable)?.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_count_and_places_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("a/model.onnx", "weights");
        write("a/sub/notes", "n");
        write("b/model.onnx", "weights");
        write("b/sub/notes", "n");
        let of = |path: &str| of(&dir.path().join(path)).unwrap();
        assert_eq!(of("a").names, ["model.onnx", "sub/notes"]);
        assert_eq!((of("a").content, of("a").size), (of("b").content, 8));
        write("b/sub/notes", "m");
        assert_ne!(of("a").content, of("b").content);
        assert_eq!(of("a/model.onnx").names, [""]);
        assert!(super::of(&dir.path().join("gone")).is_err());
    }
}
