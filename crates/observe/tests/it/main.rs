//! Real processes, observed.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use towpath_observe::{Observation, observer};

/// Runs a command on a thread that is observed.
fn observed(mut command: Command) -> (Output, Observation) {
    let (observer, start) = observer().unwrap();
    let output = thread::spawn(move || {
        start.start();
        command.output().unwrap()
    });
    let output = output.join().unwrap();
    (output, observer.finish())
}

fn shell(folder: &Path, script: &str) -> (Output, Observation) {
    let mut command = Command::new("sh");
    command.args(["-c", script]).current_dir(folder);
    observed(command)
}

/// What was read beneath the folder, by name.
fn names(observation: &Observation, folder: &Path) -> Vec<PathBuf> {
    observation.files.keys().filter_map(|path| path.strip_prefix(folder).ok()).map(Path::to_owned).collect()
}

#[test]
fn files_that_are_read_are_noted_and_those_that_are_written_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::write(root.join("in.txt"), "in\n").unwrap();
    fs::write(root.join("old.txt"), "old\n").unwrap();
    fs::create_dir(root.join("folder")).unwrap();
    let (output, seen) = shell(&root, "cat in.txt > out.txt; cat out.txt missing; echo x > old.txt; ls folder");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "in\n");
    assert_eq!(names(&seen, &root), [Path::new("in.txt")]);
    assert_eq!(seen.files[&root.join("in.txt")].program, "cat");
    assert!(!seen.incomplete && seen.peers.is_empty());
}

#[test]
fn a_link_is_noted_with_the_file_behind_it_and_relative_paths_from_where_the_process_stands() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("deep/er")).unwrap();
    fs::write(root.join("real.txt"), "real\n").unwrap();
    std::os::unix::fs::symlink("../real.txt", root.join("deep/link.txt")).unwrap();
    std::os::unix::fs::symlink("deep", root.join("way")).unwrap();
    let (_, seen) = shell(&root, "cd way/er && (exec 3<../link.txt; cat <&3; cat /proc/self/fd/3)");
    assert_eq!(names(&seen, &root), [Path::new("deep/link.txt"), Path::new("real.txt")]);
    assert_eq!(seen.files[&root.join("deep/link.txt")].target, Some(root.join("real.txt")));
}

#[test]
fn a_connection_is_noted_and_name_servers_are_not() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new("python3");
    let script = format!(
        "import socket; socket.create_connection(('127.0.0.1', {})); socket.socket(type=socket.SOCK_DGRAM).connect(('127.0.0.1', 53))",
        address.port()
    );
    command.args(["-c", &script]);
    let (output, seen) = observed(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(seen.peers.keys().collect::<Vec<_>>(), [&address]);
    assert!(seen.peers[&address].starts_with("python3"));
}

#[test]
fn two_hundred_processes_at_once_all_come_to_their_end() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for at in 0..200 {
        fs::write(root.join(format!("f{at}")), "x\n").unwrap();
    }
    let (output, seen) = shell(&root, "for i in $(seq 0 199); do cat f$i & done | wc -l; wait");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "200");
    assert_eq!(names(&seen, &root).len(), 200);
}
