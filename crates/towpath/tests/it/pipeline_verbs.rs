//! The verbs about stages, metrics and parameters, beside the real client.

use serde_json::Value;

use crate::dvc::dvc;
use crate::program::{Home, text};

fn git(home: &Home, arguments: &[&str]) {
    let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
    let output = home.command("git").args(identity).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

const PREPARE: [&str; 19] = [
    "stage",
    "add",
    "-n",
    "prepare",
    "-d",
    "raw",
    "-d",
    "a.py",
    "-p",
    "lr,seed",
    "-p",
    "other.json:x",
    "-o",
    "clean",
    "-O",
    "plain",
    "--desc",
    "first step",
    "python a.py --rate ${lr}",
];
const TRAIN: [&str; 19] = [
    "stage",
    "add",
    "--name",
    "train",
    "--deps",
    "clean",
    "--outs-persist",
    "model",
    "--outs-persist-no-cache",
    "kept",
    "-m",
    "m.json",
    "-M",
    "n.json",
    "--plots-no-cache",
    "p.csv",
    "--always-changed",
    "echo",
    "two words",
];

#[test]
fn stages_are_written_listed_frozen_and_drawn_as_dvc_does() {
    let (ours, theirs) = (Home::repository(), Home::repository());
    for home in [&ours, &theirs] {
        home.write("params.yaml", "lr: 0.5\nseed: 1\n");
        home.write("other.json", "{\"x\": 1}");
    }
    let listed = dvc(
        &theirs,
        &[
            &PREPARE,
            &TRAIN,
            &["stage", "list"],
            &["stage", "list", "--name-only"],
            &["dag", "--mermaid"],
            &["dag", "--md", "prepare"],
            &["dag", "--dot"],
            &["dag", "--mermaid", "--outs"],
            &["freeze", "train"],
        ],
    );
    ours.ok(&PREPARE);
    ours.ok(&TRAIN);
    let words =
        |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(words(&ours.ok(&["stage", "list"])), words(&listed[2]));
    assert_eq!(words(&ours.ok(&["stage", "list", "--name-only"])), words(&listed[3]));
    assert_eq!(ours.ok(&["dag", "--mermaid"]).trim(), listed[4].trim());
    assert_eq!(ours.ok(&["dag", "--md", "prepare"]).trim(), listed[5].trim());
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|line| line.replace("digraph  {", "digraph {")).collect();
        lines.retain(|line| !line.is_empty());
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ours.ok(&["dag", "--dot"])), sorted(&listed[6]));
    assert_eq!(ours.ok(&["dag", "--mermaid", "--outs"]).trim(), listed[7].trim());
    assert!(ours.ok(&["dag"]).contains("| prepare |"));
    ours.ok(&["freeze", "train"]);
    assert_eq!(ours.read("dvc.yaml"), theirs.read("dvc.yaml"));
    let ignored = |home: &Home| {
        let mut lines: Vec<String> = home.read(".gitignore").lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(ignored(&ours), ignored(&theirs));
    ours.ok(&["unfreeze", "train"]);
    assert!(!ours.read("dvc.yaml").contains("frozen"));
    let (code, said) = ours.fails(&PREPARE);
    assert_ne!(code, 0);
    assert!(said.contains("stage 'prepare' is in 'dvc.yaml' already") && said.contains("--force"), "{said}");
    let (_, said) = ours.fails(&["stage", "add", "-n", "other", "-o", "clean/x", "true"]);
    assert!(said.contains("overlap"), "{said}");
}

#[test]
fn metrics_and_parameters_of_commits_are_compared_as_dvc_does() {
    let home = Home::repository();
    home.write("params.yaml", "lr: 0.1\nmodel: {hidden: 64, layers: [1, 2]}\nname: a\n");
    home.write(
        "dvc.yaml",
        "stages:\n  train:\n    cmd: cp source.json m.json && cp source.json kept.json\n    deps: [source.json]\n    params: [lr]\n    metrics:\n    - m.json: {cache: false}\n    - kept.json\n",
    );
    home.write("source.json", r#"{"acc": 0.123456789, "n": 3, "test": {"auc": 0.5, "list": [1]}, "name": "x"}"#);
    home.ok(&["repro"]);
    git(&home, &["add", "-A"]);
    git(&home, &["commit", "-qm", "first"]);
    home.write("params.yaml", "lr: 0.2\nmodel: {hidden: 64, layers: [1, 3]}\nnew: true\n");
    home.write("source.json", r#"{"acc": 0.2, "n": 5, "test": {"auc": 0.5}, "name": "y"}"#);
    home.ok(&["repro"]);
    let commands: [&[&str]; 10] = [
        &["metrics", "diff", "--json"],
        &["params", "diff", "--json"],
        &["metrics", "diff", "--json", "--all"],
        &["params", "diff", "--json", "--deps", "--all"],
        &["metrics", "show", "--json"],
        &["metrics", "show", "--json", "-a"],
        &["metrics", "diff", "--md"],
        &["params", "diff", "--md", "--no-path"],
        &["metrics", "show", "--md", "--precision", "2"],
        &["metrics", "diff", "--targets", "m.json"],
    ];
    for (command, theirs) in commands.iter().zip(dvc(&home, &commands)) {
        let ours = home.ok(command);
        if command.contains(&"--json") {
            let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"));
            assert_eq!(parsed(&ours), parsed(&theirs), "{command:?}");
        } else {
            let lines = |text: &str| {
                let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
                lines.retain(|line| !line.is_empty());
                // Files come in the order of a Python set.
                lines.sort();
                lines
            };
            assert_eq!(lines(&ours), lines(&theirs), "{command:?}");
        }
    }
}

#[test]
fn a_stage_says_which_content_changed_and_since_which_commit() {
    let home = Home::repository();
    home.write("dvc.yaml", "stages:\n  copy: {cmd: cp in out, deps: [in], outs: [out]}\n");
    home.write("in", "1\n");
    home.ok(&["repro"]);
    git(&home, &["add", "-A"]);
    git(&home, &["commit", "-qm", "first run"]);
    let why = |home: &Home| serde_json::from_str::<Value>(&home.ok(&["why", "copy", "--json"])).unwrap()[0].clone();
    let said = why(&home);
    assert_eq!((said["action"].as_str(), said["recorded_in"]["subject"].as_str()), (Some("reuse"), Some("first run")));
    home.write("in", "2\n");
    let said = why(&home);
    assert_eq!(said["why"], "in changed");
    assert_eq!(said["changes"][0]["since"], Value::Null, "not committed: {said}");
    let later = ["GIT_AUTHOR_DATE=2037-01-01T00:00:00Z"];
    git(&home, &["add", "in"]);
    let mut command = home.command("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "more input"]);
    for variable in later {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value);
    }
    assert!(command.output().unwrap().status.success());
    assert_eq!(why(&home)["changes"][0]["since"]["subject"], "more input");
    let text = home.ok(&["why", "copy"]);
    assert!(text.starts_with("copy would run: in changed\n  in: ") && text.contains("more input"), "{text}");
}
