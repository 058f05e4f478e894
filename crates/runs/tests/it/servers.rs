//! Several servers on one database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use towpath_api::runs::RunStatus;
use towpath_core::Actor;
use towpath_runs::{Error, Manual, rows};
use towpath_store::{Durability, ledger};
use towpath_testkit::postgres;

use crate::project::{Project, runs_of};

const PIPELINE: &[(&str, &str)] = &[
    ("dvc.yaml", "stages:\n  say:\n    cmd: echo $RANDOM > out.txt\n    outs:\n    - out.txt\n"),
    ("towpath.yaml", "on: {manual: {params: {}}}\n"),
];

impl Project {
    async fn queue(&self, count: usize) {
        for _ in 0..count {
            let asked = Manual { project: "digits".into(), reference: "main".into(), force: true, ..Manual::default() };
            self.runs.start(asked, &Actor::local()).await.unwrap();
        }
    }

    async fn all_over(&self, count: i64) {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let open = self.store.read(rows::count_open).await.unwrap();
            let (runs, total) = self.store.read(|tx| rows::list(tx, "digits", None, 500)).await.unwrap();
            if open == 0 && total == count {
                let failed: Vec<_> = runs.iter().filter(|r| r.status != RunStatus::Succeeded).collect();
                assert!(failed.is_empty(), "{:?}", failed[0].error);
                return;
            }
            assert!(Instant::now() < deadline, "{open} of {total} runs are not over");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_postgresql_make_each_run_of_the_queue_once() {
    let url = postgres::schema().await.unwrap();
    let project = Project::on(tempfile::tempdir().unwrap(), &url, PIPELINE).await;
    let other = runs_of(project.dir.path(), &project.store, "two");
    project.queue(16).await;
    let shutdown = CancellationToken::new();
    let servers = [Arc::clone(&project.runs), other].map(|runs| tokio::spawn(runs.run(shutdown.clone())));
    project.all_over(16).await;
    shutdown.cancel();
    for server in servers {
        server.await.unwrap();
    }
    for number in 1..=16 {
        let about = format!("run/digits/{number}");
        let started = project.store.read(move |tx| ledger::count(tx, Some(&about), Some("run.started"))).await;
        assert_eq!(started.unwrap(), 1, "run {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_server_had_is_taken_when_its_claim_is_over_and_not_before() {
    let project = Project::with(PIPELINE).await;
    project.queue(1).await;
    let until = project.store.now().plus(Duration::from_secs(30));
    let claimed = project.store.write(Durability::Full, move |tx| {
        tx.run("update pipeline_runs set claimed_by = 'dead', lease_until = $1, status = 'running'", &[&until])?;
        Ok::<_, Error>(())
    });
    claimed.await.unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(Arc::clone(&project.runs).run(shutdown.clone()));
    // The second run is made; the first one's server may still live.
    project.queue(1).await;
    let deadline = Instant::now() + Duration::from_mins(1);
    while project.store.read(|tx| rows::get(tx, "digits", 2)).await.unwrap().summary.finished_at.is_none() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(project.store.read(|tx| rows::get(tx, "digits", 1)).await.unwrap().stages.is_empty());
    project.clock.advance(Duration::from_secs(31));
    project.queue(1).await;
    project.all_over(3).await;
    shutdown.cancel();
    server.await.unwrap();
}
