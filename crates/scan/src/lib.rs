//! Looks at every file of a model, by content. Finds what runs code when it is loaded (pickles, also
//! inside archives), what leads elsewhere (links), and what it cannot look into.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

mod pickle;

pub use pickle::is_pickle;

/// Bytes of a file, or of a member of an archive, that are looked at.
const SNIFFED: u64 = 1 << 20;
/// Files of a model, members of an archive.
const MOST_FILES: u64 = 100_000;
const MOST_FINDINGS: usize = 100;
/// Archives inside archives.
const DEEPEST: u32 = 3;

/// What was found, and whether pickles are allowed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    allow_pickle: bool,
    files: u64,
    bytes: u64,
    /// The first hundred.
    findings: Vec<Finding>,
    /// All of them.
    found: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Relative to the model; a member of an archive behind `!`.
    pub path: String,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Pickle,
    Link,
    Executable,
    /// An archive or a compression that cannot be looked into.
    Opaque,
    /// Neither a file nor a folder.
    Special,
    Unreadable,
    TooMany,
}

impl What {
    fn words(self) -> &'static str {
        match self {
            Self::Pickle => "is a pickle",
            Self::Link => "is a link",
            Self::Executable => "is a program",
            Self::Opaque => "is compressed in a way that cannot be looked into",
            Self::Special => "is neither a file nor a folder",
            Self::Unreadable => "cannot be read",
            Self::TooMany => "and more: there are too many files to look at",
        }
    }
}

impl Scan {
    /// Looks at the file `root`, or at everything below the folder.
    pub fn of(root: &Path, allow_pickle: bool) -> Self {
        let mut scan = Self { allow_pickle, ..Self::default() };
        let name = root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        look(root, if root.is_dir() { "" } else { &name }, &mut scan);
        scan
    }

    /// What may not be there.
    pub fn refused(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| !(self.allow_pickle && f.what == What::Pickle))
    }

    /// For people: what may not be there. `None` when there is nothing.
    pub fn refusal(&self) -> Option<String> {
        let refused: Vec<&Finding> = self.refused().collect();
        let named: Vec<String> = refused.iter().take(5).map(|f| format!("{} {}", f.path, f.what.words())).collect();
        let more = match refused.len().saturating_sub(named.len()) {
            0 => String::new(),
            more => format!("; {more} more"),
        };
        (!refused.is_empty()).then(|| format!("{}{more}", named.join("; ")))
    }

    /// For people: what was looked at when nothing was refused.
    pub fn approval(&self) -> String {
        let allowed = if self.findings.is_empty() { "" } else { "; pickles are allowed by policy" };
        format!("{} nothing that runs when loaded{allowed}", self.looked_at())
    }

    /// Something is refused, but only for that it could not be read: nothing is said against the model.
    pub fn is_unread(&self) -> bool {
        self.refused().next().is_some() && self.refused().all(|f| f.what == What::Unreadable)
    }

    /// `1 file (4416 bytes) holds`, as a sentence begins.
    fn looked_at(&self) -> String {
        match self.files {
            1 => format!("1 file ({} bytes) holds", self.bytes),
            files => format!("{files} files ({} bytes together) hold", self.bytes),
        }
    }

    fn find(&mut self, path: &str, what: What) {
        self.found += 1;
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { path: path.to_owned(), what });
        }
    }

    /// Counts one more file; false when there are too many.
    fn count(&mut self, path: &str, bytes: u64) -> bool {
        self.files += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.files == MOST_FILES {
            self.find(path, What::TooMany);
        }
        self.files < MOST_FILES
    }
}

fn look(path: &Path, name: &str, scan: &mut Scan) {
    let Ok(metadata) = path.symlink_metadata() else {
        return scan.find(name, What::Unreadable);
    };
    let kind = metadata.file_type();
    if kind.is_symlink() {
        scan.find(name, What::Link);
    } else if kind.is_dir() {
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let Ok(mut entries) = entries else { return scan.find(name, What::Unreadable) };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            if scan.files >= MOST_FILES {
                return;
            }
            let child = entry.file_name().to_string_lossy().into_owned();
            let child = if name.is_empty() { child } else { format!("{name}/{child}") };
            look(&entry.path(), &child, scan);
        }
    } else if kind.is_file() {
        if scan.count(name, metadata.len()) {
            let opened = File::open(path).and_then(|mut file| {
                let mut head = Vec::new();
                file.by_ref().take(SNIFFED).read_to_end(&mut head)?;
                look_at(&head, name, scan);
                if is_zip(&mut file, &head)? {
                    look_into_zip(&mut file, name, 1, scan)?;
                }
                Ok(())
            });
            if opened.is_err() {
                scan.find(name, What::Unreadable);
            }
        }
    } else {
        scan.find(name, What::Special);
    }
}

