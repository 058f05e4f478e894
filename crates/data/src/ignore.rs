//! `.dvcignore`: what hashing leaves out. `.gitignore`: keeping tracked data out of Git.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::{Error, files};

/// What `dvc init` writes.
pub(crate) const DVCIGNORE_TEMPLATE: &str = "\
# Add patterns of files dvc should ignore, which could improve
# the performance. Learn more at
# https://dvc.org/doc/user-guide/dvcignore
";

/// The `.dvcignore` files of a repository: gitignore syntax, the deepest match decides.
#[derive(Debug)]
pub struct DvcIgnore {
    root: PathBuf,
    /// By folder; filled when first asked.
    rules: Mutex<HashMap<PathBuf, Arc<Gitignore>>>,
}

impl DvcIgnore {
    /// Reads the file of the root, which has to be well-formed; those below are read when needed.
    pub fn read(root: &Path) -> Result<Self, Error> {
        let rules = rules_of(root, ".dvcignore")?;
        Ok(Self { root: root.to_owned(), rules: Mutex::new(HashMap::from([(root.to_owned(), Arc::new(rules))])) })
    }

    /// True for a path that DVC does not see. Folders above it are not asked: whoever walks has
    /// done so.
    pub fn excludes(&self, path: &Path, is_dir: bool) -> bool {
        path.parent().is_some_and(|folder| self.above(folder).exclude(path, is_dir))
    }

    /// The rules for what is directly in `folder`.
    pub(crate) fn above(&self, folder: &Path) -> Rules {
        let folders = folder.ancestors().take_while(|folder| folder.starts_with(&self.root));
        Rules(folders.map(|folder| self.rules(folder)).filter(|rules| !rules.is_empty()).collect())
    }

    fn rules(&self, folder: &Path) -> Arc<Gitignore> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = rules.get(folder) {
            return Arc::clone(known);
        }
        let read = Arc::new(rules_of(folder, ".dvcignore").unwrap_or_else(|_| Gitignore::empty()));
        rules.insert(folder.to_owned(), Arc::clone(&read));
        read
    }
}

/// Of one folder and those above it, the deepest first.
pub(crate) struct Rules(Vec<Arc<Gitignore>>);

impl Rules {
    pub(crate) fn exclude(&self, path: &Path, is_dir: bool) -> bool {
        if is_dir && path.file_name().is_some_and(|name| name == ".git" || name == ".hg" || name == ".dvc") {
            return true;
        }
        // A repository inside this one looks after its own data.
        if is_dir && path.join(".dvc").is_dir() {
            return true;
        }
        let decided = self.0.iter().map(|rules| rules.matched(path, is_dir)).find(|found| !found.is_none());
        decided.is_some_and(|found| found.is_ignore())
    }
}

fn rules_of(folder: &Path, name: &str) -> Result<Gitignore, Error> {
    let file = folder.join(name);
    let Some(text) = files::read_text(&file)? else { return Ok(Gitignore::empty()) };
    let mut builder = GitignoreBuilder::new(folder);
    for (i, line) in text.lines().enumerate() {
        let added = builder.add_line(None, &without_alternatives(line));
        // Git passes over what it does not understand.
        if name != ".gitignore" {
            added.map_err(|e| Error::Config { path: file.clone(), line: i + 1, problem: e.to_string() })?;
        }
    }
    builder.build().map_err(|e| Error::Config { path: file, line: 1, problem: e.to_string() })
}

/// A pattern whose braces stand for themselves, as for Git; for our matcher `{a,b}` is a choice.
fn without_alternatives(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let (mut escaped, mut in_class) = (false, false);
    for c in line.chars() {
        if matches!(c, '{' | '}') && !escaped && !in_class {
            plain.push('\\');
        }
        in_class = if escaped { in_class } else { c == '[' || in_class && c != ']' };
        escaped = c == '\\' && !escaped;
        plain.push(c);
    }
    plain
}

/// Appends `/<name>` to the `.gitignore` beside `path` unless Git ignores it already. Returns the
/// `.gitignore` that was changed.
pub fn keep_out_of_git(root: &Path, path: &Path, is_dir: bool) -> Result<Option<PathBuf>, Error> {
    if is_ignored_by_git(root, path, is_dir)? {
        return Ok(None);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(Error::UnusablePath { path: path.to_owned(), problem: "it has no UTF-8 name".to_owned() });
    };
    let gitignore = folder.join(".gitignore");
    let before = files::read_text(&gitignore)?.unwrap_or_default();
    let line_end = if before.is_empty() || before.ends_with('\n') { "" } else { "\n" };
    let mut file =
        OpenOptions::new().create(true).append(true).open(&gitignore).map_err(Error::io("write", &gitignore))?;
    let line = format!("{line_end}/{}\n", escape(name));
    file.write_all(line.as_bytes()).map_err(Error::io("write", &gitignore))?;
    Ok(Some(gitignore))
}

/// Removes the line of `path` from the `.gitignore` beside it, and with its last line the file.
/// Returns the `.gitignore` if it changed.
pub fn let_into_git(path: &Path) -> Result<Option<PathBuf>, Error> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Ok(None);
    };
    let gitignore = folder.join(".gitignore");
    let Some(before) = files::read_text(&gitignore)? else { return Ok(None) };
    let own = format!("/{}", escape(name));
    let kept: String = before.split_inclusive('\n').filter(|line| line.trim() != own).collect();
    if kept == before {
        return Ok(None);
    }
    if kept.is_empty() {
        std::fs::remove_file(&gitignore).map_err(Error::io("remove", &gitignore))?;
    } else {
        files::write_atomically(&gitignore, kept.as_bytes())?;
    }
    Ok(Some(gitignore))
}

