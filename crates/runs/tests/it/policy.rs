//! Approvals, secrets and resources of stages, through a server that makes the runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use towpath_api::runs::{Run, RunStatus, StageRun, StageStatus};
use towpath_api::secrets::SecretKey;
use towpath_core::Actor;
use towpath_identity::{Identity, Scope};
use towpath_runs::approvals::{self, Ballot};
use towpath_runs::{Error, Manual, rows, secrets};
use towpath_store::Durability;
use towpath_tracking::metrics;

use crate::project::Project;

struct Server {
    project: Project,
    shutdown: CancellationToken,
    made: JoinHandle<()>,
}

impl Server {
    async fn with(pipeline: &str, policy: &str) -> Self {
        let policy = format!("on: {{manual: {{params: {{}}}}}}\n{policy}");
        let project = Project::with(&[("dvc.yaml", pipeline), ("towpath.yaml", &policy)]).await;
        let shutdown = CancellationToken::new();
        let made = tokio::spawn(Arc::clone(&project.runs).run(shutdown.clone()));
        Self { project, shutdown, made }
    }

    async fn start(&self) -> i64 {
        let asked = Manual { project: "digits".into(), reference: "main".into(), force: true, ..Manual::default() };
        self.project.runs.start(asked, &Actor::user("ds-1")).await.unwrap()
    }

    async fn run(&self, number: i64) -> Run {
        self.project.store.read(move |tx| rows::get(tx, "digits", number)).await.unwrap()
    }

    async fn until(&self, number: i64, what: &str, holds: impl Fn(&Run) -> bool) -> Run {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let run = self.run(number).await;
            if holds(&run) {
                return run;
            }
            assert!(Instant::now() < deadline, "{what}: {run:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn over(&self, number: i64) -> Run {
        self.until(number, "it ends", |run| run.summary.finished_at.is_some()).await
    }

    async fn vote(&self, number: i64, who: &str, roles: &[&str], approve: bool) -> Result<(), Error> {
        let by = Identity {
            actor: Actor::user(who),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            admin: false,
            token_id: Some("t".into()),
            scope: Scope::User,
        };
        let now = self.project.store.now();
        let voted = self.project.store.write(Durability::Full, move |tx| {
            let ballot = Ballot { project: "digits", number, stage: "publish", approve, reason: "looked at it" };
            approvals::vote(tx, now, &by, ballot)
        });
        voted.await
    }

    async fn set(&self, name: &str, reference: Option<&str>, environment: Option<&str>, value: &str) {
        let key = SecretKey {
            name: name.into(),
            reference: reference.map(str::to_owned),
            environment: environment.map(str::to_owned),
        };
        let (now, vault, value) = (self.project.store.now(), self.project.runs.vault().clone(), value.to_owned());
        let set = self
            .project
            .store
            .write(Durability::Full, move |tx| secrets::set(tx, now, &vault, "digits", &key, &value, &Actor::local()));
        set.await.unwrap();
    }

    async fn log(&self, number: i64, stage: &str) -> String {
        let page = self.project.runs.log("digits", number, stage, 0, 1000).await.unwrap();
        page.lines.into_iter().map(|line| line.text + "\n").collect()
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.made.await.unwrap();
    }
}

fn stage<'a>(run: &'a Run, name: &str) -> &'a StageRun {
    run.stages.iter().find(|stage| stage.name == name).unwrap()
}

/// A stage waits, and all others are done.
fn waits(run: &Run) -> bool {
    let ended = |stage: &&StageRun| stage.status == StageStatus::Succeeded;
    run.stages.iter().any(|stage| stage.status == StageStatus::Waiting)
        && run.stages.iter().filter(ended).count() == run.stages.len() - 1
}

