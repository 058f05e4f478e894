//! Every flag of DVC's verbs is one of ours: scripts that were written for `dvc` run.

use std::collections::BTreeMap;

use crate::program::Home;

/// The flags of each verb, as the real client's help shows them.
const FLAGS: &str = r#"
import argparse, json
from dvc.cli.parser import get_main_parser
found = {}
def walk(parser, path):
    subparsers = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    found[" ".join(path)] = sorted(
        flag for action in parser._actions if action.help != argparse.SUPPRESS for flag in action.option_strings)
    for action in subparsers:
        for name, below in action.choices.items():
            walk(below, [*path, name])
walk(get_main_parser(), [])
print(json.dumps(found))
"#;

const VERBS: [&str; 44] = [
    "init",
    "config",
    "remote add",
    "remote default",
    "remote list",
    "remote modify",
    "remote remove",
    "remote rename",
    "add",
    "remove",
    "move",
    "commit",
    "checkout",
    "status",
    "data status",
    "diff",
    "fetch",
    "pull",
    "push",
    "gc",
    "import",
    "import-url",
    "update",
    "get",
    "get-url",
    "list",
    "list-url",
    "ls",
    "ls-url",
    "unprotect",
    "check-ignore",
    "cache dir",
    "cache migrate",
    "root",
    "version",
    "repro",
    "stage add",
    "stage list",
    "freeze",
    "unfreeze",
    "dag",
    "metrics show",
    "metrics diff",
    "params diff",
];

#[test]
fn every_flag_of_dvc_is_ours() {
    let home = Home::new();
    let python = towpath_testkit::python::program("python").unwrap();
    let output = home.command(python).args(["-c", FLAGS]).output().unwrap();
    let flags: BTreeMap<String, Vec<String>> = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let mut lacking = Vec::new();
    for verb in VERBS {
        let arguments: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let help = home.ok(&arguments);
        let words = help.split(|c: char| c.is_whitespace() || c == ',');
        let ours: Vec<&str> = words.map(|word| word.trim_end_matches('.')).collect();
        for flag in flags.get(verb).unwrap_or_else(|| panic!("dvc has no {verb}")) {
            if !ours.contains(&flag.as_str()) {
                lacking.push(format!("{verb} {flag}"));
            }
        }
    }
    assert_eq!(lacking, Vec::<String>::new());
}
