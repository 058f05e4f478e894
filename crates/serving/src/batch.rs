//! Dynamic batching: requests that wait for a model are run as one.
//!
//! While the model is idle and no delay is set, a request runs at once: batches form only of what
//! arrived while another batch ran. Requests of different revisions never meet: each has its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use towpath_api::control::Batching;

use crate::error::RequestError;
use crate::revision::{LoadedRevision, lock};
use crate::tensor::{Data, Tensor};

/// How requests that wait for a model are put together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Gathering {
    /// Of one batch.
    pub(crate) max_rows: usize,
    /// So many rows need not wait for more.
    pub(crate) preferred: Arc<[usize]>,
    /// What the oldest request waits for others.
    pub(crate) delay: Duration,
}

impl From<Batching> for Gathering {
    fn from(Batching { max_rows, max_delay_ms }: Batching) -> Self {
        Self { max_rows, preferred: Arc::default(), delay: Duration::from_millis(max_delay_ms) }
    }
}

impl Gathering {
    /// The largest preferred size that `rows` reach.
    fn reached(&self, rows: usize) -> Option<usize> {
        self.preferred.iter().copied().filter(|size| *size <= rows).max()
    }
}

type Answer = Result<Vec<Tensor>, RequestError>;

/// The requests of one revision that wait to be run.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Somebody takes jobs out until none is left.
    attended: bool,
}

struct Job {
    inputs: Vec<Tensor>,
    rows: usize,
    arrived: Instant,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Waiting {
    fn rows(&self) -> usize {
        self.jobs.iter().map(|job| job.rows).sum()
    }
}

impl Queue {
    /// Runs `inputs`, which are `rows` rows, with others.
    pub(crate) async fn run(
        revision: &Arc<LoadedRevision>,
        batching: Gathering,
        inputs: Vec<Tensor>,
        rows: usize,
        deadline: Instant,
    ) -> Answer {
        let queue = &revision.queue;
        let arrived = Instant::now();
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&queue.waiting);
            revision.lane.expect(waiting.rows() / batching.max_rows, deadline)?;
            waiting.jobs.push_back(Job { inputs, rows, arrived, deadline, answer });
            if !std::mem::replace(&mut waiting.attended, true) {
                tokio::spawn(attend(Arc::clone(revision), batching));
            }
        }
        queue.arrived.notify_one();
        match tokio::time::timeout_at(deadline.into(), answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) if Instant::now() < deadline => Err(RequestError::Model("its batch was given up".to_owned())),
            // Whoever puts batches together leaves out what is too late.
            Ok(Err(_)) | Err(_) => Err(RequestError::Deadline { seconds: arrived.elapsed().as_secs_f64() }),
        }
    }
}

/// Runs batches until nobody waits.
async fn attend(revision: Arc<LoadedRevision>, batching: Gathering) {
    let queue = &revision.queue;
    loop {
        let due = {
            let mut waiting = lock(&queue.waiting);
            let Some(oldest) = waiting.jobs.front() else {
                waiting.attended = false;
                return;
            };
            let rows = waiting.rows();
            let enough = rows >= batching.max_rows || batching.reached(rows).is_some();
            if enough { Instant::now() } else { oldest.arrived + batching.delay }
        };
        if due > Instant::now() {
            let _ = tokio::time::timeout_at(due.into(), queue.arrived.notified()).await;
            continue;
        }
        let far = Instant::now() + Duration::from_hours(1);
        let Ok(permit) = revision.lane.enter(far).await else { continue };
        let jobs = {
            let mut waiting = lock(&queue.waiting);
            let most = batching.reached(waiting.rows()).unwrap_or(batching.max_rows);
            take(&mut waiting.jobs, most)
        };
        let running = Arc::clone(&revision);
        drop(tokio::task::spawn_blocking(move || {
            run_together(&running, jobs);
            drop(permit);
        }));
    }
}

/// The oldest requests that fit together, at most `max_rows` rows, but at least one request. Those
/// whose client has gone or whose deadline has passed are dropped.
fn take(waiting: &mut VecDeque<Job>, max_rows: usize) -> Vec<Job> {
    let now = Instant::now();
    waiting.retain(|job| !job.answer.is_closed() && job.deadline > now);
    let mut taken: Vec<Job> = Vec::new();
    let mut rows = 0;
    let mut left = VecDeque::with_capacity(waiting.len());
    for job in waiting.drain(..) {
        let fits = match taken.first() {
            None => true,
            Some(first) => rows + job.rows <= max_rows && alike(&first.inputs, &job.inputs),
        };
        if fits {
            rows += job.rows;
            taken.push(job);
        } else {
            left.push_back(job);
        }
    }
    *waiting = left;
    taken
}

/// Whether two requests differ in their rows only.
fn alike(one: &[Tensor], other: &[Tensor]) -> bool {
    one.iter()
        .zip(other)
        .all(|(one, other)| one.shape[1..] == other.shape[1..] && one.data.element_type() == other.data.element_type())
}

/// Blocks. A batch that fails is run again one by one: a bad row fails alone.
fn run_together(revision: &LoadedRevision, mut jobs: Vec<Job>) {
    if jobs.is_empty() {
        return;
    }
    let rows: Vec<usize> = jobs.iter().map(|job| job.rows).collect();
    revision.count_batch(rows.iter().sum());
    if let [job] = jobs.as_mut_slice() {
        let answer = revision.run_here(std::mem::take(&mut job.inputs));
        if let Some(job) = jobs.pop() {
            let _ = job.answer.send(answer);
        }
        return;
    }
    let together = revision.run_here(joined(jobs.iter().map(|job| job.inputs.as_slice())));
    match together.ok().and_then(|outputs| parted(outputs, &rows)) {
        Some(parts) => {
            for (job, outputs) in jobs.into_iter().zip(parts) {
                let _ = job.answer.send(Ok(outputs));
            }
        }
        None => {
            for job in jobs {
                let _ = job.answer.send(revision.run_here(job.inputs));
            }
        }
    }
}

