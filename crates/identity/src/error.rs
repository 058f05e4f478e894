use towpath_core::{Classify, Kind};
use towpath_store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error(
        "'{name}' cannot be the name of a {what}: letters, digits, '.', '_' and '-', at most 100 characters, starting with a letter or digit"
    )]
    InvalidName { what: &'static str, name: String },
    #[error("the user name '{0}' is reserved")]
    ReservedName(String),
    #[error("'{0}' is not an e-mail address")]
    InvalidEmail(String),
    #[error("there is a user '{0}' already")]
    UserExists(String),
    #[error("the e-mail address '{email}' belongs to user '{user}' already")]
    EmailTaken { email: String, user: String },
    #[error("there is no user '{0}'")]
    NoUser(String),
    #[error("there is no token '{0}'")]
    NoToken(String),
    #[error("user '{0}' is not an admin, so no token of theirs can carry the role 'admin'")]
    NotAnAdmin(String),
    #[error("the system gives no random bytes: {0}")]
    Random(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Classify for IdentityError {
    fn kind(&self) -> Kind {
        match self {
            Self::InvalidName { .. } | Self::ReservedName(_) | Self::InvalidEmail(_) => Kind::Invalid,
            Self::UserExists(_) | Self::EmailTaken { .. } => Kind::Conflict,
            Self::NoUser(_) | Self::NoToken(_) => Kind::NotFound,
            Self::NotAnAdmin(_) => Kind::Denied,
            Self::Random(_) => Kind::Unavailable,
            Self::Store(error) => error.kind(),
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoUser(name) => vec![format!("add them with: towpath user add {name}")],
            Self::Store(error) => error.hints(),
            _ => Vec::new(),
        }
    }
}
