//! Starting what builds an environment. Where its output goes and who may stop it is the caller's.

use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);
/// Of what a process said last.
const LAST_LINES: usize = 20;

/// One command, whole: nothing is inherited.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    pub argv: &'a [String],
    pub directory: &'a Path,
    pub variables: &'a [(String, String)],
    pub deadline: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    /// Also after its deadline.
    Failed,
    Cancelled,
}

/// How a program ended, and its last lines that are not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub ending: Ending,
    pub said: Vec<String>,
}

pub trait Runner {
    fn run(&self, program: &Program<'_>) -> io::Result<Ran>;

    fn is_cancelled(&self) -> bool;
}

/// Keeps no log, and nobody cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Undisturbed;

impl Runner for Undisturbed {
    fn run(&self, program: &Program<'_>) -> io::Result<Ran> {
        let mut output = tempfile::tempfile()?;
        let name = program.argv.first().map_or("", String::as_str);
        let child = Command::new(name)
            .args(program.argv.get(1..).unwrap_or_default())
            .current_dir(program.directory)
            .env_clear()
            .envs(program.variables.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output.try_clone()?)
            .spawn()?;
        let status = wait(child, program.deadline)?;
        let mut said = Vec::new();
        output.rewind()?;
        output.read_to_end(&mut said)?;
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let ending = if status.success() { Ending::Succeeded } else { Ending::Failed };
        let last = lines.len().saturating_sub(LAST_LINES);
        Ok(Ran { ending, said: lines[last..].iter().map(|&line| line.to_owned()).collect() })
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Until it has ended, or its time is over: then it is killed with all that it started.
fn wait(mut child: Child, deadline: Duration) -> io::Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if started.elapsed() > deadline
            && let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw)
        {
            // It may have ended by itself just now.
            let _ = kill_process_group(group, Signal::KILL);
            return child.wait();
        }
        // A child has no descriptor to wait for with a deadline in the standard library.
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, deadline: Duration) -> Ran {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        Undisturbed.run(&Program { argv: &argv, directory: Path::new("/"), variables: &[], deadline }).unwrap()
    }

    #[test]
    fn what_a_program_says_is_kept_and_its_failure_seen() {
        let said = |lines: &[&str]| lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>();
        let ran = run("echo one; echo; echo two >&2", Duration::from_secs(20));
        assert_eq!(ran, Ran { ending: Ending::Succeeded, said: said(&["one", "two"]) });
        assert_eq!(run("exit 3", Duration::from_secs(20)).ending, Ending::Failed);
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_its_children() {
        let started = Instant::now();
        assert_eq!(run("sleep 60 & wait", Duration::from_millis(50)).ending, Ending::Failed);
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
