//! Roles. Three mean something to Towpath itself; any other name counts for approvals that ask for
//! it (`risk`, `ml-leads`).

use crate::IdentityError;

/// Make users and tokens, and everything that [`WRITE`] allows.
pub const ADMIN: &str = "admin";
/// Push, start runs, promote, write to the registry. What a token carries when nothing is said.
pub const WRITE: &str = "write";
/// Look at everything.
pub const READ: &str = "read";

/// Sorted, without repetitions; every name must be one that a role can have.
pub(crate) fn checked(roles: &[String]) -> Result<Vec<String>, IdentityError> {
    if let Some(bad) = roles.iter().find(|r| !towpath_core::names::is_valid_name(r)) {
        return Err(IdentityError::InvalidName { what: "role", name: bad.clone() });
    }
    let mut roles = roles.to_vec();
    roles.sort();
    roles.dedup();
    Ok(roles)
}
