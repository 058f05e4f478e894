//! What goes wrong leaves nothing half-written and says what it was.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use towpath_core::{Classify as _, Content, HashName, Kind};
use towpath_data::links::LinkType;
use towpath_data::manifest::{Entry, Manifest};
use towpath_data::remote::{LocalRemote, object_key};
use towpath_data::{Cache, Error, Oid, Remote as _, Repository, Silent, Targets, Workspace, transfer, verbs};

use crate::support::{Project, check_out};

fn add(project: &Project, path: &str) -> Result<verbs::Added, Error> {
    verbs::add(&project.repository(), &[PathBuf::from(path)], &[], &Silent).map(|mut added| added.remove(0))
}

/// The files of a cache, its temporary ones included.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Delivers some bytes, then fails.
struct Interrupted(usize);

impl Read for Interrupted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let length = self.0.min(buffer.len());
        self.0 -= length;
        Ok(length)
    }
}

#[test]
fn a_transfer_that_breaks_off_or_brings_something_else_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path());
    let oid = Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap();
    assert!(matches!(cache.receive(&oid, Interrupted(100_000)), Err(Error::BrokenOff { .. })));
    assert!(matches!(cache.receive(&oid, b"b\n".as_slice()), Err(Error::Corrupt { .. })));
    assert_eq!(files_below(dir.path()), Vec::<PathBuf>::new());
    assert_eq!(cache.receive(&oid, b"a\n".as_slice()).unwrap(), 2);
    assert_eq!(fs::metadata(cache.path(&oid)).unwrap().permissions().mode() & 0o777, 0o444);
}

#[test]
fn a_damaged_object_is_found_by_its_mode_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path());
    let oid = Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap();
    cache.receive(&oid, b"a\n".as_slice()).unwrap();
    let path = cache.path(&oid);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(cache.has(&oid).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "damaged").unwrap();
    assert!(!cache.has(&oid).unwrap());
    assert!(!path.exists());
}

#[test]
fn paths_that_cannot_be_tracked_are_refused_and_nothing_is_written() {
    let project = Project::ours();
    project.write("in_git", "x");
    project.git(&["add", "in_git"]);
    project.write("bad/\u{fffd}", "x");
    let not_utf8 = project.root().join("bad").join(std::ffi::OsStr::from_bytes(b"\xff"));
    fs::write(not_utf8, "x").unwrap();
    project.write("nested/.dvcignore", "*.tmp\n");
    for (path, expected) in [
        ("in_git", "tracked by git"),
        ("bad", "not UTF-8"),
        ("nested", ".dvcignore below a tracked folder"),
        ("missing", "cannot read missing"),
    ] {
        let error = add(&project, path).unwrap_err().to_string();
        assert!(error.contains(expected), "{path}: {error}");
        assert!(!project.root().join(format!("{path}.dvc")).exists(), "{path}");
    }
    assert!(!project.root().join(".gitignore").exists());
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let project = Project::ours();
    project.write("growing", vec![b'x'; 8 << 20]);
    let path = project.root().join("growing");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writer = thread::spawn(move || {
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        while !stopped.load(Ordering::Relaxed) {
            file.write_all(b"x").unwrap();
        }
    });
    let refused = add(&project, "growing");
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(matches!(refused, Err(Error::ChangedWhileRead { .. })), "{refused:?}");
    assert!(!project.root().join("growing.dvc").exists());
    add(&project, "growing").unwrap();
}

#[test]
fn what_overlaps_with_a_tracked_folder_is_refused() {
    let project = Project::ours();
    project.write("data/images/a", "a");
    add(&project, "data/images").unwrap();
    let error = add(&project, "data").unwrap_err();
    assert!(matches!(&error, Error::AlreadyTracked { by, .. } if by == "data/images.dvc"), "{error}");
    // What is inside belongs to the folder.
    let added = add(&project, "data/images/a").unwrap();
    assert_eq!((added.path.as_str(), added.changed), ("data/images", false));
}

#[test]
fn an_empty_folder_and_links_to_files_can_be_tracked() {
    let project = Project::ours();
    fs::create_dir(project.root().join("empty")).unwrap();
    assert_eq!(add(&project, "empty").unwrap().content.md5, "d751713988987e9331980363e24189ce.dir");
    project.write("elsewhere", "a\n");
    fs::create_dir(project.root().join("linked")).unwrap();
    symlink("../elsewhere", project.root().join("linked/a")).unwrap();
    assert_eq!(add(&project, "linked").unwrap().content.size, 2);
}

#[test]
fn checkout_makes_the_folder_equal_and_does_not_lose_unsaved_changes() {
    let project = Project::ours();
    project.write("data/a", "a");
    project.write("data/sub/b", "b");
    add(&project, "data").unwrap();
    fs::remove_dir_all(project.root().join("data/sub")).unwrap();
    project.write("data/a", "changed");
    project.write("data/extra/file", "extra");
    let refused = check_out(&project, false).unwrap_err();
    assert!(matches!(refused, Error::WouldOverwrite { .. }), "{refused}");
    assert_eq!(project.read("data/a"), "changed");

    assert_eq!(check_out(&project, true).unwrap(), ["data"]);
    assert_eq!((project.read("data/a"), project.read("data/sub/b")), ("a".into(), "b".into()));
    assert!(!project.root().join("data/extra").exists());
    assert!(check_out(&project, false).unwrap().is_empty());
}

