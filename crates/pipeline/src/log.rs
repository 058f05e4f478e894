//! The log of a stage: one file, one line for each line that the stage printed.
//!
//! ```text
//! <milliseconds since the stage started> TAB <o|e|t> TAB <text> LF
//! ```
//! `o` is stdout, `e` stderr, `t` a note of Towpath. A carriage return starts the line anew, as on a
//! terminal, so a progress bar leaves its last state. Text is UTF-8; other bytes become U+FFFD.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Instant;

use crate::mask::Masks;

/// Bytes of a log that are kept unless the caller says otherwise.
pub const DEFAULT_LIMIT: u64 = 32 << 20;
/// Longer lines are cut.
const LINE_LIMIT: usize = 16 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
    Towpath,
}

impl Stream {
    fn letter(self) -> char {
        match self {
            Self::Out => 'o',
            Self::Err => 'e',
            Self::Towpath => 't',
        }
    }

    fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "o" => Some(Self::Out),
            "e" => Some(Self::Err),
            "t" => Some(Self::Towpath),
            _ => None,
        }
    }

    /// As the API names it: `out`, `err`, `towpath`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::Err => "err",
            Self::Towpath => "towpath",
        }
    }
}

/// One line, read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Counts from 0.
    pub number: u64,
    /// Seconds since the stage started.
    pub seconds: f64,
    pub stream: Stream,
    pub text: String,
}

/// A page of lines and how many the log has at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    pub lines: Vec<Line>,
    pub total: u64,
}

/// Writes a log. Nothing is buffered beyond an unfinished line: what was printed before a crash is
/// in the file.
#[derive(Debug)]
pub struct Writer {
    file: File,
    started: Instant,
    limit: u64,
    masks: Masks,
    written: u64,
    lines: u64,
    /// Bytes printed since the limit was reached.
    dropped: u64,
    out: Unfinished,
    err: Unfinished,
}

/// A line whose end has not come yet.
#[derive(Debug, Default)]
struct Unfinished {
    bytes: Vec<u8>,
    /// Bytes beyond the length limit.
    cut: usize,
    /// The last byte was a carriage return: what follows replaces the line, unless it is LF.
    returned: bool,
}

impl Writer {
    /// Starts a new log at `path`. `secrets` are replaced by `***` before they reach the disk, as they
    /// are and in Base64, URLs and JSON.
    pub fn create(path: &Path, limit: u64, secrets: &[String]) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self {
            file: File::create(path)?,
            started: Instant::now(),
            limit,
            masks: Masks::of(secrets),
            written: 0,
            lines: 0,
            dropped: 0,
            out: Unfinished::default(),
            err: Unfinished::default(),
        })
    }

    /// Takes what a process printed, in pieces of any size.
    pub fn take(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        if self.dropped > 0 {
            self.dropped += bytes.len() as u64;
            return Ok(());
        }
        let mut line = std::mem::take(if stream == Stream::Err { &mut self.err } else { &mut self.out });
        let mut batch = String::new();
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let (text, end) = match piece.split_last() {
                Some((end @ (b'\n' | b'\r'), text)) => (text, Some(*end)),
                _ => (piece, None),
            };
            if line.returned && !(text.is_empty() && end == Some(b'\n')) {
                line = Unfinished::default();
            }
            line.extend(text);
            match end {
                Some(b'\n') => self.format(stream, std::mem::take(&mut line), &mut batch),
                Some(_) => line.returned = true,
                None => {}
            }
        }
        *(if stream == Stream::Err { &mut self.err } else { &mut self.out }) = line;
        self.append(&batch)
    }

    /// Adds a line of Towpath's own.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        let mut batch = String::new();
        let line = Unfinished { bytes: text.replace(['\n', '\r'], " ").into_bytes(), ..Unfinished::default() };
        self.format(Stream::Towpath, line, &mut batch);
        self.append(&batch)
    }

    /// Ends unfinished lines: the process that wrote them has closed its side.
    pub fn end_lines(&mut self) -> io::Result<()> {
        let mut batch = String::new();
        for stream in [Stream::Out, Stream::Err] {
            let line = std::mem::take(if stream == Stream::Err { &mut self.err } else { &mut self.out });
            if !line.bytes.is_empty() {
                self.format(stream, line, &mut batch);
            }
        }
        self.append(&batch)
    }

    /// Ends the log. Says in a last line how much was dropped.
    pub fn finish(mut self) -> io::Result<u64> {
        self.end_lines()?;
        if self.dropped > 0 {
            let note = format!("{} bytes more were printed; the log keeps {}", self.dropped, self.limit);
            self.note(&note)?;
        }
        Ok(self.lines)
    }

    /// Complete lines in the file.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    fn format(&mut self, stream: Stream, line: Unfinished, batch: &mut String) {
        let mut text = self.masks.apply(String::from_utf8_lossy(&line.bytes).into_owned(), line.cut > 0);
        if line.cut > 0 {
            text = format!("{text} [{} bytes cut]", line.cut);
        }
        let record = format!("{}\t{}\t{text}\n", self.started.elapsed().as_millis(), stream.letter());
        let size = self.written + (batch.len() + record.len()) as u64;
        // Our own notes are few and always kept.
        if stream != Stream::Towpath && (self.dropped > 0 || size > self.limit) {
            self.dropped += line.bytes.len() as u64 + line.cut as u64 + 1;
        } else {
            batch.push_str(&record);
            self.lines += 1;
        }
    }

    fn append(&mut self, batch: &str) -> io::Result<()> {
        self.file.write_all(batch.as_bytes())?;
        self.written += batch.len() as u64;
        Ok(())
    }
}

