//! Every key: its kind, its default, its documentation. Reading, `config dump`, `config.defaults.toml` and
//! `docs/CONFIG.md` all follow this table, so that they cannot say different things. Documentation is written for the operator who sets the key.

use super::key::DefaultValue::{Example, Is};
use super::key::{
    SettingKey, address, choice, count, duration, file, flag, secret, secrets, share, span, spans, text, texts, time,
    url,
};
use crate::domain::operation::operations;

/// A section.
pub(super) struct KeyGroup {
    /// Its path, without the names of list entries: `accounts.webhook`.
    pub(super) path: &'static str,
    pub(super) form: GroupForm,
    pub(super) doc: &'static str,
    pub(super) keys: &'static [SettingKey],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupForm {
    /// Always there.
    Section,
    /// There when it is set.
    Optional,
    /// Any number, told apart by the value of this key.
    List(&'static str),
}

pub(super) fn group(path: &str) -> Option<&'static KeyGroup> {
    GROUPS.iter().find(|group| group.path == path)
}

pub(super) fn find(group_path: &str, name: &str) -> Option<&'static SettingKey> {
    group(group_path)?.keys.iter().find(|key| key.name == name)
}

pub(super) fn is_secret(group_path: &str, name: &str) -> bool {
    find(group_path, name).is_some_and(SettingKey::is_secret)
}

/// The key by which entries of a list are told apart; absent for what is no list.
pub(super) fn naming_key(path: &str) -> Option<&'static str> {
    match group(path)?.form {
        GroupForm::List(naming) => Some(naming),
        GroupForm::Section | GroupForm::Optional => None,
    }
}

