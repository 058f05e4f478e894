//! S3 as moto plays it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use towpath_data::config::{RemoteConfig, RemoteOptions};
use towpath_data::remote;

use crate::support::{Project, python_environment};

/// A server with one bucket, ended when dropped.
pub(crate) struct Moto {
    process: Child,
    pub(crate) endpoint: String,
    _log: TempDir,
}

impl Moto {
    pub(crate) fn start() -> Self {
        let program = python_environment().join("bin/moto_server");
        assert!(program.exists(), "no moto_server at {}: run scripts/setup", program.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = tempfile::tempdir().unwrap();
        let output = File::create(log.path().join("log")).unwrap();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let moto = Self { process, endpoint: format!("http://127.0.0.1:{port}"), _log: log };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "moto does not start");
            thread::sleep(Duration::from_millis(50));
        }
        // The first one installed in a process stays: then this is without effect.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = reqwest::blocking::Client::new().put(format!("{}/bucket", moto.endpoint)).send().unwrap();
        assert!(made.status().is_success(), "{}", made.status());
        moto
    }

    /// With a bucket that keeps versions.
    pub(crate) fn versioned() -> Self {
        let moto = Self::start();
        let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
        let url = format!("{}/bucket?versioning", moto.endpoint);
        let answer = reqwest::blocking::Client::new().put(url).body(body).send().unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
        moto
    }

    /// Stores an object of the bucket.
    pub(crate) fn put(&self, key: &str, text: &str) {
        let config = RemoteConfig::of_url("s3://bucket", &self.options()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        remote::open(&config).unwrap().upload(key, file.path()).unwrap();
    }

    /// With which its bucket is spoken to.
    pub(crate) fn options(&self) -> RemoteOptions {
        let options = [
            ("endpointurl", self.endpoint.as_str()),
            ("region", "us-east-1"),
            ("access_key_id", "id"),
            ("secret_access_key", "secret"),
        ];
        options.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
    }

    /// The keys of the bucket, newest versions only.
    pub(crate) fn keys(&self) -> Vec<String> {
        let listing = reqwest::blocking::get(format!("{}/bucket?list-type=2", self.endpoint)).unwrap().text().unwrap();
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// Makes it the project's default remote, credentials in the local configuration.
    pub(crate) fn become_remote_of(&self, project: &Project) {
        project.configure(&[("core.remote", "s3"), ("remote.s3.url", "s3://bucket/data")]);
        for (key, value) in self.options() {
            project.configure(&[(&format!("remote.s3.{key}"), &value)]);
        }
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
