//! In which order the runs of an experiment are looked at. Where the order of a search begins with a
//! metric or with the start, the walk goes along the index and ends as soon as the page is full; a
//! filter that few runs can satisfy is walked instead of all runs.

use std::collections::VecDeque;

use towpath_store::{ToValue, Tx};

use super::PAGE;
use super::filter::{Clause, Comparator, Entity, Test};
use super::order::{OrderBy, SortKey};
use crate::runs::{self, RunInfo};
use crate::{TrackingError, metrics, rows};

/// A filter that so many runs satisfy is looked up first.
const FEW: i64 = 5000;
/// Start of an indexed value: longer ones are compared after that.
pub(crate) const INDEXED: &str = "substr(t.value, 1, 200) = substr($2, 1, 200)";

/// A run that was walked over.
pub(super) struct Seen {
    pub(super) info: RunInfo,
    /// What the walk has already read of it: key and latest value of a metric.
    pub(super) metric: Option<(String, f64)>,
}

/// A page of the walk.
pub(super) struct Stretch {
    pub(super) seen: Vec<Seen>,
    /// How many of the first orders agree with the walk: what comes later is not before the last of
    /// these in them.
    pub(super) agreeing: usize,
}

pub(super) struct Walk {
    experiment: i64,
    steps: VecDeque<Step>,
}

enum Step {
    /// Runs with a latest value, by value and run.
    Values(Values),
    /// Runs by start and id, `without` a metric if given.
    Starts { ascending: bool, position: Option<(i64, String)>, without: Option<i64>, agreeing: usize },
    /// These runs.
    Few(Vec<i64>),
}

struct Values {
    name: String,
    key: i64,
    nan: bool,
    ascending: bool,
    /// The last that was seen.
    position: (f64, i64),
    /// The last that can match.
    end: f64,
}

impl Walk {
    /// `clauses` must all hold; a filter may ask for more. `after` is where the page before ended.
    pub(super) fn choose(
        tx: &mut Tx<'_>,
        experiment: i64,
        clauses: &[Clause],
        orders: &[OrderBy],
        after: Option<&SortKey>,
    ) -> Result<Self, TrackingError> {
        let is_start = |order: &OrderBy| order.field.entity == Entity::Attribute && order.field.key == "start_time";
        let first = orders.first();
        if let Some(first) = first.filter(|o| o.field.entity == Entity::Metric)
            && let Some(key) = metrics::number_of(tx, &first.field.key)?
        {
            let missing = orders.get(1).filter(|o| is_start(o)).map(|o| o.ascending);
            return Ok(Self { experiment, steps: along_a_metric(first, key, clauses, missing, after) });
        }
        if let Some(few) = few(tx, experiment, clauses)? {
            return Ok(Self { experiment, steps: VecDeque::from([Step::Few(few)]) });
        }
        let (ascending, agreeing) = first.filter(|o| is_start(o)).map_or((false, 0), |o| (o.ascending, 1));
        let from = after.filter(|_| agreeing > 0).and_then(|a| a.first_number());
        // Begins with those that started when the page before ended.
        let position = from.map(|from| (from as i64, if ascending { String::new() } else { "~".into() }));
        Ok(Self { experiment, steps: VecDeque::from([Step::Starts { ascending, position, without: None, agreeing }]) })
    }

    /// The next runs, or none at the end.
    pub(super) fn next(&mut self, tx: &mut Tx<'_>) -> Result<Option<Stretch>, TrackingError> {
        while let Some(step) = self.steps.front_mut() {
            let stretch = match step {
                Step::Values(values) => Stretch { seen: values.next(tx, self.experiment)?, agreeing: 1 },
                Step::Starts { ascending, position, without, agreeing } => {
                    Stretch { seen: starts(tx, self.experiment, *ascending, position, *without)?, agreeing: *agreeing }
                }
                Step::Few(runs) => {
                    let infos = rows::of_many(tx, "select * from tracked_runs where id in ({})", &[], runs)?;
                    runs.clear();
                    let seen = infos.iter().map(|row| Ok(Seen { info: runs::info_from_row(row)?, metric: None }));
                    Stretch { seen: seen.collect::<Result<_, TrackingError>>()?, agreeing: 0 }
                }
            };
            if !stretch.seen.is_empty() {
                return Ok(Some(stretch));
            }
            self.steps.pop_front();
        }
        Ok(None)
    }
}

/// Numbers, then NaN, then runs without the metric, as far as the filter can still hold there.
fn along_a_metric(
    order: &OrderBy,
    key: i64,
    clauses: &[Clause],
    missing: Option<bool>,
    after: Option<&SortKey>,
) -> VecDeque<Step> {
    let ascending = order.ascending;
    let own = |clause: &&Clause| clause.field == order.field;
    let (mut low, mut high) = range(clauses.iter().filter(own));
    if let Some(from) = after.and_then(SortKey::first_number) {
        if ascending { low = low.max(from) } else { high = high.min(from) }
    }
    let values = |nan: bool, low: f64, high: f64| {
        let (position, end) = if ascending { ((low, i64::MIN), high) } else { ((high, i64::MAX), low) };
        Step::Values(Values { name: order.field.key.clone(), key, nan, ascending, position, end })
    };
    let mut steps = VecDeque::from([values(false, low, high)]);
    // NaN satisfies `!=` and NOT IN only.
    let of_nan = |test: &Test| matches!(test, Test::Number(Comparator::NotEqual, _) | Test::NumberNotIn(_));
    if clauses.iter().filter(own).all(|c| of_nan(&c.test)) {
        steps.push_back(values(true, 0.0, 0.0));
    }
    if !clauses.iter().any(|c| own(&c)) {
        let (ascending, agreeing) = missing.map_or((false, 0), |ascending| (ascending, 2));
        steps.push_back(Step::Starts { ascending, position: None, without: Some(key), agreeing });
    }
    steps
}

