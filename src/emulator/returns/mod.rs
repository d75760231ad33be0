//! Returns: of marketplace orders, which the customer opens (a simulation here), and of Multichannel orders, which the
//! seller opens.

mod market;
mod mcs;

pub(crate) use self::market::{MarketBook, list, refund};
pub(crate) use self::mcs::{McsReturnBook, cancel, create, list_mcs};

use serde_json::Value;

use super::seller::query_value;

/// The id of the return in the path of a call, in its query, or in its body.
pub(crate) fn return_id(path: &str, query: &str, body: Option<&Value>) -> String {
    let rest = path.strip_prefix("/v3/returns/").or_else(|| path.split_once("/return-orders/").map(|(_, rest)| rest));
    match rest.and_then(|rest| rest.split('/').next()) {
        Some(segment) => percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned(),
        None => match body.and_then(|body| body["payload"]["sellerReturnOrderId"].as_str()) {
            Some(id) => id.to_owned(),
            None => {
                query_value(query, "returnOrderId").or_else(|| query_value(query, "sellerOrderId")).unwrap_or_default()
            }
        },
    }
}
