//! What was decided on a rollout, with everything it was decided on: whoever holds a record decides
//! again and gets the same.

use serde::{Deserialize, Serialize};
use serde_json::json;
use towpath_api::deployments::Recomputed;
use towpath_core::project::RolloutPolicy;
use towpath_core::{Digest, Timestamp};
use towpath_stats::judge::{self, Action, Evidence, Verdict};
use towpath_store::Tx;

use crate::DeliveryError;

/// A decision as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) at: Timestamp,
    pub(crate) verb: Verb,
    pub(crate) text: String,
    pub(crate) step: usize,
    /// `towpath:judge`, or the person who ordered it.
    pub(crate) by: String,
    /// What the judge saw; `None` for a decision that rests on no evidence (start, an order).
    pub(crate) judged: Option<Judged>,
}

/// The arguments of [`judge::decide`] and what it answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) policy: RolloutPolicy,
    pub(crate) evidence: Evidence,
    pub(crate) evidence_at_step: Evidence,
    pub(crate) step: usize,
    pub(crate) step_started_at: Timestamp,
    pub(crate) now: Timestamp,
    pub(crate) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    Start,
    Hold,
    Advance,
    Promote,
    RollBack,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Hold => "hold",
            Self::Advance => "advance",
            Self::Promote => "promote",
            Self::RollBack => "roll_back",
        }
    }
}

impl From<Action> for Verb {
    fn from(action: Action) -> Self {
        match action {
            Action::Hold => Self::Hold,
            Action::Advance => Self::Advance,
            Action::Promote => Self::Promote,
            Action::RollBack => Self::RollBack,
        }
    }
}

impl Judged {
    pub(crate) fn decide(
        policy: &RolloutPolicy,
        evidence: Evidence,
        evidence_at_step: Evidence,
        step: usize,
        step_started_at: Timestamp,
        now: Timestamp,
    ) -> Self {
        let verdict = judge::decide(policy, &evidence, &evidence_at_step, step, step_started_at, now);
        Self { policy: policy.clone(), evidence, evidence_at_step, step, step_started_at, now, verdict }
    }

    fn again(&self) -> Verdict {
        judge::decide(&self.policy, &self.evidence, &self.evidence_at_step, self.step, self.step_started_at, self.now)
    }
}

/// Appends a decision; its hash.
pub(crate) fn append(tx: &mut Tx<'_>, rollout: &str, record: &Record) -> Result<Digest, DeliveryError> {
    let row = tx.one("select count(*) as records from rollout_decisions where rollout = $1", &[&rollout])?;
    let text = json!(record).to_string();
    let hash = Digest::of(text.as_bytes());
    tx.run(
        "insert into rollout_decisions (rollout, position, decision, hash) values ($1,$2,$3,$4)",
        &[&rollout, &row.int("records")?, &text, &hash],
    )?;
    Ok(hash)
}

/// The text of a decision as stored, and the hash that was stored with it.
struct Stored {
    text: String,
    hash: Digest,
}

/// The newest `limit` decisions, newest first, with their hashes.
pub(crate) fn newest(tx: &mut Tx<'_>, rollout: &str, limit: i64) -> Result<Vec<(Record, Digest)>, DeliveryError> {
    tx.list(
        "select decision, hash from rollout_decisions where rollout = $1 order by position desc limit $2",
        &[&rollout, &limit],
        |row| Ok((row.json("decision")?, row.digest("hash")?)),
    )
}

/// Decides everything again, oldest first. A start, and what a person ordered, rests on no evidence:
/// of those only the hash is looked at.
pub(crate) fn recompute(tx: &mut Tx<'_>, rollout: &str) -> Result<Recomputed, DeliveryError> {
    let stored = tx.list::<_, DeliveryError>(
        "select decision, hash from rollout_decisions where rollout = $1 order by position",
        &[&rollout],
        |row| Ok(Stored { text: row.text("decision")?, hash: row.digest("hash")? }),
    )?;
    let differences: Vec<String> = stored.iter().enumerate().filter_map(|(i, s)| differs(i + 1, s)).collect();
    let decisions = stored.len() as u32;
    Ok(Recomputed { decisions, equal: decisions - differences.len() as u32, differences })
}

fn differs(number: usize, stored: &Stored) -> Option<String> {
    let computed = Digest::of(stored.text.as_bytes());
    if computed != stored.hash {
        return Some(format!(
            "decision {number}: it hashes to {}, and {} was stored",
            computed.short(),
            stored.hash.short()
        ));
    }
    let record: Record = match serde_json::from_str(&stored.text) {
        Ok(record) => record,
        Err(error) => return Some(format!("decision {number}: it cannot be read: {error}")),
    };
    let judged = record.judged?;
    let again = judged.again();
    if again != judged.verdict {
        return Some(format!("decision {number}: stored '{}', recomputed '{}'", judged.verdict.text, again.text));
    }
    (Verb::from(again.action) != record.verb)
        .then(|| format!("decision {number}: '{}' was done, and the evidence says '{}'", record.text, again.text))
}

/// The text without its numbers: two holds of the same kind say the same with other numbers.
pub(crate) fn category(text: &str) -> String {
    let mut category = String::with_capacity(text.len());
    for c in text.chars().filter(|c| *c != '.') {
        if !c.is_ascii_digit() {
            category.push(c);
        } else if !category.ends_with('#') {
            category.push('#');
        }
    }
    category
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_that_differ_in_numbers_only_are_of_one_kind() {
        let a = category("Hold at 25 %: labels are not shown safe yet (4.6 of 20), about 300 more requests");
        let b = category("Hold at 25 %: labels are not shown safe yet (19 of 20), about 2 more requests");
        assert_eq!(a, b);
        assert_ne!(a, category("Hold at 25 %: no evidence on labels of the candidate yet"));
    }
}