/// The least and the greatest number that can satisfy all of these.
fn range<'c>(clauses: impl Iterator<Item = &'c Clause>) -> (f64, f64) {
    let (mut low, mut high) = (f64::MIN, f64::MAX);
    for clause in clauses {
        match clause.test {
            Test::Number(Comparator::Greater | Comparator::GreaterOrEqual, limit) => low = low.max(limit),
            Test::Number(Comparator::Less | Comparator::LessOrEqual, limit) => high = high.min(limit),
            Test::Number(Comparator::Equal, value) => (low, high) = (low.max(value), high.min(value)),
            _ => {}
        }
    }
    (low, high)
}

/// The runs that satisfy one clause, if an index has it and they are few.
fn few(tx: &mut Tx<'_>, experiment: i64, clauses: &[Clause]) -> Result<Option<Vec<i64>>, TrackingError> {
    for clause in clauses {
        let found = match (&clause.field.entity, &clause.test) {
            (Entity::Metric, Test::Number(comparator, _)) if *comparator != Comparator::NotEqual => {
                let (low, high) = range(std::iter::once(clause));
                let Some(key) = metrics::number_of(tx, &clause.field.key)? else { return Ok(Some(Vec::new())) };
                tx.all(
                    "select run from metric_latest where experiment = $1 and key = $2 and is_nan = 0 \
                     and value between $3 and $4 limit $5",
                    &[&experiment, &key, &low, &high, &(FEW + 1)],
                )?
            }
            (Entity::Tag, Test::Equal(value)) => tx.all(
                &format!(
                    "select t.run from run_tags t join tracked_runs r on r.id = t.run \
                     where t.key = $1 and {INDEXED} and t.value = $2 and r.experiment = $3 limit $4"
                ),
                &[&clause.field.key, value, &experiment, &(FEW + 1)],
            )?,
            _ => continue,
        };
        if found.len() <= FEW as usize {
            return Ok(Some(found.iter().map(|row| row.int("run")).collect::<Result<_, _>>()?));
        }
    }
    Ok(None)
}

impl Values {
    fn next(&mut self, tx: &mut Tx<'_>, experiment: i64) -> Result<Vec<Seen>, TrackingError> {
        let (beyond, until, direction) = if self.ascending { (">", "<=", "asc") } else { ("<", ">=", "desc") };
        let found = tx.all(
            &format!(
                "select r.*, l.value from metric_latest l join tracked_runs r on r.id = l.run \
                 where l.experiment = $1 and l.key = $2 and l.is_nan = $3 and (l.value, l.run) {beyond} ($4, $5) \
                 and l.value {until} $6 order by l.value {direction}, l.run {direction} limit $7"
            ),
            &[&experiment, &self.key, &self.nan, &self.position.0, &self.position.1, &self.end, &PAGE],
        )?;
        found
            .iter()
            .map(|row| {
                let (info, value) = (runs::info_from_row(row)?, row.real("value")?);
                self.position = (value, info.id);
                let shown = if self.nan { f64::NAN } else { value };
                Ok(Seen { info, metric: Some((self.name.clone(), shown)) })
            })
            .collect()
    }
}

fn starts(
    tx: &mut Tx<'_>,
    experiment: i64,
    ascending: bool,
    position: &mut Option<(i64, String)>,
    without: Option<i64>,
) -> Result<Vec<Seen>, TrackingError> {
    let (beyond, direction) = if ascending { (">", "asc") } else { ("<", "desc") };
    let (start, run_id) =
        position.get_or_insert_with(|| if ascending { (i64::MIN, String::new()) } else { (i64::MAX, "~".into()) });
    let mut params: Vec<&dyn ToValue> = vec![&experiment, start, run_id, &PAGE];
    let mut lacking = "";
    if let Some(key) = &without {
        lacking = "and not exists (select 1 from metric_latest m where m.run = r.id and m.key = $5)";
        params.push(key);
    }
    let found = tx.list(
        &format!(
            "select r.* from tracked_runs r where r.experiment = $1 and (r.start_time, r.run_id) {beyond} ($2, $3) \
             {lacking} order by r.start_time {direction}, r.run_id {direction} limit $4"
        ),
        &params,
        |row| Ok::<_, TrackingError>(Seen { info: runs::info_from_row(row)?, metric: None }),
    )?;
    if let Some(last) = found.last() {
        *position = Some((last.info.start_time.millis(), last.info.run_id.clone()));
    }
    Ok(found)
}
