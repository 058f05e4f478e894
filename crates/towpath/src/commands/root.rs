use std::path::{Path, PathBuf};

use serde_json::json;
use towpath_data::Repository;

use crate::config::Context;
use crate::error::{Error, Exit};

/// Show the way to the root of the repository, relative to the current folder
#[derive(clap::Args, Debug)]
pub struct Root {}

impl Root {
    pub fn run(ctx: &Context) -> Result<Exit, Error> {
        let from = Context::current_dir()?;
        let root = Repository::find_root(&from)?;
        let from = from.canonicalize().map_err(Error::io("read", &from))?;
        let way = way_up(&from, &root);
        ctx.ui.show_as(&json!(way), || way.display().to_string())?;
        Ok(Exit::Done)
    }
}

/// `.`, `..`, `../..`: from a folder to one above it.
fn way_up(from: &Path, root: &Path) -> PathBuf {
    let depth = from.strip_prefix(root).map_or(0, |below| below.components().count());
    if depth == 0 { PathBuf::from(".") } else { std::iter::repeat_n("..", depth).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_as_many_folders_up_as_we_are_below_it() {
        assert_eq!(way_up(Path::new("/a"), Path::new("/a")), Path::new("."));
        assert_eq!(way_up(Path::new("/a/b/c"), Path::new("/a")), Path::new("../.."));
    }
}
