//! What clients of the public protocols see.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::deployment::{Deployment, revision, row, table};

async fn serving(behaviour: &str) -> Deployment {
    let deployment = Deployment::start().await;
    deployment.serve_table(&table(1, revision(3, behaviour))).await;
    deployment
}

#[tokio::test]
async fn v2_answers_with_labels_scores_revision_and_prediction_id() {
    let deployment = serving("sum").await;
    let request = json!({
        "id": "mine",
        "inputs": [{ "name": "X", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4.0]] }],
    });
    let response = deployment.post("/v2/models/digits/infer", &request).send().await.unwrap();
    assert_eq!(response.headers()["x-towpath-revision"], "digits-v3-r3");
    let id = response.headers()["x-towpath-prediction-id"].to_str().unwrap().to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        body,
        json!({
            "model_name": "digits",
            "model_version": "3",
            "id": "mine",
            "parameters": { "revision": "digits-v3-r3", "prediction_id": id },
            "outputs": [
                { "name": "label", "shape": [2], "datatype": "INT64", "data": [3, 7] },
                { "name": "scores", "shape": [2, 2], "datatype": "FP32", "data": [0.5, 1.0, 1.5, 2.0] },
            ],
        })
    );
    let record = deployment.prediction(&id).await;
    assert_eq!(record.output, json!([3, 7]));
    assert_eq!((record.rows, record.status, record.model_version), (2, 200, 3));
}

#[tokio::test]
async fn binary_tensors_go_in_and_out_also_compressed() {
    let deployment = serving("sum").await;
    let header = json!({
        "inputs": [{ "name": "X", "shape": [1, 2], "datatype": "FP32", "parameters": { "binary_data_size": 8 } }],
        "outputs": [{ "name": "label", "parameters": { "binary_data": true } }],
    })
    .to_string();
    let mut plain = header.clone().into_bytes();
    plain.extend(5_f32.to_le_bytes().into_iter().chain(6_f32.to_le_bytes()));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for (encoding, body) in [("identity", plain), ("gzip", gzip.finish().unwrap())] {
        let request = deployment.client.post(deployment.url("/v2/models/digits/infer"));
        let request = request.header("inference-header-content-length", header.len());
        let response = request.header("content-encoding", encoding).body(body).send().await.unwrap();
        let json_length = response.headers()["inference-header-content-length"].to_str().unwrap();
        let json_length: usize = json_length.parse().unwrap();
        let body = response.bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&body[..json_length]).unwrap();
        let label =
            json!({ "name": "label", "shape": [1], "datatype": "INT64", "parameters": { "binary_data_size": 8 } });
        assert_eq!(answer["outputs"], json!([label]));
        assert_eq!(body[json_length..], 11_i64.to_le_bytes());
    }
}

#[tokio::test]
async fn metadata_says_what_is_served() {
    let deployment = serving("sum").await;
    let get = async |path: &str| -> Value { deployment.get(path).send().await.unwrap().json().await.unwrap() };
    assert!(get("/v2").await["extensions"].to_string().contains("binary_tensor_data"));
    let model = get("/v2/models/digits").await;
    assert_eq!(model["versions"], json!(["3"]));
    assert_eq!(model["inputs"], json!([{ "name": "X", "datatype": "FP32", "shape": [-1, 2] }]));
    assert_eq!(get("/v2/models/digits/versions/3/ready").await["ready"], true);
    assert_eq!(get("/v2/models/digits/versions/4/ready").await["error"], "model 'digits' has no version '4' loaded");
    assert_eq!(get("/v2/models/other").await["error"], "no model 'other' is served here");
    assert_eq!(get("/v2/health/ready").await, json!({ "ready": true }));
    assert_eq!(deployment.get("/ping").send().await.unwrap().text().await.unwrap(), "\n");
}

