//! Many named contents in one stream.
//!
//! ```text
//! "TPPACK01" | frames | 0
//! frame:  1 | u8 length of the name | name | u32 length | content
//!         2 | u8 length of the name | name | u64 length          too large for a pack: ask for it alone
//!         3 | u8 length of the name | name                       not there
//! ```
//! Numbers are little-endian. Without the 0 at its end a pack has broken off.

use std::io::{self, Read, Write};

use crate::error::Error;

const MAGIC: &[u8; 8] = b"TPPACK01";
const END: u8 = 0;
const CONTENT: u8 = 1;
const LARGE: u8 = 2;
const ABSENT: u8 = 3;

/// One entry of a pack. Whether the content belongs to the name is for the reader to verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Content {
        name: String,
        bytes: Vec<u8>,
    },
    /// It is there, with this many bytes, and has to be fetched alone.
    Large {
        name: String,
        size: u64,
    },
    /// It was asked for, and is not there.
    Absent {
        name: String,
    },
}

/// Writes a pack to a stream, which should be buffered.
pub struct PackWriter<W> {
    out: W,
}

impl<W: Write> PackWriter<W> {
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out })
    }

    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for a name of more than 255 bytes or a content of 4 GiB or more.
    pub fn content(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.begin(CONTENT, name)?;
        self.out.write_all(&length.to_le_bytes())?;
        self.out.write_all(bytes)
    }

    pub fn large(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.begin(LARGE, name)?;
        self.out.write_all(&size.to_le_bytes())
    }

    pub fn absent(&mut self, name: &str) -> io::Result<()> {
        self.begin(ABSENT, name)
    }

    fn begin(&mut self, kind: u8, name: &str) -> io::Result<()> {
        let length = u8::try_from(name.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.out.write_all(&[kind, length])?;
        self.out.write_all(name.as_bytes())
    }

    /// Writes the end, without which a reader calls the pack broken off.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[END])?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Bytes that the frame of a content takes in a pack.
pub fn framed_size(name: &str, content: u64) -> u64 {
    6 + name.len() as u64 + content
}

/// Reads a pack frame by frame; one content at a time is in memory.
pub struct PackReader<R> {
    reader: R,
    begun: bool,
    max_content: u32,
}

impl<R: Read> PackReader<R> {
    /// Refuses contents of more than `max_content` bytes before it reads them.
    pub fn new(reader: R, max_content: u32) -> Self {
        Self { reader, begun: false, max_content }
    }

    /// The next frame; `None` at the end of the pack.
    ///
    /// # Errors
    /// [`Error::Pack`] when this is no pack, [`Error::BrokenOff`] when it ends in the middle.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Error> {
        if !self.begun {
            if &self.array::<8>()? != MAGIC {
                return Err(Error::Pack("it does not begin with TPPACK01".into()));
            }
            self.begun = true;
        }
        let [kind] = self.array()?;
        if kind == END {
            return Ok(None);
        }
        if ![CONTENT, LARGE, ABSENT].contains(&kind) {
            return Err(Error::Pack(format!("a frame of kind {kind}, and 0 to 3 are known")));
        }
        let [length] = self.array()?;
        let name = String::from_utf8(self.bytes(usize::from(length))?)
            .map_err(|_| Error::Pack("the name of a frame is not UTF-8".into()))?;
        if kind == ABSENT {
            return Ok(Some(Frame::Absent { name }));
        }
        if kind == LARGE {
            return Ok(Some(Frame::Large { name, size: u64::from_le_bytes(self.array()?) }));
        }
        let length = u32::from_le_bytes(self.array()?);
        if length > self.max_content {
            let most = self.max_content;
            return Err(Error::Pack(format!("{name} is announced with {length} bytes, and {most} are the most")));
        }
        Ok(Some(Frame::Content { name, bytes: self.bytes(length as usize)? }))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(Error::BrokenOff)?;
        Ok(bytes)
    }

    /// Memory grows with what arrives, not with what is announced.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length as u64).read_to_end(&mut bytes).map_err(Error::BrokenOff)?;
        if read < length { Err(Error::BrokenOff(io::ErrorKind::UnexpectedEof.into())) } else { Ok(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(contents: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        for (name, bytes) in contents {
            writer.content(name, bytes).unwrap();
        }
        writer.large("c", 1 << 40).unwrap();
        writer.absent("d").unwrap();
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Frame>, Error> {
        let mut reader = PackReader::new(bytes, 1000);
        let mut frames = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let frames = read(&packed(&[("a", b"one"), ("b", b"")])).unwrap();
        let content = |name: &str, bytes: &[u8]| Frame::Content { name: name.into(), bytes: bytes.into() };
        let large = Frame::Large { name: "c".into(), size: 1 << 40 };
        assert_eq!(frames, [content("a", b"one"), content("b", b""), large, Frame::Absent { name: "d".into() }]);
        let framed = packed(&[("a", b"one")]).len() - packed(&[]).len();
        assert_eq!(framed as u64, framed_size("a", 3));
    }

    #[test]
    fn a_pack_that_breaks_off_anywhere_is_not_taken_for_whole() {
        let pack = packed(&[("a", b"one"), ("b", b"two")]);
        for end in 0..pack.len() {
            assert!(matches!(read(&pack[..end]), Err(Error::BrokenOff(_))), "{end} bytes");
        }
    }

    #[test]
    fn announced_lengths_are_bounded() {
        let refused = read(&packed(&[("a", &[0; 1001])])).unwrap_err().to_string();
        assert!(refused.contains("1001 bytes, and 1000 are the most"), "{refused}");
        assert!(read(b"TPPACK01\x07").unwrap_err().to_string().contains("kind 7"));
        assert!(read(b"PK\x03\x04....").unwrap_err().to_string().contains("TPPACK01"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes: Vec<u8>, with_magic: bool) {
            if with_magic {
                bytes.splice(0..0, *MAGIC);
            }
            let _ = read(&bytes);
        }
    }
}
