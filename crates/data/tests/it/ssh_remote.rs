//! Data on a host behind a real `sshd`, with our client and with the real one.
//!
//! `ssh` reads its settings from the home of the user, whatever the environment says. So that it knows
//! the host of the test, commands run in a child of this test, whose `ssh` is told another file.

use std::fs::{self, Permissions};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use towpath_core::{Classify as _, Kind};
use towpath_data::config::Level;
use towpath_data::remote::Wanted;
use towpath_data::{Config, Remote, Repository};

use crate::support::Project;

/// The repository that the child works in; set by the tests below only.
const CHILD: &str = "TOWPATH_TEST_SSH";

/// An `sshd` of this user on a free port, with keys of its own. Ends with this value.
struct Host {
    dir: tempfile::TempDir,
    port: u16,
    server: Child,
}

impl Host {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host", "user", "stranger"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]));
        }
        fs::copy(path("user.pub"), path("authorized")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings = [
            format!("Port {port}"),
            "ListenAddress 127.0.0.1".into(),
            format!("HostKey {}", path("host")),
            format!("AuthorizedKeysFile {}", path("authorized")),
            "PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no".into(),
            "KbdInteractiveAuthentication no\nPermitRootLogin yes\nSubsystem sftp internal-sftp".into(),
        ];
        fs::write(path("sshd_config"), settings.join("\n") + "\n").unwrap();
        let host_key = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known_hosts"), format!("[127.0.0.1]:{port} {host_key}")).unwrap();
        fs::write(path("ssh_config"), format!("Host *\n  UserKnownHostsFile {}\n", path("known_hosts"))).unwrap();
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/ssh"), format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", path("ssh_config"))).unwrap();
        fs::set_permissions(path("bin/ssh"), Permissions::from_mode(0o755)).unwrap();
        // Where sshd puts what has no rights; only root's needs it.
        let _ = fs::create_dir_all("/run/sshd");
        let mut server = Command::new("/usr/sbin/sshd");
        server.args(["-D", "-e", "-f", &path("sshd_config")]).stderr(Stdio::null());
        let server = server.spawn().expect("scripts/setup installs openssh-server");
        let host = Self { dir, port, server };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", host.port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        host
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn key(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Configures the remote in a project's local configuration.
    fn use_in(&self, project: &Project) {
        let dvc_dir = project.repository().dvc_dir();
        let url = format!("ssh://127.0.0.1:{}{}", self.port, self.store().display());
        Config::write_remote(&dvc_dir, Level::Local, "host", &url, true).unwrap();
        Config::write(&dvc_dir, Level::Local, "remote \"host\"", "keyfile", &self.key("user")).unwrap();
    }

    /// Runs a test of this module in a child whose `ssh` knows this host.
    fn in_child(&self, test: &str, project: &Project) {
        let path = format!("{}/bin:{}", self.dir.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("ssh_remote::{test}"), "--nocapture"])
            .env(CHILD, project.root())
            .env("PATH", path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn run(command: &mut Command) {
    assert!(command.status().unwrap().success(), "{command:?}");
}

fn remote(root: &Path) -> Box<dyn Remote> {
    Repository::open(root).unwrap().remote(None).unwrap()
}

#[test]
fn files_are_stored_listed_sent_from_any_byte_and_deleted() {
    if let Some(root) = std::env::var_os(CHILD) {
        let remote = remote(Path::new(&root));
        let from = Path::new(&root).join("from");
        // More than is on its way at a time.
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i / 7) as u8).collect();
        fs::write(&from, &bytes).unwrap();
        for key in ["files/md5/aa/one", "files/md5/aa/two", "files/md5/bb/three"] {
            assert!(!remote.exists(key).unwrap());
            assert_eq!(remote.upload(key, &from).unwrap().size, Some(5_000_000));
        }
        remote.upload("files/md5/aa/one", &from).unwrap();
        let mut listed = Vec::new();
        let mut found = |file: towpath_data::remote::Listed| {
            listed.push((file.key, file.size));
            std::ops::ControlFlow::Continue(())
        };
        remote.list("files/md5/aa/", &mut found).unwrap();
        listed.sort();
        assert_eq!(listed, [("files/md5/aa/one".into(), 5_000_000), ("files/md5/aa/two".into(), 5_000_000)]);
        let wanted = Wanted { offset: 1_000_001, ..Wanted::whole("files/md5/bb/three") };
        let mut download = remote.download(&wanted).unwrap().unwrap();
        let mut got = Vec::new();
        download.body.read_to_end(&mut got).unwrap();
        assert!(download.offset == 1_000_001 && got == bytes[1_000_001..]);
        // One that is given up in the middle does not spoil the connection.
        drop(remote.download(&Wanted::whole("files/md5/bb/three")).unwrap());
        remote.delete(&["files/md5/aa/one".into(), "files/md5/none".into()]).unwrap();
        assert!(!remote.exists("files/md5/aa/one").unwrap() && remote.exists("files/md5/aa/two").unwrap());
        assert!(remote.download(&Wanted::whole("files/md5/cc/none")).unwrap().is_none());
        return;
    }
    let host = Host::start();
    let project = Project::ours();
    host.use_in(&project);
    host.in_child("files_are_stored_listed_sent_from_any_byte_and_deleted", &project);
}

#[test]
fn who_is_not_let_in_is_told_at_once() {
    if let Some(root) = std::env::var_os(CHILD) {
        let error = remote(Path::new(&root)).exists("files/md5/aa/one").unwrap_err();
        assert!(!error.is_transient() && error.kind() == Kind::Unauthenticated, "{error}");
        assert!(error.to_string().contains("Permission denied"), "{error}");
        return;
    }
    let host = Host::start();
    let project = Project::ours();
    host.use_in(&project);
    let dvc_dir = project.repository().dvc_dir();
    Config::write(&dvc_dir, Level::Local, "remote \"host\"", "keyfile", &host.key("stranger")).unwrap();
    host.in_child("who_is_not_let_in_is_told_at_once", &project);
}

#[test]
fn what_one_client_stores_the_other_finds() {
    if let Some(root) = std::env::var_os(CHILD) {
        let remote = remote(Path::new(&root));
        // What real `dvc` pushed, and the other direction.
        let mut text = String::new();
        let theirs = remote.download(&Wanted::whole("files/md5/60/b725f10c9c85c70d97880dfe8191b3")).unwrap();
        theirs.unwrap().body.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\n");
        let ours = Path::new(&root).join("ours");
        fs::write(&ours, "b\n").unwrap();
        remote.upload("files/md5/3b/5d5c3712955042212316173ccf37be", &ours).unwrap();
        return;
    }
    let host = Host::start();
    let project = Project::by_dvc();
    host.use_in(&project);
    project.write("a", "a\n");
    project.dvc(&["add", "-q", "a"]);
    project.dvc(&["push", "-q"]);
    host.in_child("what_one_client_stores_the_other_finds", &project);
    let pointer = "outs:\n- md5: 3b5d5c3712955042212316173ccf37be\n  size: 2\n  hash: md5\n  path: b\n";
    project.write("b.dvc", pointer);
    project.dvc(&["pull", "-q", "b.dvc"]);
    assert_eq!(project.read("b"), "b\n");
}
