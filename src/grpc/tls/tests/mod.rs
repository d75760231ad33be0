mod folder;

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use self::folder::*;
use super::material::{CertificateLifetimes, CertificateValidity, TlsMaterial};
use super::*;
use crate::config::SubjectAltName;
use crate::ports::clock::Clock;
use crate::telemetry::metrics::{Metrics, TextFormat};

const OMS: &str = "spiffe://acme/oms";

fn load(folder: &TlsFolder, mtls: bool) -> (TlsFiles, Metrics) {
    let metrics = Metrics::new([]);
    (TlsFiles::load(&folder.settings(mtls), Clock::system(), metrics.callers.clone()).unwrap(), metrics)
}

/// As often as a change takes to count.
fn settle(files: &mut TlsFiles) {
    for _ in 0..3 {
        files.check();
    }
}

#[tokio::test]
async fn a_client_is_known_by_the_names_of_its_certificate() {
    let authority = Authority::new();
    let (files, _) = load(&TlsFolder::new(&authority.server(NOW), Some(&authority.pem())), true);
    let oms = authority.connector(Some(&authority.client(OMS, NOW)));
    let (_, names) = shake(&files.tls(), &oms).await.unwrap();
    let san = |name| SubjectAltName::parse(name).unwrap();
    assert!(names.contains(&san(OMS)) && !names.contains(&san("spiffe://acme/other")));
    assert_eq!(names.first(), Some(OMS));
    let nameless = authority.connector(Some(&authority.nameless()));
    assert_eq!(shake(&files.tls(), &nameless).await.unwrap().1, PeerNames::default());
}

#[tokio::test]
async fn certificates_that_prove_nothing_are_refused_by_their_problem() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (files, _) = load(&TlsFolder::new(&authority.server(NOW), Some(&authority.pem())), true);
    for (client, found) in [
        (None, "no_certificate"),
        (Some(other.client(OMS, NOW)), "unknown_issuer"),
        (Some(authority.client(OMS, PAST)), "expired"),
        (Some(authority.client(OMS, FUTURE)), "bad_certificate"),
    ] {
        let refused = shake(&files.tls(), &authority.connector(client.as_ref())).await.map(|_| ()).unwrap_err();
        assert_eq!(problem(&refused), Some(found), "{refused}");
    }
    let (left, _) = tokio::io::duplex(1);
    drop(left);
    assert_eq!(problem(&io::ErrorKind::UnexpectedEof.into()), None, "who leaves is not told of");
}

#[tokio::test]
async fn a_session_is_not_resumed_where_certificates_say_who_calls() {
    let authority = Authority::new();
    for (mtls, kind) in [(true, rustls::HandshakeKind::Full), (false, rustls::HandshakeKind::Resumed)] {
        let (files, _) = load(&TlsFolder::new(&authority.server(NOW), Some(&authority.pem())), mtls);
        let oms = authority.connector(Some(&authority.client(OMS, NOW)));
        let (mut first, _) = shake(&files.tls(), &oms).await.unwrap();
        // The client has seen its tickets once it has read something.
        first.server.write_all(b"x").await.unwrap();
        first.client.read_exact(&mut [0]).await.unwrap();
        let (second, _) = shake(&files.tls(), &oms).await.unwrap();
        assert_eq!(second.server.get_ref().1.handshake_kind(), Some(kind), "mTLS: {mtls}");
    }
}

