use std::fs;
use std::time::Instant;

use towpath_core::Timestamp;
use towpath_git::{Error, FileContent, FileStatus, Repository, Signature};

use crate::{Fixture, git};

#[test]
fn a_commit_tells_its_subject_author_and_files() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a"), ("b/c.txt", "two\n", "Add c\n\nWith a body.")]);
    let head = fixture.bare.resolve("main").unwrap();
    let info = fixture.bare.commit(&head).unwrap();
    assert_eq!((info.subject.as_str(), info.author.as_str(), info.email.as_str()), ("Add c", "Ada", "ada@example.org"));
    assert_eq!(fixture.bare.show(&head, "b/c.txt", 100).unwrap(), b"two\n");

    let first = info.parents[0].clone();
    assert_eq!(fixture.bare.count_between(&first, &head).unwrap(), 1);
    assert!(fixture.bare.is_ancestor(&first, &head).unwrap());
    assert!(!fixture.bare.is_ancestor(&head, &first).unwrap());
    assert_eq!(fixture.bare.log(None, &head, 10).unwrap().len(), 2);
    assert_eq!(fixture.bare.log(Some(&first), &head, 10).unwrap()[0].id, head);
}

#[test]
fn what_is_not_there_is_named() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a")]);
    let head = fixture.bare.resolve("main").unwrap();
    let error = fixture.bare.show(&head, "nope.txt", 100).unwrap_err();
    assert_eq!(error.to_string(), format!("no file nope.txt in commit {head}"));
    assert_eq!(fixture.bare.resolve("nope").unwrap_err().to_string(), "no commit 'nope'");
    assert!(matches!(fixture.bare.resolve("--all"), Err(Error::InvalidReference(_))));
    assert!(matches!(fixture.bare.show(&head, "../config", 100), Err(Error::InvalidPath(_))));
    assert!(matches!(fixture.bare.show(&head, "a.txt", 2), Err(Error::TooLarge { limit: 2, .. })));
    assert!(matches!(Repository::open(fixture.dir.path()), Err(Error::NotARepository(_))));
}

#[test]
fn a_diff_lists_files_with_their_lines() {
    let fixture = Fixture::new(&[("a.txt", "1\n2\n", "Add a"), ("gone", "x\n", "Add gone")]);
    let old = fixture.bare.resolve("main").unwrap();
    fs::remove_file(fixture.clone().join("gone")).unwrap();
    fs::write(fixture.clone().join("bin"), [0, 1, 2]).unwrap();
    let new = fixture.commit("a.txt", "1\n3\n4\n", "Change");
    fixture.git(&["push", "-q", "../digits.git", "main"]);

    let changes = fixture.bare.changed_files(Some(&old), &new).unwrap();
    let seen: Vec<_> = changes.iter().map(|c| (c.path.as_str(), c.status, c.added, c.removed)).collect();
    assert_eq!(
        seen,
        [
            ("a.txt", FileStatus::Modified, Some(2), Some(1)),
            ("bin", FileStatus::Added, None, None),
            ("gone", FileStatus::Deleted, Some(0), Some(1)),
        ]
    );
    let diff = fixture.bare.diff(Some(&old), &new, &["a.txt"], 10_000).unwrap();
    assert!(diff.text.contains("-2\n+3\n+4\n") && !diff.text.contains("gone"), "{}", diff.text);
    let cut = fixture.bare.diff(None, &new, &[], 40).unwrap();
    assert!(cut.truncated && cut.text.len() == 40);
}

#[test]
fn a_commit_is_made_on_top_of_another_without_a_work_tree() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a"), ("dvc.lock", "old\n", "Add lock")]);
    let parent = fixture.bare.resolve("main").unwrap();
    let author = Signature { name: "Towpath <x>".into(), email: "towpath@localhost".into(), at: Timestamp(1_000_000) };
    let files = [FileContent { path: "dvc.lock".into(), bytes: b"new\n".to_vec() }];
    let commit = || fixture.bare.commit_files("refs/towpath/runs/1", Some(&parent), &files, "Run 1", &author).unwrap();

    let id = commit();
    assert_eq!(fixture.bare.resolve("refs/towpath/runs/1").unwrap(), id);
    assert_eq!(fixture.bare.show(&id, "dvc.lock", 100).unwrap(), b"new\n");
    assert_eq!(fixture.bare.show(&id, "a.txt", 100).unwrap(), b"one\n");
    let info = fixture.bare.commit(&id).unwrap();
    assert_eq!((info.author.as_str(), info.parents.as_slice()), ("Towpath x", [parent.clone()].as_slice()));
    assert_eq!(commit(), id, "the same arguments give the same commit");
    assert_eq!(fixture.bare.resolve("main").unwrap(), parent, "the branch stays");
}

#[test]
fn a_work_tree_is_checked_out_quickly_and_again_after_a_crash() {
    let fixture = Fixture::new(&[("a.txt", "one\n", "Add a"), ("d/b.txt", "two\n", "Add b")]);
    let head = fixture.bare.resolve("main").unwrap();
    let dir = fixture.dir.path().join("runs/1");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("left over"), "x").unwrap();
    let started = Instant::now();
    fixture.bare.worktree_add(&dir, &head).unwrap();
    println!("worktree_add: {:?}", started.elapsed());
    assert_eq!(fs::read_to_string(dir.join("d/b.txt")).unwrap(), "two\n");
    assert!(!dir.join("left over").exists());
    assert_eq!(git(&dir, &["rev-parse", "HEAD"]), head.as_str());
    fixture.bare.worktree_remove(&dir).unwrap();
    assert!(!dir.exists());
    assert_eq!(git(fixture.bare.path(), &["worktree", "list"]).lines().count(), 1);
}

#[test]
fn head_follows_the_first_branch_that_was_pushed() {
    let fixture = Fixture::new(&[]);
    assert_eq!(fixture.bare.point_head_at_a_branch().unwrap(), None, "nothing to point at yet");
    fixture.commit("a.txt", "one\n", "Add a");
    fixture.git(&["push", "-q", "../digits.git", "main:trunk"]);
    assert_eq!(fixture.bare.point_head_at_a_branch().unwrap().as_deref(), Some("trunk"));
    assert_eq!(fixture.bare.point_head_at_a_branch().unwrap(), None);
    git(fixture.dir.path(), &["clone", "-q", "digits.git", "second"]);
    assert!(fixture.dir.path().join("second/a.txt").exists());
}

#[test]
fn a_ref_moves_only_from_where_it_is_expected() {
    let fixture = Fixture::new(&[("a.txt", "1\n", "One"), ("a.txt", "2\n", "Two")]);
    let two = fixture.bare.resolve("main").unwrap();
    let one = fixture.bare.commit(&two).unwrap().parents[0].clone();
    fixture.bare.update_ref("refs/towpath/x", &one, None).unwrap();
    assert!(fixture.bare.update_ref("refs/towpath/x", &two, Some(&two)).is_err());
    fixture.bare.update_ref("refs/towpath/x", &two, Some(&one)).unwrap();
    assert_eq!(fixture.bare.resolve("refs/towpath/x").unwrap(), two);
}
