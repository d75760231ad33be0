//! The state machine of orders and stock alone.

use proptest::prelude::*;

use jiff::Timestamp;
use serde_json::Value;

use super::super::DuplicatePolicy;
use super::super::world::{CancelRefused, Line, Order, PlaceRefused, World};

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn line(id: &str, sku: &str, ordered: u64) -> Line {
    Line {
        id: id.into(),
        sku: sku.into(),
        description: String::new(),
        method: "STANDARD".into(),
        address: Value::Null,
        ordered,
        cancellations: Vec::new(),
        parcels: Vec::new(),
    }
}

fn order(account: &str, number: &str, lines: Vec<Line>) -> Order {
    Order {
        account: Some(account.into()),
        number: number.into(),
        channel: "C".into(),
        accepted: at(0),
        placed: String::new(),
        buyer: String::new(),
        email: String::new(),
        request_id: String::new(),
        lines,
    }
}

fn stocked(units: u64) -> World {
    let mut world = World::default();
    world.set_stock("A", units);
    world
}

#[test]
fn an_order_takes_all_its_units_or_none() {
    let mut world = stocked(5);
    let short = world.place(order("x", "1", vec![line("1", "A", 3), line("2", "A", 3)]), DuplicatePolicy::Accept);
    assert_eq!(short, Err(PlaceRefused::Short { sku: "A".into(), available: 5, wanted: 6 }));
    assert_eq!((world.available("A"), world.orders().len()), (Some(5), 0));
    assert_eq!(world.place(order("x", "1", vec![line("1", "A", 5)]), DuplicatePolicy::Accept), Ok(false));
    assert_eq!(world.available("A"), Some(0));
}

#[test]
fn a_duplicate_is_a_second_order_or_refused_and_accounts_do_not_share_numbers() {
    let mut world = stocked(5);
    let one = || order("x", "1", vec![line("1", "A", 1)]);
    assert_eq!(world.place(one(), DuplicatePolicy::Refuse), Ok(false));
    assert_eq!(world.place(one(), DuplicatePolicy::Refuse), Err(PlaceRefused::Duplicate));
    assert_eq!(world.place(one(), DuplicatePolicy::Accept), Ok(true));
    assert_eq!(world.place(order("y", "1", vec![line("1", "A", 1)]), DuplicatePolicy::Refuse), Ok(false));
    assert_eq!((world.duplicates(), world.numbered("1").count(), world.available("A")), (1, 3, Some(2)));
}

#[test]
fn shipped_lines_stay_and_the_rest_is_cancelled() {
    let mut world = stocked(10);
    world.place(order("x", "1", vec![line("1", "A", 2), line("2", "A", 3)]), DuplicatePolicy::Accept).unwrap();
    world.ship("1", "1", None, "UPS", None, at(1)).unwrap();
    let both = [("1".to_owned(), 2), ("2".to_owned(), 3)];
    assert_eq!(world.cancel("x", "1", &both, at(2)), Ok(3));
    assert_eq!(world.available("A"), Some(8));
    assert_eq!(world.cancel("x", "1", &both, at(3)), Err(CancelRefused::NothingOpen));
    let order = world.numbered("1").next().unwrap();
    assert_eq!(order.lines[0].status(at(3)), "SHIPPED");
    assert_eq!(order.lines[1].status(at(3)), "CANCELLED");
    assert_eq!(order.status(at(3)), "SHIPPED");
    assert_eq!(order.status(at(1 + 72 * 60)), "DELIVERED");
}

#[test]
fn the_window_closes_after_sixty_minutes() {
    let mut world = stocked(10);
    world.place(order("x", "1", vec![line("1", "A", 2)]), DuplicatePolicy::Accept).unwrap();
    let one = [("1".to_owned(), 1)];
    assert_eq!(world.cancel("x", "1", &one, at(60)), Ok(1));
    assert_eq!(world.cancel("x", "1", &one, at(61)), Err(CancelRefused::WindowPassed));
}

#[test]
fn cancel_says_what_is_not_known() {
    let mut world = stocked(10);
    world.place(order("x", "1", vec![line("1", "A", 2)]), DuplicatePolicy::Accept).unwrap();
    let wanted = |id: &str, units| [(id.to_owned(), units)];
    assert_eq!(world.cancel("x", "9", &wanted("1", 1), at(0)), Err(CancelRefused::UnknownOrder));
    assert_eq!(world.cancel("y", "1", &wanted("1", 1), at(0)), Err(CancelRefused::UnknownOrder));
    assert_eq!(world.cancel("x", "1", &wanted("7", 1), at(0)), Err(CancelRefused::UnknownLine("7".into())));
    assert_eq!(world.cancel("x", "1", &wanted("1", 3), at(0)), Err(CancelRefused::MoreThanOrdered("1".into())));
    assert_eq!(world.available("A"), Some(8));
}

#[derive(Clone, Debug)]
enum Step {
    Place { number: u8, units: Vec<u64> },
    Cancel { number: u8, lines: Vec<(usize, u64)>, minute: i64 },
    Ship { number: u8, line: usize, quantity: Option<u64> },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4u8, prop::collection::vec(1..6u64, 1..4)).prop_map(|(number, units)| Step::Place { number, units }),
        (0..4u8, prop::collection::vec((0..4usize, 1..6u64), 1..4), 0..90i64)
            .prop_map(|(number, lines, minute)| Step::Cancel { number, lines, minute }),
        (0..4u8, 0..4usize, prop::option::of(0..6u64)).prop_map(|(number, line, quantity)| Step::Ship {
            number,
            line,
            quantity
        }),
    ]
}

proptest! {
    #[test]
    fn stock_is_conserved_and_no_line_gives_more_than_it_has(
        start in 0..60u64,
        refuse in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let duplicates = if refuse { DuplicatePolicy::Refuse } else { DuplicatePolicy::Accept };
        let mut world = stocked(start);
        for step in steps {
            let before: u64 = world.orders().iter().flat_map(|o| &o.lines).map(|l| l.cancelled()).sum();
            let mut cancelled = 0;
            match step {
                Step::Place { number, units } => {
                    let lines = units.iter().enumerate().map(|(i, u)| line(&i.to_string(), "A", *u)).collect();
                    let _ = world.place(order("x", &number.to_string(), lines), duplicates);
                }
                Step::Cancel { number, lines, minute } => {
                    let wanted: Vec<_> = lines.iter().map(|(id, units)| (id.to_string(), *units)).collect();
                    cancelled = world.cancel("x", &number.to_string(), &wanted, at(minute)).unwrap_or(0);
                }
                Step::Ship { number, line, quantity } => {
                    let _ = world.ship(&number.to_string(), &line.to_string(), quantity, "UPS", None, at(0));
                }
            }
            let lines = || world.orders().iter().flat_map(|o| &o.lines);
            let held: u64 = lines().map(|l| l.open() + l.shipped()).sum();
            prop_assert_eq!(world.available("A").unwrap() + held, start);
            prop_assert_eq!(lines().map(|l| l.cancelled()).sum::<u64>(), before + cancelled);
            for line in lines() {
                prop_assert_eq!(line.open() + line.shipped() + line.cancelled(), line.ordered);
            }
            if refuse {
                prop_assert!((0..4).all(|n| world.numbered(&n.to_string()).count() <= 1));
            }
        }
    }
}
