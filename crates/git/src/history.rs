//! Commits and the files in them.

use towpath_core::Timestamp;

use crate::id::{checked_path, checked_reference};
use crate::{CommitId, Error, Repository};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitInfo {
    pub id: CommitId,
    /// The first line of the message.
    pub subject: String,
    pub author: String,
    pub email: String,
    pub authored_at: Timestamp,
    pub parents: Vec<CommitId>,
}

pub(crate) const FORMAT: &str = "--format=%H%x1f%P%x1f%at%x1f%an%x1f%ae%x1f%s";

impl Repository {
    pub fn commit(&self, id: &CommitId) -> Result<CommitInfo, Error> {
        let output = self
            .git("log")
            .args(["--no-walk", "--max-count=1", FORMAT, "--end-of-options", id.as_str(), "--"])
            .run()?;
        match output.code {
            Some(0) => parse(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n')),
            _ => Err(Error::NoSuchCommit(id.to_string())),
        }
    }

    /// Newest first, at most `limit`: the history of `to`, without that of `from`.
    pub fn log(&self, from: Option<&CommitId>, to: &CommitId, limit: usize) -> Result<Vec<CommitInfo>, Error> {
        let mut git = self.git("log").arg(FORMAT).arg(format!("--max-count={limit}")).arg(to.as_str());
        if let Some(from) = from {
            git = git.arg(format!("^{from}"));
        }
        git.arg("--").text()?.lines().map(parse).collect()
    }

    /// The newest commit of the history of `until`, without that of `since`, that touched one of the files.
    pub fn last_change(
        &self,
        since: Option<&CommitId>,
        until: &CommitId,
        files: &[String],
    ) -> Result<Option<CommitInfo>, Error> {
        let mut git = self.git("log").args([FORMAT, "--max-count=1", until.as_str()]);
        if let Some(since) = since {
            git = git.arg(format!("^{since}"));
        }
        // As they are written: `*` and `:` of a name are no pattern.
        git = git.arg("--").args(files.iter().map(|file| format!(":(literal,top){file}")));
        git.text()?.lines().next().map(parse).transpose()
    }

    /// How many commits the history of `to` has that the one of `from` has not.
    pub fn count_between(&self, from: &CommitId, to: &CommitId) -> Result<u64, Error> {
        let text = self.git("rev-list").args(["--count", &format!("{from}..{to}"), "--"]).text()?;
        text.parse().map_err(|_| Error::Unexpected { what: "rev-list", answer: text })
    }

    /// A file at a commit; `limit` in bytes.
    pub fn show(&self, commit: &CommitId, path: &str, limit: usize) -> Result<Vec<u8>, Error> {
        self.show_at(commit.as_str(), path, limit)
    }

    /// A file at the commit that a branch, a tag or a full ref name points at.
    pub fn show_at(&self, revision: &str, path: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let object = format!("{}:{}", checked_reference(revision)?, checked_path(path)?);
        let output = self.git("cat-file").args(["blob", &object]).limit(limit).run()?;
        if output.truncated {
            return Err(Error::TooLarge { what: format!("show {path}"), limit });
        }
        match output.code {
            Some(0) => Ok(output.stdout),
            _ => Err(Error::NoSuchFile { path: path.to_owned(), commit: revision.to_owned() }),
        }
    }
}

pub(crate) fn parse(line: &str) -> Result<CommitInfo, Error> {
    let unexpected = || Error::Unexpected { what: "log", answer: line.to_owned() };
    let fields: Vec<&str> = line.splitn(6, '\x1f').collect();
    let [id, parents, seconds, author, email, subject] = fields[..] else { return Err(unexpected()) };
    let seconds: i64 = seconds.parse().map_err(|_| unexpected())?;
    Ok(CommitInfo {
        id: id.parse()?,
        subject: subject.to_owned(),
        author: author.to_owned(),
        email: email.to_owned(),
        authored_at: Timestamp::from_millis(seconds.saturating_mul(1000)),
        parents: parents.split_whitespace().map(str::parse).collect::<Result<_, _>>()?,
    })
}
