//! Stages that run side by side, failures that do not stop the rest, decisions without a run.

use std::fmt::Write as _;

use towpath_pipeline::engine::{OnFailure, Reach};
use towpath_pipeline::{Request, StageStatus, Status};
use towpath_plan::lock::Lock;

use crate::repository::{Repo, dvc, statuses};

fn repo(pipeline: &str) -> Repo {
    let repo = Repo::new();
    repo.write("dvc.yaml", pipeline);
    repo
}

#[test]
fn stages_that_wait_for_each_other_end_when_they_run_side_by_side() {
    // Each makes a file that the other waits for: one after the other they would never end.
    let wait = "for i in $(seq 400); do [ -e";
    let repo = repo(&format!(
        "stages:\n  a:\n    cmd: touch a.here; {wait} b.here ] && break; sleep 0.05; done; [ -e b.here ] && echo a > a\n    outs: [a]\n  b:\n    cmd: touch b.here; {wait} a.here ] && break; sleep 0.05; done; [ -e a.here ] && echo b > b\n    outs: [b]\n  c:\n    cmd: cat a b > c\n    deps: [a, b]\n    outs: [c]\n"
    ));
    let request = Request { jobs: 2, ..repo.request() };
    let outcome = repo.try_run(&request).unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{:?}", outcome.error);
    assert_eq!(outcome.stages.last().unwrap().stage, "c");
    assert_eq!(repo.read("c"), "a\nb\n");
    assert_eq!(dvc(&repo.root(), &["status", "--json"]).trim(), "{}");
}

#[test]
fn forty_stages_at_once_leave_a_lock_with_all_of_them() {
    let mut text = "stages:\n".to_owned();
    for at in 0..40 {
        writeln!(text, "  s{at}: {{cmd: echo {at} > out{at}, outs: [out{at}]}}").unwrap();
    }
    let repo = repo(&text);
    let outcome = repo.try_run(&Request { jobs: 8, ..repo.request() }).unwrap();
    assert_eq!(outcome.status, Status::Succeeded, "{:?}", outcome.error);
    let lock = Lock::read("dvc.lock", &repo.read("dvc.lock")).unwrap();
    assert_eq!(lock.stages.len(), 40);
    assert_eq!(outcome.lock_text, repo.read("dvc.lock"));
    let again = repo.try_run(&Request { jobs: 8, ..repo.request() }).unwrap();
    assert!(again.stages.iter().all(|stage| stage.status == StageStatus::Reused));
}

const FAILING: &str = "\
stages:
  bad: {cmd: exit 3, outs: [bad]}
  after: {cmd: touch after, deps: [bad], outs: [after]}
  good: {cmd: touch good, outs: [good]}
";

#[test]
fn what_does_not_need_a_failed_stage_goes_on_when_asked_to() {
    let repo = repo(FAILING);
    let stopped = repo.run();
    assert_eq!(
        statuses(&stopped),
        [("bad", StageStatus::Failed), ("after", StageStatus::Skipped), ("good", StageStatus::Skipped)]
    );
    let outcome = repo.try_run(&Request { on_failure: OnFailure::KeepGoing, ..repo.request() }).unwrap();
    assert_eq!(
        statuses(&outcome),
        [("bad", StageStatus::Failed), ("after", StageStatus::Skipped), ("good", StageStatus::Ran)]
    );
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.stages[1].skipped_because, "not looked at: stage 'bad' exited with 3");
    let ignored = repo.try_run(&Request { on_failure: OnFailure::Ignore, ..repo.request() }).unwrap();
    assert_eq!(ignored.status, Status::Succeeded);
    assert_eq!(
        statuses(&ignored),
        [("bad", StageStatus::Failed), ("after", StageStatus::Failed), ("good", StageStatus::Reused)]
    );
}

const CHAIN: &str = "\
stages:
  a: {cmd: cp data/raw.csv a, deps: [data/raw.csv], outs: [a]}
  b: {cmd: wc -l < a > b, deps: [a], outs: [b]}
  c: {cmd: cp b c, deps: [b], outs: [c]}
";

#[test]
fn a_dry_run_decides_and_touches_nothing() {
    let repo = repo(CHAIN);
    let outcome = repo.try_run(&Request { dry: true, ..repo.request() }).unwrap();
    assert!(outcome.stages.iter().all(|stage| stage.status == StageStatus::Skipped));
    assert!(!repo.root().join("a").exists() && !repo.root().join("dvc.lock").exists());
    assert_eq!(outcome.stages[0].skipped_because, "it has not run before");
    repo.run();
    let outcome = repo.try_run(&Request { dry: true, ..repo.request() }).unwrap();
    assert!(outcome.stages.iter().all(|stage| stage.status == StageStatus::Reused));
}

