//! `towpath run start` of a folder with an `MLproject`, beside the real `mlflow run`.

use std::process::Command;

use serde_json::{Value, json};

use super::installation::Installation;

const PROJECT: &str = "\
name: Wine
python_env: python_env.yaml
entry_points:
  main:
    parameters:
      data: {type: path, default: data.csv}
      alpha: {type: float, default: 0.5}
      title: string
    command: python3 train.py {data} {alpha} {title}
  fail:
    command: exit 3
";

/// Logs what it was run with, as a client would, and what it finds in its environment.
const SCRIPT: &str = "\
import json, os, sys, urllib.request
def post(path, **body):
    url = os.environ['MLFLOW_TRACKING_URI'] + '/api/2.0/mlflow/runs/' + path
    body['run_id'] = os.environ['MLFLOW_RUN_ID']
    request = urllib.request.Request(url, json.dumps(body).encode(), {'Content-Type': 'application/json'})
    urllib.request.urlopen(request).read()
post('log-metric', key='lines', value=len(open(sys.argv[1]).readlines()), timestamp=1, step=0)
post('set-tag', key='argv', value=json.dumps(sys.argv[1:]))
post('set-tag', key='experiment', value=os.environ['MLFLOW_EXPERIMENT_ID'])
print('trained', sys.argv[3])
";

/// The newest run of the default experiment, without what differs from run to run.
async fn newest(installation: &Installation) -> Value {
    let search = json!({"experiment_ids": ["0"], "max_results": 1});
    let (status, found) = installation.call("POST", "/api/2.0/mlflow/runs/search", None, Some(search)).await;
    assert_eq!(status, 200, "{found}");
    let run = &found["runs"][0];
    let pairs = |list: &Value| {
        let items = list.as_array().cloned().unwrap_or_default();
        let mut pairs: Vec<(String, Value)> =
            items.into_iter().map(|item| (item["key"].as_str().unwrap().to_owned(), item["value"].clone())).collect();
        pairs.retain(|(key, _)| key != "mlflow.runName");
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    let data = &run["data"];
    json!({
        "status": run["info"]["status"],
        "over": run["info"]["end_time"] != Value::Null,
        "params": pairs(&data["params"]),
        "metrics": pairs(&data["metrics"]),
        "tags": pairs(&data["tags"]),
    })
}

fn finished(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn a_project_leaves_the_record_that_mlflow_run_leaves() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let files = [
        ("MLproject", PROJECT),
        ("train.py", SCRIPT),
        ("data.csv", "1\n2\n"),
        ("python_env.yaml", "dependencies: []\n"),
    ];
    for (name, content) in files {
        installation.write(name, content);
    }
    installation.home.git(&["add", "--all"]);
    installation.home.git(&["commit", "--quiet", "--message", "A project"]);
    let folder = installation.home.path("");
    let url = installation.url.clone();
    let run = |entry_point: &str, environment: &str| {
        let mut command = installation.command(env!("CARGO_BIN_EXE_towpath"));
        command.args(["run", "start", ".", "-e", entry_point, "--env-manager", environment]).env("USER", "ds-1");
        command
    };
    let mut theirs = installation.command(towpath_testkit::python::program("mlflow").unwrap());
    theirs.args(["run", folder.to_str().unwrap(), "--env-manager", "local"]);
    theirs.args(["-P", "title=it's new", "-P", "seed=1 2"]);
    theirs
        .env("MLFLOW_TRACKING_URI", &url)
        .env("USER", "ds-1")
        .env("LOGNAME", "ds-1")
        .env("GIT_PYTHON_REFRESH", "quiet");
    let (code, said) = finished(&mut theirs);
    assert_eq!(code, Some(0), "{said}");
    let expected = newest(&installation).await;

    let (code, said) = finished(run("main", "local").args(["-P", "title=it's new", "-P", "seed=1 2"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("trained it's new"), "{said}");
    let ours = newest(&installation).await;
    assert_eq!(ours, expected, "{ours:#}\n{expected:#}");

    // In an environment of its own, and one that fails.
    let (code, said) = finished(run("main", "uv").args(["-P", "title=x", "-P", "alpha=1"]));
    assert_eq!(code, Some(0), "{said}");
    let own = newest(&installation).await;
    assert!(own["tags"].as_array().unwrap().contains(&json!(["mlflow.project.env", "uv"])), "{own:#}");
    let (code, said) = finished(&mut run("fail", "local"));
    assert_eq!((code, newest(&installation).await["status"].clone()), (Some(1), json!("FAILED")), "{said}");
    let (code, said) = finished(&mut run("main", "local"));
    assert!(code == Some(2) && said.contains("no value is given for 'title'"), "{code:?} {said}");
}

#[tokio::test]
async fn a_project_of_a_git_url_is_run_at_a_version_in_a_folder_of_it() {
    let mut installation = Installation::stopped();
    installation.start().await;
    installation.write("inner/hello.sh", "echo hello $2\n");
    installation.home.git(&["add", "--all"]);
    installation.home.git(&["commit", "--quiet", "--message", "Hello"]);
    installation.home.git(&["tag", "v1"]);
    installation.write("inner/hello.sh", "exit 9\n");
    installation.home.git(&["commit", "--quiet", "--all", "--message", "Broken"]);
    let origin = installation.home.outside("origin.git");
    installation.home.git(&["clone", "--quiet", "--bare", ".", origin.to_str().unwrap()]);
    let url = format!("file://{}#inner", origin.display());
    let mut command = installation.command(env!("CARGO_BIN_EXE_towpath"));
    let (code, said) =
        finished(command.args(["run", "start", &url, "-e", "hello.sh", "--version", "v1", "-P", "to=you"]));
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("hello you"), "{said}");
    let record = newest(&installation).await;
    assert!(record["tags"].as_array().unwrap().contains(&json!(["mlflow.source.name", url])), "{record:#}");
    assert_eq!(record["params"], json!([["to", "you"]]));
}
