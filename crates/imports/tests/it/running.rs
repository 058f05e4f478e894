//! From a running MLflow server, and into one.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use towpath_imports::{Credentials, Exported, Report, Source, export};
use towpath_tracking::registry::{aliases, versions};
use towpath_tracking::{TrackingError, logged_models, metrics, runs};

use crate::Place;

/// A real `mlflow server` that ends with the value.
struct Mlflow {
    process: Child,
    url: String,
}

impl Mlflow {
    fn start(place: &Place, name: &str, backend: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
        let files = place.path(&format!("{name}-files")).display().to_string();
        let log = std::fs::File::create(place.path(&format!("{name}.log"))).unwrap();
        let mut command = Command::new(towpath_testkit::python::program("python").unwrap());
        command.args(["-m", "mlflow", "server", "--workers", "1", "--port", &port, "--backend-store-uri", backend]);
        command.args(["--artifacts-destination", &files]).current_dir(place.path("."));
        // Its workers go with it.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let environment = [("MLFLOW_DISABLE_TELEMETRY", "true"), ("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")];
        let process = command.envs(environment).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { process, url: format!("http://127.0.0.1:{port}") }
    }

    async fn ready(&self, place: &Place, name: &str) {
        let deadline = Instant::now() + Duration::from_mins(2);
        while !reqwest::get(format!("{}/health", self.url)).await.is_ok_and(|answer| answer.status().is_success()) {
            let log = || std::fs::read_to_string(place.path(&format!("{name}.log"))).unwrap_or_default();
            assert!(Instant::now() < deadline, "mlflow server does not start: {}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

impl Drop for Mlflow {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.process.id())]).status();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_from_a_running_server_and_its_postgresql_and_go_into_another_server() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let place = Place::new(false).await;
    let database = towpath_testkit::postgres::schema().await.unwrap();
    let from = Mlflow::start(&place, "from", &database.replacen("postgres://", "postgresql+psycopg2://", 1));
    let to = Mlflow::start(&place, "to", &format!("sqlite:///{}", place.path("to.db").display()));
    from.ready(&place, "from").await;
    // The client says where its runs are shown; the last line is ours.
    let said = place.python_with("server_records", &from.url);
    let written: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();

    let server = Source::mlflow(&from.url, Credentials::None).await.unwrap();
    let report = place.take(&server, None).await;
    look(&place, &report, &written).await;
    let again = place.take(&server, None).await;
    let nothing_new =
        Report { new_runs: 0, new_points: 0, new_logged_models: 0, files: 0, bytes: 0, new_versions: 0, ..report };
    assert_eq!(again, nothing_new);

    // The same out of its database, whose files are a folder of this machine.
    let other = Place::new(true).await;
    let source = Source::mlflow(&database, Credentials::None).await.unwrap();
    let report = other.take(&source, Some(&place.path("from-files"))).await;
    look(&other, &report, &written).await;

    to.ready(&place, "to").await;
    let root = place.path("ours").display().to_string();
    let done = export(&place.store, &root, &to.url, Credentials::None).await.unwrap();
    assert_eq!(done.differences, Vec::<String>::new());
    assert_eq!((done.runs, done.new_runs, done.points, done.new_logged_models), (2, 2, 2503, 1), "{done:?}");
    assert_eq!((done.versions, done.new_versions), (2, 2), "{done:?}");
    place.python_with("exported", &to.url);
    let again = export(&place.store, &root, &to.url, Credentials::None).await.unwrap();
    let nothing_new =
        Exported { new_runs: 0, new_points: 0, new_logged_models: 0, files: 0, bytes: 0, new_versions: 0, ..done };
    assert_eq!(again, nothing_new);

    let nowhere = Source::mlflow("http://127.0.0.1:9", Credentials::None).await.unwrap_err().to_string();
    assert!(nowhere.starts_with("no answer from http://127.0.0.1:9"), "{nowhere}");
}

async fn look(place: &Place, report: &Report, written: &Value) {
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.runs, report.new_runs, report.points, report.new_points), (3, 3, 2503, 2503), "{report:?}");
    assert_eq!((report.logged_models, report.models, report.versions), (1, 1, 2), "{report:?}");
    let id = |name: &str| written[name].as_str().unwrap().to_owned();
    let (parent, child, model) = (id("parent"), id("child"), id("model"));
    let read = move |tx: &mut towpath_store::Tx<'_>| {
        Ok::<_, TrackingError>((
            runs::get(tx, &parent)?,
            runs::get(tx, &child)?,
            metrics::history(tx, &parent, "odd", 0, None)?,
            logged_models::get(tx, &model)?,
            aliases::resolve(tx, "line's", "champion")?,
            versions::get(tx, "line's", 1)?,
        ))
    };
    let (parent, child, odd, model, champion, first) = place.store.read(read).await.unwrap();
    assert_eq!((parent.params["deep/key"].as_str(), child.tags["note"].as_str()), ("é", "x\ny"));
    assert_eq!(child.tags["mlflow.parentRunId"], parent.info.run_id);
    assert!(odd[0].value.is_nan() && odd[0].step == -1, "{odd:?}");
    let dataset = &parent.datasets[0];
    assert_eq!((dataset.dataset.name.as_str(), dataset.tags[0].value.as_str()), ("lines", "training"));
    assert_eq!((model.name.as_str(), model.source_run_id.as_ref()), ("line", Some(&parent.info.run_id)));
    assert_eq!(parent.model_outputs[0].model_id, model.model_id);
    assert_eq!((champion.version, champion.model_id.as_ref()), (3, Some(&model.model_id)));
    assert_eq!((champion.storage_location.as_str(), first.stage.as_str()), (model.artifact_uri.as_str(), "Staging"));
    let folder = place.path("ours").join(model.artifact_uri.trim_start_matches("mlflow-artifacts:/"));
    assert!(folder.join("MLmodel").is_file(), "{}", folder.display());
    let notes = parent.info.artifact_uri.trim_start_matches("mlflow-artifacts:/").to_owned() + "/notes/ä b.txt";
    assert_eq!(std::fs::read_to_string(place.path("ours").join(notes)).unwrap(), "hello");
}
