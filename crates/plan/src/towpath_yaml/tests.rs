use towpath_core::project::{
    Approvals, Better, GateCondition, Inconclusive, Resources, RoutingKey, Safe, ShadowPolicy, Strategy, ValueMetric,
    Variants,
};
use towpath_core::triggers::{CatchUp, Overlap, When};

use super::*;

const FULL: &str = "\
model: {name: digits, path: model/, evaluation: data/eval.csv}
python: requirements.txt
on:
  push: {branches: [main, release/*]}
checks:
  images: {path: data/images, suite: checks/images.yaml, on_fail: stop}
environments:
  staging:
    gates:
      - {name: data is valid, checks: all}
      - {name: no unsafe artifact, check: artifact_scan}
  production:
    after: staging
    soak: 1h
    gates:
      - {name: no worse than production, require: \"candidate.metrics.accuracy >= production.metrics.accuracy - 0.01\"}
      - {name: fast enough, check: latency, p99_ms: 20}
    approvals: {count: 2, from: [risk, ml-leads]}
    rollout:
      strategy: canary
      steps: [5%, 25%, 50%, 100%]
      step: {min_time: 5s, min_requests: 50, max_time: 2h, inconclusive: hold}
      judge:
        alpha: 0.01
        errors: {share: 0.5, safe: {ceiling: 1%}}
        latency: {share: 0.3, over: [p90, p99], safe: {ratio: 2}}
        labels: {share: 0.2, required: true, safe: {margin: 2%}}
      warm: 30m
    target: {kind: local}
timeouts: {train: 1h, '*': 30m}
";

fn refusal(text: &str) -> YamlError {
    read("towpath.yaml", text).expect_err(text)
}

#[test]
fn the_whole_file_is_read() {
    let project = read("towpath.yaml", FULL).unwrap();
    let model = project.model.as_ref().unwrap();
    assert_eq!((model.name.as_str(), model.path.as_str()), ("digits", "model"));
    assert_eq!(project.push_branches, ["main", "release/*"]);
    assert_eq!(project.environments.len(), 2);
    let production = project.environment("production").unwrap();
    assert_eq!(production.after.as_deref(), Some("staging"));
    assert!((production.soak_seconds - 3600.0).abs() < 1e-9);
    assert_eq!(
        production.gates[1].condition,
        GateCondition::Latency { p99_ms: 20.0, requests: defaults::LATENCY_REQUESTS }
    );
    assert_eq!(production.approvals.as_ref().unwrap().from, ["risk", "ml-leads"]);
    let rollout = &production.rollout;
    assert_eq!(rollout.steps, [0.05, 0.25, 0.5, 1.0]);
    assert_eq!((rollout.step.min_seconds, rollout.step.inconclusive), (5.0, Inconclusive::Hold));
    let labels = rollout.judge.labels.as_ref().unwrap();
    assert_eq!((labels.required, labels.safe), (true, Safe::Margin(0.02)));
    assert_eq!(rollout.judge.latency.as_ref().unwrap().over, [0.9, 0.99]);
    assert_eq!(project.timeouts["train"], 3600);
}

#[test]
fn what_the_file_leaves_out_has_a_default() {
    let project = read("towpath.yaml", "environments:\n  production:\n").unwrap();
    assert_eq!(project.push_branches, ["main"]);
    let production = project.environment("production").unwrap();
    assert_eq!(production.rollout, defaults::rollout());
    assert_eq!(production.rollout.strategy, Strategy::Canary);
    assert_eq!(read("towpath.yaml", "").unwrap().push_branches, ["main"]);
}

#[test]
fn a_shadow_is_a_first_step_without_users() {
    let text = "environments: {a: {rollout: {steps: [10%, 100%], shadow: {share: 50%, disagreement: 2%}}}}";
    let rollout = &read("towpath.yaml", text).unwrap().environments[0].rollout;
    assert_eq!(rollout.steps, [0.0, 0.1, 1.0]);
    assert_eq!(rollout.judge.shadow, Some(ShadowPolicy { share: 0.5, disagreement: 0.02, tolerance: 0.001 }));
    let plain = &read("towpath.yaml", "environments: {a: {rollout: {shadow: }}}").unwrap().environments[0].rollout;
    assert_eq!((plain.steps.len(), plain.judge.shadow), (5, Some(defaults::SHADOW)));
}

#[test]
fn an_experiment_has_two_variants_and_a_key() {
    let rollout = "{strategy: ab, variants: {control: 70%, treatment: 30%}, key: \"field:user_id\"}";
    let text = format!("environments: {{a: {{rollout: {rollout}}}}}");
    let rollout = &read("towpath.yaml", &text).unwrap().environments[0].rollout;
    assert_eq!((rollout.strategy, rollout.steps.as_slice()), (Strategy::Ab, &[0.3, 1.0][..]));
    assert_eq!(rollout.variants, Some(Variants { stable: "control".into(), candidate: "treatment".into() }));
    assert_eq!(rollout.key, Some(RoutingKey::Field("user_id".into())));
    for (rollout, message) in [
        ("{strategy: ab}", "'ab' needs 'variants'"),
        ("{variants: {a: 50%, b: 50%}}", "'variants' need strategy ab"),
        ("{strategy: ab, variants: {a: 50%, b: 40%}}", "'variants' must be two whose shares are 100% together"),
        ("{strategy: ab, variants: {a: 50%, stable: 50%}}", "'stable' has a meaning of its own"),
        ("{strategy: ab, variants: {a: 50%, b: 50%}, steps: [100%]}", "'ab' has no steps: 'variants' has the shares"),
    ] {
        assert_eq!(refusal(&format!("environments: {{a: {{rollout: {rollout}}}}}")).message, message);
    }
}

#[test]
fn blue_green_switches_in_one_step_and_is_judged_by_ceilings() {
    let text = |rollout: &str| format!("environments: {{a: {{rollout: {{strategy: blue_green{rollout}}}}}}}");
    let rollout = |more: &str| read("towpath.yaml", &text(more)).unwrap().environments[0].rollout.clone();
    let plain = rollout("");
    assert_eq!((plain.strategy, plain.steps.as_slice()), (Strategy::BlueGreen, &[0.0, 1.0][..]));
    assert!(plain.judge.alone && plain.judge.errors.is_some());
    let looked_at = rollout(", preview: 10m, shadow: , judge: {labels: {safe: {ceiling: 5%}}}");
    assert_eq!((looked_at.preview_seconds, looked_at.steps.len()), (600.0, 2));
    assert!(looked_at.judge.shadow.is_some());
    let compared = "with 'blue_green' nothing serves beside the candidate to compare 'labels' with";
    for (more, message) in [(", steps: [50%, 100%]", "'blue_green' has no steps"), (", judge: {labels: }", compared)] {
        assert_eq!(refusal(&text(more)).message, message);
    }
    let canary = refusal("environments: {a: {rollout: {preview: 1m}}}");
    assert_eq!(canary.message, "'preview' needs strategy blue_green");
}

#[test]
fn a_judge_that_names_metrics_judges_those_only() {
    let text = "environments: {production: {rollout: {judge: {labels: {required: true}}}}}";
    let judge = &read("towpath.yaml", text).unwrap().environments[0].rollout.judge.clone();
    assert!(judge.errors.is_none() && judge.latency.is_none());
    assert!(judge.labels.as_ref().unwrap().required);
}

#[test]
fn a_push_starts_a_run_on_the_branches_named() {
    let project = read("towpath.yaml", "on: {push: {branches: [main, release/*]}}").unwrap();
    for (branch, starts) in [("main", true), ("release/1", true), ("release/1/x", false), ("topic", false)] {
        assert_eq!(push_starts_run(&project, branch), starts, "{branch}");
    }
}

#[test]
fn an_error_shows_place_line_and_what_would_be_right() {
    let error = refusal("environments:\n  production:\n    rollout:\n      steps: [5, 100%]\n");
    assert_eq!(
        error.to_string(),
        "towpath.yaml:4:15: 'steps' must be a share in percent, found the integer 5\n  |\n4 |       steps: [5, 100%]\n  |               ^\n  = help: write 5% for one in twenty"
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (text, message) in [
        ("environments: {a: {rollout: {steps: [50%, 20%, 100%]}}}", "each step must be larger than the one before"),
        ("environments: {a: {rollout: {steps: [5%, 50%]}}}", "the last step must be 100%"),
        ("environments: {a: {rollout: {strategy: all_at_once, steps: [100%]}}}", "'all_at_once' has no steps"),
        ("environments: {b: {after: a}, a: {}}", "'a' is not an environment that stands above"),
        ("environments: {a: {}, b: {}}", "'after' is missing in 'b'"),
        ("environments: {a: {}, b: {after: a}, c: {after: a}}", "'b' comes after 'a' already"),
        ("environments: {a: {soak: 1h}}", "'soak' needs 'after': the time is spent live in the environment before"),
        (
            "environments: {a: {gates: [{name: x, checks: all}, {name: x, check: artifact_scan}]}}",
            "two gates are named 'x'",
        ),
        ("environments: {a: {gates: [{name: x}]}}", "gate 'x' must have exactly one condition"),
        ("environments: {a: {gates: [{name: x, checks: [images]}]}}", "there is no check 'images'"),
        ("environments: {a: {approvals: {count: 0}}}", "'count' must be between 1 and 100, found the integer 0"),
        (
            "environments: {a: {rollout: {step: {min_time: 10}}}}",
            "'min_time' must be a duration with a unit, found the integer 10",
        ),
        (
            "environments: {a: {rollout: {step: {min_time: 1h, max_time: 1m}}}}",
            "'max_time' must not be shorter than 'min_time'",
        ),
        ("environments: {a: {rollout: {judge: {errors: {over: [p90]}}}}}", "unknown key 'over' in 'errors'"),
        ("environments: {a b: {}}", "'a b' cannot be a name"),
        (
            "model: {name: digits, path: ../model}",
            "'path' must be a path inside the repository, found the text '../model'",
        ),
        (
            "python: setup.py",
            "'python' must be a requirements .txt file, pyproject.toml or uv.lock, found the text 'setup.py'",
        ),
        ("- a", "the file must be a mapping, found a list"),
    ] {
        assert_eq!(refusal(text).message, message, "{text}");
    }
}

#[test]
fn what_comes_later_is_refused_by_name() {
    for (text, what) in [
        ("monitors: {}", "monitors"),
        ("environments: {a: {freeze: []}}", "freeze"),
        ("environments: {a: {target: {kind: kubernetes}}}", "target kubernetes"),
        ("checks: {a: {path: x, suite: y, on_fail: quarantine}}", "on_fail quarantine"),
    ] {
        assert_eq!(refusal(text).message, format!("not supported yet: {what}"));
    }
}

/// Each mapping of the file, with an unknown key in it: the reader then says which keys it knows.
#[test]
fn the_published_schema_has_the_keys_of_the_reader() {
    let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
    let rollout = |inner: &str| format!("environments: {{a: {{rollout: {inner}}}}}");
    let judge = |inner: &str| rollout(&format!("{{judge: {inner}}}"));
    let gate = |inner: &str| format!("environments: {{a: {{gates: [{inner}]}}}}");
    for (definition, text) in [
        ("", "zzzzzzzz: 1".to_owned()),
        ("model", "model: {name: a, path: b, zzzzzzzz: 1}".into()),
        ("on", "on: {zzzzzzzz: 1}".into()),
        ("push", "on: {push: {zzzzzzzz: 1}}".into()),
        ("schedule", "on: {schedule: {a: {every: 1h, zzzzzzzz: 1}}}".into()),
        ("data_trigger", "on: {data: {path: a, zzzzzzzz: 1}}".into()),
        ("model_trigger", "on: {model: {name: a, alias: b, zzzzzzzz: 1}}".into()),
        ("run_trigger", "on: {run: {project: a, zzzzzzzz: 1}}".into()),
        ("webhook", "on: {webhook: {zzzzzzzz: 1}}".into()),
        ("pull_request", "on: {pull_request: {zzzzzzzz: 1}}".into()),
        ("monitor", "on: {monitor: {zzzzzzzz: 1}}".into()),
        ("manual", "on: {manual: {params: {}, zzzzzzzz: 1}}".into()),
        ("manual_param", "on: {manual: {params: {a: {type: text, zzzzzzzz: 1}}}}".into()),
        ("retries", "retries: {a: {count: 1, zzzzzzzz: 1}}".into()),
        ("concurrency", "concurrency: {group: a, zzzzzzzz: 1}".into()),
        ("timeouts", "timeouts: {a: {run: 1m, zzzzzzzz: 1}}".into()),
        ("stage", "stages: {a: {zzzzzzzz: 1}}".into()),
        ("check", "checks: {a: {path: b, suite: c, zzzzzzzz: 1}}".into()),
        ("environment", "environments: {a: {zzzzzzzz: 1}}".into()),
        ("latency_gate", gate("{name: a, check: latency, p99_ms: 1, zzzzzzzz: 1}")),
        ("artifact_scan_gate", gate("{name: a, check: artifact_scan, zzzzzzzz: 1}")),
        ("approvals", "environments: {a: {approvals: {count: 1, zzzzzzzz: 1}}}".into()),
        ("batching", "environments: {a: {batching: {max_rows: 8, zzzzzzzz: 1}}}".into()),
        ("prediction_log", "environments: {a: {prediction_log: {sample: 5%, zzzzzzzz: 1}}}".into()),
        ("target", "environments: {a: {target: {kind: local, zzzzzzzz: 1}}}".into()),
        ("rollout", rollout("{zzzzzzzz: 1}")),
        ("step", rollout("{step: {zzzzzzzz: 1}}")),
        ("judge", judge("{zzzzzzzz: 1}")),
        ("metric", judge("{errors: {zzzzzzzz: 1}}")),
        ("latency_metric", judge("{latency: {zzzzzzzz: 1}}")),
        ("safe", judge("{errors: {safe: {zzzzzzzz: 1}}}")),
        ("value_metric", judge("{metrics: {a: {better: higher, effect: 1, zzzzzzzz: 1}}}")),
    ] {
        let help = refusal(&text).help.expect(&text);
        let known: Vec<&str> = help.strip_prefix("known keys: ").expect(&text).split(", ").collect();
        let place =
            if definition.is_empty() { "/properties".to_owned() } else { format!("/$defs/{definition}/properties") };
        let published = schema.pointer(&place).and_then(|p| p.as_object()).expect(definition);
        // Every gate is asked for the three keys that tell the kinds apart.
        let foreign = |key: &str| definition.ends_with("_gate") && matches!(key, "checks" | "require");
        let known: Vec<&str> = known.into_iter().filter(|key| !foreign(key)).collect();
        assert_eq!(published.keys().map(String::as_str).collect::<Vec<_>>(), known, "{definition}");
    }
}

#[test]
fn numbers_that_are_told_later_have_a_direction_and_bounds() {
    let text = |metrics: &str| format!("environments: {{a: {{rollout: {{judge: {{metrics: {metrics}}}}}}}}}");
    let judge = |metrics: &str| read("towpath.yaml", &text(metrics)).unwrap().environments[0].rollout.judge.clone();
    let read = judge("{revenue: {better: higher, effect: 2.5, bounds: [0, 200], required: true}}");
    let revenue = ValueMetric {
        name: "revenue".into(),
        better: Better::Higher,
        effect: 2.5,
        bounds: Some((0.0, 200.0)),
        share: 0.2,
        required: true,
    };
    assert_eq!((read.metrics, read.errors), (vec![revenue], Some(defaults::errors())));
    let minutes = judge("{minutes: {better: lower, effect: 1}}").metrics.remove(0);
    assert_eq!((minutes.better, minutes.bounds, minutes.share), (Better::Lower, None, 0.0));
    for (metrics, message) in [
        ("{a: {effect: 1}}", "'better' is missing in 'a'"),
        ("{a: {better: higher, effect: 0}}", "'effect' must be a number above 0, found the integer 0"),
        ("{a: {better: up, effect: 1}}", "'better' must be higher or lower, found the text 'up'"),
        (
            "{a: {better: higher, effect: 1, bounds: [9, 1]}}",
            "'bounds' must be the lowest and the highest value, such as [0, 100], found a list",
        ),
        (
            "{a: {better: higher, effect: 9, bounds: [1, 9]}}",
            "'effect' must be smaller than what lies between the bounds",
        ),
        (
            "{a: {better: higher, effect: 1, required: true}}",
            "a metric without 'bounds' decides nothing, it is only shown",
        ),
        ("{labels: {better: higher, effect: 1}}", "'labels' has a meaning of its own"),
    ] {
        assert_eq!(refusal(&text(metrics)).message, message);
    }
}

#[test]
fn the_policy_of_a_stage_is_read() {
    let text = "\
timeouts: {train: {run: 2h, queue: 10m, heartbeat: 5m}, '*': 1h}
stages:
  train:
    if: params.epochs > 0
    resources: {cpu: 2, memory: 4GB, gpu: 1, licences: 3}
    secrets: [HF_TOKEN]
    priority: 5
  publish:
    approval: {count: 2, from: [risk]}
    environment: production
    secrets: {TOKEN: registry-token}
";
    let project = read("towpath.yaml", text).unwrap();
    assert_eq!((project.timeouts["train"], project.timeouts["*"]), (7200, 3600));
    let waits = project.waits_of("train");
    assert_eq!((waits.queue_seconds, waits.heartbeat_seconds), (Some(600.0), Some(300.0)));
    let train = project.policy_of("train@3").unwrap();
    assert_eq!(train.condition.as_deref(), Some("params.epochs > 0"));
    let pools = BTreeMap::from([("licences".to_owned(), 3)]);
    assert_eq!(train.resources, Resources { cpu: 2.0, memory: Some(4_000_000_000), gpu: 1, pools });
    assert_eq!((train.secrets["HF_TOKEN"].as_str(), train.priority), ("HF_TOKEN", 5));
    let publish = project.policy_of("publish").unwrap();
    assert_eq!(publish.approval, Some(Approvals { count: 2, from: vec!["risk".into()] }));
    assert_eq!(
        (publish.environment.as_deref(), publish.secrets["TOKEN"].as_str()),
        (Some("production"), "registry-token")
    );
    for (text, message) in [
        ("stages: {a: {if: secrets.x}}", "'if': 'secrets.x' names 'secrets'; params, metrics, trigger are known"),
        (
            "stages: {a: {secrets: [hf-token]}}",
            "a variable has letters, digits and '_', and does not begin with a digit",
        ),
        ("stages: {a: {resources: {memory: 4}}}", "'memory' must be a size with a unit, found the integer 4"),
    ] {
        assert_eq!(refusal(text).message, message, "{text}");
    }
}

#[test]
fn everything_below_on_is_read() {
    let text = "\
on:
  push: {branches: [], tags: ['v*']}
  schedule:
    nightly: {cron: 0 3 * * MON-FRI, timezone: Europe/Berlin, jitter: 10m, catch_up: 5, time_param: day, params: {epochs: 3}}
    often: {every: 6h, overlap: cancel, catch_up: skip}
  data: {path: data/images}
  model: {name: digits, alias: champion}
  run: {project: features, ended: any}
  webhook: {events: [push], values: {label: /ref}}
  pull_request: {branches: [main]}
  monitor: {alerts: [Drift*], labels: {model: digits}, values: {alert: /labels/alertname}}
  manual: {params: {train.epochs: {type: integer, min: 1, default: 10}}}
";
    let project = read("towpath.yaml", text).unwrap();
    assert!(tag_starts_run(&project, "v1.2") && !tag_starts_run(&project, "w1") && !push_starts_run(&project, "main"));
    let names: Vec<&str> = project.triggers.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["nightly", "often", "data", "model", "run", "webhook", "pull_request", "monitor"]);
    assert_eq!(project.triggers[6].when, When::PullRequest { branches: vec!["main".into()] });
    let When::Schedule(nightly) = &project.triggers[0].when else { panic!("a schedule") };
    assert_eq!((nightly.jitter_seconds, nightly.catch_up), (600, CatchUp::All { limit: 5 }));
    assert_eq!(nightly.time_param.as_ref().map(|t| t.format.as_str()), Some("%Y-%m-%d"));
    assert_eq!(project.triggers[0].overlap, Overlap::Skip);
    assert_eq!(project.triggers[1].overlap, Overlap::Cancel);
    assert_eq!(project.triggers[2].when, When::Data { paths: vec!["data/images".into()] });
    assert_eq!(project.manual["train.epochs"].default, Some(serde_json::json!(10)));
    let short = read("towpath.yaml", "on: {schedule: 0 3 * * MON}").unwrap();
    assert_eq!(short.triggers[0].name, "schedule");
}

#[test]
fn a_trigger_that_cannot_be_names_what_would_be_right() {
    for (text, message) in [
        ("on: {schedule: 0 3 * *}", "'schedule': five fields (minute, hour, day, month, weekday), found 4"),
        ("on: {schedule: {a: {cron: 0 25 * * *}}}", "'cron': hour: '25' is not a number from 0 to 23"),
        (
            "on: {schedule: {a: {cron: 0 3 * * *, timezone: Berlin}}}",
            "'timezone' must be a time zone such as Europe/Berlin, found the text 'Berlin'",
        ),
        ("on: {schedule: {a: {every: 1s}}}", "'every' must be at least 10 s"),
        ("on: {schedule: {a: {}}}", "'a' needs either 'cron' or 'every'"),
        ("on: {schedule: {data: {every: 1h}}}", "'data' cannot be the name of a schedule: another trigger has it"),
        (
            "on: {manual: {params: {a: {type: integer, max: 3, default: 4}}}}",
            "'default' must be at most 3, found the integer 4",
        ),
        ("on: {webhook: {values: {a: ref}}}", "'a' must be a JSON pointer such as /data/version, found the text 'ref'"),
    ] {
        assert_eq!(refusal(text).message, message);
    }
}

#[test]
fn retries_and_concurrency_are_read() {
    let text = "retries: {train: {count: 2, delay: 1s, exit_codes: [75]}, '*': 1}\nconcurrency: '${branch}'\n";
    let project = read("towpath.yaml", text).unwrap();
    let train = project.retries_of("train").unwrap();
    assert_eq!((train.count, train.exit_codes.as_slice(), train.max_delay_seconds), (2, &[75][..], 600.0));
    assert_eq!(project.retries_of("other").unwrap().count, 1);
    let concurrency = project.concurrency.unwrap();
    assert_eq!(concurrency.group_of(Some("main"), "push"), "main");
    assert!(!concurrency.cancel_in_progress);
    assert_eq!(
        refusal("retries: {a: -1}").message,
        "'a' must be how many attempts follow the first (0 to 100), found the integer -1"
    );
}
