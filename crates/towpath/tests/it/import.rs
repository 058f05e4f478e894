//! Data of another repository, with the real `dvc` as the judge in both directions.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::program::{Home, text};

fn dvc(home: &Home, arguments: &[&str]) -> String {
    let mut command = home.command(towpath_testkit::python::program("dvc").unwrap());
    command.args(arguments).env("DVC_NO_ANALYTICS", "1").env("DVC_SITE_CACHE_DIR", home.outside("site"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "dvc {arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A repository with a folder, a file and code; its data is on its remote only.
fn publisher() -> Home {
    let home = Home::repository();
    home.ok(&["remote", "add", "--default", "store", home.outside("store").to_str().unwrap()]);
    home.write("data/a", "a");
    home.write("data/sub/ä", "bb");
    home.write("model.bin", "weights");
    home.write("code/run.sh", "#!/bin/sh\n");
    fs::set_permissions(home.path("code/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    home.write("code/out/z", "z");
    home.ok(&["add", "data", "model.bin", "code/out"]);
    home.ok(&["push"]);
    home.commit("one");
    home.git(&["tag", "v1"]);
    for data in [".dvc/cache", "data", "code/out"] {
        fs::remove_dir_all(home.path(data)).unwrap();
    }
    fs::remove_file(home.path("model.bin")).unwrap();
    home
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Sizes of folders are those of the file system there.
fn without_sizes_of_folders(mut listed: Value) -> Value {
    for item in listed.as_array_mut().unwrap() {
        if item["isdir"] == json!(true) {
            item["size"] = Value::Null;
        }
    }
    listed
}

#[test]
fn a_repository_is_listed_as_dvc_lists_it() {
    let from = publisher();
    let url = from.path("").display().to_string();
    let here = Home::new();
    for arguments in [
        &["list", &url, "--json"][..],
        &["list", &url, "--json", "-R", "--rev", "v1"],
        &["list", &url, "data", "--json", "--rev", "v1"],
        &["ls", &url, "code", "-R", "--dvc-only", "--json", "--rev", "v1"],
        &["list", &url, "model.bin", "--json", "--rev", "v1"],
        &["list", &url, "-R", "-L", "1", "--json", "--rev", "v1"],
    ] {
        let ours = without_sizes_of_folders(json_of(&here.ok(arguments)));
        assert_eq!(ours, without_sizes_of_folders(json_of(&dvc(&here, arguments))), "{arguments:?}");
    }
    let tree = here.ok(&["list", &url, "--tree", "--rev", "v1"]);
    assert_eq!(tree, dvc(&here, &["list", &url, "--tree", "--rev", "v1"]).trim_start_matches('\n'));
}

#[test]
fn data_and_code_are_downloaded_without_a_repository() {
    let from = publisher();
    let url = from.path("").display().to_string();
    let here = Home::new();
    here.ok(&["get", &url, "data", "--rev", "v1"]);
    assert_eq!([here.read("data/a"), here.read("data/sub/ä")], ["a", "bb"]);
    here.ok(&["get", &url, "data/sub/ä", "-o", "b"]);
    assert_eq!(here.read("b"), "bb");
    here.ok(&["get", &url, "code", "--rev", "v1"]);
    assert_eq!(here.read("code/out/z"), "z");
    here.ok(&["get", &url, "code/run.sh"]);
    assert_eq!(fs::metadata(here.path("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    let shown = here.ok(&["get", &url, "model.bin", "--show-url"]);
    assert_eq!(shown, dvc(&here, &["get", &url, "model.bin", "--show-url"]));

    let (code, said) = here.fails(&["get", &url, "data", "--rev", "v1"]);
    assert_eq!(code, 1, "{said}");
    for (arguments, named) in [
        (&["get", &url, "nothing"][..], "there is no nothing in "),
        (&["get", &url, "model.bin", "--rev", "v9", "-o", "x"], "has no revision 'v9'"),
        (&["get", &url, "../secret", "-o", "x"], "../secret"),
        (&["get", "/no/such/repository", "x"], "cannot fetch from /no/such/repository"),
    ] {
        let (_, said) = here.fails(arguments);
        assert!(said.contains(named), "{said}");
    }
    assert!(fs::read_dir(here.path("")).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().starts_with('.')));
}

#[test]
fn an_import_is_recorded_checked_and_updated_by_either_tool() {
    let from = publisher();
    let url = from.path("").display().to_string();
    let [ours, theirs] = [(), ()].map(|()| Home::repository());
    for (path, out) in [("data/sub", "sub"), ("code", "code"), ("model.bin", "model.bin")] {
        let arguments = ["import", &url, path, "-o", out, "--rev", "main"];
        ours.ok(&arguments);
        dvc(&theirs, &arguments);
        let pointer = format!("{out}.dvc");
        assert_eq!(ours.read(&pointer), theirs.read(&pointer));
    }
    for (flag, out) in [("--no-download", "later"), ("--no-exec", "never")] {
        let arguments = ["import", &url, "model.bin", "-o", out, flag];
        ours.ok(&arguments);
        dvc(&theirs, &arguments);
        let pointer = format!("{out}.dvc");
        assert_eq!(ours.read(&pointer), theirs.read(&pointer));
    }
    assert_eq!(ours.read(".gitignore"), theirs.read(".gitignore"));
    assert_eq!(ours.read("code/out/z"), "z");
    fs::remove_file(ours.path("never.dvc")).unwrap();
    fs::remove_file(ours.path("later.dvc")).unwrap();
    // Real `dvc` would lose the exec bit.
    ours.ok(&["import", &url, "code/run.sh"]);
    assert_eq!(fs::metadata(ours.path("run.sh")).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(json_of(&dvc(&ours, &["status", "--json"])), json!({}));

    // The other repository goes on.
    from.write("model.bin", "better weights");
    from.ok(&["add", "model.bin"]);
    from.ok(&["push"]);
    from.commit("two");
    assert!(dvc(&ours, &["status", "model.bin.dvc", "--json"]).contains("update available"));
    assert_eq!(ours.ok(&["update", "model.bin.dvc"]), "model.bin.dvc: updated\n");
    dvc(&theirs, &["update", "model.bin.dvc"]);
    assert_eq!(ours.read("model.bin.dvc"), theirs.read("model.bin.dvc"));
    assert_eq!(ours.read("model.bin"), "better weights");
    assert_eq!(json_of(&dvc(&ours, &["status", "model.bin.dvc", "--json"])), json!({}));
    assert_eq!(ours.ok(&["update", "model.bin.dvc"]), "model.bin.dvc: is the newest\n");

    // Back to the tag, each with the import of the other.
    ours.write("model.bin.dvc", &theirs.read("model.bin.dvc"));
    ours.ok(&["update", "model.bin.dvc", "--rev", "v1"]);
    dvc(&theirs, &["update", "model.bin.dvc", "--rev", "v1"]);
    assert_eq!(ours.read("model.bin.dvc"), theirs.read("model.bin.dvc"));
    assert_eq!(ours.read("model.bin"), "weights");

    // What is only here is not overwritten.
    ours.write("model.bin", "mine");
    let (code, said) = ours.fails(&["update", "model.bin.dvc", "--rev", "main"]);
    assert_eq!(code, 1, "{said}");
    assert_eq!(ours.read("model.bin"), "mine");
    let (_, said) = ours.fails(&["import", &url, "model.bin"]);
    assert!(said.contains("model.bin exists already"), "{said}");
}

#[test]
fn imports_are_pulled_from_where_they_were_imported_and_not_pushed() {
    let from = publisher();
    let url = from.path("").display().to_string();
    let ours = Home::repository();
    ours.ok(&["remote", "add", "--default", "store", ours.outside("own-store").to_str().unwrap()]);
    ours.write("own", "own");
    ours.ok(&["add", "own"]);
    for (path, out) in [("data", "data"), ("code/run.sh", "run.sh")] {
        ours.ok(&["import", &url, path, "-o", out]);
    }
    ours.ok(&["import", &url, "model.bin", "--no-download"]);
    assert!(ours.ok(&["push"]).starts_with("1 object "), "only what is our own");
    assert_eq!(json_of(&dvc(&ours, &["status", "--cloud", "--json"])), json!({}));
    assert_eq!(json_of(&ours.ok(&["status", "--cloud", "--json"])), json!({}));

    // Another clone has no cache and no data.
    for gone in [".dvc/cache", "data"] {
        fs::remove_dir_all(ours.path(gone)).unwrap();
    }
    for gone in ["own", "run.sh"] {
        fs::remove_file(ours.path(gone)).unwrap();
    }
    let files = ["data.dvc", "run.sh.dvc", "model.bin.dvc"];
    let before = files.map(|file| ours.read(file));
    ours.ok(&["pull"]);
    assert_eq!(
        ["own", "data/sub/ä", "run.sh", "model.bin"].map(|file| ours.read(file)),
        ["own", "bb", "#!/bin/sh\n", "weights"]
    );
    assert_eq!(files.map(|file| ours.read(file)), before, "nothing is recorded anew");
    assert_eq!(json_of(&ours.ok(&["fetch", "--json"]))["objects"], json!(1), "of what records no content");

    // The other repository goes on: both tools tell, and what is recorded still comes.
    from.write("data/a", "a new one");
    from.ok(&["add", "data"]);
    from.ok(&["push"]);
    from.commit("two");
    for arguments in
        [&["status", "data.dvc", "run.sh.dvc", "--json"][..], &["status", "data.dvc", "--no-updates", "--json"]]
    {
        assert_eq!(json_of(&ours.ok(arguments)), json_of(&dvc(&ours, arguments)), "{arguments:?}");
    }
    fs::remove_dir_all(ours.path(".dvc/cache")).unwrap();
    fs::remove_dir_all(ours.path("data")).unwrap();
    ours.ok(&["pull", "data.dvc"]);
    assert_eq!(ours.read("data/a"), "a");

    fs::remove_dir_all(ours.path(".dvc/cache")).unwrap();
    fs::rename(from.path(""), from.outside("moved")).unwrap();
    let (_, said) = ours.fails(&["fetch", "data.dvc"]);
    assert!(said.contains(&url), "{said}");
}

#[test]
fn a_link_out_of_the_other_repository_is_refused() {
    let from = publisher();
    from.write("../secret", "secret");
    std::os::unix::fs::symlink(from.outside("secret"), from.path("code/link")).unwrap();
    from.commit("a link");
    let url = from.path("").display().to_string();
    let here = Home::new();
    for path in ["code/link", "code"] {
        let (_, said) = here.fails(&["get", &url, path, "--rev", "main", "-o", "out"]);
        assert!(said.contains("symbolic link that leads out"), "{said}");
    }
    assert!(!here.path("out").exists());
}
