use std::fmt::Write as _;

use towpath_api::trace::{Link, Trace as Chain};

use crate::config::Context;
use crate::error::{Error, Exit};
use crate::ui::Human;

/// Show where something comes from, down to data, commit and approvers, or what data touched
#[derive(clap::Args, Debug)]
pub struct Trace {
    /// A prediction id, MODEL@ALIAS, MODEL/VERSION, a data path or a data hash
    thing: String,
}

impl Trace {
    pub async fn run(self, ctx: &Context) -> Result<Exit, Error> {
        let chain: Chain = ctx.client()?.get(&format!("/trace?of={}", encoded(&self.thing))).await?;
        ctx.ui.show(&chain)?;
        Ok(Exit::Done)
    }
}

/// Percent-encoded for a query (RFC 3986, unreserved characters stay).
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/@".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

impl Human for Chain {
    fn human(&self) -> String {
        self.links.iter().map(line).collect()
    }
}

/// `    model digits v2  3fa1c0de91b2  accuracy: 0.9722  [ledger 41]`
fn line(link: &Link) -> String {
    let indent = "  ".repeat(link.depth as usize);
    let kind = match link.kind.as_str() {
        "model_version" => "model ".to_owned(),
        // Their names say what they are: `release 4 into production`, `approved by ...`.
        "release" | "run" | "approval" | "params" | "environment" => String::new(),
        kind => format!("{} ", kind.replace('_', " ")),
    };
    let mut text = format!("{indent}{kind}{}", link.name);
    if let Some(hash) = link.hash.as_ref().filter(|hash| **hash != link.name) {
        // The MD5 of data is what `md5sum` and DVC show; of other hashes the beginning will do.
        let shown = if link.kind == "data" { hash } else { hash.get(..12).unwrap_or(hash) };
        let _ = write!(text, "  {shown}");
    }
    let mut separator = "  ";
    for (name, value) in &link.facts {
        let _ = write!(text, "{separator}{name}: {value}");
        separator = ", ";
    }
    if let Some(seq) = link.ledger_seq {
        let _ = write!(text, "  [ledger {seq}]");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_is_a_line_indented_by_its_depth() {
        let link = |depth, kind: &str, name: &str| Link {
            depth,
            kind: kind.into(),
            name: name.into(),
            hash: None,
            facts: Vec::new(),
            ledger_seq: None,
        };
        let mut data = link(3, "data", "data/images/week-09.csv");
        data.hash = Some("9a5c".into());
        data.facts = vec![("rows".into(), "100".into()), ("run".into(), "2".into())];
        data.ledger_seq = Some(7);
        let mut version = link(2, "model_version", "digits v2");
        version.hash = Some("3fa1c0de91b2aaaaaaaa".into());
        let mut approval = link(2, "approval", "approved by reviewer-1 (risk)");
        approval.facts = vec![("reason".into(), "evidence read".into())];
        let links =
            vec![link(0, "prediction", "1"), link(1, "release", "release 4 into production"), approval, version, data];
        assert_eq!(
            Chain { of: "prediction/1".into(), links }.human(),
            "prediction 1\n  release 4 into production\n    approved by reviewer-1 (risk)  reason: evidence read\n    \
             model digits v2  3fa1c0de91b2\n      data data/images/week-09.csv  9a5c  rows: 100, run: 2  [ledger 7]\n"
        );
    }

    #[test]
    fn a_path_with_spaces_is_encoded() {
        assert_eq!(encoded("data/week 1&2.csv"), "data/week%201%262.csv");
        assert_eq!(encoded("digits@production"), "digits@production");
    }
}
