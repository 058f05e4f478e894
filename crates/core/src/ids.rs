//! Ids. Rows that many writers create at once have a time-ordered UUID (version 7, 32 hex digits);
//! things that people type have a number.

/// A new id: 32 lowercase hex digits that sort by creation time.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Whether a text is such an id: 32 lowercase hex digits.
pub fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text is the id of a logged model: `m-` and an id.
pub fn is_model_id(text: &str) -> bool {
    text.strip_prefix("m-").is_some_and(is_id)
}

/// A new id as UUIDs are usually written, with hyphens.
pub fn new_uuid() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// A new id as the number that its 32 hex digits write.
pub fn new_id_number() -> u128 {
    uuid::Uuid::now_v7().as_u128()
}

/// A pipeline run: `<project>/<n>`; `n` counts up from 1 in each project.
pub type RunNumber = i64;

/// A release; counts up from 1 on each server. Its hash is what approvals bind to.
pub type ReleaseId = i64;
