use std::collections::BTreeSet;

use serde::Serialize;

use super::{run_of, value};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Compare the parameters and latest metrics of two runs
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// Id of a run
    a: String,
    /// Id of another
    b: String,
}

/// What differs, with what both have.
#[derive(Serialize)]
struct Difference {
    a: String,
    b: String,
    params: Vec<Changed>,
    metrics: Vec<Changed>,
}

#[derive(Serialize)]
struct Changed {
    key: String,
    a: Option<String>,
    b: Option<String>,
}

fn changed<'m>(
    keys: impl Iterator<Item = &'m String>,
    read: impl Fn(&str) -> (Option<String>, Option<String>),
) -> Vec<Changed> {
    let keys: BTreeSet<&String> = keys.collect();
    keys.into_iter()
        .map(|key| {
            let (a, b) = read(key);
            Changed { key: key.clone(), a, b }
        })
        .filter(|changed| changed.a != changed.b)
        .collect()
}

impl Diff {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (a, b) = (run_of(ctx, &self.a).await?, run_of(ctx, &self.b).await?);
        let params = changed(a.params.keys().chain(b.params.keys()), |key| {
            (a.params.get(key).cloned(), b.params.get(key).cloned())
        });
        let metrics = changed(a.metrics.keys().chain(b.metrics.keys()), |key| {
            (a.metrics.get(key).map(|m| value(&m.value)), b.metrics.get(key).map(|m| value(&m.value)))
        });
        let difference = Difference { a: a.name, b: b.name, params, metrics };
        let same = difference.params.is_empty() && difference.metrics.is_empty();
        ctx.ui.show(&difference)?;
        Ok(if same { Exit::Done } else { Exit::No })
    }
}

impl Human for Difference {
    fn human(&self) -> String {
        if self.params.is_empty() && self.metrics.is_empty() {
            return "no difference".into();
        }
        let kinds = [("param", &self.params), ("metric", &self.metrics)];
        let rows = kinds.into_iter().flat_map(|(kind, all)| all.iter().map(move |c| (kind, c))).map(|(kind, c)| {
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            [kind.to_owned(), c.key.clone(), shown(&c.a), shown(&c.b)]
        });
        ui::table(["", "KEY", self.a.as_str(), self.b.as_str()], rows)
    }
}
