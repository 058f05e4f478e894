//! Who may say yes to what, and when a yes lapses.

use towpath_api::releases::{CastVote, CreateRelease, ReleaseState};
use towpath_core::project::Approvals;
use towpath_core::{Classify as _, Kind};
use towpath_delivery::DeliveryError;
use towpath_store::Durability;

use crate::on_both_databases;
use crate::world::{World, made, person, production, yes};

on_both_databases! {
    author_trainer_and_requester_never_count
    roles_decide_and_admins_are_persons_like_any_other
    a_second_vote_of_the_same_person_is_refused_also_with_another_token
    a_vote_on_another_hash_is_refused
    approvals_lapse_when_the_incumbent_changes
    approvals_lapse_when_the_grounds_of_a_gate_change
    a_push_cannot_lower_the_bar_that_guards_what_serves
    a_rejection_ends_the_release
}

async fn waiting(world: &World) -> i64 {
    world.through_staging(made("first", 0.95)).await;
    let release = world.newest("production").await.summary;
    assert_eq!(release.state, ReleaseState::AwaitingApproval);
    release.id
}

async fn author_trainer_and_requester_never_count(world: World) {
    let id = waiting(&world).await;
    for (name, why) in [("ana", "author"), ("tess", "trainer"), ("ben", "author")] {
        let refused = world.delivery.approve(&person(name, &["risk"]), id, &yes("mine")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Denied);
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let voters = world.release(id).await.voters;
    let may: Vec<&str> = voters.iter().filter(|voter| voter.may).map(|voter| voter.user.as_str()).collect();
    assert_eq!(may, ["mo", "rita"]);
    let ana = voters.iter().find(|voter| voter.user == "ana").unwrap();
    assert_eq!(ana.why_not.as_deref(), Some("author"));
    assert_eq!(world.release(id).await.votes, []);
}

async fn roles_decide_and_admins_are_persons_like_any_other(world: World) {
    let id = waiting(&world).await;
    let admin = person("root", &["admin", "write"]);
    let refused = world.delivery.approve(&admin, id, &yes("I am the admin")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.to_string().contains("has not one of the roles ml-leads, risk"), "{refused}");
    let no_reason = world.delivery.approve(&person("rita", &["risk"]), id, &yes("  ")).await.unwrap_err();
    assert_eq!(no_reason.kind(), Kind::Invalid);
}

async fn a_second_vote_of_the_same_person_is_refused_also_with_another_token(world: World) {
    let id = waiting(&world).await;
    world.delivery.approve(&person("rita", &["risk"]), id, &yes("checked")).await.unwrap();
    let mut other_token = person("rita", &["ml-leads"]);
    other_token.token_id = Some("another".into());
    let refused = world.delivery.approve(&other_token, id, &yes("checked twice")).await.unwrap_err();
    assert!(matches!(refused, DeliveryError::SecondVote { .. }), "{refused}");
    assert_eq!(refused.kind(), Kind::Conflict);
    world.settle().await;
    assert_eq!(world.state(id).await, ReleaseState::AwaitingApproval);
    assert_eq!(world.release(id).await.summary.approvals_given, 1);
}

async fn a_vote_on_another_hash_is_refused(world: World) {
    let id = waiting(&world).await;
    let hash = world.release(id).await.summary.hash;
    let seen = |hash: &str| CastVote { reason: "checked".into(), hash: Some(hash.to_owned()) };
    let rita = person("rita", &["risk"]);
    let refused = world.delivery.approve(&rita, id, &seen("0123456789")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.to_string().contains(hash.short()), "{refused}");
    assert_eq!(world.delivery.approve(&rita, id, &seen("xyz")).await.unwrap_err().kind(), Kind::Invalid);
    world.delivery.approve(&rita, id, &seen(hash.short())).await.unwrap();
}

/// Two versions wait for production at once only when a person promotes the second into a busy
/// environment, so the incumbent changes here by a rollback.
async fn approvals_lapse_when_the_incumbent_changes(world: World) {
    world.through_staging(made("first", 0.95)).await;
    let first = world.approve_newest().await;
    world.through_staging(made("second", 0.95)).await;
    let second = world.approve_newest().await;
    world.through_canary(&production(), second).await;
    world.through_staging(made("third", 0.95)).await;
    let third = world.newest("production").await.summary.id;
    world.delivery.approve(&person("rita", &["risk"]), third, &yes("better than second")).await.unwrap();

    world.delivery.roll_back(&person("ana", &["write"]), second, "it drifts").await.unwrap();
    let vote = &world.release(third).await.votes[0];
    let expected = format!("the incumbent changed from release {second} to release {first}");
    assert_eq!(vote.stale.as_deref(), Some(expected.as_str()));
    let early = world.delivery.approve(&person("mo", &["ml-leads"]), third, &yes("me too")).await.unwrap_err();
    assert!(early.to_string().contains(&expected), "{early}");

    world.settle().await;
    let release = world.release(third).await;
    assert_eq!(release.summary.state, ReleaseState::AwaitingApproval);
    assert_eq!(release.summary.approvals_given, 0);
    assert_eq!(release.gated_against, Some(format!("release {first} (digits v1)")));
    world.delivery.approve(&person("rita", &["risk"]), third, &yes("looked again")).await.unwrap();
}

async fn approvals_lapse_when_the_grounds_of_a_gate_change(mut world: World) {
    let checks = world.file.environments[0].gates[0].clone();
    world.file.environments[1].gates.push(checks);
    let id = waiting(&world).await;
    world.delivery.approve(&person("rita", &["risk"]), id, &yes("all green")).await.unwrap();
    let now = world.store.now();
    let failed = move |tx: &mut towpath_store::Tx<'_>| {
        tx.run(
            "insert into check_verdicts (project, name, data_hash, suite_hash, passed, number, detail, at) \
             values ('digits', 'images', 'aa.dir', 'ss', 0, 99, '[]', $1)",
            &[&now],
        )
    };
    world.store.write::<u64, towpath_store::StoreError, _>(Durability::Full, failed).await.unwrap();
    world.settle().await;
    let release = world.release(id).await;
    assert_eq!(release.summary.state, ReleaseState::Rejected);
    assert!(release.votes[0].stale.is_some());
}

