//! Asking for a password on the terminal, for remotes with `ask_password`.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::sync::{Mutex, PoisonError};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::Error;
use crate::config::RemoteConfig;

/// What was answered in this process: nobody types a password twice.
static ANSWERS: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// The password (or whatever `what` says) for a user of a host.
///
/// # Errors
/// Without a terminal: then the password must be configured.
pub(super) fn ask(config: &RemoteConfig, what: &str, host: &str, user: Option<&str>) -> Result<String, Error> {
    let whose = user.map_or_else(|| host.to_owned(), |user| format!("{user}@{host}"));
    let question = format!("Enter a {what} for {whose}: ");
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(answer) = answers.get(&question) {
        return Ok(answer.clone());
    }
    let answer = read_hidden(&question).map_err(|error| {
        config.bad(format!("nobody can be asked for its {what} ({error}); set '{what}' in .dvc/config.local"))
    })?;
    answers.insert(question, answer.clone());
    Ok(answer)
}

fn read_hidden(question: &str) -> io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let shown = tcgetattr(&terminal)?;
    let mut hidden = shown.clone();
    hidden.local_modes -= LocalModes::ECHO;
    terminal.write_all(question.as_bytes())?;
    tcsetattr(&terminal, OptionalActions::Flush, &hidden)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    tcsetattr(&terminal, OptionalActions::Flush, &shown)?;
    read?;
    terminal.write_all(b"\n")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
