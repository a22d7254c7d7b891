//! W3C Trace Context: which trace a request belongs to.
//!
//! A valid `traceparent` of the client is continued, otherwise a trace begins here; either way the gateway is a span of
//! its own, whose id goes on to services. Whether a trace that begins here is sampled is up to the caller.

use http::{HeaderMap, HeaderName, HeaderValue};

pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longer vendor state is dropped, as the recommendation allows above 512 characters.
const MAX_STATE: usize = 512;

/// The gateway's span of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    pub trace: u128,
    pub span: u64,
    /// The caller's span; 0: the trace begins here.
    pub parent: u64,
    /// Whether the trace is recorded: the caller's word, where there is one.
    pub sampled: bool,
}

impl Trace {
    /// Continues the trace of these headers or begins one, and takes the caller's span off them.
    ///
    /// SECURITY: `tracestate` is passed on only beside a valid `traceparent`, and within its limit.
    pub fn enter(headers: &mut HeaderMap, random: impl Fn() -> u64, sample: impl FnOnce(u128) -> bool) -> Trace {
        // Zero means "none" in both places.
        let span = random().max(1);
        // One look at the names, of which nearly always none is one of the two.
        let is_traced = headers.keys().any(|name| matches!(name.as_str(), "traceparent" | "tracestate"));
        let parent = if is_traced { caller(headers) } else { None };
        let trace = match parent {
            Some((trace, parent, sampled)) => Trace { trace, span, parent, sampled },
            None => {
                let trace = u128::from(random()) << 64 | u128::from(random().max(1));
                Trace { trace, span, parent: 0, sampled: sample(trace) }
            }
        };
        if is_traced {
            let state: usize = headers.get_all(TRACESTATE).iter().map(HeaderValue::len).sum();
            if parent.is_none() || state > MAX_STATE {
                headers.remove(TRACESTATE);
            }
            headers.remove(TRACEPARENT);
        }
        trace
    }

    /// Sets the gateway's own span on a request.
    pub fn set(&self, headers: &mut HeaderMap) {
        if let Some(value) = self.header() {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// The same as a line of a head.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut line = *b"traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n";
        self.fill(&mut line[13..68]);
        out.extend_from_slice(&line);
    }

    /// `traceparent` for what is called within this span.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_bytes(&self.text()).ok()
    }

    fn text(&self) -> [u8; 55] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        self.fill(&mut text);
        text
    }

    /// Writes what differs from trace to trace into its form.
    fn fill(&self, text: &mut [u8]) {
        hex(self.trace, &mut text[3..35]);
        hex(u128::from(self.span), &mut text[36..52]);
        text[54] = if self.sampled { b'1' } else { b'0' };
    }

    /// 32 hexadecimal digits.
    pub fn id(&self) -> [u8; 32] {
        let mut text = [0; 32];
        hex(self.trace, &mut text);
        text
    }
}

/// What the one `traceparent` says.
fn caller(headers: &HeaderMap) -> Option<(u128, u64, bool)> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    match (parents.next(), parents.next()) {
        (Some(parent), None) => parse(parent.as_bytes()),
        _ => None,
    }
}

/// The last digits of a number, as many as there is room for.
pub fn hex(number: u128, into: &mut [u8]) {
    // By bytes: a shift of 128 bits for each digit costs more than the rest.
    let bytes = number.to_be_bytes();
    for (pair, byte) in into.rchunks_exact_mut(2).zip(bytes.iter().rev()) {
        [pair[0], pair[1]] = PAIRS[usize::from(*byte)];
    }
}

/// Each byte as two digits.
static PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The trace, the caller's span and whether it is sampled (Trace Context §3.2). Later versions may append fields after another dash.
fn parse(text: &[u8]) -> Option<(u128, u64, bool)> {
    let digits = |range: std::ops::Range<usize>| {
        let text = text.get(range)?;
        let lower = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        lower.then(|| u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()).flatten()
    };
    let (version, trace, parent, flags) = (digits(0..2)?, digits(3..35)?, digits(36..52)?, digits(53..55)?);
    let dashes = text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
    let ended = match version {
        0 => text.len() == 55,
        255 => false,
        _ => text.len() == 55 || text[55] == b'-',
    };
    (dashes && ended && trace != 0 && parent != 0).then_some((trace, parent as u64, flags & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_recommendation_allows_is_continued() {
        let cases = [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", true),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what", false),
            ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.", false),
            ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", false),
            ("00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("", false),
        ];
        for (text, valid) in cases {
            assert_eq!(parse(text.as_bytes()).is_some(), valid, "{text}");
        }
    }

    #[test]
    fn the_span_is_written_over_the_parents() {
        let sent = HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let mut headers: HeaderMap = [(TRACEPARENT, sent)].into_iter().collect();
        let trace = Trace::enter(&mut headers, || 0xab, |_| false);
        assert_eq!(trace.id(), *b"0af7651916cd43dd8448eb211c80319c");
        assert!(headers.is_empty());
        trace.set(&mut headers);
        let mut line = Vec::new();
        trace.write(&mut line);
        assert_eq!(line, [b"traceparent: ", headers[TRACEPARENT].as_bytes(), b"\r\n"].concat());
        assert_eq!(headers[TRACEPARENT], "00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-01");
    }
}
