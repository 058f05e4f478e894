//! A Towpath server as a remote: packs and chunks, by the requests of [`towpath_chunks::protocol`].

use std::collections::HashSet;
use std::io::Read;
use std::time::Duration;

use reqwest::blocking::Response;
use reqwest::{Method, StatusCode};
use towpath_chunks::protocol::{Capabilities, PROTOCOL};
use towpath_chunks::{ChunkId, Frame, PackReader, PackWriter, Recipe, Sizes};

use super::Batch;
use super::http::{HttpRemote, SLOWEST_UPLOAD_BYTES_PER_SECOND, TIMEOUT, refused, send};
use crate::chunked::{Assembly, ChunkSource, ChunkedObjects};
use crate::unpack::{Unpacked, unpack};
use crate::{Cache, Error, Oid};

/// Bytes of a request or answer that carries contents. Several are in memory at once.
const PACK_BYTES: usize = 4 << 20;

/// What a server reads, hashes and writes of a large object before it answers.
const SLOWEST_SERVER_BYTES_PER_SECOND: u64 = 10 << 20;

/// A server that is asked for a recipe may have to read the object first.
const PATIENCE_FOR_A_RECIPE: Duration = Duration::from_hours(1);

/// Capabilities are a short JSON document; a web server's own page may be anything.
const MOST_PROBED_BYTES: u64 = 4096;

/// A Towpath server that answered the probe.
pub(super) struct TowpathServer<'r> {
    http: &'r HttpRemote,
    limits: Capabilities,
}

/// Asks whether a web server is one of ours; `None` when it is not, or does not tell us.
pub(super) fn probe(http: &HttpRemote) -> Result<Option<Capabilities>, Error> {
    let url = http.file_url("towpath");
    let response = send(http.request(Method::GET, &url), &url)?;
    if response.status().is_server_error() {
        return Err(refused(&url, response));
    }
    if !response.status().is_success() {
        return Ok(None);
    }
    let mut text = Vec::new();
    response
        .take(MOST_PROBED_BYTES)
        .read_to_end(&mut text)
        .map_err(|error| Error::RemoteUnreachable { url, problem: error.to_string() })?;
    let said: Option<Capabilities> = serde_json::from_slice(&text).ok();
    Ok(said.filter(|said| said.protocol == PROTOCOL && said.ids > 0))
}

impl<'r> TowpathServer<'r> {
    pub(super) fn new(http: &'r HttpRemote, limits: Capabilities) -> Self {
        Self { http, limits }
    }

    /// `None` when the server says that it does not have what was asked for.
    fn ask(&self, method: Method, path: &str, body: Vec<u8>, patience: Duration) -> Result<Option<Response>, Error> {
        let url = self.http.file_url(&format!("towpath/{path}"));
        let upload = Duration::from_secs(body.len() as u64 / SLOWEST_UPLOAD_BYTES_PER_SECOND);
        let request = self.http.request(method, &url).body(body).timeout(TIMEOUT + upload + patience);
        let response = send(request, &url)?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => Ok(Some(response)),
            _ => Err(refused(&url, response)),
        }
    }

    fn post(&self, path: &str, body: Vec<u8>) -> Result<Response, Error> {
        let answer = self.ask(Method::POST, path, body, Duration::ZERO)?;
        answer.ok_or_else(|| self.broken(path, "it answered 404"))
    }

    fn broken(&self, path: &str, problem: impl ToString) -> Error {
        let url = self.http.file_url(&format!("towpath/{path}"));
        Error::RemoteUnreachable { url, problem: problem.to_string() }
    }

    /// The body, of at most `most` bytes.
    fn body(&self, path: &str, response: Response, most: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = response.take(most as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.broken(path, error))?;
        if bytes.len() > most {
            return Err(self.broken(path, format!("more than the {most} bytes that the answer can have")));
        }
        Ok(bytes)
    }

    /// A list of ids, one a line, of at most `most` of them.
    fn ids<T>(
        &self,
        path: &str,
        response: Response,
        most: usize,
        parse: fn(&str) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let bytes = self.body(path, response, most * 65)?;
        let text = String::from_utf8(bytes).map_err(|error| self.broken(path, error))?;
        text.lines().map(parse).collect()
    }

    fn recipe(&self, oid: &Oid) -> Result<Option<Recipe>, Error> {
        let path = format!("recipes/{oid}");
        let Some(answer) = self.ask(Method::GET, &path, Vec::new(), PATIENCE_FOR_A_RECIPE)? else { return Ok(None) };
        Ok(Some(Recipe::decode(&self.body(&path, answer, Recipe::MAX_ENCODED)?)?))
    }

    /// Sends those chunks of an object that the server asked for.
    fn send_chunks(&self, oid: &Oid, source: &ChunkSource, mut wanted: HashSet<ChunkId>) -> Result<(), Error> {
        let path = format!("uploads/{oid}/{}/chunks", source.recipe().id());
        let packing = |source| Error::BrokenOff { oid: oid.clone(), source };
        let mut pack = PackWriter::new(Vec::new()).map_err(packing)?;
        let mut bytes = 0;
        for (offset, chunk) in source.recipe().placed() {
            if !wanted.remove(&chunk.id) {
                continue;
            }
            pack.content(&chunk.id.to_string(), &source.read(offset, chunk)?).map_err(packing)?;
            bytes += chunk.length as usize;
            if bytes >= PACK_BYTES {
                self.post(&path, pack.finish().map_err(packing)?)?;
                pack = PackWriter::new(Vec::new()).map_err(packing)?;
                bytes = 0;
            }
        }
        if bytes > 0 {
            self.post(&path, pack.finish().map_err(packing)?)?;
        }
        Ok(())
    }

    /// Fetches some of these chunks; returns how many.
    fn fetch_chunks(
        &self,
        oid: &Oid,
        assembly: &Assembly,
        wanted: &mut HashSet<ChunkId>,
        now: &[ChunkId],
    ) -> Result<(), Error> {
        let path = format!("recipes/{oid}/chunks");
        let mut pack = PackReader::new(self.post(&path, lines(now))?, Sizes::LARGEST.max as u32);
        let mut came = 0;
        while let Some(frame) = pack.next_frame()? {
            if let Frame::Content { name, bytes } = frame {
                let id: ChunkId = name.parse()?;
                assembly.put(&id, &bytes)?;
                came += usize::from(wanted.remove(&id));
            }
        }
        if came == 0 { Err(self.broken(&path, "it sent none of the chunks that its recipe names")) } else { Ok(()) }
    }
}

