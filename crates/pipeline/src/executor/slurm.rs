//! Jobs of a Slurm cluster, by its own programs. The checkout, the logs and the scratch folder must be there on
//! its nodes under the same paths.
//!
//! The id of a job is kept beside the log of its task, and the job itself leaves its exit code there. So an engine
//! that comes after one that was killed takes the job over, running or ended, instead of starting it again.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use towpath_core::Digest;
use towpath_core::project::SlurmOptions;

use super::{CommandLine, Ending, Executor, Finished, Progress, Task, processes, shell, supervise};
use crate::log::{Stream, Writer};
use crate::{Cancel, Error};

/// A program of Slurm answers in a fraction of a second, unless its controller is gone.
const ANSWERS: Duration = Duration::from_mins(1);

/// How long a controller that does not answer is asked again.
const UNREACHABLE: Duration = Duration::from_mins(10);

/// Between two looks at what a job printed, and at what Slurm says of it; both grow.
const LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
const ASK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Lies beside the log from before the submission to the end.
const SCRIPT: &str = "slurm-script";

/// An exit code may come late over a network file system.
const LATE: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, Default)]
pub struct Slurm {
    /// The cluster's `slurm.conf`, where it is not the usual one.
    pub settings: Option<PathBuf>,
}

/// What Slurm says of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Running,
    /// With Slurm's word for it: `COMPLETED`, `FAILED`, `NODE_FAIL`.
    Ended(String),
    /// It has no such job, or not any more.
    Unknown,
}

/// Why Slurm did not do what it was asked; for people.
enum Problem {
    /// It does not answer, and may do so later.
    Away(String),
    Refused(String),
}

impl Problem {
    fn text(&self) -> &str {
        match self {
            Self::Away(text) | Self::Refused(text) => text,
        }
    }
}

impl Executor for Slurm {
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error> {
        let Some(options) = &task.slurm else {
            return Ok(Finished::without_running(Ending::NotGranted, "does not say how it runs in Slurm".into()));
        };
        let log_error = |source| Error::Log { path: task.log.clone(), source };
        let started = Instant::now();
        let mut log = Writer::create(&task.log, task.log_limit, &task.secrets).map_err(log_error)?;
        for command in &task.commands {
            log.note(&format!("$ {}", command.shown())).map_err(log_error)?;
        }
        let files = Files::of(&task.log);
        let mut following = Following { slurm: self, task, files: &files, cancel, log: &mut log, told: false };
        let ended = following.run(options, progress).map_err(log_error)?;
        let (ending, denied, job) = ended;
        let duration = started.elapsed();
        log.note(&supervise::describe(ending, duration)).map_err(log_error)?;
        let log_lines = log.finish().map_err(log_error)?;
        progress(Progress::Logged(log_lines));
        let sandbox = job.map(|job| format!("Slurm job {job}, not confined")).unwrap_or_default();
        Ok(Finished { ending, duration, log_lines, sandbox, denied, observation: None })
    }

    fn has_job(&self, log: &Path, key: &Digest) -> bool {
        self.earlier(&Files::of(log), log).is_ok_and(|job| job.is_some_and(|(_, of)| of == key.as_str()))
    }
}

