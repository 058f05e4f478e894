use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::program::{Home, text};

const PIPELINE: &str = "\
stages:
  double:
    cmd: awk '{print $1 * 2}' numbers.txt > doubled.txt
    deps: [numbers.txt]
    outs: [doubled.txt]
  total:
    cmd: >-
      awk '{s += $1} END {printf \"{\\\"total\\\": %d}\\n\", s}' doubled.txt > total.json
    deps: [doubled.txt]
    metrics:
    - total.json: {cache: false}
";

fn repository() -> Home {
    let home = Home::repository();
    home.write("dvc.yaml", PIPELINE);
    home.write("numbers.txt", "1\n2\n3\n");
    home
}

fn statuses(home: &Home) -> Value {
    let outcome: Value = serde_json::from_str(&home.ok(&["repro", "--json"])).unwrap();
    outcome["stages"].as_array().unwrap().iter().map(|s| json!([s["name"], s["status"]])).collect()
}

#[test]
fn stages_run_once_and_again_when_their_inputs_change() {
    let home = repository();
    let said = home.ok(&["repro"]);
    assert!(said.contains("2 stages ran, 0 reused.\ntotal  12\n"), "{said}");
    assert_eq!(home.ok(&["repro"]).lines().nth(2), Some("Everything was up to date."));
    home.write("numbers.txt", "1\n2\n4\n");
    assert_eq!(statuses(&home), json!([["double", "ran"], ["total", "ran"]]));
    home.write("numbers.txt", "1\n2\n3\n");
    assert_eq!(statuses(&home), json!([["double", "reused"], ["total", "reused"]]), "found in the run cache");
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");
}

