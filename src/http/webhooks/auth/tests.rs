use ::base64::Engine as _;
use ::base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use http::Request;
use proptest::prelude::*;
use ring::hmac;

use super::*;
use crate::config::Secret;

/// The vectors of Walmart's fact sheet.
const SECRET: &str = "test-secret-not-real";
const BODY: &str = r#"{"source":{"eventType":"INTENT_TO_CANCEL","eventId":"e-1"},"payload":{"purchaseOrderId":"1"}}"#;
const HEX: &str = "ec46aa2a788890e0f58a6395b180271d675c85a020e16f7c2f24f76ac91282e8";
const BASE64: &str = "7EaqKniIkOD1imOVsYAnHWdchaAg4W98LyT3askSgug=";
const TIME: u64 = 1_760_000_000;
const V2: &str = "OXjPzVLQhrbTN4efphvOcJAnFKFiCvZdawpkRKumFEM=";
const BASIC: &str = "aG9va3VzZXI6aG9va3Bhc3M=";

const HEADER: &str = "X-Walmart-Auth";

type Headers<'a> = &'a [(&'a str, &'a str)];

fn gate(webhook: WebhookAuth) -> ProofVerifier {
    ProofVerifier::new(AccountId::new("acme").unwrap(), webhook)
}

fn header() -> HeaderName {
    HEADER.parse().unwrap()
}

fn hmac_gate(secrets: &[&str]) -> ProofVerifier {
    let secrets = secrets.iter().map(|secret| Secret::inline(*secret)).collect();
    gate(WebhookAuth::Hmac { header: header(), secrets })
}

fn v2_gate(tolerance: Duration) -> ProofVerifier {
    let secrets = vec![Secret::inline("another"), Secret::inline(SECRET)];
    gate(WebhookAuth::HmacV2 { secrets, timestamp_tolerance: tolerance })
}

fn basic_gate() -> ProofVerifier {
    let (username, password) = ("hookuser".to_owned(), Secret::inline("hookpass"));
    gate(WebhookAuth::Basic { header: header(), username, password })
}

fn oauth_gate(account: &str, client_id: &str, client_secret: &str) -> ProofVerifier {
    rotating_gate(account, client_id, &[client_secret])
}

fn rotating_gate(account: &str, client_id: &str, client_secrets: &[&str]) -> ProofVerifier {
    let client_secrets = client_secrets.iter().map(|secret| Secret::inline(*secret)).collect();
    let client_id = client_id.to_owned();
    ProofVerifier::new(
        AccountId::new(account).unwrap(),
        WebhookAuth::Oauth { header: header(), client_id, client_secrets },
    )
}

fn key() -> TokenKey {
    TokenKey::new(&[7; 32])
}

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn check_at(gate: &ProofVerifier, head: &Parts, body: &str, now: u64) -> Result<(), ProofError> {
    let delivery = UnverifiedDelivery { head, body: Bytes::copy_from_slice(body.as_bytes()) };
    let verified = gate.check(delivery, Duration::from_secs(now), Some(&key()))?;
    assert_eq!(verified.into_bytes(), body);
    Ok(())
}

fn check(gate: &ProofVerifier, headers: &[(&str, &str)]) -> Result<(), ProofError> {
    check_at(gate, &head("/webhooks/walmart/acme", headers), BODY, TIME)
}

#[test]
fn a_signature_of_the_body_is_accepted_in_every_spelling() {
    let gate = hmac_gate(&[SECRET]);
    let bytes = STANDARD.decode(BASE64).unwrap();
    let spellings = [
        HEX.to_owned(),
        HEX.to_uppercase(),
        BASE64.to_owned(),
        STANDARD_NO_PAD.encode(&bytes),
        URL_SAFE.encode(&bytes),
        URL_SAFE_NO_PAD.encode(&bytes),
        format!("sha256={HEX}"),
        format!("SHA256={BASE64}"),
        format!("  {BASE64} "),
        format!("sha-256={HEX}"),
        format!("HMAC-SHA256 {BASE64}"),
        format!("hmac_sha256: {HEX}"),
        format!("v1={}", URL_SAFE_NO_PAD.encode(&bytes)),
        format!("SHA256 = {BASE64}"),
    ];
    for sent in spellings {
        assert_eq!(check(&gate, &[(HEADER, &sent)]), Ok(()), "{sent}");
        assert_eq!(check(&gate, &[("x-walmart-auth", &sent)]), Ok(()), "{sent}");
    }
}

