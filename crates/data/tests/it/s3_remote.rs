//! A remote in S3, with our client and with the real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use towpath_core::{Classify as _, Kind};
use towpath_data::{Error, Repository, Silent, verbs};

use crate::moto::Moto;
use crate::support::Project;

fn add_data(project: &Project) {
    for i in 0..150 {
        project.write(&format!("data/{i}"), format!("content {i}"));
    }
    project.write("data/ä b.txt", "");
    project.write("model.bin", vec![7; 20 << 20]);
    let paths = ["data", "model.bin"].map(PathBuf::from);
    verbs::add(&project.repository(), &paths, &[], &Silent).unwrap();
}

#[test]
fn what_one_client_pushes_to_s3_the_other_pulls() {
    let moto = Moto::start();
    let ours = Project::ours();
    moto.become_remote_of(&ours);
    add_data(&ours);
    let sent = verbs::push(&ours.repository(), &[], None, &Silent).unwrap();
    assert_eq!(sent.objects, 153);
    assert_eq!(verbs::push(&ours.repository(), &[], None, &Silent).unwrap().objects, 0);
    assert_eq!(ours.dvc(&["status", "-c", "--json"]).trim(), "{}");
    let clone = ours.clone_of_git();
    clone.dvc(&["pull", "-q"]);
    assert_eq!(clone.read("data/149"), "content 149");
    assert_eq!(fs::read(clone.root().join("model.bin")).unwrap(), vec![7; 20 << 20]);

    clone.write("data/new", "by dvc");
    fs::remove_file(clone.root().join("data/7")).unwrap();
    clone.dvc(&["add", "-q", "data"]);
    clone.dvc(&["push", "-q"]);
    let third = clone.clone_of_git();
    let pulled = verbs::pull(&third.repository(), &[], None, false, &Silent).unwrap();
    assert_eq!(pulled.transferred.objects, 153);
    assert_eq!(third.read("data/new"), "by dvc");
    assert_eq!(third.dvc(&["status", "--json"]).trim(), "{}");
}

#[test]
fn a_wrong_bucket_and_missing_objects_are_named() {
    let moto = Moto::start();
    let project = Project::ours();
    moto.become_remote_of(&project);
    add_data(&project);
    let bare = project.clone_of_git();
    let error = verbs::pull(&bare.repository(), &[], None, false, &Silent).unwrap_err();
    assert!(matches!(&error, Error::Missing { oids } if oids.len() == 2), "{error}");

    project.configure(&[("remote.s3.url", "s3://elsewhere/data")]);
    let error = verbs::push(&project.repository(), &[], None, &Silent).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

#[test]
fn a_profile_may_assume_a_role_with_the_keys_of_another_or_of_the_machine() {
    let moto = Moto::start();
    let project = Project::ours();
    let files = project.beside("aws");
    let profiles = format!(
        "[profile base]\naws_access_key_id = id\naws_secret_access_key = secret\n\
         [profile role]\nrole_arn = arn:aws:iam::123456789012:role/data\nsource_profile = base\n\
         region = us-east-1\nendpoint_url = {0}\n\
         [profile machine]\nrole_arn = arn:aws:iam::123456789012:role/data\n\
         credential_source = Ec2InstanceMetadata\nregion = us-east-1\nendpoint_url = {0}\n\
         ec2_metadata_service_endpoint = {0}/\n\
         [profile round]\nrole_arn = arn:aws:iam::123456789012:role/data\nregion = us-east-1\nsource_profile = trip\n\
         [profile trip]\nrole_arn = arn:aws:iam::123456789012:role/data\nsource_profile = round\n",
        moto.endpoint
    );
    fs::write(&files, profiles).unwrap();
    project.configure(&[
        ("core.remote", "s3"),
        ("remote.s3.url", "s3://bucket/data"),
        ("remote.s3.configpath", files.to_str().unwrap()),
        ("remote.s3.profile", "role"),
    ]);
    project.write("one", "content");
    verbs::add(&project.repository(), &[PathBuf::from("one")], &[], &Silent).unwrap();
    assert_eq!(verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects, 1);

    project.write("two", "more");
    verbs::add(&project.repository(), &[PathBuf::from("two")], &[], &Silent).unwrap();
    project.configure(&[("remote.s3.profile", "machine")]);
    assert_eq!(verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects, 1, "the machine's keys sign");

    project.configure(&[("remote.s3.profile", "round")]);
    let error = verbs::push(&project.repository(), &[], None, &Silent).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("'round' is assumed from itself"), "{said}");
}

/// The folder that the child process works in; set by the test below only.
const CHILD: &str = "TOWPATH_TEST_KILLED_PUSH";

#[test]
fn a_push_that_was_killed_goes_on_with_the_parts_that_were_sent() {
    if let Some(root) = std::env::var_os(CHILD) {
        verbs::push(&Repository::open(Path::new(&root)).unwrap(), &[], None, &Silent).unwrap();
        return;
    }
    let moto = Moto::start();
    let project = Project::ours();
    moto.become_remote_of(&project);
    let content: Vec<u8> = (0..96_u32 << 18).flat_map(u32::to_le_bytes).collect();
    project.write("big", &content);
    verbs::add(&project.repository(), &[PathBuf::from("big")], &[], &Silent).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "s3_remote::a_push_that_was_killed_goes_on_with_the_parts_that_were_sent"])
        .env(CHILD, project.root())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let uploads = project.root().join(".dvc/tmp/towpath/uploads");
    let note = || {
        let file =
            fs::read_dir(&uploads).ok()?.flatten().find(|file| !file.file_name().to_string_lossy().starts_with('.'))?;
        let note: serde_json::Value = serde_json::from_str(&fs::read_to_string(file.path()).ok()?).ok()?;
        Some(note["sent"].as_object()?.len())
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while note().is_none_or(|sent| sent == 0) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let sent = note().unwrap();
    assert!((1..12).contains(&sent), "{sent} parts");

    verbs::push(&project.repository(), &[], None, &Silent).unwrap();
    assert_eq!(note(), None);
    // A second upload would have left the first one unfinished.
    let open = reqwest::blocking::get(format!("{}/bucket?uploads", moto.endpoint)).unwrap().text().unwrap();
    assert!(!open.contains("<UploadId>"), "{open}");
    let clone = project.clone_of_git();
    clone.dvc(&["pull", "-q"]);
    assert!(fs::read(clone.root().join("big")).unwrap() == content);
}
