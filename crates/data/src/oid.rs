//! Object ids: the MD5 of an object, with `.dir` behind for the manifest of a folder.

use std::fmt;

use crate::Error;

/// 32 lowercase hex digits, then `.dir` if it names a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(String);

impl Oid {
    /// Refuses everything that is not exactly an object id, so that it is safe in a path or a URL.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.strip_suffix(".dir").unwrap_or(text);
        let fine = digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fine { Ok(Self(text.to_owned())) } else { Err(Error::InvalidOid(text.to_owned())) }
    }

    pub(crate) fn of_file(md5: [u8; 16]) -> Self {
        Self(hex::encode(md5))
    }

    pub(crate) fn of_dir(md5: [u8; 16]) -> Self {
        Self(format!("{}.dir", hex::encode(md5)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_dir(&self) -> bool {
        self.0.len() > 32
    }

    /// The object's place below `files/md5/` of a cache or remote: `<2 digits>/<the rest>`.
    pub fn relative_path(&self) -> String {
        format!("{}/{}", &self.0[..2], &self.0[2..])
    }

    /// The 16 bytes that the hex digits stand for.
    pub(crate) fn md5(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // An Oid is made of exactly 32 hex digits, so decoding cannot fail.
        let decoded = hex::decode_to_slice(&self.0[..32], &mut bytes);
        debug_assert!(decoded.is_ok());
        bytes
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_is_32_lowercase_hex_digits_with_an_optional_dir() {
        let oid = Oid::parse("d751713988987e9331980363e24189ce.dir").unwrap();
        assert!(oid.is_dir());
        assert_eq!(oid.relative_path(), "d7/51713988987e9331980363e24189ce.dir");
        for bad in ["", "d7", "D751713988987E9331980363E24189CE", "../../../../../../../../etc/passwd", &"g".repeat(32)]
        {
            assert!(Oid::parse(bad).is_err(), "{bad}");
        }
    }
}
