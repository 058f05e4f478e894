//! A remote in Azure Blob Storage, as Azurite plays it, with our client and with the real one.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use towpath_data::{Silent, verbs};

use crate::support::{Project, python_environment};

/// The account and key that every Azurite has; they are public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The service with one container, ended when dropped.
struct Azurite {
    process: Child,
    connection: String,
    _data: TempDir,
}

impl Azurite {
    fn start() -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/azurite/node_modules/.bin/azurite-blob");
        assert!(program.exists(), "no Azurite at {}: run scripts/setup", program.display());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = tempfile::tempdir().unwrap();
        let process = Command::new(program)
            .args(["--silent", "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .arg("--location")
            .arg(data.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let connection = format!(
            "DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};\
             BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
        );
        let azurite = Self { process, connection, _data: data };
        let deadline = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "Azurite does not start");
            thread::sleep(Duration::from_millis(50));
        }
        let script = "import sys; from azure.storage.blob import BlobServiceClient as C; \
                      C.from_connection_string(sys.argv[1]).create_container('box')";
        let python = python_environment().join("bin/python");
        let made = Command::new(python).args(["-c", script, &azurite.connection]).status().unwrap();
        assert!(made.success());
        azurite
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_one_client_pushes_to_azure_the_other_pulls() {
    let azurite = Azurite::start();
    let ours = Project::ours();
    ours.configure(&[
        ("core.remote", "az"),
        ("remote.az.url", "azure://box/data"),
        ("remote.az.connection_string", &azurite.connection),
    ]);
    ours.write("data/a b", "one");
    ours.write("data/sub/ü", "two");
    ours.write("model.bin", vec![7; 20 << 20]);
    verbs::add(&ours.repository(), &["data", "model.bin"].map(PathBuf::from), &[], &Silent).unwrap();
    assert_eq!(verbs::push(&ours.repository(), &[], None, &Silent).unwrap().objects, 4);
    assert_eq!(verbs::push(&ours.repository(), &[], None, &Silent).unwrap().objects, 0);
    let theirs = ours.clone_of_git();
    theirs.dvc(&["pull", "-q"]);
    assert_eq!(theirs.read("data/sub/ü"), "two");
    assert_eq!(fs::read(theirs.root().join("model.bin")).unwrap(), vec![7; 20 << 20]);

    theirs.write("data/new", "by dvc");
    theirs.dvc(&["add", "-q", "data"]);
    theirs.dvc(&["push", "-q"]);
    let third = theirs.clone_of_git();
    let pulled = verbs::pull(&third.repository(), &[], None, false, &Silent).unwrap();
    assert_eq!((pulled.transferred.objects, third.read("data/new")), (5, "by dvc".to_owned()));
}
