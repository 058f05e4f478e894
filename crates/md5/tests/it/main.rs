//! Against RustCrypto's MD5.

use md5::{Digest as _, Md5};
use proptest::prelude::*;

fn expected(messages: &[&[u8]]) -> Vec<[u8; 16]> {
    messages.iter().map(|message| Md5::digest(message).into()).collect()
}

#[test]
fn every_length_around_a_block_is_padded_right() {
    let bytes: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
    let messages: Vec<&[u8]> = (0..bytes.len()).map(|length| &bytes[..length]).collect();
    assert_eq!(towpath_md5::digest_all(&messages), expected(&messages));
    assert_eq!(towpath_md5::digest_all(&[]), Vec::<[u8; 16]>::new());
}

proptest! {
    #[test]
    fn any_messages_have_the_digests_that_they_have_alone(
        messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..80)
    ) {
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(towpath_md5::digest_all(&messages), expected(&messages));
    }
}