/// Judges a file by its beginning and its name.
fn look_at(head: &[u8], name: &str, scan: &mut Scan) {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let named_pickle =
        extension.is_some_and(|e| ["pkl", "pickle", "joblib", "dill", "cloudpickle"].contains(&e.as_str()));
    if named_pickle || is_pickle(head) || holds_objects(head) || inflated(head).is_some_and(|inner| is_pickle(&inner)) {
        scan.find(name, What::Pickle);
    } else if [&b"\x7fELF"[..], b"MZ", b"#!", b"\0asm", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"]
        .iter()
        .any(|magic| head.starts_with(magic))
    {
        scan.find(name, What::Executable);
    } else if [&b"BZh"[..], b"\xfd7zXZ", b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!", b"\x5d\0\0"]
        .iter()
        .any(|magic| head.starts_with(magic))
        || head.get(257..262) == Some(b"ustar")
        || inflated(head).is_some_and(|inner| inner.get(257..262) == Some(b"ustar"))
    {
        scan.find(name, What::Opaque);
    }
}

/// A NumPy file (its format, version 1 to 3) whose elements are Python objects is a pickle after its
/// header.
fn holds_objects(head: &[u8]) -> bool {
    let header = head.get(..head.len().min(4096)).unwrap_or_default();
    header.starts_with(b"\x93NUMPY") && header.windows(2).any(|w| w == b"|O" || w == b"'O")
}

/// The beginning of what a gzip or zlib stream holds: joblib compresses pickles like this.
fn inflated(head: &[u8]) -> Option<Vec<u8>> {
    let mut inner = Vec::new();
    // A stream that breaks off gives what came before: `head` is cut off anyway.
    let _ = if head.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(head).take(SNIFFED).read_to_end(&mut inner)
    } else if let [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] = head {
        flate2::read::ZlibDecoder::new(head).take(SNIFFED).read_to_end(&mut inner)
    } else {
        return None;
    };
    Some(inner)
}

const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
const END_OF_DIRECTORY: [u8; 4] = *b"PK\x05\x06";

/// Whether something would open it as a zip archive: by its beginning, or by the directory at its
/// end.
fn is_zip(file: &mut (impl Read + Seek), head: &[u8]) -> io::Result<bool> {
    if head.starts_with(&LOCAL_HEADER) {
        return Ok(true);
    }
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(66_000)))?;
    let mut tail = Vec::new();
    file.take(66_000).read_to_end(&mut tail)?;
    Ok(tail.windows(4).any(|window| *window == END_OF_DIRECTORY))
}

/// Looks at every member. Members are found by their own headers (APPNOTE.TXT, 4.3.7), so a
/// directory that hides one does not hide it from here, and a wrong checksum changes nothing.
fn look_into_zip(archive: &mut (impl Read + Seek), name: &str, depth: u32, scan: &mut Scan) -> io::Result<()> {
    for at in find_all(archive, LOCAL_HEADER)? {
        archive.seek(SeekFrom::Start(at))?;
        let mut fixed = [0_u8; 30];
        if archive.read_exact(&mut fixed).is_err() {
            continue;
        }
        let u16_at = |i: usize| u16::from_le_bytes([fixed[i], fixed[i + 1]]);
        let (flags, method) = (u16_at(6), u16_at(8));
        let mut member = vec![0_u8; usize::from(u16_at(26))];
        if archive.read_exact(&mut member).is_err() {
            continue;
        }
        let member = format!("{name}!{}", String::from_utf8_lossy(&member));
        archive.seek(SeekFrom::Current(i64::from(u16_at(28))))?;
        if !scan.count(&member, 0) {
            return Ok(());
        }
        let mut head = Vec::new();
        let read = match method {
            _ if flags & 1 != 0 => None,
            0 => Some(archive.by_ref().take(SNIFFED).read_to_end(&mut head)),
            8 => Some(flate2::read::DeflateDecoder::new(archive.by_ref()).take(SNIFFED).read_to_end(&mut head)),
            _ => None,
        };
        if read.is_none() {
            scan.find(&member, What::Opaque);
            continue;
        }
        look_at(&head, &member, scan);
        if head.starts_with(&LOCAL_HEADER) {
            if depth >= DEEPEST {
                scan.find(&member, What::Opaque);
            } else {
                look_into_zip(&mut io::Cursor::new(head), &member, depth + 1, scan)?;
            }
        }
    }
    Ok(())
}

