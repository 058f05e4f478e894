//! Garbage collection: what no revision, clone or registered model needs leaves a cache or a remote.
//!
//! First [`Needed`] gathers what is needed and by whom, then [`plan`] compares it with what is there.
//! In folders [`trash`] moves the rest aside, from where it can be brought back; from other remotes it
//! is deleted.

pub mod clones;
pub mod trash;

mod needed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use crate::remote::oid_of_key;
use crate::{Error, Oid, Remote};

pub use needed::Needed;

/// An object that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    pub oid: Oid,
    /// In bytes.
    pub size: u64,
}

/// Some objects, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    pub objects: u64,
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, size: u64) {
        self.objects += 1;
        self.bytes += size;
    }
}

impl<'o> FromIterator<&'o Object> for Amount {
    fn from_iter<I: IntoIterator<Item = &'o Object>>(objects: I) -> Self {
        let mut amount = Self::default();
        objects.into_iter().for_each(|object| amount.add(object.size));
        amount
    }
}

/// What a collection would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What nobody needs: manifests first, so that none is left that promises what has gone.
    pub garbage: Vec<Object>,
    /// What stays only because somebody else needs it, by who that is.
    pub kept: BTreeMap<String, Amount>,
}

/// Compares what is there with what is needed.
pub fn plan(present: Vec<Object>, needed: &Needed) -> Plan {
    let mut plan = Plan::default();
    for object in present {
        match needed.by(&object.oid) {
            None => plan.garbage.push(object),
            Some(by) => by.iter().for_each(|by| plan.kept.entry(by.clone()).or_default().add(object.size)),
        }
    }
    plan.garbage.sort_by(|a, b| b.oid.is_dir().cmp(&a.oid.is_dir()).then_with(|| a.oid.cmp(&b.oid)));
    plan
}

/// All objects in a folder that is laid out as a cache, those of DVC 2 too. Other files are left out.
pub fn objects_in(dir: &Path) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    for layout in ["files/md5", ""] {
        let top = dir.join(layout);
        for folder in names_in(&top)?.into_iter().filter(|name| name.len() == 2) {
            for name in names_in(&top.join(&folder))? {
                let key =
                    if layout.is_empty() { format!("{folder}/{name}") } else { format!("{layout}/{folder}/{name}") };
                let Some(oid) = oid_of_key(&key) else { continue };
                match fs::symlink_metadata(dir.join(&key)) {
                    Ok(metadata) if metadata.is_file() => objects.push(Object { oid, size: metadata.len() }),
                    Ok(_) => {}
                    // Another command has removed it since.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(Error::io("read", &dir.join(&key))(error)),
                }
            }
        }
    }
    Ok(objects)
}

/// Names that are UTF-8; none when there is no such folder.
fn names_in(dir: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(Error::io("list", dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("list", dir))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// All objects of a remote that can list.
pub fn objects_on(remote: &dyn Remote) -> Result<Vec<Object>, Error> {
    let mut objects = Vec::new();
    remote.list("", &mut |listed| {
        objects.extend(oid_of_key(&listed.key).map(|oid| Object { oid, size: listed.size }));
        ControlFlow::Continue(())
    })?;
    Ok(objects)
}

/// So many go with one call.
const DELETED_AT_ONCE: usize = 1000;

/// Deletes objects from a remote for good, in their order.
pub fn delete_from(remote: &dyn Remote, objects: &[Object]) -> Result<(), Error> {
    let keys: Vec<String> = objects.iter().map(|object| object.oid.object_path()).collect();
    keys.chunks(DELETED_AT_ONCE).try_for_each(|keys| remote.delete(keys))
}

/// Those of `oids` that a remote has, for `--not-in-remote`.
pub fn present_on(
    remote: &dyn Remote,
    oids: BTreeSet<Oid>,
    progress: &dyn crate::Progress,
) -> Result<BTreeSet<Oid>, Error> {
    let absent = crate::transfer::absent(remote, oids.clone(), progress)?;
    Ok(oids.into_iter().filter(|oid| !absent.contains(oid)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_needs_is_garbage_and_what_others_need_is_kept_in_their_name() {
        let oid = |digit: &str| Oid::parse(&digit.repeat(32)).unwrap();
        let manifest = Oid::parse(&format!("{}.dir", "e".repeat(32))).unwrap();
        let object = |oid: &Oid, size| Object { oid: oid.clone(), size };
        let mut needed = Needed::default();
        needed.add(None, oid("a"));
        needed.add(Some("/other/clone"), oid("a"));
        needed.add(Some("/other/clone"), oid("b"));
        let present = vec![object(&oid("a"), 1), object(&oid("b"), 2), object(&oid("c"), 4), object(&manifest, 8)];
        let plan = plan(present, &needed);
        assert_eq!(plan.garbage, [object(&manifest, 8), object(&oid("c"), 4)]);
        assert_eq!(plan.kept, BTreeMap::from([("/other/clone".to_owned(), Amount { objects: 1, bytes: 2 })]));
        assert_eq!(Amount::from_iter(&plan.garbage), Amount { objects: 2, bytes: 12 });
    }

    #[test]
    fn both_layouts_are_listed_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let rest = "b".repeat(30);
        for path in
            [format!("files/md5/aa/{rest}"), format!("cc/{rest}.dir"), "aa/note".into(), format!("runs/aa/{rest}")]
        {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "xy").unwrap();
        }
        let mut found: Vec<String> =
            objects_in(dir.path()).unwrap().iter().map(|object| object.oid.object_path()).collect();
        found.sort();
        assert_eq!(found, [format!("cc/{rest}.dir"), format!("files/md5/aa/{rest}")]);
        assert_eq!(objects_in(&dir.path().join("none")).unwrap(), []);
    }
}
