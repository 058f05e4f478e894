//! `dvc.lock`, stage by stage: the entry of a stage is the record of one run, so it is taken as a
//! whole from the side that ran it.

use super::{Conflict, Draft, Edit, Place, Take, Values, all_keys, take};

pub(super) fn merge(values: &Values) -> Draft {
    let mut draft = Draft::default();
    let (base, ours, theirs) = (Some(&values.base), Some(&values.ours), Some(&values.theirs));
    for section in all_keys(base, ours, theirs) {
        let [base, ours, theirs] = [&values.base, &values.ours, &values.theirs].map(|side| side.get(section));
        if !matches!(section, "stages" | "datasets") {
            let place = [Place::key(section)];
            match take(base, ours, theirs) {
                Take::Ours => {}
                Take::Theirs => draft.edits.push(Edit::new(&place, theirs)),
                Take::Neither => draft.conflicts.push(Conflict {
                    sentence: format!("'{section}' differs on both sides: keep one of the versions"),
                    theirs: vec![Edit::new(&place, theirs)],
                }),
            }
            continue;
        }
        for name in all_keys(base, ours, theirs) {
            let [base, ours, theirs] = [base, ours, theirs].map(|side| side.and_then(|side| side.get(name)));
            let place = [Place::key(section), Place::key(name)];
            match take(base, ours, theirs) {
                Take::Ours => {}
                Take::Theirs => draft.edits.push(Edit::new(&place, theirs)),
                Take::Neither => draft.conflicts.push(Conflict {
                    sentence: sentence(section, name, ours.is_none() || theirs.is_none()),
                    theirs: vec![Edit::new(&place, theirs)],
                }),
            }
        }
    }
    draft
}

fn sentence(section: &str, name: &str, removed: bool) -> String {
    match (section, removed) {
        ("stages", true) => {
            format!("stage '{name}' was removed on one side and run on the other: keep its entry or remove it")
        }
        ("stages", false) => {
            format!("stage '{name}' was run differently on both sides: keep one entry, then run `towpath repro {name}`")
        }
        _ => format!("data set '{name}' was changed on both sides: keep one entry"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use towpath_yaml::parse;

    use super::super::pointer::tests::NoFolders;
    use super::super::{Merged, Sides, merge};

    fn lock(stages: &[(&str, u32)]) -> String {
        let stage = |(name, run): &(&str, u32)| {
            let out = format!("    - path: {name}.txt\n      hash: md5\n      md5: a{run:031}\n      size: 1\n");
            format!("  {name}:\n    cmd: python {name}.py\n    outs:\n{out}")
        };
        let head = if stages.is_empty() { "" } else { "stages:\n" };
        format!("schema: '2.0'\n{head}{}", stages.iter().map(stage).collect::<String>())
    }

    fn merged(base: &str, ours: &str, theirs: &str) -> Merged {
        merge(Sides { file: "dvc.lock", base, ours, theirs, marker_size: 7 }, &mut NoFolders).unwrap()
    }

    #[test]
    fn each_stage_comes_from_the_side_that_ran_it() {
        let base = lock(&[("a", 1), ("b", 1), ("c", 1)]);
        let ours = lock(&[("a", 2), ("b", 1), ("c", 1), ("d", 1)]);
        let theirs = lock(&[("a", 1), ("b", 2), ("e", 1)]);
        let result = merged(&base, &ours, &theirs);
        assert!(result.conflicts.is_empty());
        assert_eq!(result.text, lock(&[("a", 2), ("b", 2), ("d", 1), ("e", 1)]));
    }

    #[test]
    fn a_stage_that_both_ran_is_a_conflict_and_the_others_are_merged() {
        let base = lock(&[("a", 1), ("b", 1), ("c", 1)]);
        let result = merged(&base, &lock(&[("a", 2), ("b", 1), ("c", 1)]), &lock(&[("a", 3), ("b", 2)]));
        assert_eq!(
            result.conflicts,
            ["dvc.lock: stage 'a' was run differently on both sides: keep one entry, then run `towpath repro a`"]
        );
        let md5 = |run: u32| format!("      md5: a{run:031}\n");
        let conflict = format!("<<<<<<< ours\n{}=======\n{}>>>>>>> theirs\n", md5(2), md5(3));
        assert_eq!(result.text, lock(&[("a", 1), ("b", 2)]).replacen(&md5(1), &conflict, 1));
    }

    #[test]
    fn both_began_a_lock_file() {
        let result = merged("", &lock(&[("a", 1)]), &lock(&[("b", 1)]));
        assert_eq!(result, Merged { text: lock(&[("a", 1), ("b", 1)]), conflicts: Vec::new() });
    }

    #[test]
    fn a_stage_removed_here_and_run_there_is_a_conflict() {
        let result = merged(&lock(&[("a", 1), ("b", 1)]), &lock(&[("b", 1)]), &lock(&[("a", 2), ("b", 1)]));
        assert!(result.conflicts[0].contains("stage 'a' was removed on one side"), "{:?}", result.conflicts);
        assert!(result.text.contains("<<<<<<< ours\n=======\n  a:\n"), "{}", result.text);
    }

    #[test]
    fn a_text_with_markers_of_an_earlier_merge_is_a_conflict() {
        let result = merged("", "<<<<<<< ours\na\n", &lock(&[]));
        assert!(
            result.conflicts[0].starts_with("dvc.lock: it cannot be merged: dvc.lock (ours):"),
            "{:?}",
            result.conflicts
        );
        assert!(result.text.starts_with("<<<<<<< ours\n<<<<<<< ours\na\n=======\nschema"), "{}", result.text);
    }

    fn any_lock() -> impl Strategy<Value = Vec<(String, u32)>> {
        proptest::collection::btree_map("[a-d]", 0u32..3, 0..4).prop_map(|stages| stages.into_iter().collect())
    }

    fn stages(text: &str) -> std::collections::BTreeMap<String, String> {
        let value = parse("dvc.lock", text).unwrap().root().to_value();
        let stages = value.get("stages").cloned();
        let Some(towpath_yaml::Value::Map(stages)) = stages else { return std::collections::BTreeMap::default() };
        stages.into_iter().map(|(name, stage)| (name, stage.to_python_json())).collect()
    }

    proptest! {
        #[test]
        fn merging_keeps_every_change(base in any_lock(), a in any_lock(), b in any_lock()) {
            let text = |stages: &[(String, u32)]| lock(&stages.iter().map(|(n, r)| (n.as_str(), *r)).collect::<Vec<_>>());
            let (base, a, b) = (text(&base), text(&a), text(&b));
            prop_assert_eq!(merged(&base, &a, &a).text, a.clone());
            prop_assert_eq!(merged(&base, &a, &base).text, a.clone());
            prop_assert_eq!(merged(&base, &base, &a).text, a.clone());
            let (ours, theirs) = (merged(&base, &a, &b), merged(&base, &b, &a));
            prop_assert_eq!(ours.conflicts.len(), theirs.conflicts.len());
            if ours.conflicts.is_empty() {
                prop_assert_eq!(stages(&ours.text), stages(&theirs.text));
            } else {
                prop_assert!(ours.text.contains("<<<<<<<") && theirs.text.contains(">>>>>>>"));
            }
        }
    }
}