#[test]
fn what_is_looked_at_beside_the_targets_can_be_chosen() {
    let repo = repo(CHAIN);
    repo.run();
    let looked_at = |reach| {
        let request = Request { targets: vec!["b".into()], reach, dry: true, ..repo.request() };
        repo.try_run(&request).unwrap().stages.into_iter().map(|stage| stage.stage).collect::<Vec<_>>()
    };
    assert_eq!(looked_at(Reach::Upstream), ["a", "b"]);
    assert_eq!(looked_at(Reach::Only), ["b"]);
    assert_eq!(looked_at(Reach::Downstream), ["b", "c"]);
}

#[test]
fn what_needs_a_changed_stage_runs_too_when_asked_to() {
    let repo = repo(CHAIN);
    repo.run();
    let raw = repo.read("data/raw.csv");
    // As many lines: `b` makes the same, so `c` would be reused.
    repo.write("data/raw.csv", &raw.replace('1', "7"));
    let outcome = repo.try_run(&Request { force_downstream: true, ..repo.request() }).unwrap();
    assert_eq!(statuses(&outcome), [("a", StageStatus::Ran), ("b", StageStatus::Ran), ("c", StageStatus::Ran)]);
}

#[test]
fn missing_data_is_taken_for_what_is_recorded_of_it_when_allowed() {
    let repo = repo(CHAIN);
    repo.run();
    for path in ["data/raw.csv", "a", "b"] {
        repo.remove(path);
    }
    std::fs::remove_dir_all(repo.root().join(".dvc/cache/files")).unwrap();
    let outcome = repo.try_run(&Request { allow_missing: true, ..repo.request() }).unwrap();
    assert!(outcome.stages.iter().all(|stage| stage.status == StageStatus::Reused), "{:?}", statuses(&outcome));
    assert!(!repo.root().join("a").exists());
    repo.write("dvc.yaml", &CHAIN.replace("cp b c", "cat b > c"));
    let outcome = repo.try_run(&Request { allow_missing: true, ..repo.request() }).unwrap();
    assert_eq!(outcome.error.as_deref(), Some("stage 'c' needs b, which stage 'b' should have made"));
}

#[test]
fn without_commit_the_lock_is_written_and_the_cache_is_not() {
    let repo = repo(CHAIN);
    repo.try_run(&Request { commit: false, ..repo.request() }).unwrap();
    assert!(!repo.root().join(".dvc/cache/files").exists() && !repo.root().join(".dvc/cache/runs").exists());
    let status = dvc(&repo.root(), &["status", "--json"]);
    assert!(status.contains("not in cache") && !status.contains("modified"), "{status}");
}

#[test]
fn without_the_run_cache_an_earlier_result_is_made_again() {
    let repo = repo(CHAIN);
    repo.run();
    repo.remove("dvc.lock");
    let outcome = repo.try_run(&Request { run_cache: false, ..repo.request() }).unwrap();
    assert!(outcome.stages.iter().all(|stage| stage.status == StageStatus::Ran));
}

#[test]
fn stages_of_folders_below_are_made_for_those_of_the_root_and_have_their_own_lock() {
    let repo = repo("stages:\n  report: {cmd: cp train/model report, deps: [train/model], outs: [report]}\n");
    repo.write("train/dvc.yaml", "stages:\n  fit: {cmd: cp ../data/raw.csv model, deps: [../data/raw.csv], outs: [model]}\n  other: {cmd: touch other, outs: [other]}\n");
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("train/dvc.yaml:fit", StageStatus::Ran), ("report", StageStatus::Ran)]);
    let lock = Lock::read("train/dvc.lock", &repo.read("train/dvc.lock")).unwrap();
    assert_eq!(lock.stages.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["fit"]);
    let said = dvc(&repo.root(), &["repro", "--dry"]);
    assert!(
        said.contains("Stage 'train/dvc.yaml:fit' didn't change") && said.contains("Stage 'report' didn't"),
        "{said}"
    );
}

#[test]
fn a_frozen_stage_is_not_brought_up_to_date_and_nothing_is_for_it() {
    let repo = repo(CHAIN);
    repo.run();
    repo.write("dvc.yaml", &CHAIN.replace("b: {cmd", "b: {frozen: true, cmd"));
    repo.write("data/raw.csv", "changed\n");
    assert_eq!(
        statuses(&repo.try_run(&Request { targets: vec!["c".into()], ..repo.request() }).unwrap()),
        [("b", StageStatus::Reused), ("c", StageStatus::Reused)]
    );
    assert_eq!(dvc(&repo.root(), &["repro", "--dry", "c"]).matches("didn't change, skipping").count(), 2);
}
