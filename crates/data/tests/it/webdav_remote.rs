//! Data on a WebDAV server, wsgidav, with our client and with the real one.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use towpath_core::{Classify as _, Kind};
use towpath_data::Config;
use towpath_data::config::Level;
use towpath_data::remote::Wanted;

use crate::support::{Project, python_environment};

/// A server of a folder, for `user` with the password `secret`. Ends with this value.
struct Server {
    _dir: tempfile::TempDir,
    port: u16,
    process: Child,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        // Real `dvc` does not make the folder of the remote itself.
        fs::create_dir_all(dir.path().join("root/data")).unwrap();
        let settings = format!(
            r#"{{"host": "127.0.0.1", "port": {port}, "provider_mapping": {{"/": "{}"}},
                "simple_dc": {{"user_mapping": {{"*": {{"user": {{"password": "secret"}}}}}}}}}}"#,
            dir.path().join("root").display()
        );
        fs::write(dir.path().join("wsgidav.json"), settings).unwrap();
        let mut process = Command::new(python_environment().join("bin/wsgidav"));
        process.arg("--config").arg(dir.path().join("wsgidav.json")).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { process: process.spawn().expect("scripts/setup installs wsgidav"), port, _dir: dir };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "wsgidav does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn use_in(&self, project: &Project, password: &str) {
        let dvc_dir = project.repository().dvc_dir();
        let url = format!("webdav://127.0.0.1:{}/data", self.port);
        Config::write_remote(&dvc_dir, Level::Local, "dav", &url, true).unwrap();
        for (key, value) in [("user", "user"), ("password", password)] {
            Config::write(&dvc_dir, Level::Local, "remote \"dav\"", key, value).unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_one_client_pushes_the_other_pulls() {
    let server = Server::start();
    let project = Project::by_dvc();
    server.use_in(&project, "secret");
    project.write("theirs", "a\n");
    project.dvc(&["add", "-q", "theirs"]);
    project.dvc(&["push", "-q"]);
    let remote = project.repository().remote(None).unwrap();
    let mut text = String::new();
    let theirs = remote.download(&Wanted::whole("files/md5/60/b725f10c9c85c70d97880dfe8191b3")).unwrap();
    theirs.unwrap().body.read_to_string(&mut text).unwrap();
    assert_eq!(text, "a\n");

    project.write("ours", "b\n");
    project.dvc(&["add", "-q", "ours"]);
    let object = PathBuf::from(".dvc/cache/files/md5/3b/5d5c3712955042212316173ccf37be");
    let key = "files/md5/3b/5d5c3712955042212316173ccf37be";
    assert!(!remote.exists(key).unwrap());
    remote.upload(key, &project.root().join(object)).unwrap();
    assert_eq!(project.dvc(&["status", "-c", "--json"]).trim(), "{}");
    let mut listed = Vec::new();
    let mut found = |file: towpath_data::remote::Listed| {
        listed.push((file.key, file.size));
        ControlFlow::Continue(())
    };
    remote.list("files/md5/", &mut found).unwrap();
    listed.sort();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], (key.to_owned(), 2));
    remote.delete(&[key.to_owned(), "files/md5/aa/none".to_owned()]).unwrap();
    assert!(!remote.exists(key).unwrap());
}

#[test]
fn a_wrong_password_is_told_at_once() {
    let server = Server::start();
    let project = Project::ours();
    server.use_in(&project, "wrong");
    let error = project.repository().remote(None).unwrap().exists("files/md5/aa/one").unwrap_err();
    assert!(!error.is_transient() && error.kind() == Kind::Unauthenticated, "{error}");
}
