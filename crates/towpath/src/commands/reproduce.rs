use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use towpath_api::client::ClientError;
use towpath_api::models::{Lineage, ModelVersion};
use towpath_core::Kind;
use towpath_data::config::Level;
use towpath_data::{Config, Repository, content_hash, verbs};
use towpath_git::{CommitId, WorkTree};
use towpath_pipeline::{Anywhere, Outcome, Request, Status, engine};
use towpath_plan::lock::Lock;
use towpath_plan::towpath_yaml;

use crate::commands::model::version;
use crate::commands::repro::journal::TerminalJournal;
use crate::commands::repro::local_tracking;
use crate::config::{Context, wait};
use crate::error::{Error, Exit};
use crate::signals;
use crate::ui::{self, Human};
use crate::workspace;

/// Make a model version again from its code, data and environment, and compare; exit code 1 when it
/// differs
#[derive(clap::Args, Debug)]
pub struct Reproduce {
    /// MODEL@ALIAS or MODEL/VERSION
    model: String,
    /// How far a metric may be off, as a share of its value, and still be the same
    #[arg(long, default_value_t = 0.001, value_name = "SHARE")]
    tolerance: f64,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Finding {
    Identical,
    WithinTolerance,
    Differs,
}

#[derive(Debug, Serialize)]
struct Verdict {
    finding: Finding,
    model: String,
    version: i64,
    content: String,
    reproduced_content: String,
    /// Old and new value of each metric; `None` where one side has none.
    metrics: BTreeMap<String, (Option<f64>, Option<f64>)>,
    /// `stage: output` whose content is not as the run recorded, in the order of the pipeline.
    differing_outputs: Vec<String>,
    tolerance: f64,
}

impl Reproduce {
    pub fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (made, environment) = wait(recorded(ctx, &self.model))?;
        let lineage = made.lineage.clone().ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                format!("{} v{} was registered from outside a pipeline", made.model, made.version),
            )
            .hint("only versions that a pipeline run made have the commit, data and environment to go back to")
        })?;
        let dir = tempfile::Builder::new().prefix("towpath-reproduce-").tempdir();
        let dir = dir.map_err(Error::io("create", &std::env::temp_dir()))?;
        let (tree, recorded_lock) = check_out(ctx, &lineage, &dir.path().join("tree"))?;
        pull_data(ctx, &lineage, tree.root())?;
        let outcome = run_again(ctx, tree.root(), dir.path(), environment)?;
        let verdict = self.compare(&made, &lineage, tree.root(), &outcome, recorded_lock.as_deref())?;
        ctx.ui.show(&verdict)?;
        Ok(if verdict.finding == Finding::Differs { Exit::No } else { Exit::Done })
    }

    fn compare(
        &self,
        made: &ModelVersion,
        lineage: &Lineage,
        root: &Path,
        outcome: &Outcome,
        recorded_lock: Option<&str>,
    ) -> Result<Verdict, Error> {
        let path = root.join("towpath.yaml");
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let model = towpath_yaml::read("towpath.yaml", &text)?.model;
        let output = model.ok_or_else(|| Error::not_found("towpath.yaml of that commit declares no model"))?.path;
        let reproduced = content_hash::of(&root.join(output))?.content.to_string();
        let metrics = both(&made.metrics, &outcome.metrics);
        let finding = if reproduced == lineage.content {
            Finding::Identical
        } else if metrics.values().all(|pair| self.is_close(*pair)) {
            Finding::WithinTolerance
        } else {
            Finding::Differs
        };
        Ok(Verdict {
            finding,
            model: made.model.clone(),
            version: made.version,
            content: lineage.content.clone(),
            reproduced_content: reproduced,
            metrics,
            differing_outputs: differing_outputs(recorded_lock, &outcome.lock_text)?,
            tolerance: self.tolerance,
        })
    }

    fn is_close(&self, (old, new): (Option<f64>, Option<f64>)) -> bool {
        is_close(old, new, self.tolerance)
    }
}

