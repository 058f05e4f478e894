//! What changed, told after commit.

use serde_json::Value;
use tokio::sync::broadcast;

/// A key such as `["runs", "digits", 4]`: whoever shows or reconciles such a thing looks again.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification(pub Vec<Value>);

impl Notification {
    /// The noun: the first part of the key.
    pub fn topic(&self) -> &str {
        self.0.first().and_then(Value::as_str).unwrap_or("")
    }
}

/// Sends to every listener; a slow one loses the oldest and must look at everything again.
#[derive(Clone, Debug)]
pub(crate) struct Notify(broadcast::Sender<Notification>);

impl Notify {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(1024).0)
    }

    pub(crate) fn send(&self, notifications: Vec<Notification>) {
        for notification in notifications {
            // No listener is not an error: lists are read again when somebody opens them.
            let _ = self.0.send(notification);
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Notification> {
        self.0.subscribe()
    }
}
