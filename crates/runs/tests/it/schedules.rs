use serde_json::json;
use towpath_api::runs::RunSummary;
use towpath_api::schedules::Decision;
use towpath_core::{Actor, Timestamp};
use towpath_runs::{Error, Manual, rows, schedules};
use towpath_store::Durability;
use towpath_tracking::registry::{aliases, models, versions};

use crate::project::{Project, at, runs_of};

const NIGHTLY: &str = "\
on:
  schedule:
    nightly: {cron: 0 3 * * *, timezone: Europe/Berlin, time_param: day, params: {epochs: 2}}
";

impl Project {
    async fn act(&self, now: Timestamp) {
        self.runs.act(now, false).await.unwrap();
    }

    /// Oldest first.
    async fn list(&self, project: &str) -> Vec<RunSummary> {
        let project = project.to_owned();
        let (mut runs, _) = self.store.read(move |tx| rows::list(tx, &project, None, 500)).await.unwrap();
        runs.reverse();
        runs
    }

    /// Oldest first: (outcome, times, why).
    async fn decisions(&self, name: &str) -> Vec<(String, i64, String)> {
        let name = name.to_owned();
        let found: Vec<Decision> =
            self.store.read(move |tx| schedules::decisions(tx, "digits", &name, 500)).await.unwrap();
        found.into_iter().rev().map(|d| (d.outcome, d.times, d.why)).collect()
    }

