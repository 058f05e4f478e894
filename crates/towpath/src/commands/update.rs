use std::path::PathBuf;

use serde_json::json;
use towpath_data::Repository;
use towpath_data::imports::{self, Import, Request, Take, TakeUrl, Updated};
use towpath_data::pointer::PointerFile;

use crate::commands::download_flags::{JobsFlag, ToRemoteFlags};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::source::{SourceRepository, url_of_import};
use crate::workspace::Workspace;

/// Bring imported data to what the place that it comes from has now
#[derive(clap::Args, Debug)]
pub struct Update {
    /// The .dvc files of imports; with --recursive also folders
    #[arg(required = true)]
    targets: Vec<PathBuf>,
    /// The branch, tag or commit to take from now on
    #[arg(long, value_name = "COMMIT")]
    rev: Option<String>,
    /// All imports below the folders
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Only record the new commit, or what the data at the address is now
    #[arg(long, conflicts_with = "to_remote")]
    no_download: bool,
    #[command(flatten)]
    destination: ToRemoteFlags,
    #[command(flatten)]
    jobs: JobsFlag,
    /// Overwrite changes of the data that are in no cache
    #[arg(long, short)]
    force: bool,
}

impl Update {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, .. } = Workspace::connected(ctx)?;
        let from = Context::current_dir()?;
        let mut pointers = Vec::new();
        for target in &self.targets {
            if self.recursive && from.join(target).is_dir() {
                let folder = from.join(target).canonicalize().map_err(Error::io("read", target))?;
                let below = repository.pointers()?.into_iter();
                let below = below.filter(|pointer| repository.root().join(&pointer.path).starts_with(&folder));
                for pointer in below {
                    pointers.extend(Some(pointer).filter(|pointer| pointer.import.is_some()));
                }
                continue;
            }
            let path = repository.relative(&from, target)?;
            let path = path.to_str().ok_or_else(|| Error::invalid(format!("{} is not UTF-8", target.display())))?;
            let path = if path.ends_with(".dvc") { path.to_owned() } else { PointerFile::path_for(path) };
            let pointer = PointerFile::read(repository.root(), &path)?;
            pointers.push(pointer.ok_or_else(|| Error::not_found(format!("there is no {path}")))?);
        }
        let mut updated = Vec::new();
        for pointer in &pointers {
            updated.push(match &pointer.import {
                Some(Import::Repository(from)) => {
                    self.update_from_repository(ctx, &repository, pointer, &from.request)?
                }
                _ => self.update_from_url(ctx, &repository, pointer)?,
            });
        }
        let entry = |one: &Updated| json!({ "pointer": one.pointer, "changed": one.changed, "content": one.content });
        ctx.ui.show_as(&updated.iter().map(entry).collect::<Vec<_>>(), || {
            let line =
                |one: &Updated| format!("{}: {}\n", one.pointer, if one.changed { "updated" } else { "is the newest" });
            updated.iter().map(line).collect()
        })?;
        Ok(Exit::Done)
    }

    fn update_from_repository(
        &self,
        ctx: &Context,
        repository: &Repository,
        pointer: &PointerFile,
        request: &Request,
    ) -> Result<Updated, Error> {
        if self.destination.to_remote {
            let imported = format!("{} was imported from a repository", pointer.path);
            return Err(Error::invalid(format!("{imported}, which --to-remote cannot update")));
        }
        let url = url_of_import(repository.root(), request);
        let mut other = SourceRepository::of_import(request);
        other.rev = self.rev.clone().or(other.rev);
        let (rev, progress) = (self.rev.as_deref(), ctx.ui.data_progress());
        if self.no_download {
            let commit = other.commit(ctx, &url)?;
            return Ok(imports::update(
                repository,
                pointer,
                rev,
                Take::Commit(commit.as_str()),
                self.force,
                &progress,
            )?);
        }
        let (opened, commit) = other.open_commit(ctx, &url, &repository.cache()?)?;
        let source = opened.source.with_jobs(self.jobs.most());
        Ok(imports::update(repository, pointer, rev, Take::Data(&source, commit.as_str()), self.force, &progress)?)
    }

    fn update_from_url(&self, ctx: &Context, repository: &Repository, pointer: &PointerFile) -> Result<Updated, Error> {
        if self.rev.is_some() {
            let imported = format!("{} was not imported from a repository", pointer.path);
            return Err(Error::invalid(format!("{imported}, so it has no --rev")));
        }
        let take = match (self.no_download, self.destination.target(self.jobs.most())?) {
            (true, _) => TakeUrl::Fingerprint,
            (_, Some(remote)) => TakeUrl::ToRemote(remote),
            _ => TakeUrl::Data,
        };
        Ok(imports::update_url(repository, pointer, take, self.force, &ctx.ui.data_progress())?)
    }
}
