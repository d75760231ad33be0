//! `[[clients]]`: callers, with credentials, rights and limits.

use std::num::NonZeroU32;

use rustls::pki_types::DnsName;

use super::ClientTokens;
use crate::domain::account::AccountId;

/// A caller, authenticated by tokens or by a certificate name, never by both.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientConfig {
    /// Unique name, used in logs and metrics.
    pub name: String,
    /// Tokens accepted in `authorization: Bearer …`. Empty if `san` is set.
    pub tokens: Vec<ClientTokens>,
    /// A subject alternative name of the caller's certificate, with mTLS.
    pub san: Option<SubjectAltName>,
    /// Accounts the caller may act for.
    pub accounts: AccountSet,
    /// Short names of the permitted services. Absent: all.
    pub services: Option<Vec<String>>,
    /// Maximum calls in flight. Absent: no limit of this client's own.
    pub max_concurrent: Option<NonZeroU32>,
    /// Maximum calls per second. Absent: no limit of this client's own.
    pub per_second: Option<NonZeroU32>,
}

/// A subject alternative name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A URI, such as a SPIFFE id.
    Uri(String),
    /// A DNS name in lower case. A certificate may contain a wildcard, but the name of a client may not.
    Dns(DnsName<'static>),
}

impl SubjectAltName {
    /// Parses a name. A URI contains a colon; a DNS name does not.
    ///
    /// # Errors
    ///
    /// The message states the required form of the setting.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            return Ok(Self::Uri(text.to_owned()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let dns = DnsName::try_from(name).map_err(|_| {
            "must be a URI such as \"spiffe://example.com/oms\", or a DNS name without a wildcard; letters beyond ASCII in \
             their xn-- form"
        })?;
        Ok(Self::Dns(dns))
    }

    /// The name as written in the settings; a DNS name in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Uri(uri) => uri,
            Self::Dns(name) => name.as_ref(),
        }
    }
}

/// A selection of the configured accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountSet {
    /// All accounts, including accounts added later.
    All,
    /// Only the listed accounts; at least one, all configured.
    Some(Vec<AccountId>),
}

