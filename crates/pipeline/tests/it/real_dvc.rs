use towpath_pipeline::StageStatus;

use crate::repository::{Repo, dvc, statuses};

#[test]
fn dvc_takes_what_was_run_here_for_its_own() {
    let repo = Repo::new();
    repo.track("data/raw.csv");
    repo.run();
    assert_eq!(dvc(&repo.root(), &["status", "--json"]).trim(), "{}");
    let repro = dvc(&repo.root(), &["repro"]);
    assert!(repro.contains("Stage 'train' didn't change, skipping"), "{repro}");

    for path in ["dvc.lock", "model", "data/clean.csv"] {
        repo.remove(path);
    }
    let repro = dvc(&repo.root(), &["repro"]);
    assert!(repro.contains("Stage 'train' is cached - skipping run, checking out outputs"), "{repro}");
    assert_eq!(repo.read("model/weights").trim(), "3");
}

#[test]
fn what_dvc_ran_is_not_run_again() {
    let repo = Repo::new();
    dvc(&repo.root(), &["repro"]);
    let lock = repo.read("dvc.lock");
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("prepare", StageStatus::Reused), ("train", StageStatus::Reused)]);
    assert_eq!(repo.read("dvc.lock"), lock);

    for path in ["dvc.lock", "model", "data/clean.csv"] {
        repo.remove(path);
    }
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("prepare", StageStatus::Reused), ("train", StageStatus::Reused)]);
    assert_eq!(repo.why("train"), "it has not run before, but an earlier run had exactly these inputs");
    assert_eq!(repo.read("dvc.lock"), lock);
}