const PUBLISH: &str = "\
stages:
  train: {cmd: echo x > model, outs: [model]}
  publish: {cmd: cp model published, deps: [model], outs: [published]}
  report: {cmd: echo y > report, outs: [report]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_waits_for_approvals_holds_no_slot_and_goes_on_without_running_the_others_again() {
    let server = Server::with(PUBLISH, "stages: {publish: {approval: {count: 2, from: [risk]}}}\n").await;
    let number = server.start().await;
    let waiting = server.until(number, "it waits", waits).await;
    assert_eq!(waiting.summary.status, RunStatus::Running);
    assert_eq!(stage(&waiting, "report").status, StageStatus::Succeeded);
    let trained_at = stage(&waiting, "train").started_at;
    // More runs than there are slots wait, and others still run.
    for _ in 0..3 {
        let next = server.start().await;
        server.until(next, "it waits as well", waits).await;
    }

    let no_role = server.vote(number, "ds-2", &["write"], true).await.unwrap_err();
    assert_eq!(no_role.to_string(), "this approval does not count: it needs the role risk");
    let own = server.vote(number, "ds-1", &["risk"], true).await.unwrap_err();
    assert_eq!(own.to_string(), "this approval does not count: who started the run does not count");
    server.vote(number, "risk-1", &["risk"], true).await.unwrap();
    let half = server.run(number).await;
    assert_eq!(stage(&half, "publish").approval.as_ref().unwrap().votes.len(), 1);
    assert!(waits(&half), "one of two");
    server.vote(number, "risk-2", &["risk"], true).await.unwrap();
    let over = server.over(number).await;
    assert_eq!(over.summary.status, RunStatus::Succeeded, "{:?}", over.summary.error);
    assert_eq!(stage(&over, "publish").status, StageStatus::Succeeded);
    assert_eq!((stage(&over, "train").status, stage(&over, "train").started_at), (StageStatus::Succeeded, trained_at));

    server.vote(2, "risk-1", &["risk"], false).await.unwrap();
    let refused = server.over(2).await;
    assert_eq!(refused.summary.error.as_deref(), Some("stage 'publish' was refused by risk-1: looked at it"));
    // One that waits can be cancelled.
    let (now, by) = (server.project.store.now(), Actor::local());
    let cancelled =
        server.project.store.write(Durability::Full, move |tx| rows::request_cancel(tx, now, "digits", 3, &by));
    cancelled.await.unwrap();
    assert_eq!(server.over(3).await.summary.status, RunStatus::Cancelled);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stages_of_a_run_that_do_not_need_each_other_run_at_the_same_time() {
    // Each waits for a file of the other: one after the other they would fail.
    let wait = |own: &str, other: &str| {
        format!(
            "touch {own}.here; for i in $(seq 400); do [ -e {other}.here ] && break; sleep 0.05; done; [ -e {other}.here ] && echo {own} > {own}"
        )
    };
    let pipeline = format!(
        "stages:\n  a: {{cmd: '{}', outs: [a]}}\n  b: {{cmd: '{}', outs: [b]}}\n  c: {{cmd: cat a b > c, deps: [a, b], outs: [c]}}\n",
        wait("a", "b"),
        wait("b", "a")
    );
    let server = Server::with(&pipeline, "").await;
    let number = server.start().await;
    let run = server.over(number).await;
    assert_eq!(run.summary.status, RunStatus::Succeeded, "{:?}", run.summary.error);
    assert_eq!(stage(&run, "c").outputs[0].size, Some(4));
    let grid = server.project.store.read(|tx| rows::grid(tx, "digits", 10)).await.unwrap();
    assert_eq!((grid.stages, grid.runs.len()), (vec!["a".to_owned(), "b".to_owned(), "c".to_owned()], 1));
    assert_eq!(grid.runs[0].stages["c"], StageStatus::Succeeded);
    server.end().await;
}

const SECRETS: &str = "\
stages:
  use:
    cmd: printf %s \"$TOKEN\" > token; echo \"is $TOKEN\"; printf %s \"user:$TOKEN\" | base64; env | grep -c OTHER || true
    outs: [token]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_stage_gets_the_secrets_that_it_names_and_no_log_has_them() {
    let policy = "stages: {use: {environment: production, secrets: {TOKEN: registry-token}}}\n";
    let server = Server::with(SECRETS, policy).await;
    let without = server.start().await;
    let error = server.over(without).await.summary.error.unwrap();
    assert_eq!(
        error,
        "stage 'use' needs the secret 'registry-token', which digits does not have for a run of branch main in \
         environment production: towpath secret set registry-token"
    );
    server.set("registry-token", Some("release/*"), None, "for-other-branches").await;
    server.set("registry-token", None, None, "for-everybody").await;
    server.set("registry-token", Some("main"), Some("production"), "s3cret-of-production").await;
    server.set("OTHER", None, None, "not-asked-for").await;
    let number = server.start().await;
    let run = server.over(number).await;
    assert_eq!(run.summary.status, RunStatus::Succeeded, "{:?}", run.summary.error);
    let output = &stage(&run, "use").outputs[0];
    assert_eq!(output.size, Some("s3cret-of-production".len() as u64), "the nearest one");
    let log = server.log(number, "use").await;
    assert!(log.contains("is ***") && !log.contains("s3cret"), "{log}");
    assert!(!log.contains("czNjcmV0LW9m") && !log.contains("MzY3JldC1vZi") && !log.contains("zM2NyZXQtb2Y"), "{log}");
    let database = std::fs::read(server.project.dir.path().join("towpath.db")).unwrap();
    let wal = std::fs::read(server.project.dir.path().join("towpath.db-wal")).unwrap_or_default();
    let holds = |bytes: &[u8]| bytes.windows(20).any(|w| w == b"s3cret-of-production");
    assert!(!holds(&database) && !holds(&wal), "encrypted at rest");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stage_takes_of_the_machine_is_in_its_tracked_run_under_the_names_of_mlflow() {
    let pipeline = "stages: {work: {cmd: 'i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; sleep 0.6; echo > done', outs: [done]}}\n";
    let server = Server::with(pipeline, "").await;
    let number = server.start().await;
    let run = server.over(number).await;
    let tracked = stage(&run, "work").tracking_run.clone().unwrap();
    let series = |name: &str| {
        let (tracked, name) = (tracked.clone(), format!("system/{name}"));
        server.project.store.read(move |tx| metrics::history(tx, &tracked, &name, 0, None))
    };
    let memory = series("system_memory_usage_megabytes").await.unwrap();
    assert!(!memory.is_empty() && memory[0].value > 0.1, "{memory:?}");
    for name in ["cpu_utilization_percentage", "disk_read_megabytes", "disk_write_megabytes"] {
        assert_eq!(series(name).await.unwrap().len(), memory.len(), "{name}");
    }
    server.end().await;
}
