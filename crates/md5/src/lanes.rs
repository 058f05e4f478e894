//! Messages in lanes: which block of which message each lane hashes next.

use crate::rounds::{INITIAL, compress};

const BLOCK: usize = 64;

/// What a lane works on: the whole blocks of a message, then its padded end.
struct Lane<'m> {
    /// Of the digest in `digests`; `None` when there is no message left for this lane.
    message: Option<usize>,
    /// Blocks that are not hashed yet.
    blocks: &'m [u8],
    /// The last bytes of the message, `0x80`, zeros, and its length in bits.
    end: [u8; 2 * BLOCK],
    /// Of the padded end: where the next block is, and its length (64 or 128).
    at: usize,
    end_length: usize,
}

impl<'m> Lane<'m> {
    const IDLE: Self = Self { message: None, blocks: &[], end: [0; 2 * BLOCK], at: 0, end_length: 0 };

    fn take(index: usize, message: &'m [u8]) -> Self {
        let (blocks, rest) = message.split_at(message.len() - message.len() % BLOCK);
        let mut end = [0; 2 * BLOCK];
        end[..rest.len()].copy_from_slice(rest);
        end[rest.len()] = 0x80;
        let end_length = if rest.len() + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        let bits = (message.len() as u64).wrapping_mul(8);
        end[end_length - 8..end_length].copy_from_slice(&bits.to_le_bytes());
        Self { message: Some(index), blocks, end, at: 0, end_length }
    }

    /// How many blocks can be hashed without looking at the lane again.
    #[inline(always)]
    fn run(&self) -> usize {
        let bytes = if self.blocks.is_empty() { self.end_length - self.at } else { self.blocks.len() };
        if self.message.is_none() { usize::MAX } else { bytes / BLOCK }
    }

    /// The next block; an idle lane hashes zeros that nobody looks at.
    #[inline(always)]
    fn next(&mut self) -> &[u8] {
        if let Some((block, rest)) = self.blocks.split_at_checked(BLOCK) {
            self.blocks = rest;
            return block;
        }
        let at = self.at;
        if self.message.is_some() {
            self.at += BLOCK;
        }
        &self.end[at..at + BLOCK]
    }

    fn is_done(&self) -> bool {
        self.message.is_some() && self.blocks.is_empty() && self.at == self.end_length
    }
}

/// Inlined into functions that are compiled for one vector unit each, with as many lanes as it has.
#[inline(always)]
pub(crate) fn run<const N: usize>(messages: &[&[u8]], digests: &mut [[u8; 16]]) {
    let mut waiting = messages.iter().enumerate();
    let mut lanes: [Lane<'_>; N] = [Lane::IDLE; N];
    let mut state = [[0; N]; 4];
    for (i, lane) in lanes.iter_mut().enumerate() {
        refill(lane, &mut state, i, waiting.next());
    }
    let mut words = [[0; N]; 16];
    while lanes.iter().any(|lane| lane.message.is_some()) {
        for _ in 0..lanes.iter().map(Lane::run).min().unwrap_or(0) {
            for (i, lane) in lanes.iter_mut().enumerate() {
                let (block, _) = lane.next().as_chunks::<4>();
                for (word, bytes) in words.iter_mut().zip(block) {
                    word[i] = u32::from_le_bytes(*bytes);
                }
            }
            compress(&mut state, &words);
        }
        for (i, lane) in lanes.iter_mut().enumerate() {
            if let Some(message) = lane.message.filter(|_| lane.is_done()) {
                for (bytes, word) in digests[message].as_chunks_mut::<4>().0.iter_mut().zip(&state) {
                    *bytes = word[i].to_le_bytes();
                }
                refill(lane, &mut state, i, waiting.next());
            }
        }
    }
}

fn refill<'m, const N: usize>(
    lane: &mut Lane<'m>,
    state: &mut [[u32; N]; 4],
    i: usize,
    next: Option<(usize, &&'m [u8])>,
) {
    *lane = next.map_or(Lane::IDLE, |(index, message)| Lane::take(index, message));
    for (word, initial) in state.iter_mut().zip(INITIAL) {
        word[i] = initial;
    }
}
