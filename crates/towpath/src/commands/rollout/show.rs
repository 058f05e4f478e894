use std::fmt::Write as _;

use towpath_api::deployments::{
    MetricVerdict, Outcomes, RolloutPoint, RolloutView, ShadowVerdict, ValueVerdict, Worse,
};

use towpath_core::project::Variants;

use super::Scope;
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Show a rollout: its step, what is known of the candidate, and the decisions
#[derive(clap::Args, Debug)]
pub struct Show {
    /// The number of its release [default: the one that rolls out, else the newest that did]
    release: Option<i64>,
    #[command(flatten)]
    scope: Scope,
}

impl Show {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let rollout = self.scope.rollout(ctx, self.release).await?;
        ctx.ui.show(&rollout)?;
        Ok(Exit::Done)
    }
}

impl Human for RolloutView {
    fn human(&self) -> String {
        let against = self.stable_version.map_or_else(|| "nothing".to_owned(), |version| format!("v{version}"));
        let observed = self.observed_share.map(|share| format!(", {:.1} % of requests so far", share * 100.0));
        let mut text = ui::fields([
            ("release", self.release.to_string()),
            ("candidate", format!("v{} against {against}", self.candidate_version)),
            (
                "variants",
                self.policy.variants.as_ref().map_or_else(String::new, |variants| {
                    let Variants { stable, candidate } = variants;
                    format!("{candidate} (candidate) against {stable}")
                }),
            ),
            ("status", self.status.replace('_', " ")),
            ("step", format!("{} of {}", self.step + 1, self.steps.len())),
            ("share", format!("{:.0} %{}", self.weight * 100.0, observed.unwrap_or_default())),
            ("started", ui::time(self.started_at)),
            ("finished", self.finished_at.map(ui::time).unwrap_or_default()),
            ("next", self.next.clone()),
        ]);
        if let Some(verdict) = &self.verdict {
            if let Some(shadow) = &verdict.shadow {
                let _ = write!(text, "\n{}", copies(shadow));
            }
            if !verdict.metrics.is_empty() {
                let headers = ["METRIC", "STABLE", "CANDIDATE", "EFFECT", "WORSE", "SAFE"];
                let _ = write!(text, "\n{}\n", ui::table(headers, verdict.metrics.iter().map(metric)));
            }
            if !verdict.values.is_empty() {
                let headers = ["METRIC", "STABLE", "CANDIDATE", "EFFECT", "WORSE", "SAFE"];
                let _ = write!(text, "\n{}\n", ui::table(headers, verdict.values.iter().map(value)));
            }
            let _ = writeln!(
                text,
                "against the candidate: {:.1} of {:.0}  {}",
                verdict.combined,
                verdict.combined_needed,
                curve(&self.series, verdict.combined_needed)
            );
        }
        if !self.decisions.is_empty() {
            let rows = self
                .decisions
                .iter()
                .map(|decision| [ui::time(decision.at), decision.verb.replace('_', " "), decision.text.clone()]);
            let _ = write!(text, "\n{}\n", ui::table(["AT", "DECIDED", "WHY"], rows));
        }
        text
    }
}

/// How the evidence against the candidate grew: its logarithm, from none (1) to what rolls back.
fn curve(series: &[RolloutPoint], needed: f64) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const WIDTH: usize = 48;
    let every = series.len().div_ceil(WIDTH).max(1);
    let bar = |points: &[RolloutPoint]| {
        let most = points.iter().map(|point| point.combined).fold(1.0, f64::max);
        let share = (most.ln() / needed.ln()).clamp(0.0, 1.0);
        BARS[(share * (BARS.len() - 1) as f64).round() as usize]
    };
    series.chunks(every).map(bar).collect()
}

/// Bad rates of both arms, their ratio with its interval, and how far the two tests are.
fn metric(metric: &MetricVerdict) -> [String; 6] {
    let worse = match metric.worse {
        Worse::NoSign => "no sign",
        Worse::Suspected => "suspected",
        Worse::Worse => "worse",
    };
    [
        metric.name.clone(),
        outcomes(metric.stable),
        outcomes(metric.candidate),
        match metric.p_value {
            Some(p) => format!("{}, p {p:.2e}", effect(metric)),
            None => effect(metric),
        },
        format!("{worse} ({:.1})", metric.evidence),
        format!("{:.1} of {:.0}{}", metric.safe, metric.safe_needed, if metric.required { ", required" } else { "" }),
    ]
}

/// Means of both arms, their difference with its interval, and how far the two tests are.
fn value(value: &ValueVerdict) -> [String; 6] {
    let mean = |mean: Option<f64>, count: u64| mean.map_or_else(|| "none".to_owned(), |m| format!("{m:.4} of {count}"));
    let evidence = |evidence: Option<f64>| evidence.map_or_else(|| "not judged".to_owned(), |e| format!("{e:.1}"));
    [
        value.name.clone(),
        mean(value.stable, value.counts.stable),
        mean(value.candidate, value.counts.candidate),
        difference(value),
        evidence(value.evidence),
        match value.safe {
            Some(safe) => {
                format!("{safe:.1} of {:.0}{}", value.safe_needed, if value.required { ", required" } else { "" })
            }
            None => String::new(),
        },
    ]
}

/// `+0.4000 (-0.1000 to 0.9000), p 1.20e-1`: the interval holds at all times.
pub(super) fn difference(value: &ValueVerdict) -> String {
    let (Some(stable), Some(candidate)) = (value.stable, value.candidate) else { return "unknown".to_owned() };
    let mut text = format!("{:+.4}", candidate - stable);
    if let Some(range) = value.difference {
        let _ = write!(text, " ({:.4} to {:.4})", range.low, range.high);
    }
    if let Some(p) = value.p_value {
        let _ = write!(text, ", p {p:.2e}");
    }
    text
}

/// `1.3x (0.4 to 6.1)`: the interval holds at all times.
pub(super) fn effect(metric: &MetricVerdict) -> String {
    let Some(ratio) = metric.ratio else { return "unknown".to_owned() };
    let estimate = ratio.estimate.map_or_else(|| "?".to_owned(), |estimate| format!("{estimate:.2}"));
    match ratio.high {
        Some(high) => format!("{estimate}x ({:.2} to {high:.2})", ratio.low),
        None => format!("{estimate}x (at least {:.2})", ratio.low),
    }
}

fn outcomes(outcomes: Outcomes) -> String {
    match outcomes.all {
        0 => "none".to_owned(),
        all => format!("{:.2} % of {all}", outcomes.bad as f64 / all as f64 * 100.0),
    }
}

fn copies(shadow: &ShadowVerdict) -> String {
    let ms =
        |seconds: Option<f64>| seconds.map_or_else(|| "?".to_owned(), |seconds| format!("{:.3} ms", seconds * 1e3));
    ui::fields([
        ("copies", shadow.compared.to_string()),
        ("differ", format!("{}, of which the candidate failed {}", shadow.disagreed, shadow.failed)),
        ("shown to agree", format!("{:.1} of {:.0}", shadow.safe, shadow.safe_needed)),
        ("drift", shadow.drift.map(|drift| format!("{drift:+.3} standard deviations")).unwrap_or_default()),
        ("run time", format!("stable {}, candidate {}", ms(shadow.stable_seconds), ms(shadow.candidate_seconds))),
    ])
}
