use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use towpath_pipeline::environment::{Build, Error};
use towpath_pipeline::{Cancel, Environment, Environments};

struct Fixture {
    dir: tempfile::TempDir,
    cancel: Cancel,
}

impl Fixture {
    fn new(file: &str, text: &str) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap(), cancel: Cancel::new().unwrap() };
        fs::write(fixture.dir.path().join(file), text).unwrap();
        fixture
    }

    fn environments(&self) -> Environments {
        Environments::new(self.dir.path().join("environments"))
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("logs/environment.log")
    }

    fn prepare(&self, file: &str) -> Result<Environment, Error> {
        let build = Build { log: &self.log(), cancel: &self.cancel, until: None };
        let resolved = self.environments().resolve(self.dir.path(), file, &build)?;
        self.environments().build(&resolved, &build)
    }
}

fn imports(environment: &Path, module: &str) -> bool {
    let import = format!("import {module}");
    Command::new(environment.join("bin/python")).args(["-c", &import]).output().unwrap().status.success()
}

#[test]
fn requirements_are_resolved_and_installed_once() {
    let fixture = Fixture::new("requirements.txt", "iniconfig>=2\n");
    let built = fixture.prepare("requirements.txt").unwrap();
    assert!(!built.cached && imports(&built.path, "iniconfig"));
    assert_eq!((built.packages, built.file.as_str()), (1, "requirements.txt"));
    assert!(built.lock_text.contains("\niniconfig==2."), "{}", built.lock_text);
    assert!(built.python.starts_with("3."), "{}", built.python);

    fs::remove_dir_all(fixture.dir.path().join("logs")).unwrap();
    let started = Instant::now();
    let again = fixture.prepare("requirements.txt").unwrap();
    println!("warm: {:?}", started.elapsed());
    assert!(again.cached && again.hash == built.hash);
    assert!(!fixture.log().exists(), "no process was started");
}

#[test]
fn an_environment_whose_building_was_interrupted_is_built_again() {
    let fixture = Fixture::new("requirements.txt", "# nothing\n");
    let built = fixture.prepare("requirements.txt").unwrap();
    fs::remove_file(built.path.join("towpath.lock")).unwrap();
    fs::remove_dir_all(built.path.join("bin")).unwrap();
    let again = fixture.prepare("requirements.txt").unwrap();
    assert!(!again.cached && imports(&again.path, "json"));
    assert_eq!(again.packages, 0);
}

#[test]
fn a_lock_that_a_run_kept_gives_the_same_environment() {
    let fixture =
        Fixture::new("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\ndependencies = ['iniconfig']\n");
    let built = fixture.prepare("pyproject.toml").unwrap();
    let build = Build { log: &fixture.log(), cancel: &fixture.cancel, until: None };
    let elsewhere = Environments::new(fixture.dir.path().join("elsewhere"));
    let again = elsewhere.build(&Environments::from_lock(&built.lock_text).unwrap(), &build).unwrap();
    assert_eq!((again.hash, again.cached), (built.hash, false));
    assert!(imports(&again.path, "iniconfig"));
}

#[test]
fn builders_of_the_same_environment_wait_for_each_other() {
    let fixture = Fixture::new("requirements.txt", "# nothing\n");
    let cached: Vec<bool> = std::thread::scope(|scope| {
        let builders: Vec<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| {
                let fixture = &fixture;
                scope.spawn(move || {
                    let log = fixture.dir.path().join(name);
                    let build = Build { log: &log, cancel: &fixture.cancel, until: None };
                    let resolved =
                        fixture.environments().resolve(fixture.dir.path(), "requirements.txt", &build).unwrap();
                    fixture.environments().build(&resolved, &build).unwrap().cached
                })
            })
            .collect();
        builders.into_iter().map(|b| b.join().unwrap()).collect()
    });
    assert_eq!(cached.iter().filter(|c| !**c).count(), 1);
}

#[test]
fn what_uv_says_is_the_error() {
    let fixture = Fixture::new("requirements.txt", "not a requirement!\n");
    let error = fixture.prepare("requirements.txt").unwrap_err();
    assert!(error.to_string().starts_with("uv cannot resolve requirements.txt: error: "), "{error}");
    assert!(matches!(fixture.prepare("missing.txt"), Err(Error::Unreadable { .. })));
}
