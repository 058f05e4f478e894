//! From profiles to a verdict.

use serde::{Deserialize, Serialize};

use crate::baseline::{Baseline, BaselineBatch, BaselineColumn, MIN_BATCHES, expected, value};
use crate::pattern;
use crate::profile::{BatchProfile, ColumnProfile, Found};
use crate::suite::{Range, Suite};

/// Failures a verdict lists; all are counted.
const MAX_FAILURES: usize = 50;

/// A file of the tracked folder.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The file's path in the folder.
    pub name: &'a str,
    /// Its content hash.
    pub hash: &'a str,
    pub profile: &'a BatchProfile,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub passed: bool,
    pub batches: u64,
    pub rows: u64,
    /// Conditions evaluated, each for one batch and column.
    pub expectations: u32,
    /// How many of them failed.
    pub failed: u32,
    /// Worst first, at most 50.
    pub failures: Vec<Failure>,
    /// What was not evaluated, and why.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub batch: Option<String>,
    pub column: Option<String>,
    /// `well_formed`, `columns`, `rows`, `type`, `nulls`, `between`, `in_set`, `unique`,
    /// `mean_near_baseline`, `sd_near_baseline`, `nulls_near_baseline`.
    pub expectation: String,
    pub observed: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub message: String,
}

