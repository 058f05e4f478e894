//! Foreign projects that run in images, by the real podman: an MLproject with `docker_env` beside the real
//! `mlflow run`, and container components of Kubeflow Pipelines.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::installation::Installation;
use crate::podman::{IMAGE, Podman};

const PROJECT: &str = "\
name: wine
docker_env:
  image: localhost/tools:1
  volumes: ['OUT:/out']
  environment: [[SEED, '7'], HOST_NAME]
entry_points:
  main:
    parameters: {name: string}
    command: sh -c \"env > /out/env; cat /release\" {name}
";

/// Podman behind the API of Docker, and as a program of that name: what the real `mlflow` starts.
struct Docker(Child);

impl Docker {
    fn start(installation: &Installation, podman: &Podman) -> Self {
        let bin = installation.home.outside("bin");
        fs::create_dir(&bin).unwrap();
        symlink("/usr/bin/podman", bin.join("docker")).unwrap();
        let socket = installation.home.outside("docker.sock");
        let address = format!("unix://{}", socket.display());
        let mut command = podman.command(&["system", "service", "--time=0", &address]);
        let service = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !socket.exists() {
            assert!(Instant::now() < deadline, "podman does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self(service)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

/// Tags and parameters of the newest run.
async fn newest(installation: &Installation) -> BTreeMap<String, Value> {
    let search = json!({"experiment_ids": ["0"], "max_results": 1});
    let (status, found) = installation.call("POST", "/api/2.0/mlflow/runs/search", None, Some(search)).await;
    assert_eq!(status, 200, "{found}");
    let data = &found["runs"][0]["data"];
    let all = ["tags", "params"].into_iter().flat_map(|kind| data[kind].as_array().cloned().unwrap_or_default());
    all.map(|pair| (pair["key"].as_str().unwrap().to_owned(), pair["value"].clone()))
        .filter(|(key, _)| key != "mlflow.runName")
        .collect()
}

#[tokio::test]
async fn a_project_in_an_image_gets_what_mlflow_run_gives_it_and_leaves_its_record() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let podman = Podman::beside(&installation.home);
    let docker = Docker::start(&installation, &podman);
    let out = installation.home.outside("out");
    fs::create_dir(&out).unwrap();
    installation.write("MLproject", &PROJECT.replace("OUT", out.to_str().unwrap()));
    installation.home.git(&["add", "--all"]);
    installation.home.git(&["commit", "--quiet", "--message", "A project"]);
    // The variables inside, without what the engine of containers and each run differ in.
    let inside = || {
        let text = fs::read_to_string(out.join("env")).unwrap();
        let kept = |name: &str| !["HOSTNAME", "MLFLOW_RUN_ID", "TERM", "PWD", "SHLVL", "container"].contains(&name);
        let pairs = text.lines().filter_map(|line| line.split_once('=')).filter(|(name, _)| kept(name));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
    };
    let path = format!("{}:{}", installation.home.outside("bin").display(), std::env::var("PATH").unwrap());
    let mut theirs = installation.command(towpath_testkit::python::program("mlflow").unwrap());
    theirs.args(["run", installation.home.path("").to_str().unwrap(), "-P", "name=a b", "-A", "network=host"]);
    podman.settle(&mut theirs);
    theirs
        .env("PATH", path)
        .env("DOCKER_HOST", format!("unix://{}", installation.home.outside("docker.sock").display()))
        .env("MLFLOW_TRACKING_URI", &installation.url)
        .env("GIT_PYTHON_REFRESH", "quiet")
        .env("HOST_NAME", "here");
    for name in ["USER", "LOGNAME"] {
        theirs.env(name, "ds-1");
    }
    let said = succeeds(&mut theirs);
    assert!(said.contains("first"), "{said}");
    let (expected, variables) = (newest(&installation).await, inside());
    drop(docker);

    let run = |arguments: &[&str]| {
        let mut ours = installation.command(env!("CARGO_BIN_EXE_towpath"));
        ours.args(["run", "start", ".", "-P", "name=a b"]).args(arguments).env("USER", "ds-1");
        podman.settle(&mut ours);
        ours
    };
    let said = succeeds(run(&["-A", "network=host"]).env("HOST_NAME", "here"));
    assert!(said.contains("first"), "{said}");
    assert_eq!(newest(&installation).await, expected);
    assert_eq!(inside(), variables);
    assert_eq!((variables["SEED"].as_str(), variables["HOST_NAME"].as_str()), ("7", "here"));
    assert_eq!(podman.containers(), Vec::<String>::new());

    let output = run(&[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("expects the environment variable HOST_NAME, which is not set"), "{said}");
}

/// Two container components on an image that is not Python, compiled by the real SDK: one makes a text, the other
/// counts its bytes by the program that the image names.
const PIPELINE: &str = "
import sys
from kfp import compiler, dsl

@dsl.container_component
def write(text: str, made: dsl.Output[dsl.Artifact]):
    return dsl.ContainerSpec(image='localhost/tools:1', command=['sh', '-c', 'cat /release > $1; echo $0 >> $1'],
                             args=[text, made.path])

@dsl.container_component
def count(made: dsl.Input[dsl.Artifact], bytes: dsl.OutputPath(int)):
    return dsl.ContainerSpec(image='localhost/tools:1', command=['sh', '-c', 'wc -c < $0 > $1'],
                             args=[made.path, bytes])

@dsl.pipeline(name='in-images')
def pipeline(text: str = 'words') -> int:
    return count(made=write(text=text).outputs['made']).outputs['bytes']

compiler.Compiler().compile(pipeline, sys.argv[1])
";

#[tokio::test]
async fn container_components_on_any_image_run_in_it() {
    let mut installation = Installation::stopped();
    installation.start().await;
    let podman = Podman::beside(&installation.home);
    let script = installation.home.outside("compile.py");
    fs::write(&script, PIPELINE).unwrap();
    let compiled = installation.home.path("pipeline.yaml");
    succeeds(Command::new(towpath_testkit::python::kfp().unwrap()).arg(&script).arg(&compiled));
    let run = || {
        let mut command = installation.command(env!("CARGO_BIN_EXE_towpath"));
        command.args(["run", "start", "pipeline.yaml", "-P", "text=some", "--json"]);
        podman.settle(&mut command);
        succeeds(&mut command)
    };
    // `first` without an end of line, and the text with one.
    let said = run();
    assert!(said.contains("\"Output\": 10") || said.contains("\"Output\":10"), "{said}");
    assert_eq!(podman.containers(), Vec::<String>::new());
    // Another image of that name is another content.
    podman.build(IMAGE, "the second");
    let said = run();
    assert!(said.contains("\"Output\": 15") || said.contains("\"Output\":15"), "{said}");
}
