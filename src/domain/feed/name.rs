//! The names of the two feeds.

/// One of the two feeds. Every feed has a log with its own id and positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedName {
    /// Customers' requests to cancel.
    #[default]
    CancelIntents,
    /// Every event that can be read and is no cancel intent.
    OrderUpdates,
}

impl FeedName {
    /// The two feeds, in their order.
    pub const ALL: [Self; 2] = [Self::CancelIntents, Self::OrderUpdates];

    /// The name in metric labels, errors and log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CancelIntents => "cancel_intents",
            Self::OrderUpdates => "order_updates",
        }
    }
}

/// A pair of values, one for every feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFeed<T>([T; FeedName::ALL.len()]);

impl<T> ByFeed<T> {
    /// Makes the value of every feed.
    pub fn new(make: impl FnMut(FeedName) -> T) -> Self {
        Self(FeedName::ALL.map(make))
    }

    /// The value of this feed.
    pub const fn of(&self, feed: FeedName) -> &T {
        &self.0[feed as usize]
    }

    /// The mutable value of this feed.
    pub(crate) const fn of_mut(&mut self, feed: FeedName) -> &mut T {
        &mut self.0[feed as usize]
    }

    /// The values, with their feeds.
    pub fn iter(&self) -> impl Iterator<Item = (FeedName, &T)> {
        FeedName::ALL.into_iter().zip(&self.0)
    }
}