#[test]
fn any_live_secret_is_good_and_no_other() {
    assert_eq!(check(&hmac_gate(&["old", SECRET, "new"]), &[(HEADER, HEX)]), Ok(()));
    assert_eq!(check(&hmac_gate(&["old", "new"]), &[(HEADER, HEX)]), Err(ProofError::Wrong));
}

#[test]
fn a_forged_signature_is_refused() {
    let gate = hmac_gate(&[SECRET]);
    let bytes = STANDARD.decode(BASE64).unwrap();
    for bit in 0..256 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(check(&gate, &[(HEADER, &STANDARD.encode(&forged))]), Err(ProofError::Wrong), "bit {bit}");
    }
    let prefixes = ["=", "9=", "sha256==x", "a b c ", "sha256,", "sha256=sha256=", &format!("{}=", "a".repeat(25))];
    for prefix in prefixes {
        assert_eq!(check(&gate, &[(HEADER, &format!("{prefix}{HEX}"))]), Err(ProofError::Malformed), "{prefix}");
    }
    let other = format!("sha256={}", HEX.replace('e', "f"));
    assert_eq!(check(&gate, &[(HEADER, &other)]), Err(ProofError::Wrong));
    for sent in ["", "sha256=", &HEX[..62], &BASE64[..40], &format!("{HEX}00"), "not a signature", &"A".repeat(9000)] {
        assert_eq!(check(&gate, &[(HEADER, sent)]), Err(ProofError::Malformed), "{sent}");
    }
    let changed = head("/", &[(HEADER, HEX)]);
    assert_eq!(check_at(&gate, &changed, &format!("{BODY} "), TIME), Err(ProofError::Wrong));
    assert_eq!(check(&gate, &[]), Err(ProofError::Missing));
    assert_eq!(check(&gate, &[("authorization", HEX)]), Err(ProofError::Missing));
    assert_eq!(check(&gate, &[(HEADER, HEX), (HEADER, HEX)]), Err(ProofError::Repeated));
}

#[test]
fn a_secret_is_read_at_each_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, SECRET).unwrap();
    let settings = format!(
        "[[accounts]]\nid = \"acme\"\npartner_id = \"1\"\nclient_id = \"a\"\nclient_secret = \"b\"\n\
         [accounts.webhook]\nauth = \"hmac\"\nsecret_file = {file:?}\n"
    );
    let config = crate::config::Config::load(&settings, []).unwrap();
    let gate = gate(config.accounts[0].webhook.clone().unwrap());
    assert_eq!(check(&gate, &[(HEADER, HEX)]), Ok(()));
    std::fs::write(&file, "another").unwrap();
    let mut watcher = crate::config::SecretWatcher::new(&config);
    watcher.check();
    watcher.check();
    assert_eq!(check(&gate, &[(HEADER, HEX)]), Err(ProofError::Wrong));
}

fn v2(timestamp: &str, signature: &str) -> Parts {
    head("/hooks/walmart?tenant=7", &[("WM_SEC.TIMESTAMP", timestamp), ("WM_SEC.SIGNATURE", signature)])
}

/// Signs what the scheme signs.
fn sign_v2(path: &str, timestamp: &str, body: &str) -> String {
    let hash = crate::domain::hex::lower(ring::digest::digest(&ring::digest::SHA256, body.as_bytes()).as_ref());
    let text = format!("POST\n{path}\n{timestamp}\n{hash}");
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), text.as_bytes()))
}

#[test]
fn a_signature_of_the_whole_request_is_that_of_the_fact_sheet() {
    let gate = v2_gate(Duration::from_secs(300));
    assert_eq!(check_at(&gate, &v2("1760000000", V2), BODY, TIME), Ok(()));
    assert_eq!(sign_v2("/hooks/walmart?tenant=7", "1760000000", BODY), V2);
    assert_eq!(check_at(&gate, &v2("1760000000", &format!("sha256={V2}")), BODY, TIME), Ok(()));
    for other in ["/hooks/walmart", "/hooks/walmart?tenant=8", "/hooks/walmart?tenant=%37", "/hooks//walmart?tenant=7"]
    {
        let elsewhere = head(other, &[("wm_sec.timestamp", "1760000000"), ("wm_sec.signature", V2)]);
        assert_eq!(check_at(&gate, &elsewhere, BODY, TIME), Err(ProofError::Wrong), "{other}");
    }
    assert_eq!(check_at(&gate, &v2("1760000001", V2), BODY, TIME), Err(ProofError::Wrong));
    assert_eq!(check_at(&gate, &v2("1760000000", V2), "{}", TIME), Err(ProofError::Wrong));
    let mut put = v2("1760000000", V2);
    put.method = http::Method::PUT;
    assert_eq!(check_at(&gate, &put, BODY, TIME), Err(ProofError::Wrong));
}