impl Unfinished {
    fn extend(&mut self, text: &[u8]) {
        let keep = text.len().min(LINE_LIMIT.saturating_sub(self.bytes.len()));
        self.bytes.extend_from_slice(&text[..keep]);
        self.cut += text.len() - keep;
    }
}

/// Reads a log while it grows.
#[derive(Debug)]
pub struct Reader {
    file: BufReader<File>,
    /// Of the next line.
    number: u64,
}

impl Reader {
    /// A log that does not exist yet is `NotFound`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), number: 0 })
    }

    /// The next complete lines, at most `limit`; none when there are no more at this moment.
    pub fn read(&mut self, limit: usize) -> io::Result<Vec<Line>> {
        let mut lines = Vec::new();
        while lines.len() < limit {
            let Some(record) = self.record()? else { break };
            if let Some(line) = parse(self.number - 1, &record) {
                lines.push(line);
            }
        }
        Ok(lines)
    }

    /// Skips lines; stops at the end.
    pub fn skip(&mut self, count: u64) -> io::Result<()> {
        for _ in 0..count {
            if self.record()?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn record(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut record = Vec::new();
        let read = self.file.read_until(b'\n', &mut record)?;
        if record.last() != Some(&b'\n') {
            // A line that is being written: read it again next time.
            self.file.seek(SeekFrom::Current(-i64::try_from(read).unwrap_or(0)))?;
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(record))
    }
}

fn parse(number: u64, record: &[u8]) -> Option<Line> {
    let text = String::from_utf8_lossy(record);
    let mut fields = text.trim_end_matches('\n').splitn(3, '\t');
    let millis: u64 = fields.next()?.parse().ok()?;
    let stream = Stream::from_letter(fields.next()?)?;
    Some(Line { number, seconds: millis as f64 / 1000.0, stream, text: fields.next()?.to_owned() })
}

/// Lines of a log from line `from` on, at most `limit`. A log that does not exist has none.
pub fn read(path: &Path, from: u64, limit: usize) -> io::Result<Page> {
    let mut reader = match Reader::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Page::default()),
        reader => reader?,
    };
    reader.skip(from)?;
    let lines = reader.read(limit)?;
    reader.skip(u64::MAX)?;
    Ok(Page { lines, total: reader.number })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn writer(&self, limit: u64, secrets: &[&str]) -> Writer {
            let secrets: Vec<String> = secrets.iter().map(|s| (*s).to_owned()).collect();
            Writer::create(&self.path(), limit, &secrets).unwrap()
        }

        fn path(&self) -> std::path::PathBuf {
            self.0.path().join("logs/train.log")
        }

        fn texts(&self) -> Vec<String> {
            let page = read(&self.path(), 0, 1000).unwrap();
            page.lines.into_iter().map(|l| format!("{} {}", l.stream.name(), l.text)).collect()
        }
    }

    #[test]
    fn lines_are_kept_with_their_stream_in_the_order_they_ended() {
        let log = Log::new();
        let mut writer = log.writer(DEFAULT_LIMIT, &[]);
        writer.take(Stream::Out, b"epoch").unwrap();
        writer.take(Stream::Err, b"warning\n").unwrap();
        writer.take(Stream::Out, b" 1\nno line end").unwrap();
        writer.note("$ python train.py").unwrap();
        assert_eq!(writer.finish().unwrap(), 4);
        assert_eq!(log.texts(), ["err warning", "out epoch 1", "towpath $ python train.py", "out no line end"]);
    }

    #[test]
    fn a_progress_bar_leaves_its_last_state() {
        let log = Log::new();
        let mut writer = log.writer(DEFAULT_LIMIT, &[]);
        writer.take(Stream::Out, b"10 %\r50").unwrap();
        writer.take(Stream::Out, b" %\r100 %\nWindows\r").unwrap();
        writer.take(Stream::Out, b"\nstays\r").unwrap();
        writer.finish().unwrap();
        assert_eq!(log.texts(), ["out 100 %", "out Windows", "out stays"]);
    }

    #[test]
    fn a_secret_never_reaches_the_disk() {
        let log = Log::new();
        let mut writer = log.writer(DEFAULT_LIMIT, &["tp_s3cret", ""]);
        writer.take(Stream::Err, b"token tp_s3cr").unwrap();
        writer.take(Stream::Err, b"et refused\n").unwrap();
        writer.finish().unwrap();
        assert_eq!(log.texts(), ["err token *** refused"]);
    }

    #[test]
    fn what_exceeds_the_limit_is_counted_and_dropped() {
        let log = Log::new();
        let mut writer = log.writer(40, &[]);
        for _ in 0..10 {
            writer.take(Stream::Out, b"123456789\n").unwrap();
        }
        writer.finish().unwrap();
        let texts = log.texts();
        let kept = texts.len() - 1;
        assert!((1..10).contains(&kept));
        assert_eq!(texts[kept], format!("towpath {} bytes more were printed; the log keeps 40", (10 - kept) * 10));
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let log = Log::new();
        let mut writer = log.writer(DEFAULT_LIMIT, &[]);
        for _ in 0..100 {
            writer.take(Stream::Out, &[b'x'; 1000]).unwrap();
        }
        writer.finish().unwrap();
        assert!(log.texts()[0].ends_with("xx [83616 bytes cut]"));
    }

    #[test]
    fn a_log_is_read_in_pages_and_while_it_grows() {
        let log = Log::new();
        assert_eq!(read(&log.path(), 0, 10).unwrap(), Page::default());
        let mut writer = log.writer(DEFAULT_LIMIT, &[]);
        writer.take(Stream::Out, b"a\nb\nc\n").unwrap();
        let page = read(&log.path(), 1, 1).unwrap();
        assert_eq!((page.lines[0].number, page.lines[0].text.as_str(), page.total), (1, "b", 3));
        let mut reader = Reader::open(&log.path()).unwrap();
        assert_eq!(reader.read(10).unwrap().len(), 3);
        assert!(reader.read(10).unwrap().is_empty());
        writer.take(Stream::Out, b"d\n").unwrap();
        assert_eq!(reader.read(10).unwrap()[0].number, 3);
    }
}
