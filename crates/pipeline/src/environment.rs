//! The environments of stages: what uv says goes to a log, and a run that is cancelled ends it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

pub use towpath_environments::{Environment, Environments, Error, Resolved};
use towpath_environments::{Program, Ran, Runner};

use crate::executor::{CommandLine, Ending, Executor as _, Local, Task};
use crate::{Cancel, log};

/// Where uv says what it does, and who may stop it.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    pub log: &'a Path,
    pub cancel: &'a Cancel,
    /// When nobody waits for it any more.
    pub until: Option<Instant>,
}

impl Build<'_> {
    fn is_too_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

impl Runner for Build<'_> {
    fn run(&self, program: &Program<'_>) -> io::Result<Ran> {
        let task = Task {
            variables: program.variables.to_vec(),
            timeout: Some(self.until.map_or(program.deadline, |until| {
                program.deadline.min(until.saturating_duration_since(Instant::now()))
            })),
            grace: Duration::from_secs(2),
            ..Task::new(
                vec![CommandLine::Program(program.argv.to_vec())],
                program.directory.to_owned(),
                self.log.to_owned(),
            )
        };
        let finished = Local.run(&task, &mut |_| {}, self.cancel).map_err(io::Error::other)?;
        let from = finished.log_lines.saturating_sub(20);
        let lines = log::read(self.log, from, 20)?.lines.into_iter().filter(|l| l.stream != log::Stream::Towpath);
        let said = lines.map(|l| l.text.trim().to_owned()).filter(|t| !t.is_empty()).collect();
        let ending = match finished.ending {
            Ending::Exited(0) => towpath_environments::Ending::Succeeded,
            Ending::TimedOut if self.is_too_late() => towpath_environments::Ending::Cancelled,
            Ending::Cancelled => towpath_environments::Ending::Cancelled,
            _ => towpath_environments::Ending::Failed,
        };
        Ok(Ran { ending, said })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.is_too_late()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_an_environment_longer_than_the_stage_may() {
        let dir = tempfile::tempdir().unwrap();
        let (log, cancel) = (dir.path().join("log"), Cancel::new().unwrap());
        let until = Some(Instant::now() + Duration::from_millis(50));
        let build = Build { log: &log, cancel: &cancel, until };
        let argv = ["sleep", "1000"].map(str::to_owned);
        let deadline = Duration::from_secs(1000);
        let variables = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        let program = Program { argv: &argv, directory: dir.path(), variables: &variables, deadline };
        assert_eq!(build.run(&program).unwrap().ending, towpath_environments::Ending::Cancelled);
        assert!(build.is_cancelled() && !cancel.is_cancelled());
    }
}