fn is_close(old: Option<f64>, new: Option<f64>, tolerance: f64) -> bool {
    match (old, new) {
        // Equal infinities are equal, and so is a NaN that is a NaN again.
        (Some(old), Some(new)) => old.total_cmp(&new).is_eq() || (old - new).abs() <= tolerance * old.abs(),
        _ => false,
    }
}

/// The version, and the lock of the environment it was made in.
async fn recorded(ctx: &Context, reference: &str) -> Result<(ModelVersion, Option<String>), Error> {
    let made = version(ctx, reference).await?;
    let Some(lineage) = made.lineage.as_ref().filter(|lineage| lineage.environment_hash.is_some()) else {
        return Ok((made, None));
    };
    let path = format!("/projects/{}/runs/{}/environment", lineage.project, lineage.run);
    match ctx.client()?.text(&path).await {
        Ok(lock) => Ok((made, Some(lock))),
        Err(ClientError::Problem(problem)) if problem.kind == Kind::NotFound => Ok((made, None)),
        Err(error) => Err(error.into()),
    }
}

/// The commit, and the `dvc.lock` that the run recorded on top of it.
fn check_out(ctx: &Context, lineage: &Lineage, dir: &Path) -> Result<(WorkTree, Option<String>), Error> {
    ctx.ui.note(format!("Code: commit {} of {}", lineage.commit, lineage.project));
    let url = format!("{}/git/{}.git", ctx.server, lineage.project);
    let access = ctx.token.as_deref().map(|token| (ctx.server.as_str(), token));
    let tree = WorkTree::clone_from(&url, dir, access)?;
    let recorded = tree.fetch("origin", &format!("refs/towpath/runs/{}", lineage.run))?;
    let lock = tree.file(&recorded, "dvc.lock")?;
    // The commit of the version, not whatever the ref says.
    tree.checkout(&lineage.commit.parse::<CommitId>()?)?;
    Ok((tree, lock.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())))
}

/// The data of the commit, from the server, whatever remotes the repository names.
fn pull_data(ctx: &Context, lineage: &Lineage, root: &Path) -> Result<(), Error> {
    const REMOTE: &str = "towpath-reproduce";
    let url = format!("{}/dvc/{}", ctx.server, lineage.project);
    Config::write_remote(&root.join(".dvc"), Level::Local, REMOTE, &url, false)?;
    let repository = workspace::with_token(ctx, Repository::open(root)?);
    let pulled = verbs::pull(&repository, &[], Some(REMOTE), false, &ctx.ui.data_progress())?;
    for output in verbs::tracked(&repository, &[])? {
        let md5 = output.content.map(|content| content.md5).unwrap_or_default();
        ctx.ui.note(format!("Data: {} {md5}", output.path));
    }
    ctx.ui.note(format!("Pulled {}", ui::count(pulled.transferred.objects, "object")));
    Ok(())
}

/// All stages, none taken from a cache.
fn run_again(ctx: &Context, root: &Path, dir: &Path, environment_lock: Option<String>) -> Result<Outcome, Error> {
    let request = Request {
        force: true,
        variables: local_tracking(&Repository::open(root)?),
        environment_lock,
        helper: std::env::current_exe().ok(),
        ..Request::new(root.to_owned(), ctx.environments(), dir.join("logs"), dir.join("scratch"))
    };
    let journal = TerminalJournal::new(&ctx.ui, &request, dir.join("checks"), None);
    let outcome = engine::run(&request, &journal, &Anywhere::default(), &signals::cancel_on_signal()?)?;
    match outcome.status {
        Status::Succeeded => Ok(outcome),
        Status::Failed => {
            let why = outcome.error.unwrap_or_else(|| "a stage failed".into());
            Err(Error::new(Kind::Invalid, format!("the pipeline of that commit does not run here: {why}")))
        }
        Status::Cancelled | Status::Waiting => Err(Error::new(Kind::Conflict, "cancelled")),
    }
}

