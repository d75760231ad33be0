//! The names of the two feeds.

/// One of the two feeds. Each has a log of its own, with its own id and positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedName {
    /// Customers' intents to cancel.
    #[default]
    CancelIntents,
    /// Every other event that can be read.
    OrderUpdates,
}

impl FeedName {
    /// Both feeds.
    pub const ALL: [Self; 2] = [Self::CancelIntents, Self::OrderUpdates];

    /// The name in labels of metrics, in errors and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CancelIntents => "cancel_intents",
            Self::OrderUpdates => "order_updates",
        }
    }
}

/// A value for each of the two feeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByFeed<T>([T; FeedName::ALL.len()]);

impl<T> ByFeed<T> {
    /// Makes the value of each feed.
    pub fn new(make: impl FnMut(FeedName) -> T) -> Self {
        Self(FeedName::ALL.map(make))
    }

    /// The value of this feed.
    pub const fn of(&self, feed: FeedName) -> &T {
        &self.0[feed as usize]
    }

    /// The same, to be changed.
    pub const fn of_mut(&mut self, feed: FeedName) -> &mut T {
        &mut self.0[feed as usize]
    }

    /// The values, each with its feed.
    pub fn iter(&self) -> impl Iterator<Item = (FeedName, &T)> {
        FeedName::ALL.into_iter().zip(&self.0)
    }
}
