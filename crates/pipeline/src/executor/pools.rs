//! What a machine has to give to stages, and who gets it next.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use towpath_core::Digest;
use towpath_core::project::Resources;

use super::{Ending, Executor, Finished, Progress, Task};
use crate::{Cancel, Error};

/// A cancellation is noticed at least this often while a stage waits.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Capacity {
    pub cpu: f64,
    /// Bytes.
    pub memory: u64,
    pub gpu: u32,
    pub pools: BTreeMap<String, u32>,
}

impl Capacity {
    /// What this machine has: its cores, memory, and NVIDIA devices.
    pub fn of_machine() -> Self {
        let devices = fs::read_dir("/dev").into_iter().flatten().flatten().filter(|entry| {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("nvidia"));
            number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        });
        Self {
            cpu: std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
            memory: super::usage::machine_memory(),
            gpu: devices.count() as u32,
            pools: BTreeMap::new(),
        }
    }

    /// What can never be granted, as a sentence.
    fn refuses(&self, asked: &Resources) -> Option<String> {
        let short = |what: &str, asked: f64, has: f64| {
            (asked > has).then(|| format!("asks for {asked} of {what}, this machine has {has}"))
        };
        short("cpu", asked.cpu, self.cpu)
            .or_else(|| short("memory (bytes)", asked.memory.unwrap_or(0) as f64, self.memory as f64))
            .or_else(|| short("gpu", f64::from(asked.gpu), f64::from(self.gpu)))
            .or_else(|| {
                asked.pools.iter().find_map(|(pool, count)| {
                    let has = self.pools.get(pool).copied().unwrap_or(0);
                    short(&format!("pool '{pool}'"), f64::from(*count), f64::from(has))
                })
            })
    }

    /// The first thing of which there is not enough.
    fn lacks(&self, asked: &Resources) -> Option<&'static str> {
        if asked.cpu > self.cpu {
            Some("cpu")
        } else if asked.memory.unwrap_or(0) > self.memory {
            Some("memory")
        } else if asked.gpu > self.gpu {
            Some("gpu")
        } else if asked.pools.iter().any(|(pool, count)| self.pools.get(pool).is_none_or(|has| has < count)) {
            Some("a pool")
        } else {
            None
        }
    }

    /// Without what is asked for; never below nothing.
    fn take(&mut self, asked: &Resources) {
        self.cpu = (self.cpu - asked.cpu).max(0.0);
        self.memory = self.memory.saturating_sub(asked.memory.unwrap_or(0));
        self.gpu = self.gpu.saturating_sub(asked.gpu);
        for (pool, count) in &asked.pools {
            if let Some(has) = self.pools.get_mut(pool) {
                *has = has.saturating_sub(*count);
            }
        }
    }
}

/// The pools of one machine, shared by all stages on it.
#[derive(Debug)]
pub struct Pools {
    capacity: Capacity,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    held: BTreeMap<u64, Held>,
    /// By priority, the highest first, then by arrival.
    waiting: BTreeMap<(std::cmp::Reverse<i64>, u64), Resources>,
    arrivals: u64,
}

#[derive(Debug)]
struct Held {
    resources: Resources,
    devices: Vec<u32>,
}

/// Why a stage got nothing.
#[derive(Clone, Debug, PartialEq)]
enum Denied {
    Never(String),
    TooLate,
    Cancelled,
}

/// What a stage has until this is dropped.
#[derive(Debug)]
struct Lease<'a> {
    pools: &'a Pools,
    number: u64,
    devices: Vec<u32>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.pools.lock().held.remove(&self.number);
        self.pools.changed.notify_all();
    }
}

