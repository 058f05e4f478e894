//! What SageMaker asks of a container that holds many models.

use serde_json::{Value, json};

use crate::deployment::Deployment;

#[tokio::test]
async fn models_are_loaded_listed_invoked_and_unloaded_by_the_platform() {
    let data = format!("{}/testdata/onnx", env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    for name in ["a", "b"] {
        std::fs::create_dir(place(name)).unwrap();
        std::fs::copy(format!("{data}/digits_logistic_f32.onnx"), place(name).join("model.onnx")).unwrap();
    }
    let size = std::fs::metadata(place("a").join("model.onnx")).unwrap().len();
    let deployment = Deployment::of_folder(folder.path(), size * 3 / 2).await;
    let status = async |request: reqwest::RequestBuilder| {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    assert_eq!(deployment.get("/ping").send().await.unwrap().status(), 200, "it is ready without any model");
    assert_eq!(status(deployment.get("/models")).await, (200, json!({ "models": [] })));

    let load =
        |name: &str, url: &std::path::Path| deployment.post("/models", &json!({ "model_name": name, "url": url }));
    assert_eq!(status(load("first", &place("a"))).await.0, 200);
    let again = status(load("first", &place("a"))).await;
    assert_eq!(again, (409, json!({ "error": "model 'first' is loaded already" })));
    let full = status(load("second", &place("b"))).await;
    assert!(full.0 == 507 && full.1["error"].as_str().unwrap().contains("unload another one"), "{full:?}");
    for (name, url, why) in [
        ("third", folder.path().parent().unwrap().to_owned(), "is not inside"),
        ("third", place("a/../../"), "is not inside"),
        ("third", place("absent"), "is not inside"),
        ("a/b", place("b"), "no '/'"),
    ] {
        let refused = status(load(name, &url)).await;
        assert!(refused.0 == 400 && refused.1["error"].as_str().unwrap().contains(why), "{refused:?}");
    }

    let listed = json!({ "modelName": "first", "modelUrl": place("a") });
    assert_eq!(status(deployment.get("/models")).await, (200, json!({ "models": [listed] })));
    assert_eq!(status(deployment.get("/models/first")).await, (200, listed));
    assert_eq!(status(deployment.get("/models/second")).await.0, 404);
    let row = json!({ "instances": [vec![1.0; 64]] });
    let answer = status(deployment.post("/models/first/invoke", &row)).await;
    assert!(answer.0 == 200 && answer.1["predictions"].is_array(), "{answer:?}");
    assert_eq!(status(deployment.post("/models/second/invoke", &row)).await.0, 404);

    let unload = |name: &str| deployment.client.delete(deployment.url(&format!("/models/{name}")));
    assert_eq!((status(unload("first")).await.0, status(unload("first")).await.0), (200, 404));
    assert_eq!(status(deployment.post("/models/first/invoke", &row)).await.0, 404);
    assert_eq!(status(load("second", &place("b"))).await.0, 200, "there is room again");
    deployment.stop().await;

    // Nobody loads models into a process that was not told so.
    let plain = Deployment::standalone(&[("digits", "sum")]).await;
    let refused = plain.post("/models", &json!({ "model_name": "x", "url": place("a") })).send().await.unwrap();
    assert_eq!(refused.status(), 404);
}
