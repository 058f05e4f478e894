use std::path::{Path, PathBuf};

use towpath_core::Kind;
use towpath_data::config::Level;
use towpath_data::{Config, Repository};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Add a remote to .dvc/config: a folder, or the http(s) address of a server
#[derive(clap::Args, Debug)]
pub struct Add {
    /// How to call it
    name: String,
    /// A folder, or http(s)://...
    url: String,
    /// Use it where no remote is named
    #[arg(long, short)]
    default: bool,
    /// Change the remote if it exists
    #[arg(long, short)]
    force: bool,
}

impl Add {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let from = Context::current_dir()?;
        let repository = Repository::find(&from)?;
        if !self.force && repository.config().remote_names().contains(&self.name) {
            let message = format!("there is a remote '{}' already", self.name);
            return Err(Error::new(Kind::Conflict, message).hint("change it with --force"));
        }
        let url = as_written(&self.url, &from, repository.root())?;
        Config::write_remote(&repository.dvc_dir(), Level::Repository, &self.name, &url, self.default)?;
        let default = if self.default { ", the default" } else { "" };
        ctx.ui.say(format!("Remote {}{default}: {}", self.name, self.url));
        Ok(Exit::Done)
    }
}

/// The url as `.dvc/config` has it: a relative folder relative to that file.
fn as_written(url: &str, from: &Path, root: &Path) -> Result<String, Error> {
    match url.split_once("://") {
        Some(("http" | "https", rest)) if rest.split('/').next().is_some_and(|host| host.contains('@')) => {
            Err(Error::invalid("a password must not be in .dvc/config, which Git keeps")
                .hint("leave it out of the address and set TOWPATH_TOKEN"))
        }
        Some(("http" | "https", _)) => Ok(url.to_owned()),
        Some((scheme, _)) => {
            Err(Error::invalid(format!("'{scheme}://' is not supported: a remote is a folder, http:// or https://")))
        }
        None if Path::new(url).is_absolute() => Ok(url.to_owned()),
        None => {
            let below = from.canonicalize().map_err(Error::io("read", from))?;
            let below = below.strip_prefix(root).unwrap_or(Path::new("")).to_owned();
            let path: PathBuf = [Path::new(".."), &below, Path::new(url)].iter().collect();
            Ok(path.display().to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_written_relative_to_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        assert_eq!(as_written("../store", &root, &root).unwrap(), "../../store");
        assert_eq!(as_written("../store", &root.join("a"), &root).unwrap(), "../a/../store");
        assert_eq!(as_written("/mnt/store", &root, &root).unwrap(), "/mnt/store");
        assert_eq!(as_written("https://host/dvc/digits", &root, &root).unwrap(), "https://host/dvc/digits");
        let refused = as_written("https://alice:secret@host/dvc/digits", &root, &root).unwrap_err();
        assert!(refused.message.contains("password"), "{}", refused.message);
        assert!(as_written("ftp://host", &root, &root).is_err());
    }
}