impl Pools {
    pub fn new(capacity: Capacity) -> Self {
        Self { capacity, state: Mutex::default(), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is asked for. A stage goes ahead of one that stands before it only when what it
    /// takes is not what the other waits for.
    fn acquire(
        &self,
        asked: &Resources,
        priority: i64,
        limit: Option<Duration>,
        cancel: &Cancel,
        waits_for: &mut dyn FnMut(&'static str),
    ) -> Result<Lease<'_>, Denied> {
        if let Some(why) = self.capacity.refuses(asked) {
            return Err(Denied::Never(why));
        }
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut state = self.lock();
        state.arrivals += 1;
        let place = (std::cmp::Reverse(priority), state.arrivals);
        state.waiting.insert(place, asked.clone());
        let mut told = false;
        let denied = loop {
            let mut free = self.capacity.clone();
            state.held.values().for_each(|held| free.take(&held.resources));
            state.waiting.range(..place).for_each(|(_, before)| free.take(before));
            let Some(lacking) = free.lacks(asked) else { break None };
            if cancel.is_cancelled() {
                break Some(Denied::Cancelled);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break Some(Denied::TooLate);
            }
            if !std::mem::replace(&mut told, true) {
                drop(state);
                waits_for(lacking);
                state = self.lock();
                continue;
            }
            state = self.changed.wait_timeout(state, LOOK_AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        };
        state.waiting.remove(&place);
        self.changed.notify_all();
        if let Some(denied) = denied {
            return Err(denied);
        }
        let used: Vec<u32> = state.held.values().flat_map(|held| held.devices.clone()).collect();
        let devices: Vec<u32> = (0..self.capacity.gpu).filter(|d| !used.contains(d)).take(asked.gpu as usize).collect();
        let number = place.1;
        state.held.insert(number, Held { resources: asked.clone(), devices: devices.clone() });
        Ok(Lease { pools: self, number, devices })
    }
}

/// Runs tasks by `inner` once they have what they ask for.
#[derive(Debug)]
pub struct Pooled<'a, E> {
    pub pools: &'a Pools,
    pub inner: E,
}

impl<E: Executor> Executor for Pooled<'_, E> {
    fn run(&self, task: &Task, progress: &mut dyn FnMut(Progress), cancel: &Cancel) -> Result<Finished, Error> {
        // A job of Slurm takes nothing of this machine, but licences and the like.
        let of_pools = || Resources { pools: task.resources.pools.clone(), ..Resources::default() };
        let asked = if task.slurm.is_some() { of_pools() } else { task.resources.clone() };
        if asked.is_nothing() {
            return self.inner.run(task, progress, cancel);
        }
        let mut waits_for = |what| progress(Progress::WaitsFor(what));
        let lease = match self.pools.acquire(&asked, task.priority, task.queue, cancel, &mut waits_for) {
            Ok(lease) => lease,
            Err(denied) => {
                let (ending, why) = match denied {
                    Denied::Never(why) => (Ending::NotGranted, why),
                    Denied::TooLate => (Ending::QueuedTooLong, String::new()),
                    Denied::Cancelled => (Ending::Cancelled, String::new()),
                };
                return Ok(Finished::without_running(ending, why));
            }
        };
        if lease.devices.is_empty() {
            return self.inner.run(task, progress, cancel);
        }
        let devices: Vec<String> = lease.devices.iter().map(u32::to_string).collect();
        let mut task = task.clone();
        task.variables.retain(|(name, _)| name != "CUDA_VISIBLE_DEVICES");
        task.variables.push(("CUDA_VISIBLE_DEVICES".to_owned(), devices.join(",")));
        self.inner.run(&task, progress, cancel)
    }

    fn has_job(&self, log: &Path, key: &Digest) -> bool {
        self.inner.has_job(log, key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn pools(gpu: u32, licences: u32) -> Pools {
        let pools = BTreeMap::from([("licences".to_owned(), licences)]);
        Pools::new(Capacity { cpu: 4.0, memory: 8 << 30, gpu, pools })
    }

    fn gpus(gpu: u32) -> Resources {
        Resources { gpu, ..Resources::default() }
    }

    fn licences(count: u32) -> Resources {
        Resources { pools: BTreeMap::from([("licences".to_owned(), count)]), ..Resources::default() }
    }

    #[test]
    fn each_lease_has_devices_of_its_own() {
        let (pools, cancel) = (pools(2, 0), Cancel::new().unwrap());
        let first = pools.acquire(&gpus(1), 0, None, &cancel, &mut |_| {}).unwrap();
        let second = pools.acquire(&gpus(1), 0, None, &cancel, &mut |_| {}).unwrap();
        assert_eq!((&first.devices, &second.devices), (&vec![0], &vec![1]));
        drop(first);
        assert_eq!(pools.acquire(&gpus(1), 0, None, &cancel, &mut |_| {}).unwrap().devices, [0]);
    }

    #[test]
    fn what_the_machine_does_not_have_is_refused_at_once() {
        let (pools, cancel) = (pools(0, 1), Cancel::new().unwrap());
        let why = |asked| pools.acquire(&asked, 0, None, &cancel, &mut |_| {}).unwrap_err();
        assert_eq!(why(gpus(1)), Denied::Never("asks for 1 of gpu, this machine has 0".into()));
        assert_eq!(why(licences(2)), Denied::Never("asks for 2 of pool 'licences', this machine has 1".into()));
    }

    #[test]
    fn a_stage_that_waits_gives_up_at_its_limit_and_when_cancelled() {
        let (pools, cancel) = (pools(0, 1), Cancel::new().unwrap());
        let held = pools.acquire(&licences(1), 0, None, &cancel, &mut |_| {}).unwrap();
        let mut told = Vec::new();
        let late = pools.acquire(&licences(1), 0, Some(Duration::from_millis(5)), &cancel, &mut |what| told.push(what));
        assert_eq!((late.unwrap_err(), told), (Denied::TooLate, vec!["a pool"]));
        cancel.cancel();
        let cancelled = pools.acquire(&licences(1), 0, None, &cancel, &mut |_| {});
        assert_eq!(cancelled.unwrap_err(), Denied::Cancelled);
        drop(held);
    }

    #[test]
    fn the_highest_priority_goes_first_and_small_ones_do_not_starve_a_large_one() {
        let (pools, cancel) = (pools(0, 2), Cancel::new().unwrap());
        let held = pools.acquire(&licences(2), 0, None, &cancel, &mut |_| {}).unwrap();
        let (sent, order) = mpsc::channel();
        thread::scope(|scope| {
            // Each begins to wait before the next one comes.
            for (name, asked, priority) in [("small", 1, 0), ("large", 2, 1), ("late", 1, 0)] {
                let (waits, is_waiting) = mpsc::channel();
                let (sent, pools, cancel) = (sent.clone(), &pools, &cancel);
                scope.spawn(move || {
                    let mut told = |_| waits.send(()).unwrap();
                    let lease = pools.acquire(&licences(asked), priority, None, cancel, &mut told).unwrap();
                    sent.send(name).unwrap();
                    drop(lease);
                });
                is_waiting.recv_timeout(Duration::from_secs(10)).unwrap();
            }
            drop(held);
        });
        drop(sent);
        assert_eq!(order.iter().next(), Some("large"));
    }
}
