use towpath_data::external::{Address, AddressEntry};

use super::get_url::config_here;
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
    /// How many folders deep
    #[arg(long, short = 'L', value_name = "DEPTH")]
    level: Option<usize>,
    /// Show sizes
    #[arg(long)]
    size: bool,
}

impl ListUrl {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let config = config_here(ctx)?;
        let address = Address::open(&self.url, &Context::current_dir()?, config.as_ref())?;
        let found = address.list(self.recursive, self.level)?;
        ctx.ui.show_as(&found, || {
            let sizes: Vec<String> = found.iter().map(|entry| entry.size.map(ui::bytes).unwrap_or_default()).collect();
            let width = if self.size { sizes.iter().map(String::len).max().unwrap_or(0) + 2 } else { 0 };
            let line = |(entry, size): (&AddressEntry, &String)| {
                let size = if self.size { size.as_str() } else { "" };
                format!("{size:<width$}{}\n", entry.path)
            };
            found.iter().zip(&sizes).map(line).collect()
        })?;
        Ok(Exit::Done)
    }
}
