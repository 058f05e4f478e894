//! The id of a prediction.

use axum::http::HeaderValue;
use serde::{Serialize, Serializer};
use towpath_core::ids::new_id_number;

/// A UUID of version 7, written as 32 lowercase hex digits. Its first 48 bits are the milliseconds
/// at which it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PredictionId(pub(super) u128);

impl PredictionId {
    pub(crate) fn new() -> Self {
        Self(new_id_number())
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
    use super::*;

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
