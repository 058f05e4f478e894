//! A large file is moved in pieces. A record beside it says which are done, so that whoever comes later
//! moves the others.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ImportError;

/// Bytes of a piece. The pieces of an upload to a bucket have 5 MiB at least.
pub(super) const PIECE: u64 = 8 << 20;
/// An upload has so many pieces at most.
const MOST: u64 = 10_000;

/// A file cut into pieces of one length; the last may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pieces {
    size: u64,
    length: u64,
}

impl Pieces {
    /// `None` for what is moved as a whole.
    pub(super) fn of(size: u64) -> Option<Self> {
        (size > PIECE).then(|| Self { size, length: PIECE.max(size.div_ceil(MOST)) })
    }

    pub(super) fn count(self) -> u64 {
        self.size.div_ceil(self.length.max(1))
    }

    /// Where the piece lies, counted from 0.
    pub(super) fn range(self, index: u64) -> Range<u64> {
        let start = (index * self.length).min(self.size);
        start..(start + self.length).min(self.size)
    }

    pub(super) fn length_of(self, index: u64) -> u64 {
        let range = self.range(index);
        range.end - range.start
    }
}

/// Which pieces are done, and of what: kept in a file.
#[derive(Debug)]
pub(super) struct Record<T> {
    path: PathBuf,
    state: Mutex<State<T>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct State<T> {
    of: T,
    pieces: Pieces,
    done: BTreeSet<u64>,
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// The record that is kept there, if it is one of these pieces and of what `is_same` agrees to.
    pub(super) fn read(path: &Path, pieces: Pieces, is_same: impl FnOnce(&T) -> bool) -> Option<Self> {
        let state: State<T> = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let fits = state.pieces == pieces && state.done.iter().all(|index| *index < pieces.count());
        (fits && is_same(&state.of)).then(|| Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    pub(super) fn begin(path: &Path, pieces: Pieces, of: T) -> Result<Self, ImportError> {
        let state = State { of, pieces, done: BTreeSet::new() };
        write(path, &state)?;
        Ok(Self { path: path.to_owned(), state: Mutex::new(state) })
    }

    pub(super) fn of<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner).of)
    }

    pub(super) fn pieces(&self) -> Pieces {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pieces
    }

    pub(super) fn to_do(&self) -> Vec<u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (0..state.pieces.count()).filter(|index| !state.done.contains(index)).collect()
    }

    pub(super) fn done_bytes(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.iter().map(|index| state.pieces.length_of(*index)).sum()
    }

    /// True when it was the last one.
    pub(super) fn done(&self, index: u64) -> Result<bool, ImportError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done.insert(index);
        write(&self.path, &*state)?;
        Ok(state.done.len() as u64 == state.pieces.count())
    }

    pub(super) fn forget(&self) {
        remove(&self.path);
    }
}

/// What is left of a record is no harm: it is compared before it is used.
pub(super) fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Whole or not at all.
fn write(path: &Path, state: &impl Serialize) -> Result<(), ImportError> {
    let fail = |source: io::Error| ImportError::File { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
    file.write_all(&serde_json::to_vec(state).map_err(|error| fail(error.into()))?).map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_a_file_without_a_gap() {
        assert_eq!(Pieces::of(PIECE), None);
        for size in [PIECE + 1, 3 * PIECE, PIECE * MOST + 1, u64::from(u32::MAX) * 1000] {
            let pieces = Pieces::of(size).unwrap();
            assert!(pieces.count() <= MOST, "{size}");
            let mut end = 0;
            for index in 0..pieces.count() {
                let range = pieces.range(index);
                assert!(range.start == end && range.end > end, "{size}: {range:?}");
                end = range.end;
            }
            assert_eq!(end, size);
        }
    }

    #[test]
    fn a_record_goes_on_where_it_was_and_only_for_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        let pieces = Pieces::of(3 * PIECE + 5).unwrap();
        let record = Record::begin(&path, pieces, "etag".to_owned()).unwrap();
        assert!(!record.done(3).unwrap() && !record.done(1).unwrap());
        let again = |pieces, tag: &str| Record::<String>::read(&path, pieces, |of| of == tag);
        let record = again(pieces, "etag").unwrap();
        assert_eq!((record.to_do(), record.done_bytes()), (vec![0, 2], PIECE + 5));
        assert!(again(pieces, "another").is_none());
        assert!(again(Pieces::of(2 * PIECE).unwrap(), "etag").is_none());
        assert!(!record.done(0).unwrap() && record.done(2).unwrap());
        fs::write(&path, "{").unwrap();
        assert!(again(pieces, "etag").is_none());
    }
}
