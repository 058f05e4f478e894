//! Is this a pickle? Decided by its opcodes (CPython, `Lib/pickletools.py`), not by its name: loading
//! a pickle runs whatever code it names.

/// True when `bytes`, the beginning of a file, would run as a pickle: a protocol header followed by
/// an opcode, or, of the text protocols that have no header, opcodes that name a global and then
/// call something. A stream that is broken later has done its work by then.
pub fn is_pickle(bytes: &[u8]) -> bool {
    if let [0x80, version, rest @ ..] = bytes
        && *version <= 5
    {
        return match rest {
            [] => true,
            [opcode, ..] => is_opcode(*opcode),
        };
    }
    calls_something(bytes)
}

/// What follows an opcode.
enum Argument {
    Nothing,
    Bytes(usize),
    /// That many lines, each ended by a newline.
    Lines(usize),
    /// A little-endian length of that many bytes, then so many bytes.
    Counted(usize),
}

fn argument(opcode: u8) -> Option<Argument> {
    use Argument::{Bytes, Counted, Lines, Nothing};
    Some(match opcode {
        b'('
        | b'.'
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'Q'
        | b'R'
        | b'a'
        | b'b'
        | b'd'
        | b'}'
        | b'e'
        | b'l'
        | b']'
        | b'o'
        | b's'
        | b't'
        | b')'
        | b'u'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94
        | 0x97
        | 0x98 => Nothing,
        b'K' | b'h' | b'q' | 0x80 | 0x82 => Bytes(1),
        b'M' | 0x83 => Bytes(2),
        b'J' | b'j' | b'r' | 0x84 => Bytes(4),
        b'G' | 0x95 => Bytes(8),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => Lines(1),
        b'c' | b'i' => Lines(2),
        b'U' | b'C' | 0x8a | 0x8c => Counted(1),
        b'T' | b'X' | b'B' | 0x8b => Counted(4),
        0x8d | 0x8e | 0x96 => Counted(8),
        _ => return None,
    })
}

/// Leaves one more thing on the stack.
fn pushes(opcode: u8) -> bool {
    matches!(
        opcode,
        b'(' | b'2' | b'N' | b'}' | b']' | b')' | b'K' | b'h' | b'M' | b'J' | b'j' | b'G' | b'F' | b'I' | b'L' | b'P'
            | b'S' | b'V' | b'g' | b'c' | b'U' | b'C' | b'T' | b'X' | b'B' | 0x82..=0x84 | 0x88..=0x8f | 0x96 | 0x97
    )
}

fn is_opcode(byte: u8) -> bool {
    argument(byte).is_some()
}

/// Walks the opcodes from the start until one names a global and a later one calls.
fn calls_something(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    let (mut named, mut marked, mut pushed) = (false, false, 0_u32);
    while let [opcode, after @ ..] = rest {
        let Some(argument) = argument(*opcode) else { return false };
        match opcode {
            b'(' => marked = true,
            // INST names and calls; the EXT opcodes name by number.
            b'i' if marked => return lines(after, 2).is_some(),
            b'c' | 0x82..=0x84 | 0x93 => named = true,
            // A call takes what is called and its arguments: with one thing on the stack it fails.
            b'R' | b'o' | b'b' | 0x81 | 0x92 if named && pushed > 1 => return true,
            b'.' => return false,
            _ => {}
        }
        pushed = pushed.saturating_add(u32::from(pushes(*opcode)));
        let skipped = match argument {
            Argument::Nothing => Some(after),
            Argument::Bytes(count) => after.get(count..),
            Argument::Lines(count) => lines(after, count),
            Argument::Counted(width) => counted(after, width),
        };
        let Some(next) = skipped else { return false };
        rest = next;
    }
    false
}

fn lines(mut bytes: &[u8], count: usize) -> Option<&[u8]> {
    for _ in 0..count {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        bytes = bytes.get(end + 1..)?;
    }
    Some(bytes)
}

fn counted(bytes: &[u8], width: usize) -> Option<&[u8]> {
    let length = bytes.get(..width)?.iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    bytes.get(width..)?.get(usize::try_from(length).ok()?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pickles_of_every_protocol_are_seen() {
        // pickle.dumps(os.system reduced with "id", protocol=0), by hand.
        assert!(is_pickle(b"cos\nsystem\n(S'id'\ntR."));
        // INST, and the same through STACK_GLOBAL without a header.
        assert!(is_pickle(b"(S'id'\nios\nsystem\n."));
        assert!(is_pickle(b"\x8c\x02os\x8c\x06system\x93(\x8c\x02idtR."));
        // pickle.dumps({"a": 1}, protocol=4).
        assert!(is_pickle(b"\x80\x04\x95\x0a\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94K\x01s."));
        // Cut off after the call: it has run by then.
        assert!(is_pickle(b"cos\nsystem\n(S'id'\ntR\xff\xff"));
    }

    #[test]
    fn ordinary_files_are_not_pickles() {
        for bytes in [
            &b""[..],
            b"{\"a\": 1}",
            b"import os\nprint(1)\n",
            b"cat\ndog\nbird\n",
            b"\x08\x07\x12\x0askl2onnx", // ONNX
            b"PK\x03\x04",
            b"\x89PNG\r\n",
            b"I hereby declare\n",
        ] {
            assert!(!is_pickle(bytes), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            is_pickle(&bytes);
        }
    }
}
