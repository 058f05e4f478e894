//! `towpath model` and `towpath experiment` against a server.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::installation::{Installation, said};
use crate::program::text;

impl Installation {
    /// What the program prints.
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(env!("CARGO_BIN_EXE_towpath")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        text(&output.stdout)
    }

    /// What it prints with `--json`, whatever the exit code.
    fn json(&self, arguments: &[&str]) -> (i32, Value) {
        let output = self.command(env!("CARGO_BIN_EXE_towpath")).args(arguments).arg("--json").output().unwrap();
        let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| Value::String(said(&output)));
        (output.status.code().unwrap(), value)
    }

    /// A call of an MLflow client.
    async fn mlflow(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", &format!("/api/2.0/mlflow/{path}"), None, Some(body)).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// What `towpath serve` says of a version of the registry that it serves by itself.
    async fn served_alone(&self, uri: &str) -> Value {
        let mut command = self.command(env!("CARGO_BIN_EXE_towpath"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--model", uri]).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        // The line of its log about serving has the address.
        let address = BufReader::new(process.stderr.take().unwrap()).lines().find_map(|line| {
            let line: Value = serde_json::from_str(&line.unwrap()).ok()?;
            Some(line["fields"]["address"].as_str()?.to_owned())
        });
        let answer = reqwest::get(format!("http://{}/v2/models/digits", address.unwrap())).await.unwrap();
        let metadata = answer.json().await.unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
        metadata
    }

    /// A run of an experiment of its own, with a loss and a learning rate.
    async fn tracked_run(&self, experiment: &str, loss: f64) -> String {
        let made = self.mlflow("runs/create", json!({"experiment_id": experiment, "user_id": "ds-2"})).await;
        let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let metrics = json!([{"key": "loss", "value": loss, "timestamp": 1, "step": 0}]);
        let params = json!([{"key": "lr", "value": "0.1"}]);
        let tags = json!([{"key": "mlflow.source.git.commit", "value": "c0ffee"}]);
        let batch = json!({"run_id": run, "metrics": metrics, "params": params, "tags": tags});
        self.mlflow("runs/log-batch", batch).await;
        run
    }
}

const MLMODEL: &str = "\
flavors:
  sklearn: {pickled_model: model.pkl}
signature:
  inputs: '[{\"type\": \"double\", \"name\": \"x\", \"required\": true}]'
  outputs: '[{\"type\": \"long\", \"required\": true}]'
";

#[tokio::test(flavor = "multi_thread")]
async fn a_version_tells_what_made_it_and_what_nobody_knows() {
    let installation = Installation::with_environments("  production: {rollout: {strategy: all_at_once}}\n").await;
    installation.push("First");
    installation.ended(1).await;
    installation.push_words("z\nb\na\n");
    installation.ended(2).await;

    // Of a pipeline: everything is known but a lock, for there is no Python in it.
    let (_, made) = installation.json(&["model", "show", "digits/1"]);
    assert_eq!((&made["pipeline_run"], &made["metrics"]["accuracy"]), (&json!("digits/1"), &json!(0.9)), "{made:#}");
    assert_eq!(made["signature"]["inputs"][0]["kind"], "float32[?, 64]");
    let data: Vec<&str> = made["data"].as_array().unwrap().iter().map(|d| d["path"].as_str().unwrap()).collect();
    assert_eq!(data, ["digits.onnx", "sorted.txt", "train.sh", "words.txt"]);
    let unknown = |facts: &Value| -> Vec<String> {
        facts["unknown"].as_array().unwrap().iter().map(|u| u["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(unknown(&made), ["params", "environment", "evaluation_hash"], "{made:#}");

    let (code, compared) = installation.json(&["model", "diff", "digits/1", "digits/2"]);
    assert_eq!((code, &compared["same_content"]), (1, &json!(false)), "{compared:#}");
    let changed: Vec<&str> = compared["data"].as_array().unwrap().iter().map(|d| d["path"].as_str().unwrap()).collect();
    assert_eq!(changed, ["sorted.txt", "words.txt"]);
    let words = json!({"key": "words.txt", "a": 4, "b": 6, "difference": 2.0, "word": "other content"});
    assert_eq!(compared["files"], json!([words]));
    assert_eq!(installation.ok(&["model", "diff", "digits/1", "digits/1"]), "digits/1 and digits/1 do not differ\n");
    let all = installation.get("/models/digits/versions/1/compare?with=digits/2&all=true").await;
    let of = |list: &str, key: &str, value: &str| -> Value {
        let found = all[list].as_array().unwrap().iter().find(|change| change[key] == value);
        found.unwrap_or_else(|| panic!("{list} has no {value}: {all:#}")).clone()
    };
    let accuracy = json!({"key": "accuracy", "a": 0.9, "b": 0.9, "difference": 0.0, "word": "same"});
    assert_eq!(of("metrics", "key", "accuracy"), accuracy);
    assert_eq!(of("data", "path", "train.sh")["a"], of("data", "path", "train.sh")["b"]);
    let releases = installation.get("/releases?model=digits&version=2").await;
    assert_eq!((&releases["total"], &releases["items"][0]["version"]), (&json!(1), &json!(2)), "{releases:#}");

    // From outside: what its run and its files tell.
    let run = installation.tracked_run("0", 0.5).await;
    let http = reqwest::Client::new();
    let files = format!("{}/api/2.0/mlflow-artifacts/artifacts/0/{run}/artifacts/model", installation.url);
    for (name, content) in [("MLmodel", MLMODEL), ("requirements.txt", "scikit-learn==1.7\n"), ("model.pkl", "bytes")] {
        assert!(http.put(format!("{files}/{name}")).body(content).send().await.unwrap().status().is_success());
    }
    let registered =
        installation.ok(&["model", "register", "my churn", &format!("{run}/model"), "--description", "By hand"]);
    assert_eq!(registered, "Registered my churn v1\n");
    let tracked = installation.get(&format!("/tracking/runs/{run}")).await;
    assert_eq!(tracked["model_versions"], json!([{"model": "my churn", "version": 1}]));
    let (_, outside) = installation.json(&["model", "show", "my churn/1"]);
    assert_eq!((&outside["commit"], &outside["trainer"]), (&json!("c0ffee"), &json!("ds-2")), "{outside:#}");
    assert_eq!(outside["signature"]["inputs"], json!([{"name": "x", "kind": "double"}]));
    assert_eq!((&outside["flavors"], &outside["size"]), (&json!(["sklearn"]), &json!(MLMODEL.len() + 18 + 5)));
    assert_eq!(outside["environment"]["packages"], json!(["scikit-learn==1.7"]));
    assert_eq!(unknown(&outside), ["pipeline_run", "data", "environment", "evaluation_hash"]);
    let shown = installation.ok(&["model", "show", "my churn/1"]);
    assert!(shown.contains("unknown  data             it was registered from outside a pipeline"), "{shown}");
    let compared = installation.json(&["model", "diff", "my churn/1", "digits@production"]);
    assert_eq!((compared.0, &compared.1["a"]), (1, &json!("my churn/1")), "{compared:?}");

    // Its files, each once.
    let said = installation.ok(&["model", "download", "my churn/1", "--out", "fetched"]);
    assert_eq!(said, "3 files (195 B) in fetched\n");
    let fetched = installation.home.path("fetched");
    assert_eq!(fs::read_to_string(fetched.join("model.pkl")).unwrap(), "bytes");
    fs::write(fetched.join("model.pkl"), "bitten").unwrap();
    let (_, again) = installation.json(&["model", "download", "my churn/1", "--out", "fetched"]);
    assert_eq!(again["kept"], 2);
    assert_eq!(fs::read_to_string(fetched.join("model.pkl")).unwrap(), "bytes");

    for uri in ["models:/digits@production", "digits=models:/digits/latest"] {
        let metadata = installation.served_alone(uri).await;
        assert_eq!((&metadata["name"], &metadata["inputs"][0]["shape"]), (&json!("digits"), &json!([-1, 64])));
    }

    // The card is what MLflow shows.
    installation.write("card.md", "# Churn\n\nFor *nobody* yet.\n");
    installation.ok(&["model", "card", "my churn", "--set", "card.md"]);
    let (_, model) = installation.call("GET", "/api/2.0/mlflow/registered-models/get?name=my+churn", None, None).await;
    assert_eq!(model["registered_model"]["description"], "# Churn\n\nFor *nobody* yet.\n");
    assert_eq!(installation.ok(&["model", "card", "my churn"]), "# Churn\n\nFor *nobody* yet.\n");
    // Who edited another text than the one that is there does not replace it unseen.
    let card = installation.get("/models/my%20churn/card").await;
    assert_eq!((&card["edited_by"], card["edited_at"].is_i64()), (&json!("local"), true), "{card:#}");
    let edit = |text: &str| json!({"markdown": text, "replaces": card["digest"]});
    let path = "/api/v1/models/my%20churn/card";
    let (status, written) = installation.call("PUT", path, None, Some(edit("# Churn\n\nFor ds-2.\n"))).await;
    assert_eq!((status, &written["markdown"]), (200, &json!("# Churn\n\nFor ds-2.\n")));
    let (status, refused) = installation.call("PUT", path, None, Some(edit("# Mine\n"))).await;
    let detail = "the card of my churn was changed meanwhile by local";
    assert_eq!((status, &refused["detail"]), (409, &json!(detail)), "{refused}");
    assert_eq!(installation.get("/models/my%20churn/card").await, written);
    let ledger = installation.get("/ledger?about=model/my%20churn").await;
    assert!(ledger.to_string().contains("model.described"), "{ledger}");
    // A prompt is kept beside the models, and is none.
    let prompt = json!({"name": "greeting", "tags": [{"key": "mlflow.prompt.is_prompt", "value": "true"}]});
    installation.mlflow("registered-models/create", prompt).await;
    assert_eq!(installation.ok(&["model", "ls"]).lines().count(), 3);
    assert_eq!(installation.get("/models").await["total"], 2);
    assert_eq!(installation.json(&["model", "show", "nobody/1"]).0, 3);
    assert_eq!(installation.json(&["model", "register", "x", "runs:/00000000000000000000000000000000/m"]).0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn experiments_are_listed_compared_removed_and_forgotten() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let made = installation.mlflow("experiments/create", json!({"name": "churn"})).await;
    let id = made["experiment_id"].as_str().unwrap().to_owned();
    let (a, b) = (installation.tracked_run(&id, 0.5).await, installation.tracked_run(&id, 0.25).await);

    let listed = installation.ok(&["experiment", "ls"]);
    assert!(listed.lines().any(|line| line.contains("churn") && line.contains("  2  ")), "{listed}");
    let shown = installation.ok(&["experiment", "show", "churn", "--filter", "metrics.loss < 0.3"]);
    assert!(shown.contains(&b) && !shown.contains(&a), "{shown}");
    let (_, ordered) = installation.json(&["experiment", "show", "churn", "--order-by", "metrics.loss ASC"]);
    assert_eq!((&ordered["items"][0]["run_id"], &ordered["total"]), (&json!(b), &json!(2)));
    assert!(installation.ok(&["experiment", "show", &a]).contains("metric  loss  0.5  (step 0)"));
    let (code, differs) = installation.json(&["experiment", "diff", &a, &b]);
    assert_eq!((code, &differs["metrics"]), (1, &json!([{"key": "loss", "a": "0.5", "b": "0.25"}])));
    assert_eq!((&differs["params"], installation.json(&["experiment", "diff", &a, &a]).0), (&json!([]), 0));
    assert_eq!(installation.json(&["experiment", "show", "churn", "--filter", "metrics.loss ~ 1"]).0, 2);
    assert_eq!(installation.json(&["experiment", "show", "nothing"]).0, 3);

    // Deleted things come back; what is forgotten does not.
    installation.ok(&["experiment", "rm", &a]);
    assert_eq!(installation.json(&["experiment", "show", "churn"]).1["total"], 1);
    installation.ok(&["experiment", "restore", &a]);
    assert_eq!(installation.json(&["experiment", "show", "churn"]).1["total"], 2);
    assert_eq!(installation.ok(&["experiment", "rm", &a, "--metric", "loss", "--yes"]), "Removed 1 point\n");
    assert_eq!(installation.json(&["experiment", "show", &a]).1["metrics"], json!({}));
    installation.ok(&["experiment", "rm", &a]);
    let (_, young) = installation.json(&["experiment", "gc", "--older-than", "1d", "--yes"]);
    assert_eq!(young["runs"], json!([]));
    let (_, due) = installation.json(&["experiment", "gc", "--older-than", "0s", "--dry-run"]);
    assert_eq!(due["runs"], json!([a]));
    let (_, gone) = installation.json(&["experiment", "gc", "--older-than", "0s", "--yes"]);
    assert_eq!(gone["runs"], json!([a]));
    assert_eq!(installation.json(&["experiment", "show", &a]).0, 3);
    assert_eq!(installation.json(&["experiment", "rm", "churn", "--for-good"]).0, 1, "nobody is there to ask");
    installation.ok(&["experiment", "rm", "churn", "--for-good", "--yes"]);
    assert_eq!(installation.json(&["experiment", "show", &b]).0, 3);
    let artifacts = installation.data_dir().join("artifacts").join(&id);
    assert!(!Path::new(&artifacts).exists());
}
