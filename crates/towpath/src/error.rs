//! The one place where an error becomes a message, hints and an exit code.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use towpath_core::{Classify, Kind};

use crate::dvc_codes::{self, Cause};

/// Wrong usage, or input that is wrong.
const USAGE: u8 = 2;

/// How a command that did its work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0
    Done,
    /// 1: the command ran, and the answer is no (a stage failed, a result differs, the ledger is
    /// broken).
    No,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
        })
    }
}

/// Why a command did not do its work.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    cause: Cause,
    pub message: String,
    /// What stands behind it, outermost first; nothing that the message says already.
    pub causes: Vec<String>,
    pub hints: Vec<String>,
}

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, cause: Cause::default(), message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// For `map_err`: what was being done to which file.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        move |error| {
            let kind = match error.kind() {
                io::ErrorKind::NotFound => Kind::NotFound,
                io::ErrorKind::PermissionDenied => Kind::Denied,
                io::ErrorKind::AlreadyExists => Kind::Conflict,
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Exhausted,
                _ => Kind::Internal,
            };
            Self::new(kind, format!("cannot {action} {path}: {error}"))
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How the program ends, with DVC's code if `command` is one of its verbs.
    pub fn exit_code(&self, command: &str) -> ExitCode {
        ExitCode::from(dvc_codes::of_failure(command, self.cause).unwrap_or_else(|| code(self.kind)))
    }
}

/// How the program ends when its arguments are wrong.
pub fn usage_code(command: &str) -> ExitCode {
    ExitCode::from(dvc_codes::of_usage(command).unwrap_or(USAGE))
}

/// The exit code of a failure; 1 is [`Exit::No`].
fn code(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid => USAGE,
        Kind::NotFound | Kind::Denied | Kind::Unauthenticated => 3,
        Kind::Unavailable | Kind::Exhausted => 4,
        Kind::Conflict => 5,
        Kind::Internal => 70,
    }
}

impl<E: Classify + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        let message = error.to_string();
        let mut causes: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) && !causes.iter().any(|known| known.contains(&text)) {
                causes.push(text);
            }
            source = cause.source();
        }
        let mut hints = error.hints();
        if error.kind() == Kind::Unauthenticated && hints.is_empty() {
            hints.push("set TOWPATH_TOKEN to a token of this server".into());
        }
        // A message that shows the place in a file shows the help there as well.
        hints.retain(|hint| !message.contains(hint.as_str()));
        Self { kind: error.kind(), cause: Cause::of(&error), message, causes, hints }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_message_repeats_is_told_once() {
        let io = io::Error::other("disk on fire");
        let error = towpath_git::Error::Io { action: "create", path: "/x".into(), source: io };
        let shown = Error::from(error);
        assert_eq!(shown.message, "cannot create /x: disk on fire");
        assert!(shown.causes.is_empty());
    }

    #[test]
    fn every_kind_has_its_exit_code() {
        assert_eq!(code(Kind::Denied), 3);
        assert_eq!(code(Kind::Conflict), 5);
        assert_eq!(code(Kind::Internal), 70);
    }
}
