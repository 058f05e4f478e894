//! The only place that starts `git`.
//!
//! [`Repository`] is a bare repository that the server owns: every command on it runs with a
//! cleared environment and without the machine's or the user's configuration. [`WorkTree`] is a
//! user's clone: there the user's configuration, hooks and credentials apply. Everything that
//! becomes an argument is validated first, every command has a deadline and a bound on its output.

pub mod checkout;
pub mod clones;
pub mod commit;
pub mod diff;
pub mod error;
pub mod experiments;
pub mod file_history;
pub mod history;
pub mod id;
pub mod repository;
pub mod revisions;
pub mod service;
pub mod worktree;

mod command;

pub use clones::BareClone;
pub use commit::{FileContent, Signature};
pub use diff::{Diff, FileChange, FileStatus};
pub use error::Error;
pub use experiments::{Experiment, Sent, Snapshot};
pub use file_history::FileVersions;
pub use history::CommitInfo;
pub use id::{CommitId, is_valid_reference};
pub use repository::{Head, Repository, Tag, Tips};
pub use service::{Mode, Pusher, Service};
pub use worktree::{CommittedFile, WorkTree};
