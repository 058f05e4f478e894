//! A model that is loaded and warmed, with what it has done.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use towpath_api::control::{Batching, Revision};
use towpath_core::Timestamp;

use crate::batch::{Gathering, Queue};
use crate::error::{RequestError, RevisionError};
use crate::lane::Lane;
use crate::metrics::Histograms;
use crate::package::{self, Column};
use crate::protocol;
use crate::runtime::{ExplainError, Runtime};
use crate::server::Loader;
use crate::tensor::Tensor;
use crate::triton;

/// A run longer than this would keep its thread from answering others: it goes to a thread of its
/// own. Shorter ones run where the request is read, which saves two thread switches.
const INLINE_MICROS: u64 = 2_000;

/// Elements of one row of an input: more are taken for a damaged file.
const MAX_ELEMENTS: usize = 1 << 28;

/// Runs of one model at once grow to this many for each core, while they take no longer for it.
const RUNS_OF_A_CORE: usize = 4;

pub(crate) struct LoadedRevision {
    pub(crate) info: Revision,
    /// Its id, shared by what the log remembers of its predictions.
    pub(crate) id: Arc<str>,
    /// Its id as answers carry it, when a header can.
    pub(crate) header: Option<HeaderValue>,
    pub(crate) runtime: Box<dyn Runtime>,
    /// The columns that its signature asks for; none when it has no signature of columns.
    pub(crate) columns: Vec<Column>,
    /// Index of the output whose values are the answered labels.
    pub(crate) label_output: usize,
    pub(crate) tallies: Tallies,
    pub(crate) recent: Mutex<Recent>,
    pub(crate) histograms: Histograms,
    pub(crate) lane: Arc<Lane>,
    pub(crate) queue: Queue,
    /// Explanations take far longer than answers and keep none of them waiting.
    explanations: Arc<Lane>,
    /// Every input and output has its rows first, as many as a request likes.
    by_rows: bool,
    batching: Mutex<Option<Gathering>>,
    /// What its own configuration says.
    own_batching: Option<Gathering>,
    /// Of its own configuration, for who asks for its metadata.
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) batches: AtomicU64,
    pub(crate) batched_rows: AtomicU64,
    /// Moving average of the run time of one row in microseconds.
    run_micros: AtomicU64,
}

impl LoadedRevision {
    /// Loads and warms; blocks.
    pub(crate) fn load(info: Revision, loader: &Loader) -> Result<Self, RevisionError> {
        let runtime = loader(&info)?;
        let description = package::describe(Path::new(&info.path))?;
        let config = triton::read(Path::new(&info.path))?.unwrap_or_default();
        config.check(runtime.inputs(), runtime.outputs())?;
        for input in runtime.inputs() {
            let lengths = input.shape.iter().map(|length| length.unwrap_or(1));
            let elements = lengths.fold(1_usize, usize::saturating_mul);
            if elements > MAX_ELEMENTS {
                let detail = format!(
                    "a row of input '{}' has {elements} elements, at most {MAX_ELEMENTS} are taken",
                    input.name
                );
                return Err(RevisionError::WarmUp(detail));
            }
        }
        let label_output = runtime.outputs().iter().position(|output| output.name.contains("label")).unwrap_or(0);
        let mut specs = runtime.inputs().iter().chain(runtime.outputs());
        let by_rows = specs.all(|spec| spec.shape.first() == Some(&None));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let lane = runtime.runs_at_once().map_or_else(|| Lane::new(cores * RUNS_OF_A_CORE), Lane::fixed);
        let revision = Self {
            id: Arc::from(info.id.as_str()),
            header: HeaderValue::from_str(&info.id).ok(),
            info,
            runtime,
            columns: description.columns,
            label_output,
            tallies: Tallies::default(),
            recent: Mutex::new(Recent::default()),
            histograms: Histograms::default(),
            lane,
            queue: Queue::default(),
            explanations: Lane::fixed(1),
            by_rows,
            batching: Mutex::new(config.gathering()),
            own_batching: config.gathering(),
            parameters: config.parameters,
            batches: AtomicU64::new(0),
            batched_rows: AtomicU64::new(0),
            run_micros: AtomicU64::new(0),
        };
        // The first runs fault pages in and fill caches; the last one is what to expect.
        for _ in 0..3 {
            let started = Instant::now();
            revision.run_here(revision.runtime.warm_up()).map_err(|error| RevisionError::WarmUp(error.to_string()))?;
            revision.run_micros.store(micros(started.elapsed()), Ordering::Relaxed);
        }
        if let Some(example) = &description.example {
            revision.run_example(example)?;
        }
        Ok(revision)
    }

