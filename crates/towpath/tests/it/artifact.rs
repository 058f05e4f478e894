//! Artifacts that are moved between a folder and a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::Home;
use crate::running::Server;

const PIECE: u64 = 8 << 20;

/// The home of a user who has logged a run, whose id is the last.
fn with_a_run() -> (Home, Server, String) {
    let home = Home::new();
    let server = Server::start(&home);
    let made = server.mlflow("runs/create", &json!({"experiment_id": "0"}));
    let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
    (home, server, run)
}

/// Bytes that are nowhere the same.
fn content(length: u64) -> Vec<u8> {
    (0..length / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

fn only_record_in(folder: &Path) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    entries.find(|path| path.extension().is_some_and(|extension| extension == "json"))
}

/// Starts the program and kills it once its record has noted some pieces, but not all.
fn killed_half_way(home: &Home, arguments: &[&str], record: impl Fn() -> Option<PathBuf>) {
    let mut process = home.towpath(arguments).stdout(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    let noted = || {
        let text = fs::read(record()?).ok()?;
        let record: Value = serde_json::from_slice(&text).ok()?;
        Some(record["done"].as_array()?.len())
    };
    while noted().is_none_or(|pieces| pieces < 2) {
        assert!(process.try_wait().unwrap().is_none(), "it was through before it could be killed");
        assert!(Instant::now() < deadline, "no piece was moved");
        std::thread::yield_now();
    }
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn artifacts_that_broke_off_go_on_where_they_were_and_what_is_there_is_kept() {
    let (home, server, run) = with_a_run();
    let large = content(12 * PIECE + 4000);
    fs::create_dir_all(home.path("model/weights")).unwrap();
    fs::write(home.path("model/weights/large.bin"), &large).unwrap();
    home.write("model/config.json", "{}");
    let on = |arguments: &[&'static str]| -> Vec<String> {
        let named = ["--json", "--server", &server.url, "artifact"];
        let mut all: Vec<String> = named.iter().map(|&word| word.to_owned()).collect();
        all.extend(arguments.iter().map(|&word| if word == "RUN" { run.clone() } else { word.to_owned() }));
        all
    };
    let json = |arguments: &[&'static str]| -> Value {
        let arguments = on(arguments);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        serde_json::from_str(&home.ok(&arguments)).unwrap()
    };
    let size = large.len() as u64;

    // Up.
    let upload = ["upload", "RUN", "model", "--to", "model", "--jobs", "2"];
    let arguments = on(&upload);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    killed_half_way(&home, &arguments, || only_record_in(&home.outside("home/.cache/towpath/uploads")));
    let done = json(&upload);
    assert!(done["resumed_bytes"].as_u64().unwrap() >= 2 * PIECE, "{done}");
    let moved = done["bytes"].as_u64().unwrap() + done["resumed_bytes"].as_u64().unwrap();
    assert!(moved == size + 2 || moved == size, "{done}");
    assert_eq!(only_record_in(&home.outside("home/.cache/towpath/uploads")), None);
    let expected = json!([
        {"path": "model/config.json", "size": 2},
        {"path": "model/weights/large.bin", "size": size},
    ]);
    assert_eq!(json(&["ls", "RUN"]), expected);

    // Down.
    let download = ["download", "RUN", "model", "--out", "here", "--jobs", "2"];
    let arguments = on(&download);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    killed_half_way(&home, &arguments, || only_record_in(&home.path("here/model/weights")));
    assert!(!home.path("here/model/weights/large.bin").exists(), "what is not whole has not its name");
    let done = json(&download);
    assert!(done["resumed_bytes"].as_u64().unwrap() >= 2 * PIECE, "{done}");
    assert!(fs::read(home.path("here/model/weights/large.bin")).unwrap() == large, "another content came");
    assert_eq!(fs::read_dir(home.path("here/model/weights")).unwrap().count(), 1, "nothing is left beside it");
    assert_eq!(json(&download), json!({"files": 0, "bytes": 0, "kept": 2, "resumed_bytes": 0}));

    // What was stored after it had changed is there; what changed later is sent.
    let earlier = fs::metadata(home.path("model")).unwrap().modified().unwrap() - Duration::from_hours(1);
    for file in ["model/config.json", "model/weights/large.bin"] {
        fs::File::options().append(true).open(home.path(file)).unwrap().set_modified(earlier).unwrap();
    }
    assert_eq!(json(&upload)["kept"], 2);
    home.write("model/config.json", "[]");
    let done = json(&upload);
    assert_eq!((&done["files"], &done["kept"]), (&json!(1), &json!(1)), "{done}");
    let one = json(&["download", "RUN", "model/config.json", "--out", "there"]);
    assert_eq!(one["files"], 1, "{one}");
    assert_eq!(home.read("there/model/config.json"), "[]");
}

#[test]
fn what_is_not_there_is_named() {
    let (home, server, run) = with_a_run();
    let on = |arguments: &[&str]| home.fails(&[&["--server", &server.url, "artifact"], arguments].concat());
    let (code, said) = on(&["download", &run, "model/nothing"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains(&format!("run {run} has no artifact 'model/nothing'")), "{said}");
    let (_, said) = on(&["ls", "0123456789abcdef0123456789abcdef"]);
    assert!(said.contains("RESOURCE_DOES_NOT_EXIST") && said.contains("0123456789abcdef"), "{said}");
    let (_, said) = on(&["upload", &run, "no-such-file"]);
    assert!(said.contains("no-such-file"), "{said}");
}
