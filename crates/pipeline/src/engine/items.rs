//! How the items of a stage that works on them one by one went.

use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// The input whose items they are.
    pub over: String,
    /// In the order of the input.
    pub items: Vec<ItemOutcome>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemOutcome {
    pub name: String,
    pub status: ItemStatus,
    /// How often it was run.
    pub attempts: u32,
    /// Of the last time.
    pub duration: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemStatus {
    /// An earlier run had its result already.
    Kept,
    Done,
    /// Why.
    Failed(String),
    /// Its turn did not come.
    NotRun,
}

impl Items {
    /// All items of an input: those that `ran`, and of the others which have a result.
    pub(super) fn new(over: &str, names: Vec<(String, bool)>, ran: Vec<ItemOutcome>) -> Self {
        let mut ran: BTreeMap<String, ItemOutcome> = ran.into_iter().map(|item| (item.name.clone(), item)).collect();
        let item = |(name, has_result): (String, bool)| {
            let status = if has_result { ItemStatus::Kept } else { ItemStatus::NotRun };
            let unrun = ItemOutcome { name: name.clone(), status, attempts: 0, duration: Duration::ZERO };
            ran.remove(&name).unwrap_or(unrun)
        };
        Self { over: over.to_owned(), items: names.into_iter().map(item).collect() }
    }

    /// The same with what an earlier attempt of the stage did.
    pub(super) fn after(mut self, earlier: &Self) -> Self {
        let earlier: BTreeMap<&str, &ItemOutcome> = earlier.items.iter().map(|item| (&*item.name, item)).collect();
        for item in &mut self.items {
            let Some(before) = earlier.get(&*item.name) else { continue };
            if item.attempts == 0 {
                *item = (*before).clone();
            } else {
                item.attempts += before.attempts;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(name: &str, status: ItemStatus) -> ItemOutcome {
        ItemOutcome { name: name.into(), status, attempts: 1, duration: Duration::from_millis(5) }
    }

    fn names(all: &[(&str, bool)]) -> Vec<(String, bool)> {
        all.iter().map(|(name, has_result)| ((*name).to_owned(), *has_result)).collect()
    }

    #[test]
    fn an_item_that_failed_at_first_was_run_twice() {
        let failed = ItemStatus::Failed("exited with 3".into());
        let first = vec![ran("b", ItemStatus::Done), ran("c", failed)];
        let first = Items::new("texts", names(&[("a", true), ("b", false), ("c", false)]), first);
        let again = vec![ran("c", ItemStatus::Done)];
        let second = Items::new("texts", names(&[("a", true), ("b", true), ("c", false)]), again).after(&first);
        let shown: Vec<_> = second.items.iter().map(|i| (&*i.name, i.status.clone(), i.attempts)).collect();
        assert_eq!(shown, [("a", ItemStatus::Kept, 0), ("b", ItemStatus::Done, 1), ("c", ItemStatus::Done, 2)]);
    }
}
