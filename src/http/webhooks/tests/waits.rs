//! Senders that are slow, too many or gone, and a store that hangs.

use std::sync::atomic::Ordering;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http::header::{CONNECTION, RETRY_AFTER};
use serde_json::json;
use tower::ServiceExt as _;

use super::app::{App, INTENT, Unending, in_pieces, is_stored, post, signed};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_slow_body_is_given_up_after_ten_seconds() {
    let app = App::new();
    let began = Instant::now();
    let answer = app.post("open", Unending::after("{", &Arc::default())).await;
    assert_eq!((answer.status, answer.body), (408, json!({"error": "the body did not come in time"})));
    assert_eq!((began.elapsed(), &answer.headers[CONNECTION]), (Duration::from_secs(10), &"close".parse().unwrap()));
    assert_eq!(app.post("open", in_pieces(1, 3)).await.status, 400);
    assert_eq!(app.counted("open"), [("incomplete".to_owned(), 2)]);
    assert_eq!(app.log.stored(), []);
}

#[tokio::test]
async fn a_store_that_fails_is_never_acknowledged_and_asks_for_another_try() {
    let app = App::new();
    app.log.0.fails.store(true, Ordering::SeqCst);
    for body in [INTENT, "{", r#"{"source":{"eventType":"X"}}"#] {
        let answer = app.send(signed(body)).await;
        assert_eq!((answer.status, answer.body), (503, json!({"error": "the delivery cannot be stored now"})));
        assert_eq!(answer.headers[RETRY_AFTER], "5");
    }
    assert_eq!(app.counted("acme"), [("not_stored".to_owned(), 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_not_waited_for_and_still_takes_the_delivery() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let answer = app.send(signed(INTENT)).await;
    assert_eq!((answer.status, began.elapsed()), (503, STORE_TIME));
    app.log.open();
    while app.log.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.log.stored()[0].raw, INTENT);
}

#[tokio::test]
async fn a_sender_that_goes_away_takes_nothing_with_it() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let sending = tokio::spawn(app.router.clone().oneshot(signed(INTENT)));
    app.log.0.handed_over.notified().await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    app.log.open();
    while app.log.stored().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(app.log.stored().len(), 1);
}

#[tokio::test]
async fn too_many_at_once_are_put_off_and_the_places_come_back() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let mut sending = Vec::new();
    for _ in 0..DELIVERIES {
        sending.push(tokio::spawn(app.router.clone().oneshot(signed(INTENT))));
        app.log.0.handed_over.notified().await;
    }
    let answer = app.send(signed(INTENT)).await;
    assert_eq!((answer.status, answer.body), (503, json!({"error": "too many deliveries at once"})));
    assert_eq!(answer.headers[RETRY_AFTER], "5");
    app.log.open();
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    }
    is_stored(&app.send(signed(INTENT)).await, false);
    assert_eq!(app.counted("acme")[0], ("overloaded".to_owned(), 1));
}

#[tokio::test]
async fn bodies_that_hold_too_much_together_are_put_off_and_give_their_room_back() {
    let app = App::new();
    app.log.0.shut.store(true, Ordering::SeqCst);
    let mut sending = Vec::new();
    for _ in 0..STORING_BYTES / DELIVERY_BYTES {
        sending.push(tokio::spawn(app.router.clone().oneshot(post("open", Body::from(vec![b' '; DELIVERY_BYTES])))));
        app.log.0.handed_over.notified().await;
    }
    assert_eq!(app.post("open", "{}").await.status, 503);
    app.log.open();
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 200);
    }
    is_stored(&app.post("open", "{}").await, false);
}

/// A delivery from this address, as the server tells it.
fn from(address: [u8; 4], mut delivery: Request<Body>) -> Request<Body> {
    delivery.extensions_mut().insert(PeerAddress(address.into()));
    delivery
}

#[tokio::test(start_paused = true)]
async fn posts_that_never_finish_are_ended_for_new_ones_and_refuse_no_signed_one() {
    let app = App::new();
    let (began, read) = (Instant::now(), Arc::default());
    let mut sending = std::collections::VecDeque::new();
    for number in 0..2 * UNPROVED.by_address {
        let half = from([192, 0, 2, 1], post("acme", Unending::after("{", &read)));
        sending.push_back(tokio::spawn(app.router.clone().oneshot(half)));
        while read.load(Ordering::SeqCst) <= number {
            tokio::task::yield_now().await;
        }
    }
    // The first half was ended for the second, in the order in which they came.
    for first in sending.drain(..UNPROVED.by_address) {
        let answer = first.await.unwrap().unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()[CONNECTION]), (408, &"close".parse().unwrap()));
    }
    assert!(sending.iter().all(|open| !open.is_finished()));
    // From elsewhere, and from the very address.
    is_stored(&app.send(from([192, 0, 2, 2], signed(INTENT))).await, false);
    is_stored(&app.send(from([192, 0, 2, 1], signed(INTENT))).await, false);
    assert_eq!(sending.pop_front().unwrap().await.unwrap().unwrap().status(), 408);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let displaced = u64::try_from(UNPROVED.by_address).unwrap() + 1;
    assert_eq!(app.counted("acme"), [("displaced".to_owned(), displaced), ("stored".to_owned(), 2)]);
    // The others had their ten seconds.
    for left in sending {
        assert_eq!(left.await.unwrap().unwrap().status(), 408);
    }
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn unfinished_posts_of_many_addresses_refuse_no_signed_one() {
    let app = App::new();
    let (part, read) = (Bytes::from(vec![b' '; DELIVERY_BYTES - 1]), Arc::default());
    let mut sending = Vec::new();
    // More than all may be, in number and in bytes.
    for number in 0..2 * UNPROVED.posts {
        let [high, low] = u16::try_from(number / 50).unwrap().to_be_bytes();
        let first = if number % 8 == 0 { part.clone() } else { Bytes::from_static(b"{") };
        let half = from([10, 0, high, low], post("acme", Unending::after(first, &read)));
        sending.push(tokio::spawn(app.router.clone().oneshot(half)));
    }
    while sending.iter().filter(|open| !open.is_finished()).count() > UNPROVED.posts {
        tokio::task::yield_now().await;
    }
    is_stored(&app.send(from([192, 0, 2, 9], signed(INTENT))).await, false);
    for sent in sending {
        assert_eq!(sent.await.unwrap().unwrap().status(), 408);
    }
}
