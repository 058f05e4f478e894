use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use towpath_data::migrate::{self, Migrated, Migration};
use towpath_data::{Repository, verbs};
use towpath_plan::lock::{Lock, LockedStage};
use towpath_plan::pipeline::Pipeline;

use super::config::{LevelFlags, places, save};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::{lock_file, pipelines, read, repository};

/// Where the content of data is kept on this machine
#[derive(Subcommand, Debug)]
pub enum Cache {
    Dir(Dir),
    Migrate(Migrate),
}

/// Give what DVC 2 keeps in the cache the names of DVC 3, too
#[derive(clap::Args, Debug)]
pub struct Migrate {
    /// Also write the .dvc and dvc.lock files that DVC 2 wrote as DVC 3 does
    #[arg(long)]
    dvc_files: bool,
    /// Only say what would be done
    #[arg(long)]
    dry: bool,
}

/// Show or set the folder of the cache
#[derive(clap::Args, Debug)]
pub struct Dir {
    #[command(flatten)]
    level: LevelFlags,
    /// Remove the setting: the cache is .dvc/cache again
    #[arg(long, short)]
    unset: bool,
    /// The folder; a relative one is kept relative to the file of the configuration
    value: Option<String>,
}

impl Cache {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Dir(command) => command.run(ctx),
            Self::Migrate(command) => command.run(ctx),
        }
    }
}

impl Migrate {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = repository(ctx)?;
        let _lock = repository.lock()?;
        if self.dry {
            return self.foretell(ctx, &repository);
        }
        let migration = Migration::of_cache(&repository, &ctx.ui.data_progress())?;
        let mut migrated = Migrated::default();
        if self.dvc_files {
            let mut changed = verbs::Changed::new(&repository);
            migrated = migration.pointers()?;
            migrate_locks(&repository, &migration, &mut migrated)?;
            migrated.files.iter().for_each(|file| changed.file(file));
            changed.stage()?;
        }
        let json = json!({ "objects": migration.objects(), "files": migrated.files, "left": migrated.left });
        ctx.ui.show_as(&json, || {
            let mut text = format!("Migrated {} files to DVC 3.0 cache location.\n", migration.objects());
            for file in &migrated.files {
                let _ = writeln!(text, "Updating DVC file '{file}'");
            }
            if !migrated.files.is_empty() {
                let _ = writeln!(text, "Commit it: git add {}", migrated.files.join(" "));
            }
            text
        })?;
        for path in &migrated.left {
            ctx.ui
                .note(format!("warning: {path} stays as it is: its data is neither in the cache nor in the workspace"));
        }
        Ok(Exit::Done)
    }

    fn foretell(&self, ctx: &Context, repository: &Repository) -> Result<Exit, Error> {
        let objects = migrate::objects_of_dvc_2(&repository.cache()?)?.len();
        let mut files: Vec<String> = Vec::new();
        if self.dvc_files {
            files.extend(repository.pointers()?.iter().filter(|p| migrate::is_of_dvc_2(p)).map(|p| p.path.clone()));
            let old = |(_, lock): &(Pipeline, Lock)| lock.stages.iter().any(|(_, stage)| is_of_dvc_2(stage));
            let pipelines = pipelines(repository.root())?.into_iter().filter(old);
            files.extend(pipelines.map(|(pipeline, _)| format!("{} ({})", pipeline.file, lock_file(&pipeline.file))));
            files.sort();
        }
        ctx.ui.show_as(&json!({ "objects": objects, "files": files }), || {
            let mut text = format!("{objects} files will be re-hashed and migrated to the DVC 3.0 cache location.\n");
            match files.as_slice() {
                [] if self.dvc_files => text.push_str("No DVC files in the repo to migrate to the 3.0 format.\n"),
                [] => {}
                files => {
                    text.push_str("Entries in following DVC files will be migrated to the 3.0 format:\n");
                    for file in files {
                        let _ = writeln!(text, "\t{file}");
                    }
                }
            }
            text
        })?;
        Ok(Exit::Done)
    }
}

fn is_of_dvc_2(stage: &LockedStage) -> bool {
    stage.deps.iter().chain(&stage.outs).any(|item| !item.content.hash.is_md5())
}

/// Writes the entries of all `dvc.lock` files as DVC 3 does.
fn migrate_locks(repository: &Repository, migration: &Migration<'_>, migrated: &mut Migrated) -> Result<(), Error> {
    for (pipeline, lock) in pipelines(repository.root())? {
        let file = lock_file(&pipeline.file);
        let before = read(&repository.root().join(&file))?.unwrap_or_default();
        let mut text = before.clone();
        for (name, locked) in lock.stages.iter().filter(|(_, locked)| is_of_dvc_2(locked)) {
            let Some(stage) = pipeline.stage(name) else { continue };
            let mut new = locked.clone();
            for item in new.deps.iter_mut().chain(&mut new.outs).filter(|item| !item.content.hash.is_md5()) {
                let out = stage.outs.iter().find(|out| out.at.written == item.path);
                let dep = stage.deps.iter().find(|dep| dep.written == item.path);
                let Some(at) = out.map(|out| &out.at).or(dep) else { continue };
                match migration.content(&at.path, &item.content, out.is_some_and(|out| out.cache))? {
                    Some(content) => item.content = content,
                    None => migrated.left.push(at.path.clone()),
                }
            }
            text =
                Lock::update_text(&file, Some(&text), name, &new).map_err(|error| Error::invalid(error.to_string()))?;
        }
        if text != before {
            repository.write(&file, &text)?;
            migrated.files.push(file);
        }
    }
    Ok(())
}

impl Dir {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match &self.value {
            None if !self.unset => {
                let dir = self.current()?;
                ctx.ui.show_as(&json!(dir), || dir.display().to_string())?;
            }
            Some(value) if !self.unset => {
                let mut edit = self.level.edit()?;
                edit.set_given("cache", "dir", value, &Context::current_dir()?)?;
                save(ctx, edit)?;
            }
            _ => {
                let mut edit = self.level.edit()?;
                if !edit.unset("cache", "dir") {
                    return Err(Error::not_found("option 'dir' doesn't exist in section 'cache'"));
                }
                save(ctx, edit)?;
            }
        }
        Ok(Exit::Done)
    }

    fn current(&self) -> Result<PathBuf, Error> {
        if let Some(dir) = self.level.read()?.get("cache", "dir") {
            return Ok(PathBuf::from(dir));
        }
        let default = || places().ok()?.repository?.parent().map(|dvc_dir| dvc_dir.join("cache"));
        let dir = if self.level.level().is_none() { default() } else { None };
        dir.ok_or_else(|| Error::not_found("option 'dir' doesn't exist in section 'cache'"))
    }
}
