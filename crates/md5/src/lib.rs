//! MD5 (RFC 1321) of many messages at once.
//!
//! One message cannot be hashed in parallel: each of its blocks waits for the one before. Different
//! messages can: the same step of 8 or 16 of them is one instruction of a vector unit. A lane takes
//! the next message as soon as its own ends, so messages of mixed lengths keep all lanes busy.

#![expect(clippy::inline_always, reason = "inlining is what compiles the loops for each vector unit")]

mod lanes;
mod rounds;

/// The MD5 of each message, in their order.
pub fn digest_all(messages: &[&[u8]]) -> Vec<[u8; 16]> {
    let mut digests = vec![[0; 16]; messages.len()];
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            #[expect(unsafe_code, reason = "the processor has AVX-512F, as was asked a line above")]
            unsafe {
                x86::avx512(messages, &mut digests);
            }
            return digests;
        }
        if is_x86_feature_detected!("avx2") {
            #[expect(unsafe_code, reason = "the processor has AVX2, as was asked a line above")]
            unsafe {
                x86::avx2(messages, &mut digests);
            }
            return digests;
        }
    }
    // What every processor of the architecture has: SSE2, NEON.
    lanes::run::<4>(messages, &mut digests);
    digests
}

/// The same loops, compiled for newer vector units.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use crate::lanes;

    #[target_feature(enable = "avx2")]
    pub(crate) fn avx2(messages: &[&[u8]], digests: &mut [[u8; 16]]) {
        lanes::run::<8>(messages, digests);
    }

    #[target_feature(enable = "avx512f")]
    pub(crate) fn avx512(messages: &[&[u8]], digests: &mut [[u8; 16]]) {
        lanes::run::<16>(messages, digests);
    }
}