#[tokio::test]
async fn new_files_are_for_new_connections_and_old_ones_go_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = TlsFolder::new(&old.server(NOW), Some(&old.pem()));
    let (mut files, metrics) = load(&folder, true);
    let tls = files.tls();
    let old_client = old.connector(Some(&old.client(OMS, NOW)));
    let (mut open, _) = shake(&tls, &old_client).await.unwrap();

    let (cert, key) = new.server(NOW);
    folder.write("cert", &cert);
    folder.write("key", &key);
    folder.write("ca", &new.pem());
    settle(&mut files);
    let new_client = new.connector(Some(&new.client(OMS, NOW)));
    assert!(shake(&tls, &new_client).await.is_ok());
    assert!(shake(&tls, &old_client).await.is_err(), "its authority is no longer trusted, nor does it trust ours");
    let still_old_client = new.connector(Some(&old.client(OMS, NOW)));
    assert!(shake(&tls, &still_old_client).await.is_err());

    open.client.write_all(b"still here").await.unwrap();
    let mut heard = [0; 10];
    open.server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"still here");
    assert_eq!(metrics.callers.tls_reloads_refused.get(), 0);
}

#[tokio::test]
async fn what_is_not_whole_leaves_the_old_in_force_and_is_counted_once() {
    let authority = Authority::new();
    let first = authority.server(NOW);
    let ca = authority.pem();
    let folder = TlsFolder::new(&first, Some(&ca));
    let (mut files, metrics) = load(&folder, true);
    let client = authority.connector(Some(&authority.client(OMS, NOW)));
    let (second, expired, early) = (authority.server(NOW), authority.server(PAST), authority.server(FUTURE));
    let (old_ca, young_ca) = (Authority::of(PAST).pem(), Authority::of(FUTURE).pem());
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let half = |(cert, key): &Pair| (cert.clone(), cut(key));
    let bad: Vec<(&str, Pair, String)> = vec![
        ("a new certificate with the old key", (second.0.clone(), first.1.clone()), ca.clone()),
        ("the old certificate with a new key", (first.0.clone(), second.1.clone()), ca.clone()),
        ("a certificate that is cut off", (cut(&second.0), second.1.clone()), ca.clone()),
        ("a key that is cut off", half(&second), ca.clone()),
        ("an empty certificate", (String::new(), second.1.clone()), ca.clone()),
        ("an empty key", (second.0.clone(), String::new()), ca.clone()),
        ("a key in the certificate's place", (second.1.clone(), second.1.clone()), ca.clone()),
        ("an expired certificate", expired, ca.clone()),
        ("a certificate of the future", early, ca.clone()),
        ("no authority", second.clone(), String::new()),
        ("an authority that is cut off", second.clone(), cut(&ca)),
        ("an expired authority", second.clone(), old_ca.clone()),
        ("an authority of the future", second.clone(), young_ca.clone()),
        ("no text at all", ("\u{1}\u{2}".into(), "\u{1}".into()), "\u{3}".into()),
    ];
    let tls = files.tls();
    let in_force = || tls.current.load_full();
    let before = in_force();
    let count = bad.len() as u64;
    for (at, (what, (cert, key), ca)) in bad.into_iter().enumerate() {
        folder.write("cert", &cert);
        folder.write("key", &key);
        folder.write("ca", &ca);
        settle(&mut files);
        settle(&mut files);
        assert_eq!(metrics.callers.tls_reloads_refused.get(), at as u64 + 1, "{what}");
        assert!(Arc::ptr_eq(&in_force(), &before), "{what}");
        assert!(shake(&tls, &client).await.is_ok(), "{what}");
    }
    folder.remove("key");
    settle(&mut files);
    assert_eq!(metrics.callers.tls_reloads_refused.get(), count + 1);
    assert!(shake(&tls, &client).await.is_ok());

    // Whole again: it is taken. Of two authorities one may have expired.
    folder.write("cert", &second.0);
    folder.write("key", &second.1);
    folder.write("ca", &(ca + &old_ca));
    settle(&mut files);
    assert_eq!(metrics.callers.tls_reloads_refused.get(), count + 1);
    assert!(!Arc::ptr_eq(&in_force(), &before));
    assert!(shake(&tls, &client).await.is_ok());
}

