use towpath_pipeline::StageStatus;
use towpath_plan::lock::Lock;

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

/// Every kind of output and input that the format has.
const ALL_KINDS: &str = "\
stages:
  split:
    wdir: steps
    cmd:
    - mkdir -p parts 'with space'
    - cp ../data/a.txt parts/ä.txt && cp ../data/a.txt parts/b.txt && chmod +x parts/b.txt
    - cp ../data/a.txt tool && chmod +x tool
    - cp ../data/a.txt 'with space/x'
    deps:
    - ../data
    params:
    - model.hidden
    - ../other.json:
      - rate
    outs:
    - parts
    - tool
    - with space
  grow:
    cmd: echo line >> history.txt && printf 'a,b\\n1,2\\n' > plot.csv && printf 'auc:\\0400.5' > m.yaml
    deps:
    - steps/parts/b.txt
    outs:
    - history.txt:
        persist: true
    metrics:
    - m.yaml
    plots:
    - plot.csv:
        cache: false
        x: a
  fixed:
    cmd: cp data/a.txt frozen.txt
    frozen: true
    deps:
    - data/a.txt
    outs:
    - frozen.txt
  every_time:
    cmd: echo ran
    always_changed: true
";

#[test]
fn every_kind_of_output_and_input_is_recorded_as_dvc_does() {
    let repo = Repo::with(ALL_KINDS);
    repo.write("data/a.txt", "x\n");
    repo.write("steps/params.yaml", "model: {hidden: 3}\n");
    repo.write("other.json", "{\"rate\": 1e-5}\n");
    let first = repo.run();
    assert_eq!(first.error, None);
    assert_eq!(first.metrics["auc"].to_bits(), 0.5_f64.to_bits());
    let status = dvc(&repo.root(), &["status", "--json"]);
    assert!(status.contains("{\"every_time\": [\"always changed\"]}"), "{status}");

    // As values: where long commands are folded differs between versions of dvc's YAML writer.
    let lock = || Lock::read("dvc.lock", &repo.read("dvc.lock")).unwrap();
    let ours = lock();
    dvc(&repo.root(), &["repro", "--force", "split", "fixed"]);
    assert_eq!(lock(), ours, "dvc records the same");

    repo.write("data/a.txt", "y\n");
    let second = repo.run();
    assert_eq!(
        statuses(&second),
        [
            ("split", StageStatus::Ran),
            ("grow", StageStatus::Ran),
            ("fixed", StageStatus::Reused),
            ("every_time", StageStatus::Ran)
        ]
    );
    assert_eq!(repo.read("history.txt"), "line\nline\n", "a persistent output is not deleted");
    assert_eq!(repo.read("frozen.txt"), "x\n");
}

const TEMPLATES: &str = "\
vars:
- settings.toml
stages:
  prepare:
    foreach: ${regions}
    do:
      cmd: head -n ${item.rows} data.txt > out/${key}.txt
      deps: [data.txt]
      outs: ['out/${key}.txt']
  train:
    matrix:
      region: [us, uk]
      depth: [1, 2]
    cmd: cat out/${item.region}.txt > model-${key} && echo ${model} >> model-${key}
    deps: ['out/${item.region}.txt']
    params:
    - settings.toml: [model.lr]
    - settings.py: [Train.epochs]
    outs: ['model-${key}']
  hostile:
    foreach: [../../escaped, 'a b; touch injected']
    do:
      cmd: echo done
      deps: [data.txt]
";

#[test]
fn templates_foreach_and_matrix_are_run_and_recorded_as_dvc_does() {
    let repo = Repo::with(TEMPLATES);
    repo.write("data.txt", "1\n2\n3\n");
    repo.write("params.yaml", "regions:\n  us: {rows: 1}\n  uk: {rows: 2}\n");
    repo.write("settings.toml", "[model]\nlr = 1e-5\ndeep = true\n");
    repo.write("settings.py", "class Train:\n    epochs = 3\n");
    repo.write("out/.keep", "");
    let outcome = repo.run();
    assert_eq!(outcome.error, None);
    assert!(statuses(&outcome).iter().all(|(_, status)| *status == StageStatus::Ran), "{:?}", statuses(&outcome));
    assert_eq!(repo.read("model-uk-2").lines().next_back(), Some("--lr 1e-05 --deep"));
    assert_eq!(repo.log("hostile@../../escaped")[1], "done", "its log stays in the folder of logs");
    assert!(!repo.exists("injected"));

    assert_eq!(dvc(&repo.root(), &["status", "--json"]).trim(), "{}");
    let lock = || Lock::read("dvc.lock", &repo.read("dvc.lock")).unwrap();
    let ours = lock();
    dvc(&repo.root(), &["repro", "--force"]);
    assert_eq!(lock(), ours, "dvc records the same");
    let outcome = repo.run();
    assert!(statuses(&outcome).iter().all(|(_, status)| *status == StageStatus::Reused), "{:?}", statuses(&outcome));
}
