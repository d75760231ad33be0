//! The receiver as a whole, over a log that remembers.

mod answers;
mod app;
mod observed;
mod places;
mod tokens;
mod waits;

use super::*;
