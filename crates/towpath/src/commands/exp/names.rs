//! Names for experiments that nobody named.

use towpath_core::ids;

const FIRST: [&str; 64] = [
    "able", "airy", "ample", "azure", "balmy", "bold", "brave", "bright", "brisk", "calm", "candid", "cheery", "civic",
    "clear", "clever", "cosy", "crisp", "dapper", "deft", "eager", "early", "earnest", "fair", "fleet", "fond",
    "frank", "fresh", "gentle", "gilded", "glad", "golden", "grand", "hardy", "hazel", "honest", "humble", "ivory",
    "jolly", "keen", "kind", "lively", "lucid", "merry", "mild", "neat", "noble", "patient", "plain", "plucky",
    "proud", "quick", "quiet", "ready", "rustic", "silver", "sober", "steady", "sunny", "swift", "tidy", "trim",
    "vivid", "warm", "witty",
];

const SECOND: [&str; 64] = [
    "alder", "anchor", "aspen", "barge", "beacon", "birch", "bramble", "bridge", "brook", "canal", "cedar", "cliff",
    "clover", "comet", "coot", "delta", "dune", "elm", "ember", "fern", "ferry", "finch", "fjord", "forge", "gale",
    "glade", "grove", "harbour", "heron", "hollow", "inlet", "iris", "kestrel", "lagoon", "lark", "ledge", "lock",
    "maple", "marsh", "meadow", "mill", "moor", "oak", "osprey", "otter", "path", "pebble", "pine", "plover", "quay",
    "reed", "ridge", "river", "robin", "sluice", "spruce", "swallow", "teal", "thicket", "tow", "vale", "weir",
    "willow", "wren",
];

/// Two words, such as no experiment is called that `taken` knows.
pub fn invented(taken: impl Fn(&str) -> bool) -> String {
    let random = ids::new_id_number();
    let at = |shift: u32| (random >> shift) as usize % 64;
    let start = at(0) * 64 + at(6);
    let names = (0..4096).map(|step| (start + step) % 4096).map(|n| format!("{}-{}", FIRST[n / 64], SECOND[n % 64]));
    let free = names.into_iter().find(|name| !taken(name));
    free.unwrap_or_else(|| format!("exp-{random:032x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_not_invented_again() {
        let first = invented(|_| false);
        assert!(towpath_git::experiments::is_valid_name(&first) && first.contains('-'));
        let second = invented(|name| name != "quiet-weir");
        assert_eq!(second, "quiet-weir");
        assert!(invented(|_| true).starts_with("exp-"));
    }
}