    async fn end(&self, project: &str, number: i64) {
        let (project, now) = (project.to_owned(), self.store.now());
        let ended = self.store.write(Durability::Relaxed, move |tx| {
            rows::start(tx, now, &project, number, "r", "e")?;
            rows::succeed(tx, now, &project, number, None)
        });
        assert!(ended.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_starts_a_run_at_its_time_in_its_zone_with_its_parameters() {
    let project = Project::with(&[("towpath.yaml", NIGHTLY)]).await;
    project.act(project.set_time("2026-03-03T01:59:59Z")).await;
    assert_eq!(project.list("digits").await.len(), 0);
    project.act(project.set_time("2026-03-03T02:00:00Z")).await;
    // Looked at again: nothing is planned before the next night.
    project.act(project.set_time("2026-03-03T02:00:30Z")).await;
    let runs = project.list("digits").await;
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].trigger.as_str(), runs[0].trigger_name.as_deref()), ("schedule", Some("nightly")));
    assert_eq!(runs[0].planned_at, Some(at("2026-03-03T02:00:00Z")));
    assert_eq!(json!(runs[0].params), json!({"day": "2026-03-03", "epochs": 2}));
    assert_eq!(runs[0].started_by, "towpath:schedule");
    let detail = project.store.read(|tx| schedules::detail(tx, "digits", "nightly", 2)).await.unwrap();
    assert_eq!(detail.next, [at("2026-03-04T02:00:00Z"), at("2026-03-05T02:00:00Z")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_a_server_makes_no_storm_and_says_what_was_missed() {
    let file = "on: {schedule: {often: {every: 10m, overlap: skip}, all: {every: 1h, catch_up: 3}}}";
    let project = Project::with(&[("towpath.yaml", file)]).await;
    project.act(project.set_time("2026-03-03T10:05:00Z")).await;
    let runs = project.list("digits").await;
    let names: Vec<&str> = runs.iter().filter_map(|r| r.trigger_name.as_deref()).collect();
    assert_eq!(names.iter().filter(|n| **n == "often").count(), 1);
    assert_eq!(names.iter().filter(|n| **n == "all").count(), 3);
    let often = project.decisions("often").await;
    assert_eq!((often[0].0.as_str(), often[0].1), ("missed", 144 - 1));
    assert!(often[0].2.contains("no server ran from 2026-03-02T10:10:00.000Z"), "{}", often[0].2);
    let all = project.decisions("all").await;
    assert_eq!((all[0].0.as_str(), all[0].1, all.len()), ("missed", 21, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_not_over_keeps_the_next_one_from_starting_and_is_named() {
    let project = Project::with(&[("towpath.yaml", "on: {schedule: {often: {every: 10m}}}")]).await;
    project.act(project.set_time("2026-03-02T10:10:00Z")).await;
    project.act(project.set_time("2026-03-02T10:20:00Z")).await;
    project.end("digits", 1).await;
    project.act(project.set_time("2026-03-02T10:30:00Z")).await;
    let decisions = project.decisions("often").await;
    let outcomes: Vec<&str> = decisions.iter().map(|d| d.0.as_str()).collect();
    assert_eq!(outcomes, ["started", "skipped", "started"]);
    assert!(decisions[1].2.ends_with("run 1 of it is not over"), "{}", decisions[1].2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_run_cancels_the_old_one_where_the_file_says_so() {
    let project = Project::with(&[("towpath.yaml", "on: {schedule: {often: {every: 10m, overlap: cancel}}}")]).await;
    project.act(project.set_time("2026-03-02T10:10:00Z")).await;
    project.act(project.set_time("2026-03-02T10:20:00Z")).await;
    let runs = project.list("digits").await;
    assert_eq!(json!(runs[0].status), json!("cancelled"));
    assert_eq!(json!(runs[1].status), json!("queued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_schedule_starts_nothing_and_goes_on_from_when_it_is_resumed() {
    let project = Project::with(&[("towpath.yaml", "on: {schedule: {often: {every: 10m}}}")]).await;
    let now = project.store.now();
    let paused = project
        .store
        .write(Durability::Full, move |tx| schedules::pause(tx, now, "digits", "often", &Actor::user("ds-1")));
    paused.await.unwrap();
    // A push does not end the pause.
    project.push("digits", &[("README.md", "digits\n")]).await;
    project.act(project.set_time("2026-03-02T10:35:00Z")).await;
    assert_eq!(project.list("digits").await.len(), 0);
    let now = project.store.now();
    let resumed = project
        .store
        .write(Durability::Full, move |tx| schedules::resume(tx, now, "digits", "often", &Actor::user("ds-2")));
    resumed.await.unwrap();
    project.act(project.set_time("2026-03-02T10:40:00Z")).await;
    let decisions = project.decisions("often").await;
    assert_eq!((decisions[0].0.as_str(), decisions[0].1), ("skipped", 3));
    assert!(decisions[0].2.starts_with("ds-1 had paused it since"), "{}", decisions[0].2);
    assert_eq!((decisions[1].0.as_str(), decisions.len()), ("started", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_look_at_the_same_time_start_each_planned_run_once() {
    let file = "on: {schedule: {a: {every: 10m, overlap: allow}, b: {every: 20m, overlap: allow}}}";
    let project = Project::with(&[("towpath.yaml", file)]).await;
    let other = runs_of(project.dir.path(), &project.store, "two");
    for minute in (10..=50).step_by(10) {
        let now = project.set_time(&format!("2026-03-02T10:{minute}:00Z"));
        let (one, two) = tokio::join!(project.runs.act(now, false), other.act(now, false));
        one.unwrap();
        two.unwrap();
    }
    let runs = project.list("digits").await;
    let of = |name: &str| runs.iter().filter(|r| r.trigger_name.as_deref() == Some(name)).count();
    assert_eq!((of("a"), of("b")), (5, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_by_days_is_noticed() {
    let project = Project::with(&[("towpath.yaml", "on: {schedule: {often: {every: 10m, overlap: allow}}}")]).await;
    project.act(project.set_time("2026-06-02T10:10:00Z")).await;
    let now = project.set_time("2026-03-02T11:00:00Z");
    project.runs.act(now, true).await.unwrap();
    project.act(project.set_time("2026-03-02T11:10:00Z")).await;
    let decisions = project.decisions("often").await;
    assert!(decisions.iter().any(|d| d.2.starts_with("the clock was set back")), "{decisions:?}");
    assert_eq!(decisions.last().unwrap().0, "started");
}

fn pointer(md5: &str) -> String {
    format!("outs:\n- md5: {md5}\n  size: 3\n  hash: md5\n  path: images\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_data_starts_a_run_and_the_same_one_does_not() {
    let (one, two) = (pointer(&"a1".repeat(16)), pointer(&"b2".repeat(16)));
    let file = "on: {data: {path: data/images}}";
    let project = Project::with(&[("towpath.yaml", file), ("data/images.dvc", &one)]).await;
    project.push("digits", &[("README.md", "digits\n")]).await;
    assert_eq!(project.list("digits").await.len(), 0);
    project.push("digits", &[("data/images.dvc", &two)]).await;
    let runs = project.list("digits").await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].reason.as_deref(), Some("a push brought another version of data/images"));
    // A push that starts a run by itself does not start a second one.
    project.push("digits", &[("towpath.yaml", "on: {push: {}, data: {path: data/images}}")]).await;
    project.push("digits", &[("data/images.dvc", &one)]).await;
    assert_eq!(project.list("digits").await.len(), 3);
    let last = project.decisions("data").await.pop().unwrap();
    assert_eq!((last.0.as_str(), last.2.contains("the push itself starts a run")), ("skipped", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_starts_a_run_and_a_mirror_of_many_does_not() {
    let project = Project::with(&[("towpath.yaml", "on: {push: {branches: [], tags: ['v*']}}")]).await;
    project.git("digits", &["tag", "v1"]).await;
    project.git("digits", &["push", "--quiet", "origin", "v1"]).await;
    project.git("digits", &["tag", "-a", "-m", "two", "v2"]).await;
    project.git("digits", &["tag", "other"]).await;
    project.git("digits", &["push", "--quiet", "origin", "v2", "other"]).await;
    let reasons: Vec<_> = project.list("digits").await.into_iter().filter_map(|r| r.reason).collect();
    assert_eq!(reasons, ["tag v1 was pushed", "tag v2 was pushed"]);
    for tag in ["v3", "v4", "v5", "v6"] {
        project.git("digits", &["tag", tag]).await;
    }
    project.git("digits", &["push", "--quiet", "--tags", "origin"]).await;
    assert_eq!(project.list("digits").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_moves_and_a_run_of_another_project_start_runs() {
    let file = "on: {model: {name: words, alias: champion}, run: {project: features}}";
    let project = Project::with(&[("towpath.yaml", file)]).await;
    project.add("features", &[("towpath.yaml", "on: {push: {}}")]).await;
    let now = project.store.now();
    let set = project.store.write(Durability::Full, move |tx| {
        let by = Actor::local();
        models::ensure(tx, now, &by, "words")?;
        let new = versions::NewVersion {
            model: "words".into(),
            source: "s3://bucket/words".into(),
            run_id: None,
            run_link: None,
            model_id: None,
            description: None,
            tags: Vec::new(),
        };
        let version = versions::create(tx, now, &by, &new)?.version;
        aliases::set(tx, now, &by, "words", "champion", version)?;
        Ok::<_, Error>(())
    });
    set.await.unwrap();
    project.act(project.store.now()).await;
    project.act(project.store.now()).await;
    project.end("features", 1).await;
    project.act(project.store.now()).await;
    project.act(project.store.now()).await;
    let reasons: Vec<_> = project.list("digits").await.into_iter().filter_map(|r| r.reason).collect();
    assert_eq!(reasons, ["words@champion is version 1", "run 1 of features succeeded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projects_that_wait_for_each_other_come_to_an_end() {
    let project = Project::with(&[("towpath.yaml", "on: {run: {project: features}}")]).await;
    project.add("features", &[("towpath.yaml", "on: {run: {project: digits}}")]).await;
    let start = Manual { project: "digits".into(), reference: "main".into(), ..Manual::default() };
    project.runs.start(start, &Actor::local()).await.unwrap();
    for _ in 0..50 {
        for name in ["digits", "features"] {
            for run in project.list(name).await.iter().filter(|r| r.finished_at.is_none()) {
                project.clock.advance(std::time::Duration::from_secs(1));
                project.end(name, run.number).await;
            }
        }
        project.act(project.store.now()).await;
    }
    let count = project.list("digits").await.len() + project.list("features").await.len();
    assert_eq!(count, 21);
    let decisions = project.store.read(|tx| schedules::decisions(tx, "features", "run", 1)).await.unwrap();
    assert!(decisions[0].why.ends_with("the last of 20 runs that started each other"), "{}", decisions[0].why);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_takes_the_parameters_that_the_file_declares() {
    let file = "on: {manual: {params: {epochs: {type: integer, min: 1, default: 5}, note: {type: text}}}}";
    let project = Project::with(&[("towpath.yaml", file)]).await;
    let start = |params: serde_json::Value| {
        let params = params.as_object().unwrap().clone().into_iter().collect();
        let asked = Manual { project: "digits".into(), reference: "main".into(), params, ..Manual::default() };
        let runs = project.runs.clone();
        async move { runs.start(asked, &Actor::local()).await.map_err(|e| e.to_string()) }
    };
    assert_eq!(start(json!({"note": "hm"})).await, Ok(1));
    assert_eq!(json!(project.list("digits").await[0].params), json!({"epochs": 5, "note": "hm"}));
    assert_eq!(start(json!({"epochs": 0})).await, Err("parameter 'epochs' must be at least 1, found 0".into()));
    let unknown = start(json!({"seed": 1})).await.unwrap_err();
    assert_eq!(unknown, "parameter 'seed' is not declared; on.manual.params has epochs, note");
}
