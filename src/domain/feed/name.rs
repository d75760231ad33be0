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
}
