//! Requests and models that the two planes do not take.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::installation::{Installation, eventually};

#[tokio::test]
async fn a_data_plane_says_what_is_wrong_with_a_request_and_serves_on() {
    let installation = Installation::serving_at_once().await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    let infer = "/v2/models/digits/infer";
    let name = installation.http_get(&format!("{address}/v2/models/digits")).await["inputs"][0]["name"].clone();
    let request = |shape: Value, datatype: &str, data: Value| {
        json!({"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}).to_string()
    };
    let cases = [
        (request(json!([1, 3]), "FP32", json!([1, 2, 3])), 400, "[-1, 64]"),
        (request(json!([1, 64]), "FP32", json!([1, 2, 3])), 400, "64"),
        (request(json!([1, 64]), "BYTES", json!(vec!["x"; 64])), 400, "FP32"),
        ("{\"inputs\": [".to_owned(), 400, "JSON"),
        (" ".repeat((64 << 20) + 1), 413, "64 MiB"),
    ];
    for (body, status, named) in cases {
        let beginning: String = body.chars().take(80).collect();
        let (answered, problem) = installation.post(&address, infer, None, body).await.unwrap();
        assert_eq!(answered, status, "{beginning}: {problem}");
        let error = problem["error"].as_str().unwrap_or_else(|| panic!("{beginning}: {problem}"));
        assert!(error.contains(named), "{beginning}: {error}");
    }
    installation.predict_right(&address, "user-1").await;
    let state = installation.data_plane(&address).await.unwrap();
    assert_eq!(state.errors, 0, "what the callers did wrong is not the model's error");
}

#[tokio::test]
async fn a_model_with_an_unknown_operator_fails_its_release_by_the_operators_name() {
    let installation = Installation::serving_at_once().await;
    let train = installation.home.read("train.sh");
    installation.write("train.sh", &format!("{train}LC_ALL=C sed -i s/Scaler/Scalor/ model/model.onnx\n"));
    installation.push("Scale in another way");
    assert_eq!(installation.ended(1).await["status"], "succeeded");
    let release = eventually("the release has failed", async || {
        let (_, release) = installation.call("GET", "/api/v1/releases/1", None, None).await;
        (release["state"] == "failed").then_some(release)
    })
    .await;
    let reason = release["reason"].as_str().unwrap();
    assert!(reason.contains("Scalor"), "{reason}");

    // The next version goes its way.
    installation.write("train.sh", &train);
    installation.push("Scale as before");
    installation.reaches(2, "live").await;
}

#[tokio::test]
async fn an_artifact_path_that_leads_out_of_its_folder_is_refused() {
    let installation = Installation::serving_at_once().await;
    let address = installation.url.strip_prefix("http://").unwrap();
    let outside = installation.data_dir().join("stolen.txt");
    for path in ["../../stolen.txt", "%2e%2e/%2e%2e/stolen.txt", "x/..%2f..%2f..%2fstolen.txt", "%2ftmp/stolen.txt"] {
        // Clients tidy such paths up before they send them; so this is said by hand.
        let mut connection = TcpStream::connect(address).unwrap();
        write!(
            connection,
            "PUT /api/2.0/mlflow-artifacts/artifacts/{path} HTTP/1.1\r\nhost: {address}\r\ncontent-length: 1\r\n\
             connection: close\r\n\r\nx"
        )
        .unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap();
        assert!(["400", "404"].contains(&status), "{path}: {answer}");
        assert!(!outside.exists());
    }
}
