//! Changes of seller orders and returns under kills: callers repeat them through all lives of the gateway, and then each has
//! to have been carried out as often as it was asked for. Money moves once.
//!
//! | file | |
//! |---|---|
//! | `plan` | what will happen, drawn from the seed |
//! | `requests`, `play` | what is sent, and by whom |
//! | `check` | what must hold; none of it uses the gateway's code |

mod check;
mod plan;
mod play;
mod requests;

pub(crate) use check::{figures, violations};
pub(crate) use plan::{ChangePlan, ChangeStory, faults};
pub(crate) use play::{ChangeTold, repeat};
