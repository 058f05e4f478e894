use proptest::prelude::*;

use super::*;
use crate::frontend::dvc_yaml;
use crate::pipeline::Pipeline;

const TRAIN: &str = "\
stages:
  train:
    cmd: python train.py
    deps: [train.py, data/clean]
    params: [lr, seed]
    outs: [model]
    metrics: [{metrics.json: {cache: false}}]
";

fn pipeline(text: &str) -> Pipeline {
    dvc_yaml::read("dvc.yaml", text, &dvc_yaml::Sources::none()).unwrap()
}

fn content(md5: &str) -> Content {
    Content { md5: md5.to_owned(), hash: HashName::Md5, size: 1, nfiles: None, isexec: false }
}

/// Everything there, and the lock entry of a run on it.
fn after_a_run(stage: &Stage) -> (Observed, LockedStage) {
    let contents =
        |paths: Vec<&str>| paths.into_iter().map(|p| (p.to_owned(), Some(content(&format!("md5 of {p}"))))).collect();
    let observed = Observed {
        deps: contents(stage.deps.iter().map(|d| d.path.as_str()).collect()),
        params: BTreeMap::from([(
            "params.yaml".to_owned(),
            vec![("lr".to_owned(), Value::Float(0.1)), ("seed".into(), Value::Int(7))],
        )]),
        outs: contents(stage.outs.iter().map(|o| o.at.path.as_str()).collect()),
        environment: Some("environment 1".into()),
        locked_environment: Some("environment 1".into()),
        cached: BTreeSet::new(),
    };
    let locked = result(stage, &observed).unwrap();
    (observed, locked)
}

fn change(kind: ChangeKind, name: &str, old: Option<&str>, new: Option<&str>) -> Change {
    Change { kind, name: name.into(), old: old.map(Into::into), new: new.map(Into::into) }
}

#[test]
fn nothing_changed_is_reused_and_says_what_was_compared() {
    let stage = &pipeline(TRAIN).stages[0];
    let (observed, locked) = after_a_run(stage);
    let decision = decide(stage, Some(&locked), &observed, None, false);
    assert_eq!(decision.action, Action::Reuse);
    assert_eq!(decision.why, "nothing it depends on changed");
    assert_eq!(decision.unchanged, ["command", "train.py", "data/clean", "params: lr", "params: seed", "environment"]);
}

#[test]
fn each_change_is_named_with_old_and_new() {
    let stage = &pipeline(TRAIN).stages[0];
    let (before, locked) = after_a_run(stage);

    let mut observed = before.clone();
    observed.deps.insert("train.py".into(), Some(content("new")));
    let decision = decide(stage, Some(&locked), &observed, None, false);
    assert_eq!((decision.action, decision.why.as_str()), (Action::Run, "train.py changed"));
    assert_eq!(decision.changes, [change(ChangeKind::Dependency, "train.py", Some("md5 of train.py"), Some("new"))]);

    let mut observed = before.clone();
    observed
        .params
        .insert("params.yaml".into(), vec![("lr".into(), Value::Float(0.2)), ("seed".into(), Value::Int(7))]);
    let decision = decide(stage, Some(&locked), &observed, None, false);
    assert_eq!(decision.why, "params.yaml:lr changed from 0.1 to 0.2");
    assert_eq!(decision.changes, [change(ChangeKind::Param, "params.yaml:lr", Some("0.1"), Some("0.2"))]);

    let mut observed = before.clone();
    observed.environment = Some("environment 2".into());
    let decision = decide(stage, Some(&locked), &observed, Some(&locked), false);
    assert_eq!((decision.action, decision.why.as_str()), (Action::Run, "its environment changed"));

    let stage = &pipeline(&TRAIN.replace("train.py\n", "train.py --fast\n")).stages[0];
    let decision = decide(stage, Some(&locked), &before, None, false);
    assert_eq!(decision.why, "its command changed");
    assert_eq!(
        decision.changes,
        [change(ChangeKind::Command, "command", Some("python train.py"), Some("python train.py --fast"))]
    );
}