macro_rules! limits {
    (
        reads { $($(#[$read_doc:meta])* $read:ident: $read_types:tt
            { name: $read_name:literal, rpc: $read_rpc:literal, published_limit: $read_limit:literal, path: $read_path:literal, }
        )* }
        mutations { $($(#[$doc:meta])* $mutation:ident: $types:tt
            { name: $name:literal, rpc: $rpc:literal, published_limit: $limit:literal, path: $path:literal, }
        )* }
    ) => {
        /// One key for each of Walmart's calls.
        const LIMITS: &[SettingKey] = &[
            $(count($read_name, "calls a minute", Is(stringify!($read_limit)), concat!($read_rpc, ".")),)*
            $(count($name, "calls a minute", Is(stringify!($limit)), concat!($rpc, ".")),)*
        ];
    };
}
operations!(limits);

pub(super) const GROUPS: &[KeyGroup] = &[
    KeyGroup {
        path: "grpc",
        form: GroupForm::Section,
        doc: "The gRPC door.",
        keys: &[
            address(
                "listen",
                Is(r#""127.0.0.1:50051""#),
                "Address and port for calls. Without [[clients]] everyone who reaches it may call, so then it must be a \
                 loopback address.",
            ),
            flag(
                "reflection",
                Is("true"),
                "Whether callers may list services and messages (grpcurl does), under the same authentication as calls.",
            ),
            span(
                "max_connection_age",
                Is(r#""30m""#),
                "Age at which a connection is asked to end, give or take 10 %, so that callers spread over new replicas. \
                 Calls in flight finish.",
            ),
            count(
                "max_calls_per_client",
                "calls",
                Is("512"),
                "Unary calls that one of [[clients]] may have in flight: half of the 1,024 that there are for all, so that no \
                 client takes what others need. clients.max_concurrent sets less for one of them.",
            ),
            count(
                "max_streams_per_client",
                "streams",
                Is("10000"),
                "Streams that one of [[clients]] may have open: half of the 20,000 that the feed has for all.",
            ),
        ],
    },
    KeyGroup {
        path: "grpc.tls",
        form: GroupForm::Optional,
        doc: "TLS for calls. Without this section they are plaintext.",
        keys: &[
            file("cert_file", Example(r#""/etc/order-gateway/tls/tls.crt""#), "Certificate chain, PEM. Required here."),
            file("key_file", Example(r#""/etc/order-gateway/tls/tls.key""#), "Its private key, PEM. Required here."),
            file(
                "client_ca_file",
                Example(r#""/etc/order-gateway/tls/ca.crt""#),
                "Authorities that vouch for callers, PEM. Set: callers need a certificate of theirs (mTLS).",
            ),
        ],
    },
    KeyGroup {
        path: "http",
        form: GroupForm::Section,
        doc: "Walmart's webhooks at /webhooks/walmart/ID, which are for the outside, and the probes /livez and /readyz. Without \
              admin.listen also what [admin] says.",
        keys: &[
            address("listen", Is(r#""127.0.0.1:8080""#), "Address and port, plaintext."),
            flag(
                "page",
                Is("true"),
                "Whether there is a page for people at / (and what it shows at /status.json): ids, counts and times, for \
                 everyone who reaches the address.",
            ),
        ],
    },
    KeyGroup {
        path: "admin",
        form: GroupForm::Section,
        doc: "The operators' door: the page for people at /, /status.json and /metrics. They need no credentials, and are not for \
              the outside.",
        keys: &[
            address(
                "listen",
                Example(r#""127.0.0.1:8081""#),
                "Address and port of their own, plaintext; http.listen then does not have them. Without it they are served at \
                 http.listen.",
            ),
            texts(
                "hosts",
                Is("[]"),
                "DNS names under which they may be asked for. A request whose Host is another name is refused with 421, so that \
                 no stranger's page can read them in a browser; localhost and IP addresses are always good.",
            ),
        ],
    },
    KeyGroup {
        path: "store",
        form: GroupForm::Section,
        doc: "Where the ledger and the feed are kept. Postgres is not used by this version.",
        keys: &[
            text(
                "url",
                Is(r#""sqlite://order-gateway.db""#),
                "sqlite://PATH (sqlite:///PATH from the root) for one process: the file, its -wal, -shm and -lock beside \
                 it, on a local disk. postgres://user@host:5432/db for many replicas. At every start the \
                 file is checked for damage, for a quarter of a second at most: all of a small one, a part of a large \
                 one. Damage found later makes the store fail.",
            ),
            secret("password", "Postgres only. Never inside the url."),
        ],
    },
    KeyGroup {
        path: "walmart",
        form: GroupForm::Section,
        doc: "The way to Walmart.",
        keys: &[
            choice(
                "profile",
                &["production", "sandbox"],
                Is(r#""production""#),
                "\"production\", or \"sandbox\", which also sends Authorization: Bearer, martId, buId and WM_SANDBOX: v2.",
            ),
            url(
                "base_url",
                Example(r#""https://marketplace.walmartapis.com""#),
                "Where Walmart answers, any host. By default that of the profile: https://marketplace.walmartapis.com or \
                 https://sandbox.walmartapis.com.",
            ),
            text("service_name", Is(r#""Walmart Marketplace""#), "Sent as WM_SVC.NAME."),
            span(
                "attempt_timeout",
                Is(r#""10s""#),
                "How long one attempt may take on the wire. Waiting for a token or for the rate limit is not counted.",
            ),
        ],
    },
    KeyGroup {
        path: "walmart.limits",
        form: GroupForm::Section,
        doc: "Calls a minute, per account and operation, to start with; Walmart's answers correct them. The defaults \
              are Walmart's published table.",
        keys: LIMITS,
    },
    KeyGroup {
        path: "walmart.retry",
        form: GroupForm::Section,
        doc: "Repeats of calls that failed and may be repeated.",
        keys: &[count(
            "max_attempts",
            "attempts",
            Is("3"),
            "Attempts of one call, the first included. 1 switches repeats off.",
        )],
    },
    KeyGroup {
        path: "walmart.promise_cache",
        form: GroupForm::Section,
        doc: "Answers kept for identical promise requests.",
        keys: &[duration("ttl", Is(r#""30s""#), "How long. \"0s\" switches it off.")],
    },
    KeyGroup {
        path: "ledger",
        form: GroupForm::Section,
        doc: "Every create and cancel has an entry in the ledger, so that it happens once; how an outcome that became \
              unknown is found out.",
        keys: &[
            span(
                "settle_window",
                Is(r#""120s""#),
                "How long an order that was sent may stay invisible at Walmart before it counts as not made. At least 30s \
                 with walmart.profile = \"production\": a shorter window makes an order twice when Walmart is slow to show it.",
            ),
            spans(
                "lookup_delays",
                Is(r#"["500ms", "1500ms", "5s", "15s", "30s", "60s", "120s"]"#),
                "When Walmart is asked, counted from the moment the outcome became unknown. Each later than the one \
                 before; at least three with walmart.profile = \"production\".",
            ),
            span(
                "not_after",
                Is(r#""15m""#),
                "Nothing is sent again when this long has passed since the call. At least settle_window with \
                 walmart.profile = \"production\".",
            ),
            time(
                "look_first_until",
                Example(r#""2026-11-30T18:00:00Z""#),
                "Set it after a backup was put back: creations that come before this moment are looked up at Walmart by \
                 their number before they are sent, because the store may have forgotten orders that it made. Such \
                 creations go at the rate of look-ups (walmart.limits.status).",
            ),
            span(
                "retention",
                Is(r#""90d""#),
                "How long a finished entry is kept after its last change; at least 90d. Of an order that was created, \
                 number, fingerprint and answer stay for good.",
            ),
        ],
    },
    KeyGroup {
        path: "feed",
        form: GroupForm::Section,
        doc: "The feed of cancel intents.",
        keys: &[
            span("heartbeat_interval", Is(r#""10s""#), "A stream without events gets a heartbeat this often."),
            span("retention", Is(r#""30d""#), "How long events are kept, and can be read again."),
            span(
                "max_retention",
                Is(r#""90d""#),
                "How long events are kept that a subscription with hold_retention has not settled; at least retention. \
                 Past it they go, and the subscription says LOST_EVENTS.",
            ),
            count(
                "max_subscriptions_per_client",
                "subscriptions",
                Is("1000"),
                "Subscriptions that one of [[clients]] may have made and not deleted.",
            ),
        ],
    },
    KeyGroup {
        path: "telemetry",
        form: GroupForm::Section,
        doc: "Traces, metrics and logs.",
        keys: &[
            url(
                "otlp_endpoint",
                Is(r#""""#),
                "Where traces and metrics go, by OTLP over gRPC, such as http://collector:4317. Empty: off, unless OTEL_* \
                 variables say otherwise.",
            ),
            share(
                "trace_sample_ratio",
                Is("0.01"),
                "Share of calls that are traced, 0 to 1, when the caller did not decide.",
            ),
            choice(
                "access_log",
                &["failures", "all", "off"],
                Is(r#""failures""#),
                "A log line for \"failures\" (and slow calls), for \"all\" calls, or \"off\".",
            ),
        ],
    },
    KeyGroup {
        path: "shutdown",
        form: GroupForm::Section,
        doc: "How the process ends.",
        keys: &[duration("grace", Is(r#""20s""#), "How long calls in flight may go on after SIGTERM.")],
    },
    KeyGroup {
        path: "accounts",
        form: GroupForm::List("id"),
        doc: "One for each seller account; at least one.",
        keys: &[
            text(
                "id",
                Example(r#""acme""#),
                "Its name here: 1 to 64 ASCII letters, digits, '-' or '_'. It stands in requests and in the webhook's \
                 path, and may be changed: what was kept under the old name is found under the new one. Required.",
            ),
            text(
                "partner_id",
                Example(r#""10000000000""#),
                "Walmart's number of the seller. The ledger, the feed and the limits are kept by it, so it stays when the id \
                 changes. No two accounts have the same. Required.",
            ),
            text("client_id", Example(r#""…""#), "Client id of the API key. Required."),
            secret("client_secret", "Client secret of the API key. Required."),
            text("mart_id", Is(r#""202""#), "Business unit, for header.headerAttributes.martId. 202 is Walmart US."),
            text("bu_id", Is(r#""0""#), "Business sub-unit, for header.headerAttributes.buId."),
        ],
    },
    KeyGroup {
        path: "accounts.webhook",
        form: GroupForm::Optional,
        doc: "How Walmart's webhooks for this account prove where they come from. Without this section none is accepted. \
              Walmart posts to http.listen, path /webhooks/walmart/ID; docs/OPERATIONS.md tells how to set it up there.",
        keys: &[
            choice(
                "auth",
                &["hmac", "hmac_v2", "basic", "oauth", "none"],
                Example(r#""hmac""#),
                "\"hmac\" (of the body, in one header), \"hmac_v2\" (method, path, timestamp, body hash; fixed WM_SEC.* \
                 headers), \"basic\", \"oauth\", or \"none\" (for local work only). Required.",
            ),
            text("header", Is(r#""X-Walmart-Auth""#), "hmac, basic, oauth: the header that carries the proof."),
            secrets("secret", "hmac, hmac_v2: the shared secret, or a list of them while rotating."),
            span(
                "timestamp_tolerance",
                Is(r#""24h""#),
                "hmac_v2: greatest age of a delivery. Long is harmless: a delivery that comes again is stored once. \
                 Short, such as 5m, refuses Walmart's later tries if they carry the first one's time.",
            ),
            text("username", Example(r#""walmart""#), "basic: the user name."),
            secret("password", "basic: the password."),
            text("client_id", Example(r#""…""#), "oauth: the credentials with which Walmart fetches a token here."),
            secrets(
                "client_secret",
                "oauth: their secret, or a list of them while rotating. Tokens that are out keep their hour.",
            ),
        ],
    },
    KeyGroup {
        path: "clients",
        form: GroupForm::List("name"),
        doc: "Who may call. None: everyone, and then grpc.listen must be a loopback address.",
        keys: &[
            text(
                "name",
                Example(r#""oms""#),
                "In logs and metrics: 1 to 64 ASCII letters, digits, '-' or '_'. Required.",
            ),
            secrets(
                "token",
                "Sent by the caller as `authorization: Bearer …`, or a list of them while rotating. In token_file each line \
                 is a token: add the new one, change the caller, remove the old one, without a restart. Either this or \
                 san.",
            ),
            text(
                "san",
                Example(r#""spiffe://example.com/oms""#),
                "A URI or DNS name in the caller's certificate, with grpc.tls.client_ca_file. A URI is compared letter by \
                 letter; a DNS name in any case, and a certificate for *.example.com speaks for oms.example.com (RFC 6125). \
                 Either this or token.",
            ),
            texts("accounts", Example(r#"["acme"]"#), "Ids of the accounts that it may act for, or [\"*\"]. Required."),
            texts("services", Example(r#"["FulfillmentService"]"#), "Services that it may call. By default all."),
            count(
                "max_concurrent",
                "calls",
                Example("100"),
                "Its calls in flight at once. By default without a limit of its own.",
            ),
            count(
                "per_second",
                "calls a second",
                Example("50"),
                "Its calls a second. By default without a limit of its own.",
            ),
        ],
    },
];
