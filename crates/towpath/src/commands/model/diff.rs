use std::fmt::Write as _;

use serde_json::Value;
use towpath_api::client::encoded;
use towpath_api::models::{Comparison, DataChange};

use super::{path_of, version};
use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::{self, Human};

/// Compare two versions: origin, parameters, metrics, data, signature, packages, files
///
/// Exits with 1 when they differ.
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// MODEL/VERSION or MODEL@ALIAS
    a: String,
    /// Another
    b: String,
}

impl Diff {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let (a, b) = (version(ctx, &self.a).await?, version(ctx, &self.b).await?);
        let with = encoded(&format!("{}/{}", b.model, b.version));
        let path = format!("{}/compare?with={with}", path_of(&a.model, a.version));
        let comparison: Comparison = ctx.client()?.get(&path).await?;
        ctx.ui.show(&comparison)?;
        Ok(if comparison.is_same() { Exit::Done } else { Exit::No })
    }
}

impl Human for Comparison {
    fn human(&self) -> String {
        if self.is_same() {
            return format!("{} and {} do not differ", self.a, self.b);
        }
        let kinds = [
            ("origin", &self.origin),
            ("param", &self.params),
            ("metric", &self.metrics),
            ("signature", &self.signature),
            ("package", &self.packages),
            ("file", &self.files),
        ];
        let mut rows = Vec::new();
        for (kind, changes) in kinds {
            rows.extend(changes.iter().map(|change| {
                let difference = change.difference.map(|d| format!("{d:+}")).unwrap_or_default();
                [kind.to_owned(), change.key.clone(), shown(kind, &change.a), shown(kind, &change.b), difference]
            }));
        }
        rows.extend(self.data.iter().map(data));
        let mut text = ui::table(["", "", &self.a, &self.b, "DIFFERENCE"], rows);
        let files = match self.same_content {
            Some(true) => "the files are the same",
            Some(false) => "the files differ",
            None => "whether the files differ is not known",
        };
        let _ = write!(text, "\n\n{files}");
        if !self.metrics.is_empty() {
            let comparable = match self.same_evaluation {
                Some(true) => "the metrics were computed on the same data",
                Some(false) => "the metrics were computed on different data: they do not compare",
                None => "whether the metrics were computed on the same data is not known",
            };
            let _ = write!(text, "\n{comparable}");
        }
        for changes in self.data.iter().filter_map(|change| change.files.as_ref().map(|files| (change, files))) {
            let (change, files) = changes;
            let _ = write!(text, "\n\n{}", change.path);
            for name in &files.names {
                let _ = write!(text, "\n  {name}");
            }
        }
        text
    }
}

fn shown(kind: &str, value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) if kind == "origin" && text.len() > 16 => text.chars().take(12).collect(),
        Value::String(text) => text.clone(),
        Value::Number(number) if kind == "file" => number.as_u64().map_or_else(|| number.to_string(), ui::bytes),
        other => other.to_string(),
    }
}

fn data(change: &DataChange) -> [String; 5] {
    let short = |hash: &Option<String>| hash.as_deref().unwrap_or("-").chars().take(12).collect::<String>();
    let counts = change
        .files
        .as_ref()
        .map(|files| format!("{} added, {} removed, {} changed", files.added, files.removed, files.changed));
    ["data".into(), change.path.clone(), short(&change.a), short(&change.b), counts.unwrap_or_default()]
}
