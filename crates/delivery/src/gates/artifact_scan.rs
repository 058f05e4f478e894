//! `artifact_scan`: refuses a model version with files that run code when they are loaded, lead elsewhere
//! or cannot be looked into.

use towpath_api::releases::Outcome;
use towpath_scan::Scan;

use super::Decided;

pub(crate) fn decide(scan: &Scan) -> Decided {
    match scan.refusal() {
        None => Decided::new(Outcome::Passed, scan.approval()),
        Some(reason) if scan.is_unread() => Decided::new(Outcome::Error, reason),
        Some(reason) => Decided::new(Outcome::Failed, reason),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_pickle_fails_and_a_model_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.pkl"), "x").unwrap();
        let decided = decide(&Scan::of(folder.path(), false));
        assert_eq!(decided, Decided::new(Outcome::Failed, "model.pkl is a pickle"));
        assert_eq!(decide(&Scan::of(folder.path(), true)).outcome, Outcome::Passed);
        let decided = decide(&Scan::of(Path::new("/nonexistent/model"), false));
        assert_eq!(decided, Decided::new(Outcome::Error, "model cannot be read"));
    }
}
