//! The bytes of a manifest are those of Python's `json.dumps`.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use towpath_data::Oid;
use towpath_data::manifest::{Entry, Manifest};

use crate::support::python_environment;

const DUMP: &str = "import json, sys
paths = json.load(sys.stdin)
entries = [{'relpath': p, 'md5': '60b725f10c9c85c70d97880dfe8191b3'} for p in sorted(paths)]
sys.stdout.write(json.dumps(entries, sort_keys=True))";

fn python(paths: &[String]) -> String {
    let mut child = Command::new(python_environment().join("bin/python"))
        .args(["-S", "-c", DUMP])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(serde_json::to_string(paths).unwrap().as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_manifest_is_what_python_writes(names in prop::collection::btree_set("[^/\0]{1,12}", 0..40)) {
        let names: Vec<String> = names.into_iter().filter(|name| name != "." && name != "..").collect();
        let oid = Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap();
        let entries = names.iter().map(|name| Entry { relpath: name.clone(), oid: oid.clone() }).collect();
        let manifest = Manifest::new(entries);
        let bytes = manifest.to_bytes();
        prop_assert_eq!(String::from_utf8(bytes.clone()).unwrap(), python(&names));
        prop_assert_eq!(Manifest::parse(&manifest.oid(), &bytes).unwrap(), manifest);
    }
}
