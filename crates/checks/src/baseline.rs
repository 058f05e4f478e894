//! What accepted batches looked like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::Batch;
use crate::profile::ColumnProfile;
use crate::suite::Statistic;

/// The fewest batches that say how much batches differ.
pub const MIN_BATCHES: usize = 3;

/// Statistics of accepted batches, frozen: only batches that passed and were accepted are added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    pub batches: Vec<BaselineBatch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineBatch {
    pub name: String,
    /// Content hash; a batch is known by it, not by its name.
    pub hash: String,
    pub rows: u64,
    pub columns: BTreeMap<String, BaselineColumn>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineColumn {
    pub nulls: u64,
    pub numbers: u64,
    pub mean: f64,
    pub variance: f64,
}

impl From<&ColumnProfile> for BaselineColumn {
    fn from(column: &ColumnProfile) -> Self {
        Self { nulls: column.nulls, numbers: column.numbers, mean: column.mean, variance: column.variance }
    }
}

impl Baseline {
    pub fn frozen_from(accepted: &[Batch<'_>]) -> Self {
        Self::default().extended(accepted)
    }

    /// With further accepted batches; those it holds already stay as they were.
    pub fn extended(&self, accepted: &[Batch<'_>]) -> Self {
        let mut baseline = self.clone();
        for batch in accepted {
            if baseline.holds(batch.hash) {
                continue;
            }
            let columns = batch.profile.columns.iter().map(|c| (c.name.clone(), c.into())).collect();
            baseline.batches.push(BaselineBatch {
                name: batch.name.to_owned(),
                hash: batch.hash.to_owned(),
                rows: batch.profile.rows,
                columns,
            });
        }
        baseline
    }

    pub fn holds(&self, hash: &str) -> bool {
        self.batches.iter().any(|b| b.hash == hash)
    }
}

/// Where a statistic of a new batch is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    /// Of the statistic over the batches.
    pub(crate) mean: f64,
    /// Of the statistic from batch to batch, with the sampling error of a batch of the given size.
    pub(crate) sd: f64,
}

/// What `batches` let expect of a statistic of a column in a batch with `rows` rows. Nothing when
/// fewer than [`MIN_BATCHES`] of them have the column.
///
/// The variance is that between the batches plus the sampling variance within a batch (s^2/n for a
/// mean, s^2/2n for a standard deviation, p(1-p)/n for a share). The first holds part of the second
/// already; counting it twice widens the bounds while few batches are known, when the first is
/// estimated badly.
pub(crate) fn expected(batches: &[&BaselineBatch], column: &str, statistic: Statistic, rows: u64) -> Option<Expected> {
    let known: Vec<(&BaselineColumn, u64)> =
        batches.iter().filter_map(|b| b.columns.get(column).map(|c| (c, b.rows))).collect();
    let observed: Vec<f64> = known.iter().filter_map(|(c, rows)| value(c, *rows, statistic)).collect();
    if observed.len() < MIN_BATCHES {
        return None;
    }
    let n = observed.len() as f64;
    let mean = observed.iter().sum::<f64>() / n;
    let between = observed.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let row_variance = known.iter().map(|(c, _)| c.variance).sum::<f64>() / known.len() as f64;
    let size = rows.max(1) as f64;
    let within = match statistic {
        Statistic::Mean => row_variance / size,
        Statistic::Sd => row_variance / (2.0 * size),
        Statistic::Nulls => mean * (1.0 - mean) / size,
    };
    Some(Expected { mean, sd: (between + within).sqrt() })
}

/// A statistic of a column; nothing where there are no rows or numbers to take it from.
pub(crate) fn value(column: &BaselineColumn, rows: u64, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Mean => (column.numbers > 0).then_some(column.mean),
        Statistic::Sd => (column.numbers > 1).then(|| column.variance.sqrt()),
        Statistic::Nulls => (rows > 0).then(|| column.nulls as f64 / rows as f64),
    }
}
