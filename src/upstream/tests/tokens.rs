//! Access tokens.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use tokio::time::{Instant, advance};

use crate::domain::effect::Effect;
use crate::ports::overview::{TokenFailureKind, TokenView};
use crate::ports::upstream::ErrorKind;
use crate::testing::upstream::{
    FIRST, SECOND, Settings, Step, World, answer, credentials, refresh, settle, slow, throttled,
};
use crate::upstream::accounts::ClientCredentials;
use crate::upstream::failure::NotSent;
use crate::upstream::transport::HttpError;

const INVALID_TOKEN: &str = r#"{"error":[{"code":"INVALID_TOKEN.GMP_GATEWAY_API"}]}"#;
const TOKEN: &str = r#"{"access_token":"slow-token","expires_in":900}"#;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn a_hundred_callers_cause_one_token_call() {
    let world = World::new();
    world.walmart.tokens([slow(2, answer(200, TOKEN))]);
    assert!(join_all((0..100).map(|_| world.status())).await.iter().all(Result::is_ok));
    assert_eq!(world.walmart.token_calls().len(), 1);
    assert!(world.walmart.seen().iter().all(|seen| seen.header("wm_sec.access_token") == "slow-token"));
    let call = &world.walmart.token_calls()[0];
    assert_eq!(call.header("authorization"), format!("Basic {}", STANDARD.encode("client:secret-1")));
    assert_eq!(call.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(call.header("accept"), "application/json");
    assert_eq!(call.header("wm_svc.name"), "Walmart Marketplace");
    assert_eq!(call.header("wm_qos.correlation_id").len(), 36);
    assert_eq!(call.body, "grant_type=client_credentials");
    world.status_of(SECOND, seconds(10)).await.unwrap();
    assert_eq!(world.walmart.token_calls().len(), 2, "each account has its own");
}

