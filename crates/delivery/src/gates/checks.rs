//! `checks`: every named data check has a passing verdict on exactly the data of this version.

use serde::{Deserialize, Serialize};
use towpath_api::releases::Outcome;
use towpath_store::Tx;

use super::{Decided, Grounds};
use crate::DeliveryError;

/// One row for each check that the gate asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    checks: Vec<Asked>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Asked {
    name: String,
    /// `None`: `towpath.yaml` declares no such check.
    path: Option<String>,
    /// What the version was made from, and the suite that judged it; `None`: its run made no such
    /// check.
    data_hash: Option<String>,
    suite_hash: Option<String>,
    /// The newest verdict on exactly these; `None`: there is none.
    verdict: Option<Found>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Found {
    passed: bool,
    /// Of the pipeline run that evaluated it.
    run: i64,
    /// What the suite found, as it was stored.
    detail: serde_json::Value,
}

/// Reads the verdicts on the version's data. `wanted` may be `["all"]`.
pub(crate) fn gather(tx: &mut Tx<'_>, grounds: &Grounds, wanted: &[String]) -> Result<Inputs, DeliveryError> {
    let names: Vec<String> = if wanted.iter().any(|name| name == "all") {
        grounds.declared_checks.keys().cloned().collect()
    } else {
        wanted.to_vec()
    };
    let mut checks = Vec::with_capacity(names.len());
    for name in names {
        let made = grounds.candidate.checks.iter().find(|check| check.name == name);
        let verdict = match made {
            None => None,
            Some(made) => tx
                .opt(
                    "select passed, number, detail from check_verdicts where project = $1 and name = $2 \
                     and data_hash = $3 and suite_hash = $4 order by at desc, number desc limit 1",
                    &[&grounds.project, &name, &made.data_hash, &made.suite_hash],
                )?
                .map(|row| {
                    Ok::<_, DeliveryError>(Found {
                        passed: row.bool("passed")?,
                        run: row.int("number")?,
                        detail: row.json("detail")?,
                    })
                })
                .transpose()?,
        };
        checks.push(Asked {
            path: grounds.declared_checks.get(&name).map(|check| check.path.clone()),
            data_hash: made.map(|made| made.data_hash.clone()),
            suite_hash: made.map(|made| made.suite_hash.clone()),
            verdict,
            name,
        });
    }
    Ok(Inputs { checks })
}

pub(crate) fn decide(inputs: &Inputs) -> Decided {
    if inputs.checks.is_empty() {
        return Decided::new(Outcome::Failed, "towpath.yaml declares no checks, so there is no verdict to read");
    }
    let mut passed = Vec::new();
    for check in &inputs.checks {
        let name = &check.name;
        let Some(path) = &check.path else {
            return Decided::new(Outcome::Error, format!("towpath.yaml declares no check '{name}'"));
        };
        let (Some(data_hash), Some(verdict)) = (&check.data_hash, &check.verdict) else {
            return Decided::new(
                Outcome::Failed,
                format!("there is no verdict of '{name}' on the version of {path} that this model was made from"),
            );
        };
        let data = format!("{path} {}", data_hash.get(..8).unwrap_or(data_hash));
        if !verdict.passed {
            return Decided::new(Outcome::Failed, format!("'{name}' failed on {data} in run {}", verdict.run));
        }
        passed.push(format!("'{name}' passed on {data} in run {}", verdict.run));
    }
    Decided::new(Outcome::Passed, passed.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(passed: Option<bool>) -> Inputs {
        Inputs {
            checks: vec![Asked {
                name: "images".into(),
                path: Some("data/images".into()),
                data_hash: Some("5b4ca31d77.dir".into()),
                suite_hash: Some("s".into()),
                verdict: passed.map(|passed| Found { passed, run: 4, detail: serde_json::json!([]) }),
            }],
        }
    }

    #[test]
    fn a_verdict_on_exactly_this_data_decides() {
        let decided = decide(&asked(Some(true)));
        assert_eq!(decided, Decided::new(Outcome::Passed, "'images' passed on data/images 5b4ca31d in run 4"));
        assert_eq!(decide(&asked(Some(false))).outcome, Outcome::Failed);
        let none = decide(&asked(None));
        assert_eq!(none.outcome, Outcome::Failed);
        assert!(none.reason.contains("no verdict of 'images'"), "{}", none.reason);
    }

    #[test]
    fn a_check_that_is_not_declared_is_an_error_and_no_checks_do_not_pass() {
        let mut inputs = asked(Some(true));
        inputs.checks[0].path = None;
        assert_eq!(decide(&inputs).outcome, Outcome::Error);
        assert_eq!(decide(&Inputs { checks: vec![] }).outcome, Outcome::Failed);
    }
}
