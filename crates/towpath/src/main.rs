//! `towpath`: the command line and the composition of all parts into one program.

#![expect(unreachable_pub, reason = "a program exports nothing: `pub` says what a module offers the others")]

mod administration;
mod commands;
mod config;
mod error;
mod revisions;
mod signals;
mod source;
mod stage_changes;
mod template;
mod ui;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::commands::Cli;
use crate::config::Context;
use crate::ui::Ui;

fn main() -> ExitCode {
    // Fails only when there is a provider already, and this is the first line of the program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let moved = match &cli.options.cd {
        Some(folder) => std::env::set_current_dir(folder).map_err(error::Error::io("work in", folder)),
        None => Ok(()),
    };
    let ctx = Context::new(cli.options);
    match moved.and_then(|()| cli.command.run(&ctx)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            Ui::error(&error);
            error.exit_code()
        }
    }
}
