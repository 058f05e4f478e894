//! Pipelines that are wrong or misbehave: the run says what and where, and the next one works.

use std::process::Command;

use towpath_pipeline::Sandbox;

use super::installation::Installation;

#[tokio::test]
async fn files_that_are_wrong_fail_the_run_and_name_the_place() {
    let installation = Installation::serving_at_once().await;
    let project = installation.home.read("towpath.yaml");
    let pipeline = installation.home.read("dvc.yaml");
    let circle = "stages:\n  a: {cmd: x, deps: [b.txt], outs: [a.txt]}\n  b: {cmd: x, deps: [a.txt], outs: [b.txt]}\n";
    let cases = [
        (
            "towpath.yaml",
            project.replace("strategy", "stratgy"),
            &["towpath.yaml:3", "stratgy", "did you mean 'strategy'"][..],
        ),
        ("towpath.yaml", format!("{project}\t- x"), &["towpath.yaml:4"]),
        ("dvc.yaml", pipeline.replace("    cmd: sort", "    command: sort"), &["dvc.yaml:3", "command"]),
        ("dvc.yaml", pipeline.replace("deps:\n    - words.txt", "deps: words.txt"), &["dvc.yaml:4", "deps"]),
        ("dvc.yaml", circle.to_owned(), &["circle: a -> b -> a"]),
        (
            "dvc.yaml",
            pipeline.replace("- words.txt", "- wrods.txt"),
            &["'prepare' needs wrods.txt, which does not exist"],
        ),
    ];
    let wrong = cases.len() as i64;
    for (number, (file, content, named)) in (1..).zip(cases) {
        installation.write(file, &content);
        installation.push_unseen("Break it");
        let run = installation.ended(number).await;
        let error = run["error"].as_str().unwrap_or_default();
        assert_eq!(run["status"], "failed", "{content}");
        assert!(named.iter().all(|name| error.contains(name)), "{named:?} is not in: {error}");
        installation.write("towpath.yaml", &project);
        installation.write("dvc.yaml", &pipeline);
    }
    installation.push("Mend it");
    let run = installation.ended(wrong + 1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
}

#[tokio::test]
async fn a_stage_that_hangs_is_ended_at_its_timeout_with_its_children() {
    let installation = Installation::serving_at_once().await;
    let project = installation.home.read("towpath.yaml");
    installation.write("towpath.yaml", &format!("{project}timeouts: {{train: 1s}}\n"));
    installation.write("train.sh", "trap '' TERM\nsleep 600 &\necho begun\nsleep 600\nsleep 600\n");
    installation.push("Hang");
    let run = installation.ended(1).await;
    let error = run["error"].as_str().unwrap_or_default();
    assert!(error.contains("'train'") && error.contains("1 s"), "{error}");
    assert_eq!(installation.children(), Vec::<u32>::new());
}

#[tokio::test]
async fn a_stage_that_prints_more_than_its_log_holds_succeeds_and_the_log_says_so() {
    let installation = Installation::serving_at_once().await;
    let train = installation.home.read("train.sh");
    // The log of a stage holds 32 MiB.
    installation.write("train.sh", &format!("yes $(printf %08000d) | head -c 1000000000\n{train}"));
    installation.push("Print much");
    let run = installation.ended(1).await;
    assert_eq!(run["status"], "succeeded", "{run:#}");
    let lines = run["stages"][1]["log_lines"].as_u64().unwrap();
    let log = installation.get(&format!("/projects/digits/runs/1/stages/train/log?from={}", lines - 1)).await;
    let last = log["lines"].as_array().unwrap().last().unwrap()["text"].as_str().unwrap().to_owned();
    assert!(last.contains("bytes more were printed; the log keeps 33554432"), "{last}");
}

#[tokio::test]
async fn a_stage_that_writes_outside_its_checkout_fails_where_the_kernel_confines_it() {
    let installation = Installation::serving_at_once().await;
    let outside = installation.home.outside("stolen");
    installation.write("train.sh", &format!("touch {} || exit 13\n", outside.display()));
    installation.push("Write elsewhere");
    let run = installation.ended(1).await;
    let (mut child, level) = Sandbox::new([]).spawn(Command::new("true")).unwrap();
    child.wait().unwrap();
    let confined = level.0.starts_with("landlock");
    if confined {
        assert_eq!(run["error"], "stage 'train' exited with 13");
        installation.printed(1, "train", "touch: ").await;
    }
    assert_eq!(outside.exists(), !confined);
}