/// Evaluates every expectation on every batch. Statistics are evaluated on batches that `baseline`
/// does not hold, each against the batches it holds; with fewer than [`MIN_BATCHES`] in the
/// baseline, each against all other batches of the data (leave one out); where these are too few
/// as well, not at all, which the notes say.
pub fn evaluate(suite: &Suite, batches: &[Batch<'_>], baseline: Option<&Baseline>) -> Verdict {
    let mut found = Findings::default();
    for batch in batches {
        columns(&mut found, suite, batch);
        rows(&mut found, suite, batch);
    }
    let rows: u64 = batches.iter().map(|b| b.profile.rows).sum();
    if suite.rows_total != Range::default() {
        let failure = out_of_range(suite.rows_total, rows, None, "rows in all batches together");
        found.expect(f64::MAX, failure);
    }
    if batches.is_empty() {
        found.expect(f64::INFINITY, Some(failure(None, None, "rows", "there is no batch".into())));
    }
    statistics(&mut found, suite, batches, baseline);

    found.failures.sort_by(|a, b| b.0.total_cmp(&a.0));
    let failed = found.failures.len() as u32;
    Verdict {
        passed: failed == 0,
        batches: batches.len() as u64,
        rows,
        expectations: found.expectations,
        failed,
        failures: found.failures.into_iter().take(MAX_FAILURES).map(|(_, failure)| failure).collect(),
        notes: found.notes,
    }
}

#[derive(Default)]
struct Findings {
    expectations: u32,
    /// With how bad each is, the worst the highest: what says nothing of its size (a missing
    /// column) before shares of rows (0 to 1) times a million, before distances in tolerances.
    failures: Vec<(f64, Failure)>,
    notes: Vec<String>,
}

impl Findings {
    fn expect(&mut self, badness: f64, failure: Option<Failure>) {
        self.expectations += 1;
        self.failures.extend(failure.map(|f| (badness, f)));
    }
}

fn failure(batch: Option<&str>, column: Option<&str>, expectation: &str, message: String) -> Failure {
    Failure {
        batch: batch.map(str::to_owned),
        column: column.map(str::to_owned),
        expectation: expectation.to_owned(),
        observed: None,
        low: None,
        high: None,
        message: match batch {
            Some(batch) => format!("{message} (batch {batch})"),
            None => message,
        },
    }
}

fn columns(found: &mut Findings, suite: &Suite, batch: &Batch<'_>) {
    let (name, profile) = (batch.name, batch.profile);
    let malformed = profile.malformed.as_ref();
    let message = |place: &crate::profile::Place| format!("line {} is malformed: {}", place.line, place.text);
    found.expect(f64::INFINITY, malformed.map(|place| failure(Some(name), None, "well_formed", message(place))));

    for expectation in &suite.columns {
        let present = profile.columns.iter().any(|c| pattern::matches(&expectation.columns, &c.name));
        let what = if expectation.is_pattern() { "no column matches" } else { "there is no column" };
        let missing =
            || failure(Some(name), Some(&expectation.columns), "columns", format!("{what} {}", expectation.columns));
        found.expect(f64::INFINITY, (!present).then(missing));
    }
    for column in suite.unique.iter().filter(|c| !profile.columns.iter().any(|p| p.name == **c)) {
        found.expect(
            f64::INFINITY,
            Some(failure(Some(name), Some(column), "columns", format!("there is no column {column}"))),
        );
    }
    for (at, column) in profile.columns.iter().enumerate() {
        if profile.columns[..at].iter().any(|c| c.name == column.name) {
            let message = format!("column {} is there twice", column.name);
            found.expect(f64::INFINITY, Some(failure(Some(name), Some(&column.name), "columns", message)));
        }
        match suite.expectation(&column.name) {
            Some(_) => cells(found, suite, batch, column),
            None if suite.other_columns_allowed => {}
            None => {
                let message = format!("column {} is not in the suite", column.name);
                found.expect(f64::INFINITY, Some(failure(Some(name), Some(&column.name), "columns", message)));
            }
        }
    }
}

/// Type, nulls, range and set of one column.
fn cells(found: &mut Findings, suite: &Suite, batch: &Batch<'_>, column: &ColumnProfile) {
    let Some(expectation) = suite.expectation(&column.name) else { return };
    let rows = batch.profile.rows.max(1) as f64;
    let by_rows = |found: &Found| 1e6 * found.count as f64 / rows;
    let value =
        |found: &Found| found.first.as_ref().map(|p| format!("'{}' in line {}", p.text, p.line)).unwrap_or_default();
    let of = |name: &str, message: String| failure(Some(batch.name), Some(&column.name), name, message);
    let column_name = &column.name;

    if expectation.kind.is_some() || suite.is_numeric(column_name) {
        let wrong = &column.wrong_type;
        let kind = match expectation.kind {
            Some(crate::suite::ColumnType::Integer) => "an integer",
            Some(crate::suite::ColumnType::Boolean) => "true or false",
            _ => "a number",
        };
        let message = || format!("{} values of {column_name} are not {kind}, first {}", wrong.count, value(wrong));
        found.expect(by_rows(wrong), (wrong.count > 0).then(|| of("type", message())));
    }
    if let Some(max) = expectation.max_nulls {
        let share = column.nulls as f64 / rows;
        let failed = share > max;
        let message = format!("{} of {column_name} are null, allowed {}", percent(share), percent(max));
        let failure = || Failure { observed: Some(share), high: Some(max), ..of("nulls", message) };
        found.expect(1e6 * share, failed.then(failure));
    }
    if let Some((low, high)) = expectation.between {
        let outside = &column.outside;
        let far = if column.max > high { column.max } else { column.min };
        let message = || {
            let range = format!("{} to {}", number(low), number(high));
            format!(
                "{} values of {column_name} are outside {range}, as far as {}, first {}",
                outside.count,
                number(far),
                value(outside)
            )
        };
        let failure = || Failure { observed: Some(far), low: Some(low), high: Some(high), ..of("between", message()) };
        found.expect(by_rows(outside), (outside.count > 0).then(failure));
    }
    if expectation.in_set.is_some() {
        let strange = &column.not_in_set;
        let message =
            || format!("{} values of {column_name} are not in the set, first {}", strange.count, value(strange));
        found.expect(by_rows(strange), (strange.count > 0).then(|| of("in_set", message())));
    }
}

fn rows(found: &mut Findings, suite: &Suite, batch: &Batch<'_>) {
    if suite.rows_per_batch != Range::default() {
        let failure = out_of_range(suite.rows_per_batch, batch.profile.rows, Some(batch.name), "rows");
        found.expect(f64::MAX, failure);
    }
    if suite.unique.is_empty() {
        return;
    }
    let duplicates = &batch.profile.duplicates;
    let message = || {
        let first =
            duplicates.first.as_ref().map(|p| format!(", first '{}' in line {}", p.text, p.line)).unwrap_or_default();
        format!("{} rows repeat {}{first}", duplicates.count, suite.unique.join(", "))
    };
    let badness = 1e6 * duplicates.count as f64 / batch.profile.rows.max(1) as f64;
    found.expect(badness, (duplicates.count > 0).then(|| failure(Some(batch.name), None, "unique", message())));
    if batch.profile.unique_unchecked {
        found.notes.push(format!("uniqueness of {} was not checked to the end: too many rows", batch.name));
    }
}

fn out_of_range(range: Range, count: u64, batch: Option<&str>, what: &str) -> Option<Failure> {
    let bound = match (range.min, range.max) {
        (Some(min), _) if count < min => format!("at least {min}"),
        (_, Some(max)) if count > max => format!("at most {max}"),
        _ => return None,
    };
    Some(Failure {
        observed: Some(count as f64),
        low: range.min.map(|n| n as f64),
        high: range.max.map(|n| n as f64),
        ..failure(batch, None, "rows", format!("{count} {what}, allowed {bound}"))
    })
}

fn statistics(found: &mut Findings, suite: &Suite, batches: &[Batch<'_>], baseline: Option<&Baseline>) {
    if suite.batch_statistics.is_empty() {
        return;
    }
    let accepted: Vec<&BaselineBatch> = baseline.map(|b| b.batches.iter().collect()).unwrap_or_default();
    let these = Baseline::frozen_from(batches);
    for batch in batches {
        if baseline.is_some_and(|b| b.holds(batch.hash)) {
            continue;
        }
        let reference: Vec<&BaselineBatch> = if accepted.len() >= MIN_BATCHES {
            accepted.clone()
        } else {
            these.batches.iter().filter(|b| b.hash != batch.hash).collect()
        };
        if reference.len() < MIN_BATCHES {
            let note =
                format!("no baseline yet for {}: {} other batches, needed {MIN_BATCHES}", batch.name, reference.len());
            found.notes.push(note);
            continue;
        }
        for column in &batch.profile.columns {
            near_baseline(found, suite, batch, column, &reference);
        }
    }
}

fn near_baseline(
    found: &mut Findings,
    suite: &Suite,
    batch: &Batch<'_>,
    column: &ColumnProfile,
    reference: &[&BaselineBatch],
) {
    for wanted in suite.batch_statistics.iter().filter(|s| pattern::matches(&s.columns, &column.name)) {
        let rows = batch.profile.rows;
        let Some(observed) = value(&BaselineColumn::from(column), rows, wanted.statistic) else { continue };
        let Some(expected) = expected(reference, &column.name, wanted.statistic, rows) else {
            found.notes.push(format!("no baseline yet for {} of {}", wanted.statistic.as_str(), column.name));
            continue;
        };
        let tolerance = &wanted.tolerance;
        let allowed = tolerance.sd * expected.sd + tolerance.absolute + tolerance.relative * expected.mean.abs();
        let (low, high) = (expected.mean - allowed, expected.mean + allowed);
        let distance = (observed - expected.mean).abs();
        let statistic = wanted.statistic.as_str();
        let failure = || Failure {
            observed: Some(observed),
            low: Some(low),
            high: Some(high),
            ..failure(
                Some(batch.name),
                Some(&column.name),
                &format!("{statistic}_near_baseline"),
                format!(
                    "{statistic} of {} is {}, allowed {} to {}",
                    column.name,
                    number(observed),
                    number(low),
                    number(high)
                ),
            )
        };
        // An allowance of zero (a statistic that never varied) makes any distance the worst.
        let badness = if allowed > 0.0 { distance / allowed } else { 1e6 };
        found.expect(badness.min(1e6), (distance > allowed).then(failure));
    }
}

/// A number as people read it: about three digits.
fn number(value: f64) -> String {
    let size = value.abs();
    let text = if size >= 1e6 || (size > 0.0 && size < 1e-3) {
        return format!("{value:.2e}");
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn percent(share: f64) -> String {
    format!("{}%", number(100.0 * share))
}