#[test]
fn a_pair_is_taken_when_its_second_half_has_come() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority.server(NOW), None);
    let (mut files, metrics) = load(&folder, false);
    let before = files.tls().current.load_full();
    let (cert, key) = authority.server(NOW);
    folder.write("cert", &cert);
    files.check();
    folder.write("key", &key);
    files.check();
    assert!(Arc::ptr_eq(&files.tls().current.load_full(), &before), "it may not be all yet");
    files.check();
    assert!(!Arc::ptr_eq(&files.tls().current.load_full(), &before));
    assert_eq!(metrics.callers.tls_reloads_refused.get(), 0, "halves that nobody saw twice are no news");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_future_is_taken_when_its_time_comes() {
    let authority = Authority::new();
    let folder = TlsFolder::new(&authority.server((2020, 2030)), None);
    let start: jiff::Timestamp = "2026-12-31T00:00:00Z".parse().unwrap();
    let metrics = Metrics::new([]);
    let clock = Clock::following(start.into());
    let mut files = TlsFiles::load(&folder.settings(false), clock, metrics.callers.clone()).unwrap();
    let before = files.tls().current.load_full();
    let (cert, key) = authority.server((2027, 2031));
    folder.write("cert", &cert);
    folder.write("key", &key);
    settle(&mut files);
    assert_eq!(metrics.callers.tls_reloads_refused.get(), 1);
    assert!(Arc::ptr_eq(&files.tls().current.load_full(), &before));
    tokio::time::advance(Duration::from_hours(24)).await;
    files.check();
    assert!(!Arc::ptr_eq(&files.tls().current.load_full(), &before));
    let end: jiff::Timestamp = "2031-01-01T00:00:00Z".parse().unwrap();
    let series =
        format!("order_gateway_tls_certificate_expiry_timestamp_seconds{{file=\"cert_file\"}} {}\n", end.as_second());
    let text = metrics.encode(TextFormat::Plain).unwrap();
    assert!(text.contains(&series), "{series} is not in\n{text}");
}

#[test]
fn at_the_start_a_bad_file_is_a_line_with_its_key() {
    let authority = Authority::new();
    let (good, other) = (authority.server(NOW), authority.server(NOW));
    let ca = authority.pem();
    let cut = |text: &str| text[..text.len() / 2].to_owned();
    let line = |cert: &str, key: &str, ca: &str| {
        let folder = TlsFolder::new(&(cert.into(), key.into()), Some(ca));
        let metrics = Metrics::new([]);
        let loaded = TlsFiles::load(&folder.settings(true), Clock::system(), metrics.callers);
        let line = loaded.err().unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        line.replace(folder.path("").to_str().unwrap(), "")
    };
    assert_eq!(line("x", &good.1, &ca), "grpc.tls.cert_file: cert holds no certificate in PEM");
    assert_eq!(line(&good.0, "", &ca), "grpc.tls.key_file: key holds no private key in PEM");
    assert_eq!(line(&good.0, &cut(&good.1), &ca), "grpc.tls.key_file: key ends in the middle of a PEM section");
    assert_eq!(
        line(&good.0, &other.1, &ca),
        "grpc.tls.key_file: key is not the key of the certificate in cert_file, `CN=rcgen self signed cert`"
    );
    assert_eq!(
        line(&good.0, &good.1, &good.1),
        "grpc.tls.client_ca_file: ca holds no certificate in PEM, but a private key"
    );
    // The files are mixed up.
    assert_eq!(line(&good.1, &good.0, &ca), "grpc.tls.cert_file: cert holds no certificate in PEM, but a private key");
    assert_eq!(line(&good.0, &good.0, &ca), "grpc.tls.key_file: key holds no private key in PEM, but a certificate");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let why = "holds no private key in PEM, but a private key that is encrypted: the gateway has no passphrase";
    assert_eq!(line(&good.0, encrypted, &ca), format!("grpc.tls.key_file: key {why}"));
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    assert_eq!(
        line(request, &good.1, &ca),
        "grpc.tls.cert_file: cert holds no certificate in PEM, but a request for a certificate"
    );
    // The parser passes over a section with a mark before it: the next certificate would be taken for the server's.
    let marked = format!("\u{feff}{}{ca}", good.0);
    let why = "has a byte order mark: save it as UTF-8 without one";
    assert_eq!(line(&marked, &good.1, &ca), format!("grpc.tls.cert_file: cert {why}"));
    let joined = format!("{}\u{feff}{ca}", good.0);
    assert_eq!(line(&joined, &good.1, &ca), format!("grpc.tls.cert_file: cert {why}"));
    assert_eq!(line(&good.0, &format!("\u{feff}{}", good.1), &ca), format!("grpc.tls.key_file: key {why}"));
    assert_eq!(line(&good.0, &good.1, &format!("\u{feff}{ca}")), format!("grpc.tls.client_ca_file: ca {why}"));
    // The issuer comes first: the key is right, the other file is wrong.
    assert_eq!(
        line(&format!("{ca}{}", good.0), &good.1, &ca),
        "grpc.tls.cert_file: cert has its certificates in the wrong order: the key is that of number 2, \
         `CN=rcgen self signed cert`, which must be the first"
    );
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(line(broken, &good.1, &ca), "grpc.tls.cert_file: cert holds a certificate that cannot be read");
    let huge = "x".repeat(1024 * 1024 + 1);
    assert_eq!(line(&good.0, &good.1, &huge), "grpc.tls.client_ca_file: ca is larger than 1 MiB");
}

