use towpath_pipeline::{StageStatus, Status};

use crate::repository::{Repo, statuses};

const SUITE: &str = "format: csv\ncolumns:\n  x: {type: number, between: [0, 10]}\n";

fn repo(path: &str) -> Repo {
    let repo = Repo::new();
    repo.write("checks/lines.yaml", SUITE);
    repo.write(
        "towpath.yaml",
        &format!("checks:\n  lines: {{path: {path}, suite: checks/lines.yaml, on_fail: stop}}\n"),
    );
    repo.write("data/raw.csv", "x\n1\n2\n");
    repo
}

#[test]
fn bad_tracked_data_stops_the_run_before_any_stage() {
    let repo = repo("data/raw.csv");
    repo.track("data/raw.csv");
    let good = repo.run();
    assert_eq!((good.status, good.checks[0].verdict.rows), (Status::Succeeded, 2));

    repo.write("data/raw.csv", "x\n1\n99\n");
    repo.track("data/raw.csv");
    let bad = repo.run();
    assert_eq!(statuses(&bad), [("prepare", StageStatus::Skipped), ("train", StageStatus::Skipped)]);
    let error = bad.error.unwrap();
    assert!(error.starts_with("check 'lines' of data/raw.csv failed: 1 values of x are outside 0 to 10"), "{error}");
    assert!(bad.checks[0].stopped_run && !bad.checks[0].verdict.passed);
}

#[test]
fn a_check_of_an_output_stands_between_the_stages() {
    let repo = repo("data/clean.csv");
    repo.write("data/raw.csv", "x\n#\n99\n");
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("prepare", StageStatus::Ran), ("train", StageStatus::Skipped)]);
    assert_eq!(outcome.status, Status::Failed);
}

#[test]
fn a_check_that_only_warns_lets_the_run_go_on() {
    let repo = repo("data/raw.csv");
    let warn = repo.read("towpath.yaml").replace("stop", "warn");
    repo.write("towpath.yaml", &warn);
    repo.write("data/raw.csv", "x\n99\n");
    let outcome = repo.run();
    assert_eq!(outcome.status, Status::Succeeded);
    assert!(!outcome.checks[0].verdict.passed && !outcome.checks[0].stopped_run);
}

#[test]
fn a_verdict_on_the_same_data_and_suite_is_not_made_again() {
    let repo = repo("data/raw.csv");
    let evaluated = |repo: &Repo| *repo.journal.evaluated.lock().unwrap();
    repo.run();
    assert_eq!(evaluated(&repo), 1);
    let again = repo.run();
    assert_eq!((evaluated(&repo), again.checks.len()), (1, 1));
    assert_eq!(repo.journal.baselines.lock().unwrap()["lines"].batches.len(), 1);

    repo.write("checks/lines.yaml", &SUITE.replace("10", "20"));
    repo.run();
    assert_eq!(evaluated(&repo), 2, "another suite");
}

#[test]
fn each_file_of_a_folder_is_a_batch_compared_with_accepted_ones() {
    let repo = repo("data/weeks");
    let suite = "format: csv\ncolumns:\n  x: {type: number}\nbatch_statistics:\n- {columns: x, statistic: mean, tolerance: {sd: 4}}\n";
    repo.write("checks/lines.yaml", suite);
    for week in 1..=4 {
        repo.write(&format!("data/weeks/{week}.csv"), &format!("x\n1\n2\n3.{week}\n"));
    }
    repo.track("data/weeks");
    assert_eq!(repo.run().error, None);
    assert_eq!(repo.journal.baselines.lock().unwrap()["lines"].batches.len(), 4);

    repo.write("data/weeks/5.csv", "x\n100\n101\n");
    repo.track("data/weeks");
    let error = repo.run().error.unwrap();
    assert!(error.contains("mean of x is 100"), "{error}");
    assert_eq!(repo.journal.baselines.lock().unwrap()["lines"].batches.len(), 4, "a bad batch is not accepted");
}

#[test]
fn a_check_of_something_that_is_not_there_is_an_error() {
    let repo = repo("data/nothing.csv");
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert_eq!(error.to_string(), "check 'lines' reads data/nothing.csv, which does not exist");
}
