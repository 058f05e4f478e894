//! Copies of requests for a candidate that nobody waits for. They run one after the other on a thread of
//! their own, behind everything else; when they come faster than it runs, they are dropped and counted.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use towpath_core::project::ShadowPolicy;
use towpath_stats::judge::Pair;

use crate::evidence::Judge;
use crate::prediction_log::{CopyAnswer, PredictionId, PredictionLog, output};
use crate::revision::LoadedRevision;
use crate::tensor::{Data, Tensor};

/// Copies that wait.
const WAITING: usize = 256;
/// Bytes of copies that wait.
const WAITING_BYTES: usize = 64 << 20;
/// A copy that waited longer says nothing about how long the candidate takes.
const STALE: Duration = Duration::from_secs(10);
/// Of `nice`: the thread gets what others leave.
const POLITENESS: i32 = 15;

/// A request that the candidate shall answer as well.
pub(crate) struct Copy {
    pub(crate) candidate: Arc<LoadedRevision>,
    pub(crate) rollout: Arc<str>,
    /// The prediction that was copied.
    pub(crate) id: PredictionId,
    pub(crate) key_hash: Option<u64>,
    /// Its label will be compared with the candidate's answer as well.
    pub(crate) labels: bool,
    /// `None`: it does not take what stable takes.
    pub(crate) inputs: Option<Vec<Tensor>>,
    pub(crate) policy: ShadowPolicy,
}

struct Waiting {
    copy: Copy,
    /// What users are shown of stable's answer.
    answer: Tensor,
    stable_took: Duration,
    since: Instant,
    bytes: usize,
}

pub(crate) struct Shadow {
    judge: Arc<Judge>,
    log: Arc<PredictionLog>,
    queue: OnceLock<Option<SyncSender<Waiting>>>,
    bytes: Arc<AtomicUsize>,
    pub(crate) dropped: Arc<AtomicU64>,
}

impl Shadow {
    pub(crate) fn new(judge: Arc<Judge>, log: Arc<PredictionLog>) -> Self {
        Self { judge, log, queue: OnceLock::new(), bytes: Arc::default(), dropped: Arc::default() }
    }

    /// Takes a copy in, with stable's answer; never waits.
    pub(crate) fn send(&self, copy: Copy, answer: &Tensor, stable_took: Duration) {
        let bytes = copy.inputs.iter().flatten().chain([answer]).map(size).sum();
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let waiting_copy = Waiting { copy, answer: answer.clone(), stable_took, since: Instant::now(), bytes };
        let queue = self.queue.get_or_init(|| self.start());
        let sent = waiting + bytes <= WAITING_BYTES
            && queue.as_ref().is_some_and(|queue| queue.try_send(waiting_copy).is_ok());
        if !sent {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn start(&self) -> Option<SyncSender<Waiting>> {
        let (queue, copies) = sync_channel(WAITING);
        let (judge, bytes, dropped) = (Arc::clone(&self.judge), Arc::clone(&self.bytes), Arc::clone(&self.dropped));
        let thread = std::thread::Builder::new().name("shadow".to_owned());
        let log = Arc::clone(&self.log);
        let started = thread.spawn(move || run(&copies, &judge, &log, &bytes, &dropped));
        started.inspect_err(|error| tracing::error!(%error, "no thread for copies of requests")).ok().map(|_| queue)
    }
}

fn run(copies: &Receiver<Waiting>, judge: &Judge, log: &PredictionLog, bytes: &AtomicUsize, dropped: &AtomicU64) {
    // Linux has it for each thread. Without it copies take their share of the machine.
    let _ = rustix::process::setpriority_process(None, POLITENESS);
    for waiting in copies {
        bytes.fetch_sub(waiting.bytes, Ordering::Relaxed);
        if waiting.since.elapsed() > STALE || !judge.in_progress(&waiting.copy.rollout) {
            dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let Waiting { copy, answer, stable_took, .. } = waiting;
        let Copy { candidate, rollout, id, key_hash, labels, inputs, policy } = copy;
        let started = Instant::now();
        let outputs = inputs.and_then(|inputs| {
            std::panic::catch_unwind(AssertUnwindSafe(|| candidate.run_here(inputs))).ok().and_then(Result::ok)
        });
        let candidate_seconds = started.elapsed().as_secs_f64();
        let theirs = outputs.as_ref().and_then(|outputs| outputs.get(candidate.label_output));
        let pair = Pair {
            failed: theirs.is_none(),
            agreed: theirs.is_some_and(|theirs| agree(&answer, theirs, policy.tolerance)),
            stable_seconds: stable_took.as_secs_f64(),
            candidate_seconds,
            outputs: theirs.and_then(|theirs| Some((mean(&answer)?, mean(theirs)?))),
        };
        if labels {
            let output = theirs.and_then(|theirs| serde_json::from_str(output::logged(theirs).0.get()).ok());
            let answer = CopyAnswer { rollout: Arc::clone(&rollout), key_hash, output: output.unwrap_or_default() };
            log.copied(id, answer);
        }
        judge.compare(&rollout, &pair);
    }
}

fn size(tensor: &Tensor) -> usize {
    match &tensor.data {
        Data::F32(values) => values.len() * 4,
        Data::F64(values) => values.len() * 8,
        Data::I64(values) => values.len() * 8,
        Data::Bool(values) => values.len(),
        Data::Text(values) => values.iter().map(|value| value.len() + 24).sum(),
    }
}

/// Whether two answers are the same, numbers within `tolerance` of one another, relative to stable's.
fn agree(stable: &Tensor, candidate: &Tensor, tolerance: f64) -> bool {
    let near = |a: f64, b: f64| (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * a.abs().max(1.0);
    match (numbers(stable), numbers(candidate)) {
        (Some(ours), Some(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(&theirs).all(|(a, b)| a.to_bits() == b.to_bits() || near(*a, *b))
        }
        _ => stable.data == candidate.data,
    }
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match &tensor.data {
        Data::F32(values) => values.iter().map(|value| f64::from(*value)).collect(),
        Data::F64(values) => values.clone(),
        Data::I64(values) => values.iter().map(|value| *value as f64).collect(),
        Data::Bool(values) => values.iter().map(|value| f64::from(u8::from(*value))).collect(),
        Data::Text(_) => return None,
    })
}

fn mean(tensor: &Tensor) -> Option<f64> {
    let numbers = numbers(tensor).filter(|numbers| !numbers.is_empty())?;
    Some(numbers.iter().sum::<f64>() / numbers.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_agree_when_they_are_equal_or_near_enough() {
        let tensor = |data: Data| Tensor { shape: vec![data.len()], data };
        let float = |value: f64| tensor(Data::F64(vec![value]));
        let text = |value: &str| tensor(Data::Text(vec![value.to_owned()]));
        assert!(agree(&float(100.0), &float(100.5), 0.01) && !agree(&float(100.0), &float(102.0), 0.01));
        assert!(
            agree(&float(f64::NAN), &float(f64::NAN), 0.0) && agree(&float(f64::INFINITY), &float(f64::INFINITY), 0.0)
        );
        assert!(!agree(&float(1.0), &float(f64::NAN), 0.1));
        assert!(agree(&tensor(Data::I64(vec![1])), &tensor(Data::F32(vec![1.0])), 0.0), "by value");
        assert!(agree(&text("a"), &text("a"), 0.0) && !agree(&text("a"), &text("b"), 0.0));
        assert_eq!((mean(&float(2.0)), mean(&text("a"))), (Some(2.0), None));
    }
}
