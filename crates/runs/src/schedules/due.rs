//! Which planned times of a schedule are decided on now. Pure: what is planned and the time in, what
//! to do out.

use std::time::Duration;

use jiff::tz::TimeZone;
use towpath_core::triggers::{CatchUp, Rhythm, Schedule};
use towpath_core::{Digest, Timestamp};
use towpath_plan::cron::Cron;

/// A start that is at most this late is on time: nothing was missed.
const ON_TIME: Duration = Duration::from_mins(5);

/// Planned times that are counted one by one; beyond, a schedule that stood still for years is
/// begun anew.
const COUNTED: usize = 10_000;

/// A clock that went back by more than this has been set: what was planned before is planned anew.
const CLOCK_SET: Duration = Duration::from_hours(24);

/// The next planned time after `after`.
pub(crate) fn next(schedule: &Schedule, after: Timestamp) -> Option<Timestamp> {
    match &schedule.rhythm {
        Rhythm::Cron { expression, timezone } => {
            // Both were read when the file was: they can be read again.
            let (cron, zone) = (Cron::parse(expression).ok()?, TimeZone::get(timezone).ok()?);
            cron.next(&zone, after)
        }
        Rhythm::Every { seconds } => {
            let period = i64::try_from(*seconds).ok()?.checked_mul(1000).filter(|p| *p > 0)?;
            let passed = after.millis().div_euclid(period) + 1;
            Some(Timestamp::from_millis(passed * period))
        }
    }
}

/// When the start for a planned time is due: the same on every server.
pub(crate) fn with_jitter(schedule: &Schedule, project: &str, name: &str, planned: Timestamp) -> Timestamp {
    if schedule.jitter_seconds == 0 {
        return planned;
    }
    let hash = Digest::of(format!("{project}/{name}/{}", planned.millis()).as_bytes());
    let number = u64::from_str_radix(&hash.as_str()[..15], 16).unwrap_or(0);
    planned.plus(Duration::from_millis(number % (schedule.jitter_seconds * 1000 + 1)))
}

/// What is to be done at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// A run for each of these, oldest first.
    pub(crate) start: Vec<Timestamp>,
    pub(crate) missed: Option<Missed>,
    /// The planned time that is decided on after these.
    pub(crate) next: Option<Timestamp>,
}

/// Planned times that get no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) times: i64,
}

/// `planned` is the planned time that is decided on next, `due` the same with jitter.
pub(crate) fn due(schedule: &Schedule, planned: Timestamp, due: Timestamp, now: Timestamp) -> Due {
    let mut passed = vec![planned];
    let mut following = next(schedule, planned);
    while let Some(time) = following.filter(|time| *time <= now && passed.len() < COUNTED) {
        passed.push(time);
        following = next(schedule, time);
    }
    if following.is_some_and(|time| time <= now) {
        following = next(schedule, now);
    }
    let late = now.since(due.max(*passed.last().unwrap_or(&planned)));
    let made_up = match schedule.catch_up {
        CatchUp::Skip => usize::from(late <= ON_TIME),
        CatchUp::Latest => 1,
        CatchUp::All { limit } => limit as usize,
    };
    let start = passed.split_off(passed.len().saturating_sub(made_up));
    let missed = match (passed.first(), passed.last()) {
        (Some(first), Some(last)) => Some(Missed { first: *first, last: *last, times: passed.len() as i64 }),
        _ => None,
    };
    Due { start, missed, next: following }
}