#[tokio::test(start_paused = true)]
async fn a_channel_type_is_sent_with_every_call_of_its_account_alone() {
    let world = World::new();
    for account in [FIRST, SECOND] {
        world.status_of(account, seconds(10)).await.unwrap();
    }
    for seen in [world.walmart.token_calls(), world.walmart.seen()] {
        let sent: Vec<_> = seen.iter().map(|seen| seen.header("wm_consumer.channel.type")).collect();
        assert_eq!(sent, ["", "channel-7"]);
        assert!(!seen[0].headers.contains_key("wm_consumer.channel.type"), "left out, not empty");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_takes_the_place_of_client_credentials() {
    let world = World::new();
    *world.credentials.lock().unwrap() =
        ClientCredentials { refresh: Some(refresh("RT/1+a=&b", "10000680931")), ..credentials("secret-1") };
    // Walmart refuses it, then the operator puts in another: it is tried at once.
    world.walmart.tokens([answer(400, "")]);
    assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::CredentialsRefused);
    world.status().await.unwrap_err();
    assert_eq!(world.walmart.token_calls().len(), 1);
    world.credentials.lock().unwrap().refresh = Some(refresh("RT-2", "10000680931"));
    world.status().await.unwrap();
    let calls = world.walmart.token_calls();
    let forms: Vec<_> = calls.iter().map(|call| call.body.clone()).collect();
    assert_eq!(
        forms,
        ["grant_type=refresh_token&refresh_token=RT%2F1%2Ba%3D%26b", "grant_type=refresh_token&refresh_token=RT-2"]
    );
    for call in &calls {
        assert_eq!(call.header("wm_partner.id"), "10000680931");
        assert_eq!(call.header("authorization"), format!("Basic {}", STANDARD.encode("client:secret-1")));
    }
    assert!(!world.walmart.seen()[0].headers.contains_key("wm_partner.id"), "of the token call alone");
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_ahead_of_its_end_while_the_old_one_serves() {
    let world = World::new();
    world.status().await.unwrap();
    world.walmart.tokens([slow(5, answer(200, TOKEN))]);
    let began = Instant::now();
    // 75 % of 900 s.
    advance(seconds(674)).await;
    world.status().await.unwrap();
    settle().await;
    assert_eq!(world.walmart.token_calls().len(), 1);
    while world.walmart.token_calls().len() == 1 {
        assert!(began.elapsed() <= seconds(766), "85 %");
        advance(seconds(1)).await;
        let before = Instant::now();
        world.status().await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO, "nobody waits for it");
        settle().await;
    }
    assert_eq!(world.walmart.seen().last().unwrap().header("wm_sec.access_token"), "token-1");
    advance(seconds(6)).await;
    settle().await;
    world.status().await.unwrap();
    assert_eq!(world.walmart.seen().last().unwrap().header("wm_sec.access_token"), "slow-token");
}

#[tokio::test(start_paused = true)]
async fn moments_of_renewal_are_spread() {
    let mut moments = std::collections::BTreeSet::new();
    let world = World::new();
    for _ in 0..10 {
        let before = world.walmart.token_calls().len();
        let began = Instant::now();
        while world.walmart.token_calls().len() == before {
            advance(seconds(2)).await;
            world.status().await.unwrap();
            settle().await;
        }
        moments.insert(began.elapsed().as_secs());
    }
    assert!(moments.len() > 4, "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_costs_nobody_anything_until_the_end() {
    let world = World::new();
    world.status().await.unwrap();
    world.walmart.tokens(vec![answer(503, ""); 30]);
    advance(seconds(780)).await;
    for _ in 0..5 {
        world.status().await.unwrap();
        settle().await;
        advance(seconds(10)).await;
    }
    assert!(matches!(world.shared.tokens.view(FIRST), TokenView::Valid(_)));
    advance(seconds(900)).await;
    let error = world.status_within(seconds(3)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Unavailable, Effect::None));
    assert!(matches!(world.shared.tokens.view(FIRST), TokenView::Failed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_end_the_fetch() {
    let world = World::new();
    world.walmart.tokens([slow(2, answer(200, TOKEN))]);
    let first = tokio::spawn({
        let world = world.clone();
        async move { world.status().await }
    });
    settle().await;
    let second = tokio::spawn({
        let world = world.clone();
        async move { world.status().await }
    });
    settle().await;
    first.abort();
    second.await.unwrap().unwrap();
    assert_eq!(world.walmart.token_calls().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_only_while_an_attempt_could_follow() {
    let world = World::new();
    world.walmart.tokens([Step::Hang]);
    let began = Instant::now();
    let error = world.create_within(seconds(5)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::DeadlineExceeded, Effect::None));
    assert!((4_690..4_710).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_token_turned_away_is_replaced_and_the_call_replayed_once() {
    for refusal in [answer(401, ""), answer(400, INVALID_TOKEN)] {
        let world = World::new();
        world.walmart.calls([refusal.clone()]);
        world.create().await.unwrap();
        let tokens: Vec<_> = world.walmart.seen().iter().map(|s| s.header("wm_sec.access_token").to_owned()).collect();
        assert_eq!(tokens, ["token-1", "token-2"], "{refusal:?}");

        let world = World::new();
        world.walmart.calls(vec![refusal.clone(); 9]);
        let error = world.create().await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::CredentialsRefused, Effect::None));
        assert_eq!((world.walmart.seen().len(), world.walmart.token_calls().len()), (2, 2));
        // The next calls do not even ask.
        let error = world.create().await.unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::CredentialsRefused, Some(seconds(1))));
        assert_eq!((world.walmart.seen().len(), world.walmart.token_calls().len()), (2, 2));
    }
    let world = World::new();
    world.walmart.calls([answer(403, "")]);
    assert_eq!(world.create().await.unwrap_err().kind, ErrorKind::CredentialsRefused);
    assert_eq!(world.walmart.seen().len(), 1, "403 at once");
}

#[tokio::test(start_paused = true)]
async fn many_tokens_turned_away_at_once_are_replaced_once() {
    let world = World::new();
    world.status().await.unwrap();
    // Some are told at once, some only after the new token is there.
    world.walmart.calls((0..50).map(|n| slow(1 + n / 10, answer(401, ""))));
    assert!(join_all((0..50).map(|_| world.status())).await.iter().all(Result::is_ok));
    assert_eq!(world.walmart.token_calls().len(), 2);
    assert_eq!(world.walmart.seen().len(), 101);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_not_tried_again_at_once() {
    for status in [400, 401, 403] {
        let world = World::new();
        world.walmart.tokens(vec![answer(status, "no such client"); 8]);
        let mut pauses = Vec::new();
        for tries in 1..=8 {
            let error = world.status().await.unwrap_err();
            assert_eq!((error.kind, error.effect), (ErrorKind::CredentialsRefused, Effect::None));
            let pause = error.retry_after.unwrap();
            advance(pause / 2).await;
            let again = world.status().await.unwrap_err();
            assert_eq!(again.retry_after, Some(pause - pause / 2), "what is left of it");
            assert_eq!(world.walmart.token_calls().len(), tries);
            pauses.push(pause.as_secs());
            advance(pause).await;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(world.walmart.seen().len(), 0);
        world.status().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn other_credentials_need_not_wait() {
    let world = World::new();
    world.walmart.tokens([answer(401, ""), answer(401, "")]);
    assert!(world.status().await.is_err());
    *world.credentials.lock().unwrap() = credentials("secret-2");
    assert!(world.status().await.is_err(), "these are refused too");
    assert!(world.status().await.is_err(), "and not tried again");
    assert_eq!(world.walmart.token_calls().len(), 2);
    *world.credentials.lock().unwrap() = credentials("secret-3");
    world.status().await.unwrap();
    let call = world.walmart.token_calls().pop().unwrap();
    assert_eq!(call.header("authorization"), format!("Basic {}", STANDARD.encode("client:secret-3")));
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_the_token_call_is_kept_to() {
    let world = World::new();
    world.walmart.tokens([throttled("30")]);
    let error = world.create().await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::RateLimited, Effect::None));
    advance(seconds(10)).await;
    assert_eq!(world.create().await.unwrap_err().retry_after, Some(seconds(20)), "what is left of it");
    assert_eq!(world.walmart.token_calls().len(), 1);
    // With time enough it is waited for.
    let began = Instant::now();
    world.create_within(seconds(40)).await.unwrap();
    assert!((20..=21).contains(&began.elapsed().as_secs()));
    // "At once" does not mean without end.
    let world = World::new();
    world.walmart.tokens(vec![throttled("0"); 100]);
    let began = Instant::now();
    assert!(world.create().await.is_err());
    assert_eq!(world.walmart.token_calls().len(), 3);
    assert!(began.elapsed() >= seconds(2), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_token_call_that_fails_is_made_again_in_the_same_call() {
    for failure in [
        answer(500, ""),
        answer(520, ""),
        answer(302, ""),
        answer(200, ""),
        answer(200, "<html>"),
        answer(200, r#"{"access_token":"#),
        answer(200, "{}"),
        answer(200, r#"{"access_token":null,"expires_in":900}"#),
        answer(200, r#"{"access_token":["t"],"expires_in":900}"#),
        answer(200, r#"{"access_token":"","expires_in":900}"#),
        answer(200, r#"{"access_token":"line\nbreak","expires_in":900}"#),
        Step::Fail(HttpError::NotSent),
        Step::Fail(HttpError::Interrupted),
        Step::Fail(HttpError::BadBody(200)),
        Step::Panic,
    ] {
        let world = World::new();
        world.walmart.tokens([failure.clone()]);
        let began = Instant::now();
        world.create().await.unwrap_or_else(|error| panic!("{failure:?}: {error:?}"));
        assert!((1_000..1_200).contains(&began.elapsed().as_millis()), "{failure:?}: {:?}", began.elapsed());
        assert_eq!((world.walmart.token_calls().len(), world.walmart.seen().len()), (2, 1));
    }
    let stack = crate::upstream::StackSettings { attempt_timeout: seconds(2), ..Settings::default().stack };
    let world = World::with(Settings { stack, ..Settings::default() });
    world.walmart.tokens([Step::Hang]);
    world.create().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn tokens_and_lives_may_be_odd() {
    for (body, token, life) in [
        (r#"{"access_token":"t","expires_in":"600"}"#, "t", 600),
        (r#"{"access_token":12345,"expires_in":600.5}"#, "12345", 600),
        (r#"{"access_token":"t"}"#, "t", 900),
        (r#"{"access_token":"t","expires_in":0}"#, "t", 900),
        (r#"{"access_token":"t","expires_in":-5}"#, "t", 900),
        (r#"{"access_token":"t","expires_in":1e300}"#, "t", 900),
        (r#"{"access_token":"t","expires_in":"soon","token_type":7}"#, "t", 900),
    ] {
        let world = World::new();
        world.walmart.tokens([answer(200, body)]);
        world.status().await.unwrap();
        assert_eq!(world.walmart.seen()[0].header("wm_sec.access_token"), token);
        let TokenView::Valid(until) = world.shared.tokens.view(FIRST) else { panic!("{body}") };
        assert_eq!(until.duration_since(world.clock.now()).unwrap().as_secs(), life, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_shown_to_nobody() {
    let world = World::new();
    world.status().await.unwrap();
    let token = world.shared.tokens.get(FIRST).await.unwrap();
    assert!(token.is_sensitive() && !format!("{token:?}").contains("token-1"));
    for seen in world.walmart.seen().iter().chain(&world.walmart.token_calls()) {
        let shown = format!("{:?}", seen.headers);
        assert!(!shown.contains("token-1") && !shown.contains("Basic"), "{shown}");
    }
    assert!(!format!("{:?}", credentials("secret-1")).contains("secret-1"));
}

#[tokio::test(start_paused = true)]
async fn the_sandbox_is_told_in_both_ways() {
    let world = World::with(Settings { sandbox: true, ..Settings::default() });
    world.create().await.unwrap();
    let seen = &world.walmart.seen()[0];
    let pairs = [("authorization", "Bearer token-1"), ("martid", "202"), ("buid", "0"), ("wm_sandbox", "v2")];
    for (name, value) in pairs {
        assert_eq!(seen.header(name), value);
    }
    assert!(seen.headers["authorization"].is_sensitive());
    let world = World::new();
    world.create().await.unwrap();
    assert!(pairs.iter().all(|(name, _)| world.walmart.seen()[0].header(name).is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_walmart_never_saw_is_not_accepted() {
    let world = World::new();
    world.walmart.calls([answer(401, ""), answer(401, "")]);
    assert!(world.status().await.is_err());
    advance(seconds(1)).await;
    // A replay that is lost on the way tells nothing of the token.
    world.walmart.calls([answer(401, ""), Step::Fail(HttpError::Interrupted), answer(401, ""), answer(401, "")]);
    let error = world.status().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::CredentialsRefused);
    let told = world.shared.tokens.get(FIRST).await.unwrap_err();
    assert_eq!(told, NotSent::CredentialsRefused(seconds(2)), "the pause doubles");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_call_says_whose_word_it_is() {
    use TokenFailureKind::{CredentialsRefused, EdgeRefused, Limited, Unavailable};
    let oauth = r#"{"error":"invalid_client","error_description":"client secret-1 is revoked"}"#;
    let page = "<html><title>Access Denied</title><p>Reference #18.2</p></html>";
    for (step, kind, reason, said) in [
        (
            answer(400, oauth),
            CredentialsRefused,
            ErrorKind::CredentialsRefused,
            "invalid_client client [redacted] is revoked",
        ),
        (answer(401, ""), CredentialsRefused, ErrorKind::CredentialsRefused, ""),
        (answer(403, page), EdgeRefused, ErrorKind::CredentialsRefused, "Access Denied Reference #18.2"),
        (throttled("30"), Limited, ErrorKind::RateLimited, ""),
        (answer(503, page), Unavailable, ErrorKind::Unavailable, "Access Denied Reference #18.2"),
        (answer(200, r#"{"access_token":"half"#), Unavailable, ErrorKind::Unavailable, ""),
        (Step::Fail(HttpError::Interrupted), Unavailable, ErrorKind::Unavailable, "interrupted"),
    ] {
        let world = World::new();
        assert_eq!(world.shared.tokens.failure(FIRST), None);
        world.walmart.tokens(vec![step.clone(); 5]);
        let error = world.status_within(seconds(3)).await.unwrap_err();
        assert_eq!(error.kind, reason, "{step:?}");
        let failure = world.shared.tokens.failure(FIRST).unwrap();
        assert_eq!((failure.kind, failure.said.as_str()), (kind, said), "{step:?}");
        let status = match &step {
            Step::Answer(status, ..) => Some(*status),
            _ => None,
        };
        assert_eq!(failure.http_status, status);
        let call = world.walmart.token_calls().pop().unwrap();
        assert_eq!(call.header("wm_qos.correlation_id"), failure.correlation_id.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_comes_ends_the_failure() {
    let world = World::new();
    world.walmart.tokens([answer(503, "")]);
    world.status().await.unwrap();
    assert_eq!(world.shared.tokens.failure(FIRST), None);
    world.walmart.calls([answer(401, ""), answer(401, r#"{"errors":[{"code":"UNAUTHORIZED.GMP_GATEWAY_API"}]}"#)]);
    assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::CredentialsRefused);
    let failure = world.shared.tokens.failure(FIRST).unwrap();
    assert_eq!((failure.kind, failure.http_status), (TokenFailureKind::TokenRefused, Some(401)));
    assert_eq!(failure.said, "UNAUTHORIZED.GMP_GATEWAY_API");
    assert_eq!(
        failure.correlation_id.to_string(),
        world.walmart.seen().last().unwrap().header("wm_qos.correlation_id")
    );
}
