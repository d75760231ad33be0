//! What is known of the call in hand: who calls, until when, in which trace.
//!
//! The inbound layers put a [`CallContext`] into the request's extensions; handlers take it from there and pass it down.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::account::{AccountId, AccountIndex};
use crate::telemetry::trace::TraceContext;

/// One call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// When the answer must leave, which is before the caller stops waiting; [`CallContext::no_deadline`] for a stream
    /// without one. Every wait asks what is left.
    pub deadline: Instant,
    /// Where the call stands in its trace.
    pub trace: TraceContext,
    /// What is learned on the way.
    pub facts: Arc<CallFacts>,
    /// What the upstream calls made for it are for.
    pub purpose: Purpose,
}

/// What an upstream call is for. A doubt must get its turn, however many callers want the same tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// A caller's call, or one of the ledger's that can be left out: an audit, a snapshot.
    #[default]
    Caller,
    /// The ledger's look-up or search to settle a doubt. It goes before callers within half of the limit, and passes an
    /// open circuit as its probe.
    Lookup,
    /// A mutation that the ledger sends again, or a further batch of one. It goes before callers within half of the limit.
    Resend,
}

impl CallContext {
    /// Who calls; nobody before it was recognised.
    pub fn caller(&self) -> &Arc<Caller> {
        self.facts.caller().unwrap_or(Caller::nobody())
    }

    /// So late that it never comes: 30 years from `now`.
    pub fn no_deadline(now: Instant) -> Instant {
        now + std::time::Duration::from_secs(60 * 60 * 24 * 365 * 30)
    }
}

/// What is learned of a call on its way; the access log tells it at the end. The first value of each stands, except of the
/// correlation id.
#[derive(Debug, Default)]
pub struct CallFacts {
    caller: OnceLock<Arc<Caller>>,
    account: OnceLock<AccountId>,
    correlation_id: Mutex<Option<Uuid>>,
    reason: OnceLock<&'static str>,
    attempts: AtomicU32,
    summed_up: AtomicBool,
    on_clock: AtomicBool,
}

impl CallFacts {
    /// Of a call by this one.
    pub fn of(caller: Arc<Caller>) -> Arc<Self> {
        Arc::new(Self { caller: caller.into(), ..Self::default() })
    }

    /// Who calls.
    pub fn set_caller(&self, caller: Arc<Caller>) {
        self.caller.get_or_init(|| caller);
    }

    /// Who calls, once recognised.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.get()
    }

    /// The account that is meant.
    pub fn set_account(&self, account: &AccountId) {
        self.account.get_or_init(|| account.clone());
    }

    /// The account, once known.
    pub fn account(&self) -> Option<&AccountId> {
        self.account.get()
    }

    /// The `WM_QOS.CORRELATION_ID` that is sent. The last one stands: a call may read an order before it changes it, and the
    /// answer names the upstream call that it came from.
    pub fn set_correlation_id(&self, id: Uuid) {
        *self.correlation_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }

    /// The correlation id, once known.
    pub fn correlation_id(&self) -> Option<Uuid> {
        *self.correlation_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reason of the error that is answered (`ErrorInfo.reason`).
    pub fn set_reason(&self, reason: &'static str) {
        self.reason.get_or_init(|| reason);
    }

    /// The reason, if the call failed with one.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason.get().copied()
    }

    /// The log tells of failures like this one together, at a bounded rate; there is no need for a line of its own.
    pub fn set_summed_up(&self) {
        self.summed_up.store(true, Ordering::Relaxed);
    }

    /// Whether the log tells of it elsewhere.
    pub fn summed_up(&self) -> bool {
        self.summed_up.load(Ordering::Relaxed)
    }

    /// Does `work`, which has a timer of its own by which it ends soon after the deadline: as long as it waits, nobody else
    /// need set one for this call. One at a time.
    pub async fn on_clock<F: Future>(&self, work: F) -> F::Output {
        self.on_clock.store(true, Ordering::Relaxed);
        let _end = OffClock(&self.on_clock);
        work.await
    }

    /// Whether a timer will wake the call soon after its deadline. Whoever waits above asks again with every poll.
    pub fn is_on_clock(&self) -> bool {
        self.on_clock.load(Ordering::Relaxed)
    }

    /// Counts an attempt upstream; gives the number of those before it.
    pub fn begin_attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Attempts upstream so far.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// Work that is left before its end has no timer any more.
struct OffClock<'a>(&'a AtomicBool);

impl Drop for OffClock<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Who calls, and what it may see and use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name in the settings; `anonymous` for an open gateway, `none` for one who was not recognised.
    pub name: String,
    /// Accounts that it may see.
    pub accounts: Visible,
    /// Services that it may call, by short name (`FulfillmentService`); `None` for all of them.
    pub services: Option<BTreeSet<String>>,
}

/// A choice of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Visible {
    /// Every account.
    All,
    /// These.
    Only(BTreeSet<AccountIndex>),
}

impl Caller {
    /// Anyone who calls an open gateway: sees all.
    pub fn anonymous() -> Arc<Self> {
        Self::anyone().clone()
    }

    fn anyone() -> &'static Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Caller>> =
            LazyLock::new(|| Arc::new(Caller { name: "anonymous".into(), accounts: Visible::All, services: None }));
        &ANONYMOUS
    }

    /// A caller who has not been recognised (yet): sees nothing.
    pub fn nobody() -> &'static Arc<Self> {
        static NOBODY: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            let nothing = Some(BTreeSet::new());
            Arc::new(Caller { name: "none".into(), accounts: Visible::Only(BTreeSet::new()), services: nothing })
        });
        &NOBODY
    }

    /// Whether it is anyone who calls an open gateway.
    pub fn is_anonymous(&self) -> bool {
        std::ptr::eq(self, Arc::as_ptr(Self::anyone()))
    }

    /// Whether it may see this account.
    pub fn may_see(&self, account: AccountIndex) -> bool {
        match &self.accounts {
            Visible::All => true,
            Visible::Only(some) => some.contains(&account),
        }
    }

    /// Whether it may see every account, also ones that do not exist: only such a caller is told that one is unknown.
    pub fn sees_all(&self) -> bool {
        self.accounts == Visible::All
    }

    /// Whether it may call this service, given by its short name.
    pub fn may_call(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|some| some.contains(service))
    }
}
