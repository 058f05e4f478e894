//! SFTP version 3 (draft-ietf-secsh-filexfer-02) as a client needs it: requests go out before the
//! answers to earlier ones are in, so that a file moves at the speed of the line.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};

use super::Login;
use super::pipe::Pipe;
use crate::Error;

const VERSION: u32 = 3;
/// Every server takes and gives blocks of this size.
const BLOCK: u32 = 32 * 1024;
/// Blocks on their way at a time: 2 MiB, enough for 100 MB/s at 20 ms.
const IN_FLIGHT: usize = 64;
/// Longer packets are no SFTP.
const MOST_PACKET: u32 = 1 << 20;

const INIT: u8 = 1;
const OPEN: u8 = 3;
const CLOSE: u8 = 4;
const READ: u8 = 5;
const WRITE: u8 = 6;
const OPENDIR: u8 = 11;
const READDIR: u8 = 12;
const REMOVE: u8 = 13;
const MKDIR: u8 = 14;
const STAT: u8 = 17;
const RENAME: u8 = 18;
const STATUS: u8 = 101;
const HANDLE: u8 = 102;
const DATA: u8 = 103;
const NAME: u8 = 104;
const ATTRS: u8 = 105;
const EXTENDED: u8 = 200;

const FOR_READING: u32 = 1;
/// Write, create, truncate.
const FOR_WRITING: u32 = 2 | 8 | 16;

const OK: u32 = 0;
const EOF: u32 = 1;
const NO_SUCH_FILE: u32 = 2;
const PERMISSION_DENIED: u32 = 3;

/// Renames over a file that is there, as POSIX does; plain `RENAME` refuses.
const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// Why a request was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no: its code and words.
    Status(u32, String),
    /// The connection is of no use any more.
    Broken(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Failure {
    pub(super) fn is_no_such_file(&self) -> bool {
        matches!(self, Self::Status(NO_SUCH_FILE, _))
    }

    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Status(PERMISSION_DENIED, _))
    }

    fn malformed() -> Self {
        Self::Broken(io::Error::new(io::ErrorKind::InvalidData, "the answer is no SFTP"))
    }
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) mode: Option<u32>,
}

impl Attributes {
    pub(super) fn is_dir(self) -> bool {
        self.mode.is_some_and(|mode| mode & 0o170_000 == 0o040_000)
    }
}

/// A connection. After [`Failure::Broken`] it is to be dropped.
#[derive(Debug)]
pub(super) struct Session {
    pipe: Pipe,
    next_id: u32,
    can_replace: bool,
    /// Answers that came before one that is waited for.
    early: BTreeMap<u32, Packet>,
}

impl Session {
    pub(super) fn open(login: &Login) -> Result<Self, Error> {
        let mut session = Self { pipe: Pipe::open(login)?, next_id: 0, can_replace: false, early: BTreeMap::new() };
        match session.greet() {
            Ok(()) => Ok(session),
            Err(failure) => {
                let said = session.pipe.last_words();
                let problem = match failure {
                    _ if !said.is_empty() => said,
                    Failure::Broken(error) => error.to_string(),
                    Failure::Status(_, said) => said,
                };
                Err(login.refused_or_unreachable(problem))
            }
        }
    }

    fn greet(&mut self) -> Result<(), Failure> {
        self.write_packet(&[&[INIT], VERSION.to_be_bytes().as_slice()].concat())?;
        let mut answer = self.read_packet()?;
        if answer.byte()? != 2 || answer.number()? < VERSION {
            return Err(Failure::malformed());
        }
        while !answer.is_empty() {
            let is_rename = answer.text()? == POSIX_RENAME.as_bytes();
            self.can_replace |= is_rename;
            // The version of the extension.
            answer.text()?;
        }
        Ok(())
    }

    pub(super) fn stat(&mut self, path: &str) -> Result<Attributes, Failure> {
        let mut answer = self.ask(STAT, |packet| packet.put_text(path))?;
        answer.expect(ATTRS)?;
        answer.attributes()
    }

