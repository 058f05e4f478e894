use std::fs;

use serde_json::{Value, json};

use crate::program::{Home, text};

fn json_of(home: &Home, arguments: &[&str]) -> Value {
    serde_json::from_str(&home.ok(arguments)).unwrap()
}

#[test]
fn a_folder_is_added_changed_and_brought_back() {
    let home = Home::repository();
    home.write("data/images/week-01.csv", "x\n1\n");
    home.write("data/images/week-02.csv", "x\n2\n");
    let said = home.ok(&["add", "data/images"]);
    assert!(said.starts_with("data/images: 2 files, 8 B, tracked by data/images.dvc\n"), "{said}");
    assert!(said.contains("git add data/images.dvc data/.gitignore"), "{said}");
    assert_eq!(home.ok(&["status"]), "Data and pipelines are up to date.\n");

    home.write("data/images/week-02.csv", "x\n3\n");
    assert_eq!(home.ok(&["status"]), "data/images.dvc:\n\tchanged outs:\n\t\tmodified:           data/images\n");
    assert_eq!(
        json_of(&home, &["status", "--json"]),
        json!({ "data/images.dvc": [{ "changed outs": { "data/images": "modified" } }] })
    );
    let quiet = home.run(&["status", "--quiet"]);
    assert_eq!((quiet.status.code(), text(&quiet.stdout)), (Some(1), String::new()));

    let (code, said) = home.fails(&["checkout"]);
    assert_eq!(code, 255, "{said}");
    assert!(said.contains("data/images has changes that are not in the cache"), "{said}");
    assert_eq!(home.ok(&["checkout", "--force"]), "M\tdata/images\n");
    assert_eq!(home.read("data/images/week-02.csv"), "x\n2\n");
}

#[test]
fn a_path_is_meant_relative_to_the_current_folder() {
    let home = Home::repository();
    home.write("data/raw.csv", "x\n");
    let output = home.towpath(&["add", "raw.csv", "--json"]).current_dir(home.path("data")).output().unwrap();
    let added: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&added[0]["path"], &added[0]["changed"]), (&json!("data/raw.csv"), &json!(true)));
}

#[test]
fn data_goes_to_a_folder_and_back_into_a_clone() {
    let home = Home::repository();
    home.write("data.csv", "x\n1\n");
    home.ok(&["add", "data.csv"]);
    home.ok(&["remote", "add", "--default", "store", "../store"]);
    assert_eq!(home.ok(&["push"]), "1 object pushed, 4 B\n");
    assert_eq!(home.ok(&["push"]), "The remote has everything.\n");
    let remotes = json_of(&home, &["remote", "ls", "--json"]);
    assert_eq!(remotes, json!([{ "name": "store", "url": home.outside("store"), "default": true }]));

    fs::remove_dir_all(home.path(".dvc/cache")).unwrap();
    fs::remove_file(home.path("data.csv")).unwrap();
    assert_eq!(home.ok(&["pull"]), "1 object pulled, 4 B\n1 path checked out: data.csv\n");
    assert_eq!(home.read("data.csv"), "x\n1\n");
}

#[test]
fn a_remote_is_changed_only_when_that_is_meant() {
    let home = Home::repository();
    home.ok(&["remote", "add", "towpath", "http://127.0.0.1:1/dvc/digits"]);
    let (code, said) = home.fails(&["remote", "add", "towpath", "http://127.0.0.1:2/dvc/digits"]);
    assert_eq!(code, 251);
    assert!(said.contains("hint: replace it with --force"), "{said}");
    home.ok(&["remote", "add", "--force", "--default", "towpath", "http://127.0.0.1:2/dvc/digits"]);
    assert!(home.read(".dvc/config").contains("url = http://127.0.0.1:2/dvc/digits"));
    let (code, _) = home.fails(&["remote", "add", "other", "http://me:secret@127.0.0.1:2/dvc/digits"]);
    assert_eq!(code, 251);
    assert!(!home.read(".dvc/config").contains("secret"));
}

#[test]
fn the_hook_pushes_data_before_code() {
    let home = Home::repository();
    let hook = home.read(".git/hooks/pre-push");
    assert!(hook.contains("towpath push --quiet"), "{hook}");
    assert!(home.ok(&["init"]).starts_with("Data of this repository was versioned"), "a second time is no error");
}