#[test]
fn checkout_writes_nothing_through_a_symbolic_link() {
    let project = Project::ours();
    project.write("data/sub/b", "b");
    add(&project, "data").unwrap();
    let outside = project.beside("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir_all(project.root().join("data/sub")).unwrap();
    symlink(&outside, project.root().join("data/sub")).unwrap();
    check_out(&project, true).unwrap();
    assert_eq!(project.read("data/sub/b"), "b");
    assert_eq!(files_below(&outside), Vec::<PathBuf>::new());

    symlink(&outside, project.root().join("away")).unwrap();
    let cache = project.repository().cache().unwrap();
    let content = Content {
        md5: "92eb5ffee6ae2fec3ad71c777531578f".into(),
        hash: HashName::Md5,
        size: 1,
        nfiles: None,
        isexec: false,
    };
    let workspace = Workspace::open(&project.root(), None).unwrap();
    for path in ["away/file", "../file", "/tmp/file"] {
        let refused = cache.checkout(&workspace, &content, Path::new(path));
        assert!(matches!(refused, Err(Error::UnusablePath { .. })), "{path}");
    }
    assert_eq!(files_below(&outside), Vec::<PathBuf>::new());
}

#[test]
fn every_link_type_gives_the_same_files() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("data")).unwrap();
    fs::write(source.join("data/a"), "a").unwrap();
    fs::write(source.join("data/empty"), "").unwrap();
    let cache = Cache::open(&dir.path().join("cache"));
    let content = cache.add_path(&Workspace::open(&source, None).unwrap(), Path::new("data")).unwrap();
    for (name, kind, mode) in
        [("copy", LinkType::Copy, 0o644), ("hard", LinkType::Hardlink, 0o444), ("soft", LinkType::Symlink, 0o444)]
    {
        let target = dir.path().join(name);
        fs::create_dir(&target).unwrap();
        let workspace = Workspace::open(&target, None).unwrap();
        let linking = cache.clone().with_links(vec![kind]);
        assert!(linking.checkout(&workspace, &content, Path::new("data")).unwrap());
        assert!(!linking.checkout(&workspace, &content, Path::new("data")).unwrap());
        assert_eq!(fs::read_to_string(target.join("data/a")).unwrap(), "a");
        assert_eq!(fs::metadata(target.join("data/a")).unwrap().permissions().mode() & 0o777, mode, "{name}");
        assert_eq!(workspace.hash(Path::new("data")).unwrap().unwrap().content, content);
    }
}

#[test]
fn a_folder_with_a_missing_file_is_pushed_without_its_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(&dir.path().join("cache"));
    let here = Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap();
    let gone = Oid::parse("00000000000000000000000000000000").unwrap();
    cache.receive(&here, b"a\n".as_slice()).unwrap();
    let entries = [("a", &here), ("b", &gone)];
    let manifest = Manifest::new(entries.map(|(name, oid)| Entry { relpath: name.into(), oid: oid.clone() }).into());
    let folder = cache.add_manifest(&manifest).unwrap();
    let remote = LocalRemote::open(&dir.path().join("store"), None);
    let error = transfer::push(&cache, &remote, &[manifest.content(4).into()], &Silent).unwrap_err();
    assert!(matches!(&error, Error::Missing { oids } if *oids == [gone]), "{error}");
    assert!(remote.exists(&object_key(&here)).unwrap());
    assert!(!remote.exists(&object_key(&folder)).unwrap());
}

#[test]
fn a_damaged_object_on_the_remote_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (cache, store) = (Cache::open(&dir.path().join("cache")), dir.path().join("store"));
    let oid = Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap();
    fs::create_dir_all(store.join("files/md5/60")).unwrap();
    fs::write(store.join(oid.object_path()), "damaged").unwrap();
    let content = Content { md5: oid.to_string(), hash: HashName::Md5, size: 2, nfiles: None, isexec: false };
    let error = transfer::pull(&cache, &LocalRemote::open(&store, None), &[content.into()], &Silent).unwrap_err();
    assert!(matches!(&error, Error::DamagedOnRemote { oids, .. } if oids == std::slice::from_ref(&oid)), "{error}");
    assert!(!cache.has(&oid).unwrap());
}

#[test]
fn a_missing_remote_and_malformed_files_are_named() {
    let project = Project::ours();
    project.write("a", "a");
    add(&project, "a").unwrap();
    let error = verbs::push(&project.repository(), &[], None, &Silent).unwrap_err();
    assert!(matches!(error, Error::NoDefaultRemote));
    assert!(error.hints()[0].contains("dvc remote add"));
    let error = verbs::push(&project.repository(), &[], Some("x"), &Silent).unwrap_err();
    assert_eq!(error.to_string(), "no remote is called 'x'");

    project.write("a.dvc", "outs:\n- md5: 1\n  path: a\n");
    let error = verbs::status(&project.repository(), &[], &Targets::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("a.dvc:2:8"), "{error}");

    project.write(".dvc/config", "[cache]\n    type = teleport\n");
    let error = Repository::open(&project.root()).unwrap_err();
    assert!(error.to_string().contains("reflink, hardlink, symlink or copy, found 'teleport'"), "{error}");
}
