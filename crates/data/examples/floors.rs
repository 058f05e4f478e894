//! What the machine can do at best, beside which our figures stand. `floors WORK FROM [TO]` prints
//! seconds:
//!
//! - `walk`: every folder read and every file below FROM looked at once, on all cores;
//! - `hash`: the same, and every file read and its MD5 taken, on all cores, all lanes;
//! - `copy`: every file copied to TO, on all cores, without names or contents being looked at;
//! - `hash-one`: one file read and hashed on one core.

use std::fs::{self, DirEntry, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [work, from, rest @ ..] = args.as_slice() else {
        return Err(io::Error::other("usage: floors walk|hash|copy|hash-one FROM [TO]"));
    };
    let (from, to) = (Path::new(from), rest.first().map(Path::new));
    let start = Instant::now();
    match (work.as_str(), to) {
        ("walk", None) => each_group(from, &|files| files.iter().try_for_each(|file| file.metadata().map(drop)))?,
        ("hash", None) => each_group(from, &hash)?,
        ("copy", Some(to)) => each_group(from, &|files| copy(&files, from, to))?,
        ("hash-one", None) => hash_one(from)?,
        _ => return Err(io::Error::other("usage: floors walk|hash|copy|hash-one FROM [TO]")),
    }
    let seconds = start.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{seconds:.3}")
}

fn each_group(folder: &Path, work: &(dyn Fn(Vec<DirEntry>) -> io::Result<()> + Sync)) -> io::Result<()> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let (folders, files): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    files.into_par_iter().chunks(256).try_for_each(work)?;
    folders.par_iter().try_for_each(|folder| each_group(&folder.path(), work))
}

fn hash(files: Vec<DirEntry>) -> io::Result<()> {
    let contents = files.iter().map(|file| fs::read(file.path())).collect::<io::Result<Vec<_>>>()?;
    let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    std::hint::black_box(towpath_md5::digest_all(&contents));
    Ok(())
}

fn copy(files: &[DirEntry], from: &Path, to: &Path) -> io::Result<()> {
    let mut made = PathBuf::new();
    for file in files {
        let path = file.path();
        let target = to.join(path.strip_prefix(from).map_err(io::Error::other)?);
        let folder = target.parent().unwrap_or(to);
        if folder != made {
            fs::create_dir_all(folder)?;
            folder.clone_into(&mut made);
        }
        File::create(&target)?.write_all(&fs::read(&path)?)?;
    }
    Ok(())
}

fn hash_one(path: &Path) -> io::Result<()> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer) = (Md5::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => hasher.update(&buffer[..read]),
        }
    }
}
