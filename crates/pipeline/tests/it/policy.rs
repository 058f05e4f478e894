//! What `towpath.yaml` wants done with a stage: conditions, approvals, resources.

use serde_json::json;
use towpath_pipeline::executor::pools::{Capacity, Pooled, Pools};
use towpath_pipeline::{Local, Permission, StageFailure, StageStatus, Status};

use crate::repository::{Repo, statuses};

/// `score` says how good it is, `publish` needs what it makes, `report` needs neither.
const PIPELINE: &str = "\
stages:
  score:
    cmd: echo '{\"accuracy\":' $(grep -o '[0-9.]*$' params.yaml)'}' > score.json
    params: [accuracy]
    metrics: [score.json]
  publish:
    cmd: cp score.json published
    deps: [score.json]
    outs: [published]
  announce:
    cmd: cp published announced
    deps: [published]
    outs: [announced]
  report:
    cmd: echo report > report
    outs: [report]
";

fn repo(policy: &str, accuracy: &str) -> Repo {
    let repo = Repo::with(PIPELINE);
    repo.write("towpath.yaml", policy);
    repo.write("params.yaml", &format!("accuracy: {accuracy}\n"));
    repo
}

#[test]
fn a_stage_whose_condition_does_not_hold_is_left_out_with_what_needs_it_and_the_run_succeeds() {
    let policy = "stages: {publish: {if: metrics.score.accuracy >= 0.9 && trigger.kind == 'push'}}\n";
    let run = |accuracy: &str, kind: &str| {
        let repo = repo(policy, accuracy);
        let mut request = repo.request();
        request.trigger = json!({"kind": kind, "branch": "main"});
        let outcome = repo.try_run(&request).unwrap();
        assert_eq!(outcome.status, Status::Succeeded);
        outcome
    };
    use StageStatus::{Ran, Skipped};
    assert_eq!(
        statuses(&run("0.8", "push")),
        [("score", Ran), ("publish", Skipped), ("announce", Skipped), ("report", Ran)]
    );
    assert_eq!(statuses(&run("0.95", "schedule"))[1], ("publish", Skipped));
    let all = run("0.95", "push");
    assert_eq!(statuses(&all), [("score", Ran), ("publish", Ran), ("announce", Ran), ("report", Ran)]);
    let left_out = run("0.8", "push");
    assert_eq!(
        left_out.stages[1].skipped_because,
        "its condition does not hold: metrics.score.accuracy >= 0.9 && trigger.kind == 'push'"
    );
    assert_eq!(left_out.stages[2].skipped_because, "stage 'publish', which makes published, was left out");
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_stage() {
    let outcome = repo("stages: {publish: {if: metrics.score.loss < 1.0}}\n", "0.8").run();
    assert_eq!(outcome.status, Status::Failed);
    let error = outcome.error.unwrap();
    assert!(error.starts_with("stage 'publish' has a condition that cannot be evaluated"), "{error}");
}

#[test]
fn a_stage_waits_for_its_approval_while_others_run_and_goes_on_when_it_is_there() {
    use StageStatus::{Ran, Reused};
    let repo = repo("stages: {publish: {approval: {count: 1}}}\n", "0.8");
    let set = |permission| drop(repo.journal.permissions.lock().unwrap().insert("publish".into(), permission));
    set(Permission::Waits);
    let waits = repo.run();
    assert_eq!((waits.status, statuses(&waits)), (Status::Waiting, vec![("score", Ran), ("report", Ran)]));
    assert!(!repo.exists("published"));
    set(Permission::Granted);
    let goes_on = repo.run();
    assert_eq!(statuses(&goes_on), [("score", Reused), ("publish", Ran), ("announce", Ran), ("report", Reused)]);
    assert_eq!(goes_on.status, Status::Succeeded);
    // What is reused needs no approval.
    set(Permission::Waits);
    assert_eq!(repo.run().status, Status::Succeeded);
}

#[test]
fn a_stage_that_was_refused_fails_and_says_by_whom() {
    let repo = repo("stages: {publish: {approval: {count: 1}}}\n", "0.8");
    let refused = Permission::Refused("risk-1: not today".into());
    repo.journal.permissions.lock().unwrap().insert("publish".into(), refused);
    let outcome = repo.run();
    assert_eq!(outcome.error.as_deref(), Some("stage 'publish' was refused by risk-1: not today"));
}

#[test]
fn a_stage_that_asks_for_more_than_the_machine_has_fails_at_once_and_one_that_does_not_runs() {
    let repo = repo("stages: {report: {resources: {licences: 2}}}\n", "0.8");
    let run = |licences| {
        let pools = Pools::new(Capacity { pools: [("licences".to_owned(), licences)].into(), ..Capacity::default() });
        let executor = Pooled { pools: &pools, inner: Local };
        let outcome = towpath_pipeline::run(&repo.request(), &repo.journal, &executor, &repo.cancel).unwrap();
        outcome.stages.into_iter().find(|stage| stage.stage == "report").unwrap()
    };
    let why = "asks for 2 of pool 'licences', this machine has 1".to_owned();
    assert_eq!(run(1).failure, Some(StageFailure::NotGranted(why)));
    assert_eq!(run(2).status, StageStatus::Ran);
}
