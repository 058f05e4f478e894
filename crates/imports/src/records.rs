//! Files that are sequences of checked records.

/// A checksum of the kind that zlib (`0xEDB8_8320`) and Castagnoli (`0x82F6_3B78`) use.
pub(crate) fn crc32(polynomial: u32, parts: &[&[u8]]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (polynomial & (crc & 1).wrapping_neg()))
    };
    !parts.iter().flat_map(|part| part.iter()).fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_catalogue() {
        assert_eq!(crc32(0xEDB8_8320, &[b"1234", b"56789"]), 0xCBF4_3926);
        assert_eq!(crc32(0x82F6_3B78, &[b"123456789"]), 0xE306_9283);
    }
}
