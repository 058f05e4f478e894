use std::collections::BTreeMap;
use std::sync::LazyLock;

use towpath_core::Content;
use towpath_plan::decide::{Action, Observed, decide, inputs, result};
use towpath_plan::frontend::dvc_yaml::{self, Sources};
use towpath_plan::graph::Graph;
use towpath_plan::lock::{Lock, Locked, LockedStage};
use towpath_plan::pipeline::{ParamsOf, Stage};
use towpath_plan::{params, run_cache};

use crate::real_dvc::Repository;

const PIPELINE: &str = "\
stages:
  train:
    cmd:
    - cp data/clean/a.txt model.txt
    - printf '{\"acc\":0.9}' > metrics.json
    deps:
    - data/clean
    params:
    - lr
    - model.layers
    - other.json:
    outs:
    - model.txt
    metrics:
    - metrics.json:
        cache: false
  prepare:
    cmd: mkdir -p data/clean && cp raw.txt data/clean/a.txt && cp raw.txt data/clean/b.txt && echo this is a command that is longer than one line
    deps: [raw.txt]
    outs:
    - data/clean
";

const RAW: &str = "raw\n";
const PARAMS: &str = "lr: 1e-5\nmodel: {layers: [1, 2], name: no, ratio: 0.5}\n";
const OTHER: &str = r#"{"z": {"b": 1.50, "a": null}, "text": "12e5", "size": 3}"#;

fn repository() -> Repository {
    let repository = Repository::new();
    for (name, text) in [("raw.txt", RAW), ("params.yaml", PARAMS), ("other.json", OTHER), ("dvc.yaml", PIPELINE)] {
        repository.write(name, text);
    }
    repository
}

/// What `dvc repro` printed and wrote; run once for all tests that only read it.
struct Ran {
    output: String,
    lock_text: String,
    lock: Lock,
    /// Text by `<key[..2]>/<key>/<value>`.
    run_cache: BTreeMap<String, String>,
}

static RAN: LazyLock<Ran> = LazyLock::new(|| {
    let repository = repository();
    let output = repository.dvc(&["repro"]);
    let lock_text = repository.read("dvc.lock");
    let lock = Lock::read("dvc.lock", &lock_text).expect("the real lock is read");
    let run_cache = lock.stages.iter().map(|(_, stage)| cache_path(stage)).map(|path| {
        let text = repository.read(&format!(".dvc/cache/runs/{path}"));
        (path, text)
    });
    Ran { run_cache: run_cache.collect(), output, lock_text, lock }
});

fn cache_path(stage: &LockedStage) -> String {
    let key = run_cache::key(stage);
    format!("{}/{key}/{}", &key[..2], run_cache::value(stage))
}

/// The lock as we write it, stage by stage.
fn written(lock: &Lock) -> String {
    lock.stages.iter().fold(String::new(), |text, (name, stage)| {
        Lock::update_text("dvc.lock", Some(&text), name, stage).expect("a lock that was read can be written")
    })
}

#[test]
fn the_lock_that_dvc_wrote_is_read_and_written_back_equal() {
    // Versions of DVC's YAML library fold a long command at different places; everything else is
    // equal byte for byte.
    let unfolded = |text: &str| text.replace(" \n      ", " ").replace("\n      ", " ");
    let ours = written(&RAN.lock);
    assert_eq!(unfolded(&ours), unfolded(&RAN.lock_text));
    assert_eq!(Lock::read("dvc.lock", &ours).unwrap(), RAN.lock);
}

#[test]
fn stages_are_ordered_as_dvc_runs_them() {
    let pipeline = dvc_yaml::read("dvc.yaml", PIPELINE, &Sources::none()).unwrap();
    assert_eq!(Graph::of(&pipeline).unwrap().order(), ["prepare", "train"]);
    let ran: Vec<&str> = RAN.output.lines().filter_map(|l| l.strip_prefix("Running stage '")).collect();
    assert_eq!(ran, ["prepare':", "train':"]);
}

#[test]
fn run_cache_entries_stand_where_we_look_for_them_and_read_as_the_lock() {
    for (_, stage) in &RAN.lock.stages {
        let path = cache_path(stage);
        assert_eq!(LockedStage::read(&path, &RAN.run_cache[&path]).unwrap().to_value(), stage.to_value());
    }
}

