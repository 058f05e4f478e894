//! Inputs that nobody declared: named in the stage's record, or refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use towpath_core::{InputKind, UndeclaredInput};
use towpath_pipeline::{Request, StageStatus, Status};

use crate::repository::Repo;

fn names(undeclared: &[UndeclaredInput], kind: InputKind) -> Vec<&str> {
    undeclared.iter().filter(|input| input.kind == kind).map(|input| input.name.as_str()).collect()
}

/// A way to read `hidden/a.csv` without saying so; what is named.
const WAYS: [(&str, &str, &str); 24] = [
    ("a path in a variable", "P=hidden/a.csv; cat $P", "hidden/a.csv"),
    ("a path that is put together", "cat hid''den/$(echo a).csv", "hidden/a.csv"),
    ("a symbolic link", "cat link.csv", "link.csv -> hidden/a.csv"),
    ("a link to a folder", "cat linked/a.csv", "hidden/a.csv"),
    ("a pattern of the shell", "cat hidden/*.csv", "hidden/a.csv"),
    (
        "a pattern of Python",
        "python3 -c \"import glob; [open(p).read() for p in glob.glob('h*/a.csv')]\"",
        "hidden/a.csv",
    ),
    ("a child process", "python3 -c \"import subprocess; subprocess.run(['cat', 'hidden/a.csv'])\"", "hidden/a.csv"),
    ("a file opened before exec", "exec 3< hidden/a.csv; exec python3 -c \"import os; os.read(3, 9)\"", "hidden/a.csv"),
    ("standard input", "wc -l < hidden/a.csv", "hidden/a.csv"),
    ("standard input, reopened", "cat /dev/stdin < hidden/a.csv", "hidden/a.csv"),
    (
        "a memory map",
        "python3 -c \"import mmap; mmap.mmap(open('hidden/a.csv').fileno(), 0, access=mmap.ACCESS_READ)[:1]\"",
        "hidden/a.csv",
    ),
    (
        "a raw descriptor",
        "python3 -c \"import os; os.pread(os.open('hidden/a.csv', os.O_RDONLY), 9, 0)\"",
        "hidden/a.csv",
    ),
    (
        "a descriptor of the folder",
        "python3 -c \"import os; os.open('a.csv', os.O_RDONLY, dir_fd=os.open('hidden', os.O_DIRECTORY))\"",
        "hidden/a.csv",
    ),
    ("another working folder", "(cd hidden && cat a.csv)", "hidden/a.csv"),
    ("the folder of the process", "cat /proc/self/cwd/hidden/a.csv", "hidden/a.csv"),
    ("a detour", "cat ./hidden/../hidden//a.csv", "hidden/a.csv"),
    ("a module", "python3 -c 'import helper'", "helper.py"),
    ("a script", "./tool.sh", "tool.sh"),
    ("a sourced script", ". ./tool.sh", "tool.sh"),
    ("a copy", "cp hidden/a.csv copy.csv; cat copy.csv", "hidden/a.csv"),
    (
        "a thread",
        "python3 -c \"import threading; t = threading.Thread(target=lambda: open('hidden/a.csv').read()); t.start(); t.join()\"",
        "hidden/a.csv",
    ),
    (
        "a pool of processes",
        "python3 -c \"import os; p = os.fork(); (open('hidden/a.csv').read(), os._exit(0)) if p == 0 else os.waitpid(p, 0)\"",
        "hidden/a.csv",
    ),
    ("a process of another session", "setsid cat hidden/a.csv", "hidden/a.csv"),
    (
        "a database",
        "python3 -c \"import sqlite3; sqlite3.connect('file:hidden/d.db?mode=ro', uri=True).execute('select * from t').fetchall()\"",
        "hidden/d.db",
    ),
];

