//! Backfills: which planned times get a run, how many at a time, and what stops them.

use serde_json::{Value, json};
use towpath_api::backfills::{Backfill, BackfillStatus, NewBackfill, PartitionStatus, Reprocess};
use towpath_api::runs::RunStatus;
use towpath_core::Actor;
use towpath_runs::schedules::backfills;
use towpath_runs::{Error, rows};
use towpath_store::Durability;

use crate::project::{Project, at};

const NIGHTLY: &str = "\
on:
  schedule:
    nightly: {cron: 0 3 * * *, timezone: Europe/Berlin, time_param: day, params: {epochs: 2}}
  data: {path: data}
concurrency: {group: all, cancel_in_progress: true}
";

fn asked(from: &str, to: &str) -> NewBackfill {
    serde_json::from_value(json!({"schedule": "nightly", "from": from, "to": to})).unwrap()
}

impl Project {
    async fn backfill(&self, asked: NewBackfill) -> Result<Backfill, Error> {
        self.runs.start_backfill("digits", asked, &Actor::user("ds-1")).await
    }

    async fn shown(&self, number: i64) -> Backfill {
        self.store.read(move |tx| backfills::get(tx, "digits", number)).await.unwrap()
    }

    /// A run comes to its end, and the server looks at what may start.
    async fn over(&self, number: i64, status: RunStatus) {
        let now = self.store.now();
        let ended = self.store.write(Durability::Relaxed, move |tx| {
            rows::start(tx, now, "digits", number, "r", "e")?;
            match status {
                RunStatus::Succeeded => rows::succeed(tx, now, "digits", number, None).map(drop),
                status => rows::finish(tx, now, "digits", number, status, Some("it failed")),
            }
        });
        ended.await.unwrap();
        self.runs.act(now, false).await.unwrap();
    }

    async fn params_of(&self, number: i64) -> Value {
        json!(self.store.read(move |tx| rows::get(tx, "digits", number)).await.unwrap().summary.params)
    }
}

