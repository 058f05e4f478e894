//! Many commits of a clone at once: those that a scope selects, and files in all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::checked_reference;
use crate::{CommitId, Error, WorkTree};

/// A list of all paths of a large history fits.
const LISTING_LIMIT: usize = 512 << 20;

/// A walk over a long history takes a while.
const DEADLINE: Duration = Duration::from_mins(10);

/// Of a SHA-1.
const ID_BYTES: usize = 20;

/// Objects are read so many at a time.
const BATCH: usize = 2_000;

/// Bytes of one batch.
const BATCH_LIMIT: usize = 256 << 20;

/// Which commits are meant; each choice adds to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The tips of all branches.
    pub branches: bool,
    /// What all tags point at.
    pub tags: bool,
    /// Every commit that a branch, a tag or another ref leads to, experiments left out.
    pub commits: bool,
    /// The experiments of DVC, `refs/exps`.
    pub experiments: bool,
    /// This revision.
    pub revision: Option<String>,
    /// How many commits back from `revision` and from each branch, along the first parents; 1 is the
    /// tip alone, 0 counts as 1.
    pub last: usize,
    /// Every commit of this day or later, `YYYY-MM-DD`.
    pub since: Option<String>,
}

/// The content of a file in one of many commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// One of the names that it has.
    pub name: String,
    pub content: Vec<u8>,
}

impl WorkTree {
    /// The commits that a scope selects.
    ///
    /// # Errors
    /// [`Error::NoSuchCommit`] when its revision is none.
    pub fn select(&self, scope: &Scope) -> Result<BTreeSet<CommitId>, Error> {
        let last = format!("--max-count={}", scope.last.max(1));
        let mut found = BTreeSet::new();
        let mut add = |args: &[&str]| -> Result<(), Error> {
            let text = self.git("rev-list").args(args).limit(LISTING_LIMIT).deadline(DEADLINE).text()?;
            for line in text.lines() {
                found.insert(line.parse()?);
            }
            Ok(())
        };
        if scope.branches && scope.last > 1 {
            let heads = self.git("for-each-ref").args(["--format=%(refname)", "refs/heads"]).text()?;
            for head in heads.lines() {
                add(&["--first-parent", &last, "--end-of-options", checked_reference(head)?, "--"])?;
            }
        } else if scope.branches {
            add(&["--no-walk", "--branches"])?;
        }
        if scope.tags {
            add(&["--no-walk", "--tags"])?;
        }
        if scope.experiments {
            add(&["--no-walk", "--glob=refs/exps/*"])?;
        }
        if let Some(revision) = &scope.revision {
            let commit = self.resolve_expression(revision)?;
            add(&["--first-parent", &last, commit.as_str(), "--"])?;
        }
        let head = self.head()?;
        let head = head.as_ref().map(CommitId::as_str);
        let everything = ["--exclude=refs/exps/*", "--all"];
        if scope.commits {
            add(&everything.into_iter().chain(head).collect::<Vec<_>>())?;
        }
        if let Some(day) = &scope.since {
            if !is_day(day) {
                return Err(Error::InvalidDate(day.clone()));
            }
            let since = format!("--since-as-filter={day} 00:00:00");
            add(&[since.as_str()].into_iter().chain(everything).chain(head).collect::<Vec<_>>())?;
        }
        Ok(found)
    }

    /// The commit that a revision means, `HEAD~2` and the like included.
    pub fn resolve_expression(&self, revision: &str) -> Result<CommitId, Error> {
        let no_such = || Error::NoSuchCommit(revision.to_owned());
        if revision.starts_with('-') || revision.contains(['\0', '\n']) {
            return Err(no_such());
        }
        let commit = format!("{revision}^{{commit}}");
        let output = self.git("rev-parse").args(["--verify", "--quiet", "--end-of-options", &commit]).run()?;
        if output.code != Some(0) {
            return Err(no_such());
        }
        String::from_utf8_lossy(&output.stdout).trim().parse()
    }

    /// The files whose name `wanted` likes, in all of these commits. What many commits have is read
    /// once, whatever its folder.
    pub fn versions(&self, commits: &BTreeSet<CommitId>, wanted: impl Fn(&str) -> bool) -> Result<Vec<Version>, Error> {
        if commits.is_empty() {
            return Ok(Vec::new());
        }
        let ids: String = commits.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        let listing = self
            .git("rev-list")
            .args(["--objects", "--no-walk", "--filter=blob:none", "--stdin"])
            .stdin(ids.into_bytes())
            .limit(LISTING_LIMIT)
            .deadline(DEADLINE)
            .text()?;
        // Behind the id of a tree stands its path, behind that of a commit nothing.
        let trees: Vec<&str> = listing.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        self.each_object(&trees, |_, kind, content| {
            if kind == "tree" {
                for (name, id) in files_of_tree(content)? {
                    if wanted(name) {
                        names.insert(id, name.to_owned());
                    }
                }
            }
            Ok(())
        })?;
        let mut versions = Vec::with_capacity(names.len());
        let ids: Vec<&str> = names.keys().map(String::as_str).collect();
        self.each_object(&ids, |id, kind, content| {
            if kind == "blob" {
                versions.push(Version { name: names[id].clone(), content: content.to_vec() });
            }
            Ok(())
        })?;
        Ok(versions)
    }

