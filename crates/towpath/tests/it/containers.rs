//! Stages in containers, by the real podman.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::podman::{IMAGE, Podman};
use crate::program::{Home, text};

struct Place {
    home: Home,
    podman: Podman,
}

impl Place {
    /// One stage, with these entries in `towpath.yaml` beside its container.
    fn new(command: &str, policy: &str) -> Self {
        let home = Home::repository();
        let podman = Podman::beside(&home);
        home.write("look.sh", command);
        let pipeline = "stages:\n  look:\n    cmd: sh look.sh > found\n    deps: [look.sh]\n    outs: [found]\n";
        home.write("dvc.yaml", pipeline);
        home.write("towpath.yaml", &format!("stages:\n  look: {{sandbox: container, image: {IMAGE}{policy}}}\n"));
        Self { home, podman }
    }

    fn repro(&self, arguments: &[&str]) -> Output {
        let arguments = [&["repro"], arguments].concat();
        let mut command = self.home.towpath(&arguments);
        self.podman.settle(&mut command);
        command.env("HF_TOKEN", "hf_verysecret").output().unwrap()
    }

    fn succeeds(&self) -> Vec<String> {
        let output = self.repro(&[]);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        self.home.read("found").lines().map(str::to_owned).collect()
    }

    fn fails(&self) -> String {
        let output = self.repro(&[]);
        assert!(!output.status.success(), "{}", text(&output.stdout));
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    }

