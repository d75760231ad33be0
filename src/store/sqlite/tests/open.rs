//! Files that are refused at the start, or fail from the start on.

use super::*;
use crate::testing::store::settings;

#[tokio::test]
async fn a_second_gateway_is_refused_until_the_first_has_ended() {
    let place = Place::new();
    let ledger = place.open();
    assert!(place.refusal().contains("is in use by another order-gateway"));
    // By another name of the file, too.
    let link = place.beside("link");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    let why = SqliteLedger::open(&link, settings()).unwrap_err();
    assert!(why.contains("is in use by another order-gateway"), "{why}");
    ledger.close().await;
    place.open().close().await;
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.open().close().await;
    place.other().pragma_update(None, "user_version", migrations::LATEST + 1).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let newer = format!("(schema {}, this one knows {})", migrations::LATEST + 1, migrations::LATEST);
    assert!(place.refusal().contains(&format!("was written by a newer order-gateway {newer}")));
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let place = Place::new();
    place.other().execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert!(place.refusal().ends_with("is a database of another program"));
}

#[tokio::test]
async fn a_place_where_no_file_can_be_is_refused() {
    let place = Place::new();
    let why = SqliteLedger::open(&place.beside("none/db"), settings()).unwrap_err();
    assert!(why.contains("none/db cannot be locked: No such file or directory"), "{why}");
    let why = SqliteLedger::open(&place.beside(""), settings()).unwrap_err();
    assert!(why.ends_with("is a directory"), "{why}");
}

#[tokio::test]
async fn what_is_no_database_fails_and_is_left_as_it_is() {
    let place = Place::new();
    let text = "not a database, but of a length that could be one. ".repeat(100);
    std::fs::write(place.path(), &text).unwrap();
    let ledger = place.open();
    assert_eq!(ledger.failing().unwrap().error.kind, StoreErrorKind::Corrupt);
    assert_eq!(trouble(&ledger, "A").await, StoreErrorKind::Corrupt);
    assert_eq!(ledger.get(OperationId(1)).await.unwrap_err().kind, StoreErrorKind::Corrupt);
    ledger.close().await;
    assert_eq!(std::fs::read_to_string(place.path()).unwrap(), text);
}

#[tokio::test]
async fn a_damaged_file_fails_from_the_start() {
    for damage in ["truncated", "overwritten"] {
        let place = Place::new();
        let ledger = place.open();
        for number in 0..200 {
            begin(&ledger, &number.to_string()).await;
        }
        ledger.close().await;
        let mut bytes = std::fs::read(place.path()).unwrap();
        let half = bytes.len() / 2;
        match damage {
            "truncated" => bytes.truncate(half),
            _ => bytes[half..].fill(0x5a),
        }
        std::fs::write(place.path(), bytes).unwrap();
        let ledger = place.open();
        assert_eq!(ledger.failing().unwrap().error.kind, StoreErrorKind::Corrupt, "{damage}");
        assert_eq!(trouble(&ledger, "A").await, StoreErrorKind::Corrupt, "{damage}");
        ledger.close().await;
    }
}
