//! Changing the file of one level.

use std::path::{Path, PathBuf};

use super::ini::Document;
use super::{Config, Level, Places, places, remote_section, schema};
use crate::{Error, files};

/// The file of one level, being changed. Nothing is on disk before [`save`](Self::save).
#[derive(Debug)]
pub struct Edit {
    places: Places,
    level: Level,
    file: PathBuf,
    document: Document,
}

impl Edit {
    pub fn open(places: &Places, level: Level) -> Result<Self, Error> {
        let file = places.file(level).ok_or_else(|| match level {
            Level::Repository | Level::Local => Error::NotARepository { from: PathBuf::from(".") },
            Level::System | Level::Global => Error::Config {
                path: PathBuf::from("config"),
                line: 0,
                problem: "there is no home directory to keep it in".to_owned(),
            },
        })?;
        let document = super::read_document(file)?.unwrap_or_default();
        Ok(Self { places: places.clone(), level, file: file.to_owned(), document })
    }

    /// True if this file has the section; sections that DVC knows are always there.
    pub fn has_section(&self, section: &str) -> bool {
        self.document.has_section(section)
    }

    pub fn has(&self, section: &str, key: &str) -> bool {
        self.document.get(section, key).is_some()
    }

    /// The value of a key in this file, as it is written.
    pub fn get(&self, section: &str, key: &str) -> Option<String> {
        self.document.get(section, key).map(super::ini::Value::joined)
    }

    /// Sets a key to what is to stand in the file.
    pub fn set(&mut self, section: &str, key: &str, value: &str) -> Result<(), Error> {
        let unwritable = |problem| Error::Config { path: self.file.clone(), line: 0, problem };
        self.document.set(section, key, value).map_err(unwritable)
    }

    /// Sets a key to what a user gave in the folder `from`: a relative path is written relative to the
    /// file.
    pub fn set_given(&mut self, section: &str, key: &str, value: &str, from: &Path) -> Result<(), Error> {
        if schema::is_path(section, key) {
            self.set(section, key, &places::as_written(&self.file, from, value))
        } else {
            self.set(section, key, value)
        }
    }

    /// False when the key was not there.
    pub fn unset(&mut self, section: &str, key: &str) -> bool {
        self.document.unset(section, key)
    }

    /// Adds a remote, in the place of one of that name.
    pub fn add_remote(&mut self, name: &str, url: &str, from: &Path) -> Result<(), Error> {
        let problem = if name.is_empty() || name.contains(['"', '\'', '\n', '\r', ']']) {
            Some("the name of a remote is not empty and has no quotes, brackets or line ends")
        } else {
            None
        };
        if let Some(problem) = problem {
            return Err(Error::RemoteConfig { name: name.to_owned(), problem: problem.to_owned() });
        }
        let section = remote_section(name);
        self.document.remove_section(&section);
        self.set_given(&section, "url", url, from)
    }

    /// False when there is no such remote in this file.
    pub fn remove_remote(&mut self, name: &str) -> bool {
        self.document.remove_section(&remote_section(name))
    }

    /// Gives a remote another name in its place. False when it is not in this file.
    pub fn rename_remote(&mut self, from: &str, to: &str) -> Result<bool, Error> {
        let bad = |problem| Error::RemoteConfig { name: to.to_owned(), problem };
        self.document.rename_section(&remote_section(from), &remote_section(to)).map_err(bad)
    }

    /// Writes the file, if it and the levels beneath are fine together. Returns what DVC warns of.
    pub fn save(self) -> Result<Vec<String>, Error> {
        let text = self.document.to_text();
        let beneath: Vec<Level> = Level::ALL.into_iter().filter(|level| *level < self.level).collect();
        let mut merged = Config::of_levels(&self.places, &beneath)?;
        merged.merge(&self.file, &self.document);
        let warnings = merged.check()?;
        let mode = if self.level == Level::Local { 0o600 } else { 0o644 };
        if files::read_text(&self.file)?.as_deref() != Some(&text) {
            files::write_with_mode(&self.file, text.as_bytes(), mode)?;
        }
        Ok(warnings)
    }
}