impl Slurm {
    /// True when one of the tasks with logs in this folder was given to Slurm and is not known to be over.
    pub fn has_jobs(logs: &Path) -> bool {
        let entries = fs::read_dir(logs).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|of| of == SCRIPT))
    }

    /// The job that an earlier engine left of this task, and its key: running, or ended and not yet looked at.
    fn earlier(&self, files: &Files, log: &Path) -> Result<Option<(String, String)>, Problem> {
        if let Some((id, key)) = files.kept() {
            let is_there = files.exit_code().is_some()
                || match self.state(&id) {
                    Ok(State::Pending | State::Running) | Err(Problem::Away(_)) => true,
                    Ok(State::Ended(_) | State::Unknown) | Err(Problem::Refused(_)) => false,
                };
            if is_there {
                return Ok(Some((id, key)));
            }
        }
        // One that was submitted and not written down.
        self.find(&job_name(log))
    }

    fn find(&self, name: &str) -> Result<Option<(String, String)>, Problem> {
        let said = self.ask(
            "squeue",
            &["--noheader", "--me", "--states=PD,R,S,CF", &format!("--name={name}"), "--format=%i|%k"],
        )?;
        let first = said.lines().next().and_then(|line| line.trim().split_once('|'));
        Ok(first.map(|(id, key)| (id.to_owned(), key.to_owned())))
    }

    fn state(&self, id: &str) -> Result<State, Problem> {
        let jobs = format!("--jobs={id}");
        let said = match self.ask("squeue", &["--noheader", "--states=all", &jobs, "--format=%T"]) {
            Err(Problem::Refused(said)) if said.contains("Invalid job id") => return Ok(State::Unknown),
            said => said?,
        };
        Ok(match said.lines().next().map(str::trim) {
            None | Some("") => State::Unknown,
            Some("PENDING") => State::Pending,
            Some(
                word @ ("COMPLETED" | "FAILED" | "TIMEOUT" | "CANCELLED" | "NODE_FAIL" | "BOOT_FAIL" | "OUT_OF_MEMORY"
                | "PREEMPTED" | "DEADLINE" | "REVOKED"),
            ) => State::Ended(word.to_owned()),
            Some(_) => State::Running,
        })
    }

    fn cancel(&self, id: &str) -> Result<(), Problem> {
        match self.ask("scancel", &[id]) {
            Err(Problem::Refused(said)) if said.contains("Invalid job id") => Ok(()),
            said => said.map(drop),
        }
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Result<String, Problem> {
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(settings) = &self.settings {
            command.env("SLURM_CONF", settings);
        }
        let output = match processes::answer(command, ANSWERS) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let install =
                    format!("there is no {program} here: install the programs of Slurm (Debian: slurm-client)");
                return Err(Problem::Refused(install));
            }
            Err(error) => return Err(Problem::Away(format!("{program}: {error}"))),
            Ok(output) => output,
        };
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let text = lines.last().map_or_else(|| format!("{program} does not say why"), |line| (*line).to_owned());
        let is_away = ["Unable to contact", "timed out", "Connection refused", "Communication", "Zero Bytes"];
        if is_away.iter().any(|sign| said.contains(sign)) {
            Err(Problem::Away(text))
        } else {
            Err(Problem::Refused(text))
        }
    }
}

fn job_name(log: &Path) -> String {
    format!("towpath-{:.20}", Digest::of(log.display().to_string().as_bytes()).as_str())
}

/// What lies beside the log of a task while its job is not over.
struct Files {
    job: PathBuf,
    script: PathBuf,
    variables: PathBuf,
    out: PathBuf,
    err: PathBuf,
    exit: PathBuf,
}

impl Files {
    fn of(log: &Path) -> Self {
        let beside = |extension| log.with_extension(extension);
        Self {
            job: beside("slurm-job"),
            script: beside(SCRIPT),
            variables: beside("slurm-variables"),
            out: beside("slurm-out"),
            err: beside("slurm-err"),
            exit: beside("slurm-exit"),
        }
    }

    fn kept(&self) -> Option<(String, String)> {
        let kept: Value = serde_json::from_slice(&fs::read(&self.job).ok()?).ok()?;
        Some((kept["id"].as_str()?.to_owned(), kept["key"].as_str()?.to_owned()))
    }

    fn keep(&self, id: &str, key: &str) -> io::Result<()> {
        let unfinished = self.job.with_extension("slurm-unfinished");
        fs::write(&unfinished, json!({"id": id, "key": key}).to_string())?;
        fs::rename(unfinished, &self.job)
    }

    fn exit_code(&self) -> Option<i32> {
        fs::read_to_string(&self.exit).ok()?.trim().parse().ok()
    }

    fn remove(&self) {
        for file in [&self.job, &self.script, &self.variables, &self.out, &self.err, &self.exit] {
            // One that is not there needs no removing.
            let _ = fs::remove_file(file);
        }
    }
}

