//! Verbs that change what is tracked, beside the real client.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use towpath_data::config::Level;
use towpath_data::diff::{Diff, Listing};
use towpath_data::targets::{choose, select};
use towpath_data::{Config, Error, Silent, Targets, verbs};

use crate::support::Project;

fn add(project: &Project, path: &str) {
    verbs::add(&project.repository(), &[PathBuf::from(path)], &[], &Silent).unwrap();
}

/// Paths and texts of everything that Git sees.
fn seen_by_git(project: &Project) -> Vec<(PathBuf, String)> {
    let below = |entry: walkdir::DirEntry| entry.into_path();
    let files = walkdir::WalkDir::new(project.root()).sort_by_file_name().into_iter().flatten();
    let files = files.filter(|entry| entry.file_type().is_file()).map(below);
    let named = |path: &PathBuf| path.extension().is_some_and(|e| e == "dvc") || path.ends_with(".gitignore");
    files
        .filter(named)
        .map(|path| (path.strip_prefix(project.root()).unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn moving_and_removing_leave_the_same_files_as_the_real_client() {
    let (ours, theirs) = (Project::ours(), Project::by_dvc());
    for project in [&ours, &theirs] {
        project.write("a.csv", "1");
        project.write("odd [x]!.csv", "2");
        project.write("data/d/x", "x");
        fs::create_dir(project.root().join("sub")).unwrap();
        project.write("b.csv", "3");
        for path in ["a.csv", "b.csv", "odd [x]!.csv", "data/d"] {
            add(project, path);
        }
    }
    let repository = ours.repository();
    for (from, to) in [("a.csv", "sub"), ("data/d", "e")] {
        verbs::move_output(&repository, &[], from, to, &Silent).unwrap();
        theirs.dvc(&["move", "-q", from, to]);
    }
    assert_eq!(seen_by_git(&ours), seen_by_git(&theirs));
    assert_eq!(ours.read("e/x"), "x");
    verbs::remove(&repository, &["b.csv.dvc".to_owned()], false).unwrap();
    verbs::remove(&repository, &["e.dvc".to_owned()], true).unwrap();
    theirs.dvc(&["remove", "-q", "b.csv.dvc"]);
    theirs.dvc(&["remove", "-q", "--outs", "e.dvc"]);
    assert_eq!(seen_by_git(&ours), seen_by_git(&theirs));
    // The real client leaves the line of a name that needs escapes.
    verbs::remove(&repository, &["odd [x]!.csv.dvc".to_owned()], false).unwrap();
    assert!(!ours.root().join(".gitignore").exists());
    assert!(ours.root().join("odd [x]!.csv").exists() && !ours.root().join("e").exists());
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn a_commit_records_what_is_there_now() {
    let project = Project::ours();
    project.write("d/x", "x");
    add(&project, "d");
    let before = project.read("d.dvc");
    project.write("d/x", "changed");
    let repository = project.repository();
    let stages = repository.stages(&[]).unwrap();
    let chosen = choose(&repository, &stages, &Targets::default()).unwrap();
    let committed = verbs::commit(&repository, &chosen, false, &Silent).unwrap();
    assert!(committed[0].added.as_ref().unwrap().changed);
    assert_ne!(project.read("d.dvc"), before);
    assert_eq!(project.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn links_are_made_again_and_undone() {
    let project = Project::ours();
    project.write("d/x", "x");
    add(&project, "d");
    let dvc_dir = project.repository().dvc_dir();
    Config::write(&dvc_dir, Level::Repository, "cache", "type", "hardlink").unwrap();
    let options = verbs::CheckoutOptions { relink: true, ..verbs::CheckoutOptions::default() };
    let links = || fs::metadata(project.root().join("d/x")).unwrap().nlink();
    verbs::checkout(&project.repository(), &[], &Targets::default(), options, &Silent).unwrap();
    assert_eq!(links(), 2);
    verbs::unprotect(&project.repository(), &[], &Targets::default()).unwrap();
    assert_eq!(links(), 1);
    project.write("d/x", "mine");
}

#[test]
fn missing_content_keeps_nothing_else_from_being_checked_out() {
    let project = Project::ours();
    project.write("a", "a");
    project.write("b", "b");
    add(&project, "a");
    add(&project, "b");
    for name in ["a", "b"] {
        fs::remove_file(project.root().join(name)).unwrap();
    }
    fs::remove_dir_all(project.root().join(".dvc/cache/files/md5/0c")).unwrap();
    let repository = project.repository();
    let options = verbs::CheckoutOptions::default();
    let refused = verbs::checkout(&repository, &[], &Targets::default(), options, &Silent).unwrap_err();
    assert!(matches!(refused, Error::NotInCache { .. }), "{refused}");
    assert_eq!(project.read("b"), "b");
    let options = verbs::CheckoutOptions { allow_missing: true, ..options };
    assert!(verbs::checkout(&repository, &[], &Targets::default(), options, &Silent).unwrap().changed().is_empty());
}

#[test]
fn changes_are_listed_as_the_real_client_lists_them() {
    let project = Project::by_dvc();
    for name in ["d/x", "d/gone", "d/same", "old.csv", "a.csv"] {
        project.write(name, name);
    }
    project.dvc(&["add", "-q", "d", "old.csv", "a.csv"]);
    project.git(&["add", "-A"]);
    project.git(&["commit", "-qm", "data"]);
    let repository = project.repository();
    let recorded =
        Listing::recorded(&repository.cache().unwrap(), &select(&repository, &[], &Targets::default()).unwrap())
            .unwrap();
    fs::remove_file(project.root().join("d/gone")).unwrap();
    project.write("d/x", "changed");
    project.write("d/new", "new");
    fs::remove_file(project.root().join("a.csv")).unwrap();
    let outputs = select(&repository, &[], &Targets::default()).unwrap();
    let present = Listing::present(&repository.workspace().unwrap(), &outputs).unwrap();
    let diff = Diff::between(&recorded, &present);
    let reported: serde_json::Value = serde_json::from_str(&project.dvc(&["diff", "--json", "--show-hash"])).unwrap();
    assert_eq!(diff.to_json(true, true), reported);
    let status = project.dvc(&["data", "status", "--json", "--granular"]);
    let mut status: serde_json::Value = serde_json::from_str(&status).unwrap();
    for list in status["uncommitted"].as_object_mut().unwrap().values_mut() {
        list.as_array_mut().unwrap().sort_by_key(|path| path.as_str().unwrap().trim_end_matches('/').to_owned());
    }
    assert_eq!(diff.to_paths(), status["uncommitted"]);
}
