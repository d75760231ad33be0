//! What is in the program that is shipped, and what is not.

/// With the feature `crash-points` the variables' names are in the program, as `scripts/crash-test` checks; only then.
#[test]
#[cfg(not(feature = "crash-points"))]
fn it_has_no_crash_points() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_order-gateway")).unwrap();
    let has = |text: &str| program.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("lookup_delays"), "texts of the program are found");
    assert!(!has("ORDER_GATEWAY_CRASH_AT"));
    assert!(!has("ORDER_GATEWAY_CLOCK_STEPS"));
    assert!(!has("ORDER_GATEWAY_BUG"));
}
