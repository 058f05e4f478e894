use towpath_imports::{Report, Source};
use towpath_tracking::artifacts::{Artifacts, path_of_uri};
use towpath_tracking::runs::{Run, RunStatus};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{View, experiments, metrics};

use crate::Place;

pub(crate) async fn runs_of(place: &Place, experiment: &'static str) -> Vec<Run> {
    let query = Query { order_by: vec!["attributes.run_name".into()], limit: 10, ..Query::default() };
    let search = place.store.read(move |tx| {
        let id = experiments::by_name(tx, experiment)?.id;
        search::runs::search(tx, &[id], View::Active, &query)
    });
    search.await.unwrap().items
}

pub(crate) async fn series(place: &Place, run: &Run, key: &'static str) -> Vec<metrics::Point> {
    let id = run.info.run_id.clone();
    place.store.read(move |tx| metrics::history(tx, &id, key, 0, None)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn event_files_and_offline_runs_of_the_real_writers_become_runs() {
    let place = Place::new(false).await;
    let wandb_id = place.python("logged").trim().to_owned();

    let source = Source::tensorboard(&place.path("logs"), "boards").unwrap();
    let report = place.take(&source, None).await;
    assert_eq!((report.runs, report.new_points, report.differences.len()), (2, 1000, 0), "{report:?}");
    let runs = runs_of(&place, "boards").await;
    assert_eq!(runs.iter().map(|r| r.info.name.as_str()).collect::<Vec<_>>(), ["eval/deep", "train"]);
    let points = series(&place, &runs[1], "loss/total").await;
    assert_eq!((points.len(), points[499].step, points[499].at), (500, 499, 1_700_000_499_000));
    assert!((points[499].value - 0.002).abs() < 1e-9, "a float of 32 bits");
    let again = place.take(&source, None).await;
    assert_eq!(again, Report { new_runs: 0, new_points: 0, ..report });

    let source = Source::wandb(&place.path("wandb")).unwrap();
    let report = place.take(&source, None).await;
    assert_eq!((report.runs, report.new_points, report.differences.len()), (1, 6001, 0), "{report:?}");
    let run = runs_of(&place, "vision").await.remove(0);
    assert_eq!((run.info.name.as_str(), run.info.status), ("first", RunStatus::Finished));
    assert_eq!((run.params["lr"].as_str(), run.params["optimizer.name"].as_str()), ("0.1", "adam"));
    assert_eq!((run.tags["wandb.run_id"].as_str(), run.tags["wandb.tags"].as_str()), (wandb_id.as_str(), "a,b"));
    assert_eq!(run.tags["wandb.summary.best"], "0.25");
    let loss = series(&place, &run, "loss").await;
    assert_eq!((loss.len(), loss[2999].step), (3000, 2999));
    assert!((loss[1].value - 0.5).abs() < f64::EPSILON);
    assert!(series(&place, &run, "odd").await[0].value.is_nan());
    assert_eq!(series(&place, &run, "nested.acc").await.len(), 3000);
    let files = Artifacts::new(towpath_store::objects::open(&place.path("ours").display().to_string()).unwrap());
    let notes = format!("{}/notes.txt", path_of_uri(&run.info.artifact_uri).unwrap());
    assert_eq!(files.read(&notes, 100).await.unwrap(), "hello");
    let again = place.take(&source, None).await;
    assert_eq!(again, Report { new_runs: 0, new_points: 0, files: 0, bytes: 0, ..report });

    // Half a record at the end is what a killed writer leaves; a damaged one before is named.
    let folder = place.path("logs/train");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    assert!(Source::tensorboard(&folder, "cut").is_ok());
    let mut damaged = whole;
    damaged[200] ^= 0xff;
    std::fs::write(&file, &damaged).unwrap();
    let refused = Source::tensorboard(&folder, "damaged").unwrap_err().to_string();
    assert!(refused.ends_with("a record before the last one is damaged"), "{refused}");
    assert!(Source::wandb(&folder).unwrap_err().to_string().starts_with("there are no runs in "));
}
