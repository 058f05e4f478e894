//! `towpath run start` of a pipeline that the SDK of Kubeflow Pipelines compiled.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::installation::{Installation, as_this_machine_installs};

#[tokio::test]
async fn a_compiled_pipeline_is_recorded_with_its_parameters_and_metrics() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kfp/tests/pipelines.py");
    let folder = installation.home.path("");
    let compiled = Command::new(towpath_testkit::python::kfp().unwrap()).arg(script).arg(&folder).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let start = |arguments: &[&str]| {
        let mut command = installation.command(env!("CARGO_BIN_EXE_towpath"));
        as_this_machine_installs(&mut command);
        command.args(["run", "start", "three-steps.yaml"]).args(arguments).output().unwrap()
    };
    let wrong = start(&["-P", "rows=many"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("parameter 'rows' must be a whole number, found \"many\""), "{said}");

    let ran = start(&["-P", "rows=7", "--run-name", "seven", "--json"]);
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stderr));
    let result: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(result["status"], "FINISHED");
    let search = json!({"experiment_ids": [result["experiment_id"]]});
    let (status, found) = installation.call("POST", "/api/2.0/mlflow/runs/search", None, Some(search)).await;
    assert_eq!(status, 200, "{found}");
    let run = |name: &str| {
        let runs = found["runs"].as_array().unwrap();
        runs.iter().find(|run| run["info"]["run_name"] == name).unwrap_or_else(|| panic!("no run {name}: {found}"))
    };
    let has = |list: &Value, key: &str, value: &Value| {
        list.as_array().unwrap().iter().any(|item| item["key"] == key && item["value"] == *value)
    };
    assert!(has(&run("seven")["data"]["params"], "rows", &json!("7")), "{found}");
    assert!(has(&run("train")["data"]["metrics"], "accuracy", &json!(0.75)), "{found}");
    assert!(has(&run("train")["data"]["tags"], "mlflow.parentRunId", &result["run_id"]), "{found}");
}
