//! Templates, `foreach` and `matrix` as the real DVC resolves them.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use towpath_plan::frontend::dvc_yaml::{self, Arguments, Sources};

use crate::real_dvc::Repository;

const PARAMS: &str = r#"lr: 1e-5
seed: 7
name: "it's a name"
flag: true
nothing: null
models: [cnn, rnn]
sizes: [1, 2.50, false]
composite: [{x: 1, y: [a, b]}, {x: 2, y: [c]}]
train:
  epochs: 10
  deep: {er: [10, {est: end}]}
  verbose: false
  shuffle: true
  tags: [a, "b c"]
  empty: {}
"#;

/// Pipelines that a person would write; each is resolved beside `PARAMS`, `more.toml` and `more.py`.
const WRITTEN: &[&str] = &[
    "vars: [{a: {b: 1}}, {a: {c: x}}, more.toml, 'more.py:Net']\nstages:\n  s: {cmd: 'run ${a.b} ${a[c]} ${table.n} ${Net.layers[-1]} ${lr}', meta: {kept: '${flag}', text: 'f ${flag}', list: ['${seed}', '${nothing}']}}\n",
    "stages:\n  s: {cmd: 'run ${train}'}\n",
    "stages:\n  s: {cmd: ['a \\${b} ${seed}', 'c ${name}']}\n",
    "stages:\n  s: {foreach: '${models}', do: {cmd: 'train ${item}', deps: ['${item}.py'], outs: ['out/${item}']}}\n",
    "stages:\n  s: {foreach: '${sizes}', do: {cmd: 'train ${item}', meta: '${item}'}}\n",
    "stages:\n  s: {foreach: '${composite}', do: {cmd: 'train ${item.x} ${item.y[0]}'}}\n",
    "stages:\n  s: {foreach: {us: {n: 1}, uk: {n: 2}}, do: {cmd: 'train ${key} ${item.n}', wdir: '${key}', outs: ['${key}.txt': {cache: false}]}}\n",
    "stages:\n  s: {foreach: [a, b, a], do: {cmd: 'x ${item}', vars: [{v: 1}], meta: '${v}'}}\n",
    "stages:\n  s: {matrix: {model: '${models}', part: '${composite}', n: [1, 1.0, true]}, cmd: 'x ${item.model} ${item.part.x} ${item.n} ${key}', outs: ['${key}']}\n",
    "stages:\n  s: {matrix: {a: [x-y, x], b: [z, y-z]}, cmd: 'run ${item.a} ${item.b}'}\n",
    "stages:\n  s: {cmd: 'x ${train.deep.er[1].est} ${ seed } ${nothing}'}\n",
    "stages:\n  s: {cmd: 'x ${missing}'}\n",
    "stages:\n  s: {cmd: 'x ${models}'}\n",
    "stages:\n  s: {cmd: x, deps: ['${train}']}\n",
    "stages:\n  s: {cmd: 'x ${}'}\n",
    "stages:\n  s: {cmd: 'x ${models[9]}'}\n",
    "vars: [{seed: 8}]\nstages:\n  s: {cmd: x}\n",
    "vars: ['params.yaml:seed']\nstages:\n  s: {cmd: x}\n",
    "vars: [params.yaml, {a: '${seed}'}]\nstages:\n  s: {cmd: x}\n",
    "vars: ['more.toml:table', 'more.toml:other']\nstages:\n  s: {cmd: 'x ${table.n} ${other}'}\n",
    "vars: ['more.toml:table', more.toml]\nstages:\n  s: {cmd: x}\n",
    "vars: ['more.toml:none']\nstages:\n  s: {cmd: x}\n",
    "stages:\n  s: {foreach: '${seed}', do: {cmd: x}}\n",
    "stages:\n  s: {foreach: [1], do: {cmd: x, vars: [{item: 2}]}}\n",
    "stages:\n  s: {cmd: x, wdir: '${models[0]}', vars: [inner.yaml], meta: '${inner}'}\n",
];

fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z .=]{0,5}",
        prop::sample::select(vec![
            "${lr}",
            "${seed}",
            "${flag}",
            "${nothing}",
            "${models[1]}",
            "${train.deep.er[0]}",
            "${train[epochs]}",
            "\\${seed}",
            "$seed",
            "${item.m}",
            "${key}",
            "${v}",
            "${{seed}",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.concat())
}

