use serde_json::Value;
use towpath_imports::{Credentials, Report, Source};
use towpath_tracking::artifacts::Artifacts;
use towpath_tracking::registry::{aliases, versions};
use towpath_tracking::runs::{self, RunStatus};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{Lifecycle, TrackingError, View, experiments, metrics};

use crate::Place;

#[tokio::test(flavor = "multi_thread")]
async fn what_mlflow_keeps_in_a_database_or_a_folder_is_here_afterwards() {
    let sqlite = Place::new(false).await;
    let written: Value = serde_json::from_str(&sqlite.python("mlflow_records")).unwrap();
    let database = format!("sqlite:///{}", sqlite.path("mlflow.db").display());
    let database = Source::mlflow(&database, Credentials::None).await.unwrap();
    let folder = Source::mlflow(&sqlite.path("mlruns").display().to_string(), Credentials::None).await.unwrap();
    take_and_look(&sqlite, &database, "vision database", &written["database"]).await;
    // Registered models of the same name: the versions that are there stay.
    let postgres = Place::new(true).await;
    take_and_look(&postgres, &folder, "vision folder", &written["folder"]).await;
    take_and_look(&postgres, &database, "vision database", &written["database"]).await;
}

async fn take_and_look(place: &Place, source: &Source, experiment: &'static str, written: &Value) {
    let report = place.take(source, None).await;
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.runs, report.new_runs, report.points, report.new_points), (3, 3, 4506, 4506), "{report:?}");
    assert_eq!((report.files, report.models, report.versions), (3, 1, 2), "{report:?}");

    let ids: Vec<String> = serde_json::from_value(written.clone()).unwrap();
    let first = ids[0].clone();
    let (run, loss, odd) = place
        .store
        .read(move |tx| {
            Ok::<_, TrackingError>((
                runs::get(tx, &first)?,
                metrics::history(tx, &first, "loss", 0, None)?,
                metrics::history(tx, &first, "a/b", 0, None)?,
            ))
        })
        .await
        .unwrap();
    assert_eq!((run.info.name.as_str(), run.info.status), ("r0", RunStatus::Finished));
    assert_eq!((run.info.start_time.millis(), run.info.end_time.map(|t| t.millis())), (1000, Some(9000)));
    assert_eq!((run.params["lr"].as_str(), run.params["deep/key"].as_str()), ("0.1", "é"));
    assert_eq!((run.tags["note"].as_str(), run.tags["t"].as_str()), ("x\ny", "0"));
    assert_eq!((loss.len(), loss[1499].step, loss[1499].at), (1500, 1499, 6499));
    assert!(odd[0].value.is_nan() && odd[0].step == -1);
    assert!((odd[1].value - f64::MAX).abs() < 1.0, "infinity is the greatest number, as MLflow's database has it");
    assert_eq!(run.metrics.iter().find(|m| m.key == "loss").unwrap().step, 1499, "the latest point");

    let (query, experiment_id) = place
        .store
        .read(move |tx| {
            let id = experiments::by_name(tx, experiment)?.id;
            let query = Query { filter: "metrics.loss < 0.5".into(), limit: 10, ..Query::default() };
            Ok::<_, TrackingError>((search::runs::search(tx, &[id], View::All, &query)?, id))
        })
        .await
        .unwrap();
    let found: Vec<_> = query.items.iter().map(|r| (r.info.run_id.as_str(), r.info.lifecycle)).collect();
    let expected = [(2, Lifecycle::Deleted), (1, Lifecycle::Active), (0, Lifecycle::Active)];
    assert_eq!(found, expected.map(|(n, lifecycle)| (ids[n].as_str(), lifecycle)));

    let path = format!("{experiment_id}/{}/artifacts/model", ids[0]);
    assert_eq!(run.info.artifact_uri, format!("mlflow-artifacts:/{}", path.strip_suffix("/model").unwrap()));
    let files = Artifacts::new(towpath_store::objects::open(&place.path("ours").display().to_string()).unwrap());
    assert_eq!(files.read(&format!("{path}/notes.txt"), 100).await.unwrap(), "hello");
    let (numbers, champion) = place
        .store
        .read(|tx| {
            let numbers: Vec<i64> = versions::list(tx, "digits")?.iter().map(|v| v.version).collect();
            Ok::<_, TrackingError>((numbers, aliases::resolve(tx, "digits", "champion")?))
        })
        .await
        .unwrap();
    assert_eq!((numbers, champion.version), (vec![3, 1], 3));
    assert!(champion.storage_location.starts_with("mlflow-artifacts:/"), "{}", champion.storage_location);

    let again = place.take(source, None).await;
    let nothing_new = Report { new_runs: 0, new_points: 0, files: 0, bytes: 0, new_versions: 0, ..report };
    assert_eq!(again, nothing_new);
}
