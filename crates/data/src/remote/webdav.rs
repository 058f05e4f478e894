//! A folder of a WebDAV server (RFC 4918): files are put beside their names and moved to them.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::http::{Auth, HttpRemote, decoded, password_of, refused, send};
use super::{Download, Listed, Listing, Remote, Stat, Wanted, command};
use crate::Error;
use crate::config::RemoteConfig;

/// One request lists a folder; more files than this are in none.
const FILES_IN_A_FOLDER: usize = 1000;

/// A longer listing is no listing.
const LISTING_BYTES: u64 = 64 << 20;

/// Deeper folders are not listed.
const DEEPEST: usize = 64;

/// What is asked of each file of a folder.
const WANTED: &str = "<?xml version=\"1.0\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/><getetag/></prop></propfind>";

#[derive(Debug)]
pub struct WebDavRemote {
    http: HttpRemote,
    /// Folders that are there.
    made: Mutex<BTreeSet<String>>,
    uploads: AtomicU64,
}

impl WebDavRemote {
    /// Credentials as DVC takes them: a token that a command prints, one that is configured, else user
    /// and password, else a header.
    pub fn open(config: &RemoteConfig) -> Result<Self, Error> {
        let auth = if let Some(command) = config.text("bearer_token_command") {
            let printed = command::output_of(command).map(|text| text.trim().to_owned());
            let token = printed.map_err(|problem| config.bad(format!("bearer_token_command: {problem}")))?;
            if token.is_empty() {
                return Err(config.bad("bearer_token_command printed nothing"));
            }
            Auth::Bearer(token)
        } else if let Some(token) = config.text("token") {
            Auth::Bearer(token.to_owned())
        } else if let Some(user) = config.text("user") {
            Auth::Basic { user: user.to_owned(), password: password_of(config, Some(user))? }
        } else if let Some(name) = config.text("custom_auth_header") {
            Auth::Header { name: name.to_owned(), value: password_of(config, None)? }
        } else {
            Auth::None
        };
        // webdav:// is http://, webdavs:// is https://.
        let url = config.url.replacen("webdav", "http", 1);
        let timeout = config.seconds("timeout");
        let http = HttpRemote::with_auth(config, &url, auth, [timeout, timeout])?;
        Ok(Self { http, made: Mutex::default(), uploads: AtomicU64::new(0) })
    }

    /// Makes the folders above a key, the one of the remote too.
    fn make_folders(&self, key: &str) -> Result<(), Error> {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let mut path = String::new();
        for name in std::iter::once("").chain(folder.split('/').filter(|name| !name.is_empty())) {
            if !name.is_empty() {
                path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            }
            if made.contains(&path) {
                continue;
            }
            let url = format!("{}/", self.http.file_url(&path).trim_end_matches('/'));
            let response = send(self.http.request(method("MKCOL")?, &url), &url)?;
            // 405 is how a server says that it is there. The root may be somebody else's to make.
            let fine = response.status().is_success() || response.status() == StatusCode::METHOD_NOT_ALLOWED;
            if !fine && !path.is_empty() {
                return Err(refused(&url, response));
            }
            made.insert(path.clone());
        }
        Ok(())
    }

