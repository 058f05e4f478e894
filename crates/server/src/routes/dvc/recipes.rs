//! Large objects by chunks, both ways.

use std::collections::HashMap;
use std::io::Read as _;
use std::str::FromStr as _;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use towpath_chunks::protocol::Capabilities;
use towpath_chunks::{Chunk, ChunkId, Frame, PackReader, PackWriter, Recipe, Sizes};
use towpath_core::Kind;
use towpath_data::chunked::{Assembly, ChunkSource, ChunkedObjects};
use towpath_data::{Error, Oid};

use super::{blocking, bytes_answer, ids, lines, may_read, may_write, reader, streamed};
use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

const LIMITS: Capabilities = Capabilities::OURS;

/// What an object is made of.
pub(super) async fn read(
    State(app): State<App>,
    Path((project, oid)): Path<(String, String)>,
    caller: Caller,
) -> Result<Response, ApiError> {
    may_read(&caller, &project)?;
    let (objects, oid) = (ChunkedObjects::of(&app.cache), Oid::parse(&oid)?);
    let recipe = blocking(move || objects.recipe(&oid)).await?;
    Ok(match recipe {
        Some(recipe) => bytes_answer(Body::from(recipe.encode())),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

/// Begins an upload, or goes on with it: what is still to be sent.
pub(super) async fn begin(
    State(app): State<App>,
    Path((project, oid)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<Response, ApiError> {
    may_write(caller, &project)?;
    let (objects, oid) = (ChunkedObjects::of(&app.cache), Oid::parse(&oid)?);
    let bytes = axum::body::to_bytes(body, Recipe::MAX_ENCODED).await;
    let bytes = bytes.map_err(|e| ApiError::new(Kind::Invalid, format!("read the recipe: {e}")))?;
    let missing = blocking(move || {
        if objects.cache().has(&oid)? {
            return Ok(None);
        }
        let (_, missing) = Assembly::begin(&objects, &oid, Recipe::decode(&bytes)?)?;
        Ok(Some(missing))
    })
    .await?;
    Ok(match missing {
        Some(missing) => lines(&missing).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Takes chunks of an upload; each is verified and kept as it arrives.
pub(super) async fn take_chunks(
    State(app): State<App>,
    Path((project, oid, recipe)): Path<(String, String, String)>,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, ApiError> {
    may_write(caller, &project)?;
    let (cache, oid, recipe) = (app.cache.clone(), Oid::parse(&oid)?, ChunkId::from_str(&recipe)?);
    let reader = reader(body);
    let begun = blocking(move || {
        let Some(assembly) = Assembly::open(&cache, &oid, &recipe)? else { return Ok(false) };
        let mut pack = PackReader::new(reader.take(LIMITS.pack_bytes), Sizes::LARGEST.max as u32);
        while let Some(frame) = pack.next_frame()? {
            if let Frame::Content { name, bytes } = frame {
                assembly.put(&name.parse()?, &bytes)?;
            }
        }
        Ok(true)
    })
    .await?;
    if begun { Ok(StatusCode::OK) } else { Err(not_begun()) }
}

/// Publishes the object, if all of it is here and it is what its name says.
pub(super) async fn finish(
    State(app): State<App>,
    Path((project, oid, recipe)): Path<(String, String, String)>,
    caller: Caller,
) -> Result<StatusCode, ApiError> {
    may_write(caller, &project)?;
    let (objects, oid, recipe) = (ChunkedObjects::of(&app.cache), Oid::parse(&oid)?, ChunkId::from_str(&recipe)?);
    let published = blocking(move || match Assembly::open(objects.cache(), &oid, &recipe)? {
        Some(assembly) => assembly.finish(&objects).map(|_| true),
        // Asked a second time because the first answer was lost.
        None => objects.cache().has(&oid),
    })
    .await?;
    if published { Ok(StatusCode::OK) } else { Err(not_begun()) }
}

fn not_begun() -> ApiError {
    ApiError::new(Kind::Conflict, "no upload of this object by this recipe was begun, or it was given up")
        .hint("begin it again by putting its recipe")
}

/// Sends chunks of an object, as many as fit into one pack.
pub(super) async fn send_chunks(
    State(app): State<App>,
    Path((project, oid)): Path<(String, String)>,
    caller: Caller,
    body: Body,
) -> Result<Response, ApiError> {
    may_read(&caller, &project)?;
    let (objects, oid) = (ChunkedObjects::of(&app.cache), Oid::parse(&oid)?);
    let asked = ids(body, ChunkId::from_str).await?;
    let opened = oid.clone();
    let Some(source) = blocking(move || ChunkSource::open(&objects, &opened)).await? else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    Ok(streamed(move |out| write_chunks(&oid, &source, &asked, out)))
}

fn write_chunks(oid: &Oid, source: &ChunkSource, asked: &[ChunkId], out: &mut dyn std::io::Write) -> Result<(), Error> {
    let broken = |source| Error::BrokenOff { oid: oid.clone(), source };
    let places: HashMap<ChunkId, (u64, Chunk)> = source.recipe().placed().map(|place| (place.1.id, place)).collect();
    let mut pack = PackWriter::new(out).map_err(broken)?;
    let mut written = 0;
    for id in asked {
        let Some((offset, chunk)) = places.get(id) else {
            pack.absent(&id.to_string()).map_err(broken)?;
            continue;
        };
        written += u64::from(chunk.length);
        if written > LIMITS.pack_bytes {
            break;
        }
        pack.content(&id.to_string(), &source.read(*offset, *chunk)?).map_err(broken)?;
    }
    pack.finish().map_err(broken)?;
    Ok(())
}
