//! Which stage is next: each after those it needs, otherwise in order.

use std::collections::{BTreeSet, HashMap};

use super::journal::Planned;

pub(super) struct Schedule {
    /// How many of its needs are not done.
    waits_for: Vec<usize>,
    needed_by: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    /// Neither started nor given up.
    open: BTreeSet<usize>,
}

impl Schedule {
    /// What a stage needs and is not in the order is taken as it is.
    pub(super) fn of(order: &[Planned]) -> Self {
        let places: HashMap<&str, usize> = order.iter().enumerate().map(|(at, p)| (p.stage.as_str(), at)).collect();
        let mut waits_for = vec![0; order.len()];
        let mut needed_by = vec![Vec::new(); order.len()];
        for (at, planned) in order.iter().enumerate() {
            for need in planned.needs.iter().filter_map(|need| places.get(need.as_str())) {
                waits_for[at] += 1;
                needed_by[*need].push(at);
            }
        }
        let ready = (0..order.len()).filter(|&at| waits_for[at] == 0).collect();
        Self { waits_for, needed_by, ready, open: (0..order.len()).collect() }
    }

    /// The number of a stage that can start.
    pub(super) fn next(&mut self) -> Option<usize> {
        let at = self.ready.pop_first()?;
        self.open.remove(&at);
        Some(at)
    }

    /// Stages that need this one need not wait for it any longer.
    pub(super) fn done(&mut self, at: usize) {
        for &dependent in &self.needed_by[at] {
            self.waits_for[dependent] -= 1;
            if self.waits_for[dependent] == 0 {
                self.ready.insert(dependent);
            }
        }
    }

    /// Stages that need this one directly.
    pub(super) fn needed_by(&self, at: usize) -> &[usize] {
        &self.needed_by[at]
    }

    /// Takes out all that need this one, directly or not, in order.
    pub(super) fn give_up_after(&mut self, at: usize) -> Vec<usize> {
        let mut given_up = BTreeSet::new();
        let mut open = self.needed_by[at].clone();
        while let Some(next) = open.pop() {
            if self.open.remove(&next) {
                given_up.insert(next);
                open.extend(&self.needed_by[next]);
            }
        }
        given_up.into_iter().collect()
    }

    /// What was not started, in order.
    pub(super) fn rest(&self) -> impl Iterator<Item = usize> {
        self.open.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(stages: &[(&str, &[&str])]) -> Schedule {
        let planned = |(stage, needs): &(&str, &[&str])| Planned {
            stage: (*stage).to_owned(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        };
        Schedule::of(&stages.iter().map(planned).collect::<Vec<_>>())
    }

    #[test]
    fn stages_are_ready_when_all_they_need_is_done() {
        let mut schedule = schedule(&[("a", &[]), ("b", &[]), ("c", &["a", "b"]), ("d", &["elsewhere"])]);
        assert_eq!(
            (schedule.next(), schedule.next(), schedule.next(), schedule.next()),
            (Some(0), Some(1), Some(3), None)
        );
        schedule.done(1);
        assert_eq!(schedule.next(), None);
        schedule.done(0);
        assert_eq!(schedule.next(), Some(2));
    }

    #[test]
    fn what_needs_a_failed_stage_is_given_up_and_the_rest_is_not() {
        let mut schedule = schedule(&[("a", &[]), ("b", &["a"]), ("c", &["b"]), ("d", &[])]);
        assert_eq!(schedule.next(), Some(0));
        assert_eq!(schedule.give_up_after(0), [1, 2]);
        assert_eq!(schedule.rest().collect::<Vec<_>>(), [3]);
        assert_eq!(schedule.next(), Some(3));
        assert_eq!(schedule.rest().count(), 0);
    }
}