/// Where `signature` stands, from the start.
fn find_all(file: &mut (impl Read + Seek), signature: [u8; 4]) -> io::Result<Vec<u64>> {
    file.seek(SeekFrom::Start(0))?;
    let mut found = Vec::new();
    let mut window = vec![0_u8; 1 << 16];
    let (mut kept, mut start) = (0_usize, 0_u64);
    loop {
        let read = file.read(&mut window[kept..])?;
        if read == 0 {
            return Ok(found);
        }
        let filled = kept + read;
        for (offset, bytes) in window[..filled].windows(4).enumerate() {
            if *bytes == signature && found.len() < MOST_FILES as usize {
                found.push(start + offset as u64);
            }
        }
        // A signature may lie across two reads.
        kept = filled.min(3);
        window.copy_within(filled - kept..filled, 0);
        start += (filled - kept) as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const PICKLE: &[u8] = b"cos\nsystem\n(S'id'\ntR.";

    fn scanned(files: &[(&str, &[u8])], allow_pickle: bool) -> Scan {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        Scan::of(folder.path(), allow_pickle)
    }

    /// A zip archive with one deflated member and no directory.
    fn zip(member: &str, content: &[u8]) -> Vec<u8> {
        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        deflated.write_all(content).unwrap();
        let deflated = deflated.finish().unwrap();
        let mut out = LOCAL_HEADER.to_vec();
        out.extend([20, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        out.extend((deflated.len() as u32).to_le_bytes());
        out.extend((content.len() as u32).to_le_bytes());
        out.extend((member.len() as u16).to_le_bytes());
        out.extend([0, 0]);
        out.extend(member.as_bytes());
        out.extend(deflated);
        out
    }

    #[test]
    fn a_model_of_harmless_files_passes() {
        let scan = scanned(&[("model.onnx", b"\x08\x07skl2onnx"), ("MLmodel", b"flavors: {}\n")], false);
        assert_eq!(scan.refusal(), None);
        assert!(scan.approval().starts_with("2 files (22 bytes together) hold nothing"), "{}", scan.approval());
        let one = scanned(&[("model.onnx", b"\x08\x07skl2onnx")], false);
        assert!(one.approval().starts_with("1 file (10 bytes) holds nothing"), "{}", one.approval());
    }

    #[test]
    fn a_pickle_is_refused_whatever_its_name_and_named() {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        zlib.write_all(PICKLE).unwrap();
        let zlib = zlib.finish().unwrap();
        let nested = zip("inner.zip", &zip("data/w.bin", PICKLE));
        let array = b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }";
        for (name, bytes) in [
            ("weights.bin", PICKLE),
            ("model.pkl", b"anything"),
            ("deep/weights.pt", &zip("archive/data.pkl", PICKLE)),
            ("renamed.onnx", &nested),
            ("compressed.bin", &zlib),
            ("array.npy", array),
        ] {
            let refusal = scanned(&[("model.onnx", b"\x08\x07"), (name, bytes)], false).refusal().unwrap();
            assert!(refusal.contains(name) && refusal.contains("is a pickle"), "{refusal}");
            assert_eq!(scanned(&[(name, bytes)], true).refusal(), None, "{name}");
        }
    }

    #[test]
    fn programs_links_and_opaque_archives_are_refused_even_where_pickles_are_allowed() {
        for (name, bytes) in [("run", &b"\x7fELF\x02"[..]), ("run.sh", b"#!/bin/sh\n"), ("model.xz", b"\xfd7zXZ\0")] {
            let refusal = scanned(&[(name, bytes)], true).refusal().unwrap();
            assert!(refusal.contains(name), "{refusal}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("model.onnx")).unwrap();
        assert_eq!(Scan::of(folder.path(), true).refusal().unwrap(), "model.onnx is a link");
    }

    #[test]
    fn a_model_that_is_not_there_is_unread() {
        let scan = Scan::of(Path::new("/nonexistent/model"), false);
        assert_eq!((scan.refusal().as_deref(), scan.is_unread()), (Some("model cannot be read"), true));
    }

    #[test]
    fn a_signature_across_two_reads_is_found() {
        let mut bytes = vec![0_u8; (1 << 16) - 2];
        bytes.extend(LOCAL_HEADER);
        assert_eq!(find_all(&mut io::Cursor::new(bytes), LOCAL_HEADER).unwrap(), [(1 << 16) - 2]);
    }
}