/// A file that only its owner reads: output before its secrets are masked, and variables.
fn private(path: &Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Runs the commands until one fails, and leaves the exit code.
fn script(task: &Task, files: &Files) -> String {
    let at = |path: &Path| quoted(&path.display().to_string());
    let mut text = String::from("#!/bin/sh\n");
    let (variables, exit) = (at(&files.variables), at(&files.exit));
    let _ = write!(text, ". {variables}\nrm -f {variables}\ncd {} || exit 1\ncode=0\n", at(&task.directory));
    for command in &task.commands {
        let words = match command {
            CommandLine::Program(words) | CommandLine::Arguments(words) => words.clone(),
            CommandLine::Shell(line) => shell::argv(line),
        };
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(text, "[ $code = 0 ] && {{ {} || code=$?; }}", words.join(" "));
    }
    let _ = write!(text, "echo $code > {exit}.unfinished && mv {exit}.unfinished {exit}\nexit $code\n");
    text
}

/// One task from its submission, or from taking over its job, to its end.
struct Following<'f> {
    slurm: &'f Slurm,
    task: &'f Task,
    files: &'f Files,
    cancel: &'f Cancel,
    log: &'f mut Writer,
    /// The log says that Slurm does not answer.
    told: bool,
}

impl Following<'_> {
    /// How the job ended, why it was not run, and its id. Fails when a file cannot be written.
    fn run(
        &mut self,
        options: &SlurmOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> io::Result<(Ending, String, Option<String>)> {
        let id = match self.job(options)? {
            Ok(id) => id,
            Err(why) if self.cancel.is_cancelled() => return Ok((Ending::Cancelled, why, None)),
            Err(why) => return Ok((Ending::NotGranted, why, None)),
        };
        let (ending, denied) = self.follow(&id, progress)?;
        self.files.remove();
        Ok((ending, denied, Some(id)))
    }

    /// The job that there is already, or a new one; the inner error is for people.
    fn job(&mut self, options: &SlurmOptions) -> io::Result<Result<String, String>> {
        let key = self.task.key.as_ref().map_or("", Digest::as_str).to_owned();
        let deadline = Instant::now() + UNREACHABLE;
        let mut wait = ASK.0;
        let mut is_written = false;
        loop {
            let tried = match self.slurm.earlier(self.files, &self.task.log) {
                Ok(Some((id, of))) if of == key && !key.is_empty() => {
                    self.log.note(&format!("Slurm job {id}, taken over"))?;
                    self.files.keep(&id, &key)?;
                    return Ok(Ok(id));
                }
                // Of other inputs: two jobs must not write the same outputs.
                Ok(Some((id, _))) => match self.end(&id) {
                    Ok(()) => self.submitted(options, &key, &mut is_written)?,
                    Err(problem) => Err(problem),
                },
                Ok(None) => self.submitted(options, &key, &mut is_written)?,
                Err(problem) => Err(problem),
            };
            match tried {
                Ok(id) => {
                    self.files.keep(&id, &key)?;
                    self.log.note(&format!("Slurm job {id}"))?;
                    return Ok(Ok(id));
                }
                Err(Problem::Refused(said)) => return Ok(Err(format!("was refused by Slurm: {said}"))),
                Err(Problem::Away(said)) if Instant::now() >= deadline => {
                    return Ok(Err(format!("could not be given to Slurm, which does not answer: {said}")));
                }
                Err(problem) => self.away(&problem)?,
            }
            if self.cancel.wait(wait) {
                return Ok(Err("was cancelled before it was given to Slurm".to_owned()));
            }
            wait = (wait * 2).min(ASK.1);
        }
    }

    /// Cancels a job and waits until it is over.
    fn end(&self, id: &str) -> Result<(), Problem> {
        self.slurm.cancel(id)?;
        let deadline = Instant::now() + ANSWERS;
        while matches!(self.slurm.state(id)?, State::Pending | State::Running) {
            if Instant::now() >= deadline {
                return Err(Problem::Refused(format!("job {id} does not end")));
            }
            thread::sleep(ASK.0);
        }
        Ok(())
    }

    fn submitted(
        &mut self,
        options: &SlurmOptions,
        key: &str,
        is_written: &mut bool,
    ) -> io::Result<Result<String, Problem>> {
        if !std::mem::replace(is_written, true) {
            self.files.remove();
            fs::write(&self.files.script, script(self.task, self.files))?;
            let mut variables = private(&self.files.variables)?;
            for (name, value) in &self.task.variables {
                writeln!(variables, "export {name}={}", quoted(value))?;
            }
            drop((private(&self.files.out)?, private(&self.files.err)?));
        }
        let words = self.words(options, key);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = self.slurm.ask("sbatch", &words);
        // `id;cluster`
        Ok(said.map(|said| said.trim().split(';').next().unwrap_or_default().to_owned()))
    }

    fn words(&self, options: &SlurmOptions, key: &str) -> Vec<String> {
        let task = self.task;
        let mut words: Vec<String> = vec!["--parsable".into(), "--nodes=1".into(), "--ntasks=1".into()];
        let mut add = |option: &str, value: &str| words.push(format!("--{option}={value}"));
        // In names of files a percent sign begins a replacement.
        let file = |path: &Path| path.display().to_string().replace('%', "%%");
        add("job-name", &job_name(&task.log));
        add("comment", key);
        add("output", &file(&self.files.out));
        add("error", &file(&self.files.err));
        add("open-mode", "append");
        // Nothing of the engine's environment.
        add("export", "NIL");
        if task.resources.cpu > 0.0 {
            add("cpus-per-task", &(task.resources.cpu.ceil() as u64).to_string());
        }
        if let Some(bytes) = task.resources.memory {
            add("mem", &format!("{}M", bytes.div_ceil(1 << 20)));
        }
        if task.resources.gpu > 0 {
            add("gpus", &task.resources.gpu.to_string());
        }
        if let Some(timeout) = task.timeout {
            // For when nobody follows it any more.
            add("time", &(timeout.as_secs().div_ceil(60) + 1).to_string());
        }
        for (option, value) in [("partition", &options.partition), ("account", &options.account)] {
            if let Some(value) = value {
                add(option, value);
            }
        }
        words.push("--no-requeue".into());
        words.extend(options.options.iter().cloned());
        words.push(self.files.script.display().to_string());
        words
    }

    /// Once in the log, until it answers again.
    fn away(&mut self, problem: &Problem) -> io::Result<()> {
        if !std::mem::replace(&mut self.told, true) {
            self.log.note(&format!("Slurm does not answer ({}); it is asked again", problem.text()))?;
        }
        Ok(())
    }

    /// Copies what the job prints until it is over.
    fn follow(&mut self, id: &str, progress: &mut dyn FnMut(Progress)) -> io::Result<(Ending, String)> {
        let task = self.task;
        let mut outputs = [(Stream::Out, File::open(&self.files.out)?), (Stream::Err, File::open(&self.files.err)?)];
        let queued = Instant::now();
        let (mut look, mut ask) = (LOOK.0, ASK.0);
        let mut next_ask = queued;
        let mut state = State::Pending;
        let mut running_since = None;
        let mut printed = queued;
        let mut over: Option<Instant> = None;
        let mut stopping: Option<(Ending, Instant, bool)> = None;
        progress(Progress::WaitsFor("a place in Slurm's queue"));
        loop {
            // Before the output is read: what a job printed is there before its exit code.
            let code = self.files.exit_code();
            if self.copy(&mut outputs)? {
                printed = Instant::now();
                look = LOOK.0;
                progress(Progress::Logged(self.log.lines()));
            }
            if let Some(code) = code {
                self.log.end_lines()?;
                self.wait_for_end(id);
                return Ok((stopping.map_or(Ending::Exited(code), |(why, ..)| why), String::new()));
            }
            let now = Instant::now();
            if now >= next_ask {
                match self.slurm.state(id) {
                    Ok(said) => {
                        self.told = false;
                        if said == State::Running && running_since.is_none() {
                            running_since = Some(now);
                            printed = now;
                            progress(Progress::Runs);
                        }
                        if matches!(said, State::Ended(_) | State::Unknown) {
                            over.get_or_insert(now);
                        }
                        state = said;
                    }
                    Err(problem) => self.away(&problem)?,
                }
                ask = if over.is_some() || stopping.is_some() { ASK.0 } else { (ask * 3 / 2).min(ASK.1) };
                next_ask = now + ask;
            }
            match (over, stopping) {
                (Some(_), Some((why, ..))) => return Ok((why, String::new())),
                (Some(since), None) if now >= since + LATE => return Ok(without_code(id, &state)),
                _ => {}
            }
            let passed = |since: Option<Instant>, limit: Option<Duration>| {
                since.zip(limit).is_some_and(|(since, limit)| now >= since + limit)
            };
            let why = if self.cancel.is_cancelled() {
                Some(Ending::Cancelled)
            } else if passed(running_since, task.timeout) {
                Some(Ending::TimedOut)
            } else if passed(running_since.map(|_| printed), task.heartbeat) {
                Some(Ending::Silent)
            } else if running_since.is_none() && passed(Some(queued), task.queue) {
                Some(Ending::QueuedTooLong)
            } else {
                None
            };
            if let (None, Some(why), None) = (stopping, why, over) {
                stopping = Some((why, now, false));
            }
            if let Some((why, since, asked)) = stopping {
                if !asked {
                    match self.slurm.cancel(id) {
                        Ok(()) => stopping = Some((why, since, true)),
                        Err(problem) => self.away(&problem)?,
                    }
                    next_ask = now;
                }
                if now >= since + task.grace + UNREACHABLE {
                    self.log.note(&format!("Slurm does not say that job {id} has ended: it may go on"))?;
                    return Ok((why, String::new()));
                }
                thread::sleep(LOOK.0);
                continue;
            }
            if !self.cancel.wait(look) {
                look = (look * 3 / 2).min(LOOK.1);
            }
        }
    }

    /// Of a job whose script has ended: so that an attempt that follows does not find it.
    fn wait_for_end(&self, id: &str) {
        let deadline = Instant::now() + LATE;
        while matches!(self.slurm.state(id), Ok(State::Running)) && Instant::now() < deadline {
            thread::sleep(LOOK.0);
        }
    }

    /// What it printed since the last time; true when that was something.
    fn copy(&mut self, outputs: &mut [(Stream, File)]) -> io::Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        let mut any = false;
        for (stream, file) in outputs {
            loop {
                let read = file.read(&mut buffer)?;
                if read == 0 {
                    break;
                }
                any = true;
                self.log.take(*stream, &buffer[..read])?;
            }
        }
        Ok(any)
    }
}

