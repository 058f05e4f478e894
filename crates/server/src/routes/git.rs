//! The Git remote: smart HTTP at `/git/<project>.git` (gitprotocol-http). `git` does the work; we
//! stream bodies, know who pushes, and look for runs to start afterwards.

use std::io::{Read, Write};

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, extract};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin};
use tokio::sync::oneshot;
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};
use towpath_core::names::is_valid_name;
use towpath_core::{Actor, Kind};
use towpath_git::{Mode, Pusher, Repository, Service};
use towpath_identity::Identity;

use crate::App;
use crate::auth::Caller;
use crate::error::ApiError;

/// Bytes of one push after decompression.
const PUSH_LIMIT: u64 = 2 << 30;

pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/git/{repository}/info/refs", get(advertise))
        .route("/git/{repository}/{service}", post(exchange).layer(extract::DefaultBodyLimit::disable()))
}

#[derive(Deserialize)]
struct Advertise {
    service: Option<String>,
}

fn project_of(segment: &str) -> Result<&str, ApiError> {
    let name = segment.strip_suffix(".git").unwrap_or(segment);
    if is_valid_name(name) { Ok(name) } else { Err(ApiError::not_found(format!("repository '{segment}'"))) }
}

fn service_of(name: Option<&str>) -> Result<Service, ApiError> {
    name.and_then(Service::from_name).ok_or_else(|| {
        ApiError::new(Kind::Denied, "this remote speaks smart HTTP only: git-upload-pack and git-receive-pack")
    })
}

/// Who may use the service.
fn authorised(caller: Caller, service: Service) -> Result<Identity, ApiError> {
    match service {
        Service::UploadPack if caller.0.is_user() => Ok(caller.0),
        Service::UploadPack => Err(ApiError::new(Kind::Denied, "the token of a stage does not read repositories")),
        Service::ReceivePack => caller.writer(),
    }
}

/// The repository to serve from: for a push to a project that is not there yet, an empty one.
fn repository(app: &App, project: &str, service: Service) -> Result<Repository, ApiError> {
    match Repository::open(&app.paths.repository(project)) {
        Ok(repository) => Ok(repository),
        Err(_) if service == Service::ReceivePack => Ok(Repository::open(&app.paths.empty_repository())?),
        Err(_) => Err(ApiError::not_found(format!("project '{project}'")).hint("the first push makes it")),
    }
}

fn git_protocol(headers: &HeaderMap) -> Option<&str> {
    headers.get("git-protocol").and_then(|v| v.to_str().ok())
}

async fn advertise(
    State(app): State<App>,
    Path(segment): Path<String>,
    Query(query): Query<Advertise>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let project = project_of(&segment)?;
    let service = service_of(query.service.as_deref())?;
    authorised(caller, service)?;
    let repository = repository(&app, project, service)?;
    let protocol = git_protocol(&headers);
    let mut child = repository.serve(service, Mode::Advertise, protocol, None)?;
    let prefix = service.advertisement_prefix(protocol);
    let output = piped(child.stdout.take(), "stdout")?;
    let first = stream::once(async move { Ok(Bytes::from(prefix)) });
    let body = first.chain(ReaderStream::with_capacity(output, 64 * 1024));
    tokio::spawn(async move { wait(child).await });
    Ok(answer(&service.advertisement_content_type(), Body::from_stream(body)))
}

