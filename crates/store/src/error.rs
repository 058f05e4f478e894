use towpath_core::{Classify, Kind};

/// What can go wrong below the domains.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("open the database {url}: {detail}")]
    Open { url: String, detail: String },
    #[error(
        "the database at {url} has schema version {found}, this towpath knows {known}: it was written by a newer version"
    )]
    NewerSchema { url: String, found: i64, known: i64 },
    #[error("migration {name}: {detail}")]
    Migration { name: &'static str, detail: String },
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    #[error("the database was busy for too long: {0}")]
    Contended(String),
    #[error("{0}")]
    Constraint(String),
    #[error("query failed: {0}")]
    Query(String),
    #[error("column '{column}' holds {found}, expected {expected}")]
    Column { column: String, expected: &'static str, found: String },
    #[error("the ledger is broken at entry {seq}: {detail}")]
    Ledger { seq: i64, detail: String },
    #[error("artifact root '{uri}': {detail}")]
    ArtifactRoot { uri: String, detail: String },
    #[error("the system gave no random bytes")]
    Random,
    #[error("the server is shutting down")]
    Closed,
}

impl Classify for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Open { .. } | Self::Unavailable(_) | Self::Closed => Kind::Unavailable,
            Self::NewerSchema { .. } | Self::ArtifactRoot { .. } => Kind::Invalid,
            Self::DiskFull(_) | Self::Contended(_) => Kind::Exhausted,
            Self::Constraint(_) => Kind::Conflict,
            Self::Migration { .. } | Self::Query(_) | Self::Column { .. } | Self::Ledger { .. } | Self::Random => {
                Kind::Internal
            }
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NewerSchema { .. } => {
                vec!["start the newer towpath binary, or restore a backup of this version".into()]
            }
            Self::DiskFull(_) => vec!["free some space; nothing was half-written".into()],
            Self::Open { .. } => vec!["check --data-dir and --database-url".into()],
            _ => Vec::new(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Contended(text),
            Some(ErrorCode::ConstraintViolation) => Self::Constraint(text),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => Self::Unavailable(text),
            _ => Self::Query(text),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            return if error.is_closed() || std::error::Error::source(&error).is_some_and(|s| s.is::<std::io::Error>()) {
                Self::Unavailable(error.to_string())
            } else {
                Self::Query(describe(&error))
            };
        };
        let text = db.message().to_owned();
        match db.code().code() {
            "40001" | "40P01" => Self::Contended(text),
            "53100" => Self::DiskFull(text),
            code if code.starts_with("23") => Self::Constraint(text),
            code if code.starts_with("08") || code.starts_with("57P") => Self::Unavailable(text),
            _ => Self::Query(text),
        }
    }
}

/// `tokio_postgres` keeps the useful half of a message in the source.
fn describe(error: &tokio_postgres::Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
