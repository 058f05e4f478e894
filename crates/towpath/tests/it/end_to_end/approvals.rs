//! Votes that do not count, and ways around them that are closed.

use serde_json::{Value, json};

use super::installation::Installation;

const TWO_APPROVALS: &str =
    "  production:\n    approvals: {count: 2, from: [risk, ml-leads]}\n    rollout: {strategy: all_at_once}\n";

const USERS: &[(&str, &[&str])] =
    &[("ds-1", &["write", "risk"]), ("reviewer-1", &["risk"]), ("ml-lead-1", &["ml-leads"])];

async fn approve(installation: &Installation, release: i64, token: &str, hash: Option<&str>) -> (u16, Value) {
    let vote = json!({"reason": "evidence read", "hash": hash});
    installation.call("POST", &format!("/api/v1/releases/{release}/approve"), Some(token), Some(vote)).await
}

#[tokio::test]
async fn the_author_a_second_vote_and_a_vote_on_something_else_are_refused() {
    let mut installation = Installation::with_environments(TWO_APPROVALS).await;
    let secrets = installation.accounts(USERS).await;
    let [author, reviewer, lead] = secrets.as_slice() else { panic!("three users") };
    installation.push("First");
    let release = installation.reaches(1, "awaiting_approval").await;

    let (status, problem) = approve(&installation, 1, author, None).await;
    assert_eq!(status, 403);
    assert!(problem["detail"].as_str().unwrap().contains("author"), "{problem}");

    let (status, problem) = approve(&installation, 1, reviewer, Some("0123456789abcdef")).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("hash"), "{problem}");

    let seen = release["hash"].as_str().unwrap().to_owned();
    assert_eq!(approve(&installation, 1, reviewer, Some(&seen)).await.0, 200);
    let another = installation.another_token("reviewer-1", &["risk"]).await;
    let (status, problem) = approve(&installation, 1, &another, Some(&seen)).await;
    assert_eq!(status, 409);
    assert!(problem["detail"].as_str().unwrap().contains("reviewer-1"), "{problem}");
    assert_eq!(installation.get("/releases/1").await["approvals_given"], 1);

    assert_eq!(approve(&installation, 1, lead, Some(&seen)).await.0, 200);
    installation.reaches(1, "live").await;
    let told = installation.told(1).await;
    assert_eq!(told.iter().filter(|kind| *kind == "release.approved").count(), 2, "{told:?}");
}

#[tokio::test]
async fn an_approval_lapses_when_production_changes() {
    let mut installation = Installation::with_environments(TWO_APPROVALS).await;
    let secrets = installation.accounts(USERS).await;
    for release in [1, 2] {
        installation.push_words(&format!("{release}\n"));
        installation.reaches(release, "awaiting_approval").await;
        for voter in &secrets[1..] {
            assert_eq!(approve(&installation, release, voter, None).await.0, 200);
        }
        installation.reaches(release, "live").await;
    }
    installation.push_words("3\n");
    installation.reaches(3, "awaiting_approval").await;
    assert_eq!(approve(&installation, 3, &secrets[1], None).await.0, 200);

    let back = json!({"reason": "complaints"});
    let (status, _) = installation.call("POST", "/api/v1/releases/2/rollback", None, Some(back)).await;
    assert_eq!(status, 200);
    let stale = super::installation::eventually("the vote has lapsed", async || {
        let release = installation.get("/releases/3").await;
        (release["state"] == "awaiting_approval").then_some(())?;
        release["votes"][0]["stale"].as_str().map(str::to_owned)
    })
    .await;
    assert!(stale.contains("incumbent"), "{stale}");
    // The other vote alone is not enough; the one that lapsed can be given again.
    assert_eq!(approve(&installation, 3, &secrets[2], None).await.0, 200);
    assert_eq!(installation.get("/releases/3").await["approvals_given"], 1);
    assert_eq!(approve(&installation, 3, &secrets[1], None).await.0, 200);
    installation.reaches(3, "live").await;
}

#[tokio::test]
async fn the_alias_of_an_environment_is_not_moved_around_the_release() {
    let installation = Installation::serving_at_once().await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let asked = json!({"name": "digits", "alias": "production", "version": "1"});
    let (status, error) = installation.call("POST", "/api/2.0/mlflow/registered-models/alias", None, Some(asked)).await;
    assert!((400..500).contains(&status), "{status}: {error}");
    assert!(error["message"].as_str().unwrap().contains("towpath release promote"), "{error}");
    let found = "/api/2.0/mlflow/registered-models/alias?name=digits&alias=production";
    let (_, found) = installation.call("GET", found, None, None).await;
    assert_eq!(found["model_version"]["version"], "1");
}
