//! Both directions with the real client.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use towpath_data::config::Level;
use towpath_data::links::LinkType;
use towpath_data::{Config, Silent, Targets, verbs};

use crate::support::Project;

/// A folder with names that need escapes, an empty file, and an executable single file.
fn write_data(project: &Project) {
    project.write("data/images/a b.txt", "a");
    project.write("data/images/ä\u{1f600}\u{7f}\"\\.txt", "b\r\n");
    project.write("data/images/deep/er/empty", "");
    project.write("data/run.sh", "#!/bin/sh\n");
    fs::set_permissions(project.root().join("data/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
}

fn paths(names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(PathBuf::from).collect()
}

#[test]
fn what_we_add_and_push_real_dvc_sees_clean_and_pulls() {
    let project = Project::ours();
    write_data(&project);
    let repository = project.repository();
    let store = project.beside("store");
    Config::write_remote(&repository.dvc_dir(), Level::Repository, "store", store.to_str().unwrap(), true).unwrap();
    let repository = project.repository();
    let added = verbs::add(&repository, &paths(&["data/images", "data/run.sh"]), &[], &Silent).unwrap();
    assert!(added.iter().all(|added| added.changed));
    assert_eq!(project.read("data/.gitignore"), "/images\n/run.sh\n");

    assert_eq!(project.dvc(&["status", "--json"]).trim(), "{}");
    project.git(&["add", "-A"]);
    project.git(&["commit", "-qm", "data"]);
    assert_eq!(project.dvc(&["data", "status", "--json"]).trim(), "{}");
    let pointer = project.read("data/images.dvc");
    project.dvc(&["add", "-q", "data/images", "data/run.sh"]);
    assert_eq!(project.read("data/images.dvc"), pointer);

    let sent = verbs::push(&repository, &[], None, &Silent).unwrap();
    assert_eq!(sent.objects, 5);
    assert_eq!(verbs::push(&repository, &[], None, &Silent).unwrap().objects, 0);
    assert_eq!(project.dvc(&["status", "-c", "--json"]).trim(), "{}");
    let clone = project.clone_of_git();
    clone.dvc(&["pull", "-q"]);
    assert_eq!(clone.read("data/images/a b.txt"), "a");
    assert_eq!(clone.read("data/images/ä\u{1f600}\u{7f}\"\\.txt"), "b\r\n");
    assert!(verbs::status(&clone.repository(), &[], &Targets::default()).unwrap().is_empty());
}

#[test]
fn what_real_dvc_adds_and_pushes_we_see_clean_and_pull() {
    let project = Project::by_dvc();
    write_data(&project);
    let store = project.beside("store");
    project.dvc(&["remote", "add", "-q", "-d", "store", store.to_str().unwrap()]);
    project.dvc(&["add", "-q", "data/images", "data/run.sh"]);
    project.dvc(&["push", "-q"]);
    assert!(verbs::status(&project.repository(), &[], &Targets::default()).unwrap().is_empty());

    let clone = project.clone_of_git();
    let pulled = verbs::pull(&clone.repository(), &[], None, false, &Silent).unwrap();
    assert_eq!(pulled.transferred.objects, 5);
    assert_eq!(pulled.checked_out, ["data/images", "data/run.sh"]);
    assert_eq!(clone.read("data/images/deep/er/empty"), "");
    let mode = fs::metadata(clone.root().join("data/run.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(clone.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn both_tools_write_the_same_pointer_and_report_the_same_status() {
    let ours = Project::ours();
    let theirs = Project::by_dvc();
    for project in [&ours, &theirs] {
        write_data(project);
    }
    verbs::add(&ours.repository(), &paths(&["data/images", "data/run.sh"]), &[], &Silent).unwrap();
    theirs.dvc(&["add", "-q", "data/images", "data/run.sh"]);
    for file in
        ["data/images.dvc", "data/run.sh.dvc", "data/.gitignore", ".dvcignore", ".dvc/.gitignore", ".dvc/config"]
    {
        assert_eq!(ours.read(file), theirs.read(file), "{file}");
    }
    theirs.write("data/images/new", "x");
    fs::remove_file(theirs.root().join("data/run.sh")).unwrap();
    let status = verbs::status(&theirs.repository(), &[], &Targets::default()).unwrap();
    let reported: serde_json::Value = serde_json::from_str(&theirs.dvc(&["status", "--json"])).unwrap();
    assert_eq!(towpath_data::status::to_json(&status), reported);
}

#[test]
fn a_held_lock_keeps_the_other_tool_out() {
    let project = Project::by_dvc();
    project.write("a", "a");
    let held = project.repository().lock().unwrap();
    let refused = project.try_dvc(&["add", "a"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Unable to acquire lock"));
    drop(held);
    project.dvc(&["add", "-q", "a"]);
}

#[test]
fn both_tools_leave_out_what_dvcignore_names() {
    let project = Project::by_dvc();
    write_data(&project);
    project.write("data/images/x.tmp", "x");
    project.write("data/images/deep/.git/config", "x");
    project.write(".dvcignore", "*.tmp\n!keep.tmp\n/data/images/deep/er\n");
    project.write("data/images/keep.tmp", "x");
    project.dvc(&["add", "-q", "data/images"]);
    let pointer = project.read("data/images.dvc");
    assert!(pointer.contains("nfiles: 3"), "{pointer}");
    let added = verbs::add(&project.repository(), &paths(&["data/images"]), &[], &Silent).unwrap();
    assert!(!added[0].changed);
}

#[test]
fn both_tools_read_the_same_settings() {
    let project = Project::by_dvc();
    let url = "/tmp/a, b #c";
    Config::write_remote(&project.repository().dvc_dir(), Level::Repository, "odd", url, true).unwrap();
    assert_eq!(project.dvc(&["config", "remote.odd.url"]).trim(), url);
    project.dvc(&["remote", "add", "-q", "other", "it's\"odd\""]);
    project.dvc(&["config", "cache.type", "hardlink,copy"]);
    let config = project.repository().config().clone();
    assert_eq!(config.remote(None).unwrap().url, url);
    let other = config.remote(Some("other")).unwrap().url;
    assert_eq!(Path::new(&other), project.repository().root().join("it's\"odd\""));
    assert_eq!(config.cache_types().unwrap(), [LinkType::Hardlink, LinkType::Copy]);
}

#[test]
fn with_hard_links_the_workspace_and_the_cache_share_files() {
    let project = Project::by_dvc();
    write_data(&project);
    project.dvc(&["config", "cache.type", "hardlink"]);
    verbs::add(&project.repository(), &paths(&["data/images"]), &[], &Silent).unwrap();
    let metadata = fs::metadata(project.root().join("data/images/a b.txt")).unwrap();
    assert_eq!((metadata.nlink(), metadata.permissions().mode() & 0o777), (2, 0o444));
    assert_eq!(project.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn an_output_goes_to_the_remote_that_it_names() {
    let project = Project::by_dvc();
    for (name, default) in [("first", true), ("second", false)] {
        let store = project.beside(name);
        let dvc_dir = project.repository().dvc_dir();
        Config::write_remote(&dvc_dir, Level::Repository, name, store.to_str().unwrap(), default).unwrap();
    }
    project.write("a", "a");
    project.write("b", "b");
    verbs::add(&project.repository(), &paths(&["a", "b"]), &[], &Silent).unwrap();
    let pointer = project.read("b.dvc");
    project.write("b.dvc", pointer + "  remote: second\n");
    assert_eq!(verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects, 2);
    let object_of_b = "files/md5/92/eb5ffee6ae2fec3ad71c777531578f";
    assert!(project.beside("second").join(object_of_b).exists());
    assert!(!project.beside("first").join(object_of_b).exists());
    assert_eq!(project.dvc(&["status", "-c", "--json"]).trim(), "{}");
}