    /// Runs the example that was saved with the model.
    fn run_example(&self, example: &[u8]) -> Result<(), RevisionError> {
        let failed = |error: RequestError| RevisionError::WarmUp(format!("its input example: {error}"));
        match protocol::read_example(example, self.runtime.inputs(), &self.columns) {
            Ok(inputs) => self.run_here(inputs).map(drop).map_err(failed),
            // It may be of a form that only Python takes.
            Err(error) => {
                tracing::warn!(revision = %self.id, %error, "the input example is not taken");
                Ok(())
            }
        }
    }

    /// Runs one batch, at the latest until `deadline`. A panic of the runtime is a failed request.
    pub(crate) async fn run(
        self: &Arc<Self>,
        inputs: Vec<Tensor>,
        deadline: Instant,
    ) -> Result<Vec<Tensor>, RequestError> {
        let rows = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1).max(1);
        let batching = lock(&self.batching).clone();
        if let Some(batching) = batching
            && self.by_rows
            && inputs.iter().all(|input| input.shape.first() == Some(&rows))
        {
            return Queue::run(self, batching, inputs, rows, deadline).await;
        }
        let expected = self.run_micros.load(Ordering::Relaxed).saturating_mul(rows as u64);
        if expected < INLINE_MICROS && !self.runtime.runs_foreign_code() {
            return self.run_here(inputs);
        }
        let permit = self.lane.enter(deadline).await?;
        let started = Instant::now();
        let revision = Arc::clone(self);
        // The place is free again when the run is over, not when its client has given up.
        let run = tokio::task::spawn_blocking(move || {
            let outputs = revision.run_here(inputs);
            drop(permit);
            outputs
        });
        match tokio::time::timeout_at(deadline.into(), run).await {
            Ok(Ok(result)) => result,
            Ok(Err(join)) => Err(RequestError::Model(join.to_string())),
            Err(_) => Err(RequestError::Deadline { seconds: started.elapsed().as_secs_f64() }),
        }
    }

    /// Explains the answers to these inputs, at the latest until `deadline`.
    pub(crate) async fn explain(
        self: &Arc<Self>,
        inputs: Vec<Tensor>,
        deadline: Instant,
    ) -> Result<Tensor, RequestError> {
        let permit = self.explanations.enter(deadline).await?;
        let (started, revision) = (Instant::now(), Arc::clone(self));
        let explaining = tokio::task::spawn_blocking(move || {
            let explanation = revision.runtime.explain(&inputs, deadline);
            drop(permit);
            explanation
        });
        explaining.await.map_err(|join| RequestError::Model(join.to_string()))?.map_err(|error| match error {
            ExplainError::Unsupported(detail) => RequestError::NotExplained(detail),
            ExplainError::TooMuch { .. } => RequestError::Invalid(error.to_string()),
            ExplainError::Deadline => RequestError::Deadline { seconds: started.elapsed().as_secs_f64() },
        })
    }

    /// Requests that wait are run together from now on, as the model's own configuration says, or each alone.
    pub(crate) fn set_batching(&self, batching: Option<Batching>) {
        *lock(&self.batching) = batching.map(Gathering::from).or_else(|| self.own_batching.clone());
    }

    pub(crate) fn count_batch(&self, rows: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batched_rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Runs it on this thread; blocks.
    pub(crate) fn run_here(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RequestError> {
        let started = Instant::now();
        let rows = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1).max(1) as u64;
        let outputs = self.run_guarded(inputs)?;
        let per_row = micros(started.elapsed()) / rows;
        let average = self.run_micros.load(Ordering::Relaxed);
        self.run_micros.store((average * 15 + per_row) / 16, Ordering::Relaxed);
        Ok(outputs)
    }

    fn run_guarded(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, RequestError> {
        match std::panic::catch_unwind(AssertUnwindSafe(|| self.runtime.run(inputs))) {
            Ok(Ok(outputs)) if outputs.len() == self.runtime.outputs().len() => Ok(outputs),
            Ok(Ok(outputs)) => Err(RequestError::Model(format!(
                "it gave {} outputs instead of {}",
                outputs.len(),
                self.runtime.outputs().len()
            ))),
            Ok(Err(error)) => Err(RequestError::Model(error.to_string())),
            Err(panic) => Err(RequestError::Model(format!("it panicked: {}", panic_text(panic.as_ref())))),
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Counters of a revision since its first request; they survive restarts.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) requests: AtomicU64,
    pub(crate) errors: AtomicU64,
    pub(crate) labelled: AtomicU64,
    pub(crate) correct: AtomicU64,
}

/// [`Tallies`] as they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TallyValues {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) labelled: u64,
    pub(crate) correct: u64,
}

impl Tallies {
    pub(crate) fn values(&self) -> TallyValues {
        TallyValues {
            requests: self.requests.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            labelled: self.labelled.load(Ordering::Relaxed),
            correct: self.correct.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn restore(&self, values: TallyValues) {
        self.requests.store(values.requests, Ordering::Relaxed);
        self.errors.store(values.errors, Ordering::Relaxed);
        self.labelled.store(values.labelled, Ordering::Relaxed);
        self.correct.store(values.correct, Ordering::Relaxed);
    }
}

/// The latest requests: latencies for quantiles, times for the rate.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    samples: VecDeque<(Timestamp, u32)>,
    /// (second since the epoch, requests in it), the last minute.
    seconds: VecDeque<(i64, u32)>,
}

/// What the last minute looked like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LastMinute {
    /// Seconds.
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    /// Requests a second.
    pub(crate) rate: f64,
}

impl Recent {
    const KEPT: usize = 2_048;

    pub(crate) fn add(&mut self, at: Timestamp, micros: u64) {
        if self.samples.len() == Self::KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back((at, u32::try_from(micros).unwrap_or(u32::MAX)));
        let second = at.millis() / 1000;
        match self.seconds.back_mut() {
            Some((last, count)) if *last == second => *count += 1,
            _ => {
                self.seconds.push_back((second, 1));
                if self.seconds.len() > 60 {
                    self.seconds.pop_front();
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Latency quantiles in seconds over everything kept; empty when nothing is.
    pub(crate) fn quantiles(&self, quantiles: &[f64]) -> Vec<f64> {
        pick(self.samples.iter().map(|(_, micros)| *micros).collect(), quantiles)
    }

    pub(crate) fn last_minute(&self, now: Timestamp) -> LastMinute {
        let fresh = |at: &Timestamp| now.since(*at) < Duration::from_mins(1);
        let latencies = self.samples.iter().filter(|(at, _)| fresh(at)).map(|(_, micros)| *micros).collect();
        let quantiles = pick(latencies, &[0.5, 0.99]);
        let second = now.millis() / 1000;
        let minute: Vec<&(i64, u32)> = self.seconds.iter().filter(|(at, _)| second - at < 60).collect();
        let count: u32 = minute.iter().map(|(_, count)| count).sum();
        let span = minute.first().map_or(1, |(first, _)| (second - first + 1).clamp(1, 60));
        LastMinute {
            p50: quantiles.first().copied(),
            p99: quantiles.get(1).copied(),
            rate: f64::from(count) / span as f64,
        }
    }
}

fn pick(mut micros: Vec<u32>, quantiles: &[f64]) -> Vec<f64> {
    if micros.is_empty() {
        return Vec::new();
    }
    micros.sort_unstable();
    let last = micros.len() - 1;
    let at = |quantile: &f64| f64::from(micros[((quantile * micros.len() as f64) as usize).min(last)]) / 1e6;
    quantiles.iter().map(at).collect()
}

/// A poisoned lock guards counters only: they are still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_has_quantiles_and_a_rate() {
        let mut recent = Recent::default();
        for i in 0..100 {
            recent.add(Timestamp(i * 100), 1_000 + u64::try_from(i).unwrap());
        }
        let minute = recent.last_minute(Timestamp(9_900));
        assert_eq!(minute, LastMinute { p50: Some(0.001_05), p99: Some(0.001_099), rate: 10.0 });
        assert_eq!(recent.last_minute(Timestamp(200_000)), LastMinute { p50: None, p99: None, rate: 0.0 });
    }
}
