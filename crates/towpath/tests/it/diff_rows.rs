use std::fs;

use serde_json::{Value, json};

use crate::program::Home;

const OLD: &str = "id,x,name\n1,0.5,a\n2,1.5,b\n3,2.5,c\n";
const NEW: &str = "id,x,name\n1,0.5,a\n2,9.5,b\n4,3.5,d\n";

fn json_of(home: &Home, arguments: &[&str]) -> Value {
    serde_json::from_str(&home.ok(arguments)).unwrap()
}

fn counts(compared: &Value) -> Value {
    let rows = &compared["rows"];
    json!([rows["added"], rows["removed"], rows["changed"], rows["unchanged"]])
}

#[test]
fn two_files_are_compared_row_by_row() {
    let home = Home::new();
    home.write("old.csv", OLD);
    home.write("new.csv", NEW);
    let by_key = json_of(&home, &["diff", "--rows", "old.csv", "new.csv", "--key", "id", "--json"]);
    assert_eq!(counts(&by_key), json!([1, 1, 1, 1]));
    assert_eq!((&by_key["old"], &by_key["new"]), (&json!("old.csv"), &json!("new.csv")));
    assert_eq!(by_key["changed"], json!([{ "key": [2], "cells": [{ "column": "x", "old": 1.5, "new": 9.5 }] }]));
    let by_two = json_of(&home, &["diff", "--rows", "old.csv", "new.csv", "--key", "id,name", "--json"]);
    assert_eq!((counts(&by_two), &by_two["key"]), (json!([1, 1, 1, 1]), &json!(["id", "name"])));
    let whole = json_of(&home, &["diff", "--rows", "old.csv", "new.csv", "--examples", "1", "--json"]);
    assert_eq!((counts(&whole), whole["added"].as_array().unwrap().len()), (json!([2, 2, 0, 1]), 1));

    let table = home.ok(&["diff", "--rows", "old.csv", "new.csv", "--key", "id"]);
    for line in [
        "old.csv → new.csv",
        "3 → 3 rows: 1 added, 1 removed, 1 changed (by id), 1 unchanged",
        "2   x       1.5  9.5",
        "added    id=4  x=3.5  name=d",
        "removed  id=3  x=2.5  name=c",
    ] {
        assert!(table.lines().any(|shown| shown == line), "{line}\n{table}");
    }
    let markdown = home.ok(&["diff", "--rows", "old.csv", "new.csv", "--key", "id", "--md"]);
    assert!(
        markdown.starts_with("### old.csv → new.csv\n") && markdown.contains("| 2 | x | 1.5 | 9.5 |"),
        "{markdown}"
    );
}

#[test]
fn what_is_no_table_and_no_column_is_named() {
    let home = Home::new();
    home.write("old.csv", OLD);
    home.write("notes.txt", "x\n");
    let says = |arguments: &[&str], text: &str| {
        let (exit, said) = home.fails(&[&["diff", "--rows"], arguments].concat());
        assert!(exit == 1 && said.contains(text), "{arguments:?}: {exit} {said}");
    };
    says(&["old.csv", "gone.csv"], "cannot read gone.csv: No such file");
    says(&["old.csv", "."], ". is not a file");
    says(&["old.csv", "notes.txt"], "notes.txt is neither CSV");
    says(&["old.csv", "old.csv", "--key", "nr"], "old.csv has no column 'nr'; there are: id, x, name");
    says(&["old.csv"], "towpath diff --rows [A_REV] [B_REV] --targets FILE");
    let (exit, said) = home.fails(&["diff", "--key", "id"]);
    assert!(exit == 254 && said.contains("--rows"), "{exit} {said}");
}

/// A file and a file of a folder, two commits each.
#[test]
fn versions_of_a_tracked_file_come_from_the_cache() {
    let home = Home::repository();
    home.git(&["config", "user.name", "Ada"]);
    home.git(&["config", "user.email", "ada@example.org"]);
    for (text, tag) in [(OLD, "v1"), (NEW, "v2")] {
        home.write("data/x.csv", text);
        home.write("folder/deep/y.csv", text);
        home.ok(&["add", "data/x.csv", "folder"]);
        home.git(&["add", "--all"]);
        home.git(&["commit", "--quiet", "-m", tag]);
        home.git(&["tag", tag]);
    }
    let between = |revisions: &[&str], target: &str| {
        let arguments = [&["diff", "--rows"], revisions, &["--targets", target, "--key", "id", "--json"]].concat();
        json_of(&home, &arguments)
    };
    let file = between(&["v1", "v2"], "data/x.csv");
    assert_eq!((counts(&file), &file["old"]), (json!([1, 1, 1, 1]), &json!("v1:data/x.csv")));
    assert_eq!(counts(&between(&["v1", "v2"], "folder/deep/y.csv")), json!([1, 1, 1, 1]));
    assert_eq!(counts(&between(&[], "data/x.csv")), json!([0, 0, 0, 3]), "HEAD and the workspace");
    home.write("folder/deep/y.csv", OLD);
    let workspace = between(&["v2"], "folder/deep/y.csv");
    assert_eq!((counts(&workspace), &workspace["new"]), (json!([1, 1, 1, 1]), &json!("folder/deep/y.csv")));

    let says = |arguments: &[&str], text: &str| {
        let (exit, said) = home.fails(&[&["diff", "--rows", "v1", "v2"], arguments].concat());
        assert!(exit == 1 && said.contains(text), "{arguments:?}: {exit} {said}");
    };
    says(&["--targets", "folder"], "v1:folder is a folder");
    says(&["--targets", "folder/deep"], "v1:folder/deep is a folder");
    says(&["--targets", "folder/none.csv"], "folder has no file none.csv at v1");
    says(&["--targets", "other.csv"], "other.csv is not tracked at v1");
    says(&["--targets", "data/x.csv", "folder/deep/y.csv"], "--targets names 2");
    says(&["--targets", "data/x.csv", "--key", "nr"], "v1:data/x.csv has no column 'nr'");
    fs::remove_dir_all(home.path(".dvc/cache")).unwrap();
    says(&["--targets", "data/x.csv"], "is not in the cache\nhint: towpath fetch --all-commits data/x.csv");
    says(&["--targets", "folder/deep/y.csv"], ".dir is not in the cache");
}
