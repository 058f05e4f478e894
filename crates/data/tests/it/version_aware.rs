//! A remote that keeps files under their names and versions in the store, with our client and with the
//! real one.

use std::fs;
use std::path::PathBuf;

use towpath_data::{Error, Role, Silent, Stage, TrackedOutput, verbs, versions};

use crate::moto::Moto;
use crate::support::Project;

fn project(moto: &Moto) -> Project {
    let project = Project::ours();
    moto.become_remote_of(&project);
    project.configure(&[("remote.s3.version_aware", "true")]);
    project
}

fn add(project: &Project, paths: &[&str]) {
    let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
    verbs::add(&project.repository(), &paths, &[], &Silent).unwrap();
}

fn push(project: &Project) -> u64 {
    verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects
}

fn pull(project: &Project) -> u64 {
    verbs::pull(&project.repository(), &[], None, false, &Silent).unwrap().transferred.objects
}

#[test]
fn each_client_pulls_the_versions_that_the_other_pushed() {
    let moto = Moto::versioned();
    let ours = project(&moto);
    for (path, text) in [("a.txt", "one"), ("d/x", "x"), ("d/sub/ü y", "y"), ("d/z", "z")] {
        ours.write(path, text);
    }
    add(&ours, &["a.txt", "d"]);
    assert_eq!(push(&ours), 4);
    assert_eq!(push(&ours), 0);
    assert_eq!(moto.keys(), ["data/a.txt", "data/d/sub/ü y", "data/d/x", "data/d/z"]);
    let file = ours.read("a.txt.dvc");
    assert!(
        file.contains("  cloud:\n    s3:\n      etag: f97c5d29941bfb1b2fdab0874906ab82\n      version_id: "),
        "{file}"
    );
    let folder = ours.read("d.dvc");
    assert!(folder.starts_with("outs:\n- hash: md5\n  path: d\n  files:\n  - relpath: sub/ü y\n    md5: "), "{folder}");
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");
    assert!(ours.dvc(&["push"]).contains("Everything is up to date"));

    // Theirs pulls, changes and pushes.
    let theirs = ours.clone_of_git();
    theirs.dvc(&["pull", "-q"]);
    assert_eq!((theirs.read("a.txt"), theirs.read("d/sub/ü y")), ("one".to_owned(), "y".to_owned()));
    theirs.write("a.txt", "two");
    theirs.write("d/new", "n");
    fs::remove_file(theirs.root().join("d/z")).unwrap();
    theirs.dvc(&["add", "-q", "a.txt", "d"]);
    theirs.dvc(&["push", "-q"]);

    // Ours pulls both what it made itself and what the other did.
    let third = theirs.clone_of_git();
    assert_eq!(pull(&third), 4);
    assert_eq!((third.read("a.txt"), third.read("d/new")), ("two".to_owned(), "n".to_owned()));
    assert!(!third.root().join("d/z").exists());
    let before = ours.clone_of_git();
    assert_eq!(pull(&before), 4);
    assert_eq!((before.read("a.txt"), before.read("d/z")), ("one".to_owned(), "z".to_owned()), "the older version");
}

