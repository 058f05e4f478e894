//! Stages as jobs of the real Slurm: a cluster of one node, started by each test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::program::{Home, text};

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ended with the test.
struct Daemon(Child);

impl Daemon {
    /// It saves what it knows first.
    fn stop(mut self) {
        assert!(Command::new("kill").arg(self.0.id().to_string()).status().unwrap().success());
        self.0.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

struct Cluster {
    home: Home,
    folder: PathBuf,
    controller: Option<Daemon>,
    _others: Vec<Daemon>,
}

impl Cluster {
    /// A repository with one stage beside it, that `slurm` and `more` of `towpath.yaml` speak of.
    fn new(script: &str, policy: &str, more: &str) -> Self {
        let home = Home::repository();
        home.write("look.sh", script);
        home.write(
            "dvc.yaml",
            "stages:\n  look:\n    cmd: sh look.sh > found\n    deps: [look.sh]\n    outs: [found]\n",
        );
        home.write("towpath.yaml", &format!("stages:\n  look: {{executor: slurm{policy}}}\n{more}"));
        let folder = home.outside("slurm");
        for name in ["state", "spool"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        // The socket of munge must be in reach of everybody.
        for folder in [&home.outside(""), &folder] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let user = text(&Command::new("id").arg("-un").output().unwrap().stdout).trim().to_owned();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim().split('.').next().unwrap();
        let ports = [(); 2].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
        let ports = ports.map(|listener| listener.local_addr().unwrap().port());
        let at = folder.display();
        let settings = format!(
            "ClusterName=test\nSlurmctldHost=localhost(127.0.0.1)\nSlurmctldPort={}\nSlurmdPort={}\nSlurmUser={user}\n\
             SlurmdUser={user}\nAuthInfo=socket={at}/munge.socket\nStateSaveLocation={at}/state\n\
             SlurmdSpoolDir={at}/spool\nSlurmctldPidFile={at}/slurmctld.pid\nSlurmdPidFile={at}/slurmd.pid\n\
             SlurmctldLogFile={at}/slurmctld.log\nSlurmdLogFile={at}/slurmd.log\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory\n\
             JobAcctGatherType=jobacct_gather/linux\nReturnToService=2\nKillWait=2\nMessageTimeout=1\nMpiDefault=none\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN\n\
             PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n\
             PartitionName=other Nodes=ALL MaxTime=INFINITE State=UP\n",
            ports[0], ports[1]
        );
        fs::write(folder.join("slurm.conf"), settings).unwrap();
        let key = folder.join("munge.key");
        fs::write(&key, [7; 1024]).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
        let file = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
        let munge = [
            "--foreground".to_owned(),
            file("key-file", "munge.key"),
            file("socket", "munge.socket"),
            file("pid-file", "munge.pid"),
            file("seed-file", "munge.seed"),
        ];
        let munge = start(Command::new("munged").args(munge));
        let socket = folder.join("munge.socket");
        wait_until("munge serves", || socket.exists());
        let node = start(Command::new("slurmd").arg("-D").arg("-f").arg(folder.join("slurm.conf")));
        let mut cluster = Self { home, folder, controller: None, _others: vec![node, munge] };
        cluster.start_controller();
        cluster
    }

    fn start_controller(&mut self) {
        let settings = self.folder.join("slurm.conf");
        self.controller = Some(start(Command::new("slurmctld").arg("-D").arg("-f").arg(settings)));
        wait_until("the node is there", || {
            let idle = ["idle", "mix", "alloc"];
            idle.contains(&text(&self.slurm("sinfo", &["--noheader", "--partition=main", "--format=%t"]).stdout).trim())
        });
    }

    fn slurm(&self, program: &str, arguments: &[&str]) -> Output {
        Command::new(program).args(arguments).env("SLURM_CONF", self.folder.join("slurm.conf")).output().unwrap()
    }

    /// Of all jobs that there were: number, state, partition, cores, memory.
    fn jobs(&self) -> Vec<String> {
        let said = self.slurm("squeue", &["--noheader", "--states=all", "--sort=i", "--format=%i %T %P %C %m"]);
        text(&said.stdout).lines().map(str::to_owned).collect()
    }

    fn repro(&self) -> Command {
        let mut command = self.home.towpath(&["repro"]);
        command.env("SLURM_CONF", self.folder.join("slurm.conf")).env("HF_TOKEN", "hf_verysecret");
        command
    }

    fn succeeds(&self) {
        let output = self.repro().output().unwrap();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    fn fails(&self) -> String {
        let output = self.repro().output().unwrap();
        assert!(!output.status.success(), "{}", text(&output.stdout));
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    }

    fn log(&self) -> String {
        self.home.read(".dvc/tmp/towpath/logs/look.log")
    }

    /// The engine, until the stage has said that it began.
    fn begins(&self) -> Child {
        // That of an earlier one says it too.
        drop(fs::remove_file(self.home.path(".dvc/tmp/towpath/logs/look.log")));
        let engine = self.repro().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_until("the stage begins", || self.log_if_there().contains("begins"));
        engine
    }

    fn log_if_there(&self) -> String {
        fs::read_to_string(self.home.path(".dvc/tmp/towpath/logs/look.log")).unwrap_or_default()
    }

    /// What is beside the log.
    fn left(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.home.path(".dvc/tmp/towpath/logs")).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|of| of.to_str().unwrap().starts_with("slurm"))).collect()
    }
}

fn start(command: &mut Command) -> Daemon {
    let daemons = ["/usr/sbin", "/sbin"].map(|folder| Path::new(folder).join(command.get_program()));
    let program = daemons.into_iter().find(|path| path.exists()).expect("Slurm is missing: run make setup");
    let mut command_there = Command::new(program);
    command_there.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Daemon(command_there.spawn().unwrap())
}

#[test]
fn a_stage_is_a_job_with_its_resources_and_its_output_and_exit_code_come_back() {
    let script = "echo made on $SLURM_JOB_PARTITION; pwd; echo $DVC_STAGE\necho the secret is $HF_TOKEN >&2\n";
    let policy = ", slurm: {partition: other, options: [--nice=10]}, resources: {cpu: 2, memory: 100MB}, \
                  secrets: [HF_TOKEN]";
    let cluster = Cluster::new(script, policy, "");
    cluster.succeeds();
    let root: PathBuf = cluster.home.path("").components().collect();
    assert_eq!(cluster.home.read("found"), format!("made on other\n{}\nlook\n", root.display()));
    let log = cluster.log();
    assert!(log.contains("the secret is ***") && log.contains("Slurm job 1"), "{log}");
    assert_eq!(cluster.jobs(), ["1 COMPLETED other 2 96M"]);
    assert_eq!(cluster.left(), Vec::<PathBuf>::new());

    cluster.home.write("look.sh", "exit 7\n");
    assert!(cluster.fails().contains("stage 'look' exited with 7"));
    cluster.home.write("towpath.yaml", "stages: {look: {executor: slurm, slurm: {partition: none}}}\n");
    let said = cluster.fails();
    assert!(said.contains("was refused by Slurm") && said.contains("Invalid partition name"), "{said}");
}

#[test]
fn a_job_that_takes_too_long_and_one_that_is_cancelled_are_ended_in_slurm() {
    let cluster = Cluster::new("echo begins >&2; sleep 600\n", "", "timeouts: {look: 1s}\n");
    assert!(cluster.fails().contains("did not end within 1 s"));
    assert!(cluster.jobs()[0].starts_with("1 CANCELLED"), "{:?}", cluster.jobs());
    cluster.home.write("towpath.yaml", "stages: {look: {executor: slurm}}\n");
    let mut engine = cluster.begins();
    assert!(Command::new("kill").args(["-INT", &engine.id().to_string()]).status().unwrap().success());
    assert!(!engine.wait().unwrap().success());
    assert!(cluster.jobs()[1].starts_with("2 CANCELLED"), "{:?}", cluster.jobs());
    assert_eq!(cluster.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_job_whose_engine_was_killed_is_taken_over_and_runs_once() {
    let script = "echo begins >&2; echo run >> ../runs; while [ ! -e ../go ]; do sleep 0.1; done; echo made\n";
    let mut cluster = Cluster::new(script, "", "");
    let mut engine = cluster.begins();
    engine.kill().unwrap();
    engine.wait().unwrap();
    // The next one finds it running, while the controller is away for a moment.
    cluster.controller.take().unwrap().stop();
    let mut next = cluster.begins();
    wait_until("it is said", || cluster.log().contains("Slurm does not answer"));
    cluster.start_controller();
    next.kill().unwrap();
    next.wait().unwrap();
    // The third one finds that it has ended.
    fs::write(cluster.home.outside("go"), "").unwrap();
    wait_until("the job ends", || cluster.jobs()[0].starts_with("1 COMPLETED"));
    cluster.succeeds();
    assert_eq!(cluster.home.read("found"), "made\n");
    assert_eq!(fs::read_to_string(cluster.home.outside("runs")).unwrap(), "run\n");
    assert!(cluster.log().contains("Slurm job 1, taken over"), "{}", cluster.log());

    // With other inputs it is another job, and the one that was left behind ends first.
    cluster.home.write("look.sh", "echo begins >&2; sleep 600\n");
    let mut engine = cluster.begins();
    engine.kill().unwrap();
    engine.wait().unwrap();
    cluster.home.write("look.sh", "echo changed\n");
    cluster.succeeds();
    assert_eq!(cluster.home.read("found"), "changed\n");
    let jobs = cluster.jobs();
    assert!(jobs[1].starts_with("2 CANCELLED") && jobs[2].starts_with("3 COMPLETED"), "{jobs:?}");
}
