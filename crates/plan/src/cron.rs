//! Cron expressions and when they come next. Pure: the zone's rules and an instant in, an instant out.
//!
//! A change of the clock neither loses nor doubles a start. An expression with fixed hours whose time
//! the spring change leaves out starts at the change; the hour that autumn repeats counts once. An
//! expression for every hour (`*` or `*/n`) follows the time that really passes, as cron does.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp as Instant, ToSpan as _};
use towpath_core::Timestamp;

/// A parsed expression of five fields: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    /// Sunday is 0.
    weekdays: u64,
    /// A day field that is not `*`; when both are, a day matches either.
    days_named: bool,
    weekdays_named: bool,
    every_hour: bool,
}

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("five fields (minute, hour, day, month, weekday), found {0}")]
    Fields(usize),
    #[error("{field}: '{text}' is not {expected}")]
    Field { field: &'static str, text: String, expected: String },
    #[error("there is no such day: day {days} never comes in month {months}")]
    Never { days: String, months: String },
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Days that are looked at: the 29th of February on a given weekday comes every 28 years, and once
/// in 40 around a century.
const DAYS_AHEAD: usize = 41 * 366;

impl Cron {
    /// Reads five fields, or one of `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            text => text,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else { return Err(CronError::Fields(fields.len())) };
        let mut weekdays = bits("weekday", weekday, 0, 7, &WEEKDAYS, 0)?;
        // 7 is Sunday too.
        weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        let cron = Self {
            minutes: bits("minute", minute, 0, 59, &[], 0)?,
            hours: bits("hour", hour, 0, 23, &[], 0)?,
            days: bits("day", day, 1, 31, &[], 0)?,
            months: bits("month", month, 1, 12, &MONTHS, 1)?,
            weekdays,
            days_named: !day.starts_with('*'),
            weekdays_named: !weekday.starts_with('*'),
            every_hour: hour.starts_with('*'),
        };
        let longest = |month: u32| [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
        let first_day = cron.days.trailing_zeros();
        let comes = (1..=12).any(|m| cron.months & (1 << m) != 0 && first_day <= longest(m));
        if !comes && !cron.weekdays_named {
            return Err(CronError::Never { days: day.to_owned(), months: month.to_owned() });
        }
        Ok(cron)
    }

    /// The first start after `after`.
    pub fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let after = Instant::from_millisecond(after.millis()).ok()?;
        let found = if self.every_hour { self.next_passing(zone, after) } else { self.next_fixed(zone, after) };
        found.map(|instant| Timestamp::from_millis(instant.as_millisecond()))
    }

    /// By the clock on the wall.
    fn next_fixed(&self, zone: &TimeZone, after: Instant) -> Option<Instant> {
        let mut from = next_minute(zone.to_datetime(after))?;
        // A repeated hour is gone through once at most.
        for _ in 0..200 {
            let time = self.matching(from)?;
            let ambiguous = zone.to_ambiguous_timestamp(time);
            let instant = match ambiguous.offset() {
                AmbiguousOffset::Gap { after: later, .. } => {
                    zone.following(later.to_timestamp(time).ok()?).next()?.timestamp()
                }
                _ => ambiguous.earlier().ok()?,
            };
            if instant > after {
                return Some(instant);
            }
            from = next_minute(time)?;
        }
        None
    }

    /// By the time that passes: between two changes of the zone the offset is one.
    fn next_passing(&self, zone: &TimeZone, after: Instant) -> Option<Instant> {
        let mut from = after;
        let mut inclusive = false;
        for _ in 0..200 {
            let offset = zone.to_offset(from);
            let civil = offset.to_datetime(from);
            let start = if inclusive { whole_minute(civil)? } else { next_minute(civil)? };
            let instant = offset.to_timestamp(self.matching(start)?).ok()?;
            match zone.following(from).next() {
                Some(change) if change.timestamp() <= instant => from = change.timestamp(),
                _ => return Some(instant),
            }
            inclusive = true;
        }
        None
    }

    /// The first time on the wall that matches, from `from` on.
    fn matching(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let mut earliest = (from.hour(), from.minute());
        for _ in 0..DAYS_AHEAD {
            if self.day_matches(date) {
                for hour in earliest.0..24 {
                    if self.hours & (1 << hour) == 0 {
                        continue;
                    }
                    let first = if hour == earliest.0 { earliest.1 } else { 0 };
                    if let Some(minute) = (first..60).find(|m| self.minutes & (1 << m) != 0) {
                        return Some(DateTime::from_parts(date, Time::new(hour, minute, 0, 0).ok()?));
                    }
                }
            }
            date = date.tomorrow().ok()?;
            earliest = (0, 0);
        }
        None
    }

    fn day_matches(&self, date: Date) -> bool {
        if self.months & (1 << date.month()) == 0 {
            return false;
        }
        let day = self.days & (1 << date.day()) != 0;
        let weekday = self.weekdays & (1 << date.weekday().to_sunday_zero_offset()) != 0;
        if self.days_named && self.weekdays_named { day || weekday } else { day && weekday }
    }
}

/// The start of the minute after this one.
fn next_minute(time: DateTime) -> Option<DateTime> {
    floor(time)?.checked_add(1.minute()).ok()
}

/// This minute when it begins now, else the next.
fn whole_minute(time: DateTime) -> Option<DateTime> {
    let floor = floor(time)?;
    if floor == time { Some(time) } else { floor.checked_add(1.minute()).ok() }
}

