//! `kill -9` of the server at random moments, again and again, while many runs go on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::installation::{Installation, eventually};

/// `TOWPATH_STORM_RUNS=200` makes the whole of it.
fn runs() -> i64 {
    std::env::var("TOWPATH_STORM_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(10)
}

const STAGES: [&str; 4] = ["left", "right", "join", "end"];

/// Twenty lines, then a note that it came to its end: (run, stage) in a file that stages may write.
fn script(notes: &Path) -> String {
    format!(
        "for i in $(seq 20); do echo line $i; done\nsleep 0.1\necho \"$(basename $(dirname $PWD)) $1\" >> {}\n\
         echo $1 > $1.txt\n",
        notes.display()
    )
}

const PIPELINE: &str = "\
stages:
  right: {cmd: sh stage.sh right, deps: [stage.sh], outs: [right.txt]}
  join: {cmd: sh stage.sh join, deps: [left.txt, right.txt], outs: [join.txt]}
  end: {cmd: sh stage.sh end, deps: [join.txt], outs: [end.txt]}
";

/// With a lock of its own.
const IN_A_FOLDER: &str = "\
stages:
  left: {wdir: .., cmd: sh stage.sh left, deps: [stage.sh], outs: [left.txt]}
";

/// As the server calls it.
fn full_name(stage: &str) -> String {
    if stage == "left" { "folder/dvc.yaml:left".to_owned() } else { stage.to_owned() }
}

/// A file in shared memory, which every stage may write; gone with the test.
struct Notes(PathBuf);

impl Notes {
    fn new() -> Self {
        Self(PathBuf::from(format!("/dev/shm/towpath-storm-{}", std::process::id())))
    }

    /// How often each stage of each run came to its end.
    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for line in fs::read_to_string(&self.0).unwrap_or_default().lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        counts
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What the server says is done: `7 join`.
async fn succeeded(installation: &Installation, number: i64) -> Vec<String> {
    let run = installation.get(&format!("/projects/digits/runs/{number}")).await;
    let stages = run["stages"].as_array().unwrap().iter();
    let done = stages.filter(|stage| stage["status"] == "succeeded");
    done.map(|stage| format!("{number} {}", stage["name"].as_str().unwrap().rsplit(':').next().unwrap())).collect()
}

#[tokio::test]
async fn every_stage_runs_the_right_number_of_times_no_line_is_lost_and_nothing_is_left_over() {
    let notes = Notes::new();
    let mut installation = Installation::stopped();
    installation.write("dvc.yaml", PIPELINE);
    installation.write("folder/dvc.yaml", IN_A_FOLDER);
    installation.write("stage.sh", &script(&notes.0));
    installation.write("towpath.yaml", "on: {manual: {params: {}}}\n");
    installation.start().await;
    installation.push("A storm");
    let runs = runs();
    for _ in 0..runs {
        let asked = json!({"ref": "main", "force": true});
        let (status, run) = installation.call("POST", "/api/v1/projects/digits/runs", None, Some(asked)).await;
        assert_eq!(status, 201, "{run}");
    }

    // Of these it was known, before a kill, that they were done, and how often they had been run.
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut open: BTreeSet<i64> = (1..=runs).collect();
    let mut random: u64 = 0x5DEE_CE66;
    let mut kills = 0;
    while !open.is_empty() {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(100 + (random >> 33) % 900)).await;
        for number in open.clone() {
            for stage in succeeded(&installation, number).await {
                let times = notes.counts()[&stage];
                known.entry(stage).or_insert(times);
            }
            let run = installation.get(&format!("/projects/digits/runs/{number}")).await;
            if run["finished_at"] != Value::Null {
                assert_eq!(run["status"], "succeeded", "{run:#}");
                open.remove(&number);
            }
        }
        if !open.is_empty() {
            installation.kill_server();
            kills += 1;
            installation.start().await;
        }
    }
    let counts = notes.counts();
    for number in 1..=runs {
        for stage in STAGES {
            let name = format!("{number} {stage}");
            let times = counts.get(&name).copied().unwrap_or(0);
            assert!(times >= 1, "{name} never came to its end");
            assert_eq!(times, known[&name], "{name} was run again after it was done");
            let log = format!("/projects/digits/runs/{number}/stages/{}/log", full_name(stage).replace('/', "%2F"));
            let log = installation.get(&log).await;
            let lines = log["lines"].as_array().unwrap().iter().filter(|line| line["stream"] == "out");
            let lines: Vec<&str> = lines.map(|line| line["text"].as_str().unwrap()).collect();
            let expected: Vec<String> = (1..=20).map(|at| format!("line {at}")).collect();
            assert_eq!(lines, expected, "{name}");
        }
    }
    // A stage may have come to its end unseen, just before a kill: once for each kill at most.
    let extra: usize = counts.values().map(|times| times - 1).sum();
    assert!(kills > 0 && extra <= kills * 4, "{extra} stages again after {kills} kills");
    eventually("nothing of the stages is left", async || installation.children().is_empty().then_some(())).await;
}
