//! The ids of a call as defined by W3C Trace Context (<https://www.w3.org/TR/trace-context/>).

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::current::SpanIds;

pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Maximum length of a forwarded `tracestate`, in bytes; the specification requires at least 512.
const MAX_STATE: usize = 512;

/// The position of a span in its trace. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the trace; never 0.
    pub trace_id: u128,
    /// Id of the span; never 0.
    pub span_id: u64,
    /// Whether the trace is recorded.
    pub sampled: bool,
    /// The caller's `tracestate`, forwarded unchanged.
    pub state: Option<Arc<HeaderValue>>,
}

impl TraceContext {
    /// Reads the caller's context. Returns `None` for absent or malformed headers; the call then starts a new trace.
    /// `grpc-trace-bin` is ignored.
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let (trace_id, span_id, sampled) = parse(parent.as_bytes())?;
        Some(Self { trace_id, span_id, sampled, state: state(headers) })
    }

    /// The ids, without the caller's `tracestate`.
    pub fn ids(&self) -> SpanIds {
        SpanIds { trace_id: self.trace_id, span_id: self.span_id, sampled: self.sampled }
    }

    /// The header by which the receiver becomes a child of this span.
    pub fn traceparent(&self) -> HeaderValue {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(self.trace_id, &mut text[3..35]);
        write_hex(self.span_id.into(), &mut text[36..52]);
        write_hex(self.sampled.into(), &mut text[53..55]);
        // Hexadecimal digits and dashes are always a valid value.
        HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
    }

    /// The trace id as logs and other tools write it.
    pub fn trace_id_text(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The span id as logs and other tools write it.
    pub fn span_id_text(&self) -> String {
        format!("{:016x}", self.span_id)
    }
}

/// Parses `version-traceid-parentid-flags`; later versions may append fields.
fn parse(text: &[u8]) -> Option<(u128, u64, bool)> {
    let (fixed, rest) = text.split_at_checked(55)?;
    let version = hex(&fixed[..2])?;
    let known_length = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
    if version == 0xff || !known_length || fixed[2] != b'-' || fixed[35] != b'-' || fixed[52] != b'-' {
        return None;
    }
    let trace_id = hex(&fixed[3..35])?;
    let span_id = hex(&fixed[36..52])? as u64;
    let flags = hex(&fixed[53..55])?;
    (trace_id != 0 && span_id != 0).then_some((trace_id, span_id, flags & 1 == 1))
}

/// Parses lower-case hexadecimal digits; the specification forbids upper case.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// Writes the last digits of `value` into `room`. Used instead of `format!`, which takes four times as long, because
/// every request needs three numbers.
fn write_hex(mut value: u128, room: &mut [u8]) {
    for digit in room.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn state(headers: &HeaderMap) -> Option<Arc<HeaderValue>> {
    let mut all = headers.get_all(TRACESTATE).iter();
    let first = all.next()?;
    let state = match all.next() {
        None => first.clone(),
        Some(second) => {
            let mut joined = first.as_bytes().to_vec();
            for more in std::iter::once(second).chain(all) {
                joined.push(b',');
                joined.extend_from_slice(more.as_bytes());
            }
            HeaderValue::from_maybe_shared(Bytes::from(joined)).ok()?
        }
    };
    (1..=MAX_STATE).contains(&state.len()).then(|| state.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_comes_in_goes_out() {
        for parent in [PARENT, "00-00000000000000000000000000000001-0000000000000001-00"] {
            let context = TraceContext::from_headers(&headers(&[(TRACEPARENT, parent)])).unwrap();
            assert_eq!(context.traceparent(), parent);
            assert!(parent.contains(&context.trace_id_text()) && parent.contains(&context.span_id_text()));
        }
    }

    #[test]
    fn malformed_is_no_parent() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        let (upper, longer, forbidden) =
            (PARENT.to_uppercase(), format!("{PARENT}-00"), PARENT.replacen("00", "ff", 1));
        for bad in ["", "x", &PARENT[..54], &zero_trace, &zero_span, &upper, &longer, &forbidden] {
            assert_eq!(TraceContext::from_headers(&headers(&[(TRACEPARENT, bad)])), None, "{bad}");
        }
        let twice = headers(&[(TRACEPARENT, PARENT), (TRACEPARENT, PARENT)]);
        assert_eq!(TraceContext::from_headers(&twice), None);
        let binary = headers(&[(HeaderName::from_static("grpc-trace-bin"), "AAAB")]);
        assert_eq!(TraceContext::from_headers(&binary), None);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        let later = format!("{}-more", PARENT.replacen("00", "01", 1));
        let context = TraceContext::from_headers(&headers(&[(TRACEPARENT, &later)])).unwrap();
        assert_eq!(context.traceparent(), PARENT);
    }

    #[test]
    fn state_travels_with_a_valid_parent_only() {
        let state = |pairs: &[(HeaderName, &str)]| TraceContext::from_headers(&headers(pairs)).map(|c| c.state);
        let both = [(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")];
        assert_eq!(state(&both), Some(Some(Arc::new(HeaderValue::from_static("a=1,b=2")))));
        assert_eq!(state(&[(TRACESTATE, "a=1")]), None);
        assert_eq!(state(&[(TRACEPARENT, PARENT), (TRACESTATE, &"a".repeat(513))]), Some(None));
    }
}
