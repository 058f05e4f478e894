//! Another repository: the files that Git has of it, and the data that its `.dvc` files and stages
//! record, as one tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use towpath_core::{Content, HashName};

use walkdir::WalkDir;

use super::fetch_manifest;
use crate::config::Overrides;
use crate::links::LinkType;
use crate::manifest::{Entry, Manifest, stays_inside};
use crate::remote::{LocalRemote, Remote};
use crate::transfer::Part;
use crate::{Cache, Config, Error, Oid, Progress, Repository, TrackedOutput, Workspace, remote, transfer};

/// A repository whose files are in a folder: a checkout of one of its commits, or where somebody works.
#[derive(Debug)]
pub struct Source {
    /// As the user calls it, for messages.
    url: String,
    /// Absolute, symbolic links resolved.
    root: PathBuf,
    workspace: Workspace,
    /// Those that are not in Git.
    outputs: Vec<TrackedOutput>,
    config: Option<Config>,
    jobs: Option<usize>,
    /// The cache of the repository, when it is on this machine.
    upstream: Option<Cache>,
    /// Where manifests and data are fetched to.
    cache: Cache,
}

/// A file and where its content is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Object { oid: Oid, isexec: bool, remote: Option<String> },
    Disk(PathBuf),
}

impl Source {
    /// Reads the repository in `root`. `stages` are the outputs of its pipeline, `cache` receives
    /// what is fetched. A folder without `.dvc` has what Git has.
    pub fn open(url: &str, root: &Path, stages: Vec<TrackedOutput>, cache: &Cache) -> Result<Self, Error> {
        let root = fs::canonicalize(root).map_err(Error::io("read", root))?;
        let mut outputs = stages;
        let mut config = None;
        if root.join(".dvc").is_dir() {
            let repository = Repository::open(&root)?;
            for pointer in repository.pointers()? {
                outputs.extend(pointer.tracked()?);
            }
            config = Some(repository.config().clone());
        }
        outputs.retain(|output| output.cached);
        outputs.sort_by(|a, b| a.path.cmp(&b.path));
        let workspace = Workspace::open(&root, None)?;
        // Files of the other repository stay as they are, whatever our cache is linked with.
        let cache = cache.clone().with_links(LinkType::DEFAULT.to_vec());
        Ok(Self { url: url.to_owned(), root, workspace, outputs, config, jobs: None, upstream: None, cache })
    }

    /// For a checkout of a repository that is on this machine: its remotes are those of `original`,
    /// and what its cache has is taken from there.
    pub fn beside(mut self, original: &Path) -> Result<Self, Error> {
        if original.join(".dvc").is_dir() {
            let repository = Repository::open(original)?;
            self.upstream = Some(repository.cache()?);
            self.config = Some(repository.config().clone());
        }
        Ok(self)
    }

    /// Lays settings over the configuration of the repository.
    pub fn with_overrides(mut self, overrides: &Overrides) -> Result<Self, Error> {
        self.config = self.config.map(|config| config.overridden(overrides)).transpose()?;
        Ok(self)
    }