#[test]
fn every_way_to_read_a_hidden_input_is_named() {
    let mut missed = Vec::new();
    let mut text = "stages:\n".to_owned();
    for (at, (_, command, _)) in WAYS.iter().enumerate() {
        let command = serde_json::to_string(&format!("{command} > /dev/null; echo done > out{at}")).unwrap();
        writeln!(text, "  s{at}: {{cmd: [{command}], outs: [out{at}]}}").unwrap();
    }
    // What replaces the shell makes no output afterwards.
    let text =
        text.replace("os.read(3, 9)\\\" > /dev/null; echo done > out7\"", "os.read(3, 9); open('out7', 'w')\\\"\"");
    let repo = Repo::with(&text);
    repo.write("hidden/a.csv", "1,2\n");
    repo.write("helper.py", "x = 1\n");
    repo.write("tool.sh", "#!/bin/sh\ntrue\n");
    let database = std::process::Command::new("python3")
        .args(["-c", "import sqlite3; c = sqlite3.connect('hidden/d.db'); c.execute('create table t (x)'); c.commit()"])
        .current_dir(repo.root())
        .status();
    assert!(database.unwrap().success());
    std::os::unix::fs::symlink("hidden/a.csv", repo.root().join("link.csv")).unwrap();
    std::os::unix::fs::symlink("hidden", repo.root().join("linked")).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(repo.root().join("tool.sh"), executable).unwrap();
    let outcome = repo.try_run(&Request { jobs: 2, ..repo.request() }).unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{:?}", outcome.error);
    let found: BTreeMap<&str, Vec<String>> = outcome
        .stages
        .iter()
        .map(|stage| (stage.stage.as_str(), stage.undeclared.iter().map(ToString::to_string).collect()))
        .collect();
    for (at, (way, _, expected)) in WAYS.iter().enumerate() {
        let found = &found[format!("s{at}").as_str()];
        if *found != [(*expected).to_owned()] {
            missed.push(format!("{way}: {found:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn what_is_declared_made_by_the_stage_or_of_the_system_is_not_named() {
    let repo = Repo::with(
        "stages:\n  a:\n    cmd: cat data/x data/deep/y params.yaml config/only.txt > tmp; cat tmp > out; cat out; \
         git status > /dev/null; python3 -c 'import json, sqlite3, urllib.request'; ./tool\n    \
         deps: [data, config/only.txt, tool]\n    params: [lr]\n    outs: [out]\n",
    );
    repo.write("params.yaml", "lr: 1\n");
    repo.write("data/x", "x\n");
    repo.write("data/deep/y", "y\n");
    repo.write("config/only.txt", "z\n");
    repo.write("tool", "#!/bin/sh\ncat data/x\n");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(repo.root().join("tool"), executable).unwrap();
    let outcome = repo.run();
    let stage = &outcome.stages[0];
    assert_eq!((stage.status, stage.undeclared.as_slice()), (StageStatus::Ran, [].as_slice()));
    let files: usize = stage.observed.strip_suffix(" files").unwrap().parse().unwrap();
    assert!(files > 20, "{}", stage.observed);
}

#[test]
fn files_elsewhere_and_connections_are_named_and_a_policy_refuses_them() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = format!("import socket; socket.create_connection(('127.0.0.1', {}))", address.port());
    let repo = Repo::with("");
    let elsewhere = repo.outside().join("elsewhere.csv");
    fs::write(&elsewhere, "1\n").unwrap();
    let elsewhere = elsewhere.to_str().unwrap();
    repo.write(
        "dvc.yaml",
        &format!("stages:\n  a:\n    cmd: cat {elsewhere} > out; python3 -c \"{connect}\"\n    outs: [out]\n"),
    );
    let outcome = repo.run();
    let undeclared = &outcome.stages[0].undeclared;
    assert_eq!(names(undeclared, InputKind::Elsewhere), [elsewhere]);
    assert_eq!(undeclared[0].program, "cat");
    assert_eq!(names(undeclared, InputKind::Network), [address.to_string()]);

    repo.write("towpath.yaml", "stages: {a: {undeclared: refuse}}\n");
    let refused = repo.try_run(&Request { force: true, ..repo.request() }).unwrap();
    let expected = format!("stage 'a' read what it does not declare: {elsewhere}, {address}");
    assert_eq!(refused.error.as_deref(), Some(expected.as_str()));
    let unconfined = repo.try_run(&Request { sandbox: false, force: true, ..repo.request() }).unwrap();
    assert_eq!(
        unconfined.error.as_deref(),
        Some("stage 'a' may read nothing undeclared, and that could not be looked at: it is not confined")
    );

    repo.write("towpath.yaml", "stages: {a: {undeclared: allow}}\n");
    let allowed = repo.try_run(&Request { force: true, ..repo.request() }).unwrap();
    assert_eq!((allowed.stages[0].undeclared.len(), allowed.stages[0].observed.as_str()), (0, ""));
}
