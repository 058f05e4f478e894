//! `/projects`.

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use towpath_api::projects::{Commit, Project};
use towpath_core::Kind;
use towpath_git::Repository;
use towpath_runs::projects::{self, Project as Row};
use towpath_runs::{Error, rows};

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

pub(super) fn router() -> Router<App> {
    Router::new().route("/projects", get(list)).route("/projects/{project}", get(show))
}

async fn list(State(app): State<App>, _: Caller) -> Result<Json<Vec<Project>>, ApiError> {
    let rows = app.store.read(projects::list).await?;
    let mut shown = Vec::with_capacity(rows.len());
    for row in rows {
        shown.push(view(&app, row).await?);
    }
    Ok(Json(shown))
}

async fn show(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Json<Project>, ApiError> {
    let row = app.store.read(move |tx| projects::get(tx, &name)?.ok_or_else(|| Error::NoProject(name.clone()))).await?;
    Ok(Json(view(&app, row).await?))
}

/// The project with its default branch and that branch's head.
async fn view(app: &App, row: Row) -> Result<Project, ApiError> {
    let path = app.paths.repository(&row.name);
    let (branch, head) = tokio::task::spawn_blocking(move || head(&path))
        .await
        .map_err(|e| ApiError::new(Kind::Internal, e.to_string()))?;
    let name = row.name.clone();
    let runs = app.store.read(move |tx| rows::list(tx, &name, None, 1)).await?.1;
    Ok(Project {
        git_url: format!("{}/git/{}.git", app.url, row.name),
        name: row.name,
        created_at: row.created_at,
        default_branch: branch,
        head,
        runs,
    })
}

/// An empty repository has neither.
fn head(path: &std::path::Path) -> (Option<String>, Option<Commit>) {
    let Ok(repository) = Repository::open(path) else { return (None, None) };
    let branch = repository.default_branch().ok().flatten();
    let commit = branch
        .as_ref()
        .and_then(|b| repository.resolve(&format!("refs/heads/{b}")).ok())
        .and_then(|id| repository.commit(&id).ok());
    let head = commit.map(|c| Commit {
        id: c.id.to_string(),
        subject: c.subject,
        author: c.author,
        author_email: c.email,
        at: c.authored_at,
    });
    (branch, head)
}
