//! A remote behind HTTP, with our client and with the real one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use towpath_core::{Classify as _, Kind};
use towpath_data::config::Level;
use towpath_data::{Cache, Config, Error, Silent, verbs};

use crate::support::Project;
use crate::web_server::WebServer;

/// A project whose remote is a web server, the password outside Git as it should be.
fn with_web_remote(server: &WebServer) -> Project {
    let project = Project::ours();
    let dvc_dir = project.repository().dvc_dir();
    Config::write_remote(&dvc_dir, Level::Repository, "web", &server.url, true).unwrap();
    log_in(&project);
    project
}

fn log_in(project: &Project) {
    let dvc_dir = project.repository().dvc_dir();
    for (key, value) in [("auth", "basic"), ("user", "user"), ("password", "secret")] {
        Config::write(&dvc_dir, Level::Local, "remote \"web\"", key, value).unwrap();
    }
}

fn add_images(project: &Project) {
    project.write("images/1.pgm", "one");
    project.write("images/2.pgm", "two");
    verbs::add(&project.repository(), &[PathBuf::from("images")], &[], &Silent).unwrap();
}

#[test]
fn what_we_push_real_dvc_pulls() {
    let dir = tempfile::tempdir().unwrap();
    let server = WebServer::start(Cache::open(dir.path()));
    let project = with_web_remote(&server);
    add_images(&project);
    assert_eq!(verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects, 3);
    let clone = project.clone_of_git();
    log_in(&clone);
    let secrets = fs::metadata(clone.root().join(".dvc/config.local")).unwrap();
    assert_eq!(secrets.permissions().mode() & 0o777, 0o600);
    clone.dvc(&["pull", "-q"]);
    assert_eq!(clone.read("images/2.pgm"), "two");
}

#[test]
fn what_real_dvc_pushes_we_pull() {
    let dir = tempfile::tempdir().unwrap();
    let server = WebServer::start(Cache::open(dir.path()));
    let project = with_web_remote(&server);
    add_images(&project);
    project.dvc(&["push", "-q"]);
    let clone = project.clone_of_git();
    log_in(&clone);
    assert_eq!(verbs::pull(&clone.repository(), &[], None, false, &Silent).unwrap().transferred.objects, 3);
    assert_eq!(clone.read("images/1.pgm"), "one");
}

#[test]
fn a_server_that_is_busy_for_a_moment_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = WebServer::start(Cache::open(dir.path()));
    let project = with_web_remote(&server);
    add_images(&project);
    server.failures.store(2, Ordering::SeqCst);
    assert_eq!(verbs::push(&project.repository(), &[], None, &Silent).unwrap().objects, 3);
}

#[test]
fn a_wrong_password_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let server = WebServer::start(Cache::open(dir.path()));
    let project = with_web_remote(&server);
    add_images(&project);
    let dvc_dir = project.repository().dvc_dir();
    Config::write(&dvc_dir, Level::Local, "remote \"web\"", "password", "wrong").unwrap();
    let error = verbs::push(&project.repository(), &[], None, &Silent).unwrap_err();
    assert!(matches!(error, Error::RemoteAnswer { status: 401, .. }), "{error}");
    assert_eq!(error.kind(), Kind::Unauthenticated);
    assert!(error.hints()[0].contains("config.local"));
}
