//! Both tools at once on one repository: whoever comes second is kept off what the first is at.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use towpath_data::{Error, Role, Silent, Stage, Targets, TrackedOutput, verbs};

use crate::support::{Project, python_environment};

const DEADLINE: Duration = Duration::from_mins(1);

/// A stage that reads `data` and writes `out`, and does not end before somebody writes into `gate`.
fn project_with_a_slow_stage() -> (Project, Vec<Stage>) {
    let project = Project::by_dvc();
    project.write("data", "1");
    project.write("other", "2");
    project.dvc(&["add", "-q", "data", "other"]);
    let cmd = "cat gate > /dev/null && cp data out";
    project.write("dvc.yaml", format!("stages:\n  slow:\n    cmd: {cmd}\n    deps: [data]\n    outs: [out]\n"));
    let made = Command::new("mkfifo").arg(project.root().join("gate")).status().unwrap();
    assert!(made.success());
    let output = TrackedOutput {
        path: "out".to_owned(),
        written: "out".to_owned(),
        content: None,
        cached: true,
        push: true,
        remote: None,
        role: Role::Data,
        versions: None,
        import: None,
        declared_by: "slow".to_owned(),
    };
    let stage = Stage {
        file: "dvc.yaml".to_owned(),
        name: Some("slow".to_owned()),
        deps: vec!["data".to_owned()],
        outputs: vec![output],
    };
    (project, vec![stage])
}

/// Waits until a stage of the process writes `out`, by DVC's table.
fn wait_until_it_runs(project: &Project, process: &mut Child) {
    let table = project.root().join(".dvc/tmp/rwlock");
    let out = project.root().canonicalize().unwrap().join("out").display().to_string();
    let entered = || {
        let text = fs::read_to_string(&table).unwrap_or_default();
        let table: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        table["write"].get(&out).is_some() && project.repository().lock().is_ok()
    };
    let begun = Instant::now();
    while !entered() {
        assert!(process.try_wait().unwrap().is_none(), "dvc repro ended");
        assert!(begun.elapsed() < DEADLINE, "the stage does not begin");
        thread::yield_now();
    }
}

#[test]
fn what_a_stage_of_dvc_works_on_is_left_alone_and_everything_else_is_free() {
    let (project, stages) = project_with_a_slow_stage();
    let mut dvc = project.dvc_command(&["repro"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until_it_runs(&project, &mut dvc);

    let repository = project.repository();
    let add = |path: &str| verbs::add(&repository, &[PathBuf::from(path)], &stages, &Silent);
    let refused = add("data").unwrap_err();
    let by = |pid: i32| matches!(&refused, Error::Busy { holders, .. } if holders[0].pid == pid);
    assert!(by(dvc.id().cast_signed()), "{refused}");
    assert!(refused.to_string().ends_with("dvc repro"), "{refused}");
    let out = Targets::named(repository.root(), ["out"]);
    let refused = verbs::checkout(&repository, &stages, &out, verbs::CheckoutOptions::default(), &Silent);
    assert!(matches!(refused, Err(Error::Busy { .. })));
    add("other").unwrap();

    fs::write(project.root().join("gate"), "go").unwrap();
    assert!(dvc.wait().unwrap().success());
    add("data").unwrap();
    assert_eq!(fs::read_to_string(project.root().join("out")).unwrap(), "1");
}

#[test]
fn dvc_leaves_alone_what_we_work_on() {
    let project = Project::by_dvc();
    project.write("data/x", "1");
    project.write("other", "2");
    let held = project.repository().lock_to_write(["data/x"]).unwrap();
    let refused = project.try_dvc(&["add", "data"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("is busy") && said.contains(&format!("(PID {})", std::process::id())), "{said}");
    project.dvc(&["add", "-q", "other"]);
    drop(held);
    project.dvc(&["add", "-q", "data"]);
}

#[test]
fn with_linked_locks_either_tool_keeps_the_other_out() {
    let project = Project::by_dvc();
    project.write("a", "a");
    project.configure(&[("core.hardlink_lock", "true")]);
    let held = project.repository().lock().unwrap();
    let refused = project.try_dvc(&["add", "a"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Unable to acquire lock"));
    drop(held);
    project.dvc(&["add", "-q", "a"]);

    let mut dvc = hold_by_dvc(&project.root().join(".dvc/tmp"));
    assert!(matches!(project.repository().lock(), Err(Error::Locked { .. })));
    dvc.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(dvc.wait().unwrap().success());
    verbs::add(&project.repository(), &[PathBuf::from("a")], &[], &Silent).unwrap();
}

/// DVC's own lock of that kind, held until it is written to.
fn hold_by_dvc(tmp_dir: &Path) -> Child {
    let script = "import os, sys\nfrom dvc.lock import make_lock\n\
        lock = make_lock(os.path.join(sys.argv[1], 'lock'), tmp_dir=sys.argv[1], hardlink_lock=True)\n\
        lock.lock()\nprint('held', flush=True)\nsys.stdin.readline()\nlock.unlock()\n";
    let mut command = Command::new(python_environment().join("bin/python"));
    command.args(["-c", script]).arg(tmp_dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said.trim(), "held");
    child
}
