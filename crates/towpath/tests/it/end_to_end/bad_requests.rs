//! Requests and models that the two planes do not take.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::installation::{Installation, eventually};

/// Sends the beginning of a request as it stands; the answer.
fn exchange(url: &str, head: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(connection, "{head}host: {address}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

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
        (request(json!([1, 3]), "FP32", json!([1, 2, 3])), "[-1, 64]"),
        (request(json!([1, 64]), "FP32", json!([1, 2, 3])), "64"),
        (request(json!([1, 64]), "BYTES", json!(vec!["x"; 64])), "FP32"),
        ("{\"inputs\": [".to_owned(), "not an inference request"),
    ];
    for (body, named) in cases {
        let (status, problem) = installation.post(&address, infer, None, body.clone()).await.unwrap();
        let error = problem["error"].as_str().unwrap_or_default();
        assert!(status == 400 && error.contains(named), "{body}: {status} {problem}");
    }
    // A body that is too large is refused before it is sent.
    let head =
        format!("POST {infer} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", (64 << 20) + 1);
    let answer = exchange(&address, &head);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("67108864"), "{answer}");
    installation.predict_right(&address, "user-1").await;
    let state = installation.data_plane(&address).await.unwrap();
    assert_eq!(state.errors, 0, "what the callers did wrong is not the model's error");
}

#[tokio::test]
async fn a_model_with_an_unknown_operator_fails_its_release_by_the_operators_name() {
    let installation = Installation::serving_at_once().await;
    let train = installation.home.read("train.sh");
    installation.write("train.sh", &format!("{train}LC_ALL=C sed -i s/Scaler/Scalor/g model/model.onnx\n"));
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
    let outside = installation.data_dir().join("stolen.txt");
    for path in ["../../stolen.txt", "%2e%2e/%2e%2e/stolen.txt", "x/..%2f..%2f..%2fstolen.txt", "%2ftmp/stolen.txt"] {
        // Clients tidy such paths up before they send them; so this is said by hand.
        let head = format!("PUT /api/2.0/mlflow-artifacts/artifacts/{path} HTTP/1.1\r\ncontent-length: 0\r\n");
        let answer = exchange(&installation.url, &head);
        let status = answer.split(' ').nth(1).unwrap();
        assert!(["400", "404"].contains(&status), "{path}: {answer}");
        assert!(!outside.exists());
    }
}
