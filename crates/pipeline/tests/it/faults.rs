use std::time::{Duration, Instant};

use towpath_core::{Classify as _, Kind};
use towpath_pipeline::{StageFailure, StageStatus, Status};

use crate::repository::{Repo, statuses};

fn one_stage(cmd: &str) -> Repo {
    Repo::with(&format!("stages:\n  train:\n    cmd: {cmd}\n    outs: [model]\n"))
}

#[test]
fn a_stage_that_fails_ends_the_run_and_keeps_what_was_done() {
    let repo = Repo::new();
    repo.write("dvc.yaml", &crate::repository::PIPELINE.replace("wc -l", "echo no data >&2; exit 3; wc -l"));
    let outcome = repo.run();
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.error.as_deref(), Some("stage 'train' exited with 3"));
    assert_eq!(statuses(&outcome), [("prepare", StageStatus::Ran), ("train", StageStatus::Failed)]);
    assert!(outcome.lock_text.contains("prepare:") && !outcome.lock_text.contains("train:"));
    assert!(repo.log("train").contains(&"no data".to_owned()));
    assert_eq!(repo.run().stages[0].status, StageStatus::Reused);
}

#[test]
fn what_comes_after_a_failed_stage_is_skipped() {
    let repo = Repo::new();
    repo.write("dvc.yaml", &crate::repository::PIPELINE.replace("grep -v", "false && grep -v"));
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("prepare", StageStatus::Failed), ("train", StageStatus::Skipped)]);
    assert_eq!(outcome.model, None);
}

#[test]
fn a_stage_that_hangs_is_ended_at_its_timeout() {
    let repo = one_stage("sleep 1000");
    repo.write("towpath.yaml", "timeouts: {train: 1s}\n");
    let started = Instant::now();
    let outcome = repo.run();
    assert_eq!(outcome.error.as_deref(), Some("stage 'train' did not end within 1 s"));
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_stage_that_does_not_make_its_output_fails() {
    let outcome = one_stage("touch other").run();
    assert_eq!(outcome.stages[0].failure, Some(StageFailure::MissingOutputs(vec!["model".into()])));
    assert_eq!(outcome.error.as_deref(), Some("stage 'train' ended without making model"));
}

#[test]
fn a_leftover_is_not_taken_for_an_output() {
    let repo = one_stage("'true'");
    repo.write("model", "of yesterday");
    assert_eq!(repo.run().status, Status::Failed);
    assert!(!repo.exists("model"));
}

#[test]
fn a_write_outside_the_checkout_is_blocked() {
    let repo = Repo::new();
    let target = repo.outside().join("stolen");
    repo.write(
        "dvc.yaml",
        &format!("stages:\n  train:\n    cmd: touch model && touch {}\n    outs: [model]\n", target.display()),
    );
    let outcome = repo.run();
    if outcome.stages[0].sandbox.starts_with("landlock") {
        assert_eq!(outcome.status, Status::Failed);
        assert!(!target.exists());
        assert!(repo.log("train").iter().any(|l| l.contains("Permission denied")), "{:?}", repo.log("train"));
    } else {
        assert!(outcome.stages[0].sandbox.starts_with("none: "), "the report says that nothing confines");
    }
    let mut request = repo.request();
    request.writable = vec![repo.outside()];
    assert_eq!(repo.try_run(&request).unwrap().status, Status::Succeeded);
}

#[test]
fn a_stage_that_prints_a_gigabyte_succeeds_with_a_short_log() {
    let repo = one_stage("yes $(printf %01000d) | head -c 1000000000; touch model");
    let mut request = repo.request();
    request.log_limit = 1 << 20;
    assert_eq!(repo.try_run(&request).unwrap().status, Status::Succeeded);
    assert!(std::fs::metadata(request.log_of("train")).unwrap().len() < 1_100_000);
    let lines = repo.log("train");
    assert!(lines[lines.len() - 1].contains(" bytes more were printed; the log keeps 1048576"));
}

#[test]
fn a_cancelled_run_says_so() {
    let repo = one_stage("touch started; sleep 1000");
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| repo.run());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !repo.exists("started") {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        repo.cancel.cancel();
        running.join().unwrap()
    });
    assert_eq!((outcome.status, outcome.stages[0].status), (Status::Cancelled, StageStatus::Cancelled));
}

#[test]
fn a_missing_dependency_is_named_before_anything_runs() {
    let repo = Repo::new();
    repo.remove("data/raw.csv");
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert_eq!(error.to_string(), "stage 'prepare' needs data/raw.csv, which does not exist and no stage makes");
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.hints()[0].starts_with("commit data/raw.csv"));
}

#[test]
fn a_dependency_that_its_stage_no_longer_makes_is_named_with_the_stage() {
    let repo = Repo::with(
        "stages:\n  a:\n    cmd: mkdir -p out && touch out/x\n    outs: [out]\n  b:\n    cmd: cat out/y\n    deps: [out/y]\n",
    );
    let outcome = repo.run();
    assert_eq!(outcome.error.as_deref(), Some("stage 'b' needs out/y, which stage 'a' should have made"));
}

#[test]
fn stages_in_a_circle_are_refused() {
    let repo = Repo::with(
        "stages:\n  a: {cmd: x, deps: [b.txt], outs: [a.txt]}\n  b: {cmd: x, deps: [a.txt], outs: [b.txt]}\n",
    );
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert_eq!(error.to_string(), "the stages depend on each other in a circle: a -> b -> a");
}

#[test]
fn a_file_that_is_wrong_is_named_with_its_line() {
    let repo = Repo::with("stages:\n  a:\n    command: x\n");
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert!(error.to_string().contains("dvc.yaml") && error.kind() == Kind::Invalid, "{error}");
    repo.remove("dvc.yaml");
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert_eq!(error.to_string(), "there is no dvc.yaml in the root of the repository");
}

#[test]
fn metrics_that_cannot_be_read_fail_their_stage() {
    let repo = Repo::with("stages:\n  a:\n    cmd: echo '{' > m.json\n    metrics: [m.json]\n");
    let error = repo.run().error.unwrap();
    assert!(error.starts_with("stage 'a' wrote metrics that cannot be read: m.json: "), "{error}");
}
