//! The items of a stage as people see them.

use std::cmp::Reverse;

use towpath_api::runs::{StageItem, StageItemStatus, StageItems};
use towpath_pipeline::{ItemOutcome, ItemStatus, Items};

/// Items that are listed; the counts are of all.
const LISTED: usize = 200;

pub(crate) fn shown(items: &Items) -> StageItems {
    let mut all: Vec<StageItem> = items.items.iter().map(item).collect();
    let count = |status: StageItemStatus| all.iter().filter(|item| item.status == status).count() as u64;
    let (done, kept, failed) =
        (count(StageItemStatus::Done), count(StageItemStatus::Kept), count(StageItemStatus::Failed));
    let total = all.len() as u64;
    let retried = all.iter().filter(|item| item.attempts > 1).count() as u64;
    all.sort_by(|a, b| {
        let order = |item: &StageItem| (item.status, Reverse(item.attempts));
        order(a).cmp(&order(b)).then(b.seconds.total_cmp(&a.seconds))
    });
    all.truncate(LISTED);
    StageItems { over: items.over.clone(), total, done, kept, failed, retried, items: all }
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