/// Requests one below the other.
fn joined<'a>(requests: impl Iterator<Item = &'a [Tensor]>) -> Vec<Tensor> {
    let mut all: Vec<Tensor> = Vec::new();
    for request in requests {
        if all.is_empty() {
            all = request.to_vec();
            continue;
        }
        for (tensor, more) in all.iter_mut().zip(request) {
            tensor.shape[0] += more.shape[0];
            match (&mut tensor.data, &more.data) {
                (Data::F32(values), Data::F32(more)) => values.extend_from_slice(more),
                (Data::F64(values), Data::F64(more)) => values.extend_from_slice(more),
                (Data::I64(values), Data::I64(more)) => values.extend_from_slice(more),
                (Data::Bool(values), Data::Bool(more)) => values.extend_from_slice(more),
                (Data::Text(values), Data::Text(more)) => values.extend_from_slice(more),
                _ => unreachable!("only requests of one element type are joined"),
            }
        }
    }
    all
}

/// The answers of each request; `None` when the model does not answer row by row.
fn parted(outputs: Vec<Tensor>, rows: &[usize]) -> Option<Vec<Vec<Tensor>>> {
    let total: usize = rows.iter().sum();
    if outputs.iter().any(|output| output.shape.first() != Some(&total)) {
        return None;
    }
    let mut parts: Vec<Vec<Tensor>> = rows.iter().map(|_| Vec::with_capacity(outputs.len())).collect();
    for output in outputs {
        let width: usize = output.shape[1..].iter().product();
        let mut start = 0;
        for (part, rows) in parts.iter_mut().zip(rows) {
            let end = start + rows * width;
            let data = match &output.data {
                Data::F32(values) => Data::F32(values[start..end].to_vec()),
                Data::F64(values) => Data::F64(values[start..end].to_vec()),
                Data::I64(values) => Data::I64(values[start..end].to_vec()),
                Data::Bool(values) => Data::Bool(values[start..end].to_vec()),
                Data::Text(values) => Data::Text(values[start..end].to_vec()),
            };
            let mut shape = output.shape.clone();
            shape[0] = *rows;
            part.push(Tensor { shape, data });
            start = end;
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(rows: usize, width: usize, from: f32) -> Vec<Tensor> {
        let values = (0..rows * width).map(|i| from + i as f32).collect();
        let names = (0..rows).map(|i| format!("{from} {i}")).collect();
        vec![
            Tensor { shape: vec![rows, width], data: Data::F32(values) },
            Tensor { shape: vec![rows], data: Data::Text(names) },
        ]
    }

    fn job(rows: usize, width: usize) -> (Job, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let now = Instant::now();
        let deadline = now + Duration::from_secs(5);
        (Job { inputs: request(rows, width, 0.0), rows, arrived: now, deadline, answer }, answered)
    }

    proptest! {
        #[test]
        fn what_is_joined_is_parted_again(rows in prop::collection::vec(1..5_usize, 1..6), width in 1..4_usize) {
            let requests: Vec<_> = rows.iter().enumerate().map(|(i, rows)| request(*rows, width, i as f32 * 100.0)).collect();
            let together = joined(requests.iter().map(Vec::as_slice));
            prop_assert_eq!(parted(together, &rows), Some(requests));
        }
    }

    #[test]
    fn a_model_that_answers_once_for_all_rows_is_not_parted() {
        let once = vec![Tensor { shape: vec![1], data: Data::I64(vec![3]) }];
        assert_eq!(parted(once, &[1, 1]), None);
    }

    #[test]
    fn a_batch_takes_what_is_alike_and_fits_and_leaves_the_others_in_their_order() {
        let (jobs, waiting): (VecDeque<_>, Vec<_>) =
            [(2, 2), (1, 3), (2, 2), (3, 2), (1, 2)].map(|(r, w)| job(r, w)).into_iter().unzip();
        let mut jobs = jobs;
        let rows = |jobs: &[Job]| -> Vec<usize> { jobs.iter().map(|job| job.rows).collect() };
        assert_eq!(rows(&take(&mut jobs, 5)), [2, 2, 1]);
        assert_eq!(rows(&take(&mut jobs, 5)), [1]);
        assert_eq!(rows(&take(&mut jobs, 2)), [3], "a large request runs alone, whole");
        drop(waiting);
    }

    #[test]
    fn the_largest_preferred_size_that_is_reached_is_taken() {
        let gathering = Gathering { preferred: [2, 4].into(), ..Batching { max_rows: 8, max_delay_ms: 1 }.into() };
        let reached = [1, 2, 3, 4, 9].map(|rows| gathering.reached(rows));
        assert_eq!(reached, [None, Some(2), Some(2), Some(4), Some(4)]);
    }

    #[test]
    fn who_has_gone_is_not_run() {
        let (first, gone) = job(1, 2);
        let (second, _waiting) = job(2, 2);
        drop(gone);
        let mut jobs = VecDeque::from([first, second]);
        assert_eq!(take(&mut jobs, 8).iter().map(|job| job.rows).collect::<Vec<_>>(), [2]);
    }
}
