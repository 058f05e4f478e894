//! What long work tells whoever waits for it.

/// One kind of long work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Hash files and store them in the cache.
    Adding,
    /// Ask a remote which objects it has.
    Querying,
    Pushing,
    Pulling,
    /// Make the workspace equal to what is tracked.
    CheckingOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `items` files or objects are about to be worked on.
    Started {
        work: Work,
        items: u64,
    },
    /// `items` more were found while others are worked on already.
    Found {
        work: Work,
        items: u64,
    },
    /// One item is done; `bytes` is its size, 0 when nothing had to be moved.
    Done {
        work: Work,
        bytes: u64,
    },
    /// A request failed and is made again.
    Retrying {
        work: Work,
        attempt: u32,
    },
    Finished {
        work: Work,
    },
}

/// Receives events, from several threads.
pub trait Progress: Sync {
    fn event(&self, event: Event);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}