fn pipeline() -> impl Strategy<Value = Value> {
    let item = prop_oneof![Just(json!({"m": "a"})), Just(json!({"m": 2.5})), Just(json!({"m": true}))];
    let body =
        (prop::collection::vec(text(), 1..3), text(), text(), any::<bool>()).prop_map(|(cmd, dep, meta, own_vars)| {
            let cmd: Vec<String> = cmd.into_iter().map(|line| format!("echo {line}")).collect();
            let mut body = json!({"cmd": cmd, "deps": [format!("d{dep}")], "meta": {"a": [meta]}});
            if own_vars {
                body["vars"] = json!([{"v": 1e-7}]);
            }
            body
        });
    (body, prop::collection::vec(item, 1..3), 0..4).prop_map(|(mut body, items, kind)| {
        let stage = match kind {
            0 => body,
            1 => json!({"foreach": items, "do": body}),
            2 => {
                let named: serde_json::Map<_, _> =
                    items.into_iter().enumerate().map(|(at, item)| (format!("k{at}"), item)).collect();
                json!({"foreach": named, "do": body})
            }
            _ => {
                body["matrix"] = json!({"m": ["x", 1, null], "other": items});
                body
            }
        };
        json!({"stages": {"s": stage}})
    })
}

/// Our stages as the script writes DVC's, or nothing when the file is refused.
fn ours(repository: &Repository, folder: &str, text: &str) -> Result<Value, String> {
    let read = |path: &str| match fs::read_to_string(repository.path(path)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    let sources = Sources { read: &read, arguments: Arguments::default() };
    let pipeline = dvc_yaml::read(&format!("{folder}/dvc.yaml"), text, &sources).map_err(|error| error.to_string())?;
    let stages = pipeline.stages.iter().map(|stage| {
        let inside = stage.wdir.strip_prefix(folder).unwrap_or(&stage.wdir).trim_start_matches('/');
        json!({
            "name": stage.name,
            "cmd": stage.cmd.to_json(),
            "wdir": if inside.is_empty() { "." } else { inside },
            "deps": stage.deps.iter().map(|dep| &dep.written).collect::<Vec<_>>(),
            "outs": stage.outs.iter().map(|out| &out.at.written).collect::<Vec<_>>(),
            "meta": stage.meta.as_ref().map(towpath_yaml::Value::to_json),
        })
    });
    Ok(stages.collect())
}

#[test]
fn stages_are_what_dvc_makes_of_templates_foreach_and_matrix() {
    let repository = Repository::new();
    let mut runner = TestRunner::deterministic();
    let generated = (0..150).map(|_| {
        let value = pipeline().new_tree(&mut runner).expect("a pipeline").current();
        towpath_yaml::emit(&towpath_yaml::Value::from_json(&value))
    });
    let texts: BTreeMap<String, String> = WRITTEN
        .iter()
        .map(|text| (*text).to_owned())
        .chain(generated)
        .enumerate()
        .map(|(at, text)| (format!("case{at:03}"), text))
        .collect();
    for (folder, text) in &texts {
        repository.write(&format!("{folder}/dvc.yaml"), text);
        repository.write(&format!("{folder}/params.yaml"), PARAMS);
        repository.write(&format!("{folder}/more.toml"), "other = 1\n[table]\nn = 2.0\n");
        repository.write(&format!("{folder}/more.py"), "class Net:\n    layers = [1, 2]\nOther = 3\n");
        repository.write(&format!("{folder}/cnn/inner.yaml"), "inner: 4\n");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/resolve.py");
    let resolved: BTreeMap<String, Value> =
        serde_json::from_str(repository.run("python", &[script]).lines().last().expect("a line")).expect("JSON");
    assert_eq!(resolved.len(), texts.len());
    let mut accepted = 0;
    for (folder, text) in &texts {
        let (theirs, ours) = (&resolved[folder], ours(&repository, folder, text));
        match ours {
            Ok(stages) => {
                assert_eq!(&stages, theirs, "{text}");
                accepted += 1;
            }
            Err(refusal) => assert!(theirs.get("error").is_some(), "{text}\nours: {refusal}\ntheirs: {theirs}"),
        }
    }
    assert!(accepted > 40 && accepted < texts.len(), "{accepted} of {} were accepted", texts.len());
}

#[test]
fn a_mapping_becomes_arguments_as_the_configuration_says() {
    let text = "vars: [{o: {a: false, b: true, c: [1, 'x y'], d: {e: 2}}}]\nstages: {s: {cmd: 'run ${o}'}}\n";
    let command = |arguments| {
        let sources = Sources { arguments, ..Sources::none() };
        dvc_yaml::read("dvc.yaml", text, &sources).unwrap().stages[0].command()
    };
    assert_eq!(command(Arguments::default()), "run --b --c 1 'x y' --d.e 2");
    let other = Arguments::of_config(Some("boolean_optional"), Some("append"));
    assert_eq!(command(other), "run --no-a --b --c 1 --c 'x y' --d.e 2");
}

#[test]
fn a_small_file_does_not_become_an_endless_one() {
    let axis = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let long = "x".repeat(100_000);
    let text = format!(
        "vars: [{{v: {long}}}]\nstages: {{s: {{matrix: {{a: [{axis}], b: [{axis}], c: [{axis}]}}, cmd: 'x ${{v}}'}}}}"
    );
    let error = dvc_yaml::read("dvc.yaml", &text, &Sources::none()).unwrap_err();
    assert!(error.to_string().contains("more than 1000000 values"), "{error}");
}
