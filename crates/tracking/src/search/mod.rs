//! Searches: a filter, an order, a page. One grammar with five vocabularies; candidates are read in
//! pages with only the keys that filter and order name, so that memory holds one page and the keys of
//! what matched.

pub mod evaluate;
pub mod experiments;
pub mod filter;
mod like;
pub mod logged_models;
pub mod order;
pub mod page_token;
pub mod registered_models;
pub mod runs;
mod tokens;
pub mod versions;
pub(crate) mod walk;

use crate::TrackingError;

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    pub filter: String,
    pub order_by: Vec<String>,
    /// How many at most.
    pub limit: usize,
    pub page_token: Option<String>,
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    pub items: Vec<T>,
    pub next_page_token: Option<String>,
    /// How many match in all.
    pub total: usize,
}

/// One page of a search that does not count what else matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Part<T> {
    pub items: Vec<T>,
    pub next_page_token: Option<String>,
}

/// Longest filter or order clause, in bytes.
const LONGEST: usize = 100_000;
/// Candidates read at a time.
pub(crate) const PAGE: i64 = 1000;

impl Query {
    /// With the offset that the page token carries.
    pub(crate) fn parse(
        &self,
        grammar: &filter::Grammar,
    ) -> Result<(filter::Filter, Vec<order::OrderBy>, usize), TrackingError> {
        let (filter, orders) = self.terms(grammar)?;
        Ok((filter, orders, page_token::offset(self.page_token.as_deref())?))
    }

    fn terms(&self, grammar: &filter::Grammar) -> Result<(filter::Filter, Vec<order::OrderBy>), TrackingError> {
        if self.filter.len() > LONGEST || self.order_by.iter().any(|o| o.len() > LONGEST) {
            return Err(TrackingError::Filter(format!("a filter or an order has at most {LONGEST} characters")));
        }
        Ok((filter::parse(&self.filter, grammar)?, order::parse(&self.order_by, grammar)?))
    }
}

/// Sorts what matched and cuts the page out.
pub(crate) fn page<T>(
    mut matched: Vec<(order::SortKey, T)>,
    offset: usize,
    limit: usize,
) -> (Vec<T>, Option<String>, usize) {
    matched.sort_by(|a, b| a.0.cmp(&b.0));
    let total = matched.len();
    let items: Vec<T> = matched.into_iter().skip(offset).take(limit).map(|(_, item)| item).collect();
    let end = offset.saturating_add(items.len());
    let next = (end < total && !items.is_empty()).then(|| page_token::at(end));
    (items, next, total)
}
