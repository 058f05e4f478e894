//! `kill -9` while data is added: what is there is whole, and the next `add` goes on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use towpath_data::{Cache, Oid, Repository, Silent, verbs};

use crate::support::Project;

/// The folder that the child process works in; set by the test below only.
const CHILD: &str = "TOWPATH_TEST_CRASH";

#[test]
fn killed_while_adding_leaves_only_whole_objects() {
    if let Some(root) = std::env::var_os(CHILD) {
        let repository = Repository::open(Path::new(&root)).unwrap();
        verbs::add(&repository, &[PathBuf::from("data")], &[], &Silent).unwrap();
        return;
    }
    let project = Project::ours();
    for i in 0..400 {
        project.write(&format!("data/{i}"), format!("{i}").repeat(20_000));
    }
    let objects = project.root().join(".dvc/cache/files/md5");
    for wanted in [1, 100, 200] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::killed_while_adding_leaves_only_whole_objects"])
            .env(CHILD, project.root())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while stored(&objects).len() < wanted && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let stored = stored(&objects);
        assert!(stored.len() >= wanted, "{} objects", stored.len());
        let checked = Cache::open(&project.beside("checked"));
        for path in stored {
            let oid = Oid::parse(&path.strip_prefix(&objects).unwrap().to_str().unwrap().replace('/', "")).unwrap();
            // Receiving compares the bytes with the name.
            checked.receive(&oid, File::open(&path).unwrap()).unwrap();
        }
    }
    verbs::add(&project.repository(), &[PathBuf::from("data")], &[], &Silent).unwrap();
    assert_eq!(project.dvc(&["status", "--json"]).trim(), "{}");
    let all = stored(&objects);
    assert_eq!(all.len(), 400);
}

/// Paths of the objects that are files.
fn stored(objects: &Path) -> Vec<PathBuf> {
    let Ok(folders) = fs::read_dir(objects) else { return Vec::new() };
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_none()).collect()
}
