//! Who calls, and what they may do: users with their e-mail addresses, tokens with their roles.
//! Deciding whether a caller exists is here; what a caller may do to a thing is that domain's.

mod error;
pub mod header;
pub mod roles;
pub mod tokens;
pub mod users;

use serde::{Deserialize, Serialize};
use towpath_core::Actor;
use towpath_store::{StoreError, Tx};

pub use error::IdentityError;
pub use tokens::{Secret, Token};
pub use users::User;

/// The caller of one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub actor: Actor,
    pub roles: Vec<String>,
    /// May make users and tokens.
    pub admin: bool,
    /// `None` on a loopback server without accounts.
    pub token_id: Option<String>,
    pub scope: Scope,
}

/// How far a token reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    /// Everything its roles allow.
    User,
    /// One stage of a pipeline run: its own tracked run, nothing else.
    Stage(StageScope),
}

/// The stage that a token was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageScope {
    pub project: String,
    pub number: i64,
    pub stage: String,
    /// The MLflow run id of the stage.
    pub tracking_run: String,
}

impl Identity {
    /// Everybody on a loopback server without accounts: may do everything, and counts as one
    /// identity, `local`, when approving.
    pub fn local() -> Self {
        Self { actor: Actor::local(), roles: Vec::new(), admin: true, token_id: None, scope: Scope::User }
    }

    fn is_local(&self) -> bool {
        self.token_id.is_none() && self.admin
    }

    pub fn is_user(&self) -> bool {
        self.scope == Scope::User
    }

    pub fn stage(&self) -> Option<&StageScope> {
        match &self.scope {
            Scope::Stage(stage) => Some(stage),
            Scope::User => None,
        }
    }

    /// Make users and tokens.
    pub fn may_admin(&self) -> bool {
        self.is_user() && self.admin
    }

    /// Push, start runs, promote, write to the registry. A stage may not: what it may write is
    /// decided by its [`StageScope`].
    pub fn may_write(&self) -> bool {
        self.is_user() && (self.admin || self.roles.iter().any(|r| r == roles::WRITE))
    }

    /// Vote on a release that asks for no particular role. A token that may only read may not.
    pub fn may_approve(&self) -> bool {
        self.is_user() && (self.admin || self.roles.iter().any(|r| r != roles::READ))
    }

    /// Carries `role`. Being an admin does not make anybody `risk`; without accounts everybody
    /// holds every role.
    pub fn holds(&self, role: &str) -> bool {
        self.is_user() && (self.is_local() || self.roles.iter().any(|r| r == role))
    }
}

/// Whether anybody has been added: from then on every request needs a token.
pub fn accounts_exist(tx: &mut Tx<'_>) -> Result<bool, StoreError> {
    Ok(tx.opt("select name from users limit 1", &[])?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(roles: &[&str]) -> Identity {
        Identity {
            actor: Actor::user("bob"),
            roles: roles.iter().map(|&r| r.to_owned()).collect(),
            admin: roles.contains(&roles::ADMIN),
            token_id: Some("t".into()),
            scope: Scope::User,
        }
    }

    #[test]
    fn a_token_may_do_what_its_roles_say() {
        assert!(carrying(&["write"]).may_write());
        assert!(!carrying(&["write"]).may_admin());
        assert!(!carrying(&["read"]).may_write());
        assert!(!carrying(&["read"]).may_approve());
        assert!(carrying(&["risk"]).holds("risk"));
        assert!(!carrying(&["risk"]).may_write());
        assert!(carrying(&["admin"]).may_write());
        assert!(!carrying(&["admin"]).holds("risk"));
    }

    #[test]
    fn without_accounts_everybody_is_one_identity_that_may_do_everything() {
        let local = Identity::local();
        assert!(local.may_admin() && local.may_write() && local.may_approve());
        assert!(local.holds("risk"));
        assert_eq!(local.actor, Actor::local());
    }

    #[test]
    fn a_stage_may_neither_write_beyond_its_run_nor_approve() {
        let stage = Identity {
            scope: Scope::Stage(StageScope {
                project: "digits".into(),
                number: 4,
                stage: "train".into(),
                tracking_run: "ab".into(),
            }),
            ..carrying(&["write", "risk", "admin"])
        };
        assert!(!stage.may_write() && !stage.may_admin());
        assert!(!stage.may_approve() && !stage.holds("risk"));
    }
}