#[test]
fn a_path_is_signed_exactly_as_it_came() {
    let gate = v2_gate(Duration::from_secs(300));
    for path in ["/a%2fb/%E2%82%AC?x=%20+1&&y", "/?", "/webhooks/walmart/acme", "/webhooks/walmart/acme/"] {
        let signature = sign_v2(path, "1760000000", BODY);
        let head = head(path, &[("wm_sec.timestamp", "1760000000"), ("wm_sec.signature", &signature)]);
        assert_eq!(check_at(&gate, &head, BODY, TIME), Ok(()), "{path}");
    }
}

#[test]
fn a_timestamp_may_be_a_little_ahead_and_as_old_as_is_allowed() {
    let day = 24 * 60 * 60;
    for (tolerance, now, expected) in [
        (300, TIME + 300, Ok(())),
        (300, TIME + 301, Err(ProofError::Time)),
        (300, TIME - 120, Ok(())),
        (300, TIME - 121, Err(ProofError::Time)),
        (day, TIME + day, Ok(())),
        (day, TIME + day + 1, Err(ProofError::Time)),
        (day, 0, Err(ProofError::Time)),
    ] {
        let gate = v2_gate(Duration::from_secs(tolerance));
        assert_eq!(check_at(&gate, &v2("1760000000", V2), BODY, now), expected, "{tolerance} {now}");
    }
}

#[test]
fn an_odd_timestamp_is_refused() {
    let gate = v2_gate(Duration::from_secs(300));
    for odd in ["", "-1", "+1760000000", "1760000000.0", "1e9", "0x68E77780", "now", "99999999999999999999999"] {
        let signature = sign_v2("/hooks/walmart?tenant=7", odd, BODY);
        assert_eq!(check_at(&gate, &v2(odd, &signature), BODY, TIME), Err(ProofError::Malformed), "{odd}");
    }
    let last = u64::MAX.to_string();
    let signature = sign_v2("/hooks/walmart?tenant=7", &last, BODY);
    assert_eq!(check_at(&gate, &v2(&last, &signature), BODY, TIME), Err(ProofError::Time));
    let mut twice = v2("1760000000", V2);
    twice.headers.append("wm_sec.timestamp", "1760000000".parse().unwrap());
    assert_eq!(check_at(&gate, &twice, BODY, TIME), Err(ProofError::Repeated));
    for missing in ["wm_sec.timestamp", "wm_sec.signature"] {
        let mut head = v2("1760000000", V2);
        head.headers.remove(missing);
        assert_eq!(check_at(&gate, &head, BODY, TIME), Err(ProofError::Missing), "{missing}");
    }
}

#[test]
fn user_and_password_are_accepted_with_the_word_and_without() {
    let gate = basic_gate();
    for sent in [BASIC.to_owned(), format!("Basic {BASIC}"), format!("BASIC  {BASIC}"), BASIC.replace('=', "")] {
        assert_eq!(check(&gate, &[(HEADER, &sent)]), Ok(()), "{sent}");
    }
    let wrong = |text: &str| check(&gate, &[(HEADER, &STANDARD.encode(text))]);
    for text in
        ["", "hookuser", "hookuser:", ":hookpass", "hookuser:hookpass2", "hookuser2:hookpass", "Hookuser:hookpass"]
    {
        assert_eq!(wrong(text), Err(ProofError::Wrong), "{text}");
    }
    for sent in ["Basic", "hookuser:hookpass", "Bearer x"] {
        assert_eq!(check(&gate, &[(HEADER, sent)]), Err(ProofError::Malformed), "{sent}");
    }
    assert_eq!(check(&gate, &[]), Err(ProofError::Missing));
    assert_eq!(check(&gate, &[(HEADER, BASIC), (HEADER, BASIC)]), Err(ProofError::Repeated));
}