    /// Runs it if need be; `ran` or `reused`.
    fn status(&self) -> Value {
        let outcome: Value = serde_json::from_str(&text(&self.repro(&["--json"]).stdout)).unwrap();
        outcome["stages"][0]["status"].clone()
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_stage_in_a_container_sees_the_checkout_and_nothing_else_of_the_machine() {
    let script = "cat /release; echo; pwd; cat params.txt; id -u
grep ^CapEff /proc/self/status
ls /proc/sys/net/ipv4/conf | grep -v all | grep -v default
echo -n $HF_TOKEN | wc -c; echo $DVC_STAGE
ls /home /usr 2> /dev/null | wc -l
touch $TMPDIR/x /tmp/y && echo writable
echo the secret is $HF_TOKEN >&2
";
    let place = Place::new(script, ", secrets: [HF_TOKEN]");
    place.home.write("params.txt", "of the checkout\n");
    let found = place.succeeds();
    let root = place.home.path("").components().collect::<std::path::PathBuf>();
    assert_eq!(found[..4], ["first", root.to_str().unwrap(), "of the checkout", "0"]);
    assert!(found[4].ends_with("0000000000000000"), "{found:?}");
    assert_eq!(found[5..], ["lo", "13", "look", "0", "writable"]);
    let log = place.home.read(".dvc/tmp/towpath/logs/look.log");
    assert!(log.contains("the secret is ***") && log.contains("$ sh look.sh > found"), "{log}");
    assert_eq!(place.podman.containers(), Vec::<String>::new());
    assert_eq!(place.status(), "reused");
}

#[test]
fn a_stage_runs_again_when_its_image_is_another_one_and_not_when_it_only_has_another_name() {
    let place = Place::new("cat /release\n", "");
    assert_eq!(place.succeeds(), ["first"]);
    place.podman.build(IMAGE, "second");
    assert_eq!(place.status(), "ran");
    assert_eq!(place.home.read("found"), "second");
    assert!(place.podman.command(&["tag", IMAGE, "localhost/other:1"]).status().unwrap().success());
    place.home.write("towpath.yaml", "stages: {look: {sandbox: container, image: 'localhost/other:1'}}\n");
    assert_eq!(place.status(), "reused");
    // What is up to date needs no podman.
    place.home.write("towpath.yaml", "stages: {look: {sandbox: container, image: 'localhost/gone:1'}}\n");
    assert_eq!(place.status(), "reused");
}

#[test]
fn the_meta_of_a_stage_names_its_image_too() {
    let place = Place::new("cat /release\n", "");
    place.home.write("towpath.yaml", "");
    let meta = format!("    meta: {{towpath: {{sandbox: container, image: '{IMAGE}', network: host}}}}\n");
    let pipeline = place.home.read("dvc.yaml");
    place.home.write("dvc.yaml", &format!("{pipeline}{meta}"));
    assert_eq!(place.succeeds(), ["first"]);
}

#[test]
fn exit_codes_come_through_and_what_cannot_start_says_why() {
    let place = Place::new("exit 7\n", "");
    assert!(place.fails().contains("stage 'look' exited with 7"));
    // Its own, though podman uses it as well.
    place.home.write("look.sh", "exit 125\n");
    assert!(place.fails().contains("stage 'look' exited with 125"));
    place.home.write("towpath.yaml", "stages: {look: {sandbox: container, image: 'localhost/gone:1'}}\n");
    let said = place.fails();
    assert!(said.contains("there is no image localhost/gone:1 here, and podman could not fetch it"), "{said}");
    assert!(said.contains("`podman pull` it"), "{said}");
    place.home.write("towpath.yaml", &format!("stages: {{look: {{sandbox: container, image: '{IMAGE}'}}}}\n"));
    let settings = place.home.outside("containers/containers.conf");
    let broken = fs::read_to_string(&settings).unwrap().replace("\"runc\"", "\"no-such-runtime\"");
    fs::write(&settings, broken).unwrap();
    let said = place.fails();
    assert!(said.contains("no-such-runtime"), "{said}");
}

#[test]
fn without_podman_a_stage_says_what_to_install() {
    let place = Place::new("true\n", "");
    let tools = place.home.outside("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["git", "sh"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), tools.join(tool)).unwrap();
    }
    let mut command = place.home.towpath(&["repro"]);
    let output = command.env("PATH", &tools).output().unwrap();
    let said = text(&output.stdout);
    assert!(!output.status.success() && said.contains("podman is not installed: install it"), "{said}");
}

#[test]
fn the_memory_of_a_container_is_limited() {
    let place = Place::new("tail -c 150000000 /dev/zero\n", ", resources: {memory: 50MB, cpu: 1}");
    let said = place.fails();
    assert!(said.contains("it took more memory than the 50 MB that it asks for"), "{said}");
    assert_eq!(place.podman.containers(), Vec::<String>::new());
}

#[test]
fn a_container_that_takes_too_long_is_asked_to_end_and_then_made_to() {
    let place = Place::new("trap 'echo cleaned up >&2; exit 1' TERM\nsleep 60 &\nwait\n", "");
    let policy = place.home.read("towpath.yaml");
    place.home.write("towpath.yaml", &format!("{policy}timeouts: {{look: 1s}}\n"));
    assert!(place.fails().contains("did not end within 1 s"));
    assert!(place.home.read(".dvc/tmp/towpath/logs/look.log").contains("cleaned up"));
    assert_eq!(place.podman.containers(), Vec::<String>::new());
}

#[test]
fn a_cancelled_container_is_gone_and_one_whose_engine_was_killed_is_removed_by_the_next() {
    let place = Place::new("echo started; sleep 30\n", "");
    let start = || {
        let mut command = place.home.towpath(&["repro"]);
        place.podman.settle(&mut command);
        let child = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the container starts", || {
            fs::read_to_string(place.home.path("found")).is_ok_and(|text| text == "started\n")
        });
        child
    };
    let mut cancelled = start();
    send(cancelled.id(), "INT");
    assert!(!cancelled.wait().unwrap().success());
    assert_eq!(place.podman.containers(), Vec::<String>::new());

    fs::remove_file(place.home.path("found")).unwrap();
    let mut killed = start();
    send(killed.id(), "KILL");
    killed.wait().unwrap();
    assert_eq!(place.podman.containers().len(), 1, "podman does not notice");
    place.home.write("look.sh", "echo made anew\n");
    assert_eq!(place.succeeds(), ["made anew"]);
    assert_eq!(place.podman.containers(), Vec::<String>::new());
}

fn send(process: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([format!("-{signal}"), process.to_string()]).status().unwrap();
    assert!(sent.success());
}