#[test]
fn files_of_other_encodings_are_named() {
    let authority = Authority::new();
    let (cert, key) = authority.server(NOW);
    let read = |cert: &[u8]| TlsMaterial::read(cert, key.as_bytes(), None, Clock::system()).err().unwrap().to_string();
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(cert.bytes().flat_map(|b| [b, 0])).collect();
    assert_eq!(read(&utf16), "is UTF-16: save it as UTF-8 without a byte order mark");
    assert_eq!(read(b"\x30\x82\x01\x00"), "holds no certificate in PEM, but DER");
}

#[test]
fn a_chain_in_the_wrong_order_is_used_with_a_warning() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (cert, key) = authority.server(NOW);
    let order =
        |chain: String| TlsMaterial::read(chain.as_bytes(), key.as_bytes(), None, Clock::system()).unwrap().order;
    assert_eq!(order(cert.clone()), None);
    assert_eq!(order(format!("{cert}{}", authority.pem())), None);
    let told = order(format!("{cert}{}{}", other.pem(), authority.pem())).unwrap();
    assert!(told.contains("number 2, `CN=authority"), "{told}");
    assert!(told.contains("is not the issuer of number 1"), "{told}");
}

#[test]
fn at_the_start_an_expired_certificate_is_used() {
    let authority = Authority::new();
    for years in [PAST, FUTURE] {
        load(&TlsFolder::new(&authority.server(years), None), false);
    }
    load(&TlsFolder::new(&authority.server(NOW), Some(&Authority::of(PAST).pem())), true);
}

#[test]
fn the_end_is_near_in_time_to_act() {
    let day = 24 * 60 * 60;
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    let (from, until) = (at("2020-01-01T00:00:00Z"), at("2090-01-01T00:00:00Z"));
    let authority = Authority::new();
    let (cert, key) = authority.server(NOW);
    let material = TlsMaterial::read(cert.as_bytes(), key.as_bytes(), None, Clock::system()).unwrap();
    let lifetimes: CertificateLifetimes = material.cert;
    assert_eq!((lifetimes.from(), lifetimes.until()), (from, until));
    for (now, standing) in [
        (from - 1, CertificateValidity::NotYet),
        (from, CertificateValidity::Good),
        (until - 7 * day, CertificateValidity::Good),
        (until - 7 * day + 1, CertificateValidity::EndsSoon),
        (until, CertificateValidity::EndsSoon),
        (until + 1, CertificateValidity::Expired),
    ] {
        assert_eq!(lifetimes.validity(now), standing, "{now}");
    }
}
