//! DVC's run cache on a remote: `runs/<k[:2]>/<k>/<v>`, small files of YAML.

use std::collections::HashSet;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;

use towpath_core::Digest;
use walkdir::WalkDir;

use super::Transferred;
use super::lanes::Lanes;
use crate::progress::Work;
use crate::remote::{Listing, Wanted};
use crate::{Cache, Error, Progress, Remote, files};

/// A larger entry is none: it is one stage's entry of `dvc.lock`.
const MOST_BYTES: u64 = 16 << 20;

/// Uploads the entries that the remote lacks; nothing to a remote that cannot list, as DVC does.
pub fn push_run_cache(cache: &Cache, remote: &dyn Remote, progress: &dyn Progress) -> Result<Transferred, Error> {
    if remote.listing() == Listing::Never {
        return Ok(Transferred::default());
    }
    let mut keys = local_keys(cache)?;
    let there: HashSet<String> = remote_keys(remote, progress)?.into_iter().collect();
    keys.retain(|key| !there.contains(key));
    let lanes = Lanes { most: remote.jobs(), work: Work::Pushing, progress };
    let sizes = lanes.each(&keys, |key| {
        let bytes = remote.upload(key, &cache.dir().join(key))?.size.unwrap_or(0);
        Ok((bytes, bytes))
    })?;
    Ok(sizes.into_iter().collect())
}

/// Downloads the entries that the cache lacks.
pub fn pull_run_cache(cache: &Cache, remote: &dyn Remote, progress: &dyn Progress) -> Result<Transferred, Error> {
    if remote.listing() == Listing::Never {
        return Ok(Transferred::default());
    }
    let here: HashSet<String> = local_keys(cache)?.into_iter().collect();
    let keys: Vec<String> = remote_keys(remote, progress)?.into_iter().filter(|key| !here.contains(key)).collect();
    let lanes = Lanes { most: remote.jobs(), work: Work::Pulling, progress };
    let sizes = lanes.each(&keys, |key| {
        // Whoever removed it since the listing is right.
        let Some(download) = remote.download(&Wanted::whole(key))? else { return Ok((0, 0)) };
        let url = || format!("{}/{key}", remote.url());
        let mut text = String::new();
        let read = download.body.take(MOST_BYTES + 1).read_to_string(&mut text);
        read.map_err(|error| Error::RemoteUnreachable { url: url(), problem: error.to_string() })?;
        if text.len() as u64 > MOST_BYTES || download.size.is_some_and(|size| size != text.len() as u64) {
            return Err(Error::RemoteUnreachable {
                url: url(),
                problem: "it has another length than announced".into(),
            });
        }
        files::write_unsynced(&cache.dir().join(key), text.as_bytes())?;
        Ok((text.len() as u64, text.len() as u64))
    })?;
    Ok(sizes.into_iter().filter(|size| *size > 0).collect())
}

fn local_keys(cache: &Cache) -> Result<Vec<String>, Error> {
    let top = cache.dir().join("runs");
    let mut keys = Vec::new();
    if !top.is_dir() {
        return Ok(keys);
    }
    for entry in WalkDir::new(&top).min_depth(3).max_depth(3) {
        let entry = entry.map_err(|error| Error::Io { action: "list", path: top.clone(), source: error.into() })?;
        let key = entry.path().strip_prefix(cache.dir()).ok().and_then(Path::to_str);
        keys.extend(key.filter(|key| is_entry(key)).map(str::to_owned));
    }
    Ok(keys)
}

fn remote_keys(remote: &dyn Remote, progress: &dyn Progress) -> Result<Vec<String>, Error> {
    let lanes = Lanes { most: 1, work: Work::Querying, progress };
    let keys = lanes.each(&[()], |()| {
        let mut keys = Vec::new();
        remote.list("runs/", &mut |listed| {
            if is_entry(&listed.key) {
                keys.push(listed.key);
            }
            ControlFlow::Continue(())
        })?;
        Ok((keys, 0))
    })?;
    Ok(keys.into_iter().flatten().collect())
}

/// True for `runs/<k[:2]>/<k>/<v>` and nothing else, so that it is safe as a path.
fn is_entry(key: &str) -> bool {
    let parts: Vec<&str> = key.split('/').collect();
    let is_digest = |text: &str| text.parse::<Digest>().is_ok();
    matches!(parts[..], ["runs", first, key, value] if is_digest(key) && is_digest(value) && key.starts_with(first) && first.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::LocalRemote;
    use crate::{RunCache, Silent};

    #[test]
    fn entries_travel_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let remote = LocalRemote::open(&dir.path().join("store"), None);
        let (ours, theirs) = (Cache::open(&dir.path().join("ours")), Cache::open(&dir.path().join("theirs")));
        let (key, value) = (Digest::of(b"k"), Digest::of(b"v"));
        RunCache::open(&ours).save(&key, &value, "cmd: x\n").unwrap();
        std::fs::write(ours.dir().join("runs/stray"), "x").unwrap();
        assert_eq!(push_run_cache(&ours, &remote, &Silent).unwrap(), Transferred { objects: 1, bytes: 7 });
        assert_eq!(push_run_cache(&ours, &remote, &Silent).unwrap().objects, 0);
        std::fs::create_dir_all(dir.path().join("store/runs/..x/y")).unwrap();
        std::fs::write(dir.path().join("store/runs/..x/y/z"), "x").unwrap();
        assert_eq!(pull_run_cache(&theirs, &remote, &Silent).unwrap().objects, 1);
        assert_eq!(RunCache::open(&theirs).latest(&key).unwrap().unwrap().text, "cmd: x\n");
        assert_eq!(pull_run_cache(&theirs, &remote, &Silent).unwrap().objects, 0);
    }
}
