//! Who may use which account, every case.

use std::time::Duration;

use super::*;
use crate::ports::call::{CallRecord, Caller, VisibleAccounts};
use crate::testing::walmart::call;

const ALL: Option<&[usize]> = None;

fn directory() -> AccountDirectory {
    AccountDirectory::of_ids(["acme", "beta", "gamma"].map(|id| AccountId::new(id).unwrap()))
}

/// A call of somebody who sees these accounts, or all.
fn of(accounts: Option<&[usize]>) -> CallContext {
    let accounts = accounts.map_or(VisibleAccounts::All, |some| {
        VisibleAccounts::Only(some.iter().map(|index| AccountIndex(*index)).collect())
    });
    CallContext {
        facts: CallRecord::of(Arc::new(Caller { name: "c".into(), accounts, services: None })),
        ..call(Duration::ZERO)
    }
}

fn told(result: Result<AccountIndex, ServiceError>) -> String {
    match result {
        Ok(index) => index.0.to_string(),
        Err(ServiceError::Account(error)) => format!("{error:?}"),
        Err(ServiceError::Invalid(faults)) => faults.kept[0].field.clone(),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_cell_of_who_asks_for_what() {
    let table: [(Option<&[usize]>, &str, &str); 15] = [
        // One that is named: known and visible, known and not visible, unknown.
        (ALL, "beta", "1"),
        (ALL, "delta", "NotFound"),
        (Some(&[1]), "beta", "1"),
        (Some(&[1]), "acme", "NotAllowed"),
        (Some(&[1]), "delta", "NotAllowed"),
        (Some(&[0, 1, 2]), "delta", "NotAllowed"),
        (Some(&[]), "acme", "NotAllowed"),
        (Some(&[]), "delta", "NotAllowed"),
        // None named: several, one or none visible.
        (ALL, "", "account"),
        (Some(&[0, 2]), "", "account"),
        (Some(&[2]), "", "2"),
        (Some(&[]), "", "NotAllowed"),
        // Names are compared letter by letter.
        (ALL, "Beta", "NotFound"),
        (ALL, " ", "NotFound"),
        (Some(&[7]), "", "NotAllowed"),
    ];
    for (accounts, name, expected) in table {
        assert_eq!(told(directory().one(name, &of(accounts))), expected, "{accounts:?} {name:?}");
    }
    let single = AccountDirectory::of_ids([AccountId::new("only").unwrap()]);
    assert_eq!(told(single.one("", &of(ALL))), "0");
}

#[tokio::test]
async fn a_list_without_a_name_is_about_all_that_are_visible() {
    let many = |name: &str, accounts| {
        directory().many(name, &of(accounts)).map(|all| Vec::from_iter(all.into_iter().map(|index| index.0)))
    };
    assert_eq!(many("", ALL).unwrap(), [0, 1, 2]);
    assert_eq!(many("", Some(&[2, 0])).unwrap(), [0, 2]);
    assert_eq!(many("", Some(&[])).unwrap(), [0_usize; 0]);
    assert_eq!(many("beta", ALL).unwrap(), [1]);
    assert!(matches!(many("beta", Some(&[0])), Err(ServiceError::Account(AccountError::NotAllowed))));
}

#[tokio::test]
async fn the_account_is_noted_once_it_is_certain() {
    let call = of(Some(&[1]));
    let _ = directory().one("acme", &call);
    assert_eq!(call.facts.account(), None);
    let _ = directory().one("", &call);
    assert_eq!(call.facts.account().map(AccountId::as_str), Some("beta"));
}
