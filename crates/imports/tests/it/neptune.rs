use towpath_imports::Source;
use towpath_tracking::artifacts::{Artifacts, path_of_uri};
use towpath_tracking::runs::RunStatus;

use crate::Place;
use crate::logged::{runs_of, series};

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_neptune_becomes_runs_with_their_series_and_files() {
    for postgres in [false, true] {
        let place = Place::new(postgres).await;
        place.python("neptune_export");
        let source = Source::neptune(&place.path("exports"), None).unwrap();
        let report = place.take(&source, None).await;
        assert_eq!((report.experiments, report.runs, report.new_runs), (1, 2, 2), "{report:?}");
        assert_eq!((report.points, report.new_points), (1503, 1503), "{report:?}");
        assert_eq!(report.files, 6, "a model, a source, an image, a long text, a log, histograms: {report:?}");
        let missing: Vec<&str> = report.differences.iter().filter_map(|said| said.split('\'').nth(1)).collect();
        assert_eq!(missing, ["team_vision-0123456789abcdef/VIS-1/gone.pt", "../../../etc/hostname"]);

        let runs = runs_of(&place, "team/vision").await;
        let [fork, first] = &runs[..] else { panic!("the unfinished export of VIS-3 is left out: {runs:?}") };
        assert_eq!((first.info.name.as_str(), first.info.user.as_str()), ("warm llama", "ada"));
        assert_eq!((first.info.status, fork.info.status), (RunStatus::Finished, RunStatus::Failed));
        assert_eq!(first.info.start_time.millis(), 1_700_000_000_000);
        assert_eq!(first.info.end_time.unwrap().millis(), 1_700_000_100_000);
        let params: Vec<(&str, &str)> = first.params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let long = "é".repeat(6000);
        assert_eq!(
            params,
            [
                ("config/amp", "True"),
                ("config/epochs", "3"),
                ("config/layers _all_", "x,y"),
                ("config/long", &long),
                ("config/lr", "1e-7"),
                ("config/when", "2023-11-14T22:13:25.000Z"),
            ]
        );
        for (tag, value) in [
            ("neptune.run_id", "VIS-1"),
            ("neptune.name", "baseline"),
            ("neptune.tags", "a,b"),
            ("mlflow.note.content", "what it is for"),
            ("neptune.step_multiplier", "100"),
        ] {
            assert_eq!(first.tags[tag], value, "{tag}");
        }
        assert_eq!(fork.tags["mlflow.parentRunId"], first.info.run_id);

        let loss = series(&place, first, "metrics/loss").await;
        assert_eq!(
            (loss.len(), loss[7].step, loss[7].at),
            (1500, 700, 1_700_000_007_000),
            "all steps by the same power"
        );
        let acc = series(&place, first, "metrics/acc").await;
        assert_eq!(acc.iter().map(|p| (p.step, p.value.is_nan())).collect::<Vec<_>>(), [(125, false), (50, true)]);
        assert_eq!(acc[0].at, 1_700_000_000_000, "a point without a time has that of the run");

        let files = Artifacts::new(towpath_store::objects::open(&place.path("ours").display().to_string()).unwrap());
        let root = path_of_uri(&first.info.artifact_uri).unwrap();
        let names: Vec<String> = files.files(root).await.unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(
            names,
            [
                "config/long/value.txt",
                "images/step_0/image_0.png",
                "log/series.txt",
                "model/best/model.pt",
                "source/train.py",
                "weights/histograms.json",
            ]
        );
        let log = files.read(&format!("{root}/log/series.txt"), 1000).await.unwrap();
        assert_eq!(log, "0; 2023-11-14T22:13:21.000Z; began\n100; 2023-11-14T22:13:22.000Z; ended; well\n");

        let again = place.take(&source, None).await;
        assert_eq!((again.new_runs, again.new_points, again.files), (0, 0, 0), "{again:?}");
        assert_eq!(again.differences, report.differences, "what is missing is said again");
    }
}
