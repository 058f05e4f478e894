//! The states of a release and what leads from one to the next: pure.

use towpath_api::releases::ReleaseState;

use ReleaseState::{AwaitingApproval, Failed, Gating, Live, Pending, Rejected, RolledBack, RollingOut, Superseded};

/// What happens to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its gates are begun.
    GatesBegun,
    /// Every gate passed.
    GatesPassed,
    /// A gate did not pass.
    GatesFailed,
    /// What it was compared with changed: its gates are begun again.
    GroundsChanged,
    /// A person said no.
    Refused,
    /// A newer release took its place in the queue, or in the environment.
    Superseded,
    /// Approvals are complete and the environment is free.
    Admitted,
    /// The candidate serves all traffic.
    WentLive,
    /// The judge or a person took it back.
    RolledBack,
    /// It could not be evaluated or loaded: nothing is said about the model.
    Broke,
    /// Its successor was rolled back.
    Restored,
}

impl Event {
    pub const ALL: [Self; 11] = [
        Self::GatesBegun,
        Self::GatesPassed,
        Self::GatesFailed,
        Self::GroundsChanged,
        Self::Refused,
        Self::Superseded,
        Self::Admitted,
        Self::WentLive,
        Self::RolledBack,
        Self::Broke,
        Self::Restored,
    ];
}

/// The state after `event`; `None` when it cannot happen in `state`.
#[expect(clippy::match_same_arms, reason = "a table: one line for each event")]
pub fn transition(state: ReleaseState, event: Event) -> Option<ReleaseState> {
    Some(match (state, event) {
        (Pending, Event::GatesBegun) => Gating,
        (Gating, Event::GatesPassed) => AwaitingApproval,
        (Gating, Event::GatesFailed) => Rejected,
        (Gating | AwaitingApproval, Event::GroundsChanged) => Gating,
        (Pending | Gating | AwaitingApproval, Event::Refused) => Rejected,
        (Pending | Gating | AwaitingApproval | Live, Event::Superseded) => Superseded,
        (AwaitingApproval, Event::Admitted) => RollingOut,
        (RollingOut, Event::WentLive) => Live,
        (RollingOut | Live, Event::RolledBack) => RolledBack,
        (Pending | Gating | AwaitingApproval | RollingOut, Event::Broke) => Failed,
        (Superseded, Event::Restored) => Live,
        _ => return None,
    })
}

/// The ledger's kind for `event`, which led to `state`.
pub fn ledger_kind(event: Event, from: ReleaseState) -> &'static str {
    match event {
        Event::GatesBegun => "release.gating",
        Event::GatesPassed => "release.gated",
        Event::GatesFailed | Event::Refused => "release.rejected",
        Event::GroundsChanged => "release.regated",
        Event::Superseded => "release.superseded",
        Event::Admitted => "rollout.opened",
        Event::WentLive => "release.live",
        Event::RolledBack if from == RollingOut => "rollout.rolled_back",
        Event::RolledBack => "release.rolled_back",
        Event::Broke => "release.failed",
        Event::Restored => "release.restored",
    }
}

/// Nothing leads out of it, whatever happens.
pub fn is_final(state: ReleaseState) -> bool {
    matches!(state, Rejected | RolledBack | Failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events() -> impl Strategy<Value = Vec<Event>> {
        proptest::collection::vec(proptest::sample::select(&Event::ALL[..]), 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever order things happen in: nothing serves that was not gated and approved first,
        /// what was thrown out stays out, and only what was live comes back.
        #[test]
        fn no_order_of_events_gets_around_the_gates(events in events()) {
            let mut state = Pending;
            let (mut gated, mut admitted, mut was_live) = (false, false, false);
            for event in events {
                let Some(next) = transition(state, event) else { continue };
                prop_assert!(!is_final(state), "{state:?} -> {next:?}");
                gated = match event {
                    Event::GatesPassed => true,
                    Event::GroundsChanged => false,
                    _ => gated,
                };
                if event == Event::Admitted {
                    prop_assert!(gated);
                    admitted = true;
                }
                if next == RollingOut {
                    prop_assert!(admitted);
                }
                if next == Live && event != Event::Restored {
                    prop_assert_eq!(state, RollingOut);
                    was_live = true;
                }
                // A release that never was live may be superseded in the queue; the caller restores
                // only what has a time of going live.
                if event == Event::Restored {
                    prop_assert_eq!(state, Superseded);
                    prop_assume!(was_live);
                }
                state = next;
            }
        }
    }

    #[test]
    fn the_usual_path_and_its_ends() {
        let path = [Event::GatesBegun, Event::GatesPassed, Event::Admitted, Event::WentLive, Event::Superseded];
        let states: Vec<_> = path
            .iter()
            .scan(Pending, |state, event| {
                *state = transition(*state, *event)?;
                Some(*state)
            })
            .collect();
        assert_eq!(states, [Gating, AwaitingApproval, RollingOut, Live, Superseded]);
        assert_eq!(transition(RollingOut, Event::RolledBack), Some(RolledBack));
        assert_eq!(transition(AwaitingApproval, Event::WentLive), None);
        assert_eq!(transition(RolledBack, Event::Restored), None);
    }
}
