//! Object ids: the MD5 of an object, with `.dir` behind for the manifest of a folder.

use std::fmt;

use towpath_core::{Content, HashName};

use crate::Error;

/// Written as 32 lowercase hex digits, then `.dir` if it names a manifest.
///
/// An object of DVC 2 is another one than an object of DVC 3 with the same digits: it lies in
/// another place and is verified in another way.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid {
    md5: [u8; 16],
    is_dir: bool,
    hash: HashName,
}

impl Oid {
    /// An object of DVC 3. Refuses everything that is not exactly an object id, so that it is safe
    /// in a path or a URL.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let digits = text.strip_suffix(".dir").unwrap_or(text);
        let lowercase = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut md5 = [0; 16];
        if !lowercase || hex::decode_to_slice(digits, &mut md5).is_err() {
            return Err(Error::InvalidOid(text.to_owned()));
        }
        Ok(Self { md5, is_dir: digits.len() < text.len(), hash: HashName::Md5 })
    }

    /// The object that holds a content: a file's bytes or a folder's manifest.
    pub fn of(content: &Content) -> Result<Self, Error> {
        Ok(Self::parse(&content.md5)?.hashed_by(content.hash))
    }

    /// The object with the same digits of the other generation of DVC, or this one.
    pub fn hashed_by(self, hash: HashName) -> Self {
        Self { hash, ..self }
    }

    pub(crate) fn of_file(md5: [u8; 16], hash: HashName) -> Self {
        Self { md5, is_dir: false, hash }
    }

    pub(crate) fn of_dir(md5: [u8; 16], hash: HashName) -> Self {
        Self { md5, is_dir: true, hash }
    }

    pub fn is_dir(&self) -> bool {
        self.is_dir
    }

    /// How the object is hashed.
    pub fn hash_name(&self) -> HashName {
        self.hash
    }

    /// The object's place below a cache or remote: `files/md5/<2 digits>/<the rest>`, of DVC 2
    /// `<2 digits>/<the rest>`.
    pub fn object_path(&self) -> String {
        let folder = match self.hash {
            HashName::Md5 => "files/md5/",
            HashName::Md5Dos2unix => "",
        };
        let text = self.to_string();
        format!("{folder}{}/{}", &text[..2], &text[2..])
    }

    /// The 16 bytes that the hex digits stand for.
    pub(crate) fn md5(&self) -> [u8; 16] {
        self.md5
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        // 16 bytes fill exactly 32 digits, and hex digits are UTF-8: neither step can fail.
        hex::encode_to_slice(self.md5, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)?;
        if self.is_dir { f.write_str(".dir") } else { Ok(()) }
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.hash {
            HashName::Md5 => write!(f, "Oid({self})"),
            HashName::Md5Dos2unix => write!(f, "Oid({self} of DVC 2)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_id_is_32_lowercase_hex_digits_with_an_optional_dir() {
        let oid = Oid::parse("d751713988987e9331980363e24189ce.dir").unwrap();
        assert!(oid.is_dir());
        assert_eq!(oid.to_string(), "d751713988987e9331980363e24189ce.dir");
        assert_eq!(oid.object_path(), "files/md5/d7/51713988987e9331980363e24189ce.dir");
        for bad in ["", "d7", "D751713988987E9331980363E24189CE", "../../../../../../../../etc/passwd", &"g".repeat(32)]
        {
            assert!(Oid::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_object_of_dvc_2_is_another_one_in_another_place() {
        let new = Oid::parse("60b725f10c9c85c70d97880dfe8191b3").unwrap();
        let old = new.clone().hashed_by(HashName::Md5Dos2unix);
        assert_eq!(old.object_path(), "60/b725f10c9c85c70d97880dfe8191b3");
        assert_ne!(old, new);
        assert_eq!(old.to_string(), new.to_string());
    }
}
