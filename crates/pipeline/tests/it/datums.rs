//! Stages that work on the items of an input one by one.

use std::fs;

use towpath_pipeline::{ItemStatus, StageFailure, StageStatus, Status};

use crate::repository::{Repo, dvc, statuses};

/// Counts the words of each text; a text `bad` cannot be counted.
const COUNT: &str = "\
stages:
  count:
    cmd: mkdir -p counts && for f in texts/*; do echo \"counting $(basename $f)\"; ! grep -q bad $f || exit 3; wc -w < $f | tr -d ' ' > counts/$(basename $f); done
    deps:
    - texts
    outs:
    - counts
    meta:
      towpath:
        datum: {over: texts, glob: '*'}
";

fn with_texts(count: usize) -> Repo {
    let repo = Repo::with(COUNT);
    for n in 0..count {
        repo.write(&format!("texts/{n}.txt"), &"word ".repeat(n + 1));
    }
    repo.track("texts");
    repo
}

fn counted(repo: &Repo) -> Vec<String> {
    let mut counted: Vec<String> =
        repo.log("count").iter().filter_map(|line| line.strip_prefix("counting ")).map(str::to_owned).collect();
    counted.sort();
    counted
}

#[test]
fn only_items_that_changed_are_run_and_dvc_sees_an_ordinary_stage() {
    let repo = with_texts(5);
    assert_eq!(statuses(&repo.run()), [("count", StageStatus::Ran)]);
    assert_eq!(counted(&repo).len(), 5);
    assert_eq!((repo.read("counts/0.txt"), repo.read("counts/4.txt")), ("1\n".into(), "5\n".into()));

    repo.write("texts/2.txt", "just three words");
    repo.write("texts/new.txt", "new");
    repo.remove("texts/4.txt");
    repo.track("texts");
    assert_eq!(statuses(&repo.run()), [("count", StageStatus::Ran)]);
    assert_eq!(counted(&repo), ["2.txt", "new.txt"]);
    assert_eq!(repo.log("count")[0], "5 items in texts, 2 of them to run");
    assert!(!repo.exists("counts/4.txt"), "what no item gives any more is gone");
    assert_eq!(repo.read("counts/2.txt"), "3\n");

    assert!(dvc(&repo.root(), &["status"]).contains("up to date"));
    let hashes = |repo: &Repo| -> Vec<String> {
        repo.read("dvc.lock").lines().filter(|line| line.contains("md5: ")).map(str::to_owned).collect()
    };
    let before = hashes(&repo);
    dvc(&repo.root(), &["repro", "--force"]);
    assert_eq!(hashes(&repo), before, "all items at once give the same");
    assert_eq!(statuses(&repo.run()), [("count", StageStatus::Reused)]);
}

#[test]
fn a_command_change_runs_all_items_and_force_as_well() {
    let repo = with_texts(3);
    repo.run();
    repo.write("dvc.yaml", &COUNT.replace("wc -w", "wc -c"));
    repo.run();
    assert_eq!(counted(&repo).len(), 3);
    let request = towpath_pipeline::Request { force: true, ..repo.request() };
    repo.try_run(&request).unwrap();
    assert_eq!(counted(&repo).len(), 3);
}

#[test]
fn items_that_fail_are_named_and_tried_again_alone() {
    let repo = with_texts(4);
    repo.write("texts/1.txt", "bad");
    repo.write("texts/3.txt", "bad");
    repo.track("texts");
    let outcome = repo.run();
    assert_eq!(outcome.status, Status::Failed);
    let failed = |item: &str| (item.to_owned(), StageFailure::Exited(3));
    let expected = StageFailure::Datums { failed: vec![failed("1.txt"), failed("3.txt")], of: 4 };
    assert_eq!(outcome.stages[0].failure, Some(expected));
    assert_eq!(
        outcome.error.unwrap(),
        "stage 'count' failed for 2 of 4 items: 1.txt (exited with 3), 3.txt (exited with 3); the others are not run \
         again"
    );
    assert!(!repo.exists("counts"), "half a result is none");
    let items = outcome.stages[0].items.as_ref().unwrap();
    let shown: Vec<_> = items.items.iter().map(|item| (&*item.name, &item.status, item.attempts)).collect();
    let failed = ItemStatus::Failed("exited with 3".into());
    let done = ItemStatus::Done;
    assert_eq!(shown, [("0.txt", &done, 1), ("1.txt", &failed, 1), ("2.txt", &done, 1), ("3.txt", &failed, 1)]);

    repo.write("texts/1.txt", "good");
    repo.write("texts/3.txt", "good too");
    repo.track("texts");
    let outcome = repo.run();
    assert_eq!(statuses(&outcome), [("count", StageStatus::Ran)]);
    assert_eq!(counted(&repo), ["1.txt", "3.txt"]);
    let items = &outcome.stages[0].items.as_ref().unwrap().items;
    let shown: Vec<_> = items.iter().map(|item| &item.status).collect();
    assert_eq!(shown, [&ItemStatus::Kept, &ItemStatus::Done, &ItemStatus::Kept, &ItemStatus::Done]);
}

#[test]
fn items_of_a_list_that_an_earlier_stage_made_are_mapped() {
    let repo = Repo::with(
        "stages:
  plan:
    cmd: echo '[\"de\", \"fr\", \"nl\"]' > languages.json
    outs: [languages.json]
  train:
    cmd: mkdir -p models && l=$(tr -d '[]\" \\n' < languages.json) && echo \"$TOWPATH_DATUM\" > models/$l
    deps: [languages.json]
    outs: [models]
    meta:
      towpath:
        datum: {over: languages.json}
",
    );
    assert_eq!(statuses(&repo.run()), [("plan", StageStatus::Ran), ("train", StageStatus::Ran)]);
    for language in ["de", "fr", "nl"] {
        assert_eq!(repo.read(&format!("models/{language}")).trim(), language);
    }
    let longer = repo.read("dvc.yaml").replace("\"nl\"", "\"nl\", \"pl\"");
    repo.write("dvc.yaml", &longer);
    repo.run();
    assert_eq!(repo.log("train")[0], "4 items in languages.json, 1 of them to run");
}

#[test]
fn results_that_contradict_each_other_or_are_no_folders_are_refused() {
    let repo = with_texts(2);
    repo.write("dvc.yaml", &COUNT.replace("counts/$(basename $f)", "counts/all"));
    let error = repo.run().error.unwrap();
    assert!(error.contains("made counts/all for the item 0.txt and differently for the item 1.txt"), "{error}");
    repo.write("dvc.yaml", &COUNT.replace("mkdir -p counts && ", "").replace("counts/$(basename $f)", "counts"));
    let error = repo.run().error.unwrap();
    assert!(error.contains("made a file of counts"), "{error}");
}

#[test]
fn an_item_sees_nothing_of_the_others_and_writes_nothing_into_the_checkout() {
    let repo = with_texts(2);
    repo.write("helper.sh", "ls texts\n");
    let command = "mkdir counts; echo counting $(sh helper.sh); echo x > counts/$TOWPATH_DATUM; echo y > texts/extra; \
                   echo z > stray";
    let stage = format!(
        "stages:\n  count:\n    cmd: {command}\n    deps: [texts]\n    outs: [counts]\n    meta: {{towpath: {{datum: {{over: \
         texts}}}}}}\n"
    );
    repo.write("dvc.yaml", &stage);
    let outcome = repo.run();
    assert_eq!(outcome.status, Status::Succeeded, "{:?}", outcome.error);
    assert_eq!(counted(&repo), ["0.txt", "1.txt"]);
    assert!(!repo.exists("texts/extra") && !repo.exists("stray"));
    let undeclared: Vec<&str> = outcome.stages[0].undeclared.iter().map(|input| input.name.as_str()).collect();
    assert_eq!(undeclared, ["helper.sh"]);
}

#[test]
fn thousands_of_items_run_side_by_side() {
    let repo = Repo::with(
        "stages:
  copy:
    cmd: cp -r in out
    deps: [in]
    outs: [out]
    meta: {towpath: {datum: {over: in, jobs: 8}}}
",
    );
    fs::create_dir(repo.root().join("in")).unwrap();
    for n in 0..1000 {
        fs::write(repo.root().join(format!("in/{n}")), format!("{n}")).unwrap();
    }
    assert_eq!(repo.run().status, Status::Succeeded);
    assert_eq!(fs::read_dir(repo.root().join("out")).unwrap().count(), 1000);
    assert_eq!(repo.read("out/999"), "999");
}
