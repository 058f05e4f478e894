use serde_json::{Value, json};

use crate::program::Home;

const PIPELINE: &str =
    "stages:\n  count:\n    cmd: ls images | wc -l > counted.txt\n    deps: [images]\n    outs: [counted.txt]\n";

fn commit(home: &Home, message: &str) {
    home.git(&["add", "--all"]);
    home.git(&["commit", "--quiet", "-m", message]);
}

fn json_of(home: &Home, arguments: &[&str]) -> Value {
    serde_json::from_str(&home.ok(arguments)).unwrap()
}

/// Three commits: a folder is added and counted, one of its files changes, the folder is removed.
#[test]
fn each_version_has_its_commit_its_writer_and_its_readers() {
    let home = Home::repository();
    home.git(&["config", "user.name", "Ada"]);
    home.git(&["config", "user.email", "ada@example.org"]);
    home.write("images/a", "a\n");
    home.write("images/b", "b\n");
    home.write("dvc.yaml", PIPELINE);
    home.ok(&["add", "images"]);
    home.ok(&["repro"]);
    commit(&home, "Two images");
    home.write("images/b", "B\n");
    home.ok(&["add", "images"]);
    commit(&home, "A better b");

    let blame = json_of(&home, &["blame", "images", "--json"]);
    let versions = blame["versions"].as_array().unwrap();
    let shown: Vec<Value> =
        versions.iter().map(|v| json!([v["since"]["subject"], v["nfiles"], v["written_by"], v["size"]])).collect();
    assert_eq!(shown, [json!(["Two images", 2, null, 4]), json!(["A better b", 2, null, 4])]);
    assert_eq!(versions[0]["read_by"][0]["stage"], "count");
    assert_eq!(versions[0]["since"]["author"], "Ada");
    assert_eq!(versions[1]["read_by"], json!([]));

    let file = json_of(&home, &["blame", "images/b", "--json"]);
    assert_eq!(file["within"], "images");
    let b = "3b5d5c3712955042212316173ccf37be";
    assert_eq!(file["versions"][0]["md5"], b, "md5 of 'b\\n'");
    assert_eq!(file["versions"].as_array().unwrap().len(), 2);
    assert_eq!(json_of(&home, &["blame", "images/a", "--json"])["versions"].as_array().unwrap().len(), 1);
    let counted = home.ok(&["blame", "counted.txt"]);
    assert!(counted.contains("stage count") && counted.contains("Ada"), "{counted}");

    let places = json_of(&home, &["blame", "--content", b, "--json"]);
    let shown: Vec<Value> =
        places["places"].as_array().unwrap().iter().map(|p| json!([p["path"], p["role"], p["stage"]])).collect();
    assert_eq!(shown, [json!(["images/b", "wrote", null]), json!(["images/b", "read", "count"])]);
    assert_eq!(home.run(&["blame", "--content", &"0".repeat(32)]).status.code(), Some(1));
    let (code, said) = home.fails(&["blame", "dvc.yaml"]);
    assert!(code == 3 && said.contains("no such tracked file or folder: dvc.yaml"), "{code} {said}");

    std::fs::remove_dir_all(home.path(".dvc/cache")).unwrap();
    let file = home.ok(&["blame", "images/b"]);
    assert!(file.contains("is not in the cache"), "{file}");
}
