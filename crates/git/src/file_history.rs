//! How the content of files changed from commit to commit.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::history::{FORMAT, parse};
use crate::{CommitInfo, Error, WorkTree};

/// A walk over a long history takes a while.
const DEADLINE: Duration = Duration::from_mins(10);

/// Bytes of the list of changes.
const LISTING_LIMIT: usize = 512 << 20;

/// What a commit made of some files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileVersions {
    pub commit: CommitInfo,
    /// By path; `None` when the commit removed the file.
    pub files: Vec<(String, Option<Vec<u8>>)>,
}

impl WorkTree {
    /// The commits that changed a file whose name ends as one of `suffixes`, each after its parents:
    /// in the history of `HEAD`, or of everything that is not an experiment. A merge is compared with
    /// its first parent. Names that are not UTF-8 are left out.
    pub fn file_history(&self, suffixes: &[&str], everything: bool) -> Result<Vec<FileVersions>, Error> {
        if self.head()?.is_none() && !everything {
            return Ok(Vec::new());
        }
        let from: &[&str] = if everything { &["--exclude=refs/exps/*", "--all"] } else { &["HEAD"] };
        let options = ["--topo-order", "--reverse", "--raw", "-z", "--no-abbrev", "--no-renames"];
        let git = self.git("log").args(options).args(["--diff-merges=first-parent", "--root", FORMAT]).args(from);
        let paths = suffixes.iter().map(|suffix| format!(":(top,glob)**/*{suffix}"));
        let listing = git.arg("--").args(paths).limit(LISTING_LIMIT).deadline(DEADLINE).bytes()?;
        let changes = changes_of(&listing)?;
        let ids: BTreeSet<&str> =
            changes.iter().flat_map(|(_, files)| files.iter().filter_map(|f| f.1.as_deref())).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        let mut contents: HashMap<String, Vec<u8>> = HashMap::new();
        self.each_object(&ids, |id, kind, content| {
            if kind == "blob" {
                contents.insert(id.to_owned(), content.to_vec());
            }
            Ok(())
        })?;
        let versions = changes.into_iter().map(|(commit, files)| {
            let files = files.into_iter().map(|(path, id)| (path, id.and_then(|id| contents.get(&id).cloned())));
            FileVersions { commit, files: files.collect() }
        });
        Ok(versions.collect())
    }
}

type Changes = Vec<(CommitInfo, Vec<(String, Option<String>)>)>;

/// Of `git log --raw -z`: a header for each commit, then for each file
/// `:<mode> <mode> <id> <id> <letter>` and its path, everything ended by NUL.
fn changes_of(listing: &[u8]) -> Result<Changes, Error> {
    let mut changes: Changes = Vec::new();
    let mut fields = listing.split(|byte| *byte == 0);
    while let Some(field) = fields.next() {
        let text = String::from_utf8_lossy(field);
        let text = text.trim_start_matches('\n');
        let Some(raw) = text.strip_prefix(':') else {
            if !text.is_empty() {
                changes.push((parse(text)?, Vec::new()));
            }
            continue;
        };
        let path = fields.next().unwrap_or_default();
        let words: Vec<&str> = raw.split(' ').collect();
        let [_, mode, _, id, _] = words[..] else {
            return Err(Error::Unexpected { what: "log --raw", answer: text.to_owned() });
        };
        if let (Ok(path), Some((_, files))) = (std::str::from_utf8(path), changes.last_mut()) {
            // Symbolic links and submodules are no files of ours.
            files.push((path.to_owned(), mode.starts_with("100").then(|| id.to_owned())));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_and_their_files_are_told_apart() {
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let head = |id: &str| format!("{id}\x1f\x1f7\x1fAda\x1fada@x\x1fSubject");
        let listing = format!(
            "{}\0\n:000000 100644 {} {b} A\0d/x.dvc\0:100644 000000 {b} {} D\0y.dvc\0{}\0\n:100644 120000 {b} {a} T\0z.dvc\0",
            head(&a),
            "0".repeat(40),
            "0".repeat(40),
            head(&b)
        );
        let changes = changes_of(listing.as_bytes()).unwrap();
        let files: Vec<_> = changes.iter().map(|(commit, files)| (commit.subject.as_str(), files.clone())).collect();
        assert_eq!(
            files,
            [
                ("Subject", vec![("d/x.dvc".to_owned(), Some(b)), ("y.dvc".to_owned(), None)]),
                ("Subject", vec![("z.dvc".to_owned(), None)]),
            ]
        );
        assert!(changes_of(b":100644 x\0y\0").is_err());
    }
}