    pub(super) fn make_dir(&mut self, path: &str) -> Result<(), Failure> {
        self.ask(MKDIR, |packet| {
            packet.put_text(path);
            packet.put_number(0);
        })?
        .ok()
    }

    pub(super) fn remove(&mut self, path: &str) -> Result<(), Failure> {
        self.ask(REMOVE, |packet| packet.put_text(path))?.ok()
    }

    /// Over a file of that name, if the server can.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<(), Failure> {
        if self.can_replace {
            let names = |packet: &mut Vec<u8>| {
                packet.put_text(POSIX_RENAME);
                packet.put_text(from);
                packet.put_text(to);
            };
            return self.ask(EXTENDED, names)?.ok();
        }
        let names = |packet: &mut Vec<u8>| {
            packet.put_text(from);
            packet.put_text(to);
        };
        match self.ask(RENAME, names)?.ok() {
            Err(Failure::Status(..)) if self.stat(to).is_ok() => {
                self.remove(to)?;
                self.ask(RENAME, names)?.ok()
            }
            other => other,
        }
    }

    /// The names in a folder, `.` and `..` left out; those that are not UTF-8 are none of ours.
    pub(super) fn list(&mut self, path: &str) -> Result<Vec<(String, Attributes)>, Failure> {
        let handle = self.handle(OPENDIR, |packet| packet.put_text(path))?;
        let mut found = Vec::new();
        loop {
            let mut answer = self.ask(READDIR, |packet| packet.put_bytes(&handle))?;
            if let Some(code) = answer.status_code()? {
                self.close(&handle)?;
                return if code == EOF { Ok(found) } else { Err(Failure::Status(code, "cannot list".into())) };
            }
            answer.expect(NAME)?;
            for _ in 0..answer.number()? {
                let name = answer.text()?.to_vec();
                answer.text()?;
                let attributes = answer.attributes()?;
                if let Ok(name) = String::from_utf8(name)
                    && name != "."
                    && name != ".."
                {
                    found.push((name, attributes));
                }
            }
        }
    }

    /// Stores what `from` gives as a new file.
    pub(super) fn write_file(&mut self, path: &str, from: &mut impl Read) -> Result<u64, Failure> {
        let handle = self.handle(OPEN, |packet| {
            packet.put_text(path);
            packet.put_number(FOR_WRITING);
            packet.put_number(0);
        })?;
        let mut block = vec![0; BLOCK as usize];
        let (mut offset, mut in_flight) = (0, VecDeque::new());
        let mut refused = None;
        loop {
            let read = read_block(from, &mut block)?;
            if read > 0 && refused.is_none() {
                in_flight.push_back(self.send(WRITE, |packet| {
                    packet.put_bytes(&handle);
                    packet.extend_from_slice(&u64::to_be_bytes(offset));
                    packet.put_bytes(&block[..read]);
                })?);
                offset += read as u64;
            }
            let at_end = read == 0 || refused.is_some();
            while in_flight.len() >= IN_FLIGHT || (at_end && !in_flight.is_empty()) {
                let Some(id) = in_flight.pop_front() else { break };
                if let Err(failure) = self.answer_to(id)?.ok() {
                    refused.get_or_insert(failure);
                }
            }
            if at_end {
                self.close(&handle)?;
                return refused.map_or(Ok(offset), Err);
            }
        }
    }

    /// Opens a file for [`read_ahead`](Self::read_ahead).
    pub(super) fn open_file(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.handle(OPEN, |packet| {
            packet.put_text(path);
            packet.put_number(FOR_READING);
            packet.put_number(0);
        })
    }

    pub(super) fn close(&mut self, handle: &[u8]) -> Result<(), Failure> {
        self.ask(CLOSE, |packet| packet.put_bytes(handle))?.ok()
    }

    /// Asks for the next blocks of an open file until enough are on their way.
    pub(super) fn read_ahead(&mut self, reading: &mut Reading) -> Result<(), Failure> {
        while reading.in_flight.len() < IN_FLIGHT && reading.asked < reading.end {
            let length = u64::from(BLOCK).min(reading.end - reading.asked) as u32;
            let id = self.send_read(reading, reading.asked, length)?;
            reading.in_flight.push_back((id, reading.asked, length));
            reading.asked += u64::from(length);
        }
        Ok(())
    }

    fn send_read(&mut self, reading: &Reading, offset: u64, length: u32) -> Result<u32, Failure> {
        self.send(READ, |packet| {
            packet.put_bytes(&reading.handle);
            packet.extend_from_slice(&offset.to_be_bytes());
            packet.put_number(length);
        })
    }

    /// The next block that was asked for; empty at the end of the file. What a server leaves out of a
    /// block is asked for again.
    pub(super) fn next_block(&mut self, reading: &mut Reading) -> Result<Vec<u8>, Failure> {
        let Some((mut id, offset, length)) = reading.in_flight.pop_front() else { return Ok(Vec::new()) };
        let mut block = Vec::with_capacity(length as usize);
        loop {
            let mut answer = self.answer_to(id)?;
            if let Some(code) = answer.status_code()? {
                let said = if code == EOF { "the file became shorter" } else { "cannot read" };
                return Err(Failure::Status(code, said.to_owned()));
            }
            answer.expect(DATA)?;
            let bytes = answer.text()?;
            if bytes.is_empty() || block.len() + bytes.len() > length as usize {
                return Err(Failure::malformed());
            }
            block.extend_from_slice(bytes);
            let missing = length - block.len() as u32;
            if missing == 0 {
                return Ok(block);
            }
            id = self.send_read(reading, offset + block.len() as u64, missing)?;
        }
    }

    /// Takes the answers that are still on their way, so that the connection can be used again.
    pub(super) fn settle(&mut self, reading: &mut Reading) -> Result<(), Failure> {
        while let Some((id, ..)) = reading.in_flight.pop_front() {
            self.answer_to(id)?;
        }
        self.close(&reading.handle)
    }

    fn handle(&mut self, kind: u8, body: impl Fn(&mut Vec<u8>)) -> Result<Vec<u8>, Failure> {
        let mut answer = self.ask(kind, body)?;
        answer.expect(HANDLE)?;
        Ok(answer.text()?.to_vec())
    }

    fn ask(&mut self, kind: u8, body: impl Fn(&mut Vec<u8>)) -> Result<Packet, Failure> {
        let id = self.send(kind, body)?;
        self.answer_to(id)
    }

    fn send(&mut self, kind: u8, body: impl Fn(&mut Vec<u8>)) -> Result<u32, Failure> {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        let mut packet = vec![kind];
        packet.put_number(id);
        body(&mut packet);
        self.write_packet(&packet)?;
        Ok(id)
    }

    fn answer_to(&mut self, id: u32) -> Result<Packet, Failure> {
        if let Some(packet) = self.early.remove(&id) {
            return Ok(packet);
        }
        loop {
            let mut packet = self.read_packet()?;
            packet.kind = packet.byte()?;
            let found = packet.number()?;
            if found == id {
                return Ok(packet);
            }
            if self.early.len() > IN_FLIGHT {
                return Err(Failure::malformed());
            }
            self.early.insert(found, packet);
        }
    }

    fn write_packet(&mut self, packet: &[u8]) -> Result<(), Failure> {
        let length = (packet.len() as u32).to_be_bytes();
        self.pipe.write_all(&[length.as_slice(), packet].concat())?;
        Ok(())
    }

    fn read_packet(&mut self) -> Result<Packet, Failure> {
        let mut length = [0; 4];
        self.pipe.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length == 0 || length > MOST_PACKET {
            return Err(Failure::malformed());
        }
        let mut bytes = vec![0; length as usize];
        self.pipe.read_exact(&mut bytes)?;
        Ok(Packet { bytes, at: 0, kind: 0 })
    }
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    handle: Vec<u8>,
    /// Id, offset and length of each request.
    in_flight: VecDeque<(u32, u64, u32)>,
    asked: u64,
    end: u64,
}

