//! From the end of a run to live in production.

use towpath_api::releases::{Outcome, ReleaseState};
use towpath_core::Classify as _;
use towpath_core::project::Strategy;
use towpath_delivery::Opened;
use towpath_delivery::gates::{Recomputation, recompute};

use crate::on_both_databases;
use crate::world::{Made, World, made, production, staging};

on_both_databases! {
    the_first_version_goes_live_with_no_incumbent_to_compare_with
    the_next_version_is_canaried_and_replaces_the_first
    blue_green_switches_in_one_step_and_keeps_what_served_before
    a_worse_version_is_rejected_by_its_gate_with_the_numbers
    metrics_of_other_evaluation_data_are_not_comparable
    a_newer_release_takes_the_place_of_one_that_waits
    asking_again_opens_no_second_release
    a_model_that_cannot_be_loaded_ends_its_release_and_nothing_else
    a_slow_model_is_rejected_by_the_latency_gate
    the_chart_and_the_holds_of_a_long_rollout_stay_bounded
    lists_are_paged_newest_first
}

async fn the_first_version_goes_live_with_no_incumbent_to_compare_with(world: World) {
    let (version, opened) = world.run_ends(made("first", 0.95)).await;
    assert_eq!(opened, Opened::Release(1));
    world.settle().await;
    assert_eq!(world.state(1).await, ReleaseState::Live);
    assert_eq!(world.alias("staging").await, Some(version));

    let all = world.delivery.releases(towpath_delivery::Filter::default()).await.unwrap();
    assert_eq!(all.total, 1, "production waits until it has soaked in staging");
    world.later(61).await;
    let release = world.newest("production").await;
    assert_eq!(release.summary.state, ReleaseState::AwaitingApproval);
    assert_eq!(release.gates[0].outcome, Outcome::NoIncumbent);
    assert_eq!((release.summary.approvals_given, release.summary.approvals_needed), (0, 2));
    assert!(release.summary.reason.unwrap().starts_with("Waits for approval: 0 of 2 approvals from risk, ml-leads"));

    let id = world.approve_newest().await;
    assert_eq!(world.state(id).await, ReleaseState::Live);
    assert_eq!(world.alias("production").await, Some(version));
    let table = world.target.table(&production()).unwrap();
    assert_eq!((table.stable.unwrap().id, table.rollout), (format!("digits-v1-r{id}"), None));
    assert!(table.accepted_tokens.is_some_and(|tokens| tokens.len() == 5));
    let expected = [
        "release.opened",
        "release.gating",
        "release.gated",
        "release.approved",
        "release.approved",
        "rollout.opened",
        "release.live",
    ];
    assert_eq!(world.kinds(id).await, expected);
    let deployment = world.delivery.deployment("digits", "production").await.unwrap();
    assert_eq!(deployment.live.unwrap().release, id);
    world.ledger_is_intact().await;
}

async fn the_next_version_is_canaried_and_replaces_the_first(world: World) {
    world.through_staging(made("first", 0.95)).await;
    let first = world.approve_newest().await;
    let version = world.through_staging(made("second", 0.96)).await;
    let second = world.approve_newest().await;
    assert_eq!(world.state(second).await, ReleaseState::RollingOut);
    assert_eq!(world.target.table(&production()).unwrap().rollout.unwrap().step, 0);

    let rollout = world.delivery.rollout(second).await.unwrap();
    assert_eq!((rollout.status.as_str(), rollout.stable_version), ("holding", Some(1)));
    assert!(rollout.next.starts_with("Holding at 10 %: no evidence on errors"), "{}", rollout.next);
    let comparison = world.release(second).await.comparison.unwrap();
    assert_eq!((comparison.metrics[0].word.as_str(), comparison.comparable), ("better", true));

    world.traffic(&production(), 300, 0);
    world.later(11).await;
    assert_eq!(world.target.table(&production()).unwrap().rollout.unwrap().step, 1);
    world.traffic(&production(), 300, 0);
    world.later(11).await;
    assert_eq!(world.state(second).await, ReleaseState::Live);
    assert_eq!(world.state(first).await, ReleaseState::Superseded);
    assert_eq!(world.alias("production").await, Some(version));
    let table = world.target.table(&production()).unwrap();
    assert_eq!(table.warm.unwrap().release, first, "the last good one stays loaded");

    let rollout = world.delivery.rollout(second).await.unwrap();
    let verbs: Vec<&str> = rollout.decisions.iter().rev().map(|decision| decision.verb.as_str()).collect();
    assert_eq!(verbs.first(), Some(&"start"));
    assert_eq!(verbs.iter().filter(|verb| **verb == "advance").count(), 1);
    assert_eq!(verbs.last(), Some(&"promote"));
    assert!(rollout.series.len() >= 2);
    let recomputed = world.delivery.recompute_rollout(second).await.unwrap();
    assert_eq!((recomputed.decisions, recomputed.equal), (verbs.len() as u32, verbs.len() as u32));

    world.later(301).await;
    assert_eq!(world.target.table(&production()).unwrap().warm, None);
    world.ledger_is_intact().await;
}

