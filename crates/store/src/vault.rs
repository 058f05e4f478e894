//! Texts that are encrypted in the database with a key that is only in the server's data directory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::StoreError;

/// Bytes of the key of a [`Vault`].
pub const KEY_LENGTH: usize = 32;

/// Encrypts and decrypts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    pub fn new(key: &[u8; KEY_LENGTH]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("a key of 32 bytes is one of AES-256");
        Self { key: LessSafeKey::new(key) }
    }

    /// `place` is where the text is kept: what is moved elsewhere cannot be read there.
    pub fn seal(&self, place: &str, text: &str) -> Result<String, StoreError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| StoreError::Random)?;
        let mut bytes = text.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut bytes)
            .map_err(|_| StoreError::Random)?;
        Ok(STANDARD.encode([&nonce[..], &bytes].concat()))
    }

    /// `None` for what another key sealed, or for another place.
    pub fn open(&self, place: &str, sealed: &str) -> Option<String> {
        let bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_checked(NONCE_LEN)?;
        let mut text = text.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(place), &mut text).ok()?;
        String::from_utf8(opened.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_read_with_its_key_at_its_place_only() {
        let vault = Vault::new(&[7; KEY_LENGTH]);
        let sealed = vault.seal("digits\nTOKEN\n\n", "s3cret").unwrap();
        assert!(!STANDARD.decode(&sealed).unwrap().windows(6).any(|w| w == b"s3cret"));
        assert_eq!(vault.open("digits\nTOKEN\n\n", &sealed).as_deref(), Some("s3cret"));
        assert_eq!(vault.open("other\nTOKEN\n\n", &sealed), None);
        assert_eq!(Vault::new(&[8; KEY_LENGTH]).open("digits\nTOKEN\n\n", &sealed), None);
        assert_ne!(vault.seal("a", "s3cret").unwrap(), vault.seal("a", "s3cret").unwrap());
    }
}
