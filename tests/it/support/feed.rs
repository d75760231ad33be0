//! Reading the feed as clients do.

use std::time::Duration;

use order_gateway::pb;
use order_gateway::pb::cancel_intent_service_client::CancelIntentServiceClient;
use order_gateway::pb::subscribe_cancel_intents_response::Frame as Loan;
use order_gateway::pb::watch_cancel_intents_response::Frame;
use serde_json::Value;
use tonic::{Response, Status, Streaming};

use super::app::TestApp;
use super::client::{Client, Intercepted, Problem, message};
use super::webhooks::{Sender, intent};

type Result<T> = std::result::Result<T, Box<Problem>>;

/// Has Walmart post so many intents to `demo`, numbered from `first`.
pub async fn post(app: &TestApp, first: usize, count: usize) {
    let mut walmart = Sender::connect(app.http).await;
    for number in first..first + count {
        let body = intent(&format!("e-{number}"), &format!("PO-{number}")).to_string();
        assert_eq!(walmart.deliver(body.as_bytes()).await.0, 200);
    }
}

pub type IntentClient = CancelIntentServiceClient<Intercepted>;

pub fn client(client: &Client) -> IntentClient {
    CancelIntentServiceClient::new(client.service())
}

/// Streams of this feed that are open.
pub async fn open_streams(app: &TestApp, feed: &str) -> f64 {
    let series = format!("order_gateway_feed_streams{{feed=\"{feed}\"}}");
    let (_, text) = app.get("/metrics").await;
    assert!(text.contains(&series), "{text}");
    app.metric(&series).await
}

/// Ends the application once it has seen that the test's streams are gone.
pub async fn finish(app: TestApp) {
    let gone = async {
        while app.metric("order_gateway_calls_in_flight").await > 0.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("a stream is still open");
    assert_eq!(open_streams(&app, "cancel_intents").await + open_streams(&app, "order_updates").await, 0.0);
    app.finish().await;
}

/// An open stream.
pub struct Stream<T>(Streaming<T>);

pub async fn watch(of: &Client, body: &Value) -> Result<Stream<pb::WatchCancelIntentsResponse>> {
    let request: pb::WatchCancelIntentsRequest = message("WatchCancelIntentsRequest", &body.to_string());
    opened(client(of).watch_cancel_intents(request).await)
}

pub async fn subscribe(of: &Client, body: &Value) -> Result<Stream<pb::SubscribeCancelIntentsResponse>> {
    let request: pb::SubscribeCancelIntentsRequest = message("SubscribeCancelIntentsRequest", &body.to_string());
    opened(client(of).subscribe_cancel_intents(request).await)
}

pub fn opened<T>(answer: std::result::Result<Response<Streaming<T>>, Status>) -> Result<Stream<T>> {
    match answer {
        Ok(response) => Ok(Stream(response.into_inner())),
        Err(status) => Err(Box::new(Problem::of(&status))),
    }
}

impl<T> Stream<T> {
    /// The next message; `None` at a good end.
    pub async fn next(&mut self) -> Result<Option<T>> {
        self.0.message().await.map_err(|status| Box::new(Problem::of(&status)))
    }

    /// How it ends; what comes before is passed by.
    pub async fn end(mut self) -> Box<Problem> {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended well"),
                Err(problem) => return problem,
            }
        }
    }
}

impl Stream<pb::WatchCancelIntentsResponse> {
    pub async fn frame(&mut self) -> Frame {
        self.next().await.unwrap().unwrap().frame.unwrap()
    }

    pub async fn opened(&mut self) -> pb::Opened {
        match self.frame().await {
            Frame::Opened(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    pub async fn events(&mut self, count: usize) -> Vec<pb::Event> {
        let mut events = Vec::new();
        while events.len() < count {
            if let Frame::Event(event) = self.frame().await {
                events.push(event);
            }
        }
        events
    }
}

impl Stream<pb::SubscribeCancelIntentsResponse> {
    pub async fn frame(&mut self) -> Loan {
        self.next().await.unwrap().unwrap().frame.unwrap()
    }

    pub async fn opened(&mut self) -> pb::Opened {
        match self.frame().await {
            Loan::Opened(opened) => opened,
            other => panic!("{other:?}"),
        }
    }

    pub async fn deliveries(&mut self, count: usize) -> Vec<pb::Delivery> {
        let mut got = Vec::new();
        while got.len() < count {
            if let Loan::Delivery(delivery) = self.frame().await {
                got.push(delivery);
            }
        }
        got
    }
}

/// Acknowledges all of these.
pub async fn ack(of: &Client, subscription: &str, leases: &[String]) -> Result<pb::SettleCancelIntentsResponse> {
    let verdict =
        |lease: &String| pb::Verdict { lease: lease.clone(), verdict: Some(pb::verdict::Verdict::Ack(pb::Ack {})) };
    let verdicts = leases.iter().map(verdict).collect();
    let request = pb::SettleCancelIntentsRequest { subscription: subscription.into(), verdicts };
    answer(client(of).settle_cancel_intents(request).await)
}

/// An answer, or the error taken apart.
pub fn answer<T>(result: std::result::Result<Response<T>, Status>) -> Result<T> {
    result.map(Response::into_inner).map_err(|status| Box::new(Problem::of(&status)))
}
