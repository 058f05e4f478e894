//! `cache.type` and `cache.shared`: what is a link to what, and which modes it has.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::TempDir;
use towpath_core::Content;
use towpath_data::links::LinkType;
use towpath_data::{Cache, Oid, Silent, Workspace};

/// A workspace with the folder `data`, and a cache beside it.
struct Place {
    dir: TempDir,
    workspace: Workspace,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("work/data/sub")).unwrap();
        fs::write(dir.path().join("work/data/a"), "a").unwrap();
        fs::write(dir.path().join("work/data/sub/b"), vec![b'b'; 1 << 20]).unwrap();
        fs::write(dir.path().join("work/data/empty"), "").unwrap();
        let workspace = Workspace::open(&dir.path().join("work"), None).unwrap();
        Self { dir, workspace }
    }

    fn cache(&self, links: &[LinkType]) -> Cache {
        Cache::open(&self.dir.path().join("cache")).with_links(links.to_vec())
    }

    fn add(&self, cache: &Cache) -> Content {
        cache.add_path(&self.workspace, Path::new("data")).unwrap()
    }

    /// Links and mode of a file of the workspace, symbolic links not followed.
    fn links_and_mode(&self, path: &str) -> (u64, u32) {
        let metadata = fs::symlink_metadata(self.workspace.root().join(path)).unwrap();
        (metadata.nlink(), metadata.permissions().mode() & 0o777)
    }
}

#[test]
fn with_hard_links_a_file_that_is_added_becomes_the_object() {
    let place = Place::new();
    let cache = place.cache(&[LinkType::Hardlink]);
    let inode = |path: &str| fs::metadata(place.workspace.root().join(path)).unwrap().ino();
    let before = inode("data/sub/b");
    let content = place.add(&cache);
    assert_eq!(inode("data/sub/b"), before, "nothing was copied");
    for file in ["data/a", "data/sub/b"] {
        assert_eq!(place.links_and_mode(file), (2, 0o444), "{file}");
    }
    assert_eq!(place.links_and_mode("data/empty").0, 1);
    assert_eq!(place.workspace.hash(Path::new("data")).unwrap().unwrap().content, content);
    assert_eq!(place.add(&cache), content);
}

#[test]
fn a_second_file_with_the_same_content_becomes_a_link_to_the_object() {
    let place = Place::new();
    fs::write(place.workspace.root().join("data/same"), "a").unwrap();
    place.add(&place.cache(&[LinkType::Hardlink]));
    assert_eq!(place.links_and_mode("data/a"), (3, 0o444));
    assert_eq!(place.links_and_mode("data/same"), (3, 0o444));
}

#[test]
fn relinking_follows_the_setting_and_checkout_alone_does_not() {
    let place = Place::new();
    let content = place.add(&place.cache(&[LinkType::Copy]));
    let linking = place.cache(&[LinkType::Hardlink]);
    let data = Path::new("data");
    assert!(!linking.checkout(&place.workspace, &content, data).unwrap());
    assert_eq!(place.links_and_mode("data/a").0, 1);
    assert!(linking.relink(&place.workspace, &content, data, &Silent).unwrap());
    assert_eq!(place.links_and_mode("data/a"), (2, 0o444));
    assert!(!linking.relink(&place.workspace, &content, data, &Silent).unwrap());

    let symbolic = place.cache(&[LinkType::Symlink]);
    assert!(symbolic.relink(&place.workspace, &content, data, &Silent).unwrap());
    let object = symbolic.path(&Oid::parse("0cc175b9c0f1b6a831c399e269772661").unwrap());
    assert_eq!(fs::read_link(place.workspace.root().join("data/a")).unwrap(), object);

    assert!(place.cache(&[LinkType::Copy]).relink(&place.workspace, &content, data, &Silent).unwrap());
    assert_eq!(place.links_and_mode("data/a"), (1, 0o644));
}

#[test]
fn unprotected_files_can_be_changed_without_touching_the_objects() {
    for kind in [LinkType::Hardlink, LinkType::Symlink] {
        let place = Place::new();
        let cache = place.cache(&[kind]);
        let content = place.add(&cache);
        cache.unprotect(&place.workspace, Path::new("data")).unwrap();
        for file in ["data/a", "data/sub/b"] {
            assert_eq!(place.links_and_mode(file), (1, 0o644), "{kind:?} {file}");
        }
        fs::write(place.workspace.root().join("data/a"), "changed").unwrap();
        assert!(cache.missing(&content).unwrap().is_empty());
        let object = cache.path(&Oid::parse("0cc175b9c0f1b6a831c399e269772661").unwrap());
        assert_eq!(fs::read_to_string(object).unwrap(), "a");
    }
}

#[test]
fn the_group_may_write_to_the_folders_of_a_shared_cache() {
    let place = Place::new();
    let cache = place.cache(&[LinkType::Copy]).with_shared(true);
    place.add(&cache);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let object = cache.path(&Oid::parse("0cc175b9c0f1b6a831c399e269772661").unwrap());
    assert_eq!(mode(&object), 0o444);
    for folder in object.ancestors().skip(1).take(4) {
        assert_eq!(mode(folder), 0o2775, "{}", folder.display());
    }
}

#[test]
fn an_object_that_is_not_trusted_yet_is_hashed_before_it_is_checked_out() {
    let place = Place::new();
    let cache = place.cache(&[LinkType::Copy]);
    let content = place.add(&cache);
    let object = cache.path(&Oid::parse("0cc175b9c0f1b6a831c399e269772661").unwrap());
    // As a power loss in the middle of an add leaves it.
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "").unwrap();
    fs::remove_dir_all(place.workspace.root().join("data")).unwrap();
    let error = cache.checkout(&place.workspace, &content, Path::new("data")).unwrap_err().to_string();
    assert!(error.contains("0cc175b9c0f1b6a831c399e269772661"), "{error}");
    assert!(!place.workspace.root().join("data").exists());
}
