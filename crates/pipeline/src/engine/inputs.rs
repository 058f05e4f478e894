//! What a stage read, compared with what it declares.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use towpath_core::{InputKind, UndeclaredInput};
use towpath_observe::{Observation, is_of_the_system};
use towpath_plan::pipeline::Stage;

/// What belongs to Git, DVC and Towpath: tools in a stage read it, and it is not data.
const TOOLS: [&str; 7] =
    ["dvc.yaml", "dvc.lock", "towpath.yaml", ".dvcignore", ".gitignore", ".gitattributes", ".gitmodules"];

/// Folders of a home that hold settings and programs.
const SETTINGS: [&str; 20] = [
    ".config",
    ".local",
    ".cargo",
    ".rustup",
    ".npm",
    ".nvm",
    ".pyenv",
    ".conda",
    ".mamba",
    ".aws",
    ".azure",
    ".ssh",
    ".gnupg",
    ".docker",
    ".kube",
    ".ipython",
    ".jupyter",
    ".matplotlib",
    ".nv",
    ".java",
];

/// Folders of `~/.cache` that hold no data: the others may, as `huggingface` does.
const CACHES: [&str; 9] =
    ["pip", "uv", "fontconfig", "matplotlib", "numba", "ccache", "mesa_shader_cache", "torch_extensions", "node"];

/// Where a stage ran.
pub(super) struct Place<'a> {
    /// Canonical.
    pub(super) root: &'a Path,
    pub(super) scratch: &'a Path,
    pub(super) variables: &'a [(String, String)],
}

/// The undeclared inputs: files of the repository first, by name.
pub(super) fn undeclared(stage: &Stage, place: &Place<'_>, seen: &Observation) -> Vec<UndeclaredInput> {
    let variable = |name: &str| place.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let home = variable("HOME").map(PathBuf::from);
    let prefixes = environments(variable("PATH").unwrap_or_default());
    let mut inside = BTreeMap::new();
    let mut elsewhere = BTreeMap::new();
    for (path, opened) in &seen.files {
        let input = |kind, name: String| {
            let target = opened.target.as_ref().map(|target| shown(target, place.root));
            UndeclaredInput { kind, name, target, program: opened.program.clone() }
        };
        if path.starts_with(place.scratch) {
            continue;
        }
        if let Ok(relative) = path.strip_prefix(place.root) {
            let relative = source_of(relative, place.root);
            if let Some(name) = relative.to_str().filter(|_| !is_of_tools(&relative) && !is_package(&relative))
                && !declares(stage, name)
            {
                inside.entry(name.to_owned()).or_insert_with(|| input(InputKind::Repository, name.to_owned()));
            }
            continue;
        }
        let is_known = is_of_the_system(path)
            || is_library(path)
            || prefixes.iter().any(|prefix| path.starts_with(prefix))
            || home.as_ref().is_some_and(|home| is_setting(path, home));
        let name = path.display().to_string();
        if !is_known && !declares(stage, &name) {
            elsewhere.insert(name.clone(), input(InputKind::Elsewhere, name));
        }
    }
    let ours = variable("MLFLOW_TRACKING_URI").and_then(authority);
    let peers = seen.peers.iter().filter(|(peer, _)| !is_ours(peer, ours.as_ref())).map(|(peer, program)| {
        UndeclaredInput { kind: InputKind::Network, name: peer.to_string(), target: None, program: program.clone() }
    });
    inside.into_values().chain(elsewhere.into_values()).chain(peers).collect()
}

/// Below the root where it is, absolute elsewhere.
fn shown(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// A dependency, a file of parameters or an output of its own, or something inside one.
fn declares(stage: &Stage, name: &str) -> bool {
    let deps = stage.deps.iter().map(|dep| dep.path.as_str());
    let outs = stage.outs.iter().map(|out| out.at.path.as_str());
    let params = stage.params.iter().map(|params| params.file.path.as_str());
    deps.chain(outs).chain(params).any(|declared| Path::new(name).starts_with(declared))
}

/// `pkg/__pycache__/mod.cpython-311.pyc` is `pkg/mod.py`, where that exists.
fn source_of(relative: &Path, root: &Path) -> PathBuf {
    let source = || {
        let folder = relative.parent().filter(|folder| folder.ends_with("__pycache__"))?.parent()?;
        let module = relative.file_name()?.to_str()?.split('.').next()?;
        let source = folder.join(format!("{module}.py"));
        root.join(&source).is_file().then_some(source)
    };
    source().unwrap_or_else(|| relative.to_owned())
}

fn is_of_tools(relative: &Path) -> bool {
    let first = relative.components().next();
    let name = relative.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    first.is_some_and(|first| [".git", ".dvc"].iter().any(|tool| first.as_os_str() == *tool))
        || relative == Path::new(".git")
        || TOOLS.contains(&name)
        || relative.extension().is_some_and(|extension| extension == "dvc")
}

/// Of an environment inside the repository.
fn is_package(relative: &Path) -> bool {
    is_of_the_system(relative) || relative.ends_with("pyvenv.cfg")
}

/// A shared library, or a part of Python outside the usual places.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut parts = path.components().map(Component::as_os_str);
    let of_python = parts.any(|part| part == "lib" || part == "lib64")
        && parts.next().and_then(|part| part.to_str()).is_some_and(|part| part.starts_with("python"));
    of_python || name.ends_with(".so") || name.contains(".so.") || name == "pyvenv.cfg"
}

/// The environments whose programs the stage finds: virtual ones and those of conda.
fn environments(path: &str) -> Vec<PathBuf> {
    let prefix = |bin: PathBuf| {
        let prefix = bin.parent()?.to_owned();
        let is_environment = prefix.join("pyvenv.cfg").exists() || prefix.join("conda-meta").exists();
        is_environment.then(|| prefix.canonicalize().unwrap_or(prefix))
    };
    std::env::split_paths(path).filter_map(prefix).collect()
}

fn is_setting(path: &Path, home: &Path) -> bool {
    let Ok(relative) = path.strip_prefix(home) else { return false };
    let mut parts = relative.components().filter_map(|part| part.as_os_str().to_str());
    let (first, second) = (parts.next().unwrap_or_default(), parts.next());
    match second {
        None => first.starts_with('.'),
        Some(cache) if first == ".cache" => CACHES.contains(&cache),
        Some(_) => SETTINGS.contains(&first),
    }
}

/// Host and port of an address of the web.
fn authority(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?.rsplit('@').next()?;
    let default = if scheme == "https" { 443 } else { 80 };
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host.to_owned(), port.parse().ok()?)),
        None => Some((authority.to_owned(), default)),
    }
}

/// The server that the stage logs to. Its name is not resolved: the port has to do.
fn is_ours(peer: &SocketAddr, ours: Option<&(String, u16)>) -> bool {
    let Some((host, port)) = ours else { return false };
    let same_host = match host.trim_matches(['[', ']']).parse::<std::net::IpAddr>() {
        Ok(address) => address == peer.ip(),
        Err(_) => host != "localhost" || peer.ip().is_loopback(),
    };
    peer.port() == *port && same_host
}
