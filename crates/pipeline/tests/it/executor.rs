use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use towpath_pipeline::executor::{CommandLine, Progress};
use towpath_pipeline::{Cancel, Ending, Executor as _, Finished, Local, ProcessId, Task, kill_below, kill_orphan, log};

fn task(dir: &Path, lines: &[&str]) -> Task {
    let commands = lines.iter().map(|line| CommandLine::Shell((*line).to_owned())).collect();
    Task {
        variables: vec![
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("DVC_ROOT".into(), dir.display().to_string()),
            ("DVC_STAGE".into(), "train".into()),
        ],
        grace: Duration::from_millis(200),
        ..Task::new(commands, dir.to_owned(), dir.join("train.log"))
    }
}

fn run(task: &Task) -> Finished {
    Local.run(task, &mut |_| {}, &Cancel::new().unwrap()).unwrap()
}

fn printed(task: &Task) -> Vec<String> {
    let lines = log::read(&task.log, 0, 1000).unwrap().lines;
    lines.into_iter().filter(|l| l.stream != log::Stream::Towpath).map(|l| l.text).collect()
}

fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn commands_run_one_after_the_other_until_one_fails() {
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &["echo one", "echo two >&2; exit 3", "echo three"]);
    let finished = run(&task);
    assert_eq!(finished.ending, Ending::Exited(3));
    assert_eq!(printed(&task), ["one", "two"]);
    let notes: Vec<_> = log::read(&task.log, 0, 10).unwrap().lines.into_iter().map(|l| l.text).collect();
    assert_eq!(notes[0], "$ echo one");
    assert!(notes[4].starts_with("exited with 3 after 0.0"), "{notes:?}");
    assert_eq!(finished.log_lines, 5);
}

#[test]
fn nothing_of_the_servers_environment_reaches_a_stage() {
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &["/usr/bin/env"]);
    run(&task);
    let names: Vec<String> = printed(&task).iter().map(|l| l.split('=').next().unwrap().to_owned()).collect();
    assert!(
        names.iter().all(|n| ["PATH", "DVC_ROOT", "DVC_STAGE", "PWD", "OLDPWD", "_", "SHLVL"].contains(&n.as_str())),
        "{names:?}"
    );
}

#[test]
fn a_stage_killed_by_a_signal_says_which() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&task(dir.path(), &["kill -9 $$"])).ending, Ending::Signalled(9));
}

#[test]
fn a_stage_that_hangs_and_ignores_sigterm_is_killed_at_its_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let mut task = task(dir.path(), &["trap '' TERM; echo started; while :; do sleep 1; done"]);
    task.timeout = Some(Duration::from_millis(300));
    let started = Instant::now();
    assert_eq!(run(&task).ending, Ending::TimedOut);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(printed(&task), ["started"]);
}

#[test]
fn a_cancelled_stage_takes_its_children_along() {
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &["sleep 1000 & echo $! > child; wait"]);
    let cancel = Cancel::new().unwrap();
    let child = dir.path().join("child");
    let finished = std::thread::scope(|scope| {
        let running = scope.spawn(|| Local.run(&task, &mut |_| {}, &cancel).unwrap());
        wait_until("the child starts", || fs::read_to_string(&child).is_ok_and(|t| t.ends_with('\n')));
        cancel.cancel();
        running.join().unwrap()
    });
    assert_eq!(finished.ending, Ending::Cancelled);
    let pid = fs::read_to_string(child).unwrap();
    wait_until("the child ends", || !is_running(&pid));
}

#[test]
fn what_a_stage_leaves_in_the_background_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let task = task(dir.path(), &["sleep 1000 & echo $!"]);
    let started = Instant::now();
    assert_eq!(run(&task).ending, Ending::Exited(0));
    assert!(started.elapsed() < Duration::from_secs(5), "the child that holds the pipe is not waited for");
    let pid = printed(&task).concat();
    wait_until("the child ends", || !is_running(&pid));
}

#[test]
fn a_stage_that_daemonises_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    // Two forks and a session of its own, the pipe still open: as daemons do.
    let task = task(dir.path(), &["setsid sh -c 'echo $$ > daemon.pid; sleep 1000 & wait' & sleep 0.2"]);
    let started = Instant::now();
    assert_eq!(run(&task).ending, Ending::Exited(0));
    assert!(started.elapsed() < Duration::from_secs(5), "the daemon that holds the pipe is not waited for");
    let pid = fs::read_to_string(dir.path().join("daemon.pid")).unwrap();
    wait_until("the daemon ends", || !is_running(&pid));
}

#[test]
fn a_stage_that_says_nothing_for_too_long_is_ended_and_one_that_goes_on_printing_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut silent = task(dir.path(), &["echo begins; sleep 1000"]);
    silent.heartbeat = Some(Duration::from_millis(300));
    assert_eq!(run(&silent).ending, Ending::Silent);
    let mut printing = task(dir.path(), &["for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done"]);
    printing.heartbeat = Some(Duration::from_millis(700));
    assert_eq!(run(&printing).ending, Ending::Exited(0));
}

