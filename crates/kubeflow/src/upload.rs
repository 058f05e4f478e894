//! Uploads: a form with one file, the text of the pipeline.

use axum::Json;
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use towpath_runs::compiled;

use crate::access::{Writer, project};
use crate::pipelines::{self, NewPipeline};
use crate::versions::{self, NewVersion};
use crate::{ApiError, State as Server};

/// The text of an uploaded pipeline.
pub(crate) struct Uploaded(String);

impl<S: Send + Sync> FromRequest<S> for Uploaded {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_owned();
        let bytes = Bytes::from_request(request, state).await.map_err(|error| ApiError::invalid(error.body_text()))?;
        let file =
            file(&kind, &bytes).ok_or_else(|| ApiError::invalid("the body is no form with a file 'uploadfile'"))?;
        if file.starts_with(b"PK") || file.starts_with(&[0x1f, 0x8b]) {
            return Err(ApiError::invalid("the file is an archive: upload the YAML that is in it"));
        }
        match std::str::from_utf8(file) {
            Ok(text) => Ok(Self(text.to_owned())),
            Err(_) => Err(ApiError::invalid("the file is not text")),
        }
    }
}

/// The file of a form (RFC 7578).
fn file<'a>(kind: &str, body: &'a [u8]) -> Option<&'a [u8]> {
    let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?.trim_matches('"');
    let delimiter = format!("--{boundary}");
    let mut rest = after(body, delimiter.as_bytes())?;
    loop {
        let end = find(rest, format!("\r\n{delimiter}").as_bytes())?;
        let part = &rest[..end];
        let head = find(part, b"\r\n\r\n")?;
        let names = String::from_utf8_lossy(&part[..head]);
        if names.contains("name=\"uploadfile\"") {
            return Some(&part[head + 4..]);
        }
        rest = after(&rest[end..], delimiter.as_bytes())?;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn after<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    find(bytes, wanted).map(|at| &bytes[at + wanted.len()..])
}

#[derive(Deserialize)]
pub(crate) struct About {
    name: Option<String>,
    display_name: Option<String>,
    description: Option<String>,
    namespace: Option<String>,
    pipelineid: Option<String>,
}

impl About {
    fn version(&self, pipeline_id: String, name: String, spec: String) -> NewVersion {
        NewVersion {
            pipeline_id,
            display_name: self.display_name.clone().unwrap_or_else(|| name.clone()),
            name,
            description: self.description.clone().unwrap_or_default(),
            spec,
            code_source_url: None,
        }
    }
}

/// A pipeline and its first version.
pub(crate) async fn pipeline(
    State(server): State<Server>,
    Writer(by): Writer,
    Query(about): Query<About>,
    Uploaded(spec): Uploaded,
) -> Result<Json<Value>, ApiError> {
    let named = compiled::read(&spec)?.name;
    let name = about.name.clone().filter(|name| !name.trim().is_empty()).unwrap_or(named);
    let new = NewPipeline {
        project: project(about.namespace.clone()),
        display_name: about.display_name.clone().unwrap_or_else(|| name.clone()),
        name: name.clone(),
        description: about.description.clone().unwrap_or_default(),
    };
    server.runs.make_project(&new.project, &by).await?;
    let now = server.store.now();
    let made = server.write(move |tx| {
        let id = new.insert(tx, now)?;
        about.version(id.clone(), name.clone(), spec.clone()).insert(tx, now)?;
        pipelines::find(tx, &id)
    });
    Ok(Json(made.await?))
}

/// Another version of a pipeline.
pub(crate) async fn version(
    State(server): State<Server>,
    _: Writer,
    Query(about): Query<About>,
    Uploaded(spec): Uploaded,
) -> Result<Json<Value>, ApiError> {
    compiled::read(&spec)?;
    let wanted = |value: &Option<String>, what: &str| {
        let value = value.clone().filter(|value| !value.trim().is_empty());
        value.ok_or_else(|| ApiError::invalid(format!("'{what}' is missing")))
    };
    let pipeline = wanted(&about.pipelineid, "pipelineid")?;
    let name = wanted(&about.name, "name")?;
    let version = about.version(pipeline, name, spec);
    let now = server.store.now();
    let made = server.write(move |tx| {
        pipelines::find(tx, &version.pipeline_id)?;
        let id = version.insert(tx, now)?;
        versions::find(tx, &version.pipeline_id, &id)
    });
    Ok(Json(made.await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_form_is_found_among_its_parts() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\n1\r\n--x\r\n\
            Content-Disposition: form-data; name=\"uploadfile\"; filename=\"p.yaml\"\r\n\r\na: 1\r\nb: 2\n\r\n--x--\r\n";
        let kind = "multipart/form-data; boundary=x";
        assert_eq!(file(kind, body), Some(&b"a: 1\r\nb: 2\n"[..]));
        assert_eq!(file(kind, &body[..body.len() - 8]), None);
        assert_eq!(file("text/plain", body), None);
    }
}
