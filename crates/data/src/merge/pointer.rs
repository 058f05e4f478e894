//! `.dvc` files: keys one by one, outputs by path, the folders behind them file by file.

use towpath_yaml::Value;

use super::manifest::{PathConflict, changed_alike, merge_manifests};
use super::{Conflict, Draft, Edit, Place, Take, Values, all_keys, path_of, take};
use crate::manifest::Manifest;
use crate::{Error, Oid};

/// Paths named in one sentence; of more the number is told.
const SHOWN_PATHS: usize = 5;

/// What identifies a version: only together these keys mean something.
const VERSION_KEYS: [&str; 10] =
    ["md5", "etag", "checksum", "size", "nfiles", "isexec", "version_id", "hash", "cloud", "files"];

/// Where the manifests of folders are.
pub trait Folders {
    /// The manifest; `Err` in the inner result says why it cannot be had.
    fn manifest(&mut self, oid: &Oid) -> Result<Result<Manifest, String>, Error>;

    /// Bytes of a file, if that can be told.
    fn size(&mut self, oid: &Oid) -> Option<u64>;

    /// Stores a merged manifest.
    fn keep(&mut self, manifest: &Manifest) -> Result<(), Error>;
}

pub(super) fn merge(values: &Values, folders: &mut dyn Folders) -> Result<Draft, Error> {
    let mut draft = Draft::default();
    for key in all_keys(Some(&values.base), Some(&values.ours), Some(&values.theirs)) {
        let sides = Three::of(&values.base, &values.ours, &values.theirs).get(key);
        let place = [Place::key(key)];
        match key {
            // Made from the rest of the file.
            "md5" => {}
            "outs" | "deps" if sides.are_lists() => merge_list(key, sides, folders, &mut draft)?,
            _ => merge_value(&place, sides, &format!("'{key}'"), &mut draft),
        }
    }
    let recorded = [&values.ours, &values.theirs].map(|side| side.get("md5"));
    draft.checksum = recorded.iter().any(Option::is_some);
    if let (true, Some(conflict)) = (recorded[0] != recorded[1], draft.conflicts.first_mut()) {
        conflict.theirs.push(Edit::new(&[Place::key("md5")], recorded[1]));
    }
    Ok(draft)
}

/// One value on the three sides.
#[derive(Clone, Copy)]
struct Three<'v> {
    base: Option<&'v Value>,
    ours: Option<&'v Value>,
    theirs: Option<&'v Value>,
}

impl<'v> Three<'v> {
    fn of(base: &'v Value, ours: &'v Value, theirs: &'v Value) -> Self {
        Self { base: Some(base), ours: Some(ours), theirs: Some(theirs) }
    }

