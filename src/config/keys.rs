//! The table of all keys: type, default and documentation. Reading, `config dump`, `config.defaults.toml` and
//! `docs/CONFIG.md` all use this table, and thus agree. The documentation is written for operators.

use super::key::DefaultValue::{Example, Is, WithPostgres};
use super::key::{
    SettingKey, address, choice, count, duration, file, flag, secret, secrets, share, span, spans, text, texts, time,
    url,
};
use crate::domain::operation::operations;

/// A section and its keys.
pub(super) struct KeyGroup {
    /// Path of the section without names of list entries, such as `accounts.webhook`.
    pub(super) path: &'static str,
    pub(super) form: GroupForm,
    pub(super) doc: &'static str,
    pub(super) keys: &'static [SettingKey],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupForm {
    /// A section which always exists.
    Section,
    /// A section which exists only if set.
    Optional,
    /// A list of sections, identified by the value of this key.
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

/// The key which identifies entries of a list; `None` for a section which is not a list.
pub(super) fn naming_key(path: &str) -> Option<&'static str> {
    match group(path)?.form {
        GroupForm::List(naming) => Some(naming),
        GroupForm::Section | GroupForm::Optional => None,
    }
}

macro_rules! limits {
    (
        reads { $($(#[$read_doc:meta])* $read:ident: $read_types:tt
            { name: $read_name:literal, rpc: $read_rpc:literal, published_limit: $read_limit:literal, }
        )* }
        mutations { $($(#[$doc:meta])* $mutation:ident: $types:tt
            { name: $name:literal, rpc: $rpc:literal, published_limit: $limit:literal, }
        )* }
    ) => {
        /// A key for each Walmart operation.
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
        doc: "The gRPC listener for callers.",
        keys: &[
            address(
                "listen",
                Is(r#""127.0.0.1:50051""#),
                "Address and port for calls, or unix:PATH for a Unix socket, which only programs of the same user on this \
                 machine reach. Without [[clients]] there is no authentication, and the address must be a loopback \
                 address or a Unix socket.",
            ),
            flag(
                "reflection",
                Is("true"),
                "Whether callers may list services and messages (as grpcurl does). Authentication is the same as for \
                 calls.",
            ),
            span(
                "max_connection_age",
                Is(r#""30m""#),
                "Age at which a connection gets GOAWAY, plus or minus 10 %, so that callers spread over new replicas. \
                 Calls in flight finish.",
            ),
            count(
                "max_calls_per_client",
                "calls",
                Is("512"),
                "Maximum unary calls in flight for each of [[clients]]. The default is half of the 1,024 for all \
                 clients together, so that no client can take the whole capacity. clients.max_concurrent sets a lower \
                 limit for a single client.",
            ),
            count(
                "max_streams_per_client",
                "streams",
                Is("10000"),
                "Maximum open streams for each of [[clients]]. The default is half of the 20,000 for all clients \
                 together.",
            ),
        ],
    },
    KeyGroup {
        path: "grpc.tls",
        form: GroupForm::Optional,
        doc: "TLS for calls. Without this section, calls are plaintext.",
        keys: &[
            file(
                "cert_file",
                Example(r#""/etc/order-gateway/tls/tls.crt""#),
                "Certificate chain, PEM. Required in this section.",
            ),
            file(
                "key_file",
                Example(r#""/etc/order-gateway/tls/tls.key""#),
                "Private key of the certificate, PEM. Required in this section.",
            ),
            file(
                "client_ca_file",
                Example(r#""/etc/order-gateway/tls/ca.crt""#),
                "Authorities for client certificates, PEM. If set, callers need a certificate from one of these \
                 authorities (mTLS).",
            ),
        ],
    },
    KeyGroup {
        path: "http",
        form: GroupForm::Section,
        doc: "The HTTP listener: Walmart's webhooks at /webhooks/walmart/ID, to be reachable from outside, and the \
              probes /livez and /readyz. Without admin.listen, this listener also serves the paths of [admin].",
        keys: &[
            address("listen", Is(r#""127.0.0.1:8080""#), "Address and port, plaintext."),
            flag(
                "page",
                Is("true"),
                "Whether to serve a status page at / and the same data at /status.json: ids, counts and times, \
                 without authentication.",
            ),
        ],
    },
    KeyGroup {
        path: "admin",
        form: GroupForm::Section,
        doc: "The operators' listener: the status page at /, /status.json and /metrics. There is no authentication, \
              so the listener must not be reachable from outside.",
        keys: &[
            address(
                "listen",
                Example(r#""127.0.0.1:8081""#),
                "Address and port of a separate listener, plaintext. Without a separate listener, http.listen serves \
                 the paths of [admin].",
            ),
            texts(
                "hosts",
                Is("[]"),
                "Accepted DNS names in the Host header. A request for any other name is refused with 421, which \
                 prevents a foreign web page from reading the data in a browser (DNS rebinding). localhost and IP \
                 addresses are always accepted.",
            ),
        ],
    },
    KeyGroup {
        path: "store",
        form: GroupForm::Section,
        doc: "Storage of the ledger and the feeds: a SQLite file for a single process, or a Postgres database for many \
              replicas. All keys besides url are for Postgres, and are refused with SQLite. `serve` does not start with \
              Postgres yet.",
        keys: &[
            text(
                "url",
                Is(r#""sqlite://order-gateway.db""#),
                "sqlite://PATH (sqlite:///PATH for an absolute path) for a single process, on a local disk; SQLite \
                 adds files with -wal, -shm and -lock. postgres://user@host:5432/db for many replicas, PostgreSQL 14 or \
                 later; one host, which a failover moves, and no query. At every start a SQLite file is checked for \
                 damage, for at most a quarter of a second: a small file completely, a large file in part. Damage \
                 found later makes the store fail.",
            ),
            secret(
                "password",
                "Password of the database user. Not accepted inside the url. Read again at every connect.",
            ),
            choice(
                "tls",
                &["verify", "off"],
                Example(r#""verify""#),
                "\"verify\": encrypted, and the server's certificate must be for the host of the url. \"off\": not \
                 encrypted. The default is \"verify\", and \"off\" for a loopback address.",
            ),
            file(
                "ca_file",
                Example(r#""/etc/order-gateway/postgres/ca.crt""#),
                "Authorities for the server's certificate, PEM, with tls = \"verify\". By default the authorities which \
                 the machine trusts.",
            ),
            count(
                "connections",
                "connections",
                WithPostgres("8"),
                "Maximum connections of each replica, 8 to 100. Seven have one use each, all others are for reads. The \
                 server needs max_connections for all replicas, and for those of the next version during an update.",
            ),
            span(
                "lease",
                WithPostgres(r#""15s""#),
                "Time for which a replica counts as alive after its last heartbeat, 5s to 60s. Work of a replica that \
                 was killed goes on at the others after lease + walmart.attempt_timeout. Should be longer than \
                 walmart.attempt_timeout. All replicas need the same value.",
            ),
            flag(
                "pooler",
                WithPostgres("false"),
                "Whether a pooler in transaction mode, such as PgBouncer, stands before the server. Then no statement \
                 is prepared, options are set in each transaction, and new events are polled for instead of notified.",
            ),
            flag(
                "migrate",
                WithPostgres("true"),
                "Whether a replica brings the schema up to date at its start. With false, `order-gateway store migrate` \
                 must be run before a new version starts.",
            ),
            text(
                "schema",
                WithPostgres(r#""order_gateway""#),
                "Schema with all tables: 1 to 40 lower-case letters, digits and underscores, not beginning with a digit. \
                 Created if it is missing and migrate is true.",
            ),
        ],
    },
    KeyGroup {
        path: "walmart",
        form: GroupForm::Section,
        doc: "The connection to Walmart.",
        keys: &[
            choice(
                "profile",
                &["production", "sandbox"],
                Is(r#""production""#),
                "\"production\", or \"sandbox\", which also sends Authorization: Bearer, martId, buId and WM_SANDBOX: \
                 v2.",
            ),
            url(
                "base_url",
                Example(r#""https://marketplace.walmartapis.com""#),
                "Base URL of Walmart's API, on any host, without /v3, which the paths of the calls begin with. The \
                 default depends on the profile: https://marketplace.walmartapis.com or \
                 https://sandbox.walmartapis.com.",
            ),
            text("service_name", Is(r#""Walmart Marketplace""#), "Sent as WM_SVC.NAME."),
            span(
                "attempt_timeout",
                Is(r#""10s""#),
                "Maximum time of an attempt on the wire. Waiting for an access token or for the rate limit does not \
                 count.",
            ),
            text(
                "return_orders_path",
                Is(r#""/v3/fulfillment/return-orders""#),
                "Path of returns of Multichannel orders. For the sandbox, Walmart's pages also give \
                 /v3/fulfillment/orders-fulfillments/return-orders.",
            ),
            duration(
                "webhook_check_interval",
                Is(r#""24h""#),
                "Time between two checks of an account's webhook subscriptions at Walmart, which GetStatus and a metric \
                 show; also checked at the start and after each change. \"0s\" turns the check off.",
            ),
        ],
    },
    KeyGroup {
        path: "walmart.limits",
        form: GroupForm::Section,
        doc: "Initial rate limits in calls per minute, for each account and operation. Walmart's answers correct the \
              limits. The defaults are Walmart's published limits.",
        keys: LIMITS,
    },
    KeyGroup {
        path: "walmart.retry",
        form: GroupForm::Section,
        doc: "Retries of failed calls which can be repeated safely.",
        keys: &[count(
            "max_attempts",
            "attempts",
            Is("3"),
            "Maximum attempts per call, including the first. 1 turns retries off.",
        )],
    },
    KeyGroup {
        path: "walmart.promise_cache",
        form: GroupForm::Section,
        doc: "Cache for the answers to identical promise requests.",
        keys: &[duration("ttl", Is(r#""30s""#), "Lifetime of a cached answer. \"0s\" turns the cache off.")],
    },
    KeyGroup {
        path: "ledger",
        form: GroupForm::Section,
        doc: "The ledger records every creation and cancellation, so that each happens once. These settings control \
              how an unknown outcome is resolved.",
        keys: &[
            span(
                "settle_window",
                Is(r#""120s""#),
                "Time during which a sent order may be missing in Walmart's answers before the order counts as not \
                 created. At least 30s with walmart.profile = \"production\": with a shorter window, an order would \
                 be created twice if Walmart is slow to show the first.",
            ),
            spans(
                "lookup_delays",
                Is(r#"["500ms", "1500ms", "5s", "15s", "30s", "60s", "120s"]"#),
                "Delays of the look-ups at Walmart, counted from the time the outcome became unknown. Increasing; at \
                 least three with walmart.profile = \"production\".",
            ),
            span(
                "not_after",
                Is(r#""15m""#),
                "Age of a call after which nothing is sent again. At least settle_window with walmart.profile = \
                 \"production\".",
            ),
            time(
                "look_first_until",
                Example(r#""2026-11-30T18:00:00Z""#),
                "To be set after restoring a backup: creations before this time are looked up at Walmart by order \
                 number before being sent, because the restored store may miss orders already created. Such creations \
                 are limited to the rate of look-ups (walmart.limits.status).",
            ),
            span(
                "retention",
                Is(r#""90d""#),
                "Time for which a final entry is kept after the last change; at least 90d. Number, fingerprint and \
                 answer of a created order are kept forever.",
            ),
        ],
    },
    KeyGroup {
        path: "feed",
        form: GroupForm::Section,
        doc: "The feeds of cancel intents and order updates.",
        keys: &[
            span("heartbeat_interval", Is(r#""10s""#), "Interval of heartbeats on a stream without events."),
            span("retention", Is(r#""30d""#), "Time for which events are kept and can be read again."),
            span(
                "max_retention",
                Is(r#""90d""#),
                "Time for which events not settled by a subscription with hold_retention are kept; at least \
                 retention. Older events are dropped, and the subscription reports LOST_EVENTS.",
            ),
            count(
                "max_subscriptions_per_client",
                "subscriptions",
                Is("1000"),
                "Maximum existing subscriptions created by each of [[clients]].",
            ),
        ],
    },
    KeyGroup {
        path: "feed.backfill",
        form: GroupForm::Section,
        doc: "The search for intents to cancel that no webhook told. The gateway reads the orders of each account that \
              are not shipped yet, and puts the lines with an intent flag of which it has no intent into the feed, with \
              origin BACKFILL.",
        keys: &[
            flag(
                "enabled",
                Is("true"),
                "Whether orders are searched. Each search costs at least two calls of ListOrders.",
            ),
            span(
                "interval",
                Is(r#""10m""#),
                "Time between two searches of an account. The first search is at the start. After three intervals \
                 without a complete search an alert fires.",
            ),
            span("window", Is(r#""45d""#), "Age of the oldest orders searched; at most 180d, Walmart's limit."),
            texts(
                "ship_node_types",
                Is(r#"["SellerFulfilled"]"#),
                "Types of ship nodes whose orders are searched, each by searches of its own.",
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
                "Collector for traces and metrics, by OTLP over gRPC, such as http://collector:4317, or over HTTP with \
                 OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf. Empty turns the export off, unless OTEL_* variables are \
                 set.",
            ),
            share(
                "trace_sample_ratio",
                Is("0.01"),
                "Part of the calls to trace, 0 to 1, if the caller has not decided.",
            ),
            choice(
                "access_log",
                &["failures", "all", "off"],
                Is(r#""failures""#),
                "Calls to log: \"failures\" (including slow calls), \"all\", or \"off\".",
            ),
        ],
    },
    KeyGroup {
        path: "shutdown",
        form: GroupForm::Section,
        doc: "The end of the process.",
        keys: &[duration("grace", Is(r#""20s""#), "Time for calls in flight to finish after SIGTERM.")],
    },
    KeyGroup {
        path: "accounts",
        form: GroupForm::List("id"),
        doc: "A section for each seller account; at least one.",
        keys: &[
            text(
                "id",
                Example(r#""acme""#),
                "Name of the account at this gateway: 1 to 64 ASCII letters, digits, '-' or '_'. Used in requests and \
                 in the webhook's path. The name can be changed at a restart; stored data stays with the account. \
                 Required.",
            ),
            text(
                "partner_id",
                Example(r#""10000000000""#),
                "Walmart's id of the seller, unique among the accounts. The ledger, the feeds and the limits are \
                 stored by this id, so do not change partner_id when changing id. Required.",
            ),
            text("client_id", Example(r#""…""#), "Client id of the API key. Required."),
            secret("client_secret", "Client secret of the API key. Required."),
            text("mart_id", Is(r#""202""#), "Business unit, for header.headerAttributes.martId. 202 is Walmart US."),
            text("bu_id", Is(r#""0""#), "Business sub-unit, for header.headerAttributes.buId."),
            text(
                "channel_type",
                Example(r#""…""#),
                "Channel type from Walmart's onboarding, sent as WM_CONSUMER.CHANNEL.TYPE. Some accounts get 403 \
                 without it. By default the header is left out.",
            ),
            secret(
                "refresh_token",
                "The seller's refresh token, for solution providers: access tokens are then fetched by grant \
                 refresh_token with WM_PARTNER.ID, instead of client_credentials. Walmart's refresh tokens live 365 \
                 days.",
            ),
        ],
    },
    KeyGroup {
        path: "accounts.webhook",
        form: GroupForm::Optional,
        doc: "Authentication of Walmart's webhooks for this account. Without this section, webhooks are refused. \
              Walmart posts to http.listen, path /webhooks/walmart/ID; docs/OPERATIONS.md explains the setup at \
              Walmart.",
        keys: &[
            choice(
                "auth",
                &["hmac", "hmac_v2", "basic", "oauth", "none"],
                Example(r#""hmac""#),
                "\"hmac\" (HMAC of the body, in a header), \"hmac_v2\" (HMAC of method, path, timestamp and body \
                 hash, in fixed WM_SEC.* headers), \"basic\", \"oauth\", or \"none\" (for local work only). Required.",
            ),
            text(
                "header",
                Is(r#""X-Walmart-Auth""#),
                "hmac, basic, oauth: the header with the HMAC, the credentials or the token.",
            ),
            secrets("secret", "hmac, hmac_v2: the shared secret, or a list of secrets while rotating."),
            span(
                "timestamp_tolerance",
                Is(r#""24h""#),
                "hmac_v2: maximum age of a delivery. A long time is harmless, because a repeated delivery is stored \
                 once. A short time, such as 5m, refuses Walmart's later tries if these carry the timestamp of the \
                 first.",
            ),
            text("username", Example(r#""walmart""#), "basic: the user name."),
            secret("password", "basic: the password."),
            text(
                "client_id",
                Example(r#""…""#),
                "oauth: the client id with which Walmart fetches a token from this gateway.",
            ),
            secrets(
                "client_secret",
                "oauth: the client secret, or a list of secrets while rotating. Tokens issued before stay valid for \
                 the rest of their hour.",
            ),
        ],
    },
    KeyGroup {
        path: "clients",
        form: GroupForm::List("name"),
        doc: "A section for each caller. Without callers there is no authentication, and grpc.listen must be a \
              loopback address.",
        keys: &[
            text(
                "name",
                Example(r#""oms""#),
                "Name in logs and metrics: 1 to 64 ASCII letters, digits, '-' or '_'. Required.",
            ),
            secrets(
                "token",
                "Token sent by the caller as `authorization: Bearer …`, or a list of tokens while rotating. In \
                 token_file each line is a token: add the new token, change the caller, remove the old token, all \
                 without a restart. Either token or san is required.",
            ),
            text(
                "san",
                Example(r#""spiffe://example.com/oms""#),
                "URI or DNS name in the caller's certificate; needs grpc.tls.client_ca_file. URIs are compared \
                 exactly. DNS names are compared without regard to case, and a certificate for *.example.com matches \
                 oms.example.com (RFC 6125). Either token or san is required.",
            ),
            texts(
                "accounts",
                Example(r#"["acme"]"#),
                "Ids of the accounts the client may act for, or [\"*\"]. Required.",
            ),
            texts("services", Example(r#"["FulfillmentService"]"#), "Services the client may call. By default all."),
            count(
                "max_concurrent",
                "calls",
                Example("100"),
                "Maximum calls in flight. By default only the limits of [grpc] apply.",
            ),
            count(
                "per_second",
                "calls a second",
                Example("50"),
                "Maximum calls per second. By default there is no limit.",
            ),
        ],
    },
];
