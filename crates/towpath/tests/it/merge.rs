//! Two people, one repository of data: `git merge` with the driver that `towpath init` installs.

use std::path::Path;
use std::process::{Command, Output};

use crate::program::{Home, text};

/// Git with a name, and this build of the program in its path.
fn git(home: &Home) -> Command {
    let mut command = home.command("git");
    let built = Path::new(env!("CARGO_BIN_EXE_towpath")).parent().unwrap();
    let path = std::env::join_paths(
        [built.to_owned()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    command.env("PATH", path.unwrap());
    command.args(["-c", "user.name=test", "-c", "user.email=test@localhost"]);
    command
}

fn commit(home: &Home, message: &str) {
    for arguments in [&["add", "-A"][..], &["commit", "--quiet", "-m", message]] {
        let output = git(home).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

fn merge(home: &Home, branch: &str) -> Output {
    git(home).args(["merge", "--no-edit", branch]).output().unwrap()
}

fn dvc(home: &Home, arguments: &[&str]) -> String {
    let mut command = home.command(towpath_testkit::python::program("dvc").unwrap());
    command.args(arguments).env("DVC_NO_ANALYTICS", "1").env("DVC_SITE_CACHE_DIR", home.outside("site"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "dvc {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// `main` and `other`, which both added to the folder `data`.
fn two_people() -> Home {
    let home = Home::repository();
    home.ok(&["remote", "add", "--default", "store", "../store"]);
    home.write("data/a", "a");
    home.ok(&["add", "data"]);
    commit(&home, "data");
    home.git(&["checkout", "--quiet", "-b", "other"]);
    home.write("data/sub/theirs", "theirs");
    home.ok(&["add", "data"]);
    commit(&home, "theirs");
    home.ok(&["push"]);
    home.git(&["checkout", "--quiet", "main"]);
    home.ok(&["checkout"]);
    home.write("data/ours", "ours!");
    home.ok(&["add", "data"]);
    commit(&home, "ours");
    home
}

#[test]
fn two_people_add_to_one_folder_and_git_merges() {
    let home = two_people();
    assert_eq!(home.read(".gitattributes"), "*.dvc merge=towpath\ndvc.lock merge=towpath\n");
    // Their manifest is on the remote only.
    let pointer = home.git(&["show", "other:data.dvc"]);
    let md5 = pointer.lines().find_map(|line| line.strip_prefix("- md5: ")).unwrap();
    let (first, rest) = md5.split_at(2);
    std::fs::remove_file(home.path(&format!(".dvc/cache/files/md5/{first}/{rest}"))).unwrap();

    let merged = merge(&home, "other");
    assert!(merged.status.success(), "{}{}", text(&merged.stdout), text(&merged.stderr));
    let pointer = home.read("data.dvc");
    assert!(pointer.contains("size: 12\n  nfiles: 3\n"), "{pointer}");
    home.ok(&["checkout"]);
    assert_eq!([home.read("data/a"), home.read("data/ours"), home.read("data/sub/theirs")], ["a", "ours!", "theirs"]);

    // The real `dvc` takes it for its own: clean, complete, and what it would have written.
    assert_eq!(dvc(&home, &["status", "--json"]).trim(), "{}");
    dvc(&home, &["push", "-q"]);
    std::fs::remove_dir_all(home.path(".dvc/cache")).unwrap();
    std::fs::remove_dir_all(home.path("data")).unwrap();
    dvc(&home, &["pull", "-q"]);
    assert_eq!(home.read("data/sub/theirs"), "theirs");
    dvc(&home, &["add", "-q", "data"]);
    assert_eq!(home.read("data.dvc"), pointer);
}

#[test]
fn a_file_that_both_changed_is_named_and_the_merge_waits() {
    let home = two_people();
    home.git(&["checkout", "--quiet", "other"]);
    home.ok(&["checkout", "--force"]);
    home.write("data/ours", "not yours");
    home.ok(&["add", "data"]);
    commit(&home, "theirs again");
    home.git(&["checkout", "--quiet", "main"]);
    let merged = merge(&home, "other");
    assert_eq!(merged.status.code(), Some(1));
    let said = text(&merged.stderr) + &text(&merged.stdout);
    assert!(said.contains("conflict in data.dvc: 'data' has files that were changed on both sides ('ours')"), "{said}");
    let pointer = home.read("data.dvc");
    assert!(pointer.contains("<<<<<<< ours\n") && pointer.contains(">>>>>>> theirs\n"), "{pointer}");
    assert_eq!(home.git(&["diff", "--name-only", "--diff-filter=U"]), "data.dvc\n");
}

#[test]
fn stages_run_on_two_branches_are_merged_in_the_lock_file() {
    let home = Home::repository();
    let lock = |a: &str, b: &str| {
        let stage = |name: &str, cmd: &str| format!("  {name}:\n    cmd: echo {cmd}\n");
        format!("schema: '2.0'\nstages:\n{}{}", stage("a", a), stage("b", b))
    };
    home.write("dvc.lock", &lock("1", "1"));
    commit(&home, "base");
    home.git(&["checkout", "--quiet", "-b", "other"]);
    home.write("dvc.lock", &lock("1", "theirs"));
    commit(&home, "theirs");
    home.git(&["checkout", "--quiet", "main"]);
    home.write("dvc.lock", &lock("ours", "1"));
    commit(&home, "ours");
    // As text, these neighbouring lines would be one conflict.
    let merged = merge(&home, "other");
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    assert_eq!(home.read("dvc.lock"), lock("ours", "theirs"));
}