async fn blue_green_switches_in_one_step_and_keeps_what_served_before(mut world: World) {
    let rollout = &mut world.file.environments[1].rollout;
    (rollout.strategy, rollout.steps, rollout.preview_seconds) = (Strategy::BlueGreen, vec![0.0, 1.0], 30.0);
    rollout.judge.alone = true;
    world.through_staging(made("first", 0.95)).await;
    let first = world.approve_newest().await;
    world.through_staging(made("second", 0.96)).await;
    let second = world.approve_newest().await;
    let weight = |world: &World| world.target.table(&production()).unwrap().rollout.map(|rollout| rollout.weight);
    assert_eq!(weight(&world), Some(0.0), "it is loaded beside, and nobody is sent to it");
    let next = world.delivery.rollout(second).await.unwrap().next;
    assert!(next.starts_with("Holding at 0 %: 30 s more in this step"), "{next}");

    world.later(31).await;
    assert_eq!((weight(&world), world.state(second).await), (Some(1.0), ReleaseState::RollingOut));
    assert_eq!(world.target.table(&production()).unwrap().stable.unwrap().release, first, "the way back is loaded");
    world.traffic(&production(), 100, 0);
    world.later(11).await;
    assert_eq!(world.state(second).await, ReleaseState::Live);
    let table = world.target.table(&production()).unwrap();
    assert_eq!((table.stable.unwrap().release, table.warm.unwrap().release), (second, first));
    let rollout = world.delivery.rollout(second).await.unwrap();
    let texts: Vec<&str> = rollout.decisions.iter().map(|decision| decision.text.as_str()).collect();
    assert_eq!(texts[0], "Promote: everything required at 100 % is shown");
    assert!(texts.contains(&"Switch to 100 %: everything required at 0 % is shown"), "{texts:?}");

    world.through_staging(made("third", 0.97)).await;
    let third = world.approve_newest().await;
    world.later(31).await;
    world.traffic(&production(), 20, 10);
    world.settle().await;
    assert_eq!(world.state(third).await, ReleaseState::RolledBack);
    let table = world.target.table(&production()).unwrap();
    assert_eq!((table.stable.unwrap().release, table.rollout), (second, None));
    let recomputed = world.delivery.recompute_rollout(third).await.unwrap();
    assert_eq!(recomputed.differences, Vec::<String>::new());
    world.ledger_is_intact().await;
}

async fn a_worse_version_is_rejected_by_its_gate_with_the_numbers(world: World) {
    world.through_staging(made("first", 0.95)).await;
    world.approve_newest().await;
    world.through_staging(made("worse", 0.90)).await;
    let release = world.newest("production").await;
    assert_eq!(release.summary.state, ReleaseState::Rejected);
    let verdict = &release.gates[0];
    assert_eq!(verdict.outcome, Outcome::Failed);
    assert!(verdict.reason.contains("accuracy: candidate 0.9, production 0.95"), "{}", verdict.reason);

    for verdict in &release.gates {
        assert_eq!(recompute(verdict), Recomputation::Equal);
    }
    let mut forged = verdict.clone();
    forged.outcome = Outcome::Passed;
    assert_ne!(recompute(&forged), Recomputation::Equal);
}

async fn metrics_of_other_evaluation_data_are_not_comparable(world: World) {
    world.through_staging(made("first", 0.95)).await;
    world.approve_newest().await;
    world.through_staging(Made { evaluation: "week 9", ..made("second", 0.99) }).await;
    let release = world.newest("production").await;
    assert_eq!(release.summary.state, ReleaseState::Rejected);
    assert_eq!(release.gates[0].outcome, Outcome::NotComparable);
}