async fn exchange(
    State(app): State<App>,
    Path((segment, service)): Path<(String, String)>,
    caller: Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let project = project_of(&segment)?.to_owned();
    let service = service_of(Some(&service))?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if content_type != service.request_content_type() {
        return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, service.request_content_type()).into_response());
    }
    let gzip = match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None => false,
        Some(b"gzip" | b"x-gzip") => true,
        Some(_) => return Ok((StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding: gzip or none").into_response()),
    };
    let identity = authorised(caller, service)?;
    let pusher = Pusher { name: identity.actor.0.clone(), email: format!("{}@towpath.invalid", identity.actor) };
    // One push at a time for each project, so that what it changed is known.
    let lock = if service == Service::ReceivePack {
        let lock = app.push_lock(&project).lock_owned().await;
        app.runs.make_project(&project, &identity.actor).await?;
        Some(lock)
    } else {
        None
    };
    let repository = repository(&app, &project, service)?;
    let mut child = repository.serve(service, Mode::Exchange, git_protocol(&headers), Some(&pusher))?;
    let input = piped(child.stdin.take(), "stdin")?;
    let output = piped(child.stdout.take(), "stdout")?;
    feed(body.into_data_stream(), gzip, input)?;
    let (done, ended) = oneshot::channel();
    tokio::spawn(async move {
        wait(child).await;
        if service == Service::ReceivePack {
            after_push(&app, &project, &repository, &identity.actor).await;
        }
        drop(lock);
        // A client that went away does not wait for it.
        let _ = done.send(());
    });
    // The answer ends when the push has been acted on: whoever looks then sees its run.
    let last = stream::once(ended).filter_map(|_| std::future::ready(None));
    let body = Body::from_stream(ReaderStream::with_capacity(output, 64 * 1024).chain(last));
    Ok(answer(&service.result_content_type(), body))
}

/// Copies the request's body into the service, decompressed and bounded, on a thread of its own.
fn feed(body: BodyDataStream, gzip: bool, input: ChildStdin) -> Result<(), ApiError> {
    let input = input.into_owned_fd().map_err(|e| ApiError::new(Kind::Internal, e.to_string()))?;
    let reader = StreamReader::new(body.map_err(std::io::Error::other));
    let source = SyncIoBridge::new(reader);
    tokio::task::spawn_blocking(move || {
        let mut to = std::fs::File::from(input);
        let mut from: Box<dyn Read> =
            if gzip { Box::new(flate2::read::MultiGzDecoder::new(source)) } else { Box::new(source) };
        // A body that is cut off, too long or no gzip leaves the service without its end: it refuses.
        let copied = std::io::copy(&mut from.by_ref().take(PUSH_LIMIT), &mut to).and_then(|_| to.flush());
        if let Err(error) = copied {
            tracing::debug!(%error, "the body of a Git request ended early");
        }
    });
    Ok(())
}

/// Waits for the service and logs what it complained about.
async fn wait(mut child: Child) {
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Bounded: a service that writes more is not worth more memory.
        let _ = stderr.take(16 * 1024).read_to_end(&mut complaint).await;
    }
    match child.wait().await {
        Ok(status) if status.success() => {}
        Ok(status) => {
            tracing::info!(%status, stderr = %String::from_utf8_lossy(&complaint).trim(), "a Git service ended");
        }
        Err(error) => tracing::warn!(%error, "a Git service was lost"),
    }
}

/// What a push leads to. A push that was refused moved no branch, so it starts nothing.
async fn after_push(app: &App, project: &str, repository: &Repository, by: &Actor) {
    let pointed = tokio::task::spawn_blocking({
        let repository = repository.clone();
        move || repository.point_head_at_a_branch()
    });
    match app.runs.look(project).await {
        Ok(triggered) => {
            for one in triggered {
                tracing::info!(project, branch = one.branch, "{}", one.text);
            }
        }
        Err(error) => {
            tracing::error!(project, %error, "a push could not be acted on; it is looked at again at the next start");
        }
    }
    match app.runs.take_experiments(project, by).await {
        Ok(0) => {}
        Ok(runs) => tracing::info!(project, runs, "experiments that were pushed are runs now"),
        Err(error) => tracing::error!(project, %error, "experiments that were pushed are no runs yet"),
    }
    if let Ok(Err(error)) = pointed.await {
        tracing::warn!(project, %error, "HEAD could not be pointed at a branch");
    }
}

fn piped<T>(pipe: Option<T>, name: &str) -> Result<T, ApiError> {
    pipe.ok_or_else(|| ApiError::new(Kind::Internal, format!("git was started without a pipe to its {name}")))
}

fn answer(content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
