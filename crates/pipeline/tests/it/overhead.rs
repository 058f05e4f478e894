use std::time::{Duration, Instant};

use towpath_pipeline::Status;

use crate::repository::Repo;

/// Fifty stages, each reading what the one before it made. The bound is loose, for a loaded machine
/// and unoptimised code; the numbers are printed.
#[test]
fn the_engine_adds_little_to_each_stage() {
    let mut pipeline = "stages:\n".to_owned();
    for n in 1..=50 {
        pipeline =
            format!("{pipeline}  s{n}:\n    cmd: echo {n} > {n}.txt\n    deps: [{}.txt]\n    outs: [{n}.txt]\n", n - 1);
    }
    let repo = Repo::with(&pipeline);
    repo.write("0.txt", "0\n");
    let started = Instant::now();
    let first = repo.run();
    let all = started.elapsed();
    assert_eq!(first.status, Status::Succeeded);
    let commands: Duration = first.stages.iter().map(|s| s.duration).sum();
    let each = all.saturating_sub(commands) / 50;
    let started = Instant::now();
    repo.run();
    let again = started.elapsed();
    println!("50 stages: {all:?}, of which commands {commands:?}; engine {each:?} a stage; nothing to do: {again:?}");
    assert!(each < Duration::from_millis(100), "{each:?}");
}
