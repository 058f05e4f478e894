//! Experiments, in both directions: the real client takes ours, and we take its.

use std::fs;

use serde_json::Value;

use crate::dvc::dvc;
use crate::program::Home;

const PIPELINE: &str = "\
stages:
  prepare:
    cmd: tr a-z A-Z < data > clean
    deps: [data]
    outs: [clean]
  train:
    cmd: sh train.sh
    deps: [clean, train.sh]
    params: [lr, net.depth]
    outs: [model]
    metrics:
    - m.json: {cache: false}
";

const SCRIPT: &str = r#"lr=$(sed -n 's/^lr: \([^ ]*\).*/\1/p' params.yaml)
echo "$lr $(cat clean)" > model
echo "{\"acc\": $lr}" > m.json
echo "$DVC_EXP_NAME $DVC_EXP_BASELINE_REV" > environment
"#;

fn repository() -> Home {
    let home = Home::repository();
    home.git(&["config", "user.name", "a"]);
    home.git(&["config", "user.email", "a@b"]);
    home.write("dvc.yaml", PIPELINE);
    home.write("train.sh", SCRIPT);
    home.write("params.yaml", "lr: 0.1 # rate\nnet:\n  depth: 2\n");
    home.write("data", "abc\n");
    home.ok(&["add", "data"]);
    home.write(".gitignore", "/data\n/environment\n");
    home.commit("base");
    home
}

