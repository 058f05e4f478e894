//! What changed, told after commit.

use std::sync::{Arc, Mutex, PoisonError};

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

/// Tells listeners what they asked for; a slow one loses the oldest and must look at everything again.
#[derive(Clone, Debug)]
pub(crate) struct Notify(Arc<Channels>);

#[derive(Debug)]
struct Channels {
    all: broadcast::Sender<Notification>,
    /// A channel for each list of topics: a thousand points a second wake nobody who waits for
    /// releases.
    chosen: Mutex<Vec<(Topics, broadcast::Sender<Notification>)>>,
}

/// First parts of keys.
type Topics = &'static [&'static str];

impl Notify {
    const KEPT: usize = 1024;

    pub(crate) fn new() -> Self {
        Self(Arc::new(Channels { all: broadcast::channel(Self::KEPT).0, chosen: Mutex::default() }))
    }

    pub(crate) fn send(&self, notifications: Vec<Notification>) {
        let chosen = self.0.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        for notification in notifications {
            // No listener is not an error: lists are read again when somebody opens them.
            for (_, channel) in chosen.iter().filter(|(topics, _)| topics.contains(&notification.topic())) {
                let _ = channel.send(notification.clone());
            }
            let _ = self.0.all.send(notification);
        }
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Notification> {
        self.0.all.subscribe()
    }

    pub(crate) fn listen_to(&self, topics: Topics) -> broadcast::Receiver<Notification> {
        let mut chosen = self.0.chosen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, channel)) = chosen.iter().find(|(known, _)| *known == topics) {
            return channel.subscribe();
        }
        let (channel, receiver) = broadcast::channel(Self::KEPT);
        chosen.push((topics, channel));
        receiver
    }
}
