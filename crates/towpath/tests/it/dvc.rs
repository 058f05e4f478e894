//! The real client.

use serde_json::json;

use crate::program::{Home, text};

/// Runs several commands in one process; each gives its exit code and what it printed.
const DVC: &str = r#"
import json, os, sys, tempfile
from dvc.cli import main
results = []
stdout = os.dup(1)
for arguments in json.loads(sys.argv[1]):
    with tempfile.TemporaryFile("w+") as out:
        os.dup2(out.fileno(), 1)
        code = main(arguments)
        sys.stdout.flush()
        os.dup2(stdout, 1)
        out.seek(0)
        results.append([code, out.read()])
print(json.dumps(results))
"#;

/// What each of the commands prints; all must succeed.
pub(crate) fn dvc(home: &Home, commands: &[&[&str]]) -> Vec<String> {
    let python = towpath_testkit::python::program("python").unwrap();
    let output = home.command(python).args(["-c", DVC, &json!(commands).to_string()]).output().unwrap();
    let said = text(&output.stdout);
    let results: Vec<(i64, String)> = serde_json::from_str(said.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {said}{}", text(&output.stderr)));
    let checked = results.into_iter().zip(commands).map(|((code, out), command)| {
        assert_eq!(code, 0, "dvc {command:?}: {out}{}", text(&output.stderr));
        out
    });
    checked.collect()
}