impl Reading {
    /// The bytes from `start` to `end` of an open file.
    pub(super) fn new(handle: Vec<u8>, start: u64, end: u64) -> Self {
        Self { handle, in_flight: VecDeque::new(), asked: start, end }
    }
}

/// Fills the block as far as there is something.
fn read_block(from: &mut impl Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match from.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writing of the parts of a packet.
trait Put {
    fn put_number(&mut self, number: u32);
    fn put_bytes(&mut self, bytes: &[u8]);
    fn put_text(&mut self, text: &str) {
        self.put_bytes(text.as_bytes());
    }
}

impl Put for Vec<u8> {
    fn put_number(&mut self, number: u32) {
        self.extend_from_slice(&number.to_be_bytes());
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_number(bytes.len() as u32);
        self.extend_from_slice(bytes);
    }
}

/// An answer, read from front to back.
#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    at: usize,
    kind: u8,
}

impl Packet {
    fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Failure> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len()).ok_or_else(Failure::malformed)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Failure> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, Failure> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn text(&mut self) -> Result<&[u8], Failure> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn attributes(&mut self) -> Result<Attributes, Failure> {
        let flags = self.number()?;
        let mut attributes = Attributes::default();
        if flags & 1 != 0 {
            let (high, low) = (self.number()?, self.number()?);
            attributes.size = Some(u64::from(high) << 32 | u64::from(low));
        }
        if flags & 2 != 0 {
            self.take(8)?;
        }
        if flags & 4 != 0 {
            attributes.mode = Some(self.number()?);
        }
        if flags & 8 != 0 {
            self.take(8)?;
        }
        if flags & 0x8000_0000 != 0 {
            for _ in 0..self.number()? {
                self.text()?;
                self.text()?;
            }
        }
        Ok(attributes)
    }

    /// The code of a status; `None` for another answer.
    fn status_code(&mut self) -> Result<Option<u32>, Failure> {
        if self.kind == STATUS { self.number().map(Some) } else { Ok(None) }
    }

    /// An answer of this kind; a status is what went wrong.
    fn expect(&mut self, kind: u8) -> Result<(), Failure> {
        match self.kind {
            STATUS => match self.ok() {
                Ok(()) => Err(Failure::malformed()),
                Err(failure) => Err(failure),
            },
            found if found == kind => Ok(()),
            _ => Err(Failure::malformed()),
        }
    }

    /// A status that says that it is done.
    fn ok(&mut self) -> Result<(), Failure> {
        match self.status_code()? {
            Some(OK) => Ok(()),
            Some(code) => {
                let said = self.text().map(|said| String::from_utf8_lossy(said).into_owned()).unwrap_or_default();
                Err(Failure::Status(code, said))
            }
            None => Err(Failure::malformed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u8, bytes: &[u8]) -> Packet {
        Packet { bytes: bytes.to_vec(), at: 0, kind }
    }

    #[test]
    fn attributes_are_read_field_by_field() {
        let mut bytes = Vec::new();
        bytes.put_number(1 | 2 | 4 | 8);
        bytes.extend_from_slice(&5_u64.to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.put_number(0o040_755);
        bytes.extend_from_slice(&[0; 8]);
        let attributes = packet(ATTRS, &bytes).attributes().unwrap();
        assert_eq!((attributes.size, attributes.is_dir()), (Some(5), true));
        assert!(packet(ATTRS, &bytes[..20]).attributes().is_err());
    }

    #[test]
    fn answers_that_lie_about_their_length_are_refused() {
        assert!(matches!(packet(HANDLE, &[0xff; 6]).text(), Err(Failure::Broken(_))));
        let mut status = Vec::new();
        status.put_number(NO_SUCH_FILE);
        status.put_text("gone");
        assert!(packet(STATUS, &status).expect(HANDLE).unwrap_err().is_no_such_file());
        assert!(matches!(packet(DATA, &[]).ok(), Err(Failure::Broken(_))));
    }
}