fn head(home: &Home) -> String {
    home.git(&["rev-parse", "HEAD"]).trim().to_owned()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn dvc_lists_shows_applies_and_branches_what_we_ran() {
    let home = repository();
    let said = home.ok(&["exp", "run", "--name", "first", "-S", "lr=0.5", "-S", "+net.width=3"]);
    assert!(said.contains("Ran experiment(s): first"), "{said}");
    let base = head(&home);
    assert_eq!(home.read("environment"), format!("first {base}\n"));
    assert_eq!(home.read("params.yaml"), "lr: 0.5 # rate\nnet:\n  depth: 2\n  width: 3\n");
    assert_eq!(home.git(&["status", "--short"]), " M .gitignore\n M params.yaml\n?? dvc.lock\n?? m.json\n");
    let second = parsed(&home.ok(&["exp", "run", "-S", "lr=0.25", "--json"]));
    let name = second["name"].as_str().unwrap().to_owned();
    assert!(second["ref"].as_str().unwrap().starts_with(&format!("refs/exps/{}/{}/", &base[..2], &base[2..])));
    let commit = home.git(&["log", "-1", "--format=%s %P", second["rev"].as_str().unwrap()]);
    assert!(commit.starts_with("dvc: commit experiment ") && commit.trim().ends_with(&base), "{commit}");
    let theirs = dvc(
        &home,
        &[
            &["exp", "list", "--name-only"],
            &["exp", "show", "--json"],
            &["exp", "apply", "first"],
            &["exp", "branch", "first", "theirs"],
            &["status", "--json"],
        ],
    );
    let mut names: Vec<&str> = theirs[0].split_whitespace().collect();
    names.sort_unstable();
    let mut expected = ["first", name.as_str()];
    expected.sort_unstable();
    assert_eq!(names, expected);
    let shown = parsed(&theirs[1]);
    let experiments = shown[1]["experiments"].as_array().unwrap();
    let first = experiments.iter().find(|one| one["name"] == "first").unwrap();
    assert_eq!(first["revs"][0]["data"]["metrics"]["m.json"]["data"]["acc"], 0.5);
    assert_eq!(first["revs"][0]["data"]["params"]["params.yaml"]["data"]["net"]["width"], 3);
    assert_eq!(home.read("model"), "0.5 ABC\n");
    assert_eq!(parsed(&theirs[4]), serde_json::json!({}), "what was applied is up to date");
    assert_eq!(home.git(&["show", "theirs:m.json"]), "{\"acc\": 0.5}\n");
}

#[test]
fn what_dvc_ran_is_listed_applied_branched_renamed_and_removed() {
    let home = repository();
    dvc(&home, &[&["exp", "run", "-q", "-n", "theirs", "-S", "lr=0.7"], &["exp", "run", "-q", "-n", "more"]]);
    let base = head(&home);
    assert!(home.ok(&["exp", "list"]).starts_with("main:\n\t"), "{}", home.ok(&["exp", "list"]));
    assert_eq!(home.ok(&["exp", "ls", "--name-only"]), "more\ntheirs\n");
    home.write("notes", "keep me");
    home.write("params.yaml", "lr: 9\n");
    home.git(&["add", "notes"]);
    fs::remove_file(home.path("model")).unwrap();
    home.ok(&["exp", "apply", "theirs"]);
    assert_eq!((home.read("model"), home.read("notes")), ("0.7 ABC\n".to_owned(), "keep me".to_owned()));
    assert_eq!(home.git(&["show", "refs/exps/apply/stash:params.yaml"]), "lr: 9\n", "what was there is kept");
    assert_eq!(head(&home), base);
    home.ok(&["exp", "branch", "theirs"]);
    assert_eq!(home.git(&["rev-parse", "theirs-branch^"]).trim(), base);
    let (_, said) = home.fails(&["exp", "branch", "theirs"]);
    assert!(said.contains("there is a branch 'theirs-branch' already"), "{said}");
    let (_, said) = home.fails(&["exp", "rename", "theirs", "more"]);
    assert!(said.contains("there is an experiment 'more' already"), "{said}");
    home.ok(&["exp", "rename", "theirs", "ours"]);
    let (_, said) = home.fails(&["exp", "run", "-n", "ours"]);
    assert!(said.contains("there is an experiment 'ours' already") && said.contains("--force"), "{said}");
    home.ok(&["exp", "save", "-n", "saved", "-I", "notes"]);
    let listed = dvc(&home, &[&["exp", "list", "--name-only"], &["exp", "remove", "more"]]);
    assert_eq!(listed[0], "more\nours\nsaved\n");
    home.git(&["commit", "--allow-empty", "-qm", "next"]);
    assert_eq!(home.ok(&["exp", "list", "--name-only"]), "");
    assert_eq!(home.ok(&["exp", "list", "--name-only", "-n", "2"]), "ours\nsaved\n");
    let (_, said) = home.fails(&["exp", "remove", "nobody"]);
    assert!(said.contains("there is no experiment 'nobody'"), "{said}");
    assert_eq!(home.ok(&["exp", "remove", "ours"]), "Removed experiments: ours\n");
    assert_eq!(home.ok(&["exp", "remove", "-A"]), "Removed experiments: saved\n");
    assert_eq!(home.ok(&["exp", "list", "-A", "--name-only"]), "");
}

#[test]
fn experiments_run_in_checkouts_now_or_later_and_leave_the_workspace_alone() {
    let home = repository();
    home.write(
        "train.sh",
        &SCRIPT.replace("echo \"{", "[ -n \"$lr\" ] && [ \"$lr\" != oops ] || exit 3\ncat extra >&2\necho \"{"),
    );
    home.write("extra", "not known to Git\n");
    home.commit("fails");
    home.git(&["rm", "-q", "--cached", "extra"]);
    home.write(".gitignore", "/data\n/environment\n/extra\n");
    home.commit("extra is not committed");
    home.write("train.sh", &format!("# changed\n{}", home.read("train.sh")));
    let said = home.ok(&["exp", "run", "--temp", "-n", "aside", "-S", "lr=0.3", "-C", "extra"]);
    assert!(said.contains("Ran experiment(s): aside") && !home.path("model").exists(), "{said}");
    for arguments in [["-n", "sweep", "-S", "lr=0.1,0.2"], ["-n", "bad", "-S", "lr=oops"]] {
        home.ok(&[&["exp", "run", "--queue", "-C", "extra"][..], &arguments].concat());
    }
    let (_, said) = home.fails(&["exp", "run", "-S", "lr=1,2"]);
    assert!(said.contains("--queue"), "{said}");
    assert_eq!(home.git(&["status", "--short"]), " M train.sh\n");
    assert_eq!(home.read("params.yaml"), "lr: 0.1 # rate\nnet:\n  depth: 2\n");
    let output = home.run(&["exp", "run", "--run-all", "--jobs", "2", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let ran = parsed(&crate::program::text(&output.stdout));
    assert_eq!(ran["experiments"].as_array().unwrap().len(), 2, "{ran}");
    assert_eq!(ran["failed"][0]["name"], "bad");
    assert!(ran["failed"][0]["error"].as_str().unwrap().contains("exited with 3"), "{ran}");
    assert_eq!(home.git(&["status", "--short"]), " M train.sh\n");
    let theirs = dvc(&home, &[&["exp", "list", "--name-only"], &["exp", "apply", "-q", "sweep-2"]]);
    assert_eq!(theirs[0], "aside\nsweep-1\nsweep-2\n");
    assert_eq!(home.read("model"), "0.2 ABC\n");
    home.ok(&["exp", "apply", "aside"]);
    assert_eq!(home.read("model"), "0.3 ABC\n");
    assert!(home.read("train.sh").starts_with("# changed\n"));
    assert_eq!(home.ok(&["exp", "remove", "--queue"]), "Removed experiments: bad\n");
    assert_eq!(fs::read_dir(home.path(".dvc/tmp/towpath/experiments")).unwrap().count(), 0, "checkouts are left");
    assert!(!home.path("mlruns").exists());
}

#[test]
fn a_kill_in_the_middle_of_the_queue_loses_nothing() {
    let home = repository();
    let gate = home.outside("gate");
    let waits = format!("touch started\nwhile [ ! -e {} ]; do sleep 0.02; done\n", gate.display());
    home.write("train.sh", &SCRIPT.replacen("echo", &format!("{waits}echo"), 1));
    home.commit("waits");
    home.ok(&["exp", "run", "--queue", "-n", "one", "-S", "lr=0.4"]);
    let mut running = home.towpath(&["exp", "run", "--run-all"]).spawn().unwrap();
    let folder = home.path(".dvc/tmp/towpath/experiments");
    let started = || {
        let checkouts = fs::read_dir(&folder).into_iter().flatten().flatten();
        checkouts.into_iter().any(|checkout| checkout.path().join("started").exists())
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while !started() {
        assert!(std::time::Instant::now() < deadline, "the stage never began");
        std::thread::yield_now();
    }
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(home.ok(&["exp", "list", "--name-only"]), "");
    assert_eq!(home.git(&["status", "--short"]), "");
    fs::write(&gate, "").unwrap();
    let said = home.ok(&["exp", "run", "--run-all"]);
    assert!(said.contains("Ran experiment(s): one"), "{said}");
    home.ok(&["exp", "apply", "one"]);
    assert_eq!(home.read("model"), "0.4 ABC\n");
    assert!(home.ok(&["exp", "run", "--run-all"]).contains("Nothing is queued"));
}

/// Rows and cells without padding.
fn cells(text: &str) -> Vec<Vec<String>> {
    let row = |line: &str| line.split(['|', ',']).map(|cell| cell.trim().trim_matches('-').to_owned()).collect();
    text.lines().map(|line| line.trim_end()).filter(|line| !line.is_empty()).map(row).collect()
}

#[test]
fn experiments_are_shown_and_compared_as_dvc_does() {
    let home = repository();
    home.ok(&["exp", "run", "-n", "first", "-S", "lr=0.123456789"]);
    home.ok(&["exp", "run", "-n", "second", "-S", "lr=0.5", "-S", "+net.act=relu"]);
    home.git(&["tag", "v1"]);
    // Of commits of one second no order is promised.
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut next = home.command("git");
    next.args(["commit", "-qam", "next"]).env("GIT_COMMITTER_DATE", format!("@{} +0000", now + 60));
    assert!(next.status().unwrap().success());
    home.ok(&["exp", "run", "-n", "third", "-S", "lr=0.75"]);
    let commands: [&[&str]; 11] = [
        &["exp", "show", "--json"],
        &["exp", "show", "--json", "-n", "2", "--hide-workspace", "--sha"],
        &["exp", "show", "--json", "-A", "-f"],
        &["exp", "show", "--json", "-a", "-T", "--param-deps", "-f"],
        &["exp", "show", "--csv", "-n", "2"],
        &["exp", "show", "--csv", "--only-changed", "-A", "--precision", "2", "--drop", "Created"],
        &["exp", "show", "--md", "--sort-by", "acc", "--sort-order", "desc", "--rev", "v1"],
        &["exp", "diff", "--json"],
        &["exp", "diff", "first", "second", "--json", "--all"],
        &["exp", "diff", "first", "third", "--md"],
        &["metrics", "diff", "--json", "second", "third"],
    ];
    let theirs = dvc(&home, &commands);
    for (command, theirs) in commands.iter().zip(theirs) {
        let ours = home.ok(command);
        if command.contains(&"--json") {
            // Why a file is missing is said in other words.
            let own = |text: &str| {
                let mut shown = parsed(text);
                without_messages(&mut shown);
                shown
            };
            assert_eq!(own(&ours), own(&theirs), "{command:?}");
        } else {
            assert_eq!(cells(&ours), cells(&theirs), "{command:?}\n{ours}\n{theirs}");
        }
    }
    let (_, said) = home.fails(&["exp", "show", "--sort-by", "nothing"]);
    assert!(said.contains("there is no metric or parameter 'nothing'"), "{said}");
    home.ok(&["exp", "run", "--queue", "-n", "later", "-S", "lr=9"]);
    let shown = parsed(&home.ok(&["exp", "show", "--json"]));
    let later = shown[1]["experiments"].as_array().unwrap().iter().find(|one| one["name"] == "later").unwrap();
    assert_eq!(later["executor"]["state"], "queued");
    assert_eq!(later["revs"][0]["data"]["params"]["params.yaml"]["data"]["lr"], 9);
    assert!(home.ok(&["exp", "show"]).contains("Queued"));
}

fn without_messages(value: &mut Value) {
    match value {
        Value::Object(entries) => {
            entries.remove("msg");
            entries.values_mut().for_each(without_messages);
        }
        Value::Array(items) => items.iter_mut().for_each(without_messages),
        _ => {}
    }
}

#[test]
fn experiments_travel_by_git_remotes_with_their_data() {
    let home = repository();
    let bare = home.outside("origin.git").display().to_string();
    home.git(&["init", "-q", "--bare", &bare]);
    home.git(&["remote", "add", "origin", &bare]);
    home.ok(&["remote", "add", "-d", "store", &home.outside("store").display().to_string()]);
    home.commit("remote");
    home.git(&["push", "-q", "--no-verify", "origin", "main"]);
    home.ok(&["exp", "run", "-n", "ours", "-S", "lr=0.5"]);
    let pushed = parsed(&home.ok(&["exp", "push", "origin", "ours", "--json"]));
    assert_eq!((&pushed["success"][0], pushed["objects"].as_u64()), (&Value::from("ours"), Some(3)), "{pushed}");
    assert!(home.ok(&["exp", "push", "origin"]).contains("Up to date: ours"));
    dvc(&home, &[&["exp", "run", "-q", "-n", "theirs", "-S", "lr=0.25"], &["exp", "push", "-q", "origin", "theirs"]]);
    assert_eq!(home.ok(&["exp", "list", "origin", "--name-only"]), "ours\ntheirs\n");
    // As if in another clone: neither refs nor data are here.
    home.ok(&["exp", "remove", "-A"]);
    fs::remove_dir_all(home.path(".dvc/cache")).unwrap();
    let pulled = parsed(&home.ok(&["exp", "pull", "origin", "-A", "--json"]));
    assert_eq!(pulled["success"], serde_json::json!(["ours", "theirs"]));
    home.ok(&["exp", "apply", "theirs"]);
    assert_eq!(home.read("model"), "0.25 ABC\n");
    let listed = dvc(&home, &[&["exp", "pull", "-q", "origin", "ours"], &["exp", "apply", "-q", "ours"]]);
    assert_eq!((listed.len(), home.read("model")), (2, "0.5 ABC\n".to_owned()));
    home.ok(&["exp", "run", "-f", "-n", "ours", "-S", "lr=1"]);
    let output = home.run(&["exp", "push", "origin", "ours"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::program::text(&output.stdout).contains("Replace it with --force"));
    home.ok(&["exp", "push", "origin", "ours", "--force"]);
    home.ok(&["exp", "remove", "-g", "origin", "theirs"]);
    assert_eq!(home.ok(&["exp", "list", "origin", "--name-only"]), "ours\n");
}

#[test]
fn experiments_and_what_dvclive_wrote_in_them_become_runs_of_a_server() {
    let home = repository();
    home.ok(&["exp", "run", "--name", "first", "-S", "lr=0.5"]);
    home.git(&["checkout", "--quiet", "--force", "HEAD"]);
    // The real DVCLive saves an experiment of its own.
    let program = "
import dvclive
with dvclive.Live(exp_name='live', dvcyaml='sub/dvc.yaml') as live:
    live.log_param('depth', 3)
    for step in range(4):
        live.log_metric('train/loss', 1 / (step + 1), timestamp=True)
        live.next_step()
";
    fs::create_dir(home.path("sub")).unwrap();
    let python = std::path::absolute(towpath_testkit::python::program("python").unwrap()).unwrap();
    let output = home.command(python).args(["-c", program]).output().unwrap();
    assert!(output.status.success(), "{}", crate::program::text(&output.stderr));
    assert_eq!(home.ok(&["exp", "list", "--name-only"]).split_whitespace().count(), 2);

    let data = home.outside("data");
    fs::create_dir(&data).unwrap();
    let import = || parsed(&home.ok(&["--json", "import", "dvc-exp", "--data-dir", data.to_str().unwrap()]));
    let report = import();
    let counted =
        |report: &Value| ["runs", "new_runs", "points", "new_points"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counted(&report)[..2], [2, 2], "{report}");
    assert!(counted(&report)[3] >= 5, "{report}");
    assert_eq!(report["differences"], serde_json::json!([]));
    let again = import();
    assert_eq!((counted(&again)[1], counted(&again)[3]), (0, 0), "{again}");
}

#[test]
fn tracked_runs_of_a_commit_are_listed_shown_and_compared_beside_its_experiments() {
    let home = repository();
    let server = crate::running::Server::start(&home);
    let base = head(&home);
    home.ok(&["exp", "run", "--name", "first", "-S", "lr=0.5"]);
    let on = |arguments: &[&str]| home.ok(&[&["--server", &server.url], arguments].concat());
    let log = |name: &str, commit: &str| -> String {
        let tags = serde_json::json!([{"key": "mlflow.source.git.commit", "value": commit}]);
        let made = server.mlflow(
            "runs/create",
            &serde_json::json!({"experiment_id": "0", "run_name": name, "start_time": 1_700_000_000_000_u64, "tags": tags}),
        );
        let run = made["run"]["info"]["run_id"].as_str().unwrap().to_owned();
        let batch = serde_json::json!({
            "run_id": run,
            "params": [{"key": "lr", "value": "0.3"}, {"key": "seed", "value": "x"}],
            "metrics": [{"key": "acc", "value": 0.75, "timestamp": 1}, {"key": "loss", "value": 2.5, "timestamp": 1}],
        });
        server.mlflow("runs/log-batch", &batch);
        run
    };
    let tracked = log("by-hand", &base);
    log("elsewhere", "0123456789012345678901234567890123456789");

    let listed = on(&["exp", "ls", "--tracked"]);
    assert!(listed.contains("[first]") && listed.contains(&format!("\t{tracked} [by-hand] running\n")), "{listed}");
    assert!(!listed.contains("elsewhere"), "{listed}");
    assert!(!on(&["exp", "ls"]).contains("by-hand"));
    let json = parsed(&on(&["exp", "ls", "--tracked", "--json"]));
    assert_eq!(json[&base][1], serde_json::json!({"name": "by-hand", "run_id": tracked, "status": "RUNNING"}));

    // In the columns of the files of the repository, as far as they have the same names.
    let table = on(&["exp", "show", "--tracked", "--csv"]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let run = rows.iter().find(|row| row[0] == "by-hand").unwrap();
    let value = |name: &str| run[rows[0].iter().position(|header| *header == name).unwrap()];
    assert_eq!(["acc", "lr", "loss", "seed"].map(value), ["0.75", "0.3", "2.5", "x"], "{table}");
    assert_eq!([value("State"), value("Executor")], ["Running", "tracking"]);

    let differences = parsed(&on(&["exp", "diff", &tracked, "first", "--json"]));
    assert_eq!(differences["params"]["params.yaml"]["lr"]["old"], 0.3, "{differences}");
    assert_eq!(differences["params"]["params.yaml"]["lr"]["new"], 0.5);
    assert_eq!(differences["metrics"]["m.json"]["acc"]["diff"], -0.25);
    let (_, said) = home.fails(&["--server", &server.url, "exp", "diff", "0123456789abcdef0123456789abcdef", "first"]);
    assert!(said.contains("0123456789abcdef0123456789abcdef"), "{said}");
}

#[test]
fn experiments_that_are_pushed_to_a_server_are_runs_there_whoever_pushes_them() {
    let home = repository();
    let server = crate::running::Server::start(&home);
    home.git(&["remote", "add", "towpath", &format!("{}/git/rates.git", server.url)]);
    home.git(&["push", "--quiet", "--no-verify", "towpath", "HEAD:main"]);
    dvc(
        &home,
        &[
            &["exp", "run", "-q", "-n", "theirs", "-S", "lr=0.7"],
            &["exp", "push", "-q", "--no-cache", "towpath", "theirs"],
        ],
    );
    let on = |arguments: &[&str]| parsed(&home.ok(&[&["--json", "--server", &server.url], arguments].concat()));
    let runs = || on(&["experiment", "show", "rates"])["items"].as_array().unwrap().clone();
    let theirs = runs();
    assert_eq!(theirs.len(), 1, "{theirs:?}");
    assert_eq!((&theirs[0]["name"], &theirs[0]["status"]), (&"theirs".into(), &"FINISHED".into()));
    assert_eq!((&theirs[0]["params"]["lr"], &theirs[0]["metrics"]["acc"]["value"]), (&"0.7".into(), &0.7.into()));
    assert_eq!(theirs[0]["tags"]["dvc.exp.baseline"], head(&home));

    // Ours; what was pushed before makes no second run.
    home.ok(&["exp", "run", "--name", "ours", "-S", "lr=0.5"]);
    home.ok(&["exp", "run", "--name", "more", "-S", "lr=0.6"]);
    let push = |name: &str| home.ok(&["exp", "push", "--no-cache", "towpath", name]);
    push("ours");
    push("more");
    push("ours");
    let mut names: Vec<String> = runs().iter().map(|run| run["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["more", "ours", "theirs"]);
    let shown = home.ok(&["--server", &server.url, "exp", "ls", "--tracked"]);
    assert_eq!(shown.matches("theirs").count(), 1, "a run of an experiment is not listed twice: {shown}");
}
