use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use serde_json::{Value, json};
use towpath_kfp::{Event, Finished, Outcome, Request, Status, Watch};
use towpath_pipeline::{Cancel, Environments, JournalError, Local};
use towpath_plan::frontend::kfp::{self, Pipeline};

/// What ended, and what was tried again.
#[derive(Default)]
struct Seen {
    finished: Mutex<BTreeMap<String, Finished>>,
    retries: Mutex<u32>,
    /// The run is cancelled when a process of this task has started.
    cancel_at: Option<(&'static str, Cancel)>,
}

impl Watch for Seen {
    fn record(&self, event: Event<'_>) -> Result<(), JournalError> {
        match event {
            Event::Finished(finished) => {
                self.finished.lock().unwrap().insert(finished.task.clone(), finished.clone());
            }
            Event::Retrying { .. } => *self.retries.lock().unwrap() += 1,
            Event::Process { task, .. } => {
                if let Some((at, cancel)) = &self.cancel_at
                    && *at == task
                {
                    cancel.cancel();
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The pipelines of `pipelines.py`, as the SDK compiles them.
fn compiled(folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pipelines.py");
    let output = Command::new(towpath_testkit::python::kfp().unwrap()).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn read(folder: &Path, name: &str) -> Pipeline {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    kfp::read(name, &text).unwrap()
}

fn request(pipeline: &Pipeline, folder: &Path, run: &str, given: Value) -> Request {
    let given: BTreeMap<String, Value> = serde_json::from_value(given).unwrap();
    Request {
        parameters: pipeline.parameters(&given).unwrap(),
        name: pipeline.name.clone(),
        id: run.to_owned(),
        dir: folder.join(run),
        results: Some(folder.join("results")),
        environments: Environments::new(Path::new(env!("CARGO_TARGET_TMPDIR")).join("environments")),
        jobs: 2,
        measured: false,
        priority: 0,
        hidden: Vec::new(),
        readable: Vec::new(),
        runs: None,
    }
}

fn run(pipeline: &Pipeline, request: &Request) -> (Outcome, BTreeMap<String, Finished>, u32) {
    let seen = Seen::default();
    let outcome = towpath_kfp::run(pipeline, request, &seen, &Local, &Cancel::new().unwrap()).unwrap();
    (outcome, seen.finished.into_inner().unwrap(), seen.retries.into_inner().unwrap())
}

fn log(request: &Request, task: &str) -> String {
    let path = request.dir.join("logs").join(towpath_pipeline::engine::log_name(task));
    let lines = towpath_pipeline::log::read(&path, 0, 1000).unwrap().lines;
    lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
}

#[test]
fn compiled_pipelines_run_as_their_language_says() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    compiled(folder);

    // Three steps, a condition, a loop, a container; the second time only what must not be cached runs.
    let pipeline = read(folder, "three-steps.yaml");
    let first = request(&pipeline, folder, "first", json!({"rows": 20}));
    let (outcome, tasks, _) = run(&pipeline, &first);
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?} {tasks:?}");
    assert_eq!(tasks["train"].metrics, BTreeMap::from([("accuracy".to_owned(), 0.75), ("rows".to_owned(), 20.0)]));
    assert_eq!(tasks["condition-1/say"].outputs["Output"], json!("ACCURATE"));
    assert_eq!(tasks["for-loop-3[2]/say-2"].outputs["Output"], json!("HELLO 3"));
    assert_eq!(tasks["shell"].outputs["out"], json!("hello"));
    assert_eq!(tasks["make"].outputs["Output"], json!(40));
    assert!(tasks["make"].sandbox.starts_with("landlock"), "{}", tasks["make"].sandbox);
    let model = std::fs::read_to_string(&tasks["train"].artifacts["model"][0].uri).unwrap();
    assert_eq!(model, "model of 20 rows at 0.25");
    assert_eq!(tasks["curve"].artifacts["metrics"][0].metadata["confusionMatrix"]["rows"][1]["row"], json!([0, 4]));
    let (outcome, tasks, _) = run(&pipeline, &request(&pipeline, folder, "second", json!({"rows": 20, "rate": 0.1})));
    assert_eq!(outcome.status, Status::Succeeded);
    assert_eq!(tasks["make"].status, Status::Reused);
    assert_eq!(tasks["train"].status, Status::Succeeded);
    assert_eq!(tasks["condition-1"].status, Status::Skipped);

    // The rest of the language; an exit handler sees how it ended.
    let pipeline = read(folder, "whole-language.yaml");
    let data = folder.join("data.csv");
    std::fs::write(&data, "elsewhere\n").unwrap();
    let given = json!({"which": "b", "uri": data.to_str().unwrap()});
    let well = request(&pipeline, folder, "well", given.clone());
    let (outcome, tasks, _) = run(&pipeline, &well);
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?} {tasks:?}");
    let total = &tasks["exit-handler-1/squares/total"].outputs;
    assert_eq!((&total["sum"], &total["files"]), (&json!(14), &json!(14)));
    assert!(log(&well, "exit-handler-1/show").contains("shown: SECOND 14"));
    assert_eq!(tasks["exit-handler-1/read"].outputs["Output"], json!("elsewhere"));
    assert!(log(&well, "report").contains("the pipeline ended: SUCCEEDED after all"));
    let mut given = given;
    given["which"] = json!("c");
    given["fail"] = json!(true);
    let badly = request(&pipeline, folder, "badly", given);
    let (outcome, tasks, _) = run(&pipeline, &badly);
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!(outcome.error.as_deref(), Some("exit-handler-1/fail-if: it exited with 1"));
    assert_eq!(tasks["exit-handler-1/condition-branches-2/condition-5/say-3"].outputs["Output"], json!("THIRD"));
    assert_eq!(tasks["exit-handler-1/condition-branches-2/condition-4"].status, Status::Skipped);
    let report = log(&badly, "report");
    assert!(report.contains("the pipeline ended: FAILED") && report.contains("exited with 1"), "{report}");

    // A loop over artifacts, and words of a command that are there for some inputs only.
    let pipeline = read(folder, "rare-parts.yaml");
    let rare = request(&pipeline, folder, "rare", json!({"count": 4}));
    let (outcome, tasks, _) = run(&pipeline, &rare);
    assert_eq!(outcome.status, Status::Succeeded, "{outcome:?} {tasks:?}");
    assert_eq!(tasks["sizes/for-loop-1[3]/size"].outputs["Output"], json!(16), "{:?}", tasks.keys());
    assert_eq!(tasks["sizes/add"].outputs["Output"], json!(30));
    assert_eq!(tasks["greet"].outputs["out"], json!("--first=a --nobody"));
    assert_eq!(tasks["greet-2"].outputs["out"], json!("--first=b --last c"));

    // Retries, packages, and what runs although something before it failed.
    let pipeline = read(folder, "stubborn.yaml");
    let counter = tempfile::NamedTempFile::new_in("/dev/shm").unwrap().into_temp_path();
    std::fs::write(&counter, "0").unwrap();
    let given = json!({"counter": counter.to_str().unwrap(), "fail": true});
    let stubborn = request(&pipeline, folder, "stubborn", given);
    let (outcome, tasks, retries) = run(&pipeline, &stubborn);
    assert_eq!(outcome.status, Status::Failed);
    assert_eq!((retries, &tasks["flaky"].outputs["Output"]), (2, &json!(2)), "{}", log(&stubborn, "flaky"));
    assert_eq!(tasks["packaged"].outputs["Output"], json!("1.17.0"));
    assert!(log(&stubborn, "cleanup").contains("cleanup: nothing came"));
    assert_eq!(tasks["show"].reason.as_deref(), Some("'fail-if', which it needs, failed"));

    // A run that was stopped goes on after what it had done.
    std::fs::write(&counter, "5").unwrap();
    let stopped = request(&pipeline, folder, "stopped", json!({"counter": counter.to_str().unwrap()}));
    let cancel = Cancel::new().unwrap();
    let seen = Seen { cancel_at: Some(("show", cancel.clone())), ..Seen::default() };
    let outcome = towpath_kfp::run(&pipeline, &stopped, &seen, &Local, &cancel).unwrap();
    assert_eq!(outcome.status, Status::Cancelled);
    let before = seen.finished.into_inner().unwrap();
    assert_eq!(before["show"].status, Status::Cancelled);
    let (outcome, tasks, _) = run(&pipeline, &stopped);
    assert_eq!((outcome.status, tasks["show"].status), (Status::Succeeded, Status::Succeeded));
    // It runs beside the one that was stopped, and may have been stopped with it.
    if before.get("flaky").is_some_and(|task| task.status == Status::Succeeded) {
        assert_eq!(tasks["flaky"].outputs["Output"], json!(5), "it is not run again");
        assert_eq!(std::fs::read_to_string(&counter).unwrap(), "6");
    }
}
