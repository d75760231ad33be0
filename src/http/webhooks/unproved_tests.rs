use std::net::IpAddr;

use super::*;

const LIMITS: UnprovedLimits = UnprovedLimits { by_address: 3, posts: 5, bytes: 100 };

fn address(last: u8) -> PeerAddress {
    PeerAddress(IpAddr::from([192, 0, 2, last]))
}

/// Which of them were ended.
fn ended<const N: usize>(posts: [&mut UnprovedPost; N]) -> [bool; N] {
    posts.map(|post| post.ended.try_recv().is_ok())
}

fn counts(all: &UnprovedPosts) -> (usize, usize, usize) {
    let open = all.open();
    (open.posts, open.bytes, open.by_address.len())
}

#[test]
fn the_one_that_is_silent_longest_makes_way_for_a_new_one_of_its_address() {
    let all = UnprovedPosts::new(LIMITS);
    let (mut first, mut second, mut third) = (all.admit(address(1)), all.admit(address(1)), all.admit(address(1)));
    let mut other = all.admit(address(2));
    first.heard(1);
    let mut fourth = all.admit(address(1));
    let all_five = [&mut first, &mut second, &mut third, &mut fourth, &mut other];
    assert_eq!(ended(all_five), [false, true, false, false, false]);
    let _fifth = all.admit(address(1));
    assert_eq!(ended([&mut first, &mut third, &mut fourth]), [false, true, false]);
    assert_eq!(counts(&all), (4, 1, 2));
}

#[test]
fn beyond_the_number_of_all_the_address_with_the_most_gives_way() {
    let all = UnprovedPosts::new(LIMITS);
    let mut lonely = all.admit(address(9));
    let mut one: Vec<_> = (0..3).map(|_| all.admit(address(1))).collect();
    let mut last = all.admit(address(3));
    let mut new = all.admit(address(4));
    assert_eq!(ended([&mut lonely, &mut last, &mut new]), [false; 3]);
    let [a, b, c] = one.as_mut_slice() else { panic!() };
    assert_eq!(ended([a, b, c]), [true, false, false]);
    assert_eq!(counts(&all).0, 5);
}

#[test]
fn beyond_the_bytes_of_all_those_of_the_address_that_holds_most_give_way() {
    let all = UnprovedPosts::new(LIMITS);
    let (mut large, mut larger, mut small) = (all.admit(address(1)), all.admit(address(1)), all.admit(address(2)));
    large.heard(40);
    larger.heard(50);
    small.heard(10);
    assert_eq!(ended([&mut large, &mut larger, &mut small]), [false; 3], "just so many");
    small.heard(1);
    assert_eq!(ended([&mut large, &mut larger, &mut small]), [true, false, false]);
    assert_eq!(counts(&all), (2, 61, 2));
    // The one that is heard is spared, whatever it holds.
    small.heard(80);
    assert_eq!(ended([&mut larger, &mut small]), [true, false]);
    small.heard(80);
    assert_eq!(ended([&mut small]), [false]);
}

#[test]
fn nothing_is_remembered_of_those_that_have_gone() {
    let all = UnprovedPosts::new(LIMITS);
    let posts: Vec<_> = (0..20).map(|n| all.admit(address(n % 4))).collect();
    posts.iter().for_each(|post| post.heard(7));
    assert!(counts(&all).0 <= 5, "{:?}", counts(&all));
    drop(posts);
    assert_eq!(counts(&all), (0, 0, 0));
}

#[tokio::test]
async fn an_ended_post_is_told() {
    let all = UnprovedPosts::new(UnprovedLimits { by_address: 1, ..LIMITS });
    let mut first = all.admit(address(1));
    let _second = all.admit(address(1));
    first.ended().await;
    // Its bytes count no more.
    first.heard(1000);
    assert_eq!(counts(&all), (1, 0, 1));
}