fn statuses(backfill: &Backfill) -> Vec<(PartitionStatus, Option<i64>)> {
    backfill.partitions.iter().map(|p| (p.status, p.run)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planned_time_of_the_range_gets_a_run_so_many_at_a_time() {
    use PartitionStatus::{Queued, Succeeded, Waiting};
    let project = Project::with(&[("towpath.yaml", NIGHTLY)]).await;
    let begun = project.backfill(NewBackfill { at_once: 2, ..asked("2026-02-01", "2026-02-03") }).await.unwrap();
    // Days of Berlin: 3 o'clock there is 2 in UTC.
    let planned: Vec<_> = begun.partitions.iter().map(|p| p.planned_at).collect();
    assert_eq!(planned, [at("2026-02-01T02:00:00Z"), at("2026-02-02T02:00:00Z"), at("2026-02-03T02:00:00Z")]);
    assert_eq!(statuses(&begun), [(Queued, Some(1)), (Queued, Some(2)), (Waiting, None)]);
    assert_eq!(project.params_of(2).await, json!({"day": "2026-02-02", "epochs": 2}));
    // Looked at while nothing may start, it tells nobody: the one who looks would wake itself.
    let mut told = project.store.listen();
    project.runs.act(project.store.now(), false).await.unwrap();
    assert!(told.try_recv().is_err());
    project.over(2, RunStatus::Succeeded).await;
    assert_eq!(statuses(&project.shown(1).await), [(Queued, Some(1)), (Succeeded, Some(2)), (Queued, Some(3))]);
    project.over(1, RunStatus::Succeeded).await;
    project.over(3, RunStatus::Failed).await;
    let over = project.shown(1).await;
    assert_eq!((over.status, over.finished_at.is_some()), (BackfillStatus::Done, true));

    // The schedule itself does not wait for the runs of a backfill.
    project.backfill(asked("2026-02-05", "2026-02-05")).await.unwrap();
    project.runs.act(project.set_time("2026-03-03T02:00:00Z"), false).await.unwrap();
    let (runs, _) = project.store.read(|tx| rows::list(tx, "digits", None, 10)).await.unwrap();
    assert_eq!((runs[0].trigger.as_str(), runs[1].trigger.as_str()), ("schedule", "backfill"));
    assert_eq!(json!(runs[1].status), json!("queued"), "it is in no group that the newer run would cancel");
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_times_that_had_a_run_are_left_out_unless_they_are_asked_for() {
    use PartitionStatus::{Queued, Skipped, Waiting};
    let project = Project::with(&[("towpath.yaml", NIGHTLY)]).await;
    project.backfill(NewBackfill { at_once: 3, ..asked("2026-02-01", "2026-02-03") }).await.unwrap();
    project.over(1, RunStatus::Succeeded).await;
    project.over(2, RunStatus::Failed).await;
    let preview = |reprocess| {
        let project = &project;
        async move {
            let asked = NewBackfill { reprocess, backwards: true, ..asked("2026-02-01", "2026-02-04") };
            let found = project.runs.preview_backfill("digits", asked).await.unwrap();
            (found.iter().map(|p| p.status).collect::<Vec<_>>(), found[2].why.clone())
        }
    };
    let (none, why) = preview(Reprocess::None).await;
    assert_eq!(none, [Skipped, Skipped, Skipped, Waiting]);
    assert_eq!(why.as_deref(), Some("run 3 of it is queued"));
    assert_eq!(preview(Reprocess::Failed).await.0, [Skipped, Waiting, Skipped, Waiting]);
    assert_eq!(preview(Reprocess::Completed).await.0, [Waiting, Waiting, Skipped, Waiting]);
    let newest_first = NewBackfill { backwards: true, ..asked("2026-02-04", "2026-02-05") };
    let newest_first = project.backfill(newest_first).await.unwrap();
    assert_eq!(newest_first.partitions[0].planned_at, at("2026-02-05T02:00:00Z"));
    assert_eq!(statuses(&newest_first), [(Queued, Some(4)), (Waiting, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_is_paused_resumed_and_cancelled() {
    use PartitionStatus::{Cancelled, Queued, Skipped, Succeeded, Waiting};
    let project = Project::with(&[("towpath.yaml", NIGHTLY)]).await;
    project.backfill(asked("2026-02-01", "2026-02-03")).await.unwrap();
    let now = project.store.now();
    let change = |change: fn(&mut towpath_store::Tx<'_>, _, &str, i64, &Actor) -> Result<Backfill, Error>| {
        project.store.write(Durability::Full, move |tx| change(tx, now, "digits", 1, &Actor::user("ds-2")))
    };
    change(backfills::pause).await.unwrap();
    project.over(1, RunStatus::Succeeded).await;
    assert_eq!(statuses(&project.shown(1).await), [(Succeeded, Some(1)), (Waiting, None), (Waiting, None)]);
    let resumed = change(backfills::resume).await.unwrap();
    assert_eq!(statuses(&resumed), [(Succeeded, Some(1)), (Queued, Some(2)), (Waiting, None)]);
    let cancelled = change(backfills::cancel).await.unwrap();
    assert_eq!(cancelled.status, BackfillStatus::Cancelled);
    assert_eq!(statuses(&cancelled), [(Succeeded, Some(1)), (Cancelled, Some(2)), (Skipped, None)]);
    assert_eq!(cancelled.partitions[2].why.as_deref(), Some("ds-2 cancelled the backfill"));
    let again = change(backfills::resume).await.unwrap_err();
    assert_eq!(again.to_string(), "backfill 1 of 'digits' is cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_again_is_said_before_anything_starts() {
    let project = Project::with(&[("towpath.yaml", NIGHTLY)]).await;
    let error = async |asked| project.backfill(asked).await.unwrap_err().to_string();
    assert_eq!(
        error(NewBackfill { schedule: "data".into(), ..asked("2026-02-01", "2026-02-03") }).await,
        "'data' of project 'digits' is no schedule: it has no planned times to run again"
    );
    assert_eq!(
        error(asked("yesterday", "2026-02-03")).await,
        "'from' of the backfill must be a date such as 2026-01-31 or a time such as 2026-01-31T06:00:00Z, found \
         'yesterday'"
    );
    let ahead = error(asked("2027-02-01", "2027-02-03")).await;
    assert!(ahead.contains("must lie before 'to' and before now (2026-03-02T10:00:00.000Z)"), "{ahead}");
    let much = error(asked("1900-01-01", "2026-02-03")).await;
    assert!(much.contains("hold more than 10000 planned times"), "{much}");
    let none = error(NewBackfill { at_once: 0, ..asked("2026-02-01", "2026-02-03") }).await;
    assert_eq!(none, "'at_once' of the backfill must be 1 to 1000, found 0");
    let (runs, _) = project.store.read(|tx| rows::list(tx, "digits", None, 10)).await.unwrap();
    assert!(runs.is_empty());
}