    fn each(self, part: impl Fn(&'v Value) -> Option<&'v Value>) -> Self {
        let [base, ours, theirs] = [self.base, self.ours, self.theirs].map(|side| side.and_then(&part));
        Self { base, ours, theirs }
    }

    fn get(self, key: &str) -> Self {
        self.each(|side| side.get(key))
    }

    fn take(self) -> Take {
        take(self.base, self.ours, self.theirs)
    }

    /// True when each side is a list of items that have a path, or nothing.
    fn are_lists(self) -> bool {
        let is_list = |side: &Value| match side {
            Value::Seq(items) => items.iter().all(|item| path_of(item).is_some()),
            other => *other == Value::Null,
        };
        [self.base, self.ours, self.theirs].into_iter().flatten().all(is_list)
    }

    /// The version that the sides record: all keys of one together.
    fn version(self) -> [Option<Vec<&'v Value>>; 3] {
        let version = |side: &'v Value| VERSION_KEYS.iter().map(|key| side.get(key).unwrap_or(&Value::Null)).collect();
        [self.base, self.ours, self.theirs].map(|side| side.map(version))
    }
}

fn merge_value(place: &[Place], sides: Three<'_>, title: &str, draft: &mut Draft) {
    match sides.take() {
        Take::Ours => {}
        Take::Theirs => draft.edits.push(Edit::new(place, sides.theirs)),
        Take::Neither => draft.conflicts.push(Conflict {
            sentence: format!("{title} was changed on both sides: keep one of the versions"),
            theirs: vec![Edit::new(place, sides.theirs)],
        }),
    }
}

fn merge_list(list: &str, sides: Three<'_>, folders: &mut dyn Folders, draft: &mut Draft) -> Result<(), Error> {
    let mut paths = Vec::new();
    for side in [sides.ours, sides.theirs].into_iter().flatten() {
        if let Value::Seq(items) = side {
            paths.extend(items.iter().filter_map(path_of));
        }
    }
    let mut done = Vec::new();
    for path in paths {
        if done.contains(&path) {
            continue;
        }
        done.push(path);
        let item = sides.each(|side| match side {
            Value::Seq(items) => items.iter().find(|item| path_of(item) == Some(path)),
            _ => None,
        });
        let place = [Place::key(list), Place::Item(path.to_owned())];
        match (item.take(), item.ours, item.theirs) {
            (Take::Ours, ..) => {}
            (_, Some(_), Some(_)) => merge_item(list, path, &place, item, folders, draft)?,
            (Take::Theirs, ..) => draft.edits.push(Edit::new(&place, item.theirs)),
            (Take::Neither, ..) => draft.conflicts.push(Conflict {
                sentence: format!("'{path}' was removed on one side and changed on the other: keep or remove it"),
                theirs: vec![Edit::new(&place, item.theirs)],
            }),
        }
    }
    Ok(())
}

/// An output or dependency that both sides have.
fn merge_item(
    list: &str,
    path: &str,
    place: &[Place],
    item: Three<'_>,
    folders: &mut dyn Folders,
    draft: &mut Draft,
) -> Result<(), Error> {
    let below = |key: &str| [place, &[Place::key(key)]].concat();
    for key in all_keys(item.base, item.ours, item.theirs) {
        if !VERSION_KEYS.contains(&key) {
            merge_value(&below(key), item.get(key), &format!("'{key}' of '{path}'"), draft);
        }
    }
    let edits = |version: &dyn Fn(&str) -> Option<Value>| -> Vec<Edit> {
        VERSION_KEYS.iter().map(|key| Edit { place: below(key), value: version(key) }).collect()
    };
    let theirs = || edits(&|key| item.theirs.and_then(|side| side.get(key)).cloned());
    let [base, ours, of_theirs] = item.version();
    match take(base.as_ref(), ours.as_ref(), of_theirs.as_ref()) {
        Take::Ours => {}
        Take::Theirs => draft.edits.extend(theirs()),
        Take::Neither => {
            let reason = match Folder::three(item).filter(|_| list == "outs") {
                Some(three) => match merge_folders(three, folders)? {
                    Ok(folder) => {
                        let ours = item.ours;
                        draft.edits.extend(edits(&|key| match key {
                            "md5" => Some(Value::String(folder.oid.to_string())),
                            "nfiles" => Some(integer(folder.files)),
                            "size" => folder.size.map(integer),
                            other => ours.and_then(|side| side.get(other)).cloned(),
                        }));
                        return Ok(());
                    }
                    Err(reason) => reason,
                },
                None => "was changed on both sides: keep one of the versions".to_owned(),
            };
            draft.conflicts.push(Conflict { sentence: format!("'{path}' {reason}"), theirs: theirs() });
        }
    }
    Ok(())
}

fn integer(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A version of a folder, as a `.dvc` file records it.
#[derive(Clone, Debug)]
struct Folder {
    oid: Oid,
    size: Option<u64>,
}

impl Folder {
    /// Nothing unless all three (or both, when there is no base) are folders as DVC 3 records them.
    fn three(item: Three<'_>) -> Option<(Option<Self>, Self, Self)> {
        let base = match item.base {
            Some(base) => Some(Self::read(base)?),
            None => None,
        };
        Some((base, Self::read(item.ours?)?, Self::read(item.theirs?)?))
    }

    fn read(item: &Value) -> Option<Self> {
        let (Some(Value::String(md5)), Some(Value::String(hash))) = (item.get("md5"), item.get("hash")) else {
            return None;
        };
        let oid = Oid::parse(md5).ok().filter(|oid| oid.is_dir() && hash == "md5")?;
        let size = match item.get("size") {
            Some(Value::Int(size)) => u64::try_from(*size).ok(),
            _ => None,
        };
        Some(Self { oid, size })
    }
}

struct MergedFolder {
    oid: Oid,
    size: Option<u64>,
    files: u64,
}

/// The inner error is the reason of a conflict.
fn merge_folders(
    (base, ours, theirs): (Option<Folder>, Folder, Folder),
    folders: &mut dyn Folders,
) -> Result<Result<MergedFolder, String>, Error> {
    let mut manifests = Vec::with_capacity(3);
    for folder in [base.as_ref(), Some(&ours), Some(&theirs)] {
        let Some(folder) = folder else {
            manifests.push(Manifest::default());
            continue;
        };
        match folders.manifest(&folder.oid)? {
            Ok(manifest) => manifests.push(manifest),
            Err(problem) => {
                let (oid, fetch) = (&folder.oid, "fetch it with `towpath fetch` and merge again");
                return Ok(Err(format!("was changed on both sides, and the file list {oid} {problem}: {fetch}")));
            }
        }
    }
    let [base_files, our_files, their_files] = [&manifests[0], &manifests[1], &manifests[2]];
    let merged = match merge_manifests(base_files, our_files, their_files) {
        Ok(merged) => merged,
        Err(conflicts) => return Ok(Err(named(&conflicts))),
    };
    let size = merged_size(base.map_or(Some(0), |base| base.size), &ours, &theirs, || {
        changed_alike(base_files, our_files, their_files)
            .into_iter()
            .map(|(before, after)| {
                let size = |oid: Option<&Oid>, folders: &mut dyn Folders| oid.map_or(Some(0), |oid| folders.size(oid));
                Some((size(before, folders)?, size(after, folders)?))
            })
            .collect()
    });
    folders.keep(&merged)?;
    Ok(Ok(MergedFolder { oid: merged.oid(), size, files: merged.entries().len() as u64 }))
}

/// What both sides added to the base; what they changed alike is in both sums and counts once. Nothing
/// when a size is not known: DVC takes a folder without one.
fn merged_size(
    base: Option<u64>,
    ours: &Folder,
    theirs: &Folder,
    alike: impl FnOnce() -> Option<Vec<(u64, u64)>>,
) -> Option<u64> {
    let wide = |size: u64| i128::from(size);
    let both = wide(ours.size?) + wide(theirs.size?) - wide(base?);
    let twice: i128 = alike()?.into_iter().map(|(before, after)| wide(after) - wide(before)).sum();
    u64::try_from(both - twice).ok()
}

fn named(conflicts: &[PathConflict]) -> String {
    let mut paths: Vec<String> = conflicts.iter().take(SHOWN_PATHS).map(|c| format!("'{}'", c.path())).collect();
    if conflicts.len() > SHOWN_PATHS {
        paths.push(format!("{} more", conflicts.len() - SHOWN_PATHS));
    }
    let what = if conflicts.iter().any(|c| matches!(c, PathConflict::FileAndFolder(_))) {
        "has files that are folders on the other side or were changed on both"
    } else {
        "has files that were changed on both sides"
    };
    format!("{what} ({}): keep one version, then add the other side's files to it", paths.join(", "))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::super::manifest::tests::folder;
    use super::super::{Merged, Sides, merge};
    use super::*;

    /// For files without folders.
    pub(crate) struct NoFolders;

    impl Folders for NoFolders {
        fn manifest(&mut self, _: &Oid) -> Result<Result<Manifest, String>, Error> {
            Ok(Err("is not there".into()))
        }

        fn size(&mut self, _: &Oid) -> Option<u64> {
            None
        }

        fn keep(&mut self, _: &Manifest) -> Result<(), Error> {
            Ok(())
        }
    }

    /// Every file has 10 bytes.
    #[derive(Default)]
    struct InMemory(HashMap<Oid, Manifest>);

    impl InMemory {
        fn pointer(&mut self, files: &[(&str, char)]) -> String {
            let manifest = folder(files);
            let size = 10 * files.len();
            let text = format!(
                "outs:\n- md5: {}\n  size: {size}\n  nfiles: {}\n  hash: md5\n  path: data\n",
                manifest.oid(),
                files.len()
            );
            self.0.insert(manifest.oid(), manifest);
            text
        }
    }

    impl Folders for InMemory {
        fn manifest(&mut self, oid: &Oid) -> Result<Result<Manifest, String>, Error> {
            Ok(self.0.get(oid).cloned().ok_or_else(|| "is not there".to_owned()))
        }

        fn size(&mut self, _: &Oid) -> Option<u64> {
            Some(10)
        }

        fn keep(&mut self, manifest: &Manifest) -> Result<(), Error> {
            self.0.insert(manifest.oid(), manifest.clone());
            Ok(())
        }
    }

    fn merged(base: &str, ours: &str, theirs: &str, folders: &mut dyn Folders) -> Merged {
        merge(Sides { file: "data.dvc", base, ours, theirs, marker_size: 7 }, folders).unwrap()
    }

    #[test]
    fn two_people_add_to_one_folder() {
        let mut folders = InMemory::default();
        let base = folders.pointer(&[("a", '1')]);
        let ours = folders.pointer(&[("a", '1'), ("ours", '2'), ("alike", '5')]);
        let theirs = folders.pointer(&[("a", '1'), ("theirs", '3'), ("alike", '5')]);
        let expected = folders.pointer(&[("a", '1'), ("alike", '5'), ("ours", '2'), ("theirs", '3')]);
        let with_comment = format!("# our data\n{ours}meta: {{owner: us}}\n");
        let result = merged(&base, &with_comment, &theirs, &mut folders);
        assert_eq!(
            result,
            Merged { text: format!("# our data\n{expected}meta: {{owner: us}}\n"), conflicts: Vec::new() }
        );
        // Both tracked the folder for the first time.
        assert_eq!(merged("", &ours, &theirs, &mut folders).text, expected);
    }

    #[test]
    fn a_file_of_a_folder_that_both_changed_is_named() {
        let mut folders = InMemory::default();
        let base = folders.pointer(&[("a", '1')]);
        let (ours, theirs) = (folders.pointer(&[("a", '2')]), folders.pointer(&[("a", '3'), ("b", '1')]));
        let result = merged(&base, &ours, &theirs, &mut folders);
        assert_eq!(
            result.conflicts,
            [
                "data.dvc: 'data' has files that were changed on both sides ('a'): keep one version, then add the other side's files to it"
            ]
        );
        assert!(result.text.contains("<<<<<<< ours\n- md5: "), "{}", result.text);
        assert!(result.text.ends_with(">>>>>>> theirs\n  hash: md5\n  path: data\n"), "{}", result.text);
    }

    #[test]
    fn a_manifest_that_cannot_be_had_is_a_conflict() {
        let mut folders = InMemory::default();
        let base = folders.pointer(&[("a", '1')]);
        let (ours, theirs) = (folders.pointer(&[("b", '1')]), folders.pointer(&[("c", '1')]));
        let result = merged(&base, &ours, &theirs, &mut NoFolders);
        assert!(result.conflicts[0].contains("is not there: fetch it with `towpath fetch`"), "{:?}", result.conflicts);
    }

    #[test]
    fn a_file_that_both_changed_is_a_conflict_and_other_keys_are_merged() {
        let text = |digit: char, desc: &str| {
            format!("{desc}outs:\n- md5: {}\n  size: 1\n  hash: md5\n  path: a\n", format!("a{digit}").repeat(16))
        };
        let result = merged(&text('1', ""), &text('2', ""), &text('3', "desc: theirs\n"), &mut NoFolders);
        assert_eq!(result.conflicts, ["data.dvc: 'a' was changed on both sides: keep one of the versions"]);
        assert!(result.text.contains("desc: theirs"), "{}", result.text);
        let result = merged(&text('1', ""), &text('2', ""), &text('1', "desc: theirs\n"), &mut NoFolders);
        assert!(result.conflicts.is_empty());
        assert_eq!(result.text, text('2', "") + "desc: theirs\n");
    }

    #[test]
    fn outputs_are_added_and_removed_on_both_sides() {
        let outs = |paths: &[&str]| {
            let out = |path: &&str| format!("- md5: {}\n  hash: md5\n  path: {path}\n", "a".repeat(32));
            format!("outs:\n{}", paths.iter().map(out).collect::<String>())
        };
        let result = merged(&outs(&["a", "b"]), &outs(&["b", "c"]), &outs(&["a", "b", "d"]), &mut NoFolders);
        assert_eq!(result, Merged { text: outs(&["b", "c", "d"]), conflicts: Vec::new() });
        let result = merged(&outs(&["a", "b", "c"]), &outs(&["a", "b", "c", "d"]), &outs(&["c"]), &mut NoFolders);
        assert_eq!(result.text, outs(&["c", "d"]));
    }
}
