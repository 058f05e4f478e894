//! What real clients logged offline goes to a running server.

use std::process::Stdio;

use serde_json::Value;

use crate::program::{Home, text};
use crate::running::Server;

fn python(home: &Home, arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/offline.py");
    let python = std::path::absolute(towpath_testkit::python::program("python").unwrap()).unwrap();
    let output = home.command(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "offline.py: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn what_was_logged_offline_is_at_the_server_once_however_often_it_is_synced() {
    let home = Home::new();
    let server = Server::start(&home);
    let said = python(&home, &["begin"]);
    let ids: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let sync = |folder: &str| -> Value {
        serde_json::from_str(&home.ok(&["--json", "--server", &server.url, "sync", folder])).unwrap()
    };
    let counted = |synced: &Value, names: &[&str]| -> Vec<u64> {
        names.iter().map(|name| synced[*name].as_u64().unwrap()).collect()
    };

    // One that is killed is made again.
    let mut killed = home.towpath(&["--server", &server.url, "sync", "mlruns"]).stdout(Stdio::null()).spawn().unwrap();
    server.wait_for_experiments(&home, |experiments| {
        experiments.as_array().unwrap().iter().any(|e| e["name"] == "offline")
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let synced = sync("mlruns");
    assert_eq!(counted(&synced, &["runs", "points", "versions", "running"]), [2, 3010, 1, 1], "{synced}");
    assert_eq!(synced["differences"], serde_json::json!([]));
    let live = sync("dvclive");
    assert_eq!(counted(&live, &["new_runs", "new_points", "files"]), [1, 4, 3], "{live}");
    for id in [&ids["done"], &ids["growing"]] {
        home.ok(&["--server", &server.url, "experiment", "show", id.as_str().unwrap()]);
    }

    // What went on meanwhile is brought up to date; nothing is brought twice.
    python(&home, &["go_on", &server.url]);
    let names = ["new_runs", "new_points", "files", "new_versions"];
    assert_eq!(counted(&sync("mlruns"), &names), [0, 5, 1, 0]);
    assert_eq!(counted(&sync("mlruns"), &names), [0, 0, 0, 0]);
    let live = sync("dvclive");
    assert_eq!(counted(&live, &["new_runs", "new_points"]), [0, 4], "{live}");
    assert_eq!(counted(&sync("dvclive"), &names), [0, 0, 0, 0]);
    let shown = home.ok(&["--json", "--server", &server.url, "experiment", "show", ids["growing"].as_str().unwrap()]);
    assert!(shown.contains("FAILED") && shown.contains("changed") && shown.contains("late"), "{shown}");

    let (code, said) = home.fails(&["--server", &server.url, "sync", "nowhere"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("'nowhere' is neither a folder mlruns/ nor a database"), "{said}");
}
