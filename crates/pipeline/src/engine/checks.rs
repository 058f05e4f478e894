//! Checks of data, each as soon as its content is there and before any stage that reads it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use towpath_checks::{Baseline, Batch, BatchProfile, Suite, Verdict, evaluate, profile_csv};
use towpath_core::project::{CheckDeclaration, OnFail};
use towpath_data::workspace::Found;
use towpath_plan::paths;
use towpath_plan::pipeline::Stage;

use super::journal::Event;
use super::outcome::CheckOutcome;
use super::{Run, Stop};
use crate::Error;

/// The checks of one run: those still to come, and what came out.
pub(super) struct Checks<'a> {
    pending: Vec<Pending<'a>>,
    outcomes: Vec<CheckOutcome>,
}

struct Pending<'a> {
    name: &'a str,
    declaration: &'a CheckDeclaration,
    /// Stages whose outputs it reads.
    makers: Vec<&'a str>,
}

impl<'a> Checks<'a> {
    /// Those that concern the given stages: their outputs are read or made by them. With no targets
    /// named, all.
    pub(super) fn of(run: &'a Run<'_>, stages: &[&Stage]) -> Self {
        let selected = |name: &str| stages.iter().any(|s| s.name == name);
        let pending = run.project.checks.iter().filter_map(|(name, declaration)| {
            let overlaps = |path: &str| paths::overlap(path, &declaration.path);
            let makes = |s: &&Stage| s.outs.iter().any(|o| overlaps(&o.at.path));
            let makers: Vec<&str> = run.pipeline.stages.iter().filter(makes).map(|s| s.name.as_str()).collect();
            let read = stages.iter().any(|s| s.deps.iter().any(|d| overlaps(&d.path)));
            let made = !makers.is_empty() && makers.iter().all(|m| selected(m));
            let concerned = run.request.targets.is_empty() || (makers.is_empty() && read) || made;
            concerned.then_some(Pending { name, declaration, makers })
        });
        Self { pending: pending.collect(), outcomes: Vec::new() }
    }

    /// What they read and no stage makes.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.pending.iter().filter(|p| p.makers.is_empty()).map(|p| p.declaration.path.as_str())
    }

    pub(super) fn into_outcomes(self) -> Vec<CheckOutcome> {
        self.outcomes
    }

    /// Evaluates every check whose content is there, `done` being the stages that are up to date.
    pub(super) fn run_ready(&mut self, run: &Run<'_>, done: &[&str]) -> Result<Option<Stop>, Error> {
        let (ready, pending): (Vec<_>, Vec<_>) =
            self.pending.drain(..).partition(|p| p.makers.iter().all(|m| done.contains(m)));
        self.pending = pending;
        let mut stop = None;
        for check in ready {
            if run.cancel.is_cancelled() {
                return Ok(Some(Stop::Cancelled));
            }
            let outcome = check.evaluate(run)?;
            run.record(Event::Checked(&outcome))?;
            if outcome.stopped_run && stop.is_none() {
                let first = outcome.verdict.failures.first().map(|f| format!(": {}", f.message)).unwrap_or_default();
                stop = Some(Stop::Failed(format!("check '{}' of {} failed{first}", outcome.name, outcome.path)));
            }
            self.outcomes.push(outcome);
        }
        Ok(stop)
    }
}

impl Pending<'_> {
    fn evaluate(&self, run: &Run<'_>) -> Result<CheckOutcome, Error> {
        let CheckDeclaration { path, suite: suite_file, on_fail } = self.declaration;
        let root = run.workspace.root();
        let missing = |path: &str| Error::MissingCheckedData { check: self.name.to_owned(), path: path.to_owned() };
        let found = run.workspace.hash(Path::new(path))?.ok_or_else(|| missing(path))?;
        let text = super::read_text(&root.join(suite_file))?.ok_or_else(|| missing(suite_file))?;
        let suite = Suite::read(suite_file, &text).map_err(towpath_checks::Error::from)?;
        let (data_hash, suite_hash) = (found.content.md5.clone(), suite.hash().to_string());

        let earlier = run.journal.verdict(self.name, &data_hash, &suite_hash).map_err(Error::Journal)?;
        let verdict = match earlier.filter(|_| !run.request.force) {
            Some(verdict) => verdict,
            None => self.verdict(run, &suite, &found)?,
        };
        let stopped_run = !verdict.passed && *on_fail == OnFail::Stop;
        Ok(CheckOutcome { name: self.name.to_owned(), path: path.clone(), data_hash, suite_hash, stopped_run, verdict })
    }

    fn verdict(&self, run: &Run<'_>, suite: &Suite, found: &Found) -> Result<Verdict, Error> {
        let path = run.workspace.root().join(&self.declaration.path);
        let files: Vec<(String, String)> = match &found.manifest {
            Some(manifest) => manifest.entries().iter().map(|e| (e.relpath.clone(), e.oid.to_string())).collect(),
            None => vec![(self.declaration.path.clone(), found.content.md5.clone())],
        };
        let profile = |name: &String| {
            let file = if path.is_dir() { path.join(name) } else { path.clone() };
            profile_file(suite, &file)
        };
        let profiles: Vec<BatchProfile> = files.iter().map(|(name, _)| profile(name)).collect::<Result<_, _>>()?;
        let batches: Vec<Batch<'_>> =
            files.iter().zip(&profiles).map(|((name, hash), profile)| Batch { name, hash, profile }).collect();
        let baseline = run.journal.baseline(self.name).map_err(Error::Journal)?;
        let verdict = evaluate(suite, &batches, baseline.as_ref());
        if verdict.passed {
            let extended = baseline.map_or_else(|| Baseline::frozen_from(&batches), |b| b.extended(&batches));
            run.journal.save_baseline(self.name, &extended).map_err(Error::Journal)?;
        }
        Ok(verdict)
    }
}

fn profile_file(suite: &Suite, path: &Path) -> Result<BatchProfile, Error> {
    let io_error = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    Ok(profile_csv(BufReader::with_capacity(1 << 16, file), suite)?)
}
