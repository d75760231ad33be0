//! What a fault rule or a magic value does to one call.

use std::time::Duration;

use bytes::Bytes;

use super::answer::WalmartAnswer;
use super::lies::{AnswerLoss, Lie, LieContext, LieKind, LieScope};

/// Changes to the normal course of a call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CallDisturbance {
    /// Delay of the answer, or of its loss. The operation itself runs at once.
    pub(crate) delay: Duration,
    /// Whether the connection ends without an answer.
    pub(crate) drops: bool,
    /// Whether the operation runs.
    pub(crate) executes: bool,
    /// Status in place of the real status, or of the lie's.
    pub(crate) status: Option<u16>,
    /// Body in place of the real body.
    pub(crate) body: Option<Bytes>,
    /// The lie in place of the true answer.
    pub(crate) lie: Option<&'static Lie>,
}

impl CallDisturbance {
    /// Builds the answer for the caller. `real` is the true answer, if the operation ran.
    pub(crate) fn answer(
        &self,
        question: &LieContext<'_>,
        real: Option<WalmartAnswer>,
    ) -> Result<WalmartAnswer, AnswerLoss> {
        if self.drops {
            return Err(AnswerLoss::Closed);
        }
        if let Some(Lie { tell: LieKind::Breaks(end), .. }) = self.lie {
            return Err(*end);
        }
        let Some(lie) = self.lie else { return Ok(self.undistorted(real)) };
        if lie.about == LieScope::Calls {
            // These lies change how an answer arrives; the rule's status selects the answer.
            return Ok(lie.answer(question, self.undistorted(real)));
        }
        let told = lie.answer(question, real.unwrap_or_else(|| WalmartAnswer::of_status(500)));
        Ok(match self.status {
            Some(status) => told.with_status(status),
            None => told,
        })
    }

    /// The answer with the rule's status and body.
    fn undistorted(&self, real: Option<WalmartAnswer>) -> WalmartAnswer {
        let real_status = real.as_ref().map_or(200, |answer| answer.status);
        match (self.status, &self.body, real) {
            (status, Some(body), _) => WalmartAnswer::fixed(status.unwrap_or(real_status), body.clone()),
            (Some(status), None, _) => WalmartAnswer::of_status(status),
            (None, None, Some(real)) => real,
            (None, None, None) => WalmartAnswer::of_status(500),
        }
    }
}