/// Of a job that is over and left no exit code: something ended it.
fn without_code(id: &str, state: &State) -> (Ending, String) {
    match state {
        State::Ended(word) if word == "OUT_OF_MEMORY" => (Ending::OutOfMemory, String::new()),
        State::Ended(word) if word == "TIMEOUT" || word == "DEADLINE" => (Ending::TimedOut, String::new()),
        State::Ended(word) => (Ending::NotGranted, format!("was ended by Slurm: job {id} is {word}")),
        _ => (Ending::NotGranted, format!("is lost: Slurm does not know job {id} any more, and it left no exit code")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_runs_commands_until_one_fails_and_leaves_the_code() {
        let dir = tempfile::tempdir().unwrap();
        let line = |line: &str| CommandLine::Shell(line.to_owned());
        let commands = vec![line("echo one \"$GREETING\""), line("exit 3"), line("echo three")];
        let task = Task::new(commands, dir.path().to_owned(), dir.path().join("it's.log"));
        let files = Files::of(&task.log);
        fs::write(&files.variables, "export GREETING='it'\\''s'\n").unwrap();
        fs::write(&files.script, script(&task, &files)).unwrap();
        let output = Command::new("sh").arg(&files.script).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), b"one it's\n".as_slice()));
        assert_eq!(files.exit_code(), Some(3));
        assert!(!files.variables.exists(), "the secrets are gone");
    }
}
