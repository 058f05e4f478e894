//! DVC's experiments: runs of the pipeline that are kept as commits beside the history.

mod apply;
mod branch;
mod diff;
mod list;
mod names;
mod overrides;
mod queue;
mod record;
pub mod records;
mod remove;
mod rename;
mod run;
mod save;
mod selection;
mod show;
mod state;
mod table;
mod task;
mod tracked;
mod transfer;

use towpath_git::{CommitId, Experiment, WorkTree};

use crate::config::Context;
use crate::error::{Error, Exit};

/// Run the pipeline as experiments, which are kept beside the history of Git
#[derive(clap::Subcommand, Debug)]
pub enum Exp {
    Run(run::Run),
    Save(save::Save),
    #[command(alias = "ls")]
    List(list::List),
    Show(show::Show),
    Diff(diff::Diff),
    Apply(apply::Apply),
    Branch(branch::Branch),
    Rename(rename::Rename),
    #[command(alias = "rm")]
    Remove(remove::Remove),
    Push(transfer::Push),
    Pull(transfer::Pull),
    #[command(hide = true)]
    Records(records::Records),
}

impl Exp {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::Run(command) => command.run(ctx),
            Self::Save(command) => command.run(ctx),
            Self::List(command) => command.run(ctx),
            Self::Show(command) => command.run(ctx),
            Self::Diff(command) => command.run(ctx),
            Self::Apply(command) => command.run(ctx),
            Self::Branch(command) => command.run(ctx),
            Self::Rename(command) => command.run(ctx),
            Self::Remove(command) => command.run(ctx),
            Self::Push(command) => command.run(ctx),
            Self::Pull(command) => command.run(ctx),
            Self::Records(command) => command.run(ctx),
        }
    }
}

/// The commit that is checked out, where experiments begin.
pub fn head(tree: &WorkTree) -> Result<CommitId, Error> {
    tree.head()?.ok_or_else(|| {
        Error::invalid("this Git repository has no commit yet").hint("experiments begin from a commit: make one first")
    })
}

/// The experiment that a name, a full ref or an abbreviated commit stands for. Of several with one name
/// that of the commit which is checked out.
pub fn named(tree: &WorkTree, all: &[Experiment], name: &str) -> Result<Experiment, Error> {
    let found: Vec<&Experiment> = all.iter().filter(|one| one.name == name || one.reference() == name).collect();
    if let [one] = found[..] {
        return Ok(one.clone());
    }
    if found.len() > 1 {
        let head = head(tree)?;
        return found.iter().find(|one| one.baseline == head).map(|one| (*one).clone()).ok_or_else(|| {
            let refs: Vec<String> = found.iter().map(|one| one.reference()).collect();
            Error::invalid(format!("several experiments are called '{name}'"))
                .hint(format!("name one by its ref: {}", refs.join(", ")))
        });
    }
    let is_commit = name.len() >= 7 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let of_commit = all.iter().find(|one| is_commit && one.commit.as_str().starts_with(&name.to_lowercase()));
    of_commit.cloned().ok_or_else(|| unknown(&[name]))
}

pub fn unknown(names: &[&str]) -> Error {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    Error::not_found(format!("there is no experiment {}", names.join(", ")))
        .hint("list them: towpath exp list --all-commits")
}
