//! Lies in the transport: truncated or compressed bodies, and broken connections.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::LieScope::{Calls, Connections};
use super::{AnswerLoss, Lie, LieContext, LieKind, changes};
use crate::emulator::answer::WalmartAnswer;

pub(super) const LIES: &[Lie] = &[
    changes("cut-body", Calls, cut, "the true answer, its body cut in the middle"),
    changes("gzip-body", Calls, gzip, "the true answer, compressed though nobody asked for it"),
    changes("bare-gzip-body", Calls, bare_gzip, "the true answer, compressed, without the header that says so"),
    changes("html-body", Calls, html, "the true status with an HTML page"),
    Lie {
        name: "goaway",
        does: "GOAWAY with a last stream below the call's, which is not executed; other streams are answered",
        about: Calls,
        tell: LieKind::Breaks(AnswerLoss::TurnedAway),
    },
    Lie {
        name: "half-dead",
        does: "from this call on the connection takes bytes and sends none, not even PING's answers; others work",
        about: Calls,
        tell: LieKind::Breaks(AnswerLoss::Silent),
    },
    Lie {
        name: "hang-connect",
        does: "the connection is accepted and never read: with TLS the handshake hangs",
        about: Connections,
        tell: LieKind::HangsConnect,
    },
];

fn cut(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    truth.with_bytes(|bytes| bytes.slice(..bytes.len() / 2))
}

fn gzip(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    bare_gzip(question, truth).with("content-encoding", "gzip")
}

fn bare_gzip(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    truth.with_bytes(|bytes| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing to memory does not fail.
        let _ = encoder.write_all(&bytes);
        encoder.finish().unwrap_or_default().into()
    })
}

fn html(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    WalmartAnswer::fixed(truth.status, "<html><body><h1>Service Unavailable</h1></body></html>".into())
}
