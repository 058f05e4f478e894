//! Taking releases back: by the judge, by a person; and what automation remembers of it.

use towpath_api::releases::ReleaseState;
use towpath_core::{Classify as _, Kind};
use towpath_delivery::Opened;

use crate::on_both_databases;
use crate::world::{World, made, person, production, staging};

on_both_databases! {
    the_judge_of_the_data_plane_takes_a_bad_candidate_back
    what_was_rolled_back_is_not_released_again_by_automation
    a_person_takes_a_rollout_back
    a_person_takes_a_live_release_back
    without_an_earlier_release_there_is_nothing_to_go_back_to
}

async fn rolling_out(world: &World) -> (i64, i64) {
    world.through_staging(made("first", 0.95)).await;
    let first = world.approve_newest().await;
    world.through_staging(made("second", 0.96)).await;
    let second = world.approve_newest().await;
    assert_eq!(world.state(second).await, ReleaseState::RollingOut);
    (first, second)
}

async fn the_judge_of_the_data_plane_takes_a_bad_candidate_back(world: World) {
    let (first, second) = rolling_out(&world).await;
    world.traffic(&production(), 40, 20);
    world.settle().await;
    let release = world.release(second).await;
    assert_eq!(release.summary.state, ReleaseState::RolledBack);
    let entry = &release.history[0];
    assert_eq!((entry.kind.as_str(), entry.actor.as_str()), ("rollout.rolled_back", "towpath:judge"));
    assert_eq!(entry.evidence["grounds"]["by"], "judge");
    assert!(entry.evidence["grounds"]["evidence"]["errors"].is_object());
    assert_eq!(world.state(first).await, ReleaseState::Live);
    let table = world.target.table(&production()).unwrap();
    assert_eq!((table.stable.unwrap().release, table.rollout), (first, None));
    assert_eq!(world.alias("production").await, Some(1));
    let recomputed = world.delivery.recompute_rollout(second).await.unwrap();
    assert_eq!(recomputed.differences, Vec::<String>::new());
    // The chart ends with what the decision was made on.
    let series = world.delivery.rollout(second).await.unwrap().series;
    let errors = series.last().and_then(|point| point.candidate.error_share);
    assert!(errors.is_some_and(|share| share > 0.0), "{series:?}");
    world.ledger_is_intact().await;
}

async fn what_was_rolled_back_is_not_released_again_by_automation(world: World) {
    let (_, second) = rolling_out(&world).await;
    world.traffic(&production(), 40, 20);
    world.settle().await;
    // Another run, another commit, the same bytes.
    world.through_staging(made("second", 0.96)).await;
    assert_eq!(world.newest("production").await.summary.id, second);
    let history = world.release(second).await.history;
    assert_eq!(history[0].kind, "release.refused");
    let reason = history[0].evidence["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(&format!("release {second} (digits v2) with the same model bytes was rolled back")),
        "{reason}"
    );

    let (_, opened) = world.run_ends(made("third", 0.97)).await;
    assert!(matches!(opened, Opened::Release(_)), "other bytes are welcome");
}

async fn a_person_takes_a_rollout_back(world: World) {
    let (first, second) = rolling_out(&world).await;
    let reader = person("eve", &["read"]);
    assert_eq!(world.delivery.roll_back(&reader, second, "no").await.unwrap_err().kind(), Kind::Denied);
    world.delivery.roll_back(&person("ana", &["write"]), second, "customers complain").await.unwrap();
    world.settle().await;
    let release = world.release(second).await.summary;
    assert_eq!(release.state, ReleaseState::RolledBack);
    assert_eq!(release.reason.as_deref(), Some("Rolled back by ana: customers complain"));
    assert_eq!(world.state(first).await, ReleaseState::Live);
    assert_eq!(world.target.table(&production()).unwrap().rollout, None);
    assert_eq!(world.delivery.recompute_rollout(second).await.unwrap().differences, Vec::<String>::new());
    assert_eq!(world.kinds(second).await.iter().filter(|kind| *kind == "rollout.rolled_back").count(), 1);
}

async fn a_person_takes_a_live_release_back(world: World) {
    let (first, second) = rolling_out(&world).await;
    world.through_canary(&production(), second).await;
    world.delivery.roll_back(&person("ana", &["write"]), second, "it drifts").await.unwrap();
    // In force when the call returns, without the reconciler.
    assert_eq!(world.target.table(&production()).unwrap().stable.unwrap().release, first);
    assert_eq!((world.state(first).await, world.state(second).await), (ReleaseState::Live, ReleaseState::RolledBack));
    assert_eq!(world.alias("production").await, Some(1));
    world.settle().await;
    let again = world.delivery.roll_back(&person("ana", &["write"]), second, "again").await.unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    world.ledger_is_intact().await;
}

async fn without_an_earlier_release_there_is_nothing_to_go_back_to(world: World) {
    world.through_staging(made("first", 0.95)).await;
    let live = world.newest("staging").await.summary.id;
    let refused = world.delivery.roll_back(&person("ana", &["write"]), live, "hm").await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(world.target.table(&staging()).unwrap().stable.is_some());
}
