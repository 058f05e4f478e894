//! The server as the data remote of the real `dvc`, with a token as the password.

use std::path::Path;
use std::process::Command;

use super::installation::{Installation, said};
use crate::program::Home;

/// A command of the real client.
fn dvc(installation: &Installation, folder: &Path, arguments: &[&str]) {
    let mut command: Command = installation.command(towpath_testkit::python::program("dvc").unwrap());
    let output = command.current_dir(folder).env("DVC_NO_ANALYTICS", "1").args(arguments).output().unwrap();
    assert!(output.status.success(), "dvc {}: {}", arguments.join(" "), said(&output));
}

fn towpath(installation: &Installation, folder: &Path, arguments: &[&str]) {
    let mut command = installation.command(env!("CARGO_BIN_EXE_towpath"));
    let output = command.current_dir(folder).args(arguments).output().unwrap();
    assert!(output.status.success(), "towpath {}: {}", arguments.join(" "), said(&output));
}

/// Tells the real client who asks, outside Git.
fn log_in(folder: &Path, token: &str) {
    let login = format!("['remote \"towpath\"']\n    auth = basic\n    user = ds-1\n    password = {token}\n");
    std::fs::write(folder.join(".dvc/config.local"), login).unwrap();
}

#[tokio::test]
async fn data_goes_from_each_client_to_the_other_through_the_server() {
    let mut installation = Installation::serving_at_once().await;
    let token = installation.accounts(&[("ds-1", &["write"])]).await.remove(0);
    let ours = installation.home.path("");
    let remote = format!("{}/dvc/digits", installation.url);
    towpath(&installation, &ours, &["remote", "add", "--default", "towpath", &remote]);
    installation.write("images/1.csv", "pixel\n1\n");
    installation.write("images/2.csv", "pixel\n2\n");
    towpath(&installation, &ours, &["add", "images"]);
    // The hook of the repository pushes the data.
    installation.push("Add images");

    let clone = installation.home.outside("clone");
    let url = installation.git_url();
    installation.home.git(&["clone", "--quiet", &url, clone.to_str().unwrap()]);
    log_in(&clone, &token);
    dvc(&installation, &clone, &["pull", "images.dvc"]);
    assert_eq!(std::fs::read_to_string(clone.join("images/2.csv")).unwrap(), "pixel\n2\n");

    std::fs::write(clone.join("images/3.csv"), "pixel\n3\n").unwrap();
    dvc(&installation, &clone, &["add", "images"]);
    dvc(&installation, &clone, &["push", "images.dvc"]);
    std::fs::copy(clone.join("images.dvc"), ours.join("images.dvc")).unwrap();
    towpath(&installation, &ours, &["pull"]);
    assert_eq!(installation.home.read("images/3.csv"), "pixel\n3\n");

    let object = "/dvc/digits/files/md5/d4/1d8cd98f00b204e9800998ecf8427e";
    let (status, _) = installation.call("GET", object, Some("another"), None).await;
    assert_eq!(status, 401, "only who has a token reads");
}

#[tokio::test]
async fn imported_data_goes_to_the_server_whose_stages_read_it() {
    let installation = Installation::serving_at_once().await;
    let ours = installation.home.path("");
    let remote = format!("{}/dvc/digits", installation.url);
    towpath(&installation, &ours, &["remote", "add", "--default", "towpath", &remote]);
    let other = Home::repository();
    other.write("weights", "of another team");
    other.ok(&["add", "weights"]);
    other.commit("Add weights");
    towpath(&installation, &ours, &["import", other.path("").to_str().unwrap(), "weights"]);
    installation.push("Import weights");

    // Neither the other repository nor a cache has it any more.
    drop(other);
    for gone in [".dvc/cache/files", "weights"] {
        let gone = ours.join(gone);
        if gone.is_dir() { std::fs::remove_dir_all(gone) } else { std::fs::remove_file(gone) }.unwrap();
    }
    towpath(&installation, &ours, &["pull", "weights"]);
    assert_eq!(installation.home.read("weights"), "of another team");
}