const FORM: &str = "grant_type=client_credentials";

fn grant(gate: &ProofVerifier, headers: &[(&str, &str)], form: &str) -> Result<TokenGrant, TokenRefusal> {
    gate.grant(&head("/", headers).headers, form.as_bytes(), Duration::from_secs(TIME), &key())
}

fn token(gate: &ProofVerifier) -> String {
    grant(gate, &[(HEADER, &STANDARD.encode("walmart:s3cret"))], FORM).unwrap().access_token
}

#[test]
fn credentials_for_a_token_may_stand_in_three_places() {
    let gate = oauth_gate("acme", "walmart", "s3cret");
    let pair = STANDARD.encode("walmart:s3cret");
    let wrong = STANDARD.encode("walmart:s3cre");
    let basic = format!("Basic {pair}");
    let in_form = format!("{FORM}&client_id=walmart&client_secret=s3cret");
    let good: [(Headers<'_>, &str); 5] = [
        (&[(HEADER, &pair)], FORM),
        (&[(HEADER, &basic)], FORM),
        (&[("authorization", &basic)], FORM),
        (&[], &in_form),
        (&[(HEADER, &pair), ("authorization", "Bearer x")], "scope=a+b&grant_type=client_credentials&x"),
    ];
    for (headers, form) in good {
        let grant = grant(&gate, headers, form).unwrap();
        assert_eq!(grant.expires_in, Duration::from_secs(3600));
        assert_eq!(check(&gate, &[(HEADER, &format!("Bearer {}", grant.access_token))]), Ok(()), "{form}");
    }
    let bad: [(Headers<'_>, &str, TokenRefusal); 8] = [
        (&[], FORM, TokenRefusal::InvalidClient),
        (&[(HEADER, &wrong)], FORM, TokenRefusal::InvalidClient),
        (&[(HEADER, &pair), (HEADER, &pair)], FORM, TokenRefusal::InvalidClient),
        (&[], "grant_type=client_credentials&client_id=walmart&client_secret=x", TokenRefusal::InvalidClient),
        (&[(HEADER, &pair)], "", TokenRefusal::InvalidRequest),
        (
            &[(HEADER, &pair)],
            "grant_type=client_credentials&grant_type=client_credentials",
            TokenRefusal::InvalidRequest,
        ),
        (&[(HEADER, &pair)], "grant_type=password", TokenRefusal::UnsupportedGrantType),
        (&[(HEADER, &pair)], "{\"grant_type\":\"client_credentials\"}", TokenRefusal::InvalidRequest),
    ];
    for (headers, form, why) in bad {
        assert_eq!(grant(&gate, headers, form), Err(why), "{form}");
    }
}

#[test]
fn a_token_is_good_for_its_account_its_client_and_its_time() {
    let gate = oauth_gate("acme", "walmart", "s3cret");
    let token = token(&gate);
    let bearer = format!("Bearer {token}");
    let at = |gate: &ProofVerifier, now| check_at(gate, &head("/", &[(HEADER, &bearer)]), BODY, now);
    // After a restart, at another replica: nothing is kept.
    for (now, expected) in [(TIME, Ok(())), (TIME + 3659, Ok(())), (TIME + 3660, Err(ProofError::Time))] {
        assert_eq!(at(&oauth_gate("acme", "walmart", "s3cret"), now), expected, "{now}");
    }
    for (account, id) in [("beta", "walmart"), ("acme", "other")] {
        assert_eq!(at(&oauth_gate(account, id, "s3cret"), TIME), Err(ProofError::Wrong), "{account} {id}");
    }
    // Another secret does not end it, another key does.
    assert_eq!(at(&oauth_gate("acme", "walmart", "new"), TIME), Ok(()));
    for other in [None, Some(&TokenKey::new(&[8; 32]))] {
        let head = head("/", &[(HEADER, &bearer)]);
        let delivery = UnverifiedDelivery { head: &head, body: Bytes::new() };
        assert_eq!(gate.check(delivery, Duration::from_secs(TIME), other).unwrap_err(), ProofError::Wrong);
    }
    assert_eq!(check(&gate, &[(HEADER, &token)]), Ok(()));
    let (end, mac) = token.split_once('.').unwrap();
    for (sent, why) in [
        (format!("Bearer {}.{mac}", end.parse::<u64>().unwrap() + 1), ProofError::Wrong),
        (format!("Bearer {end}.{}", mac.replace(|c: char| c.is_ascii_lowercase(), "A")), ProofError::Wrong),
        (format!("Bearer {end}."), ProofError::Wrong),
        (format!("Bearer .{mac}"), ProofError::Malformed),
        (format!("Bearer {mac}"), ProofError::Malformed),
        ("Bearer".to_owned(), ProofError::Malformed),
        (String::new(), ProofError::Malformed),
        ("é.é".to_owned(), ProofError::Malformed),
    ] {
        assert_eq!(check(&gate, &[(HEADER, &sent)]), Err(why), "{sent}");
    }
}

#[test]
fn while_secrets_rotate_each_of_them_is_good_for_a_token() {
    let ask = |gate: &ProofVerifier, secret: &str| {
        grant(gate, &[(HEADER, &STANDARD.encode(format!("walmart:{secret}")))], FORM).map(|grant| grant.access_token)
    };
    let (old, both, new) = (["old"], ["old", "new"], ["new"]);
    let [old, both, new] = [&old[..], &both, &new].map(|secrets| rotating_gate("acme", "walmart", secrets));
    let of_old = ask(&both, "old").unwrap();
    let of_new = ask(&both, "new").unwrap();
    assert_eq!(ask(&both, "other"), Err(TokenRefusal::InvalidClient));
    assert_eq!(ask(&both, "oldnew"), Err(TokenRefusal::InvalidClient));
    assert_eq!(ask(&new, "old"), Err(TokenRefusal::InvalidClient));
    for token in [of_old, of_new] {
        for gate in [&old, &both, &new] {
            assert_eq!(check(gate, &[(HEADER, &format!("Bearer {token}"))]), Ok(()));
        }
    }
}

#[test]
fn keys_are_random() {
    assert_ne!(TokenKey::random_bytes().unwrap(), TokenKey::random_bytes().unwrap());
}

#[test]
fn where_no_token_is_asked_for_none_is_given() {
    let pair = STANDARD.encode("hookuser:hookpass");
    assert!(!basic_gate().grants());
    assert_eq!(grant(&basic_gate(), &[(HEADER, &pair)], FORM), Err(TokenRefusal::InvalidClient));
}

#[test]
fn nothing_is_checked_where_nothing_is_asked_for() {
    assert_eq!(check(&gate(WebhookAuth::None), &[]), Ok(()));
}

#[test]
fn the_header_of_the_proof_is_known() {
    let names = [hmac_gate(&[SECRET]), v2_gate(Duration::MAX), basic_gate(), gate(WebhookAuth::None)];
    let names = names.each_ref().map(|gate| gate.proof_header().map(HeaderName::as_str));
    assert_eq!(names, [Some("x-walmart-auth"), Some("wm_sec.signature"), Some("x-walmart-auth"), None]);
}

#[test]
fn no_secret_shows_in_debug() {
    let shown = format!("{:?}{:?}", hmac_gate(&[SECRET]), oauth_gate("acme", "walmart", "s3cret"));
    assert!(!shown.contains(SECRET) && !shown.contains("s3cret"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_header_is_right_by_chance_or_panics(
        value in prop::collection::vec(prop_oneof![0x20u8..0x7f, 0x80u8..=0xff], 0..200),
        word in prop::sample::select(vec!["", "sha256=", "Basic ", "Bearer ", "Bearer 1760000000."]),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let sent = http::HeaderValue::from_bytes(&[word.as_bytes(), &value].concat()).unwrap();
        let mut head = head("/a?b", &[]);
        for name in [HEADER, "WM_SEC.TIMESTAMP", "WM_SEC.SIGNATURE", "authorization"] {
            head.headers.insert(name.parse::<HeaderName>().unwrap(), sent.clone());
        }
        let now = Duration::from_secs(TIME);
        let gates = [hmac_gate(&[SECRET]), v2_gate(Duration::MAX), basic_gate(), oauth_gate("acme", "walmart", "s3cret")];
        for gate in gates {
            let delivery = UnverifiedDelivery { head: &head, body: body.clone().into() };
            prop_assert!(gate.check(delivery, now, Some(&key())).is_err());
            prop_assert!(gate.grant(&head.headers, &body, now, &key()).is_err());
        }
    }
}
