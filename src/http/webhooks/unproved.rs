//! Posts whose origin is not proved yet: bounded, but never at the cost of a new one.
//!
//! A post proves where it comes from only when all of its body is there. Whoever can reach the listener can begin posts and
//! never finish them. Were they to fill a number of places, the next signed delivery would find none. So a limit that is
//! reached ends an old post and admits the new one: the post that has been silent longest is the one that least probably
//! goes on. An honest sender's body follows its head at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::http::peer::PeerAddress;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnprovedLimits {
    /// Posts of one address.
    pub(super) by_address: usize,
    /// Posts of all addresses. Fewer than the listener has connections, so that they leave some to others.
    pub(super) posts: usize,
    /// Bytes of their bodies that are here, of all addresses.
    pub(super) bytes: usize,
}

/// All posts without a proof. Cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub(super) struct UnprovedPosts {
    limits: UnprovedLimits,
    open: Arc<Mutex<OpenPosts>>,
}

#[derive(Debug, Default)]
struct OpenPosts {
    by_address: HashMap<PeerAddress, Vec<PostEntry>>,
    posts: usize,
    bytes: usize,
    /// Rises with everything that is heard, so that no two entries were heard at once.
    beat: u64,
}

#[derive(Debug)]
struct PostEntry {
    id: u64,
    /// The beat at which something of it came last.
    heard: u64,
    bytes: usize,
    end: oneshot::Sender<()>,
}

/// The place of one post. It is given back when dropped.
#[derive(Debug)]
pub(super) struct UnprovedPost {
    all: UnprovedPosts,
    address: PeerAddress,
    id: u64,
    ended: oneshot::Receiver<()>,
}

impl UnprovedPosts {
    pub(super) fn new(limits: UnprovedLimits) -> Self {
        Self { limits, open: Arc::default() }
    }

    /// Admits a post. Where a limit is reached, another one ends.
    pub(super) fn admit(&self, address: PeerAddress) -> UnprovedPost {
        let (end, ended) = oneshot::channel();
        let mut open = self.open();
        if open.by_address.get(&address).is_some_and(|own| own.len() >= self.limits.by_address) {
            open.end_longest_silent(address, None);
        } else if open.posts >= self.limits.posts {
            open.end_one_of_the_most(Vec::len, None);
        }
        open.beat += 1;
        let id = open.beat;
        open.posts += 1;
        open.by_address.entry(address).or_default().push(PostEntry { id, heard: id, bytes: 0, end });
        drop(open);
        UnprovedPost { all: self.clone(), address, id, ended }
    }

    /// It guards counts only: they are right after a panic, too.
    fn open(&self) -> MutexGuard<'_, OpenPosts> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnprovedPost {
    /// Notes that so many bytes of the body came. Where all bodies together hold too many, another post ends.
    pub(super) fn heard(&self, bytes: usize) {
        let mut open = self.all.open();
        open.beat += 1;
        let beat = open.beat;
        let Some(entry) = open.entry(self.address, self.id) else { return };
        entry.heard = beat;
        entry.bytes += bytes;
        open.bytes += bytes;
        while open.bytes > self.all.limits.bytes {
            let weight = |posts: &Vec<PostEntry>| posts.iter().map(|entry| entry.bytes).sum();
            if !open.end_one_of_the_most(weight, Some(self.id)) {
                break;
            }
        }
    }

    /// Resolves when the post is to end for others. Cancel safe.
    pub(super) async fn ended(&mut self) {
        // The sender goes only with the entry, and the entry with a word or with this place.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for UnprovedPost {
    fn drop(&mut self) {
        self.all.open().remove(self.address, self.id);
    }
}

impl OpenPosts {
    fn entry(&mut self, address: PeerAddress, id: u64) -> Option<&mut PostEntry> {
        self.by_address.get_mut(&address)?.iter_mut().find(|entry| entry.id == id)
    }

    fn remove(&mut self, address: PeerAddress, id: u64) -> Option<PostEntry> {
        let own = self.by_address.get_mut(&address)?;
        let at = own.iter().position(|entry| entry.id == id)?;
        let entry = own.swap_remove(at);
        if own.is_empty() {
            self.by_address.remove(&address);
        }
        self.posts -= 1;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Ends the post of an address that has been silent longest, but for `spared`. Its place is free at once. Says whether
    /// there was one.
    fn end_longest_silent(&mut self, address: PeerAddress, spared: Option<u64>) -> bool {
        let own = self.by_address.get(&address).into_iter().flatten();
        let longest = own.filter(|entry| Some(entry.id) != spared).min_by_key(|entry| entry.heard);
        let Some(id) = longest.map(|entry| entry.id) else { return false };
        if let Some(entry) = self.remove(address, id) {
            // Nobody may wait any more.
            let _ = entry.end.send(());
        }
        true
    }

    /// The same, of the address with the greatest weight that has any.
    fn end_one_of_the_most(&mut self, weight: impl Fn(&Vec<PostEntry>) -> usize, spared: Option<u64>) -> bool {
        let others = |posts: &[PostEntry]| posts.iter().any(|entry| Some(entry.id) != spared);
        let with_others = self.by_address.iter().filter(|(_, posts)| others(posts));
        let most = with_others.max_by_key(|(_, posts)| weight(posts)).map(|(address, _)| *address);
        most.is_some_and(|address| self.end_longest_silent(address, spared))
    }
}

#[cfg(test)]
#[path = "unproved_tests.rs"]
mod tests;
