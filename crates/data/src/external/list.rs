//! `dvc list`: the files and folders of a repository, data and Git's together.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde::Serialize;
use towpath_core::Content;

use super::Source;
use super::source::{is_below, join};
use crate::{Error, Oid};

/// As `dvc list --json` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// True for an output and for what is in one.
    pub isout: bool,
    pub isdir: bool,
    pub isexec: bool,
    /// In bytes; nothing where neither Git nor a `.dvc` file tells.
    pub size: Option<u64>,
    pub md5: Option<String>,
    /// Relative to the folder that was listed.
    pub path: String,
}

/// How far a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is in the folder.
    Children,
    /// All files below it; folders only at this level, if there is one.
    Files(Option<usize>),
    /// All files and folders, down to this level.
    Everything(Option<usize>),
}

impl Source {
    /// What is at `path`, sorted by path. A path that is a file is listed alone.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`]; a manifest that cannot be fetched.
    pub fn list(&self, path: &str, depth: Depth, dvc_only: bool) -> Result<Vec<Listed>, Error> {
        let plain = self.normal(path)?;
        let itself =
            if plain.is_empty() { None } else { Some(self.item(&plain)?.ok_or_else(|| self.no_such_path(path))?) };
        let nothing_below = matches!(depth, Depth::Files(Some(0)) | Depth::Everything(Some(0)));
        if let Some(item) = itself.filter(|item| !item.isdir || nothing_below) {
            let name = plain.rsplit('/').next().unwrap_or(&plain).to_owned();
            return Ok(vec![Listed { path: name, ..item }]);
        }
        let mut found = Vec::new();
        self.list_below(&plain, "", 1, depth, dvc_only, &mut found)?;
        found.sort_by(|a: &Listed, b: &Listed| a.path.cmp(&b.path));
        Ok(found)
    }

    /// One path of the repository.
    fn item(&self, path: &str) -> Result<Option<Listed>, Error> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.children(folder)?.remove(name))
    }

    fn list_below(
        &self,
        folder: &str,
        prefix: &str,
        level: usize,
        depth: Depth,
        dvc_only: bool,
        found: &mut Vec<Listed>,
    ) -> Result<(), Error> {
        for (name, item) in self.children(folder)? {
            let (below, path) = (join(folder, &name), join(prefix, &name));
            if dvc_only && !item.isout && !self.outputs().iter().any(|output| is_below(&output.path, &below)) {
                continue;
            }
            let (shown, deeper) = match depth {
                Depth::Children => (true, false),
                Depth::Files(most) => {
                    let last = most.is_some_and(|most| level >= most);
                    (!item.isdir || last, !last)
                }
                Depth::Everything(most) => (true, most.is_none_or(|most| level < most)),
            };
            let isdir = item.isdir;
            if shown {
                found.push(Listed { path: path.clone(), ..item });
            }
            if isdir && deeper {
                self.list_below(&below, &path, level + 1, depth, dvc_only, found)?;
            }
        }
        Ok(())
    }

    /// What is in a folder, by name.
    fn children(&self, folder: &str) -> Result<BTreeMap<String, Listed>, Error> {
        let mut children = BTreeMap::new();
        let listed = |isout, isdir| Listed { isout, isdir, isexec: false, size: None, md5: None, path: String::new() };
        if let Some((output, inside)) = self.output_of(folder) {
            if !Oid::of(self.content_of(output)?)?.is_dir() {
                return Ok(children);
            }
            for entry in self.manifest(output)?.entries() {
                if !is_below(&entry.relpath, inside) {
                    continue;
                }
                let rest = entry.relpath[inside.len()..].trim_start_matches('/');
                if let Some((name, _)) = rest.split_once('/') {
                    children.entry(name.to_owned()).or_insert_with(|| listed(true, true));
                } else {
                    let md5 = Some(entry.oid.to_string());
                    children.insert(rest.to_owned(), Listed { md5, ..listed(true, false) });
                }
            }
            return Ok(children);
        }
        let dir = self.root().join(folder);
        let entries = if dir.is_dir() {
            Some(fs::read_dir(self.confined(&dir)?).map_err(Error::io("read", &dir))?)
        } else {
            None
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(Error::io("read", &dir))?;
            // A name that is not UTF-8 is nothing that could be asked for.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = join(folder, &name);
            if self.output_of(&path).is_some() || !self.is_visible(&path) {
                continue;
            }
            // A link that leads nowhere or out is told as the link that it is.
            let metadata = match self.confined(&entry.path()) {
                Ok(real) => fs::metadata(&real).map_err(Error::io("read", &real))?,
                Err(_) => entry.metadata().map_err(Error::io("read", &entry.path()))?,
            };
            let isdir = metadata.is_dir();
            let isexec = !isdir && metadata.permissions().mode() & 0o111 != 0;
            let size = (!isdir).then_some(metadata.len());
            children.insert(name, Listed { isexec, size, ..listed(false, isdir) });
        }
        for output in self.outputs().iter().filter(|output| is_below(&output.path, folder)) {
            let rest = output.path[folder.len()..].trim_start_matches('/');
            if let Some((name, _)) = rest.split_once('/') {
                children.entry(name.to_owned()).or_insert_with(|| listed(false, true));
                continue;
            }
            let content = output.content.as_ref();
            let item = Listed {
                isexec: content.is_some_and(|content| content.isexec),
                size: content.map(|content| content.size),
                md5: content.map(|content| content.md5.clone()),
                ..listed(true, content.is_some_and(Content::is_dir))
            };
            children.insert(rest.to_owned(), item);
        }
        Ok(children)
    }
}
