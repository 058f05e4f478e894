//! `kill -9` of a data plane during a canary, alone and with the server.

use std::time::{Duration, Instant};

use super::installation::{Installation, eventually, kill};

#[tokio::test]
async fn it_is_back_at_its_address_at_once_with_its_table_and_its_evidence() {
    let production = "  production:\n    rollout:\n      steps: [50%, 100%]\n      \
                      step: {min_time: 1h, min_requests: 100000}\n      judge: {errors: {}, labels: {}}\n";
    let installation = Installation::with_environments(production).await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.push_words("c\n");
    installation.canary_begins(&address).await;
    let mut revisions = Vec::new();
    for caller in 0..40 {
        let answer = installation.predict_right(&address, &format!("user-{caller}")).await;
        installation.label(&address, &answer, &[1, 7, 4, 6]).await;
        revisions.push(answer.revision);
    }
    let before = installation.data_plane(&address).await.unwrap();
    let evidence = before.rollout.as_ref().unwrap().evidence.clone();
    // The last moments may be lost; these are on the disk.
    let stored = serde_json::to_string(&evidence).unwrap();
    let state = installation.data_dir().join("deployments/digits/production/state/state.bin");
    eventually("the evidence is on the disk", async || {
        let state = std::fs::read(&state).ok()?;
        String::from_utf8_lossy(&state).contains(&stored).then_some(())
    })
    .await;

    // Other tests take the processors meanwhile: the shortest of three times is the program's own.
    let (mut shortest, mut killed_pid) = (Duration::MAX, before.pid);
    let mut after = None;
    for _ in 0..3 {
        kill(killed_pid);
        let killed = Instant::now();
        let state = eventually("another process answers", async || {
            installation.data_plane(&address).await.filter(|state| state.ready && state.pid != killed_pid)
        })
        .await;
        shortest = shortest.min(killed.elapsed());
        killed_pid = state.pid;
        after = Some(state);
    }
    assert!(shortest < Duration::from_secs(1), "{shortest:?}");
    let after = after.unwrap();
    let rollout = after.rollout.unwrap();
    assert_eq!(after.table_version, before.table_version);
    assert_eq!((rollout.id, rollout.weight), (before.rollout.unwrap().id, 0.5));
    assert_eq!(rollout.evidence, evidence);
    assert_eq!(after.labels.accepted, 40);
    for (caller, revision) in revisions.iter().enumerate() {
        let answer = installation.predict_right(&address, &format!("user-{caller}")).await;
        assert_eq!(&answer.revision, revision, "a key stays with its revision");
    }
    assert_eq!(installation.get("/releases/2").await["state"], "rolling_out");
    eventually("the server has counted the restarts", async || {
        (installation.get("/deployments/digits/production").await["restarts"] == 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn killed_with_the_server_the_rollout_goes_on_when_both_are_back() {
    let production = "  production:\n    rollout:\n      steps: [50%, 100%]\n      \
                      step: {min_time: 100ms, min_requests: 20}\n      judge: {labels: {}}\n";
    let mut installation = Installation::with_environments(production).await;
    installation.push("First");
    installation.reaches(1, "live").await;
    let address = installation.address().await;
    installation.push_words("c\n");
    let before = installation.canary_begins(&address).await;

    installation.kill_server();
    kill(before.pid);
    installation.start().await;
    let mut caller = 0;
    eventually("the candidate is live", async || {
        caller += 1;
        // Right or not at all: the data plane may still be on its way.
        if installation.data_plane(&address).await?.ready {
            installation.predict_right(&address, &format!("user-{caller}")).await;
        }
        (installation.get("/releases/2").await["state"] == "live").then_some(())
    })
    .await;
    assert_eq!(installation.address().await, address);
    let told = installation.told(2).await;
    assert_eq!(told.iter().filter(|kind| *kind == "rollout.started").count(), 1, "{told:?}");
    assert_eq!(told.last().unwrap(), "release.live");
}
