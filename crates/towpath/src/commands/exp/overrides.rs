//! `--set-param`: parameter files of the workspace, or of a commit to be, with other values.

use std::path::Path;

use towpath_data::Repository;
use towpath_plan::params::edit;
use towpath_plan::params::overrides::{self, Change, Override, Sweep};

use crate::error::Error;
use crate::value_diff;
use crate::workspace::read;

#[derive(clap::Args, Debug, Default)]
pub struct ParamFlags {
    /// A parameter: [FILE:]NAME=VALUE, with + in front a new one, ~NAME removes one; with --queue also lists and
    /// ranges: lr=0.1,0.2 or seed=range(5)
    #[arg(long, short = 'S', value_name = "PARAMETER")]
    set_param: Vec<String>,
}

impl ParamFlags {
    /// Every combination of the values that were given; one without any.
    ///
    /// # Errors
    /// There are several, and `sweeps` says that this cannot be.
    pub fn combinations(&self, repository: &Repository, sweeps: bool) -> Result<Vec<Vec<Override>>, Error> {
        if repository.config().flag("hydra", "enabled") == Some(true) {
            return Err(Error::invalid("hydra.enabled: composing parameters by Hydra is not supported")
                .hint("turn it off: towpath config hydra.enabled false"));
        }
        let parsed = self.set_param.iter().map(|argument| overrides::parse(argument).map_err(Error::invalid));
        let parsed = parsed.collect::<Result<Vec<Sweep>, Error>>()?;
        if !sweeps && parsed.iter().any(|sweep| sweep.values.len() != 1) {
            return Err(Error::invalid("several values of a parameter are several experiments").hint("use --queue"));
        }
        Ok(overrides::combinations(&parsed))
    }
}

/// The texts of the parameter files with the overrides, by path below the root.
pub fn texts(repository: &Repository, from: &Path, overrides: &[Override]) -> Result<Vec<(String, String)>, Error> {
    let mut files: Vec<(String, Vec<Override>)> = Vec::new();
    for one in overrides {
        let path = repository.relative(from, one.file.as_ref())?.to_string_lossy().into_owned();
        match files.iter_mut().find(|(known, _)| *known == path) {
            Some((_, all)) => all.push(one.clone()),
            None => files.push((path, vec![one.clone()])),
        }
    }
    files
        .into_iter()
        .map(|(path, overrides)| {
            let text = read(&repository.root().join(&path))?
                .ok_or_else(|| Error::not_found(format!("there is no parameter file {path}")))?;
            Ok((path.clone(), edit::edited(&path, &text, &overrides)?))
        })
        .collect()
}

/// `lr=0.1 net.depth=3`, for people.
pub fn shown(overrides: &[Override]) -> String {
    let one = |one: &Override| match &one.change {
        Change::Set(value) | Change::Add(value) | Change::Put(value) => {
            format!("{}={}", one.key, value_diff::shown(value, None))
        }
        Change::Remove => format!("~{}", one.key),
    };
    overrides.iter().map(one).collect::<Vec<_>>().join(" ")
}