impl AccountSet {
    /// Whether the selection includes `account`.
    pub fn contains(&self, account: &AccountId) -> bool {
        match self {
            AccountSet::All => true,
            AccountSet::Some(ids) => ids.contains(account),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ConfigFault, TokenHash};

    const ACCOUNT: &str =
        "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"key\"\nclient_secret = \"s\"\n";

    fn loaded(text: &str) -> Config {
        Config::load(text, []).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    fn faults(text: &str) -> Vec<String> {
        let faults = Config::load(text, []).err().unwrap_or_default();
        faults.iter().map(ConfigFault::to_string).collect()
    }

    #[test]
    fn a_client_may_have_several_tokens_and_no_two_share_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokens");
        std::fs::write(&file, "three\nfour\n").unwrap();
        let client = |name: &str, token: &str| format!("[[clients]]\nname = \"{name}\"\n{token}\naccounts = [\"*\"]\n");
        let good = format!(
            "{ACCOUNT}{}{}",
            client("a", r#"token = ["one", "two"]"#),
            client("b", &format!("token_file = {file:?}"))
        );
        let config = loaded(&good);
        let accepted = |client: usize, token: &str| {
            config.clients[client].tokens.iter().any(|tokens| tokens.accept(&TokenHash::of(token.as_bytes())))
        };
        for (token, of) in [("one", 0), ("two", 0), ("three", 1), ("four", 1)] {
            assert!(accepted(of, token) && !accepted(1 - of, token), "{token}");
        }
        let dump = config.dump();
        assert!(dump.contains("token = [\"[redacted]\", \"[redacted]\"]\n"), "{dump}");
        assert!(dump.contains(&format!("token_file = {file:?}\n")), "{dump}");
        assert_eq!(loaded(&dump).dump(), dump);

        let twice = good + &client("c", r#"token = ["new", "four"]"#);
        assert_eq!(faults(&twice), ["clients.c.token: is also used by clients.b"]);
        let none = format!("{ACCOUNT}{}", client("a", "token = []"));
        assert_eq!(faults(&none), ["clients.a.token: must not be empty (line 8)"]);
    }

    #[test]
    fn a_clients_name_in_its_certificate_is_a_uri_or_a_dns_name() {
        let settings = |san: &str| {
            let dir = tempfile::tempdir().unwrap();
            let [cert, key, ca] = ["cert", "key", "ca"].map(|name| dir.path().join(name));
            for file in [&cert, &key, &ca] {
                std::fs::write(file, "").unwrap();
            }
            let tls = format!("[grpc.tls]\ncert_file = {cert:?}\nkey_file = {key:?}\nclient_ca_file = {ca:?}\n");
            let client = |name: &str, san: &str| {
                format!("[[clients]]\nname = \"{name}\"\nsan = \"{san}\"\naccounts = [\"*\"]\n")
            };
            let text = format!("{tls}{ACCOUNT}{}{}", client("a", san), client("b", "oms.acme.com"));
            Config::load(&text, []).map(|config| config.clients[0].san.clone().unwrap().as_str().to_owned())
        };
        for (san, known_as) in [
            ("spiffe://acme/oms", "spiffe://acme/oms"),
            ("spiffe://acme/*", "spiffe://acme/*"),
            ("Mesh.Acme.COM.", "mesh.acme.com"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(settings(san).unwrap(), known_as);
        }
        for san in ["*.acme.com", "a b", "-a.com", "büro.acme.com", "10.0.0.1", "."] {
            let faults = settings(san).unwrap_err();
            assert!(
                faults.iter().any(|fault| fault.to_string().starts_with("clients.a.san: must be ")),
                "{san}: {faults:?}"
            );
        }
        let twice = settings("OMS.acme.com").unwrap_err();
        assert_eq!(
            twice.iter().map(ConfigFault::to_string).collect::<Vec<_>>(),
            ["clients.b.san: is also used by clients.a"]
        );
    }

    #[test]
    fn the_operators_door_has_an_address_and_names_of_its_own() {
        let admin = |text: &str| Config::load(&format!("[admin]\n{text}\n{ACCOUNT}"), []).map(|config| config.admin);
        let none = admin("").unwrap();
        assert_eq!((none.listen, none.hosts.len()), (None, 0));
        let both = admin("listen = \"127.0.0.1:8081\"\nhosts = [\"Ops.Example.com.\", \"gateway\"]").unwrap();
        assert_eq!(both.listen.unwrap().to_string(), "127.0.0.1:8081");
        assert_eq!(both.hosts, ["ops.example.com", "gateway"]);
        let faults = |text: &str| {
            let faults = admin(text).unwrap_err();
            faults.iter().map(ConfigFault::to_string).collect::<Vec<_>>().join("; ")
        };
        for (port, key) in [(8080, "http"), (50051, "grpc")] {
            let told = faults(&format!("listen = \"127.0.0.1:{port}\""));
            assert_eq!(told, format!("admin.listen: is also used by {key}.listen (line 2)"));
        }
        for host in ["*.example.com", "ops:8081", "http://ops", "10.0.0.1", ""] {
            let told = faults(&format!("hosts = [\"{host}\"]"));
            assert!(told.starts_with("admin.hosts: must be DNS names"), "{host}: {told}");
        }
        let ports = "[http]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n";
        assert!(Config::load(&format!("{ports}{ACCOUNT}"), []).is_ok(), "a free port each");
    }

    #[test]
    fn an_open_gateway_listens_on_loopback_addresses_only() {
        let faults_of = |address: &str| faults(&format!("[grpc]\nlisten = \"{address}\"\n{ACCOUNT}")).len();
        for loopback in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1"] {
            assert_eq!(faults_of(loopback), 0, "{loopback}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "[::ffff:0.0.0.0]:1", "[::ffff:10.0.0.1]:1"] {
            assert_eq!(faults_of(open), 1, "{open}");
        }
        // Webhooks come from outside, and prove themselves.
        let http = format!("[http]\nlisten = \"0.0.0.0:8080\"\n{ACCOUNT}");
        assert_eq!(faults(&http), Vec::<String>::new());
        let client = "[[clients]]\nname = \"oms\"\ntoken = \"t\"\naccounts = [\"*\"]\n";
        assert_eq!(faults(&format!("[grpc]\nlisten = \"[::]:1\"\n{ACCOUNT}{client}")), Vec::<String>::new());
        // A list that is there and empty is no list of clients.
        assert_eq!(faults(&format!("clients = []\n[grpc]\nlisten = \"0.0.0.0:1\"\n{ACCOUNT}")).len(), 1);
    }
}
