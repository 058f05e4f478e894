use towpath_core::Kind;
use towpath_data::config::{Level, remote_section};

use crate::commands::config::{LevelFlags, save};
use crate::config::Context;
use crate::error::{Error, Exit};

/// Add a remote: a folder, a web server, an object store, a host with ssh
#[derive(clap::Args, Debug)]
pub struct Add {
    #[command(flatten)]
    level: LevelFlags,
    /// How to call it
    name: String,
    /// A folder, or scheme://...
    url: String,
    /// Use it where no remote is named
    #[arg(long, short)]
    default: bool,
    /// Replace the remote if it exists
    #[arg(long, short)]
    force: bool,
}

impl Add {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        refuse_password(&self.url, self.level.level())?;
        let mut edit = self.level.edit()?;
        if !self.force && edit.has_section(&remote_section(&self.name)) {
            let message = format!("there is a remote '{}' already", self.name);
            return Err(Error::new(Kind::Conflict, message).hint("replace it with --force"));
        }
        let name = self.name.to_lowercase();
        edit.add_remote(&name, &self.url, &Context::current_dir()?)?;
        if self.default {
            edit.set("core", "remote", &name)?;
        }
        save(ctx, edit)?;
        let default = if self.default { ", the default" } else { "" };
        ctx.ui.say(format!("Remote {name}{default}: {}", self.url));
        Ok(Exit::Done)
    }
}

/// What is in `.dvc/config` is in Git.
fn refuse_password(url: &str, level: Option<Level>) -> Result<(), Error> {
    let host = url.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    let has_password = host.and_then(|host| host.rsplit_once('@')).is_some_and(|(user, _)| user.contains(':'));
    if has_password && level.unwrap_or(Level::Repository) == Level::Repository {
        return Err(Error::invalid("a password must not be in .dvc/config, which Git keeps")
            .hint("leave it out of the address and keep it with `towpath remote modify --local NAME password`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_does_not_go_where_git_keeps_it() {
        let url = "https://alice:secret@host/dvc/digits";
        assert!(refuse_password(url, None).unwrap_err().message.contains("password"));
        assert!(refuse_password(url, Some(Level::Local)).is_ok());
        assert!(refuse_password("ssh://alice@host/data", None).is_ok());
    }
}