#[test]
fn scripts_written_for_dvc_run() {
    let home = Home::repository();
    home.write("a.csv", "1\n");
    home.write("d/x", "x\n");
    home.write("d/y", "y\n");
    home.write("params.yaml", "lr: 1\nseed: 2\n");
    home.write(
        "dvc.yaml",
        "stages:\n  train:\n    cmd: cat a.csv > m.txt\n    deps: [a.csv]\n    params: [lr, seed]\n    outs: [m.txt]\n",
    );
    home.ok(&["add", "--glob", "*.csv", "-q"]);
    home.ok(&["--cd", "d", "add", "../d"]);
    let never_run = json!({ "train": [
        { "changed deps": { "a.csv": "modified", "params.yaml": "new" } },
        { "changed outs": { "m.txt": "deleted" } },
    ] });
    assert_eq!(json_of(&home, &["status", "--json"]), never_run);
    home.write("m.txt", "1\n");
    let (code, said) = home.fails(&["commit", "train"]);
    assert!(code == 1 && said.contains("--force"), "{said}");
    home.ok(&["commit", "-f", "train"]);
    assert_eq!(json_of(&home, &["status", "--json"]), json!({}));
    home.git(&["add", "-A"]);
    home.git(&["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "1"]);

    home.write("a.csv", "2\n");
    home.write("params.yaml", "lr: 3\n");
    let dvc_yaml = home.read("dvc.yaml").replace("cat a.csv", "cat ./a.csv");
    home.write("dvc.yaml", &dvc_yaml);
    let below = home.towpath(&["status", "--json"]).current_dir(home.path("d")).output().unwrap();
    let changed = json!({
        "../a.csv.dvc": [{ "changed outs": { "../a.csv": "modified" } }],
        "../dvc.yaml:train": [
            { "changed deps": { "../a.csv": "modified", "../params.yaml": { "lr": "modified", "seed": "deleted" } } },
            "changed command",
        ],
    });
    assert_eq!(serde_json::from_slice::<Value>(&below.stdout).unwrap(), changed);
    assert_eq!(home.ok(&["diff"]), "Modified:\n    a.csv\n\nfiles summary: 1 modified\n");
    assert_eq!(
        json_of(&home, &["data", "status", "--json", "--granular", "--unchanged"]),
        json!({ "uncommitted": { "modified": ["a.csv"] }, "unchanged": ["d/", "d/x", "d/y", "m.txt"] })
    );
    home.ok(&["checkout", "-f", "a.csv.dvc"]);
    home.ok(&["mv", "a.csv", "b.csv"]);
    home.ok(&["rm", "d.dvc", "--outs"]);
    home.ok(&["remove", "train"]);
    assert!(!home.path("d").exists() && home.path("b.csv.dvc").exists());
    assert_eq!(home.read("dvc.yaml"), "stages: {}\n");

    home.write(".dvcignore", "*.tmp\n");
    assert_eq!(home.ok(&["check-ignore", "-d", "x.tmp"]), ".dvcignore:1:*.tmp\tx.tmp\n");
    assert_eq!(home.fails(&["check-ignore", "x.csv"]).0, 1);
}

#[test]
fn fetch_takes_metrics_or_plots_alone() {
    let home = Home::repository();
    home.write("dvc.yaml", "stages:\n  train:\n    cmd: echo m > model && echo '{}' > m.json && echo a > p.csv\n    outs: [model]\n    metrics: [m.json]\n    plots: [p.csv]\n");
    home.ok(&["repro"]);
    home.ok(&["remote", "add", "--default", "store", "../store"]);
    home.ok(&["push"]);
    let fetched = |kinds: &[&str]| {
        fs::remove_dir_all(home.path(".dvc/cache/files")).unwrap();
        json_of(&home, &[&["fetch", "--json"], kinds].concat())["objects"].clone()
    };
    assert_eq!(fetched(&["--type", "metrics"]), 1);
    assert_eq!(fetched(&["--type", "plots"]), 1);
    assert_eq!(fetched(&["--type", "plots", "--type", "metrics"]), 2);
    assert_eq!(fetched(&["--no-run-cache"]), 3);
}

#[test]
fn what_pipelines_of_sub_folders_made_at_other_commits_is_kept() {
    let home = Home::repository();
    for (md5, text) in [("60b725f10c9c85c70d97880dfe8191b3", "a\n"), ("3b5d5c3712955042212316173ccf37be", "b\n")] {
        home.write(&format!(".dvc/cache/files/md5/{}/{}", &md5[..2], &md5[2..]), text);
        home.write(
            "sub/dvc.yaml",
            &format!("stages:\n  make:\n    cmd: echo {} > out\n    outs: [out]\n", text.trim()),
        );
        let out = format!("    - path: out\n      hash: md5\n      md5: {md5}\n      size: 2\n");
        let cmd = format!("    cmd: echo {} > out\n", text.trim());
        home.write("sub/dvc.lock", &format!("schema: '2.0'\nstages:\n  make:\n{cmd}    outs:\n{out}"));
        home.commit(text.trim());
    }
    home.ok(&["gc", "--workspace", "--all-commits", "--force"]);
    assert_eq!(home.read(".dvc/cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3"), "a\n");
    home.ok(&["gc", "--workspace", "--force"]);
    assert!(!home.path(".dvc/cache/files/md5/60/b725f10c9c85c70d97880dfe8191b3").exists());
    assert_eq!(home.read(".dvc/cache/files/md5/3b/5d5c3712955042212316173ccf37be"), "b\n");
}