#[test]
fn a_stage_that_fails_is_1_and_what_it_printed_is_shown() {
    let home = Home::repository();
    home.write("dvc.yaml", "stages:\n  train:\n    cmd: echo out of luck >&2; exit 3\n    outs: [model]\n");
    let output = home.run(&["repro"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("out of luck"), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.ends_with("train: exited with 3\nFailed: stage 'train' exited with 3\n"), "{said}");
}

#[test]
fn a_stage_that_is_named_runs_with_what_it_needs() {
    let home = repository();
    home.ok(&["repro", "double"]);
    assert!(home.path("doubled.txt").exists() && !home.path("total.json").exists());
    let (code, said) = home.fails(&["repro", "train"]);
    assert_eq!(code, 3);
    assert!(said.contains("there is no stage 'train'") && said.contains("hint: stages: double, total"), "{said}");
}

#[test]
fn stages_track_their_runs_in_the_repository_unless_told_otherwise() {
    let home = Home::repository();
    home.write("dvc.yaml", "stages:\n  show:\n    cmd: echo \"$MLFLOW_TRACKING_URI token $MLFLOW_TRACKING_TOKEN\" > uri\n    outs: [uri]\n");
    home.ok(&["repro"]);
    assert_eq!(home.read("uri"), format!("file:{} token \n", home.path("mlruns").display()));
    let mut command = home.towpath(&["repro", "--force"]);
    command.env("MLFLOW_TRACKING_URI", "http://127.0.0.1:1").env("MLFLOW_TRACKING_TOKEN", "tp_x");
    assert!(command.output().unwrap().status.success());
    assert_eq!(home.read("uri"), "http://127.0.0.1:1 token tp_x\n");
}

#[test]
fn accepted_batches_are_the_baseline_of_the_next_check() {
    let home = Home::repository();
    home.write("checks/x.yaml", "format: csv\ncolumns:\n  x: {type: number}\nbatch_statistics:\n- {columns: x, statistic: mean, tolerance: {sd: 4}}\n");
    home.write("towpath.yaml", "checks:\n  x: {path: weeks, suite: checks/x.yaml, on_fail: stop}\n");
    home.write(
        "dvc.yaml",
        "stages:\n  all:\n    cmd: cat weeks/*.csv > all.csv\n    deps: [weeks]\n    outs: [all.csv]\n",
    );
    for week in 1..=4 {
        home.write(&format!("weeks/{week}.csv"), &format!("x\n1\n2\n3.{week}\n"));
    }
    home.ok(&["add", "weeks"]);
    home.ok(&["repro"]);
    home.write("weeks/5.csv", "x\n100\n101\n");
    home.ok(&["add", "weeks"]);
    let output = home.run(&["repro"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("5.csv: mean of x is 100"), "{}", text(&output.stdout));
}

/// Also what the real client says afterwards.
#[test]
fn pipelines_of_several_folders_run_side_by_side_and_changed_data_is_recorded() {
    let home = Home::repository();
    home.write(
        "dvc.yaml",
        "stages:\n  a: {cmd: cp raw a, deps: [raw], outs: [a]}\n  b: {cmd: cp raw b, deps: [raw], outs: [b]}\n",
    );
    home.write("sub/dvc.yaml", "stages: {x: {cmd: 'cat ../a ../b > x', deps: [../a, ../b], outs: [x]}}\n");
    home.write("raw", "1\n");
    home.ok(&["add", "raw"]);
    let said = home.ok(&["repro", "sub/dvc.yaml:x", "-j", "2"]);
    assert!(said.contains("3 stages ran"), "{said}");
    home.write("raw", "2\n");
    let said = home.ok(&["repro", "--all-pipelines", "--dry"]);
    assert!(said.contains("raw.dvc: would record the data that is there now\n"), "{said}");
    assert!(said.contains("a: would run: raw changed\n> cp raw a\n") && said.contains("2 stages would run."), "{said}");
    assert_eq!(home.read("a"), "1\n");
    let said = home.ok(&["repro", "--recursive", "sub"]);
    assert!(said.contains("raw.dvc: records the data that is there now\n") && said.contains("3 stages ran"), "{said}");
    assert_eq!(home.read("sub/x"), "2\n2\n");
    let dvc = towpath_testkit::python::program("dvc").unwrap();
    let status = home.command(dvc).args(["status", "--json"]).output().unwrap();
    assert_eq!(text(&status.stdout).trim(), "{}", "{}", text(&status.stderr));
    let said = home.ok(&["repro", "--single-item", "--force", "--glob", "[b]"]);
    assert_eq!(said, "b: runs: it was asked to run whatever changed\n".to_owned() + said.split_once('\n').unwrap().1);
    assert!(said.ends_with("1 stage ran, 0 reused.\n"), "{said}");
    let said = home.ok(&["repro", "--downstream", "b", "--dry", "--force"]);
    assert!(said.contains("2 stages would run."), "{said}");
    home.write("raw", "3\n");
    home.ok(&["repro", "raw.dvc"]);
    assert!(home.read("raw.dvc").contains("6d7fce9fee471194aa8b5b6e47267f03"), "{}", home.read("raw.dvc"));
    assert_eq!(home.read("a"), "2\n");
}

#[test]
fn what_was_made_elsewhere_is_pulled_instead_of_made_again() {
    let home = repository();
    let remote = home.path("remote").display().to_string();
    home.ok(&["remote", "add", "-d", "origin", &remote]);
    home.ok(&["repro"]);
    home.ok(&["push", "--run-cache"]);
    std::fs::remove_dir_all(home.path(".dvc/cache")).unwrap();
    for path in ["doubled.txt", "total.json", "dvc.lock"] {
        std::fs::remove_file(home.path(path)).unwrap();
    }
    let outcome: Value = serde_json::from_str(&home.ok(&["repro", "--pull", "--json"])).unwrap();
    assert_eq!(outcome["stages"][0]["status"], "reused", "{outcome}");
    assert_eq!(home.read("doubled.txt"), "2\n4\n6\n");
}

#[test]
fn a_kill_under_parallel_stages_leaves_a_lock_that_reads_and_finished_stages_stay_finished() {
    let home = Home::repository();
    let gate = home.outside("gate");
    let mut pipeline = "stages:\n".to_owned();
    for at in 0..8 {
        // The first four end by themselves, the others wait.
        let wait =
            if at < 4 { String::new() } else { format!("while [ ! -e {} ]; do sleep 0.02; done; ", gate.display()) };
        writeln!(pipeline, "  s{at}: {{cmd: '{wait}echo {at} > out{at}', outs: [out{at}]}}").unwrap();
    }
    home.write("dvc.yaml", &pipeline);
    let mut running = home.towpath(&["repro", "-j", "4"]).spawn().unwrap();
    let locked = || -> Vec<String> {
        let text = std::fs::read_to_string(home.path("dvc.lock")).unwrap_or_default();
        if text.is_empty() {
            return Vec::new();
        }
        let lock = towpath_yaml::parse("dvc.lock", &text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let stages = lock.root().get("stages").unwrap().to_json();
        stages.as_object().unwrap().keys().cloned().collect()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    let finished = loop {
        let finished = locked();
        if finished.len() >= 4 {
            break finished;
        }
        assert!(std::time::Instant::now() < deadline, "only {finished:?} are in the lock");
        std::thread::yield_now();
    };
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(locked(), finished);
    std::fs::write(&gate, "").unwrap();
    let outcome: Value = serde_json::from_str(&home.ok(&["repro", "-j", "4", "--json"])).unwrap();
    for stage in outcome["stages"].as_array().unwrap() {
        let name = stage["name"].as_str().unwrap();
        let was_finished = finished.iter().any(|known| known == name);
        assert_eq!(stage["status"] == "reused", was_finished, "{stage}");
    }
    assert_eq!(locked().len(), 8);
    let dvc = towpath_testkit::python::program("dvc").unwrap();
    let status = home.command(dvc).args(["status", "--json"]).output().unwrap();
    assert_eq!(text(&status.stdout).trim(), "{}", "{}", text(&status.stderr));
}

#[test]
fn a_stage_runs_when_it_is_added_and_nobody_to_ask_is_a_no() {
    let home = repository();
    home.ok(&[
        "stage",
        "add",
        "--run",
        "-n",
        "copy",
        "-d",
        "numbers.txt",
        "-o",
        "copied.txt",
        "cp numbers.txt copied.txt",
    ]);
    assert_eq!(home.read("copied.txt"), "1\n2\n3\n");
    assert!(home.read("dvc.lock").contains("copied.txt"));
    assert!(!home.path("doubled.txt").exists(), "other stages run when they are asked for");
    let output = home.run(&["repro", "--interactive"]);
    assert!(!home.path("doubled.txt").exists(), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("nobody is here to ask"), "{}", text(&output.stderr));
    assert_ne!(output.status.code(), Some(0));
}
