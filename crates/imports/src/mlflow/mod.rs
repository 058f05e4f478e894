//! What MLflow keeps: tables in a database, files in `mlruns/`, or whatever a running server answers.

mod database;
mod folder;
pub(crate) mod rest;
mod server;

use std::path::{Path, PathBuf};

pub(crate) use database::Database;
pub(crate) use folder::Folder;
pub(crate) use server::Server;
use towpath_tracking::Lifecycle;

use crate::ImportError;

/// The stage of versions that were deleted.
const DELETED: &str = "Deleted_Internal";

/// Where an address leads.
pub(crate) enum Place {
    Folder(PathBuf),
    /// As the store opens it.
    Database(String),
    /// The address of a server.
    Server(String),
}

/// Reads what MLflow calls a tracking or backend store URI.
pub(crate) fn place_of(address: &str) -> Result<Place, ImportError> {
    if let Some(path) = address.strip_prefix("sqlite:///") {
        return Ok(Place::Database(path.to_owned()));
    }
    if let Some((scheme, rest)) = address.split_once("://") {
        // SQLAlchemy names a driver: postgresql+psycopg2.
        return match scheme.split('+').next() {
            Some("postgresql" | "postgres") => Ok(Place::Database(format!("postgresql://{rest}"))),
            Some("http" | "https") => Ok(Place::Server(address.to_owned())),
            Some("file") => Ok(Place::Folder(PathBuf::from(rest))),
            _ => Err(ImportError::NoSource(address.to_owned())),
        };
    }
    let path = Path::new(address.strip_prefix("file:").unwrap_or(address));
    if path.is_dir() {
        Ok(Place::Folder(path.to_owned()))
    } else if path.is_file() {
        Ok(Place::Database(path.display().to_string()))
    } else {
        Err(ImportError::NoSource(address.to_owned()))
    }
}

fn lifecycle(text: Option<&str>) -> Lifecycle {
    if text == Some("deleted") { Lifecycle::Deleted } else { Lifecycle::Active }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_mlflow() {
        let database = |address: &str| match place_of(address) {
            Ok(Place::Database(url)) => Some(url),
            _ => None,
        };
        assert_eq!(database("sqlite:////data/mlflow.db").as_deref(), Some("/data/mlflow.db"));
        assert_eq!(database("sqlite:///mlflow.db").as_deref(), Some("mlflow.db"));
        assert_eq!(database("postgresql+psycopg2://u:p@h/db").as_deref(), Some("postgresql://u:p@h/db"));
        assert!(
            matches!(place_of("file:///data/mlruns"), Ok(Place::Folder(path)) if path == Path::new("/data/mlruns"))
        );
        assert!(matches!(place_of("https://mlflow.example.org"), Ok(Place::Server(_))));
        assert!(place_of("mysql://h/db").is_err() && place_of("/nowhere/at/all").is_err());
    }
}
