//! The two calls that are measured, encoded once. Every call made from them differs from all others.

use bytes::Bytes;
use clap::ValueEnum;
use order_gateway::pb;
use prost::Message;
use serde::de::DeserializeOwned;

use crate::Result;
use crate::envelope::Answer;

/// Stands in the samples where a call's own number goes: the order number of a create, the line id of a promise. So
/// no record, cache or sharing of identical calls can answer in place of the upstream.
const PLACE: &[u8; 12] = b"@@@@@@@@@@@@";

/// A call that is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Call {
    Create,
    Promise,
}

impl Call {
    /// Its name in the service.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Call::Create => "CreateOrder",
            Call::Promise => "FetchDeliveryPromise",
        }
    }

    /// Its path in HTTP/2.
    pub(crate) fn path(self) -> String {
        format!("/ordergateway.v1.FulfillmentService/{}", self.method())
    }

    /// Its request.
    pub(crate) fn frame(self) -> Result<Frame> {
        let message = match self {
            Call::Create => {
                let Answer { header, payload, .. } = read(include_str!("../samples/create_request.json"))?;
                pb::CreateOrderRequest { header, payload, ..Default::default() }.encode_to_vec()
            }
            Call::Promise => {
                let Answer { header, payload, .. } = read(include_str!("../samples/promise_request.json"))?;
                pb::FetchDeliveryPromiseRequest { header, payload, ..Default::default() }.encode_to_vec()
            }
        };
        Frame::new(&message)
    }
}

fn read<P: DeserializeOwned>(sample: &str) -> serde_json::Result<Answer<P>> {
    serde_json::from_str(sample)
}

/// A gRPC frame with places for a number.
pub(crate) struct Frame {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Frame {
    fn new(message: &[u8]) -> Result<Self> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(message.len())?.to_be_bytes());
        bytes.extend(message);
        let places: Vec<usize> =
            bytes.windows(PLACE.len()).enumerate().filter(|(_, at)| at == PLACE).map(|(i, _)| i).collect();
        if places.is_empty() {
            return Err("a sample has no place for the number of the call".into());
        }
        Ok(Self { bytes, places })
    }

    /// The frame of the `n`-th call.
    pub(crate) fn numbered(&self, n: u64) -> Bytes {
        let mut bytes = self.bytes.clone();
        for &place in &self.places {
            let mut rest = n;
            for digit in bytes[place..place + PLACE.len()].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        Bytes::from(bytes)
    }
}
