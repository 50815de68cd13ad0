//! Writing cases down in few words.

use super::fault::Fault as F;
use super::list::{CacheCase, Expect, Load, Need as N, Resumed, Step};

/// The policies.
pub(super) const ONLINE: &str = "online";
pub(super) const STALE: &str = "stale-while-revalidate";
pub(super) const OFFLINE: &str = "offline";

/// The tag that moves.
pub(super) const LIVE: &str = "steady:live";
/// A version, which does not.
pub(super) const FIXED: &str = "steady:1.0.0";
/// Half of the layer, and a bit: the header of its file is less than that.
pub(super) const HALF: u64 = (2048 * 64 * 4) / 2 + 128;

pub(super) fn case<const N: usize>(
    id: &str,
    reference: &str,
    fault: F,
    steps: [Step; N],
) -> CacheCase {
    CacheCase {
        id: id.into(),
        reference: reference.into(),
        fault,
        nobody: false,
        mirrors: Vec::new(),
        needs: Vec::new(),
        stall: None,
        steps: steps.into(),
    }
}

impl CacheCase {
    pub(super) fn needs<const N: usize>(mut self, needs: [N; N]) -> Self {
        self.needs.extend(needs);
        self
    }

    pub(super) fn nobody(mut self) -> Self {
        self.nobody = true;
        self
    }

    pub(super) fn stall(mut self, milliseconds: u64) -> Self {
        self.stall = Some(milliseconds);
        self.needs([N::Stall])
    }
}

/// A load that is being written down; `online` unless something else is said.
pub(super) struct Expecting {
    policy: &'static str,
    together: usize,
    pub(super) expect: Expect,
}

pub(super) fn load(outcome: &str) -> Expecting {
    Expecting {
        policy: ONLINE,
        together: 1,
        expect: Expect {
            outcomes: vec![outcome.into()],
            ..Expect::default()
        },
    }
}

/// The same for an update.
pub(super) fn expect(outcome: &str) -> Expecting {
    load(outcome)
}

pub(super) fn set(what: &str) -> Step {
    Step::Server(what.into())
}

impl Expecting {
    pub(super) fn done(self) -> Step {
        Step::Load(Load {
            policy: self.policy.into(),
            together: self.together,
            expect: self.expect,
        })
    }

    pub(super) fn policy(mut self, policy: &'static str) -> Self {
        self.policy = policy;
        self
    }

    pub(super) fn together(mut self, number: usize) -> Self {
        self.together = number;
        self
    }

    pub(super) fn or(mut self, outcome: &str) -> Self {
        self.expect.outcomes.push(outcome.into());
        self
    }

    pub(super) fn refused(mut self, code: &str) -> Self {
        self.expect.refused = Some(code.into());
        self
    }

    pub(super) fn index(mut self, from: usize, to: usize) -> Self {
        self.expect.index = Some([from, to]);
        self
    }

    pub(super) fn layer(mut self, from: usize, to: usize) -> Self {
        self.expect.layer = Some([from, to]);
        self
    }

    pub(super) fn any(mut self, from: usize, to: usize) -> Self {
        self.expect.any = Some([from, to]);
        self
    }

    pub(super) fn from(mut self, fault: F) -> Self {
        self.expect.from = Some(fault);
        self
    }

    pub(super) fn resumed(mut self, first: bool, until: u64) -> Self {
        self.expect.resumed = Some(Resumed { first, until });
        self
    }

    pub(super) fn unchanged(mut self) -> Self {
        self.expect.unchanged = true;
        self
    }

    pub(super) fn event(mut self, name: &str) -> Self {
        self.expect.events.push(name.into());
        self
    }
}