async fn a_push_cannot_lower_the_bar_that_guards_what_serves(mut world: World) {
    world.through_staging(made("first", 0.95)).await;
    let first = world.approve_newest().await;
    world.file.environments[1].approvals = Some(Approvals { count: 1, from: vec!["intern".into()] });
    world.through_staging(made("second", 0.96)).await;
    let release = world.newest("production").await;
    assert_eq!(release.summary.approvals_needed, 2);
    let reason = release.summary.reason.unwrap();
    assert!(
        reason.contains("0 of 1 approvals from intern, asked for by its own policy")
            && reason
                .contains(&format!("0 of 2 approvals from risk, ml-leads, asked for by the policy of release {first}")),
        "{reason}"
    );
    let id = release.summary.id;
    world.delivery.approve(&person("kim", &["intern"]), id, &yes("fine")).await.unwrap();
    world.delivery.approve(&person("rita", &["risk"]), id, &yes("fine")).await.unwrap();
    world.settle().await;
    assert_eq!(world.state(id).await, ReleaseState::AwaitingApproval);
    world.delivery.approve(&person("mo", &["ml-leads"]), id, &yes("fine")).await.unwrap();
    world.settle().await;
    assert_eq!(world.state(id).await, ReleaseState::RollingOut);
}

async fn a_rejection_ends_the_release(world: World) {
    let id = waiting(&world).await;
    let reader = person("eve", &["read"]);
    assert_eq!(world.delivery.reject(&reader, id, &yes("no")).await.unwrap_err().kind(), Kind::Denied);
    world.delivery.reject(&person("rita", &["risk"]), id, &yes("slices look odd")).await.unwrap();
    let release = world.release(id).await.summary;
    assert_eq!(release.state, ReleaseState::Rejected);
    assert_eq!(release.reason.as_deref(), Some("Rejected by rita: slices look odd"));
    let late = world.delivery.approve(&person("mo", &["ml-leads"]), id, &yes("yes!")).await.unwrap_err();
    assert_eq!(late.kind(), Kind::Conflict);

    let again = |reason: Option<&str>| CreateRelease {
        model: "digits".into(),
        version: 1,
        environment: "production".into(),
        reason: reason.map(str::to_owned),
    };
    let writer = person("ana", &["write"]);
    let refused = world.delivery.promote(&writer, &again(None)).await.unwrap_err();
    assert!(refused.to_string().contains("slices look odd"), "{refused}");
    world.delivery.promote(&writer, &again(Some("slices were fixed"))).await.unwrap();
}
