//! Work on a tracked folder of which only the manifest is here; the real client judges the result.

use std::fs;
use std::path::{Path, PathBuf};

use towpath_data::config::Level;
use towpath_data::{Config, Silent, Targets, verbs};

use crate::support::Project;

/// A clone without data of a repository whose folder `big` is on a remote, and that repository.
fn clone_of_a_big_folder() -> (Project, Project) {
    let origin = Project::by_dvc();
    for name in ["a.jpg", "sub/old.jpg", "sub/ü b.jpg"] {
        origin.write(&format!("big/{name}"), name);
    }
    let store = origin.beside("store");
    let dvc_dir = origin.repository().dvc_dir();
    Config::write_remote(&dvc_dir, Level::Repository, "store", store.to_str().unwrap(), true).unwrap();
    verbs::add(&origin.repository(), &[PathBuf::from("big")], &[], &Silent).unwrap();
    verbs::push(&origin.repository(), &[], None, &Silent).unwrap();
    let clone = origin.clone_of_git();
    (origin, clone)
}

fn named(project: &Project, name: &str) -> Targets {
    Targets::named(project.repository().root(), [name])
}

fn objects(folder: &Path) -> usize {
    walkdir::WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file()).count()
}

#[test]
fn a_file_is_added_replaced_and_removed_while_the_rest_is_elsewhere() {
    let (_origin, clone) = clone_of_a_big_folder();
    let repository = clone.repository();
    clone.write("big/new.jpg", "new");
    let added = verbs::add(&repository, &[PathBuf::from("big/new.jpg")], &[], &Silent).unwrap();
    assert_eq!((added[0].path.as_str(), added[0].content.nfiles), ("big", Some(4)));
    clone.write("big/a.jpg", "replaced");
    verbs::add(&repository, &[PathBuf::from("big/a.jpg")], &[], &Silent).unwrap();
    verbs::remove_inside(&repository, &[], &named(&clone, "big/sub/old.jpg"), &Silent).unwrap();
    let unknown = verbs::remove_inside(&repository, &[], &named(&clone, "big/none"), &Silent).unwrap_err();
    assert!(unknown.to_string().contains("big/none"), "{unknown}");
    // Two new files and four manifests: nothing else of the folder was fetched.
    assert_eq!(objects(&repository.cache().unwrap().dir().join("files")), 6);

    // The real client completes the folder and agrees.
    clone.dvc(&["push", "-q", "big"]);
    fs::remove_dir_all(clone.root().join("big")).unwrap();
    clone.dvc(&["pull", "-q"]);
    assert_eq!(clone.dvc(&["status", "--json"]).trim(), "{}");
    assert_eq!((clone.read("big/a.jpg"), clone.read("big/new.jpg")), ("replaced".into(), "new".into()));
    assert!(!clone.root().join("big/sub/old.jpg").exists());
    let pointer = clone.read("big.dvc");
    clone.dvc(&["add", "-q", "big"]);
    assert_eq!(digest(&clone.read("big.dvc")), digest(&pointer));
}

fn digest(pointer: &str) -> String {
    pointer.lines().find(|line| line.contains("md5: ")).unwrap().to_owned()
}

#[test]
fn both_tools_record_the_same_after_the_same_change() {
    let (_origin, ours) = clone_of_a_big_folder();
    let (_other, theirs) = clone_of_a_big_folder();
    for project in [&ours, &theirs] {
        project.write("big/more/x.jpg", "x");
    }
    verbs::add(&ours.repository(), &[PathBuf::from("big/more")], &[], &Silent).unwrap();
    theirs.dvc(&["add", "-q", "big/more"]);
    assert_eq!(ours.read("big.dvc"), theirs.read("big.dvc"));
}

#[test]
fn a_path_inside_is_checked_out_alone() {
    let project = Project::ours();
    project.write("d/a", "a");
    project.write("d/sub/b", "b");
    verbs::add(&project.repository(), &[PathBuf::from("d")], &[], &Silent).unwrap();
    fs::remove_dir_all(project.root().join("d")).unwrap();
    let options = verbs::CheckoutOptions::default();
    let check_out = |name: &str| {
        verbs::checkout(&project.repository(), &[], &named(&project, name), options, &Silent).unwrap().changed()
    };
    assert_eq!(check_out("d/sub"), ["d/sub"]);
    assert_eq!(project.read("d/sub/b"), "b");
    assert!(!project.root().join("d/a").exists());
    assert_eq!(check_out("d/a"), ["d/a"]);
    assert!(check_out("d").is_empty());
}
