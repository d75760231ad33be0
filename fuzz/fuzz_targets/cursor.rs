//! A cursor or lease that can be read is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use order_gateway::domain::feed::{Cursor, Lease};

fuzz_target!(|text: &str| {
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    if let Ok(lease) = text.parse::<Lease>() {
        assert_eq!(lease.to_string(), text);
    }
});
