//! The id of a prediction.

use axum::http::HeaderValue;
use serde::{Serialize, Serializer};
use towpath_core::Timestamp;
use towpath_core::ids::new_id_number;
use towpath_stats::routing;

/// A UUID of version 7, written as 32 lowercase hex digits. Its first 48 bits are the milliseconds
/// at which it was made. Of its random bits the last 32 are taken: 20 for the release that answered,
/// so that a prediction whose row was not kept is still traced to it, and 12 that tie both to the
/// deployment, so that an id from elsewhere is told from one of its own (but for one in 4096).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PredictionId(pub(super) u128);

impl PredictionId {
    pub(crate) fn new(release: i64, project: &str, environment: &str) -> Self {
        // A number that does not fit is told from none by nobody: rows still have it.
        let release = u32::try_from(release).ok().filter(|release| *release < 1 << 20).unwrap_or(0);
        let unsealed = new_id_number() >> 32 << 32 | u128::from(release << 12);
        Self(unsealed | Self(unsealed).seal(project, environment))
    }

    /// The release that answered, if this is an id of that deployment.
    pub(crate) fn release(self, project: &str, environment: &str) -> Option<i64> {
        let release = (self.0 as u32) >> 12;
        let own = self.0 & 0xfff == self.seal(project, environment) && self.0 >> 76 & 0xf == 7;
        (own && release > 0).then_some(i64::from(release))
    }

    /// When it was made.
    pub(crate) fn at(self) -> Timestamp {
        Timestamp((self.0 >> 80) as i64)
    }

    fn seal(self, project: &str, environment: &str) -> u128 {
        let bytes = (self.0 >> 12).to_be_bytes();
        let key = environment.bytes().chain(bytes);
        u128::from(routing::key_hash_of(project, key) & 0xfff)
    }

    /// `None` for what is no id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(u128::from_be_bytes(bytes)))
    }

    pub(crate) fn digits(self) -> String {
        Hex(self.0.to_be_bytes()).digits()
    }

    pub(crate) fn header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.digits()).ok()
    }
}

impl Serialize for PredictionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Hex(self.0.to_be_bytes()).serialize(serializer)
    }
}

/// Bytes that are written as lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hex<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Hex<N> {
    fn digits(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut digits = String::with_capacity(2 * N);
        for byte in self.0 {
            digits.push(char::from(DIGITS[usize::from(byte >> 4)]));
            digits.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        digits
    }
}

impl<const N: usize> Serialize for Hex<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.digits())
    }
}

#[cfg(test)]
mod tests {
    use towpath_core::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn an_id_names_its_release_to_its_own_deployment() {
        let id = PredictionId::new(12_345, "digits", "production");
        assert_eq!(id.release("digits", "production"), Some(12_345));
        assert_eq!(PredictionId::new(0, "digits", "production").release("digits", "production"), None);
        assert_eq!(PredictionId::new(1 << 20, "digits", "production").release("digits", "production"), None);
        let made = || PredictionId::new(7, "digits", "production").release("digits", "staging").is_some();
        let strangers = (0..10_000).filter(|_| made()).count();
        assert!(strangers < 20, "{strangers} of 10000 where 2.4 are expected");
        let now = SystemClock.now();
        assert!((now.millis() - id.at().millis()).abs() < 60_000);
    }

    #[test]
    fn an_id_is_read_from_the_digits_it_is_written_in() {
        let id = PredictionId(0x0190_0000_0000_7000_8000_0000_0000_00ab);
        assert_eq!(id.digits(), "019000000000700080000000000000ab");
        assert_eq!(PredictionId::parse(&id.digits()), Some(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"019000000000700080000000000000ab\"");
        for no_id in ["", "ab", "no hex digits, but 32 characters"] {
            assert_eq!(PredictionId::parse(no_id), None);
        }
    }
}