fn both(old: &BTreeMap<String, f64>, new: &BTreeMap<String, f64>) -> BTreeMap<String, (Option<f64>, Option<f64>)> {
    let names = old.keys().chain(new.keys());
    names.map(|name| (name.clone(), (old.get(name).copied(), new.get(name).copied()))).collect()
}

/// Where the way of the data parts from the recorded one.
fn differing_outputs(recorded: Option<&str>, reproduced: &str) -> Result<Vec<String>, Error> {
    let Some(recorded) = recorded else { return Ok(Vec::new()) };
    let (recorded, reproduced) = (Lock::read("dvc.lock", recorded)?, Lock::read("dvc.lock", reproduced)?);
    let mut differing = Vec::new();
    for (name, before) in &recorded.stages {
        for out in &before.outs {
            let now = reproduced.get(name).and_then(|stage| stage.out(&out.path));
            if now.is_none_or(|now| now.content.md5 != out.content.md5) {
                differing.push(format!("{name}: {}", out.path));
            }
        }
    }
    Ok(differing)
}

impl Human for Verdict {
    fn human(&self) -> String {
        let short = |content: &str| content.get(..8).unwrap_or(content).to_owned();
        let about = format!("{} v{}", self.model, self.version);
        let mut text = String::new();
        for output in &self.differing_outputs {
            let _ = writeln!(text, "other bytes: {output}");
        }
        let number = |value: Option<f64>| value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:.6}"));
        let shown = |(name, (old, new)): (&String, &(Option<f64>, Option<f64>))| {
            format!("{name} {} against {}", number(*new), number(*old))
        };
        let _ = match self.finding {
            Finding::Identical => {
                write!(text, "identical: the same bytes as {about} (content {})", short(&self.content))
            }
            Finding::WithinTolerance => {
                let metrics: Vec<String> = self.metrics.iter().map(shown).collect();
                let (tolerance, metrics) = (self.tolerance, metrics.join(", "));
                write!(text, "within tolerance: other bytes than {about}, every metric within {tolerance}: {metrics}")
            }
            Finding::Differs => {
                let off = self.metrics.iter().filter(|(_, (old, new))| !is_close(*old, *new, self.tolerance));
                let metrics: Vec<String> = off.map(shown).collect();
                write!(text, "differs: not {about}: {}", metrics.join(", "))
            }
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(finding: Finding, accuracy: f64) -> Verdict {
        Verdict {
            finding,
            model: "digits".into(),
            version: 2,
            content: "ab12cd34ef".into(),
            reproduced_content: "ffffffff00".into(),
            metrics: BTreeMap::from([("accuracy".into(), (Some(0.96), Some(accuracy)))]),
            differing_outputs: vec!["train: model".into()],
            tolerance: 0.001,
        }
    }

    #[test]
    fn the_last_line_is_the_verdict() {
        let last = |verdict: Verdict| verdict.human().lines().last().unwrap().to_owned();
        assert_eq!(
            last(verdict(Finding::Identical, 0.96)),
            "identical: the same bytes as digits v2 (content ab12cd34)"
        );
        assert_eq!(
            last(verdict(Finding::WithinTolerance, 0.9601)),
            "within tolerance: other bytes than digits v2, every metric within 0.001: accuracy 0.960100 against 0.960000"
        );
        assert_eq!(last(verdict(Finding::Differs, 0.5)), "differs: not digits v2: accuracy 0.500000 against 0.960000");
        assert!(verdict(Finding::Differs, 0.5).human().starts_with("other bytes: train: model\n"));
    }

    #[test]
    fn a_metric_is_close_by_its_own_size() {
        assert!(is_close(Some(0.96), Some(0.9605), 0.001));
        assert!(!is_close(Some(0.96), Some(0.9625), 0.001));
        assert!(!is_close(Some(0.96), None, 0.001));
        assert!(is_close(Some(f64::NAN), Some(f64::NAN), 0.0) && is_close(Some(0.0), Some(0.0), 0.0));
    }
}
