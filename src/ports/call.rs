//! Facts of one inbound call: the caller, the deadline, and the trace.
//!
//! The inbound layers put a [`CallContext`] into the request's extensions; handlers take the context from there and
//! pass it down.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::account::{AccountId, AccountIndex};
use crate::telemetry::trace::TraceContext;

/// One inbound call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Latest time at which the answer must leave, before the caller stops waiting; [`CallContext::no_deadline`] for a
    /// stream without deadline. Every wait is limited by the remaining time.
    pub deadline: Instant,
    /// Position of the call in its trace.
    pub trace: TraceContext,
    /// Facts learned while the call is processed.
    pub facts: Arc<CallRecord>,
    /// Purpose of the upstream calls made for this call.
    pub purpose: CallPurpose,
}

/// The purpose of an upstream call, which decides its priority in the account's bucket. Look-ups must get permits even
/// while many callers compete for the same tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallPurpose {
    /// A caller's call, or an optional call of the ledger: an audit or a snapshot.
    #[default]
    Caller,
    /// The ledger's look-up or search for an unknown outcome. The call precedes callers within half of the limit, and
    /// passes an open circuit as its probe.
    Lookup,
    /// A mutation sent again by the ledger, or a further batch. The call precedes callers within half of the limit.
    Resend,
    /// A read for which nobody waits, such as a scan of the orders. The call takes what callers and the ledger leave.
    Background,
}

impl CallContext {
    /// The caller; [`Caller::nobody`] before authentication.
    pub fn caller(&self) -> &Arc<Caller> {
        self.facts.caller().unwrap_or(Caller::nobody())
    }

    /// A call of the gateway's own for which nobody waits.
    pub(crate) fn background(deadline: Instant, trace: TraceContext) -> Self {
        Self { deadline, trace, facts: Arc::default(), purpose: CallPurpose::Background }
    }

    /// A deadline that is never reached: 30 years from `now`.
    pub(crate) fn no_deadline(now: Instant) -> Instant {
        now + std::time::Duration::from_secs(60 * 60 * 24 * 365 * 30)
    }
}

/// The facts learned while a call is processed; the access log writes them at the end. The first value of a fact is
/// kept, except for the correlation id.
#[derive(Debug, Default)]
pub struct CallRecord {
    caller: OnceLock<Arc<Caller>>,
    account: OnceLock<AccountId>,
    correlation_id: Mutex<Option<Uuid>>,
    reason: OnceLock<&'static str>,
    attempts: AtomicU32,
}

impl CallRecord {
    /// A record with this caller.
    pub fn of(caller: Arc<Caller>) -> Arc<Self> {
        Arc::new(Self { caller: caller.into(), ..Self::default() })
    }

    /// Sets the caller after authentication.
    pub(crate) fn set_caller(&self, caller: Arc<Caller>) {
        self.caller.get_or_init(|| caller);
    }

    /// The caller, once authenticated.
    pub fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.get()
    }

    /// Sets the account of the call.
    pub fn set_account(&self, account: &AccountId) {
        self.account.get_or_init(|| account.clone());
    }

    /// The account, once known.
    pub fn account(&self) -> Option<&AccountId> {
        self.account.get()
    }

    /// Sets the `WM_QOS.CORRELATION_ID` of the latest upstream call. The last value is kept: a call may read an order
    /// before changing the order, and the answer names the upstream call behind the answer.
    pub(crate) fn set_correlation_id(&self, id: Uuid) {
        *self.correlation_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
    }

    /// The correlation id, once known.
    pub fn correlation_id(&self) -> Option<Uuid> {
        *self.correlation_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the reason of the returned error (`ErrorInfo.reason`).
    pub(crate) fn set_reason(&self, reason: &'static str) {
        self.reason.get_or_init(|| reason);
    }

    /// The reason, if the call failed with one.
    pub fn reason(&self) -> Option<&'static str> {
        self.reason.get().copied()
    }

    /// Counts an upstream attempt; returns the number of earlier attempts.
    pub(crate) fn begin_attempt(&self) -> u32 {
        self.attempts.fetch_add(1, Ordering::Relaxed)
    }

    /// Number of upstream attempts so far.
    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }
}

/// The authenticated caller, with its access rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name in the settings; `anonymous` for an open gateway, `none` before authentication.
    pub name: String,
    /// Accounts that the caller may see.
    pub accounts: VisibleAccounts,
    /// Services that the caller may call, by short name (`FulfillmentService`); `None` for all services.
    pub services: Option<BTreeSet<String>>,
}

/// A set of accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VisibleAccounts {
    /// Every account, including unknown ones.
    All,
    /// Only the listed accounts.
    Only(BTreeSet<AccountIndex>),
}

impl Caller {
    /// The caller of an open gateway, who sees every account.
    pub fn anonymous() -> Arc<Self> {
        Self::anyone().clone()
    }

    fn anyone() -> &'static Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            Arc::new(Caller { name: "anonymous".into(), accounts: VisibleAccounts::All, services: None })
        });
        &ANONYMOUS
    }

    /// The caller before authentication, who sees nothing.
    pub fn nobody() -> &'static Arc<Self> {
        static NOBODY: LazyLock<Arc<Caller>> = LazyLock::new(|| {
            let nothing = Some(BTreeSet::new());
            Arc::new(Caller {
                name: "none".into(),
                accounts: VisibleAccounts::Only(BTreeSet::new()),
                services: nothing,
            })
        });
        &NOBODY
    }

    /// Whether this is the caller of an open gateway.
    pub(crate) fn is_anonymous(&self) -> bool {
        std::ptr::eq(self, Arc::as_ptr(Self::anyone()))
    }

    /// Whether the caller may see this account.
    pub(crate) fn may_see(&self, account: AccountIndex) -> bool {
        match &self.accounts {
            VisibleAccounts::All => true,
            VisibleAccounts::Only(some) => some.contains(&account),
        }
    }

    /// Whether the caller may see every account, including accounts that do not exist. Only such a caller is told that
    /// an account is unknown.
    pub(crate) fn sees_all(&self) -> bool {
        self.accounts == VisibleAccounts::All
    }

    /// Whether the caller may do less as `new` than before, leaving aside accounts that nobody has any more.
    pub(crate) fn lost_access(&self, new: &Self, is_present: impl Fn(AccountIndex) -> bool) -> bool {
        let fewer_accounts = match (&self.accounts, &new.accounts) {
            (_, VisibleAccounts::All) => false,
            (VisibleAccounts::All, VisibleAccounts::Only(_)) => true,
            (VisibleAccounts::Only(old), VisibleAccounts::Only(new)) => {
                old.difference(new).any(|account| is_present(*account))
            }
        };
        let fewer_services = match (&self.services, &new.services) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(old), Some(new)) => !old.is_subset(new),
        };
        fewer_accounts || fewer_services
    }

    /// Whether the caller may call the service with this short name.
    pub(crate) fn may_call(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|some| some.contains(service))
    }
}