fn floor(time: DateTime) -> Option<DateTime> {
    Some(DateTime::from_parts(time.date(), Time::new(time.hour(), time.minute(), 0, 0).ok()?))
}

/// `*`, `*/2`, `1-5`, `1-30/5`, `MON-FRI`, and lists of these.
fn bits(field: &'static str, text: &str, min: u32, max: u32, names: &[&str], base: u32) -> Result<u64, CronError> {
    let fail = |expected: String| CronError::Field { field, text: text.to_owned(), expected };
    let value = |text: &str| -> Result<u32, CronError> {
        let named = names.iter().position(|name| name.eq_ignore_ascii_case(text)).map(|i| i as u32 + base);
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = named.or_else(|| text.parse().ok().filter(|_| digits));
        number.filter(|n| (min..=max).contains(n)).ok_or_else(|| fail(format!("a number from {min} to {max}")))
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step: u32 = step.parse().ok().filter(|s| *s > 0).ok_or_else(|| fail("a step above 0".into()))?;
                (range, Some(step))
            }
            None => (part, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (min, max),
            Some((from, to)) => (value(from)?, value(to)?),
            // `5/15` goes on to the end, as cron has it.
            None => (value(range)?, if step.is_some() { max } else { value(range)? }),
        };
        if from > to {
            return Err(fail("a range that rises".into()));
        }
        for n in (from..=to).step_by(step.unwrap_or(1) as usize) {
            bits |= 1 << n;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(text: &str) -> Timestamp {
        Timestamp::from_millis(text.parse::<Instant>().unwrap().as_millisecond())
    }

    /// The next `count` starts, in UTC.
    fn starts(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let (cron, zone) = (Cron::parse(expression).unwrap(), TimeZone::get(zone).unwrap());
        let mut at = millis(after);
        let mut starts = Vec::new();
        for _ in 0..count {
            at = cron.next(&zone, at).unwrap();
            starts.push(at.to_string().replace(":00.000Z", "Z"));
        }
        starts
    }

    #[test]
    fn fields_have_lists_ranges_steps_and_names() {
        assert_eq!(
            starts("*/20 9-17/4 * * MON-FRI", "UTC", "2026-01-02T17:00:00Z", 4),
            ["2026-01-02T17:20Z", "2026-01-02T17:40Z", "2026-01-05T09:00Z", "2026-01-05T09:20Z"]
        );
        assert_eq!(starts("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 1), ["2028-02-29T00:00Z"]);
        assert_eq!(
            starts("0 12 13 * FRI", "UTC", "2026-01-01T00:00:00Z", 3),
            ["2026-01-02T12:00Z", "2026-01-09T12:00Z", "2026-01-13T12:00Z"],
            "with both day fields either counts"
        );
        assert_eq!(starts("@weekly", "UTC", "2026-01-01T00:00:00Z", 1), ["2026-01-04T00:00Z"]);
    }

    #[test]
    fn a_time_that_spring_leaves_out_starts_at_the_change_once() {
        // Berlin, 2026-03-29: 02:00 is 03:00.
        assert_eq!(
            starts("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"]
        );
        assert_eq!(
            starts("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
            ["2026-03-29T01:00Z", "2026-03-29T01:30Z"],
            "02:00, 02:30 and 03:00 are one instant"
        );
    }

    #[test]
    fn an_hour_that_autumn_repeats_starts_fixed_times_once_and_hourly_ones_twice() {
        // Berlin, 2026-10-25: 03:00 is 02:00.
        assert_eq!(
            starts("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30Z", "2026-10-26T01:30Z"]
        );
        assert_eq!(
            starts("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
            ["2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-25T02:00Z", "2026-10-25T03:00Z"]
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            ("0 3 * *", "five fields (minute, hour, day, month, weekday), found 4"),
            ("60 3 * * *", "minute: '60' is not a number from 0 to 59"),
            ("0 3 * * FOO", "weekday: 'FOO' is not a number from 0 to 7"),
            ("*/0 3 * * *", "minute: '*/0' is not a step above 0"),
            ("0 5-3 * * *", "hour: '5-3' is not a range that rises"),
            ("0 0 31 2 *", "there is no such day: day 31 never comes in month 2"),
        ] {
            assert_eq!(Cron::parse(text).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        /// Every start is later than the one before, on a minute, and (outside changes of the zone)
        /// at a time on the wall that the expression names.
        #[test]
        fn starts_rise_and_match(
            minute in 0..60_i8, hour in 0..24_i8, step in 1..24_u32, wild: bool, after in 1_700_000_000_i64..1_900_000_000,
        ) {
            let hours = if wild { format!("*/{step}") } else { hour.to_string() };
            let cron = Cron::parse(&format!("{minute} {hours} * * *")).unwrap();
            let zone = TimeZone::get("America/New_York").unwrap();
            let mut at = Timestamp::from_millis(after * 1000);
            for _ in 0..60 {
                let next = cron.next(&zone, at).unwrap();
                prop_assert!(next > at);
                prop_assert!(next.since(at).as_secs() <= 26 * 3600);
                let wall = zone.to_datetime(Instant::from_millisecond(next.millis()).unwrap());
                let changed = wall.minute() == 0 && wall.hour() == 3;
                prop_assert!(wall.minute() == minute || changed);
                prop_assert!(cron.hours & (1 << wall.hour()) != 0 || changed);
                at = next;
            }
        }
    }
}