    fn list_folder(
        &self,
        folder: &str,
        depth: usize,
        found: &mut dyn FnMut(Listed) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let url = format!("{}/", self.http.file_url(folder).trim_end_matches('/'));
        let request = self.http.request(method("PROPFIND")?, &url).header("Depth", "1");
        let response = send(request.header("Content-Type", "application/xml").body(WANTED), &url)?;
        match response.status() {
            StatusCode::NOT_FOUND => return Ok(ControlFlow::Continue(())),
            status if status.is_success() => {}
            _ => return Err(refused(&url, response)),
        }
        let mut text = String::new();
        let broken = |problem: String| Error::RemoteUnreachable { url: url.clone(), problem };
        response.take(LISTING_BYTES).read_to_string(&mut text).map_err(|error| broken(error.to_string()))?;
        let listing: Multistatus =
            quick_xml::de::from_str(&text).map_err(|error| broken(format!("its listing is malformed: {error}")))?;
        let own = path_of(&url);
        for entry in listing.response {
            let path = path_of(&entry.href);
            let Some(name) = path.strip_prefix(own.as_str()).map(|name| name.trim_matches('/')) else { continue };
            if name.is_empty() || name.contains('/') || name == ".." {
                continue;
            }
            let prop = entry.propstat.into_iter().map(|stat| stat.prop).reduce(Prop::or).unwrap_or_default();
            let key = format!("{folder}{name}");
            let flow = if prop.resourcetype.is_some_and(|kind| kind.collection.is_some()) {
                match depth {
                    0 => ControlFlow::Continue(()),
                    _ => self.list_folder(&format!("{key}/"), depth - 1, found)?,
                }
            } else {
                let size = prop.getcontentlength.and_then(|size| size.trim().parse().ok()).unwrap_or_default();
                found(Listed { key, size, etag: prop.getetag.map(|etag| etag.trim_matches('"').to_owned()) })
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn method(name: &str) -> Result<Method, Error> {
    let bad = |_| Error::RemoteConfig { name: "webdav".into(), problem: format!("{name} is no HTTP method") };
    Method::from_bytes(name.as_bytes()).map_err(bad)
}

/// The path of a url or of a path, decoded, with a slash at its end.
fn path_of(url: &str) -> String {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    format!("{}/", decoded(path).trim_end_matches('/'))
}

#[derive(Debug, Deserialize)]
struct Multistatus {
    #[serde(default)]
    response: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    href: String,
    #[serde(default)]
    propstat: Vec<PropStat>,
}

#[derive(Debug, Deserialize)]
struct PropStat {
    #[serde(default)]
    prop: Prop,
}

#[derive(Debug, Default, Deserialize)]
struct Prop {
    resourcetype: Option<ResourceType>,
    getcontentlength: Option<String>,
    getetag: Option<String>,
}

impl Prop {
    /// A server puts what it knows and what it does not into two of these.
    fn or(self, other: Self) -> Self {
        let is_folder = |kind: &ResourceType| kind.collection.is_some();
        Self {
            resourcetype: self.resourcetype.filter(is_folder).or(other.resourcetype),
            getcontentlength: self.getcontentlength.filter(|size| !size.is_empty()).or(other.getcontentlength),
            getetag: self.getetag.filter(|etag| !etag.is_empty()).or(other.getetag),
        }
    }
}

#[derive(Debug, Deserialize)]
struct ResourceType {
    collection: Option<serde::de::IgnoredAny>,
}

impl Remote for WebDavRemote {
    fn url(&self) -> &str {
        &self.http.url
    }

    fn jobs(&self) -> usize {
        self.http.jobs()
    }

    fn stat(&self, key: &str) -> Result<Option<Stat>, Error> {
        self.http.stat(key)
    }

    fn listing(&self) -> Listing {
        Listing::Pages(FILES_IN_A_FOLDER)
    }

    fn list(&self, prefix: &str, found: &mut dyn FnMut(Listed) -> ControlFlow<()>) -> Result<(), Error> {
        self.list_folder(prefix, DEEPEST, found).map(drop)
    }

    fn upload(&self, key: &str, from: &Path) -> Result<Stat, Error> {
        self.make_folders(key)?;
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.http.file_url(&format!("{key}.{}-{number}.tmp", std::process::id()));
        let size = self.http.put(&Method::PUT, &unfinished, from)?;
        let request = self.http.request(method("MOVE")?, &unfinished);
        let url = self.http.file_url(key);
        let response = send(request.header("Destination", &url).header("Overwrite", "T"), &url)?;
        if response.status().is_success() {
            Ok(Stat { size: Some(size), ..Stat::default() })
        } else {
            Err(refused(&url, response))
        }
    }

    fn download(&self, wanted: &Wanted<'_>) -> Result<Option<Download>, Error> {
        self.http.download(wanted)
    }

    fn delete(&self, keys: &[String]) -> Result<(), Error> {
        self.http.delete(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_whatever_its_prefixes_are() {
        let text = r#"<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">
            <D:response><D:href>/s/files/</D:href><D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
            <D:response><D:href>/s/files/a%20b</D:href>
              <D:propstat><D:prop><D:resourcetype/><D:getcontentlength>7</D:getcontentlength></D:prop></D:propstat>
              <D:propstat><D:prop><D:getetag/></D:prop><D:status>HTTP/1.1 404</D:status></D:propstat></D:response>
            </D:multistatus>"#;
        let listing: Multistatus = quick_xml::de::from_str(text).unwrap();
        let mut entries = listing.response.into_iter();
        let folder = entries.next().unwrap();
        assert!(folder.propstat[0].prop.resourcetype.as_ref().unwrap().collection.is_some());
        let file = entries.next().unwrap();
        assert_eq!(path_of(&file.href), "/s/files/a b/");
        let prop = file.propstat.into_iter().map(|stat| stat.prop).reduce(Prop::or).unwrap();
        assert_eq!(prop.getcontentlength.as_deref(), Some("7"));
        assert!(prop.resourcetype.is_none_or(|kind| kind.collection.is_none()));
        assert_eq!(path_of("http://host:1/s/files"), "/s/files/");
    }
}