fn lines<T: ToString>(ids: &[T]) -> Vec<u8> {
    ids.iter().flat_map(|id| (id.to_string() + "\n").into_bytes()).collect()
}

fn work_on(size: u64) -> Duration {
    Duration::from_secs(size / SLOWEST_SERVER_BYTES_PER_SECOND)
}

impl Batch for TowpathServer<'_> {
    fn most(&self) -> usize {
        self.limits.ids
    }

    fn packed_object_bytes(&self) -> u64 {
        self.limits.packed_object_bytes.min(Capabilities::OURS.packed_object_bytes)
    }

    fn missing(&self, oids: &[Oid]) -> Result<Vec<Oid>, Error> {
        let answer = self.post("missing", lines(oids))?;
        self.ids("missing", answer, oids.len(), Oid::parse)
    }

    fn upload_pack(&self, cache: &Cache, oids: &[Oid]) -> Result<(), Error> {
        let mut pack = PackWriter::new(Vec::new()).map_err(|error| self.broken("objects", error))?;
        for oid in oids {
            let path = cache.path(oid);
            let bytes = std::fs::read(&path).map_err(Error::io("read", &path))?;
            pack.content(&oid.to_string(), &bytes).map_err(Error::io("pack", &path))?;
        }
        let pack = pack.finish().map_err(|error| self.broken("objects", error))?;
        self.post("objects", pack).map(|_| ())
    }

    fn upload_large(&self, cache: &Cache, oid: &Oid) -> Result<(), Error> {
        let Some(source) = ChunkSource::open(&ChunkedObjects::of(cache), oid)? else {
            return Err(Error::Missing { oids: vec![oid.clone()] });
        };
        let recipe = source.recipe();
        let path = format!("recipes/{oid}");
        let answer = self.ask(Method::PUT, &path, recipe.encode(), work_on(recipe.size()))?;
        let answer = answer.ok_or_else(|| self.broken(&path, "it answered 404"))?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let wanted = self.ids(&path, answer, recipe.chunks().len(), |id| Ok(id.parse()?))?;
        self.send_chunks(oid, &source, wanted.into_iter().collect())?;
        let path = format!("uploads/{oid}/{}", recipe.id());
        let done = self.ask(Method::POST, &path, Vec::new(), work_on(recipe.size()))?;
        done.map(|_| ()).ok_or_else(|| self.broken(&path, "it answered 404"))
    }

    fn download_pack(&self, cache: &Cache, oids: &[Oid]) -> Result<Unpacked, Error> {
        let answer = self.post("fetch", lines(oids))?;
        let mut pack = PackReader::new(answer, self.packed_object_bytes() as u32);
        unpack(cache, &mut pack, oids.len())
    }

    fn download_large(&self, cache: &Cache, oid: &Oid) -> Result<Option<u64>, Error> {
        let Some(recipe) = self.recipe(oid)? else { return Ok(None) };
        let objects = ChunkedObjects::of(cache);
        let (assembly, missing) = Assembly::begin(&objects, oid, recipe)?;
        let mut wanted: HashSet<ChunkId> = missing.iter().copied().collect();
        let mut rest = missing.as_slice();
        while !wanted.is_empty() {
            let mut bytes = 0;
            let fits = |id: &&ChunkId| {
                bytes += assembly.length_of(id).unwrap_or(0) as usize;
                bytes <= PACK_BYTES
            };
            let count = rest.iter().take(self.limits.ids).take_while(fits).count().clamp(1, rest.len().max(1));
            let (now, later) = rest.split_at(count.min(rest.len()));
            self.fetch_chunks(oid, &assembly, &mut wanted, now)?;
            rest = if now.iter().any(|id| wanted.contains(id)) { rest } else { later };
        }
        assembly.finish(&objects).map(Some)
    }
}
