//! The crash tests of both feeds: webhooks are posted, streams are read and deliveries are settled while the gateway is
//! killed again and again, and then everything that anybody saw is compared.
//!
//! | file | |
//! |---|---|
//! | `plan`, `bodies` | what will happen, drawn from the seed |
//! | `senders`, `watchers`, `consumers`, `operators` | those who post, read, work, and look after the work |
//! | `client` | the RPCs of either feed |
//! | `frames`, `history` | what they were told, and when |
//! | `facts`, `log`, `book` | what was sent, what is in the log, what became of each event in a subscription |
//! | `webhooks_check`, `watch_check`, `leases_check`, `floor_check` | what must hold; none of it uses the gateway's code |
//! | `run`, `last_look` | all of it in order, and what is asked for in the end |
//! | `scene` | for the tests of the checks |

mod bodies;
mod book;
mod client;
mod consumers;
mod facts;
mod floor_check;
mod frames;
mod history;
mod last_look;
mod leases_check;
mod log;
mod operators;
mod plan;
mod run;
#[cfg(test)]
mod scene;
mod senders;
mod watch_check;
mod watchers;
mod webhooks_check;

pub(crate) use last_look::log as kept_events;
pub(crate) use plan::Plan;
pub(crate) use run::{run, webhook_settings};
