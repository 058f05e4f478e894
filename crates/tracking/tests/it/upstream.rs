//! Generated searches find the same runs, in the same order, as in MLflow's own store.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde_json::{Value, json};
use towpath_core::Timestamp;
use towpath_store::Store;
use towpath_tracking::batch::{self, Batch};
use towpath_tracking::metrics::Metric;
use towpath_tracking::runs::{self, NewRun};
use towpath_tracking::search::{self, Query};
use towpath_tracking::{KeyValue, View};

use crate::{NOW, alice, open, write};

/// A process with MLflow's store; ends with the value.
struct Upstream {
    process: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Upstream {
    fn start(folder: &std::path::Path, runs: &Value) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/upstream.py");
        let python = std::path::absolute(towpath_testkit::python::program("python").unwrap()).unwrap();
        let mut command = Command::new(python);
        command.arg(script).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let (asks, answers) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let mut upstream = Self { process, asks, answers: BufReader::new(answers) };
        assert_eq!(upstream.ask(runs), "ready");
        upstream
    }

    fn ask(&mut self, what: &Value) -> String {
        writeln!(self.asks, "{what}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert!(!answer.is_empty(), "MLflow's store fell over {what}");
        answer.trim().to_owned()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs with ties, missing keys, NaN, infinities, the empty text, capitals and the wild cards of LIKE.
fn data() -> Value {
    const VALUES: [&str; 7] = ["0", "0.5", "-1", "nan", "inf", "-inf", "1e-3"];
    const TEXTS: [&str; 7] = ["adam", "Adam", "", "a_b", "a%b", "axb", "it's"];
    let run = |n: usize| {
        let mut metrics = serde_json::Map::new();
        let (mut params, mut tags) = (metrics.clone(), metrics.clone());
        if n % 4 != 3 {
            metrics.insert("loss".into(), json!(VALUES[n % 7]));
        }
        if n.is_multiple_of(3) {
            metrics.insert("a/b c".into(), json!(VALUES[(n / 3) % 7]));
        }
        if n % 5 != 4 {
            params.insert("opt".into(), json!(TEXTS[n % 7]));
        }
        if n % 2 == 1 {
            tags.insert("x y".into(), json!(TEXTS[(n / 2) % 7]));
        }
        json!({
            "name": format!("run-{n}"), "user": TEXTS[n % 2], "start": NOW.0 + n as i64,
            "metrics": metrics, "params": params, "tags": tags,
        })
    };
    (0..42).map(run).collect()
}

async fn fill(store: &Store, data: &Value) {
    for run in data.as_array().unwrap().clone() {
        let pairs = |of: &str| -> Vec<(String, String)> {
            run[of].as_object().unwrap().iter().map(|(k, v)| (k.clone(), v.as_str().unwrap().to_owned())).collect()
        };
        let key_values = |of: &str| pairs(of).iter().map(|(k, v)| KeyValue::new(k, v)).collect::<Vec<_>>();
        let metric = |(key, value): (String, String)| Metric {
            key,
            value: value.parse().unwrap(),
            timestamp: 1,
            ..Metric::default()
        };
        let batch = Batch {
            metrics: pairs("metrics").into_iter().map(metric).collect(),
            params: key_values("params"),
            ..Batch::default()
        };
        let new = NewRun {
            name: Some(run["name"].as_str().unwrap().to_owned()),
            user: run["user"].as_str().unwrap().to_owned(),
            start_time: run["start"].as_i64().map(Timestamp),
            tags: key_values("tags"),
            ..NewRun::default()
        };
        write(store, move |tx| {
            let made = runs::create(tx, NOW, &alice(), &new)?;
            batch::log(tx, &made.info.run_id, &batch)
        })
        .await
        .unwrap();
    }
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(words)
}

/// A comparison as MLflow's grammar has it.
fn clause() -> impl Strategy<Value = String> {
    const NUMBERS: &[&str] = &["0", "0.5", "-1", "1e-3", "100", "-0.0"];
    const TEXTS: &[&str] = &["'adam'", "\"Adam\"", "''", "'a_b'", "'a%'", "'%B'", "'A_B'", "'%'", "\"it's\"", "'none'"];
    let metric = (
        one_of(&["metrics.loss", "metric.loss", "metrics.`a/b c`", "metrics.\"a/b c\"", "metrics.none"]),
        one_of(&["=", "!=", "<", "<=", ">", ">="]),
        one_of(NUMBERS),
    );
    let text = (
        one_of(&["params.opt", "param.opt", "parameter.opt", "tags.`x y`", "tag.\"x y\"", "params.none", "user_id"]),
        one_of(&["=", "!=", "LIKE", "ILIKE", "like"]),
        one_of(TEXTS),
    );
    let null = (one_of(&["params.opt", "tags.`x y`", "tags.none"]), one_of(&["IS NULL", "IS NOT NULL", "is null"]));
    let name = (
        one_of(&["run_name", "attributes.run_name", "`run name`", "attribute.`Run name`", "tags.mlflow.runName"]),
        one_of(&["=", "!=", "LIKE", "ILIKE"]),
        one_of(&["'run-7'", "'run-1%'", "'RUN-_'", "'%'"]),
    );
    let names = (one_of(&["IN", "NOT IN", "in"]), one_of(&["('run-1')", "('run-1', 'run-20', 'x')"]));
    let status = (one_of(&["status", "attributes.status"]), one_of(&["=", "!="]), one_of(&["'RUNNING'", "'FINISHED'"]));
    let start = (one_of(&["=", "!=", "<", "<=", ">", ">="]), 0..45_i64);
    prop_oneof![
        metric.prop_map(|(key, operator, value)| format!("{key} {operator} {value}")),
        text.prop_map(|(key, operator, value)| format!("{key} {operator} {value}")),
        null.prop_map(|(key, operator)| format!("{key} {operator}")),
        name.prop_map(|(key, operator, value)| format!("{key} {operator} {value}")),
        names.prop_map(|(operator, list)| format!("run_name {operator} {list}")),
        status.prop_map(|(key, operator, value)| format!("{key} {operator} {value}")),
        start.prop_map(|(operator, n)| format!("attributes.start_time {operator} {}", NOW.0 + n)),
    ]
}

fn searches() -> impl Strategy<Value = (String, Vec<String>)> {
    let field = one_of(&["metrics.loss", "metrics.`a/b c`", "params.opt", "tags.`x y`", "run_name", "start_time"]);
    let order = (field, one_of(&["", " ASC", " DESC"])).prop_map(|(field, way)| format!("{field}{way}"));
    let filter = (proptest::collection::vec(clause(), 0..4), one_of(&[" AND ", " and "]));
    (filter.prop_map(|(clauses, and)| clauses.join(and)), proptest::collection::vec(order, 0..2))
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_searches_find_what_mlflows_own_store_finds() {
    let (store, folder) = open(false).await;
    let data = data();
    fill(&store, &data).await;
    let path = folder.path().to_owned();
    let mut upstream = tokio::task::spawn_blocking(move || Upstream::start(&path, &data)).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let compared = tokio::task::spawn_blocking(move || {
        // The same searches each time: a failure is there again.
        let config = Config { cases: Config::default().cases.max(400), failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let (upstream, hits) = (std::cell::RefCell::new(&mut upstream), std::cell::Cell::new(0));
        let compared = runner.run(&searches(), |(filter, order)| {
            let answer = upstream.borrow_mut().ask(&json!({"filter": filter, "order": order}));
            let theirs: Option<Vec<String>> = serde_json::from_str(&answer).unwrap();
            let query = Query { filter, order_by: order, limit: 1000, page_token: None };
            let ours = runtime.block_on(store.read(move |tx| search::runs::search(tx, &[0], View::Active, &query)));
            let ours = ours.ok().map(|page| page.items.into_iter().map(|run| run.info.name).collect::<Vec<_>>());
            // What MLflow refuses, such as a list of one for a name, may mean something here.
            if let Some(theirs) = theirs {
                hits.set(hits.get() + usize::from(!theirs.is_empty()));
                prop_assert_eq!(ours, Some(theirs));
            }
            Ok(())
        });
        (compared.map_err(|error: TestError<_>| error.to_string()), hits.get())
    });
    let (compared, hits) = compared.await.unwrap();
    assert_eq!(compared, Ok(()));
    assert!(hits > 100, "only {hits} of the searches found something");
}
