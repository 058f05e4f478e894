//! The exit codes of the verbs that DVC has too, for scripts that were written for it (dvc 3.67,
//! `cli/__init__.py` and each of `commands/`). All other commands have Towpath's own.

use std::io;

/// Not in a repository.
const NO_REPOSITORY: u8 = 253;
/// Wrong arguments.
const USAGE: u8 = 254;
/// The configuration is wrong.
const CONFIGURATION: u8 = 251;
/// An error that a verb of DVC has not dealt with.
const UNCAUGHT: u8 = 255;
/// An error that a verb of DVC has reported itself.
const CAUGHT: u8 = 1;

/// What DVC tells apart of the errors of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    NoRepository,
    /// A file of the configuration is wrong.
    Configuration,
    /// A remote is not there, or not configured as it has to be.
    Remote,
    /// Files cannot be read or written, though they are there.
    Disk,
    #[default]
    Other,
}

impl Cause {
    pub fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        use towpath_data::Error as E;
        match error.downcast_ref::<E>() {
            Some(E::NotARepository { .. }) => Self::NoRepository,
            Some(E::Config { .. }) => Self::Configuration,
            Some(E::NoDefaultRemote | E::UnknownRemote { .. } | E::RemoteConfig { .. }) => Self::Remote,
            Some(E::Io { source, .. }) if source.kind() != io::ErrorKind::NotFound => Self::Disk,
            _ => Self::Other,
        }
    }
}

/// What a verb of DVC does with an error that comes up while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Catches,
    LetsThrough,
    /// It is about the configuration, and so are all its errors.
    Configures,
}

/// The verb that a command is (`remote add`), if DVC has it.
fn verb(command: &str) -> Option<Verb> {
    Some(match command {
        "init" | "add" | "remove" | "move" | "commit" | "status" | "diff" | "fetch" | "pull" | "push" | "import"
        | "import-url" | "update" | "get" | "get-url" | "list" | "unprotect" => Verb::Catches,
        "checkout" | "data status" | "gc" | "list-url" | "check-ignore" | "cache migrate" | "root" | "version" => {
            Verb::LetsThrough
        }
        "config" | "cache dir" => Verb::Configures,
        _ if command.starts_with("remote ") => Verb::Configures,
        _ if command.starts_with("git-hook ") => Verb::LetsThrough,
        _ => return None,
    })
}

/// The code of a command that failed; `None` for those that DVC does not have.
pub fn of_failure(command: &str, cause: Cause) -> Option<u8> {
    Some(match (verb(command)?, cause) {
        (Verb::Configures, _) | (_, Cause::Configuration) | (Verb::LetsThrough, Cause::Remote) => CONFIGURATION,
        (_, Cause::NoRepository) => NO_REPOSITORY,
        (Verb::LetsThrough, _) | (Verb::Catches, Cause::Disk) => UNCAUGHT,
        (Verb::Catches, _) => CAUGHT,
    })
}

/// The code of a command whose arguments are wrong; `None` for those that DVC does not have.
pub fn of_usage(command: &str) -> Option<u8> {
    let is_group = matches!(command, "data" | "cache" | "remote" | "git-hook");
    (is_group || verb(command).is_some()).then_some(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As real `dvc` 3.67 ended.
    #[test]
    fn a_verb_ends_as_it_does_in_dvc() {
        for (command, cause, code) in [
            ("status", Cause::NoRepository, 253),
            ("status", Cause::Configuration, 251),
            ("push", Cause::Remote, 1),
            ("gc", Cause::Remote, 251),
            ("add", Cause::Other, 1),
            ("add", Cause::Disk, 255),
            ("checkout", Cause::Other, 255),
            ("remote modify", Cause::Remote, 251),
            ("remote add", Cause::NoRepository, 251),
            ("cache dir", Cause::Other, 251),
            ("cache migrate", Cause::Other, 255),
        ] {
            assert_eq!(of_failure(command, cause), Some(code), "{command}: {cause:?}");
        }
        assert_eq!(of_failure("release approve", Cause::Other), None);
        assert_eq!((of_usage("fetch"), of_usage("remote"), of_usage("predict")), (Some(254), Some(254), None));
    }
}