#[test]
fn a_stage_without_a_lock_entry_runs_unless_an_earlier_run_had_its_inputs() {
    let stage = &pipeline(TRAIN).stages[0];
    let (mut observed, locked) = after_a_run(stage);
    observed.outs.values_mut().for_each(|out| *out = None);
    let decision = decide(stage, None, &observed, None, false);
    assert_eq!((decision.action, decision.why.as_str()), (Action::Run, "it has not run before"));

    // An entry whose outputs are gone from the cache is no hit.
    assert_eq!(decide(stage, None, &observed, Some(&locked), false).action, Action::Run);

    observed.cached = locked.outs.iter().map(|o| o.content.md5.clone()).collect();
    let decision = decide(stage, None, &observed, Some(&locked), false);
    assert!(matches!(decision.action, Action::Restore { from_run_cache: Some(_), outs } if outs.len() == 2));
    assert_eq!(decision.why, "it has not run before, but an earlier run had exactly these inputs");
}

#[test]
fn missing_outputs_are_restored_from_the_cache_or_made_again() {
    let stage = &pipeline(TRAIN).stages[0];
    let (mut observed, locked) = after_a_run(stage);
    observed.outs.insert("model".into(), None);
    let decision = decide(stage, Some(&locked), &observed, None, false);
    assert_eq!(decision.action, Action::Run);
    assert_eq!(decision.changes, [change(ChangeKind::Output, "model", Some("md5 of model"), None)]);

    observed.cached.insert("md5 of model".into());
    let decision = decide(stage, Some(&locked), &observed, None, false);
    let outs = vec![(stage.outs[0].at.clone(), content("md5 of model"))];
    assert_eq!(decision.action, Action::Restore { outs, from_run_cache: None });
    assert_eq!(decision.why, "nothing it depends on changed; model restored from the cache");
}

#[test]
fn force_always_changed_and_callbacks_run() {
    let stage = &pipeline(TRAIN).stages[0];
    let (observed, locked) = after_a_run(stage);
    assert_eq!(decide(stage, Some(&locked), &observed, None, true).action, Action::Run);

    let always = &pipeline(&TRAIN.replace("    cmd", "    always_changed: true\n    cmd")).stages[0];
    assert_eq!(decide(always, Some(&locked), &observed, None, false).why, "it is declared always_changed");

    let callback = &pipeline("stages: {hello: {cmd: echo hello}}").stages[0];
    assert_eq!(decide(callback, None, &Observed::default(), None, false).action, Action::Run);
}

#[test]
fn a_frozen_stage_keeps_its_outputs_whatever_changed() {
    let stage = &pipeline(&TRAIN.replace("    cmd", "    frozen: true\n    cmd")).stages[0];
    let (mut observed, locked) = after_a_run(stage);
    observed.deps.insert("train.py".into(), Some(content("new")));
    let decision = decide(stage, Some(&locked), &observed, None, false);
    assert_eq!((decision.action, decision.why.as_str()), (Action::Reuse, "it is frozen"));
    assert_eq!(decision.changes.len(), 1);
}

#[test]
fn an_environment_nobody_recorded_is_no_change() {
    let stage = &pipeline(TRAIN).stages[0];
    let (mut observed, locked) = after_a_run(stage);
    observed.locked_environment = None;
    assert_eq!(decide(stage, Some(&locked), &observed, None, false).action, Action::Reuse);
}

proptest! {
    /// Whatever of a stage's inputs is changed is named, and nothing else; without a change it
    /// never runs.
    #[test]
    fn a_stage_runs_exactly_for_the_changes_that_are_named(
        script in any::<bool>(), data in any::<bool>(), lr in any::<bool>(), environment in any::<bool>(), command in any::<bool>(),
    ) {
        let before = pipeline(TRAIN);
        let (mut observed, locked) = after_a_run(&before.stages[0]);
        let text = if command { TRAIN.replace("python train.py", "python3 train.py") } else { TRAIN.to_owned() };
        let mut expected = BTreeSet::new();
        if command {
            expected.insert("command");
        }
        for (changed, path) in [(script, "train.py"), (data, "data/clean")] {
            if changed {
                observed.deps.insert(path.into(), Some(content("new")));
                expected.insert(path);
            }
        }
        if lr {
            observed.params.insert("params.yaml".into(), vec![("lr".into(), Value::Null), ("seed".into(), Value::Int(7))]);
            expected.insert("params.yaml:lr");
        }
        if environment {
            observed.environment = Some("environment 2".into());
            expected.insert("environment");
        }
        let decision = decide(&pipeline(&text).stages[0], Some(&locked), &observed, None, false);
        let named: BTreeSet<&str> = decision.changes.iter().map(|c| c.name.as_str()).collect();
        prop_assert_eq!(&named, &expected);
        let action = if expected.is_empty() { Action::Reuse } else { Action::Run };
        prop_assert_eq!(decision.action, action);
    }
}