#[tokio::test]
async fn without_a_table_it_lives_but_is_not_ready() {
    let deployment = Deployment::start().await;
    for (path, status) in [("/healthz", 200), ("/v2/health/live", 200), ("/readyz", 503), ("/ping", 503)] {
        assert_eq!(deployment.get(path).send().await.unwrap().status(), status, "{path}");
    }
    let answer = deployment.post("/v2/models/digits/infer", &row(1.0, 2.0)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
}

#[tokio::test]
async fn bad_requests_get_an_error_that_says_what_would_be_right() {
    let deployment = serving("sum").await;
    let input = |name: &str, shape: Value, datatype: &str, data: Value| {
        json!({ "inputs": [{ "name": name, "shape": shape, "datatype": datatype, "data": data }] }).to_string()
    };
    for (body, status, expected) in [
        ("{".to_owned(), 400, "the body is not an inference request: EOF while parsing an object at line 1 column 1"),
        (r#"{"id": "a"}"#.to_owned(), 400, "missing field `inputs`"),
        (
            input("X", json!([1, 3]), "FP32", json!([1, 2, 3])),
            400,
            "input 'X': shape is [1, 3]; expected X FP32 [-1, 2]",
        ),
        (
            input("X", json!([1, 2]), "INT64", json!([1, 2])),
            400,
            "input 'X': datatype is INT64; expected X FP32 [-1, 2]",
        ),
        (input("X", json!([2, 2]), "FP32", json!([1, 2])), 400, "shape is [2, 2], data has 2 elements"),
        (input("X", json!([1, 2]), "FP32", json!(["a", 2])), 400, "expected a number, found a string"),
        (input("Y", json!([1, 2]), "FP32", json!([1, 2])), 400, "no input 'Y'; the model takes X FP32 [-1, 2]"),
        (r#"{"inputs": []}"#.to_owned(), 400, "input 'X' is missing"),
        (" ".repeat(1024 * 1024 + 1), 413, "the body is larger than 1048576 bytes"),
    ] {
        let request = deployment.client.post(deployment.url("/v2/models/digits/infer")).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{expected}");
        let error: Value = response.json().await.unwrap();
        assert!(error["error"].as_str().unwrap().contains(expected), "{error} is not {expected}");
    }
    let gone = deployment.get("/v3/models").send().await.unwrap();
    assert_eq!(gone.status(), 404);
}

#[tokio::test]
async fn a_compressed_body_may_not_unfold_beyond_the_limit() {
    let deployment = serving("sum").await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 64 * 1024 * 1024]).unwrap();
    let request = deployment.client.post(deployment.url("/v2/models/digits/infer"));
    let request = request.header("content-encoding", "gzip").body(gzip.finish().unwrap());
    assert_eq!(request.send().await.unwrap().status(), 413);
}

#[tokio::test]
async fn a_model_that_fails_or_panics_answers_500_and_serves_on() {
    for (behaviour, expected) in
        [("fails", "the model failed: node 'n1': is broken"), ("panics", "the model failed: it panicked: cannot go on")]
    {
        let deployment = serving(behaviour).await;
        let answer = deployment.predict("user").await;
        assert_eq!((answer.status, answer.body), (500, json!({ "error": expected })));
        assert_eq!(answer.revision, "digits-v3-r3");
        let zeros = deployment.post("/v2/models/digits/infer", &row(0.0, 0.0)).send().await.unwrap();
        assert_eq!(zeros.status(), 200);
        let state = deployment.state().await;
        assert_eq!((state.requests, state.errors), (2, 1));
        assert_eq!(deployment.prediction(&answer.id).await.status, 500);
    }
}

#[tokio::test]
async fn invocations_answer_as_mlflow_does() {
    let deployment = serving("sum").await;
    let body = json!({ "dataframe_split": { "columns": ["a", "b"], "data": [[1, 2], [3, 4]] } });
    let answer: Value = deployment.post("/invocations", &body).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "predictions": [3, 7] }));
    let csv = deployment.client.post(deployment.url("/invocations")).header("content-type", "text/csv");
    let answer: Value = csv.body("a,b\n1,2\n").send().await.unwrap().json().await.unwrap();
    assert_eq!(answer, json!({ "predictions": [3] }));
    let other = deployment.client.post(deployment.url("/invocations")).header("content-type", "text/plain");
    assert_eq!(other.body("1").send().await.unwrap().status(), 415);
}

#[tokio::test]
async fn metrics_pass_promtool_without_a_complaint() {
    let deployment = serving("sum").await;
    deployment.predict("user").await;
    let exposition = deployment.get("/metrics").send().await.unwrap().text().await.unwrap();
    assert!(exposition.contains(r#"towpath_request_duration_seconds_count{model="digits",version="3",variant="stable",route="v2",code="200"} 1"#), "{exposition}");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool is installed (Debian package prometheus)");
    child.stdin.take().unwrap().write_all(exposition.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn only_accepted_tokens_may_predict_and_send_labels() {
    let deployment = Deployment::start().await;
    let mut table = table(1, revision(3, "sum"));
    // SHA-256 of "secret"
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    table.accepted_tokens = Some(vec![hash.to_owned()]);
    deployment.serve_table(&table).await;
    let request = || deployment.post("/v2/models/digits/infer", &row(1.0, 2.0));
    assert_eq!(request().send().await.unwrap().status(), 401);
    assert_eq!(request().bearer_auth("wrong").send().await.unwrap().status(), 401);
    assert_eq!(request().bearer_auth("secret").send().await.unwrap().status(), 200);
    assert_eq!(request().basic_auth("anybody", Some("secret")).send().await.unwrap().status(), 200);
    let label = json!({ "prediction_id": "0", "label": 1 });
    assert_eq!(deployment.post("/feedback", &label).send().await.unwrap().status(), 401);
    let control = deployment.get("/control/state").bearer_auth("secret").send().await.unwrap();
    assert_eq!(control.status(), 401);
}

#[tokio::test]
async fn every_example_of_the_openapi_description_is_answered() {
    let deployment = Deployment::standalone(&[("digits", "sum")]).await;
    let document: Value = deployment.get("/openapi.json").send().await.unwrap().json().await.unwrap();
    let paths = document["paths"].as_object().unwrap();
    let names: Vec<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(names, ["/feedback", "/invocations", "/v1/models/digits:predict", "/v2/models/digits/infer"]);
    for (path, operation) in paths {
        let example = operation.pointer("/post/requestBody/content/application~1json/example").unwrap();
        let response = deployment.post(path, example).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
    }
    let page = deployment.get("/docs").send().await.unwrap();
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
}
