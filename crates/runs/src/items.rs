//! The items of a stage as people see them.

use std::cmp::{Ordering, Reverse};

use towpath_api::runs::{StageItem, StageItemStatus, StageItems};
use towpath_pipeline::{ItemOutcome, ItemStatus, Items};

/// Items that are listed; the counts are of all.
const LISTED: usize = 200;

/// Of a stage that begins to work on them: `kept` have a result already.
pub(crate) fn begun(over: &str, total: u64, kept: u64) -> StageItems {
    StageItems { over: over.to_owned(), total, done: 0, kept, failed: 0, retried: 0, items: Vec::new() }
}

/// One more of them was run.
pub(crate) fn add(shown: &mut StageItems, outcome: &ItemOutcome) {
    match outcome.status {
        ItemStatus::Kept => shown.kept += 1,
        ItemStatus::Done => shown.done += 1,
        ItemStatus::Failed(_) => shown.failed += 1,
        ItemStatus::NotRun => {}
    }
    shown.retried += u64::from(outcome.attempts > 1);
    let item = item(outcome);
    let at = shown.items.partition_point(|before| order(before, &item).is_le());
    if at < LISTED {
        shown.items.insert(at, item);
        shown.items.truncate(LISTED);
    }
}

pub(crate) fn shown(items: &Items) -> StageItems {
    let mut shown = begun(&items.over, items.items.len() as u64, 0);
    for outcome in &items.items {
        add(&mut shown, outcome);
    }
    shown
}

/// Failed ones first, then those that were retried, then the slowest.
fn order(a: &StageItem, b: &StageItem) -> Ordering {
    let rank = |item: &StageItem| (item.status, Reverse(item.attempts));
    rank(a).cmp(&rank(b)).then(b.seconds.total_cmp(&a.seconds))
}

fn item(item: &ItemOutcome) -> StageItem {
    let (status, error) = match &item.status {
        ItemStatus::Kept => (StageItemStatus::Kept, None),
        ItemStatus::Done => (StageItemStatus::Done, None),
        ItemStatus::Failed(why) => (StageItemStatus::Failed, Some(why.clone())),
        ItemStatus::NotRun => (StageItemStatus::NotRun, None),
    };
    StageItem { name: item.name.clone(), status, attempts: item.attempts, seconds: item.duration.as_secs_f64(), error }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_failed_or_was_retried_stands_first_and_counts_are_of_all() {
        let item = |name: &str, status, attempts, millis| ItemOutcome {
            name: name.into(),
            status,
            attempts,
            duration: Duration::from_millis(millis),
        };
        let mut items = vec![item("kept", ItemStatus::Kept, 0, 0), item("again", ItemStatus::Done, 2, 1)];
        items.extend((0..300).map(|n| item(&format!("{n}"), ItemStatus::Done, 1, n)));
        items.push(item("bad", ItemStatus::Failed("exited with 3".into()), 2, 7));
        let shown = shown(&Items { over: "texts".into(), items });
        assert_eq!((shown.total, shown.done, shown.kept, shown.failed, shown.retried), (303, 301, 1, 1, 2));
        let first: Vec<&str> = shown.items.iter().take(3).map(|item| &*item.name).collect();
        assert_eq!((first, shown.items.len()), (vec!["bad", "again", "299"], 200));
        assert_eq!(shown.items[0].error.as_deref(), Some("exited with 3"));
    }
}
