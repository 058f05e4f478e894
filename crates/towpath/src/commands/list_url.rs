use std::fmt::Write as _;

use towpath_data::external::{Address, AddressEntry, Depth};

use super::download_flags::AddressFlags;
use super::get_url::config_here;
use super::tree::tree;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui;

/// List what is at an address
#[derive(clap::Args, Debug)]
pub struct ListUrl {
    /// A path, remote://name/path, or the url of a kind of remote that can list
    url: String,
    /// All files below it
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Folders and files as a tree
    #[arg(long, short = 'T')]
    tree: bool,
    /// How many folders deep
    #[arg(long, short = 'L', value_name = "DEPTH")]
    level: Option<usize>,
    /// Show sizes
    #[arg(long)]
    size: bool,
    #[command(flatten)]
    address: AddressFlags,
}

impl ListUrl {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let config = config_here(ctx)?;
        let address = Address::open(&self.url, &Context::current_dir()?, config.as_ref(), &self.address.options())?;
        let depth = match (self.tree, self.recursive) {
            (true, _) => Depth::Everything(self.level),
            (false, true) => Depth::Files(self.level),
            (false, false) => Depth::Children,
        };
        let found = address.list(depth)?;
        ctx.ui.show_as(&found, || {
            let paths = found.iter().map(|entry| entry.path.as_str());
            let names = if self.tree { tree(&self.url, paths) } else { paths.map(str::to_owned).collect() };
            with_sizes(&found, &names, self.size)
        })?;
        Ok(Exit::Done)
    }
}

/// The names, with sizes before them if asked for; a tree has its root in front.
fn with_sizes(found: &[AddressEntry], names: &[String], asked: bool) -> String {
    let sizes = found.iter().map(|entry| entry.size.map(ui::bytes).filter(|_| asked).unwrap_or_default());
    let sizes: Vec<String> =
        std::iter::repeat_n(String::new(), names.len().saturating_sub(found.len())).chain(sizes).collect();
    let width = if asked { sizes.iter().map(String::len).max().unwrap_or(0) + 2 } else { 0 };
    let mut text = String::new();
    for (size, name) in sizes.iter().zip(names) {
        let _ = writeln!(text, "{size:<width$}{name}");
    }
    text
}
