//! When a request that failed is made again.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use crate::Error;

/// Requests for one object, all told.
const ATTEMPTS: u32 = 6;
/// Before the second attempt at most; doubled before each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A server that asks for more is not waited for.
const LONGEST_WISH: Duration = Duration::from_mins(2);

/// How long to wait after this error of the attempt with that number (from 1); `None`: give up.
pub(crate) fn pause(error: &Error, attempt: u32) -> Option<Duration> {
    if attempt >= ATTEMPTS {
        return None;
    }
    let longest = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
    // From half to whole, so that lanes that failed together do not come back together.
    let backoff = longest.mul_f64(0.5 + 0.5 * random());
    match error.retry_after() {
        Some(wish) if wish > LONGEST_WISH => None,
        Some(wish) => Some(wish.max(backoff)),
        None => Some(backoff),
    }
}

/// From 0 to 1. The standard library seeds each hasher from the system's randomness.
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(seconds: Option<u64>) -> Error {
        let retry_after = seconds.map(Duration::from_secs);
        Error::RemoteAnswer { url: String::new(), status: 503, detail: String::new(), retry_after }
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<Duration> = (1..).map_while(|attempt| pause(&answer(None), attempt)).collect();
        assert_eq!(pauses.len(), 5);
        for (i, pause) in pauses.iter().enumerate() {
            let longest = FIRST_PAUSE * (1 << i);
            assert!(*pause <= longest && *pause >= longest / 2, "{i}: {pause:?}");
        }
    }

    #[test]
    fn a_server_is_waited_for_as_long_as_it_asks_within_reason() {
        assert_eq!(pause(&answer(Some(5)), 1), Some(Duration::from_secs(5)));
        assert_eq!(pause(&answer(Some(3600)), 1), None);
    }
}
