use std::collections::BTreeMap;

use towpath_plan::frontend::dvc_yaml::DEFAULT_PARAMS;
use towpath_yaml::Value;

use crate::commands::metrics::{as_seen, below_root};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::value_diff::{self, DiffFlags, Files};
use crate::view::View;
use crate::workspace;

/// The parameters that stages read
#[derive(clap::Subcommand, Debug)]
pub enum Params {
    Diff(Diff),
}

/// Compare parameters of two commits, or of a commit and the workspace
#[derive(clap::Args, Debug)]
pub struct Diff {
    #[command(flatten)]
    flags: DiffFlags,
    /// Files, whether or not pipelines declare them
    #[arg(long, num_args = 0.., value_name = "PATH")]
    targets: Vec<String>,
    /// Only what stages depend on
    #[arg(long)]
    deps: bool,
}

impl Params {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Diff(command) => command.run(ctx),
        }
    }
}

impl Diff {
    fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let repository = workspace::repository(ctx)?;
        let targets = below_root(&repository, &self.targets)?;
        let side = |revision: &str| -> Result<Files, Error> {
            as_seen(&repository, params_of(ctx, &View::of(&repository, revision)?, &targets, self.deps)?)
        };
        let differences = value_diff::compare(&side(&self.flags.old)?, &side(&self.flags.new)?, self.flags.all);
        ctx.ui.show_as(&value_diff::json(&differences), || {
            value_diff::table(&differences, &self.flags.layout("Param", false, None))
        })?;
        Ok(Exit::Done)
    }
}

/// Of the given files, or of what stages read and pipelines list, and (unless `deps`) of all of
/// `params.yaml`.
pub fn params_of(ctx: &Context, view: &View, targets: &[String], deps: bool) -> Result<Files, Error> {
    // No keys: the whole file.
    let mut wanted: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
    if targets.is_empty() {
        for params in view.pipeline.stages.iter().flat_map(|stage| &stage.params) {
            let keys = wanted.entry(params.file.path.clone()).or_insert_with(|| Some(Vec::new()));
            match (&params.keys, keys.as_mut()) {
                (Some(more), Some(keys)) => keys.extend(more.iter().cloned()),
                _ => *keys = None,
            }
        }
        if !deps {
            wanted.extend(view.params.iter().map(|file| (file.clone(), None)));
            if view.text(DEFAULT_PARAMS)?.is_some() {
                wanted.insert(DEFAULT_PARAMS.to_owned(), None);
            }
        }
    } else {
        wanted.extend(targets.iter().map(|file| (file.clone(), None)));
    }
    let mut found = Files::new();
    for (file, keys) in wanted {
        let Some(text) = view.text(&file)? else { continue };
        let value = match keys {
            None => towpath_plan::params::entries(&file, &text).map(Value::Map),
            Some(keys) => {
                let mut values = Vec::new();
                for key in keys {
                    // What is missing is new or gone on the other side.
                    let found = towpath_plan::params::read(&file, &text, Some(&[key])).unwrap_or_default();
                    for (key, value) in found {
                        nest(&mut values, &key, value);
                    }
                }
                Ok(Value::Map(values))
            }
        };
        match value {
            Ok(value) => drop(found.insert(file, value)),
            Err(error) => ctx.ui.note(format!("{file} holds no parameters: {error}")),
        }
    }
    Ok(found)
}

/// `a.b` is an entry of the mapping `a`.
fn nest(entries: &mut Vec<(String, Value)>, key: &str, value: Value) {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let at = entries.iter().position(|(known, _)| known == first).unwrap_or_else(|| {
        entries.push((first.to_owned(), Value::Map(Vec::new())));
        entries.len() - 1
    });
    match (rest, &mut entries[at].1) {
        (Some(rest), Value::Map(below)) => nest(below, rest, value),
        (Some(_), _) => {}
        (None, place) => *place = value,
    }
}
