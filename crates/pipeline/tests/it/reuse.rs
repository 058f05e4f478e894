use std::fs;

use towpath_pipeline::{Error, StageStatus, Status, Variable};

use crate::repository::{Repo, statuses};

const RAN: StageStatus = StageStatus::Ran;
const REUSED: StageStatus = StageStatus::Reused;

#[test]
fn stages_run_once_and_are_reused_until_something_changes() {
    let repo = Repo::new();
    let first = repo.run();
    assert_eq!(first.status, Status::Succeeded);
    assert_eq!(statuses(&first), [("prepare", RAN), ("train", RAN)]);
    assert_eq!(first.metrics["loss"].to_bits(), 0.1_f64.to_bits());
    assert_eq!(repo.read("model/weights").trim(), "3");
    assert_eq!(repo.why("prepare"), "it has not run before");
    assert!(repo.read("data/.gitignore").contains("/clean.csv"));
    assert!(!repo.read(".gitignore").contains("metrics.json"), "Git keeps it");

    let second = repo.run();
    assert_eq!(statuses(&second), [("prepare", REUSED), ("train", REUSED)]);
    assert_eq!(second.lock_text, first.lock_text);
    assert_eq!(second.metrics, first.metrics);

    repo.write("params.yaml", "lr: 0.5\n");
    let third = repo.run();
    assert_eq!(statuses(&third), [("prepare", REUSED), ("train", RAN)]);
    assert_eq!(repo.why("train"), "params.yaml:lr changed from 0.1 to 0.5");
}

#[test]
fn a_deleted_output_comes_out_of_the_cache() {
    let repo = Repo::new();
    repo.run();
    repo.remove("model");
    repo.remove("data/clean.csv");
    assert_eq!(statuses(&repo.run()), [("prepare", REUSED), ("train", REUSED)]);
    assert_eq!(repo.read("model/weights").trim(), "3");
    assert_eq!(repo.why("train"), "nothing it depends on changed; model restored from the cache");
}

#[test]
fn an_earlier_run_is_found_without_a_lock() {
    let repo = Repo::new();
    let lock = repo.run().lock_text;
    for path in ["dvc.lock", "model", "data/clean.csv", "metrics.json"] {
        repo.remove(path);
    }
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("prepare", REUSED), ("train", REUSED)]);
    assert_eq!(outcome.lock_text, lock);
    assert!(repo.exists("metrics.json"));
}

#[test]
fn force_runs_everything_and_targets_only_what_they_need() {
    let repo = Repo::new();
    let mut request = repo.request();
    request.targets = vec!["prepare".into()];
    assert_eq!(statuses(&repo.try_run(&request).unwrap()), [("prepare", RAN)]);
    request.targets.clear();
    request.force = true;
    let outcome = repo.try_run(&request).unwrap();
    assert_eq!(statuses(&outcome), [("prepare", RAN), ("train", RAN)]);
    assert_eq!(repo.why("prepare"), "it was asked to run whatever changed");

    let entry = outcome.stages[0].entry.clone().unwrap();
    request.finished.insert("prepare".into(), entry);
    assert_eq!(statuses(&repo.try_run(&request).unwrap()), [("prepare", REUSED), ("train", RAN)]);
}

#[test]
fn a_run_that_broke_off_goes_on_where_it_was() {
    let repo = Repo::new();
    repo.journal.breaks_after.lock().unwrap().insert("prepare".into());
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert!(matches!(error, Error::Journal(_)), "{error}");
    assert_eq!(statuses(&repo.run()), [("prepare", REUSED), ("train", RAN)]);
}

#[test]
fn the_model_and_the_evaluation_data_are_identified() {
    let repo = Repo::new();
    repo.write("towpath.yaml", "model: {name: lines, path: model, evaluation: data/clean.csv}\n");
    let outcome = repo.run();
    let (model, evaluation) = (outcome.model.unwrap(), outcome.evaluation.unwrap());
    assert!(model.is_dir() && outcome.lock_text.contains(&model.md5));
    assert!(outcome.lock_text.contains(&evaluation.md5));
}

#[test]
fn tracked_data_is_checked_out_for_the_stages_that_read_it() {
    let repo = Repo::new();
    repo.track("data/raw.csv");
    repo.remove("data/raw.csv");
    assert_eq!(repo.run().status, Status::Succeeded);
    assert_eq!(repo.read("data/raw.csv"), "x\n# comment\n1\n2\n");

    repo.write("data/raw.csv", "x\n9\n");
    assert_eq!(statuses(&repo.run()), [("prepare", RAN), ("train", RAN)], "what is there counts");
    let mut request = repo.request();
    request.exact_data = true;
    assert_eq!(statuses(&repo.try_run(&request).unwrap()), [("prepare", REUSED), ("train", REUSED)]);
    assert_eq!(repo.read("data/raw.csv"), "x\n# comment\n1\n2\n", "the commit's version counts");
}

#[test]
fn data_that_is_not_in_the_cache_is_named() {
    let repo = Repo::new();
    repo.track("data/raw.csv");
    repo.remove("data/raw.csv");
    fs::remove_dir_all(repo.root().join(".dvc/cache/files")).unwrap();
    let error = repo.try_run(&repo.request()).unwrap_err();
    assert_eq!(error.to_string(), "1 object(s) of data/raw.csv (data/raw.csv.dvc) are not in the cache");
    assert_eq!(towpath_core::Classify::hints(&error), ["push the data with `towpath push`, from where it was added"]);
}

#[test]
fn a_stage_gets_its_variables_and_its_secrets_stay_out_of_the_log() {
    let repo = Repo::with("stages:\n  show:\n    cmd: echo $DVC_STAGE $MLFLOW_RUN_ID $TOKEN $TMPDIR; pwd\n");
    let variables = vec![Variable::new("MLFLOW_RUN_ID", "r1"), Variable::secret("TOKEN", "tp_abc")];
    *repo.journal.variables.lock().unwrap() = variables;
    repo.run();
    let scratch = repo.outside().join("scratch/show");
    let root = repo.root();
    assert_eq!(repo.log("show")[1..3], [format!("show r1 *** {}", scratch.display()), root.display().to_string()]);
    assert!(!scratch.exists(), "temporary files go with the stage");
}

#[test]
fn stages_run_in_the_declared_environment_and_again_when_it_changes() {
    let repo = Repo::with(
        "stages:\n  show:\n    cmd: python -c 'import sys; print(sys.prefix)' > prefix\n    deps: [x]\n    outs: [prefix]\n",
    );
    repo.write("x", "1");
    repo.write("towpath.yaml", "python: requirements.txt\n");
    repo.write("requirements.txt", "# nothing\n");
    let outcome = repo.run();
    let environment = outcome.environment.unwrap();
    assert!(repo.read("prefix").trim().ends_with(environment.hash.as_str()));

    let again = repo.run();
    assert_eq!(statuses(&again), [("show", REUSED)]);
    assert_eq!(again.environment.as_ref(), Some(&environment), "it would have been the same");

    let mut request = repo.request();
    request.force = true;
    request.environment_lock = Some(environment.lock_text);
    repo.write("requirements.txt", "iniconfig==2.0.0\n");
    let reproduced = repo.try_run(&request).unwrap();
    assert_eq!(reproduced.environment.map(|e| e.hash), Some(environment.hash), "the one of that run");

    assert_eq!(statuses(&repo.run()), [("show", RAN)]);
    assert_eq!(repo.why("show"), "its environment changed");
    assert_eq!(repo.journal.environments.lock().unwrap().len(), 3);
}
