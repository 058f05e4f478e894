//! What the program can do: one file for each verb.

mod add;
mod artifact;
mod audit;
mod backfill;
mod blame;
mod cache;
mod check_ignore;
mod checkout;
mod commit;
mod config;
mod dag;
mod data_status;
mod diff;
mod diff_rows;
pub mod download_flags;
mod exp;
mod experiment;
mod export;
mod fetch;
mod freeze;
mod gc;
mod get;
mod get_url;
mod import;
mod import_url;
mod init;
mod list;
mod list_url;
mod merge_driver;
mod metrics;
mod model;
mod r#move;
mod new;
mod params;
mod plots;
mod predict;
mod pull;
mod push;
mod release;
mod remote;
mod remove;
mod repro;
mod reproduce;
mod rollout;
mod root;
mod run;
mod schedule;
mod secret;
mod serve;
mod server;
mod stage;
mod status;
mod sync;
mod token;
mod trace;
mod transfer_scope;
mod tree;
mod unprotect;
mod update;
mod user;
mod version;
mod why;

use clap::{Parser, Subcommand};

use crate::config::{Context, Options, wait, wait_as_server};
use crate::error::{Error, Exit};

/// From a Git push to a governed model in production, and back
#[derive(Parser, Debug)]
#[command(name = "towpath", version, propagate_version = false, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand, Debug)]
pub enum Command {
    New(new::New),
    Init(init::Init),
    Add(add::Add),
    #[command(alias = "rm")]
    Remove(remove::Remove),
    #[command(alias = "mv")]
    Move(r#move::Move),
    Commit(commit::Commit),
    Status(status::Status),
    #[command(subcommand)]
    Data(data_status::Data),
    Diff(diff::Diff),
    Checkout(checkout::Checkout),
    Unprotect(unprotect::Unprotect),
    CheckIgnore(check_ignore::CheckIgnore),
    Fetch(fetch::Fetch),
    Push(push::Push),
    Pull(pull::Pull),
    Import(import::Import),
    #[command(subcommand)]
    Export(export::Export),
    Sync(sync::Sync),
    ImportUrl(import_url::ImportUrl),
    Update(update::Update),
    Get(get::Get),
    GetUrl(get_url::GetUrl),
    #[command(alias = "ls")]
    List(list::List),
    #[command(alias = "ls-url")]
    ListUrl(list_url::ListUrl),
    #[command(subcommand)]
    Cache(cache::Cache),
    Config(config::Config),
    Gc(gc::Gc),
    #[command(subcommand)]
    Remote(remote::Remote),
    Root(root::Root),
    #[command(alias = "doctor")]
    Version(version::Version),
    Repro(repro::Repro),
    Why(why::Why),
    #[command(subcommand)]
    Stage(stage::Stage),
    Dag(dag::Dag),
    Freeze(freeze::Freeze),
    Unfreeze(freeze::Unfreeze),
    #[command(subcommand)]
    Metrics(metrics::Metrics),
    #[command(subcommand)]
    Params(params::Params),
    #[command(subcommand)]
    Plots(plots::Plots),
    #[command(subcommand, alias = "experiments")]
    Exp(exp::Exp),
    #[command(subcommand)]
    Run(run::Run),
    #[command(subcommand)]
    Schedule(schedule::Schedule),
    #[command(subcommand)]
    Backfill(backfill::Backfill),
    #[command(subcommand)]
    Secret(secret::Secret),
    #[command(hide = true)]
    MergeDriver(merge_driver::MergeDriver),
    #[command(subcommand)]
    Experiment(experiment::Experiment),
    #[command(subcommand)]
    Artifact(artifact::Artifact),
    #[command(subcommand)]
    Model(model::Model),
    #[command(subcommand)]
    Release(release::Release),
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    Predict(predict::Predict),
    Trace(trace::Trace),
    Blame(blame::Blame),
    Reproduce(reproduce::Reproduce),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    User(user::User),
    #[command(subcommand)]
    Token(token::Token),
    Serve(serve::Serve),
    Server(server::Server),
}

impl Command {
    /// Commands on the repository run on this thread: they block, and a runtime would be in their
    /// way. Those that wait for a server run on a runtime.
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        match self {
            Self::New(command) => command.run(ctx),
            Self::Init(command) => command.run(ctx),
            Self::Add(command) => command.run(ctx),
            Self::Remove(command) => command.run(ctx),
            Self::Move(command) => command.run(ctx),
            Self::Commit(command) => command.run(ctx),
            Self::Status(command) => command.run(ctx),
            Self::Data(command) => command.run(ctx),
            Self::Diff(command) => command.run(ctx),
            Self::Checkout(command) => command.run(ctx),
            Self::Unprotect(command) => command.run(ctx),
            Self::CheckIgnore(command) => command.run(ctx),
            Self::Fetch(command) => command.run(ctx),
            Self::Push(command) => command.run(ctx),
            Self::Pull(command) => command.run(ctx),
            Self::Import(command) => command.run(ctx),
            Self::Export(command) => wait(command.run(ctx)),
            Self::Sync(command) => wait(command.run(ctx)),
            Self::ImportUrl(command) => command.run(ctx),
            Self::Update(command) => command.run(ctx),
            Self::Get(command) => command.run(ctx),
            Self::GetUrl(command) => command.run(ctx),
            Self::List(command) => command.run(ctx),
            Self::ListUrl(command) => command.run(ctx),
            Self::Cache(command) => command.run(ctx),
            Self::Config(command) => command.run(ctx),
            Self::Gc(command) => command.run(ctx),
            Self::Remote(command) => command.run(ctx),
            Self::Root(_) => root::Root::run(ctx),
            Self::Version(_) => version::Version::run(ctx),
            Self::Repro(command) => command.run(ctx),
            Self::Why(command) => command.run(ctx),
            Self::Stage(command) => command.run(ctx),
            Self::Dag(command) => command.run(ctx),
            Self::Freeze(command) => command.run(ctx),
            Self::Unfreeze(command) => command.run(ctx),
            Self::Metrics(command) => command.run(ctx),
            Self::Params(command) => command.run(ctx),
            Self::Plots(command) => command.run(ctx),
            Self::Exp(command) => command.run(ctx),
            Self::Run(command) => command.run(ctx),
            Self::Schedule(command) => wait(command.run(ctx)),
            Self::Backfill(command) => wait(command.run(ctx)),
            Self::Secret(command) => wait(command.run(ctx)),
            Self::MergeDriver(command) => command.run(ctx),
            Self::Experiment(command) => wait(command.run(ctx)),
            Self::Artifact(command) => wait(command.run(ctx)),
            Self::Model(command) => wait(command.run(ctx)),
            Self::Release(command) => wait(command.run(ctx)),
            Self::Rollout(command) => wait(command.run(ctx)),
            Self::Predict(command) => wait(command.run(ctx)),
            Self::Trace(command) => wait(command.run(ctx)),
            Self::Blame(command) => command.run(ctx),
            Self::Reproduce(command) => command.run(ctx),
            Self::Audit(command) => wait(command.run(ctx)),
            Self::User(command) => wait(command.run(ctx)),
            Self::Token(command) => wait(command.run(ctx)),
            Self::Serve(command) => wait(command.run(ctx)),
            Self::Server(command) => wait_as_server(command.run(ctx)),
        }
    }
}
