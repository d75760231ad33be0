//! Bounds the posts whose origin is not proved yet, without refusing new ones.
//!
//! The origin of a post is proved only by its complete body. Anyone who reaches the listener can begin posts and never
//! finish them; if such posts filled all places, the next signed delivery would be refused. At a limit, therefore, an
//! old post ends and the new one is admitted: the post silent for longest is the least likely to go on, because the
//! body of an honest sender follows the head at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::http::peer::PeerAddress;

/// Bounds on unproved posts.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnprovedLimits {
    /// Posts of a single address.
    pub(super) by_address: usize,
    /// Posts of all addresses, fewer than the listener's connections, which leaves places for the rest.
    pub(super) posts: usize,
    /// Bytes of the bodies read so far, of all addresses.
    pub(super) bytes: usize,
}

/// All unproved posts. Clones share the posts.
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
    /// Incremented by every event, so that no two entries have the same beat.
    beat: u64,
}

#[derive(Debug)]
struct PostEntry {
    id: u64,
    /// The beat of the last bytes.
    heard: u64,
    bytes: usize,
    end: oneshot::Sender<()>,
}

/// The place of a post, freed when dropped.
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

    /// Admits a post. At a limit another post ends.
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

    /// The lock guards counts only, which are right after a panic too.
    fn open(&self) -> MutexGuard<'_, OpenPosts> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnprovedPost {
    /// Notes received bytes. When all bodies together exceed the limit, another post ends.
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

    /// Completes when the post has to make way for another. Cancel safe.
    pub(super) async fn ended(&mut self) {
        // The sender is dropped only with its entry: after a message, or with this place.
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

    /// Ends the post of an address that has been silent for longest, except `spared`, and frees its place. Returns
    /// whether one was found.
    fn end_longest_silent(&mut self, address: PeerAddress, spared: Option<u64>) -> bool {
        let own = self.by_address.get(&address).into_iter().flatten();
        let longest = own.filter(|entry| Some(entry.id) != spared).min_by_key(|entry| entry.heard);
        let Some(id) = longest.map(|entry| entry.id) else { return false };
        if let Some(entry) = self.remove(address, id) {
            // The receiver may be gone already.
            let _ = entry.end.send(());
        }
        true
    }

    /// Does the same for the address with the greatest weight.
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