#[test]
fn a_changed_folder_sends_what_is_new_and_finds_the_rest_on_the_remote() {
    let moto = Moto::versioned();
    let project = project(&moto);
    for i in 0..5 {
        project.write(&format!("d/{i}"), format!("content {i}"));
    }
    add(&project, &["d"]);
    push(&project);
    let before = project.read("d.dvc");
    project.write("d/3", "other");
    add(&project, &["d"]);
    assert!(!project.read("d.dvc").contains("  files:"), "a new content has no versions yet");
    assert_eq!(push(&project), 1);
    let changed: Vec<String> = project.read("d.dvc").lines().map(str::to_owned).collect();
    let different = before.lines().zip(&changed).filter(|(old, new)| old != new).count();
    assert_eq!(different, 4, "md5, size, etag and version_id of one file");
    assert_eq!(project.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn a_worktree_loses_what_the_folder_lost() {
    let moto = Moto::versioned();
    let project = project(&moto);
    project.configure(&[("remote.s3.worktree", "true")]);
    project.write("d/keep", "k");
    project.write("d/gone", "g");
    add(&project, &["d"]);
    push(&project);
    fs::remove_file(project.root().join("d/gone")).unwrap();
    add(&project, &["d"]);
    push(&project);
    assert_eq!(moto.keys(), ["data/d/keep"]);
}

#[test]
fn a_store_that_keeps_no_versions_is_named_and_nothing_is_recorded() {
    let moto = Moto::start();
    let project = project(&moto);
    project.write("a", "a");
    add(&project, &["a"]);
    let before = project.read("a.dvc");
    let error = verbs::push(&project.repository(), &[], None, &Silent).unwrap_err();
    assert!(matches!(error, Error::KeepsNoVersions { .. }), "{error}");
    assert_eq!(project.read("a.dvc"), before);
}

/// The stage `make` of a `dvc.yaml`, as its `dvc.lock` records it.
fn made(project: &Project) -> Stage {
    let versions = versions::of_lock("dvc.lock", &project.read("dvc.lock")).unwrap();
    let output = |path: &str| {
        let found = project.repository().workspace().unwrap().hash(path.as_ref()).unwrap();
        let versions = versions.get(&("make".to_owned(), path.to_owned())).cloned();
        TrackedOutput {
            path: path.to_owned(),
            written: path.to_owned(),
            content: versions
                .as_ref()
                .and_then(|found| found.manifest())
                .map(|m| m.content(0))
                .or(found.map(|f| f.content)),
            cached: true,
            push: true,
            remote: None,
            role: Role::Data,
            versions,
            import: None,
            declared_by: "make".to_owned(),
        }
    };
    let outputs = ["f", "out"].map(output).to_vec();
    Stage { file: "dvc.yaml".into(), name: Some("make".into()), deps: Vec::new(), outputs }
}

#[test]
fn outputs_of_stages_have_their_versions_in_the_lock() {
    let moto = Moto::versioned();
    let ours = project(&moto);
    let make =
        "stages:\n  make:\n    cmd: mkdir -p out; echo x > out/x; echo y > out/y; echo f > f\n    outs: [out, f]\n";
    ours.write("dvc.yaml", make);
    ours.dvc(&["repro", "-q"]);
    let before = ours.read("dvc.lock");
    assert_eq!(verbs::push(&ours.repository(), &[made(&ours)], None, &Silent).unwrap().objects, 3);
    let theirs = project(&moto);
    theirs.write("dvc.yaml", make);
    theirs.dvc(&["repro", "-q"]);
    theirs.dvc(&["push", "-q"]);
    let without_ids = |text: String| {
        let lines = text.lines().filter(|line| !line.contains("version_id")).map(str::to_owned);
        lines.collect::<Vec<_>>()
    };
    assert_eq!(without_ids(ours.read("dvc.lock")), without_ids(theirs.read("dvc.lock")));
    assert_ne!(ours.read("dvc.lock"), before);
    assert!(ours.dvc(&["push"]).contains("Everything is up to date"));
    assert_eq!(ours.dvc(&["status", "--json"]).trim(), "{}");
    assert_eq!(push(&ours), 0);

    let clone = ours.clone_of_git();
    clone.dvc(&["pull", "-q"]);
    assert_eq!((clone.read("out/x"), clone.read("f")), ("x\n".to_owned(), "f\n".to_owned()));
    let of_theirs = theirs.clone_of_git();
    let folder = made(&of_theirs).outputs.remove(1);
    let stage = Stage { outputs: vec![folder], ..made(&of_theirs) };
    verbs::pull(&of_theirs.repository(), &[stage], None, false, &Silent).unwrap();
    assert_eq!(of_theirs.read("out/y"), "y\n");
}