/// The planned time to put in place of one that lies beyond what the schedule would plan from now:
/// the clock was set back.
pub(crate) fn planned_anew(schedule: &Schedule, planned: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let fresh = next(schedule, now)?;
    (planned.since(fresh) > CLOCK_SET).then_some(fresh)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    fn hourly(catch_up: CatchUp) -> Schedule {
        Schedule { rhythm: Rhythm::Every { seconds: 3600 }, jitter_seconds: 0, catch_up, time_param: None }
    }

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn hours(times: &[Timestamp]) -> Vec<i64> {
        times.iter().map(|t| t.millis() / HOUR).collect()
    }

    #[test]
    fn a_day_of_downtime_is_made_up_for_as_the_policy_says() {
        let now = at(34 * HOUR + HOUR / 2);
        let decide = |catch_up| due(&hourly(catch_up), at(10 * HOUR), at(10 * HOUR), now);
        let latest = decide(CatchUp::Latest);
        assert_eq!((hours(&latest.start), latest.next), (vec![34], Some(at(35 * HOUR))));
        assert_eq!(latest.missed, Some(Missed { first: at(10 * HOUR), last: at(33 * HOUR), times: 24 }));
        let skip = decide(CatchUp::Skip);
        assert_eq!((hours(&skip.start), skip.missed.unwrap().times), (vec![], 25));
        let three = decide(CatchUp::All { limit: 3 });
        assert_eq!((hours(&three.start), three.missed.unwrap().times), (vec![32, 33, 34], 22));
    }

    #[test]
    fn a_start_on_time_misses_nothing_whatever_the_policy() {
        for catch_up in [CatchUp::Skip, CatchUp::Latest, CatchUp::All { limit: 9 }] {
            let decided = due(&hourly(catch_up), at(10 * HOUR), at(10 * HOUR), at(10 * HOUR + 20));
            assert_eq!(decided, Due { start: vec![at(10 * HOUR)], missed: None, next: Some(at(11 * HOUR)) });
        }
    }

    #[test]
    fn a_clock_set_back_by_days_plans_anew_and_one_set_back_by_an_hour_starts_nothing_twice() {
        let schedule = hourly(CatchUp::Latest);
        assert_eq!(planned_anew(&schedule, at(1000 * HOUR), at(900 * HOUR)), Some(at(901 * HOUR)));
        assert_eq!(planned_anew(&schedule, at(1000 * HOUR), at(998 * HOUR)), None);
    }

    #[test]
    fn years_of_standstill_end_in_one_look() {
        let every = Schedule { rhythm: Rhythm::Every { seconds: 10 }, ..hourly(CatchUp::Latest) };
        let now = at(20_000 * HOUR + 1);
        let decided = due(&every, at(0), at(0), now);
        assert_eq!(decided.next, Some(at(20_000 * HOUR + 10_000)));
        assert_eq!(decided.start.len(), 1);
    }

    proptest! {
        /// However often and at whatever times a schedule is looked at, each planned time is started
        /// or missed exactly once, in order.
        #[test]
        fn every_planned_time_is_decided_on_once(
            steps in prop::collection::vec(1_i64..200_000_000, 1..30), limit in 1_u32..5, seconds in 60_u64..100_000,
        ) {
            let schedule =
                Schedule { rhythm: Rhythm::Every { seconds }, ..hourly(CatchUp::All { limit }) };
            let first = next(&schedule, at(0)).unwrap();
            let (mut planned, mut now, mut decided, mut last) = (first, 0, 0, at(0));
            for step in steps {
                now += step;
                if planned > at(now) {
                    continue;
                }
                let found = due(&schedule, planned, planned, at(now));
                for time in &found.start {
                    prop_assert!(*time > last && *time <= at(now));
                    last = *time;
                }
                decided += found.start.len() as i64 + found.missed.map_or(0, |m| m.times);
                planned = found.next.unwrap();
                prop_assert!(planned > at(now));
            }
            let period = i64::try_from(seconds).unwrap() * 1000;
            prop_assert_eq!(decided, (planned.millis() - first.millis()) / period);
        }

        #[test]
        fn jitter_is_bounded_and_the_same_for_everybody(jitter in 1_u64..7200, planned in 0_i64..2_000_000_000_000) {
            let schedule = Schedule { jitter_seconds: jitter, ..hourly(CatchUp::Latest) };
            let due = with_jitter(&schedule, "digits", "nightly", at(planned));
            prop_assert_eq!(due, with_jitter(&schedule, "digits", "nightly", at(planned)));
            prop_assert!(due.since(at(planned)) <= Duration::from_secs(jitter));
        }
    }
}
