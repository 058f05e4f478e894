//! Who may ask, and how many at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::error::RequestError;
use crate::revision::lock;

/// Counts the requests being answered and refuses more than a limit.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    in_flight: AtomicUsize,
    limit: usize,
}

/// A place among the requests being answered; given back when dropped.
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Admission {
    pub(crate) fn new(limit: usize) -> Self {
        Self { in_flight: AtomicUsize::new(0), limit }
    }

    pub(crate) fn enter(&self) -> Result<Place<'_>, RequestError> {
        let place = Place(&self.in_flight);
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.limit {
            return Err(RequestError::Busy { limit: self.limit });
        }
        Ok(place)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Counts the requests of each client and refuses more than a limit of one of them.
#[derive(Debug)]
pub(crate) struct Clients {
    limit: usize,
    requests: Mutex<HashMap<Client, usize>>,
}

/// By its token, or else by where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Token(TokenHash),
    At(IpAddr),
    /// Over a Unix socket.
    Local,
}

/// A place among the requests of a client; given back when dropped.
pub(crate) struct ClientPlace<'a> {
    clients: &'a Clients,
    client: Client,
}

impl Clients {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, requests: Mutex::default() }
    }

    pub(crate) fn enter(&self, client: Client) -> Result<ClientPlace<'_>, RequestError> {
        let mut requests = lock(&self.requests);
        let count = requests.entry(client).or_default();
        if *count >= self.limit {
            return Err(RequestError::TooManyOfOne { limit: self.limit });
        }
        *count += 1;
        Ok(ClientPlace { clients: self, client })
    }
}

impl Drop for ClientPlace<'_> {
    fn drop(&mut self) {
        let mut requests = lock(&self.clients.requests);
        if let Some(count) = requests.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                requests.remove(&self.client);
            }
        }
    }
}

/// A token, kept and compared as its SHA-256: comparing hashes tells nothing about the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// From 64 hex digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

/// The token of a request: `Bearer <token>`, or the password of `Basic`.
pub(crate) fn presented_token(headers: &HeaderMap) -> Option<TokenHash> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(TokenHash::of(credentials));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(credentials).ok()?;
    let text = std::str::from_utf8(&decoded).ok()?;
    text.split_once(':').map(|(_, password)| TokenHash::of(password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_as_bearer_or_as_the_password_of_basic() {
        let presented = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            presented_token(&headers)
        };
        assert_eq!(presented("Bearer secret"), Some(TokenHash::of("secret")));
        // base64 of "anybody:secret"
        assert_eq!(presented("Basic YW55Ym9keTpzZWNyZXQ="), Some(TokenHash::of("secret")));
        assert_eq!(presented("Digest secret"), None);
        assert_eq!(presented("Bearer other"), Some(TokenHash::of("other")));
    }

    #[test]
    fn one_client_does_not_take_the_places_of_another() {
        let clients = Clients::new(2);
        let (one, other) = (Client::At("192.0.2.1".parse().unwrap()), Client::Token(TokenHash::of("secret")));
        let places = (clients.enter(one).unwrap(), clients.enter(one).unwrap());
        assert!(matches!(clients.enter(one).map(drop), Err(RequestError::TooManyOfOne { limit: 2 })));
        assert!(clients.enter(other).is_ok() && clients.enter(Client::Local).is_ok());
        drop(places);
        assert!(clients.enter(one).is_ok());
        assert!(lock(&clients.requests).is_empty());
    }

    #[test]
    fn one_request_too_many_is_refused_until_another_has_left() {
        let admission = Admission::new(1);
        let place = admission.enter().unwrap();
        assert!(matches!(admission.enter(), Err(RequestError::Busy { limit: 1 })));
        assert_eq!(admission.in_flight(), 1);
        drop(place);
        assert!(admission.enter().is_ok());
    }
}
