//! `towpath`: the command line and the composition of all parts into one program.

#![expect(unreachable_pub, reason = "a program exports nothing: `pub` says what a module offers the others")]

mod administration;
mod commands;
mod config;
mod dvc_codes;
mod error;
mod revisions;
mod signals;
mod source;
mod stage_changes;
mod template;
mod ui;
mod value_diff;
mod view;
mod workspace;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::commands::Cli;
use crate::config::Context;
use crate::ui::Ui;

/// The server allocates many small things on all its threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(exit) = towpath_sandbox::strict::help() {
        return exit;
    }
    // Fails only when there is a provider already, and this is done once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let parsed = Cli::command().try_get_matches();
    let command = match &parsed {
        Ok(matches) => name_of(matches),
        // As far as it can be understood.
        Err(_) => Cli::command().ignore_errors(true).try_get_matches().as_ref().map(name_of).unwrap_or_default(),
    };
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that has gone is no error of ours.
            let _ = error.print();
            return if error.use_stderr() { error::usage_code(&command) } else { ExitCode::SUCCESS };
        }
    };
    let moved = match &cli.options.cd {
        Some(folder) => std::env::set_current_dir(folder).map_err(error::Error::io("work in", folder)),
        None => Ok(()),
    };
    let ctx = Context::new(cli.options);
    match moved.and_then(|()| cli.command.run(&ctx)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            Ui::error(&error);
            error.exit_code(&command)
        }
    }
}

/// The command that was asked for: `add`, `remote add`; empty without one.
fn name_of(matches: &ArgMatches) -> String {
    let mut name = String::new();
    let mut next = matches.subcommand();
    while let Some((command, below)) = next {
        if !name.is_empty() {
            name.push(' ');
        }
        name.push_str(command);
        next = below.subcommand();
    }
    name
}