    /// Reads objects: their id, kind and content.
    pub(crate) fn each_object(
        &self,
        ids: &[&str],
        mut visit: impl FnMut(&str, &str, &[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for batch in ids.chunks(BATCH) {
            let asked: String = batch.iter().flat_map(|id| [*id, "\n"]).collect();
            let git = self.git("cat-file").arg("--batch").stdin(asked.into_bytes());
            let answer = git.limit(BATCH_LIMIT).deadline(DEADLINE).bytes()?;
            let mut rest = answer.as_slice();
            for id in batch {
                let (kind, content, after) = next_object(rest)?;
                visit(id, kind, content)?;
                rest = after;
            }
        }
        Ok(())
    }
}

/// The files of a tree, `<mode> <name>\0<id>` each; names that are not UTF-8 are left out.
fn files_of_tree(mut tree: &[u8]) -> Result<Vec<(&str, String)>, Error> {
    let unexpected = || Error::Unexpected { what: "cat-file", answer: "a malformed tree".to_owned() };
    let mut files = Vec::new();
    while !tree.is_empty() {
        let end = tree.iter().position(|byte| *byte == 0).ok_or_else(unexpected)?;
        let blank = tree[..end].iter().position(|byte| *byte == b' ').ok_or_else(unexpected)?;
        let id = tree.get(end + 1..end + 1 + ID_BYTES).ok_or_else(unexpected)?;
        if tree.starts_with(b"100")
            && let Ok(name) = std::str::from_utf8(&tree[blank + 1..end])
        {
            files.push((name, hex(id)));
        }
        tree = &tree[end + 1 + ID_BYTES..];
    }
    Ok(files)
}

/// `<id> <kind> <size>\n<content>\n` and what stands behind it.
fn next_object(answer: &[u8]) -> Result<(&str, &[u8], &[u8]), Error> {
    let unexpected = || Error::Unexpected {
        what: "cat-file",
        answer: String::from_utf8_lossy(answer.get(..80).unwrap_or(answer)).into_owned(),
    };
    let end = answer.iter().position(|byte| *byte == b'\n').ok_or_else(unexpected)?;
    let head = std::str::from_utf8(&answer[..end]).map_err(|_| unexpected())?;
    let mut words = head.split(' ').skip(1);
    let (Some(kind), Some(size)) = (words.next(), words.next().and_then(|size| size.parse::<usize>().ok())) else {
        return Err(unexpected());
    };
    let content = answer.get(end + 1..end + 1 + size).ok_or_else(unexpected)?;
    let after = answer.get(end + 2 + size..).ok_or_else(unexpected)?;
    Ok((kind, content, after))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn is_day(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 10
        && bytes
            .iter()
            .enumerate()
            .all(|(i, byte)| if i == 4 || i == 7 { *byte == b'-' } else { byte.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_of_a_batch_are_told_apart() {
        let answer = b"aa blob 3\nx\ny\nbb tree 0\n\n";
        let (kind, content, rest) = next_object(answer).unwrap();
        assert_eq!((kind, content), ("blob", b"x\ny".as_slice()));
        assert_eq!(next_object(rest).unwrap(), ("tree", b"".as_slice(), b"".as_slice()));
        for broken in ["aa missing\n", "aa blob 9\nx\n", "aa blob x\n", ""] {
            assert!(next_object(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn files_of_a_tree_have_names_and_ids() {
        let id = [0xab; ID_BYTES];
        let tree = [b"100644 a.dvc\0".as_slice(), &id, b"40000 d\0", &id, b"120000 link.dvc\0", &id].concat();
        assert_eq!(files_of_tree(&tree).unwrap(), [("a.dvc", "ab".repeat(ID_BYTES))]);
        assert!(files_of_tree(&tree[..20]).is_err());
    }

    #[test]
    fn a_day_is_year_month_and_day() {
        assert!(is_day("2026-01-31"));
        for bad in ["2026-1-31", "yesterday", "2026/01/31", "2026-01-31 "] {
            assert!(!is_day(bad), "{bad}");
        }
    }
}
