//! Options that the commands share which bring data from elsewhere.

use towpath_data::config::RemoteOptions;
use towpath_data::imports::ToRemote;

use crate::error::Error;

/// How many requests are made.
#[derive(clap::Args, Debug)]
pub struct JobsFlag {
    /// Requests at the same time
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
}

impl JobsFlag {
    pub fn most(&self) -> Option<usize> {
        self.jobs.map(usize::from)
    }
}

/// How an address is reached.
#[derive(clap::Args, Debug)]
pub struct AddressFlags {
    /// Options for the address, as a remote has them in the configuration
    #[arg(long, num_args = 0.., value_name = "NAME=VALUE", value_parser = option)]
    fs_config: Vec<(String, String)>,
}

impl AddressFlags {
    pub fn options(&self) -> RemoteOptions {
        self.fs_config.clone()
    }
}

/// Data that goes to a remote and stays out of the workspace.
#[derive(clap::Args, Debug)]
pub struct ToRemoteFlags {
    /// Bring the data to a remote, not into the workspace
    #[arg(long)]
    pub to_remote: bool,
    /// The remote for --to-remote, unless the default one
    #[arg(long, short, value_name = "NAME")]
    remote: Option<String>,
}

impl ToRemoteFlags {
    /// The remote, if it was asked for one.
    pub fn target(&self, jobs: Option<usize>) -> Result<Option<ToRemote<'_>>, Error> {
        if self.remote.is_some() && !self.to_remote {
            return Err(Error::invalid("--remote can't be used without --to-remote"));
        }
        Ok(self.to_remote.then_some(ToRemote { name: self.remote.as_deref(), jobs }))
    }
}

/// `name=value`.
pub fn option(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !(name.is_empty() || value.is_empty()) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}
