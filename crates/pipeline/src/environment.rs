//! The environments of stages: what uv says goes to a log, and a run that is cancelled ends it.

use std::io;
use std::path::Path;
use std::time::Duration;

pub use towpath_environments::{Environment, Environments, Error, Resolved};
use towpath_environments::{Program, Ran, Runner};

use crate::executor::{CommandLine, Ending, Executor as _, Local, Task};
use crate::{Cancel, log};

/// Where uv says what it does, and who may stop it.
#[derive(Clone, Copy, Debug)]
pub struct Build<'a> {
    pub log: &'a Path,
    pub cancel: &'a Cancel,
}

impl Runner for Build<'_> {
    fn run(&self, program: &Program<'_>) -> io::Result<Ran> {
        let task = Task {
            variables: program.variables.to_vec(),
            timeout: Some(program.deadline),
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
            Ending::Cancelled => towpath_environments::Ending::Cancelled,
            _ => towpath_environments::Ending::Failed,
        };
        Ok(Ran { ending, said })
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }
}