    /// Makes this many requests at a time, whatever the remote is configured for.
    pub fn with_jobs(mut self, jobs: Option<usize>) -> Self {
        self.jobs = jobs;
        self
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn outputs(&self) -> &[TrackedOutput] {
        &self.outputs
    }

    /// A path of the repository, `/`-separated without `.` parts; the root is empty.
    pub(super) fn normal(&self, path: &str) -> Result<String, Error> {
        let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let plain = parts.join("/");
        if path.starts_with('/') || !(plain.is_empty() || stays_inside(&plain)) {
            let problem = format!("it is not a path inside {}", self.url);
            return Err(Error::UnusablePath { path: PathBuf::from(path), problem });
        }
        Ok(plain)
    }

    pub(super) fn no_such_path(&self, path: &str) -> Error {
        Error::NoSuchPath { path: path.to_owned(), place: self.url.clone() }
    }

    /// The output that holds a path, and the rest of the path inside it.
    pub(super) fn output_of<'s, 'p>(&'s self, path: &'p str) -> Option<(&'s TrackedOutput, &'p str)> {
        self.outputs.iter().find_map(|output| {
            let rest = path.strip_prefix(&output.path)?;
            let inside = rest.strip_prefix('/').or(rest.is_empty().then_some(rest))?;
            Some((output, inside))
        })
    }

    /// What an output records; an error for one that was never made.
    pub(super) fn content_of<'o>(&self, output: &'o TrackedOutput) -> Result<&'o Content, Error> {
        output.content.as_ref().ok_or_else(|| self.no_such_path(&output.path))
    }

    /// The files of an output's folder; the manifest is fetched when it has to be.
    pub(super) fn manifest(&self, output: &TrackedOutput) -> Result<Manifest, Error> {
        let oid = Oid::of(self.content_of(output)?)?;
        if let Some(manifest) = self.cache.manifest(&oid)? {
            return Ok(manifest);
        }
        if let Some(manifest) = self.upstream.as_ref().map(|cache| cache.manifest(&oid)).transpose()?.flatten() {
            return Ok(manifest);
        }
        let remote = self.open_remote(output.remote.as_deref(), &oid)?;
        fetch_manifest(&self.cache, remote.as_ref(), &oid)?.ok_or(Error::Missing { oids: vec![oid] })
    }

    fn open_remote(&self, name: Option<&str>, wanted: &Oid) -> Result<Box<dyn Remote>, Error> {
        let Some(config) = &self.config else { return Err(Error::Missing { oids: vec![wanted.clone()] }) };
        let mut config = config.remote(name)?;
        config.jobs = self.jobs.or(config.jobs);
        remote::open(&config)
    }

    /// The content at a path: its files are in the cache when this returns, and so is the manifest of
    /// a folder.
    ///
    /// # Errors
    /// [`Error::NoSuchPath`]; what fetching reports.
    pub fn fetch(&self, path: &str, progress: &dyn Progress) -> Result<Content, Error> {
        let plain = self.normal(path)?;
        let files = self.files_at(&plain)?;
        let Some(files) = files else { return Err(self.no_such_path(path)) };
        self.fetch_objects(files.values(), progress)?;
        if let (1, Some(origin)) = (files.len(), files.get("")) {
            let (oid, size, isexec) = self.stored(origin)?;
            return Ok(Content { md5: oid.to_string(), hash: HashName::Md5, size, nfiles: None, isexec });
        }
        let mut entries = Vec::with_capacity(files.len());
        let mut total = 0;
        for (relpath, origin) in files {
            let (oid, size, _) = self.stored(&origin)?;
            total += size;
            entries.push(Entry { relpath, oid });
        }
        let manifest = Manifest::new(entries);
        self.cache.add_manifest(&manifest)?;
        Ok(manifest.content(total))
    }

    /// Where the object of a file or folder is stored: the url of the remote and its place there.
    pub fn location(&self, path: &str) -> Result<String, Error> {
        let plain = self.normal(path)?;
        let Some((output, inside)) = self.output_of(&plain) else { return Err(self.no_such_path(path)) };
        let mut oid = Oid::of(self.content_of(output)?)?;
        if !inside.is_empty() {
            let manifest = if oid.is_dir() { self.manifest(output)? } else { Manifest::default() };
            let entry = manifest.entries().iter().find(|entry| entry.relpath == inside);
            oid = entry.ok_or_else(|| self.no_such_path(path))?.oid.clone();
        }
        let remote = self.open_remote(output.remote.as_deref(), &oid)?;
        Ok(format!("{}/{}", remote.url(), remote::object_key(&oid)))
    }

    /// All files at and below a path, by the rest of their path; nothing when there is none. A path
    /// that is a file has the empty rest.
    fn files_at(&self, path: &str) -> Result<Option<BTreeMap<String, Origin>>, Error> {
        let mut files = BTreeMap::new();
        if let Some((output, inside)) = self.output_of(path) {
            self.files_of_output(output, inside, "", &mut files)?;
            let is_empty_folder = files.is_empty() && inside.is_empty();
            return Ok((is_empty_folder || !files.is_empty()).then_some(files));
        }
        let top = self.root.join(path);
        let on_disk = top.symlink_metadata().is_ok() && self.is_visible(path);
        if on_disk {
            let real = self.confined(&top)?;
            if real.is_dir() {
                self.files_on_disk(&real, path, &mut files)?;
            } else {
                files.insert(String::new(), Origin::Disk(real));
                return Ok(Some(files));
            }
        }
        let below = self.outputs.iter().filter(|output| is_below(&output.path, path));
        let mut any = on_disk;
        for output in below {
            any = true;
            let rest = output.path[path.len()..].trim_start_matches('/');
            self.files_of_output(output, "", rest, &mut files)?;
        }
        Ok(any.then_some(files))
    }

    /// Git's files below a folder, which is at `path` of the repository.
    fn files_on_disk(&self, folder: &Path, path: &str, files: &mut BTreeMap<String, Origin>) -> Result<(), Error> {
        let walk = WalkDir::new(folder).follow_links(true).min_depth(1).into_iter();
        for entry in walk.filter_entry(|entry| !self.workspace.excludes(entry.path(), entry.file_type().is_dir())) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(folder).to_owned();
                Error::Io { action: "read", path, source: error.into() }
            })?;
            let relpath = entry.path().strip_prefix(folder).unwrap_or(entry.path());
            let Some(relpath) = relpath.to_str() else {
                let problem = "its name is not UTF-8, which a manifest cannot hold".to_owned();
                return Err(Error::UnusablePath { path: entry.into_path(), problem });
            };
            let below = join(path, relpath);
            if entry.file_type().is_file() && self.output_of(&below).is_none() && !is_dvc_file(&below) {
                files.insert(relpath.to_owned(), Origin::Disk(self.confined(entry.path())?));
            }
        }
        Ok(())
    }

    /// The files of an output at `inside` and below it, under the name `to`.
    fn files_of_output(
        &self,
        output: &TrackedOutput,
        inside: &str,
        to: &str,
        files: &mut BTreeMap<String, Origin>,
    ) -> Result<(), Error> {
        let content = self.content_of(output)?;
        let oid = Oid::of(content)?;
        let remote = output.remote.clone();
        if !oid.is_dir() {
            if inside.is_empty() {
                files.insert(to.to_owned(), Origin::Object { oid, isexec: content.isexec, remote });
            }
            return Ok(());
        }
        for entry in self.manifest(output)?.entries() {
            let Some(rest) = entry.relpath.strip_prefix(inside) else { continue };
            if !(inside.is_empty() || rest.is_empty() || rest.starts_with('/')) {
                continue;
            }
            let name = join(to, rest.trim_start_matches('/'));
            let origin = Origin::Object { oid: entry.oid.clone(), isexec: false, remote: remote.clone() };
            files.insert(name, origin);
        }
        Ok(())
    }

    /// Brings objects into the cache: from the cache of the repository, then from its remotes.
    fn fetch_objects<'o>(&self, files: impl Iterator<Item = &'o Origin>, progress: &dyn Progress) -> Result<(), Error> {
        let mut wanted: BTreeMap<Option<&str>, BTreeMap<&Oid, Content>> = BTreeMap::new();
        for origin in files {
            let Origin::Object { oid, remote, .. } = origin else { continue };
            if !self.cache.has(oid)? {
                let hash = oid.hash_name();
                let content = Content { md5: oid.to_string(), hash, size: 0, nfiles: None, isexec: false };
                wanted.entry(remote.as_deref()).or_default().insert(oid, content);
            }
        }
        for (name, objects) in wanted {
            let mut parts: Vec<Part> = objects.values().cloned().map(Part::from).collect();
            if let Some(upstream) = &self.upstream {
                let near = LocalRemote::open(upstream.dir(), None);
                match transfer::pull(&self.cache, &near, &parts, progress) {
                    Ok(_) => continue,
                    // Of all that it does not have: the remote may.
                    Err(Error::Missing { oids }) => {
                        parts.retain(|part| oids.iter().any(|oid| oid.to_string() == part.content.md5));
                    }
                    Err(error) => return Err(error),
                }
            }
            let Some((first, _)) = objects.first_key_value() else { continue };
            let remote = self.open_remote(name, first)?;
            transfer::pull(&self.cache, remote.as_ref(), &parts, progress)?;
        }
        Ok(())
    }

    /// The object, size and exec bit of a file that is in the cache, or is put there from disk.
    fn stored(&self, origin: &Origin) -> Result<(Oid, u64, bool), Error> {
        match origin {
            // Of DVC 2: the new record is of DVC 3, which hashes the bytes as they are.
            Origin::Object { oid, isexec, .. } if !oid.hash_name().is_md5() => {
                let content = self.cache.add_path(&self.workspace, &self.cache.path(oid))?;
                Ok((Oid::of(&content)?, content.size, *isexec))
            }
            Origin::Object { oid, isexec, .. } => {
                let (_, size) = self.cache.open_object(oid)?.ok_or(Error::Missing { oids: vec![oid.clone()] })?;
                Ok((oid.clone(), size, *isexec))
            }
            Origin::Disk(path) => {
                let content = self.cache.add_path(&self.workspace, path)?;
                Ok((Oid::of(&content)?, content.size, content.isexec))
            }
        }
    }

    /// Where a path of the repository really is. A symbolic link that leads out of it is refused:
    /// whoever wrote the repository would read files of whoever takes data from it.
    pub(super) fn confined(&self, path: &Path) -> Result<PathBuf, Error> {
        let real = fs::canonicalize(path).map_err(Error::io("read", path))?;
        if real.starts_with(&self.root) && !real.starts_with(self.root.join(".git")) {
            return Ok(real);
        }
        let problem = format!("it is a symbolic link that leads out of {}", self.url);
        Err(Error::UnusablePath { path: path.strip_prefix(&self.root).unwrap_or(path).to_owned(), problem })
    }

    /// False for what belongs to Git or DVC, and for what `.dvcignore` excludes.
    pub(super) fn is_visible(&self, path: &str) -> bool {
        let full = self.root.join(path);
        let mut above = full.ancestors().take_while(|folder| *folder != self.root);
        !above.any(|folder| self.workspace.excludes(folder, folder.is_dir()))
    }
}

/// Files that describe data, and are none.
pub(super) fn is_dvc_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "dvc.yaml" | "dvc.lock" | ".dvcignore") || (name.len() > 4 && name.ends_with(".dvc"))
}

pub(super) fn join(folder: &str, name: &str) -> String {
    match (folder, name) {
        ("", name) => name.to_owned(),
        (folder, "") => folder.to_owned(),
        (folder, name) => format!("{folder}/{name}"),
    }
}

/// True for a path inside a folder; everything is inside the empty one.
pub(super) fn is_below(path: &str, folder: &str) -> bool {
    folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
