//! The two services behind a Git remote over HTTP, as processes whose bodies are streamed
//! (gitprotocol-http: "smart" requests).

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::{Error, Repository};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Fetch and clone.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    /// From the `service` query parameter or the last segment of the path.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }

    pub fn advertisement_content_type(self) -> String {
        format!("application/x-{}-advertisement", self.name())
    }

    pub fn request_content_type(self) -> String {
        format!("application/x-{}-request", self.name())
    }

    pub fn result_content_type(self) -> String {
        format!("application/x-{}-result", self.name())
    }

    /// What stands before the advertised refs: the service's name as a pkt-line and a flush.
    /// Protocol version 2 has no such header.
    pub fn advertisement_prefix(self, git_protocol: Option<&str>) -> Vec<u8> {
        if git_protocol.is_some_and(|p| p.split(':').any(|field| field == "version=2")) {
            return Vec::new();
        }
        let mut prefix = pkt_line(&format!("# service={}\n", self.name()));
        prefix.extend_from_slice(b"0000");
        prefix
    }
}

/// Four hex digits (the length with themselves), then the text.
fn pkt_line(text: &str) -> Vec<u8> {
    format!("{:04x}{text}", text.len() + 4).into_bytes()
}

/// Which half of the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `GET info/refs`: nothing to read on stdin.
    Advertise,
    /// `POST git-upload-pack` or `git-receive-pack`: the decoded body goes to stdin.
    Exchange,
}

/// Who pushes; recorded in the reflog (see [`Repository::pusher_of`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pusher {
    pub name: String,
    pub email: String,
}

impl Repository {
    /// Starts the service with piped stdin (closed when advertising), stdout and stderr. The
    /// process ends when the child is dropped. `git_protocol` is the header `Git-Protocol`.
    pub fn serve(
        &self,
        service: Service,
        mode: Mode,
        git_protocol: Option<&str>,
        pusher: Option<&Pusher>,
    ) -> Result<Child, Error> {
        let what = service.name().trim_start_matches("git-");
        let mut command = crate::command::hermetic(None);
        command.arg(what).arg("--stateless-rpc");
        if mode == Mode::Advertise {
            command.arg("--http-backend-info-refs");
        }
        command.arg(self.path());
        if let Some(protocol) = git_protocol.filter(|p| is_protocol_header(p)) {
            command.env("GIT_PROTOCOL", protocol);
        }
        if let Some(pusher) = pusher {
            command.env("GIT_COMMITTER_NAME", &pusher.name).env("GIT_COMMITTER_EMAIL", &pusher.email);
        }
        command.stdin(if mode == Mode::Advertise { Stdio::null() } else { Stdio::piped() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Command::from(command).kill_on_drop(true).spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::NotInstalled,
            _ => Error::Spawn { what: what.to_owned(), source },
        })
    }
}

fn is_protocol_header(value: &str) -> bool {
    value.len() <= 256
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b':' | b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advertisement_names_its_service_unless_the_protocol_is_version_2() {
        let header = b"001e# service=git-upload-pack\n0000".to_vec();
        assert_eq!(Service::UploadPack.advertisement_prefix(None), header);
        assert_eq!(Service::UploadPack.advertisement_prefix(Some("version=1")), header);
        assert_eq!(Service::UploadPack.advertisement_prefix(Some("version=2")), b"");
    }

    #[test]
    fn a_protocol_header_that_is_not_one_is_ignored() {
        assert!(is_protocol_header("version=2"));
        assert!(!is_protocol_header("version=2\nX: y"));
    }
}
