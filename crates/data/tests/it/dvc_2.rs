//! Repositories that DVC 2 wrote: entries without `hash`, objects by `md5-dos2unix` in the place of
//! old, beside those of DVC 3.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};
use towpath_core::HashName;
use towpath_data::config::Level;
use towpath_data::{Config, Oid, Silent, Targets, verbs};

use crate::support::{Project, check_out};

fn digest(bytes: &[u8]) -> String {
    hex::encode(Md5::digest(bytes))
}

/// Puts an object where DVC 2 has it.
fn store(cache: &Path, oid: &str, bytes: &[u8]) {
    let path = cache.join(&oid[..2]).join(&oid[2..]);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
}

const TEXT: &[u8] = b"a\r\nb\r\n";
const FOLDED: &[u8] = b"a\nb\n";
const BINARY: &[u8] = b"\0\r\n";

/// A repository as DVC 2 left it: `text` and the folder `data`, tracked and in the cache, not in the
/// workspace.
fn write_dvc_2(project: &Project) {
    let cache = project.root().join(".dvc/cache");
    store(&cache, &digest(FOLDED), TEXT);
    store(&cache, &digest(BINARY), BINARY);
    let manifest = format!(
        r#"[{{"md5": "{}", "relpath": "binary"}}, {{"md5": "{}", "relpath": "sub/text"}}]"#,
        digest(BINARY),
        digest(FOLDED)
    );
    let folder = format!("{}.dir", digest(manifest.as_bytes()));
    store(&cache, &folder, manifest.as_bytes());
    project.write("text.dvc", format!("outs:\n- md5: {}\n  size: 6\n  path: text\n", digest(FOLDED)));
    project.write("data.dvc", format!("outs:\n- md5: {folder}\n  size: 9\n  nfiles: 2\n  path: data\n"));
    project.write(".gitignore", "/text\n/data\n");
}

fn add(project: &Project, path: &str) -> bool {
    verbs::add(&project.repository(), &[PathBuf::from(path)], &[], &Silent).unwrap()[0].changed
}

#[test]
fn a_repository_of_dvc_2_is_checked_out_pushed_and_pulled_by_both_tools() {
    let project = Project::by_dvc();
    write_dvc_2(&project);
    let store = project.beside("store");
    let dvc_dir = project.repository().dvc_dir();
    Config::write_remote(&dvc_dir, Level::Repository, "store", store.to_str().unwrap(), true).unwrap();

    check_out(&project, false).unwrap();
    assert_eq!(fs::read(project.root().join("text")).unwrap(), TEXT);
    assert_eq!(fs::read(project.root().join("data/sub/text")).unwrap(), TEXT);
    assert_eq!(verbs::status(&project.repository(), &[], &Targets::default()).unwrap(), []);
    assert_eq!(project.dvc(&["status", "--json"]).trim(), "{}");

    assert_eq!(verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects, 3);
    assert!(store.join(&digest(FOLDED)[..2]).join(&digest(FOLDED)[2..]).exists());
    assert_eq!(project.dvc(&["status", "-c", "--json"]).trim(), "{}");

    let theirs = project.clone_of_git();
    theirs.dvc(&["pull", "-q"]);
    assert_eq!(verbs::status(&theirs.repository(), &[], &Targets::default()).unwrap(), []);
    let ours = project.clone_of_git();
    assert_eq!(verbs::pull(&ours.repository(), &[], None, false, &Silent).unwrap().transferred.objects, 3);
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn unchanged_data_keeps_its_entry_and_changed_data_gets_one_of_dvc_3() {
    let (ours, theirs) = (Project::by_dvc(), Project::by_dvc());
    for project in [&ours, &theirs] {
        write_dvc_2(project);
    }
    check_out(&ours, false).unwrap();
    theirs.dvc(&["checkout", "-q"]);
    assert!(!add(&ours, "text") && !add(&ours, "data"));
    // Line ends are no change of the hash for DVC 2, only of the size.
    ours.write("text", FOLDED);
    add(&ours, "text");
    assert_eq!(ours.read("text.dvc"), format!("outs:\n- md5: {}\n  size: 4\n  path: text\n", digest(FOLDED)));

    for project in [&ours, &theirs] {
        project.write("text", "c\r\n");
        project.write("data/new", "new");
    }
    assert!(add(&ours, "text") && add(&ours, "data"));
    theirs.dvc(&["add", "-q", "text", "data"]);
    for file in ["text.dvc", "data.dvc"] {
        assert_eq!(ours.read(file), theirs.read(file), "{file}");
    }
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");
    assert_eq!(verbs::status(&theirs.repository(), &[], &Targets::default()).unwrap(), []);
}

#[test]
fn a_damaged_object_of_dvc_2_is_found_and_removed() {
    let project = Project::ours();
    write_dvc_2(&project);
    let cache = project.repository().cache().unwrap();
    let oid = Oid::parse(&digest(FOLDED)).unwrap();
    assert!(!cache.has(&oid).unwrap());
    let old = oid.hashed_by(HashName::Md5Dos2unix);
    let path = cache.path(&old);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(cache.has(&old).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "damaged").unwrap();
    assert!(!cache.has(&old).unwrap());
    assert!(!path.exists());
}
