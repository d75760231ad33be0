//! Changes of seller orders and returns, drawn from the seed. Each has an object of its own at Walmart's side, with enough
//! units for it to be carried out again and again.

use std::time::Duration;

use order_gateway::pb::OperationKind;
use order_gateway::ports::random::Random;

use crate::schedule::{ACCOUNTS, BEGINNINGS, Caller, Dice};

/// Changes that begin in each life of the gateway, and in the last.
const CHANGES_A_LIFE: usize = 10;
const LAST_CHANGES: usize = 40;

/// Disturbances of each of the changes: share of the calls, what happens.
const FAULTS: [(f64, &str); 7] = [
    (0.10, "drop = \"after\""),
    (0.04, "drop = \"before\""),
    (0.06, "status = 500\nwhen = \"after\""),
    (0.03, "status = 500\nwhen = \"before\""),
    (0.02, "status = 401"),
    (0.05, "delay = \"300ms\""),
    (0.02, "delay = \"1500ms\""),
];
/// Disturbances of the reads that show them.
const READ_FAULTS: [(f64, &str); 2] = [(0.04, "status = 500"), (0.03, "drop = \"before\"")];
const READS: [&str; 4] = ["order", "returns", "mcs_returns", "webhooks"];

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ChangeKind {
    CancelLines,
    Ship,
    Refund,
    RefundReturn,
    OpenReturn,
    CancelReturn,
    Subscribe,
}

impl ChangeKind {
    pub(crate) const ALL: [Self; 7] = [
        Self::CancelLines,
        Self::Ship,
        Self::Refund,
        Self::RefundReturn,
        Self::OpenReturn,
        Self::CancelReturn,
        Self::Subscribe,
    ];

    /// The name in the emulator's history, and in its faults.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::CancelLines => "cancel_lines",
            Self::Ship => "ship",
            Self::Refund => "refund",
            Self::RefundReturn => "return_refund",
            Self::OpenReturn => "mcs_return_create",
            Self::CancelReturn => "mcs_return_cancel",
            Self::Subscribe => "webhook_create",
        }
    }

    /// The kind in the gateway's list of operations.
    pub(crate) const fn of_operation(self) -> OperationKind {
        match self {
            Self::CancelLines => OperationKind::CancelLines,
            Self::Ship => OperationKind::Ship,
            Self::Refund => OperationKind::Refund,
            Self::RefundReturn => OperationKind::ReturnRefund,
            Self::OpenReturn => OperationKind::McsReturnCreate,
            Self::CancelReturn => OperationKind::McsReturnCancel,
            Self::Subscribe => OperationKind::WebhookCreate,
        }
    }

    /// Why no look-up may have it sent again, if none may.
    pub(crate) const fn is_never_sent_again(self) -> Option<&'static str> {
        match self {
            Self::Refund | Self::RefundReturn => Some("it is money"),
            Self::Subscribe => Some("its request has secrets"),
            Self::CancelLines | Self::Ship | Self::OpenReturn | Self::CancelReturn => None,
        }
    }

    /// Whether Walmart keeps no count of it: once the object is in the wanted state, everybody who wanted it there is right.
    pub(crate) const fn is_a_state(self) -> bool {
        matches!(self, Self::CancelReturn)
    }

    /// Whether an id is free again once its call has ended without effect, as for a subscription, about which a read decides.
    pub(crate) const fn frees_id(self) -> bool {
        matches!(self, Self::Subscribe)
    }

    /// Whether a call without an id is a new one once the last has ended.
    pub(crate) const fn joins(self) -> bool {
        matches!(self, Self::CancelLines | Self::CancelReturn)
    }
}

/// An object at Walmart's side, and what is changed of it.
#[derive(Clone, Debug)]
pub(crate) struct ChangeStory {
    /// Which of [`ACCOUNTS`].
    pub account: &'static str,
    /// A number that no other story has.
    pub n: usize,
    /// What is changed. [`ChangeKind::CancelReturn`] opens a return first.
    pub kind: ChangeKind,
    /// After the start of the life.
    pub begins: Duration,
    /// Lines that are changed, of seller orders.
    pub lines: u32,
    /// The callers' id.
    pub request_id: Option<String>,
    /// All of them send the same, at about the same time.
    pub callers: Vec<Caller>,
}

impl ChangeStory {
    /// Whether the change is to happen once, however often it is asked for.
    pub(crate) const fn is_once(&self, kind: ChangeKind) -> bool {
        self.request_id.is_some() || !kind.joins()
    }
}

/// Draws the changes of all lives, with chances of its own: the rest of a schedule is the same with them.
pub(crate) struct ChangePlan {
    dice: Dice,
    drawn: usize,
}

impl ChangePlan {
    pub(crate) fn new(seed: u64) -> Self {
        Self { dice: Dice(Random::from_seed(seed ^ 0xC4A6_E500)), drawn: 0 }
    }

    /// The changes that begin in the next life.
    pub(crate) fn life(&mut self, last: bool) -> Vec<ChangeStory> {
        let count = if last { LAST_CHANGES } else { CHANGES_A_LIFE };
        (0..count).map(|_| self.story(last)).collect()
    }

    fn story(&mut self, last: bool) -> ChangeStory {
        self.drawn += 1;
        let (n, dice) = (self.drawn, &self.dice);
        ChangeStory {
            account: ACCOUNTS[n % ACCOUNTS.len()],
            n,
            kind: ChangeKind::ALL[n % ChangeKind::ALL.len()],
            begins: dice.millis(1, BEGINNINGS.as_millis() as u64),
            lines: dice.up_to(2) as u32,
            request_id: dice.share(0.4).then(|| format!("change-{n}")),
            callers: dice.callers(last).into_iter().map(patient).collect(),
        }
    }
}

/// A refund in doubt waits for the operator, who comes at the end: its callers ask less often, or there would be little else.
fn patient(caller: Caller) -> Caller {
    Caller { pause: caller.pause * 4, ..caller }
}

/// Faults of Walmart's side, as TOML.
pub(crate) fn faults() -> String {
    let rule = |operation: &str, (share, what): &(f64, &str)| {
        format!("[[fault]]\noperation = \"{operation}\"\nprobability = {share}\n{what}\n")
    };
    let changes = ChangeKind::ALL.iter().flat_map(|kind| FAULTS.iter().map(|fault| rule(kind.name(), fault)));
    let reads = READS.iter().flat_map(|read| READ_FAULTS.iter().map(|fault| rule(read, fault)));
    changes.chain(reads).collect()
}

#[cfg(test)]
mod tests {
    use order_gateway::emulator::FaultRules;

    use super::*;

    #[test]
    fn every_kind_is_asked_for_with_and_without_an_id() {
        let mut plan = ChangePlan::new(1);
        let stories: Vec<_> = (0..20).flat_map(|_| plan.life(false)).collect();
        for kind in ChangeKind::ALL {
            let ids = |with| stories.iter().filter(|one| one.kind == kind && one.request_id.is_some() == with).count();
            assert!(ids(true) > 0 && ids(false) > 0, "{kind:?}");
        }
    }

    #[test]
    fn the_emulator_knows_every_fault() {
        let rules = FaultRules::parse(&faults()).unwrap();
        assert_eq!(rules.len(), FAULTS.len() * ChangeKind::ALL.len() + READ_FAULTS.len() * READS.len());
    }
}