async fn a_newer_release_takes_the_place_of_one_that_waits(world: World) {
    world.through_staging(made("first", 0.95)).await;
    let waiting = world.newest("production").await.summary.id;
    world.through_staging(made("second", 0.96)).await;
    let newer = world.newest("production").await.summary;
    assert_eq!(world.state(waiting).await, ReleaseState::Superseded);
    assert_eq!(newer.state, ReleaseState::AwaitingApproval);
    let reason = world.release(waiting).await.summary.reason.unwrap();
    assert_eq!(reason, format!("Superseded by release {} (digits v2)", newer.id));
}

async fn asking_again_opens_no_second_release(world: World) {
    let (version, opened) = world.run_ends(made("first", 0.95)).await;
    let (delivery, file, now) = (world.delivery.clone(), world.file.clone(), world.store.now());
    let again = world
        .store
        .write(towpath_store::Durability::Full, move |tx| {
            let requested_by = towpath_core::Actor::user("ben");
            let request = towpath_delivery::OpenRequest {
                project: "digits",
                model: "digits",
                version,
                file: &file,
                requested_by: &requested_by,
            };
            delivery.open_for_version(tx, now, request)
        })
        .await
        .unwrap();
    assert_eq!((opened, again), (Opened::Release(1), Opened::Already(1)));
    assert_eq!(world.delivery.releases(towpath_delivery::Filter::default()).await.unwrap().total, 1);
}

async fn a_model_that_cannot_be_loaded_ends_its_release_and_nothing_else(world: World) {
    world.through_staging(made("first", 0.95)).await;
    let (_, opened) = world.run_ends(made("second", 0.96)).await;
    let Opened::Release(id) = opened else { panic!("{opened:?}") };
    world.target.broken.lock().unwrap().insert(format!("digits-v2-r{id}"));
    world.settle().await;
    let release = world.release(id).await.summary;
    assert_eq!(release.state, ReleaseState::Failed);
    assert!(release.reason.unwrap().contains("operator Loop is not known"));
    let table = world.target.table(&staging()).unwrap();
    assert_eq!((table.stable.unwrap().model_version, table.rollout), (1, None));
}

async fn a_slow_model_is_rejected_by_the_latency_gate(world: World) {
    *world.target.p99_ms.lock().unwrap() = 35.0;
    world.through_staging(made("first", 0.95)).await;
    let release = world.newest("production").await;
    assert_eq!(release.summary.state, ReleaseState::Rejected);
    assert!(release.summary.reason.unwrap().contains("p99 35 ms over 50 requests is above the limit of 20 ms"));
}

async fn the_chart_and_the_holds_of_a_long_rollout_stay_bounded(world: World) {
    world.through_staging(made("first", 0.95)).await;
    let (_, opened) = world.run_ends(made("second", 0.96)).await;
    let Opened::Release(id) = opened else { panic!("{opened:?}") };
    world.settle().await;
    // It holds: nobody sends requests.
    for _ in 0..420 {
        world.clock.advance(std::time::Duration::from_secs(1));
        world.delivery.activate().await;
    }
    let rollout = world.delivery.rollout(id).await.unwrap();
    assert!((200..=230).contains(&rollout.series.len()), "{} points", rollout.series.len());
    let distances = rollout.series.windows(2).map(|pair| pair[1].at.millis() - pair[0].at.millis());
    assert!(distances.collect::<Vec<_>>().iter().all(|distance| *distance == 2_000));
    assert!(rollout.decisions.len() < 20, "{} decisions", rollout.decisions.len());
}

async fn lists_are_paged_newest_first(world: World) {
    for content in ["a", "b", "c"] {
        world.run_ends(made(content, 0.9)).await;
    }
    let filter = |cursor| towpath_delivery::Filter { limit: Some(2), cursor, ..towpath_delivery::Filter::default() };
    let page = world.delivery.releases(filter(None)).await.unwrap();
    assert_eq!(page.items.iter().map(|r| r.id).collect::<Vec<_>>(), [3, 2]);
    assert_eq!(page.total, 3);
    let last = world.delivery.releases(filter(page.next)).await.unwrap();
    assert_eq!((last.items.len(), last.next), (1, None));
    let wrong = world.delivery.releases(filter(Some("x".into()))).await.unwrap_err();
    assert_eq!(wrong.kind(), towpath_core::Kind::Invalid);
}
