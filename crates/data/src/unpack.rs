//! Objects come in packs: each is verified, and all of a pack are on disk before one of them is
//! visible.

use std::io::Read;

use md5::{Digest as _, Md5};
use tempfile::NamedTempFile;
use towpath_chunks::{Frame, PackReader};

use crate::{Cache, Error, Oid};

/// What a pack brought.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// Kept, with their sizes in bytes.
    pub kept: Vec<(Oid, u64)>,
    /// There, but too large for a pack.
    pub large: Vec<Oid>,
    pub absent: Vec<Oid>,
}

/// Takes at most `most` objects out of a pack into the cache.
///
/// # Errors
/// [`Error::Corrupt`] for an object that is not what its name says. What came whole before an error
/// is kept.
pub fn unpack(cache: &Cache, pack: &mut PackReader<impl Read>, most: usize) -> Result<Unpacked, Error> {
    let mut unpacked = Unpacked::default();
    let mut arrived = Vec::new();
    let read = read_frames(cache, pack, most, &mut unpacked, &mut arrived);
    publish(cache, arrived, &mut unpacked)?;
    read.map(|()| unpacked)
}

fn read_frames(
    cache: &Cache,
    pack: &mut PackReader<impl Read>,
    most: usize,
    unpacked: &mut Unpacked,
    arrived: &mut Vec<(Oid, tempfile::TempPath, u64)>,
) -> Result<(), Error> {
    let mut frames = 0;
    while let Some(frame) = pack.next_frame()? {
        frames += 1;
        if frames > most {
            return Err(towpath_chunks::Error::Pack(format!("more than {most} objects")).into());
        }
        match frame {
            Frame::Content { name, bytes } => {
                let oid = Oid::parse(&name)?;
                let md5: [u8; 16] = Md5::digest(&bytes).into();
                if oid.md5() != md5 {
                    return Err(Error::corrupt(&oid, md5));
                }
                let tmp = cache.temporary_file()?.into_temp_path();
                std::fs::write(&tmp, &bytes).map_err(Error::io("write", &tmp))?;
                arrived.push((oid, tmp, bytes.len() as u64));
            }
            Frame::Large { name, .. } => unpacked.large.push(Oid::parse(&name)?),
            Frame::Absent { name } => unpacked.absent.push(Oid::parse(&name)?),
        }
    }
    Ok(())
}

/// One sync for all: it costs about as much as one for each of three files.
fn publish(cache: &Cache, arrived: Vec<(Oid, tempfile::TempPath, u64)>, unpacked: &mut Unpacked) -> Result<(), Error> {
    let Some((_, first, _)) = arrived.first() else { return Ok(()) };
    let any = std::fs::File::open(first).map_err(Error::io("read", first))?;
    rustix::fs::syncfs(any).map_err(|e| Error::io("write", first)(e.into()))?;
    for (oid, tmp, size) in arrived {
        let file = std::fs::File::open(&tmp).map_err(Error::io("read", &tmp))?;
        cache.keep(NamedTempFile::from_parts(file, tmp), &oid)?;
        unpacked.kept.push((oid, size));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use towpath_chunks::PackWriter;

    use super::*;

    fn pack(contents: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = PackWriter::new(Vec::new()).unwrap();
        for (name, bytes) in contents {
            writer.content(name, bytes).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn what_is_whole_is_kept_and_what_lies_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let (a, b) = ("0cc175b9c0f1b6a831c399e269772661", "92eb5ffee6ae2fec3ad71c777531578f");
        let lying = pack(&[(a, b"a"), (b, b"not b")]);
        let error = unpack(&cache, &mut PackReader::new(lying.as_slice(), 100), 10).unwrap_err();
        assert!(error.to_string().contains(b), "{error}");
        assert!(cache.has(&Oid::parse(a).unwrap()).unwrap());
        assert!(!cache.has(&Oid::parse(b).unwrap()).unwrap());
        let honest = pack(&[(b, b"b")]);
        let unpacked = unpack(&cache, &mut PackReader::new(honest.as_slice(), 100), 10).unwrap();
        assert_eq!(unpacked.kept, [(Oid::parse(b).unwrap(), 1)]);
    }

    #[test]
    fn names_that_are_paths_and_packs_that_are_too_many_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path());
        let refused = |bytes: &[u8]| unpack(&cache, &mut PackReader::new(bytes, 100), 1).unwrap_err().to_string();
        assert!(refused(&pack(&[("../../../../etc/passwd", b"a")])).contains("is not an object id"));
        let a = ("0cc175b9c0f1b6a831c399e269772661", &b"a"[..]);
        assert!(refused(&pack(&[a, a])).contains("more than 1 objects"));
    }
}
