//! Generated repositories with names and files that are hard to get right, through both tools in both
//! directions.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use towpath_data::{Silent, Targets, verbs};
use walkdir::WalkDir;

use crate::support::{Project, check_out};

/// A file: its content and whether it is executable.
type File = (Vec<u8>, bool);

/// A part of a path. Git and DVC have files of their own with some names.
fn name() -> impl Strategy<Value = String> {
    let odd = "[ \\t\\n\\x01-\\x1f\\x7f'\"\\\\*?!#&%:;{}\\[\\]()$~a-zA-Z0-9._äßéñ中\u{1f600}\u{301}-]{1,12}";
    let names =
        prop_oneof![6 => odd, 1 => "[0-9a-f]{32}", 1 => "[0-9]{1,6}e[0-9]{1,3}", 1 => "(null|true|no|~|0x1F|1_000)"];
    names.prop_filter("a name of the tools", |name| {
        let reserved = [".", "..", ".git", ".dvc", ".dvcignore", ".gitignore"];
        !reserved.contains(&name.as_str()) && !name.ends_with(".dvc")
    })
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(Vec::new()),
        "[a-z\\r\\n]{0,40}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..64),
    ]
}

/// Files of a folder by path; no file is another's folder.
fn folder() -> impl Strategy<Value = BTreeMap<String, File>> {
    let path = proptest::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"));
    let files = proptest::collection::btree_map(path, (content(), any::<bool>()), 20..60);
    files.prop_map(|files| {
        let is_folder = |path: &str| files.keys().any(|other| other.starts_with(&format!("{path}/")));
        files.iter().filter(|(path, _)| !is_folder(path)).map(|(path, file)| (path.clone(), file.clone())).collect()
    })
}

fn write(project: &Project, below: &str, files: &BTreeMap<String, File>) {
    for (path, (content, executable)) in files {
        let path = format!("{below}{path}");
        project.write(&path, content);
        let mode = if *executable { 0o755 } else { 0o644 };
        fs::set_permissions(project.root().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let named = files.map(|entry| {
        let below = entry.path().strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        (below, fs::read(entry.path()).unwrap())
    });
    named.collect()
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    let is_set = |name: &str| std::env::var_os(name).is_some();
    ProptestConfig {
        cases: if is_set("PROPTEST_CASES") { default.cases } else { 3 },
        rng_seed: if is_set("PROPTEST_RNG_SEED") { default.rng_seed } else { RngSeed::Fixed(1) },
        max_shrink_iters: 16,
        ..default
    }
}

proptest! {
    // Each case calls the real client several times, so a test run has few of them, always the same;
    // `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for others.
    #![proptest_config(config())]
    #[test]
    fn what_one_tool_adds_the_other_sees_clean_and_checks_out(
        files in folder(),
        single in proptest::collection::btree_map(name(), (content(), any::<bool>()), 4..8),
    ) {
        let single: BTreeMap<String, File> = single.into_iter().filter(|(name, _)| name != "d" && name != "link").collect();
        let (ours, theirs) = (Project::ours(), Project::ours());
        for project in [&ours, &theirs] {
            write(project, "d/", &files);
            write(project, "", &single);
            project.write("elsewhere/x", "through a link");
            std::os::unix::fs::symlink("../elsewhere/x", project.root().join("d/link")).unwrap();
            // No part of the data, whether it leads elsewhere or back.
            std::os::unix::fs::symlink("../elsewhere", project.root().join("d/folder-link")).unwrap();
            std::os::unix::fs::symlink(".", project.root().join("d/self")).unwrap();
        }
        let names: Vec<PathBuf> = std::iter::once("d").chain(single.keys().map(String::as_str)).map(PathBuf::from).collect();
        verbs::add(&ours.repository(), &names, &[], &Silent).unwrap();
        let mut arguments = vec!["add", "-q", "--"];
        arguments.extend(names.iter().map(|name| name.to_str().unwrap()));
        theirs.dvc(&arguments);
        for name in &names {
            let pointer = format!("{}.dvc", name.display());
            prop_assert_eq!(ours.read(&pointer), theirs.read(&pointer));
        }
        prop_assert_eq!(ours.read(".gitignore"), theirs.read(".gitignore"));
        prop_assert_eq!(contents(&ours.root().join(".dvc/cache/files")), contents(&theirs.root().join(".dvc/cache/files")));
        let status = ours.dvc(&["status", "--json"]);
        prop_assert_eq!(status.trim(), "{}");
        prop_assert_eq!(verbs::status(&theirs.repository(), &[], &Targets::default()).unwrap(), []);

        let mut expected: BTreeMap<String, Vec<u8>> = files.iter().map(|(path, (content, _))| (path.clone(), content.clone())).collect();
        expected.insert("link".to_owned(), b"through a link".to_vec());
        for project in [&ours, &theirs] {
            fs::remove_dir_all(project.root().join("d")).unwrap();
            for name in single.keys() {
                fs::remove_file(project.root().join(name)).unwrap();
            }
        }
        ours.dvc(&["checkout", "-q"]);
        check_out(&theirs, false).unwrap();
        for project in [&ours, &theirs] {
            prop_assert_eq!(&contents(&project.root().join("d")), &expected);
            for (name, (content, executable)) in &single {
                let path = project.root().join(name);
                prop_assert_eq!(&fs::read(&path).unwrap(), content);
                prop_assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0, *executable);
            }
        }
    }
}
