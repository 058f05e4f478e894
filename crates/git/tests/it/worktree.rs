use towpath_git::revisions::Scope;
use towpath_git::{Error, WorkTree};

use crate::{Fixture, git};

#[test]
fn a_clone_knows_its_root_branch_and_remote() {
    let fixture = Fixture::new(&[("d/a.txt", "one\n", "Add a")]);
    fixture.git(&["remote", "add", "origin", "../digits.git"]);
    let tree = WorkTree::discover(&fixture.clone().join("d")).unwrap();
    assert_eq!(tree.root().canonicalize().unwrap(), fixture.clone().canonicalize().unwrap());
    assert_eq!(tree.branch().unwrap().as_deref(), Some("main"));
    assert_eq!(tree.remote_url("origin").unwrap().as_deref(), Some("../digits.git"));
    assert_eq!(tree.remote_url("other").unwrap(), None);
    assert!(tree.is_clean().unwrap());
    assert!(matches!(WorkTree::discover(std::path::Path::new("/")), Err(Error::NotARepository(_))));
}

#[test]
fn the_lock_that_a_run_wrote_is_fetched_and_merged() {
    let fixture = Fixture::new(&[("dvc.lock", "old\n", "Add lock")]);
    fixture.git(&["remote", "add", "origin", "../digits.git"]);
    fixture.git(&["config", "user.name", "Ada"]);
    fixture.git(&["config", "user.email", "ada@example.org"]);
    let tree = WorkTree::discover(&fixture.clone()).unwrap();
    let parent = tree.head().unwrap().unwrap();
    let author = towpath_git::Signature {
        name: "Towpath".into(),
        email: "towpath@localhost".into(),
        at: towpath_core::Timestamp(0),
    };
    let file = towpath_git::FileContent { path: "dvc.lock".into(), bytes: b"new\n".to_vec() };
    fixture.bare.commit_files("refs/towpath/runs/3", Some(&parent), &[file], "Run 3", &author).unwrap();

    let run = tree.fetch("origin", "refs/towpath/runs/3").unwrap();
    tree.merge(&run, "Take the lock of run 3").unwrap();
    assert_eq!(std::fs::read_to_string(fixture.clone().join("dvc.lock")).unwrap(), "new\n");
    assert!(tree.fetch("origin", "refs/towpath/runs/4").is_err());
}

#[test]
fn a_new_repository_starts_on_main() {
    let dir = tempfile::tempdir().unwrap();
    let tree = WorkTree::init(&dir.path().join("new")).unwrap();
    assert_eq!((tree.branch().unwrap().as_deref(), tree.head().unwrap()), (Some("main"), None));
    git(tree.root(), &["config", "user.name", "Ada"]);
    git(tree.root(), &["config", "user.email", "ada@example.org"]);
    std::fs::write(tree.root().join("a"), "1").unwrap();
    let commit = tree.commit_all("Add a").unwrap();
    tree.add_remote("towpath", "http://127.0.0.1:1/git/x.git").unwrap();
    assert_eq!(tree.head().unwrap(), Some(commit));
    let copy = WorkTree::clone_from(&tree.root().to_string_lossy(), &dir.path().join("copy"), None).unwrap();
    assert!(copy.root().join("a").exists());
    assert!(copy.hooks_dir().unwrap().ends_with(".git/hooks"));
}

#[test]
fn the_first_push_of_a_new_repository_names_no_upstream() {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "--bare", "-b", "main", "digits.git"]);
    let tree = WorkTree::init(&dir.path().join("new")).unwrap();
    tree.add_remote("origin", &dir.path().join("digits.git").to_string_lossy()).unwrap();
    std::fs::write(tree.root().join("a"), "1").unwrap();
    let commit = tree.commit_all("Add a").unwrap();
    git(tree.root(), &["push", "-q"]);
    assert_eq!(git(&dir.path().join("digits.git"), &["rev-parse", "main"]), commit.to_string());
    assert_eq!(git(tree.root(), &["rev-parse", "--abbrev-ref", "@{upstream}"]), "origin/main");
}

#[test]
fn a_password_is_found_without_asking_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let tree = WorkTree::init(&dir.path().join("new")).unwrap();
    git(
        tree.root(),
        &["config", "credential.helper", "!f() { test \"$1\" = get && echo username=x && echo password=kept; }; f"],
    );
    assert_eq!(tree.password("http://ada:in-url@127.0.0.1:1/git/x.git").unwrap().as_deref(), Some("in-url"));
    assert_eq!(tree.password("http://127.0.0.1:1/git/x.git").unwrap().as_deref(), Some("kept"));
    git(tree.root(), &["config", "credential.helper", ""]);
    assert_eq!(tree.password("http://127.0.0.1:1/git/x.git").unwrap(), None);
}

#[test]
fn who_never_told_git_a_name_can_commit_and_read_a_file_back() {
    let dir = tempfile::tempdir().unwrap();
    let tree = WorkTree::init(&dir.path().join("new")).unwrap();
    git(tree.root(), &["config", "user.useConfigOnly", "true"]);
    std::fs::write(tree.root().join("a"), "1").unwrap();
    let commit = tree.commit_all("Add a").unwrap();
    assert_eq!(tree.file(&commit, "a").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(tree.file(&commit, "b").unwrap(), None);
}

#[test]
fn all_versions_of_files_are_found_over_many_commits() {
    let commits = [
        ("d/a.dvc", "one", "Add a"),
        ("copy.txt", "one", "Copy its text"),
        ("d/a.dvc", "two", "Change a"),
        ("e/deep/b.dvc", "one", "The same text elsewhere"),
    ];
    let fixture = Fixture::new(&commits);
    fixture.git(&["tag", "first", "HEAD~3"]);
    fixture.git(&["update-ref", "refs/exps/ab/cd/try", "HEAD~2"]);
    let tree = WorkTree::discover(&fixture.clone()).unwrap();
    let texts = |scope: Scope| {
        let commits = tree.select(&scope).unwrap();
        let versions = tree.versions(&commits, |name| name.ends_with(".dvc")).unwrap();
        let mut texts: Vec<String> =
            versions.into_iter().map(|version| String::from_utf8(version.content).unwrap()).collect();
        texts.sort();
        (commits.len(), texts.join(" "))
    };
    assert_eq!(texts(Scope { tags: true, ..Scope::default() }), (1, "one".into()));
    assert_eq!(texts(Scope { branches: true, ..Scope::default() }), (1, "one two".into()));
    assert_eq!(texts(Scope { branches: true, last: 2, ..Scope::default() }), (2, "one two".into()));
    assert_eq!(texts(Scope { revision: Some("HEAD~2".into()), ..Scope::default() }), (1, "one".into()));
    assert_eq!(texts(Scope { experiments: true, ..Scope::default() }), (1, "one".into()));
    assert_eq!(texts(Scope { commits: true, ..Scope::default() }).0, 4);
    assert_eq!(texts(Scope { since: Some("2000-01-01".into()), ..Scope::default() }).0, 4);
    assert_eq!(texts(Scope::default()), (0, String::new()));
    let wrong = |scope| tree.select(&scope).unwrap_err();
    assert!(matches!(wrong(Scope { revision: Some("--all".into()), ..Scope::default() }), Error::NoSuchCommit(_)));
    assert!(matches!(wrong(Scope { since: Some("today".into()), ..Scope::default() }), Error::InvalidDate(_)));
}
