//! What must survive: commands for data that are killed, that run at the same time, on a full disk and on
//! a cache that cannot be written.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{Home, text};

/// Prints the files of an object store that are not what their names say, or that no object store has.
const UNSOUND: &str = "
import hashlib, pathlib, sys
for path in pathlib.Path(sys.argv[1], 'files/md5').glob('*/*'):
    name = path.parent.name + path.name
    if hashlib.md5(path.read_bytes()).hexdigest() != name.removesuffix('.dir'):
        print(name)
";

const FILES: usize = 1_500;

fn unsound(home: &Home, store: &Path) -> String {
    let python = towpath_testkit::python::program("python").unwrap();
    let output = home.command(python).args(["-c", UNSOUND]).arg(store).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// A repository with a folder of many files, added and pushed to `../store`.
fn repository() -> Home {
    let home = Home::repository();
    for i in 0..FILES {
        home.write(&format!("data/{}/{i}", i % 7), &format!("{i} {}", "x".repeat(i * 7 % 3_000)));
    }
    home.ok(&["add", "data"]);
    home.ok(&["remote", "add", "--default", "store", "../store"]);
    home.ok(&["push"]);
    home
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
}

/// Runs the command again and again, each time killed a little later, until once it ends by itself;
/// after each kill the cache and the remote hold whole objects only. `prepare` brings the state back
/// in which there is much to do.
fn killed_at_many_moments(home: &Home, command: &[&str], prepare: impl Fn()) {
    prepare();
    let started = Instant::now();
    home.ok(command);
    let whole = started.elapsed();
    for part in 1..=4 {
        prepare();
        let mut child = home.towpath(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = Instant::now() + whole * part / 5;
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // It may have ended meanwhile.
        let _ = child.kill();
        child.wait().unwrap();
        for store in [home.path(".dvc/cache"), home.outside("store")] {
            assert_eq!(unsound(home, &store), "", "{command:?} killed after {part}/5 of its time");
        }
        home.ok(command);
    }
}

#[test]
fn a_command_that_was_killed_leaves_whole_objects_and_goes_on_the_next_time() {
    let home = repository();
    let (cache, data, store) = (home.path(".dvc/cache/files"), home.path("data"), home.outside("store"));
    killed_at_many_moments(&home, &["checkout"], || remove(&data));
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");
    killed_at_many_moments(&home, &["push"], || remove(&store));
    assert_eq!(home.ok(&["status", "--cloud"]), "Cache and remote are in sync.\n");
    killed_at_many_moments(&home, &["pull"], || {
        remove(&cache);
        remove(&data);
    });
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 7);

    // Half of what gc looks at is needed.
    killed_at_many_moments(&home, &["gc", "--workspace", "--force"], || {
        for i in 0..FILES / 2 {
            home.write(&format!("other/{i}"), &format!("other {i}"));
        }
        home.ok(&["add", "other"]);
        remove(&home.path("other"));
        fs::remove_file(home.path("other.dvc")).unwrap();
    });
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");
    remove(&data);
    home.ok(&["checkout"]);
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");
}

#[test]
fn two_processes_at_once_both_get_their_data_tracked() {
    let home = Home::repository();
    for folder in ["a", "b"] {
        for i in 0..500 {
            home.write(&format!("{folder}/{i}"), &format!("{folder} {i}"));
        }
    }
    let add = |folder: &str| {
        let mut command = home.towpath(&["add", "--wait-for-lock", folder]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [add("a"), add("b")] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");
    let ignored = home.read(".gitignore");
    assert!(matches!(ignored.as_str(), "/a\n/b\n" | "/b\n/a\n"), "{ignored}");
    assert_eq!(unsound(&home, &home.path(".dvc/cache")), "");
}

/// Runs `script` where `mount` works without being root: in namespaces of its own.
pub(crate) fn in_namespace(home: &Home, script: &str) -> (Option<i32>, String) {
    let mut command: Command = home.command("unshare");
    let script = script.replace("TOWPATH ", concat!(env!("CARGO_BIN_EXE_towpath"), " "));
    let output = command.args(["--map-root-user", "--mount", "sh", "-ec", &script]).output().unwrap();
    (output.status.code(), text(&output.stderr) + &text(&output.stdout))
}

#[test]
fn on_a_full_disk_nothing_is_recorded_and_what_is_there_is_whole() {
    let home = Home::new();
    let script = "
        mount -t tmpfs -o size=6m tmpfs .
        cd \"$PWD\"
        git init -q
        TOWPATH init -q
        mkdir data
        for i in 1 2 3 4; do head -c 1000000 /dev/urandom > data/$i; done
        if TOWPATH add data; then exit 9; fi
        test ! -e data.dvc
        for object in $(find .dvc/cache/files -type f); do
            name=$(basename $(dirname $object))$(basename $object)
            test \"$(md5sum < $object | cut -c1-32)\" = \"$name\"
        done
        rm data/3 data/4
        TOWPATH add data
        TOWPATH status";
    let (code, said) = in_namespace(&home, script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.ends_with("Data and pipelines are up to date.\n"), "{said}");
}

#[test]
fn a_cache_that_cannot_be_written_can_be_read() {
    let home = Home::repository();
    home.write("data/x", "x");
    home.ok(&["add", "data"]);
    let script = "
        mount --bind .dvc/cache .dvc/cache
        mount -o remount,ro,bind .dvc/cache
        rm -r data
        TOWPATH checkout
        TOWPATH status
        echo y > data/y
        if TOWPATH add data; then exit 9; fi
        TOWPATH status";
    let (code, said) = in_namespace(&home, script);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
    assert!(said.ends_with("modified:           data\n"), "the recorded version is the old one: {said}");
}
