//! Many small objects in one request.

use std::io::Read as _;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use towpath_chunks::protocol::Capabilities;
use towpath_chunks::{PackReader, PackWriter, pack};
use towpath_core::Kind;
use towpath_data::{Cache, Error, Oid, unpack};

use super::{blocking, ids, lines, may_read, may_write, reader, streamed};
use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

const LIMITS: Capabilities = Capabilities::OURS;

pub(super) async fn capabilities(Path(project): Path<String>, caller: Caller) -> Result<Json<Capabilities>, ApiError> {
    may_read(&caller, &project)?;
    Ok(Json(LIMITS))
}

/// Which of these objects are not here.
pub(super) async fn missing(
    State(app): State<App>,
    Path(project): Path<String>,
    caller: Caller,
    body: Body,
) -> Result<String, ApiError> {
    may_read(&caller, &project)?;
    let asked = ids(body, Oid::parse).await?;
    let cache = app.cache.clone();
    let missing = blocking(move || {
        let mut missing = Vec::new();
        for oid in asked {
            if !cache.has(&oid)? {
                missing.push(oid);
            }
        }
        Ok(missing)
    })
    .await?;
    Ok(lines(&missing))
}

/// Takes a pack; each object that hashes to its name is published.
pub(super) async fn take(
    State(app): State<App>,
    Path(project): Path<String>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, ApiError> {
    may_write(caller, &project)?;
    let (cache, reader) = (app.cache.clone(), reader(body));
    blocking(move || {
        let mut pack = PackReader::new(reader.take(LIMITS.pack_bytes), LIMITS.packed_object_bytes as u32);
        unpack::unpack(&cache, &mut pack, LIMITS.ids)
    })
    .await?;
    Ok(StatusCode::OK)
}

/// Sends those of these objects that fit into one pack.
pub(super) async fn send(
    State(app): State<App>,
    Path(project): Path<String>,
    caller: Caller,
    body: Body,
) -> Result<Response, ApiError> {
    may_read(&caller, &project)?;
    let asked = ids(body, Oid::parse).await?;
    if asked.is_empty() {
        return Err(ApiError::new(Kind::Invalid, "no object ids: one a line is asked for"));
    }
    let cache = app.cache.clone();
    Ok(streamed(move |out| write_pack(&cache, &asked, out)))
}

fn write_pack(cache: &Cache, asked: &[Oid], out: &mut dyn std::io::Write) -> Result<(), Error> {
    let broken = |oid: &Oid| {
        let oid = oid.clone();
        move |source| Error::BrokenOff { oid, source }
    };
    let Some(first) = asked.first() else {
        return Ok(());
    };
    let mut pack = PackWriter::new(out).map_err(broken(first))?;
    let mut written = 0;
    for oid in asked {
        let name = oid.to_string();
        match cache.open_object(oid)? {
            None => pack.absent(&name).map_err(broken(oid))?,
            Some((_, size)) if size > LIMITS.packed_object_bytes => pack.large(&name, size).map_err(broken(oid))?,
            Some((mut file, size)) => {
                written += pack::framed_size(&name, size);
                if written > LIMITS.pack_bytes {
                    break;
                }
                let mut bytes = Vec::with_capacity(size as usize);
                file.read_to_end(&mut bytes).map_err(broken(oid))?;
                pack.content(&name, &bytes).map_err(broken(oid))?;
            }
        }
    }
    pack.finish().map_err(broken(first))?;
    Ok(())
}
