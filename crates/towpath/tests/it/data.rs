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
    assert_eq!(home.ok(&["status"]), "Everything is as recorded.\n");

    home.write("data/images/week-02.csv", "x\n3\n");
    assert_eq!(home.ok(&["status"]), "data/images.dvc:\n  modified:     data/images\n");
    assert_eq!(
        json_of(&home, &["status", "--json"]),
        json!({ "data/images.dvc": [{ "changed outs": { "data/images": "modified" } }] })
    );
    let quiet = home.run(&["status", "--quiet"]);
    assert_eq!((quiet.status.code(), text(&quiet.stdout)), (Some(1), String::new()));

    let (code, said) = home.fails(&["checkout"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("data/images has changes that are not in the cache"), "{said}");
    assert_eq!(home.ok(&["checkout", "--force"]), "1 path checked out: data/images\n");
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
    assert_eq!(code, 5);
    assert!(said.contains("hint: change it with --force"), "{said}");
    home.ok(&["remote", "add", "--force", "--default", "towpath", "http://127.0.0.1:2/dvc/digits"]);
    assert!(home.read(".dvc/config").contains("url = http://127.0.0.1:2/dvc/digits"));
    let (code, _) = home.fails(&["remote", "add", "other", "http://me:secret@127.0.0.1:2/dvc/digits"]);
    assert_eq!(code, 2);
    assert!(!home.read(".dvc/config").contains("secret"));
}

#[test]
fn the_hook_pushes_data_before_code() {
    let home = Home::repository();
    let hook = home.read(".git/hooks/pre-push");
    assert!(hook.contains("towpath push --quiet"), "{hook}");
    assert!(home.ok(&["init"]).starts_with("Data of this repository was versioned"), "a second time is no error");
}
