use serde_json::json;
use towpath_data::verbs;

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::workspace::Workspace;

/// Rename or move tracked data, and its .dvc file with it
#[derive(clap::Args, Debug)]
pub struct Move {
    /// The tracked file or folder
    src: std::path::PathBuf,
    /// Its new path, or the folder to move it into
    dst: std::path::PathBuf,
}

impl Move {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let Workspace { repository, stages } = Workspace::find(ctx)?;
        let from = Context::current_dir()?;
        let path = |path: &std::path::Path| -> Result<String, Error> {
            let below = repository.relative(&from, path)?;
            let text = below.to_str().map(str::to_owned);
            text.ok_or_else(|| Error::invalid(format!("{}: its name is not UTF-8", path.display())))
        };
        let (src, dst) = (path(&self.src)?, path(&self.dst)?);
        let moved = verbs::move_output(&repository, &stages, &src, &dst, &ctx.ui.data_progress())?;
        let json = json!({ "path": moved.path, "pointer": moved.pointer });
        ctx.ui.show_as(&json, || {
            let old = moved.old_pointer.as_ref().map(|old| format!(" {old}")).unwrap_or_default();
            format!("{src} is now {}.\nCommit it: git add {}{old}", moved.path, moved.pointer)
        })?;
        Ok(Exit::Done)
    }
}