#[test]
fn what_we_wrote_is_accepted_by_dvc() {
    let repository = repository();
    repository.dvc(&["repro"]);
    repository.write("dvc.lock", &written(&RAN.lock));
    assert_eq!(repository.dvc(&["status", "--json"]).trim(), "{}");

    std::fs::remove_dir_all(repository.path(".dvc/cache/runs")).unwrap();
    for (_, stage) in &RAN.lock.stages {
        repository.write(&format!(".dvc/cache/runs/{}", cache_path(stage)), &run_cache::text(stage));
    }
    for gone in ["dvc.lock", "model.txt", "metrics.json", "data/clean/a.txt"] {
        std::fs::remove_file(repository.path(gone)).unwrap();
    }
    let output = repository.dvc(&["repro"]);
    assert!(output.contains("is cached - skipping run"), "{output}");
    assert!(!output.contains("Running stage"), "{output}");
    assert_eq!(repository.read("dvc.lock"), RAN.lock_text);
}

/// What the plan sees after DVC ran: everything as locked.
fn as_locked(stage: &Stage, locked: &LockedStage) -> Observed {
    let contents = |items: &[Locked]| -> BTreeMap<String, Option<Content>> {
        items.iter().map(|i| (i.path.clone(), Some(i.content.clone()))).collect()
    };
    let values = |of: &ParamsOf| {
        let text = if of.file.path == "params.yaml" { PARAMS } else { OTHER };
        params::read(&of.file.path, text, of.keys.as_deref()).expect("the parameters are there")
    };
    Observed {
        deps: contents(&locked.deps),
        params: stage.params.iter().map(|p| (p.file.path.clone(), values(p))).collect(),
        outs: contents(&locked.outs),
        ..Observed::default()
    }
}

#[test]
fn what_dvc_ran_is_reused_and_would_be_locked_the_same() {
    for stage in &dvc_yaml::read("dvc.yaml", PIPELINE, &Sources::none()).unwrap().stages {
        let locked = RAN.lock.get(&stage.name).unwrap();
        let observed = as_locked(stage, locked);
        let decision = decide(stage, Some(locked), &observed, None, false);
        assert_eq!((decision.action, decision.changes), (Action::Reuse, vec![]), "{}", stage.name);
        assert_eq!(run_cache::key(&inputs(stage, &observed).unwrap()), run_cache::key(locked));
        assert_eq!(result(stage, &observed).unwrap().to_value(), locked.to_value());
    }
}

#[test]
fn commands_and_folders_are_recorded_as_dvc_records_them() {
    let repository = Repository::new();
    repository.write("sub/in.txt", "x\n");
    let text = "stages:\n  copy:\n    cmd: |\n      cp in.txt ../out.txt\n\n      echo \\${HOME} 'a: b' > log.txt\n    wdir: sub\n    deps: [in.txt]\n    outs: [../out.txt, ./log.txt]\n";
    repository.write("dvc.yaml", text);
    repository.dvc(&["repro"]);
    let lock = Lock::read("dvc.lock", &repository.read("dvc.lock")).unwrap();
    let pipeline = dvc_yaml::read("dvc.yaml", text, &Sources::none()).unwrap();
    let (stage, locked) = (&pipeline.stages[0], lock.get("copy").unwrap());
    assert_eq!(stage.cmd, locked.cmd);
    let mut written: Vec<&str> = stage.outs.iter().map(|o| o.at.written.as_str()).collect();
    written.sort_unstable();
    assert_eq!(written, locked.outs.iter().map(|o| o.path.as_str()).collect::<Vec<_>>());
    assert_eq!(stage.outs[0].at.path, "out.txt");
    assert_eq!(stage.deps[0].path, "sub/in.txt");
}

#[test]
fn what_we_refuse_dvc_refuses_too() {
    let repository = Repository::new();
    for text in [
        "stages:\n  a: {cmd: x, deps: [b.txt], outs: [a.txt]}\n  b: {cmd: x, deps: [a.txt], outs: [b.txt]}\n",
        "stages:\n  a: {cmd: x, outs: [d]}\n  b: {cmd: x, outs: [d/e]}\n",
        "stages:\n  a: {cmd: x, depz: [b.txt]}\n",
    ] {
        repository.write("dvc.yaml", text);
        assert!(!repository.try_dvc(&["repro"]).0, "{text}");
        let refused = dvc_yaml::read("dvc.yaml", text, &Sources::none()).and_then(|p| Graph::of(&p).map(drop));
        assert!(refused.is_err(), "{text}");
    }
}
