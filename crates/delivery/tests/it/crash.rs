//! Killed at any await and started again: the same end, and each transition in the ledger once.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use towpath_api::releases::ReleaseState;

use crate::world::{World, made, person, production, yes};

/// Polls `inner` so many times, then gives it up: what it awaits next never comes.
struct Killed<'a, F> {
    inner: Pin<&'a mut F>,
    polls: u32,
}

impl<F: Future> Future for Killed<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.inner.as_mut().poll(context).map(Some)
    }
}

/// Drives with servers that are killed after `polls` polls of an activation, each followed by a new
/// one; a server in between is let finish, as in life.
async fn drive(world: &World, polls: u32) {
    for _ in 0..12 {
        let activation = pin!(async { world.restarted().activate().await });
        Killed { inner: activation, polls }.await;
    }
    world.settle().await;
}

#[tokio::test]
async fn killed_anywhere_a_release_ends_the_same_with_each_transition_once() {
    for polls in [1, 2, 3, 4, 6, 8, 11] {
        let world = World::on_sqlite().await;
        world.through_staging(made("first", 0.95)).await;
        world.approve_newest().await;

        world.run_ends(made("second", 0.96)).await;
        drive(&world, polls).await;
        let staged = world.newest("staging").await.summary.id;
        world.through_canary(&crate::world::staging(), staged).await;
        world.clock.advance(std::time::Duration::from_secs(61));
        drive(&world, polls).await;
        let id = world.newest("production").await.summary.id;
        for (name, role) in [("rita", "risk"), ("mo", "ml-leads")] {
            world.delivery.approve(&person(name, &[role]), id, &yes("fine")).await.unwrap();
        }
        drive(&world, polls).await;
        for _ in 0..2 {
            world.traffic(&production(), 300, 0);
            world.clock.advance(std::time::Duration::from_secs(11));
            drive(&world, polls).await;
        }
        assert_eq!(world.state(id).await, ReleaseState::Live, "killed after {polls} polls");
        let expected = [
            "release.opened",
            "release.gating",
            "release.gated",
            "release.approved",
            "release.approved",
            "rollout.opened",
            "rollout.started",
            "rollout.advanced",
            "release.live",
        ];
        assert_eq!(world.kinds(id).await, expected, "killed after {polls} polls");
        let recomputed = world.delivery.recompute_rollout(id).await.unwrap();
        assert_eq!(recomputed.decisions, recomputed.equal);
        world.ledger_is_intact().await;
    }
}

#[tokio::test]
async fn killed_anywhere_a_rollback_ends_the_same_with_each_transition_once() {
    for polls in [1, 2, 3, 5, 8] {
        let world = World::on_sqlite().await;
        world.through_staging(made("first", 0.95)).await;
        let first = world.approve_newest().await;
        world.through_staging(made("second", 0.96)).await;
        let id = world.approve_newest().await;
        world.traffic(&production(), 40, 20);
        drive(&world, polls).await;
        assert_eq!(world.state(id).await, ReleaseState::RolledBack, "killed after {polls} polls");
        let entries = world.kinds(id).await;
        assert_eq!(entries.iter().filter(|kind| *kind == "rollout.rolled_back").count(), 1);
        assert_eq!(world.target.table(&production()).unwrap().stable.unwrap().release, first);
        world.ledger_is_intact().await;
    }
}