#[test]
fn a_stage_that_takes_more_memory_than_it_asked_for_is_ended_and_what_it_took_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    // A child has the memory, not the leader, and keeps it until its input ends.
    let mut greedy = task(dir.path(), &["(head -c 200000000 /dev/zero; sleep 1000) | tail -c 150000000 > /dev/null"]);
    greedy.resources.memory = Some(100_000_000);
    let mut seen = 0.0_f64;
    let mut measure = |progress| {
        if let Progress::Used(sample) = progress {
            let memory = sample.metrics.iter().find(|(name, _)| *name == "system/system_memory_usage_megabytes");
            seen = seen.max(memory.unwrap().1);
        }
    };
    let finished = Local.run(&greedy, &mut measure, &Cancel::new().unwrap()).unwrap();
    assert_eq!(finished.ending, Ending::OutOfMemory);
    assert_eq!(finished.sandbox, "off; memory watched, no cgroup");
    assert!(seen > 100.0, "{seen} MB");
}

#[test]
fn a_stage_that_prints_much_neither_blocks_nor_fills_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut task = task(dir.path(), &["head -c 200000000 /dev/zero | tr '\\0' x | fold -w 1000"]);
    task.log_limit = 1 << 20;
    assert_eq!(run(&task).ending, Ending::Exited(0));
    assert!(fs::metadata(&task.log).unwrap().len() < 1_100_000);
    let page = log::read(&task.log, 0, 1_000_000).unwrap();
    let last = &page.lines[page.lines.len() - 1].text;
    assert!(last.ends_with("bytes more were printed; the log keeps 1048576"), "{last}");
}

#[test]
fn a_full_disk_ends_the_stage_with_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut task = task(dir.path(), &["yes"]);
    task.log = "/dev/full".into();
    let error = Local.run(&task, &mut |_| {}, &Cancel::new().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write the log /dev/full: No space left on device (os error 28)");
}

#[test]
fn a_program_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut task = task(dir.path(), &[]);
    task.commands = vec![CommandLine::Program(vec!["/no/such/shell".into()])];
    let error = Local.run(&task, &mut |_| {}, &Cancel::new().unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("cannot start /no/such/shell: No such file"), "{error}");
}

#[test]
fn a_group_left_by_a_crashed_server_is_killed_and_no_other() {
    use std::os::unix::process::CommandExt as _;
    let dir = tempfile::tempdir().unwrap();
    let mut id = None;
    let quick = task(dir.path(), &["true"]);
    let remember = &mut |p| {
        if let Progress::Started(started) = p {
            id = Some(started);
        }
    };
    Local.run(&quick, remember, &Cancel::new().unwrap()).unwrap();
    assert!(!kill_orphan(id.unwrap(), &[]), "it is gone");

    let mut left = std::process::Command::new("sleep").arg("1000").process_group(0).spawn().unwrap();
    let pid = i32::try_from(left.id()).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let start_time: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    assert!(!kill_orphan(ProcessId { pid, start_time: start_time + 1 }, &[]), "another process with this number");
    assert!(left.try_wait().unwrap().is_none());
    let reaped = std::thread::spawn(move || left.wait().unwrap());
    assert!(kill_orphan(ProcessId { pid, start_time }, &[]));
    assert!(!reaped.join().unwrap().success());
}

#[test]
fn all_that_runs_for_roots_below_a_folder_is_ended_together() {
    let dir = tempfile::tempdir().unwrap();
    let start = |root: &str| {
        let root = dir.path().join(root);
        std::process::Command::new("sleep").arg("1000").env("DVC_ROOT", root).spawn().unwrap()
    };
    let (first, second, mut other) = (start("runs/1/tree"), start("runs/1/scratch/7/tree"), start("runs/10/tree"));
    let reaped = [first, second].map(|mut left| std::thread::spawn(move || left.wait().unwrap()));
    assert_eq!(kill_below(&dir.path().join("runs/1")), 2);
    assert!(reaped.into_iter().all(|left| !left.join().unwrap().success()));
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn a_line_of_plain_words_means_what_it_means_to_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("no-interpreter.sh");
    fs::write(&script, "echo $1 in $PWD\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let plain = task(dir.path(), &["./no-interpreter.sh first", "expr 1 + 1", "no-such-program --now"]);
    assert_eq!(run(&plain).ending, Ending::Exited(127));
    let printed = printed(&plain);
    assert_eq!(printed[..2], [format!("first in {}", dir.path().display()), "2".to_owned()]);
    assert!(printed[2].contains("no-such-program"), "{printed:?}");
}
