//! Projects: one Git repository each, and what of their branches has been acted on.

use std::collections::BTreeMap;

use serde_json::json;
use towpath_core::ledger::{self as words, Entry};
use towpath_core::names::is_valid_name;
use towpath_core::{Actor, Timestamp};
use towpath_store::{Row, Tx, ledger};

use crate::Error;

#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    pub name: String,
    pub created_at: Timestamp,
    pub created_by: String,
}

impl Project {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self { name: row.text("name")?, created_at: row.time("created_at")?, created_by: row.text("created_by")? })
    }
}

/// The project, made when it is not there: the first push does this.
pub fn ensure(tx: &mut Tx<'_>, now: Timestamp, name: &str, by: &Actor) -> Result<Project, Error> {
    if let Some(project) = get(tx, name)? {
        return Ok(project);
    }
    if !is_valid_name(name) {
        return Err(Error::ProjectName(name.to_owned()));
    }
    tx.run("insert into projects (name, created_at, created_by) values ($1, $2, $3)", &[&name, &now, by])?;
    ledger::append(tx, Entry::new("project.created", by, now).about(words::project(name)))?;
    tx.notify(&[json!("projects")]);
    Ok(Project { name: name.to_owned(), created_at: now, created_by: by.0.clone() })
}

pub fn get(tx: &mut Tx<'_>, name: &str) -> Result<Option<Project>, Error> {
    tx.opt("select * from projects where name = $1", &[&name])?.as_ref().map(Project::from_row).transpose()
}

pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Project>, Error> {
    tx.list("select * from projects order by name limit 1000", &[], Project::from_row)
}

/// The commit of a branch that was last acted on.
pub fn seen_head(tx: &mut Tx<'_>, project: &str, branch: &str) -> Result<Option<String>, Error> {
    let row = tx.opt("select commit_id from branches where project = $1 and branch = $2", &[&project, &branch])?;
    Ok(row.map(|r| r.text("commit_id")).transpose()?)
}

/// The same of all whose name begins so.
pub(crate) fn seen_heads_below(
    tx: &mut Tx<'_>,
    project: &str,
    prefix: &str,
) -> Result<BTreeMap<String, String>, Error> {
    let rows = tx.all(
        "select branch, commit_id from branches where project = $1 and branch >= $2 order by branch",
        &[&project, &prefix],
    )?;
    let mut seen = BTreeMap::new();
    for row in &rows {
        let branch = row.text("branch")?;
        if !branch.starts_with(prefix) {
            break;
        }
        seen.insert(branch, row.text("commit_id")?);
    }
    Ok(seen)
}

/// Records that `commit` of the branch has been acted on.
pub fn saw_head(
    tx: &mut Tx<'_>,
    now: Timestamp,
    project: &str,
    branch: &str,
    commit: &str,
    by: &Actor,
) -> Result<(), Error> {
    tx.run(
        "insert into branches (project, branch, commit_id, pushed_by, at) values ($1, $2, $3, $4, $5) \
         on conflict (project, branch) do update set commit_id = $3, pushed_by = $4, at = $5",
        &[&project, &branch, &commit, by, &now],
    )?;
    Ok(())
}

/// The commit that each tag named when it was acted on.
pub(crate) fn seen_tags(tx: &mut Tx<'_>, project: &str) -> Result<BTreeMap<String, String>, Error> {
    let rows = tx.all("select tag, commit_id from tags where project = $1", &[&project])?;
    rows.iter().map(|row| Ok((row.text("tag")?, row.text("commit_id")?))).collect()
}

pub(crate) fn saw_tag(tx: &mut Tx<'_>, now: Timestamp, project: &str, tag: &str, commit: &str) -> Result<(), Error> {
    tx.run(
        "insert into tags (project, tag, commit_id, at) values ($1, $2, $3, $4) \
         on conflict (project, tag) do update set commit_id = $3, at = $4",
        &[&project, &tag, &commit, &now],
    )?;
    Ok(())
}