/// A line of a `.dvcignore` that a path matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedPattern {
    /// Relative to the root.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    pub pattern: String,
}

/// The lines of `.dvcignore` files that match a path below `root`, the deciding one last: it excludes
/// the path unless it begins with `!`.
pub fn matching_patterns(root: &Path, path: &Path) -> Result<Vec<MatchedPattern>, Error> {
    let is_dir = path.is_dir();
    let mut folders: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)).collect();
    folders.reverse();
    let mut matched = Vec::new();
    for folder in folders {
        let file = folder.join(".dvcignore");
        for (i, pattern) in files::read_text(&file)?.unwrap_or_default().lines().enumerate() {
            let broken = |e: ignore::Error| Error::Config { path: file.clone(), line: i + 1, problem: e.to_string() };
            let mut builder = GitignoreBuilder::new(folder);
            builder.add_line(None, pattern).map_err(broken)?;
            let rule = builder.build().map_err(broken)?;
            if !rule.matched_path_or_any_parents(path, is_dir).is_none() {
                let file = file.strip_prefix(root).unwrap_or(&file).to_owned();
                matched.push(MatchedPattern { file, line: i + 1, pattern: pattern.to_owned() });
            }
        }
    }
    Ok(matched)
}

fn is_ignored_by_git(root: &Path, path: &Path, is_dir: bool) -> Result<bool, Error> {
    for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
        match rules_of(folder, ".gitignore")?.matched_path_or_any_parents(path, is_dir) {
            Match::None => {}
            Match::Ignore(_) => return Ok(true),
            Match::Whitelist(_) => return Ok(false),
        }
    }
    Ok(false)
}

/// As `GitWildMatchPattern.escape` of pathspec 1.
fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        if r"\[]!*#?".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn braces_stand_for_themselves_as_in_git() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".gitignore"), "/{{_\n/{a,b}\n/[{x]\n/\\{c\n[unclosed\n").unwrap();
        let rules = rules_of(dir.path(), ".gitignore").unwrap();
        let ignored = |name: &str| rules.matched(dir.path().join(name), false).is_ignore();
        assert!(["{{_", "{a,b}", "{", "x", "{c"].into_iter().all(ignored));
        assert!(!["a", "b", "c", "\\"].into_iter().any(ignored));
    }

    #[test]
    fn a_tracked_path_gets_one_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".gitignore"), "*.log").unwrap();
        let path = dir.path().join("we[ird]!");
        assert!(keep_out_of_git(dir.path(), &path, false).unwrap().is_some());
        assert_eq!(keep_out_of_git(dir.path(), &path, false).unwrap(), None);
        assert_eq!(keep_out_of_git(dir.path(), &dir.path().join("x.log"), false).unwrap(), None);
        assert_eq!(fs::read_to_string(dir.path().join(".gitignore")).unwrap(), "*.log\n/we\\[ird\\]\\!\n");
    }

    #[test]
    fn a_path_that_is_tracked_no_more_loses_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let gitignore = dir.path().join(".gitignore");
        fs::write(&gitignore, "*.log\n/a\n").unwrap();
        assert_eq!(let_into_git(&dir.path().join("b")).unwrap(), None);
        assert_eq!(let_into_git(&dir.path().join("a")).unwrap(), Some(gitignore.clone()));
        assert_eq!(fs::read_to_string(&gitignore).unwrap(), "*.log\n");
        fs::write(&gitignore, "/a").unwrap();
        let_into_git(&dir.path().join("a")).unwrap();
        assert!(!gitignore.exists());
    }

    #[test]
    fn the_lines_that_match_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("t/u")).unwrap();
        fs::write(dir.path().join(".dvcignore"), "*.tmp\n!keep.tmp\n/t/u/\n").unwrap();
        fs::write(dir.path().join("t/.dvcignore"), "x*\n").unwrap();
        let matching = |path: &str| {
            let found = matching_patterns(dir.path(), &dir.path().join(path)).unwrap();
            found.iter().map(|m| format!("{}:{}:{}", m.file.display(), m.line, m.pattern)).collect::<Vec<_>>()
        };
        assert_eq!(matching("keep.tmp"), [".dvcignore:1:*.tmp", ".dvcignore:2:!keep.tmp"]);
        assert_eq!(matching("t/u/z"), [".dvcignore:3:/t/u/"]);
        assert_eq!(matching("t/x1"), ["t/.dvcignore:1:x*"]);
        assert!(matching("b").is_empty());
    }

    #[test]
    fn the_deepest_dvcignore_decides() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join(".dvcignore"), "*.tmp\n/cachedir/\n").unwrap();
        fs::write(dir.path().join("a/.dvcignore"), "!keep.tmp\n").unwrap();
        let ignore = DvcIgnore::read(dir.path()).unwrap();
        assert!(ignore.excludes(&dir.path().join("a/x.tmp"), false));
        assert!(!ignore.excludes(&dir.path().join("a/keep.tmp"), false));
        assert!(ignore.excludes(&dir.path().join("cachedir"), true));
        assert!(ignore.excludes(&dir.path().join("a/.git"), true));
    }
}
