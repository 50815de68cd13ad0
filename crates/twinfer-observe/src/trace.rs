//! W3C Trace Context: <https://www.w3.org/TR/trace-context/>, versions 1 and 2.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// `00-` + 32 + `-` + 16 + `-` + 2.
const LENGTH: usize = 55;
/// Flags that we know and pass on: sampled, and random (version 2, section 3.2.2.5.2).
const FLAGS: u8 = SAMPLED | 2;
const SAMPLED: u8 = 1;
/// Section 3.3.1.1: at most so many members.
const MAX_MEMBERS: usize = 32;
/// Section 3.3.1.5: so many characters must be passed on; more need not.
const MAX_STATE: usize = 512;

/// The identifier of a trace: not all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// The identifier of a span: not all zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// From random bytes; `None` if all are zero.
    pub fn new(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The last eight bytes, which are random in all versions: what a sampler decides by.
    pub(crate) fn chance(self) -> u64 {
        let [_, _, _, _, _, _, _, _, last @ ..] = self.0;
        u64::from_be_bytes(last)
    }
}

impl SpanId {
    /// From random bytes; `None` if all are zero.
    pub fn new(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where in a trace somebody is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span that what follows is part of.
    pub span: SpanId,
    flags: u8,
    /// `tracestate`, which is others' and passed on as it is.
    pub state: Option<String>,
}

impl TraceContext {
    /// The beginning of a trace of our own.
    pub fn root(trace: TraceId, span: SpanId, sampled: bool) -> Self {
        Self {
            trace,
            span,
            // Ours are random in all bytes.
            flags: 2 | u8::from(sampled),
            state: None,
        }
    }

    /// A span below this one.
    pub fn child(&self, span: SpanId, sampled: bool) -> Self {
        Self {
            span,
            flags: (self.flags & !SAMPLED) | u8::from(sampled),
            ..self.clone()
        }
    }

    /// Whether the trace is recorded.
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What a request brings. `None` where there is no `traceparent`, or a malformed one, or two:
    /// then a trace begins here (section 4.3), and `tracestate` is not read.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let (parent, more) = (parents.next()?, parents.next());
        if more.is_some() {
            return None;
        }
        let parsed = parse(parent.to_str().ok()?)?;
        Some(Self {
            state: state(headers),
            ..parsed
        })
    }

    /// Puts it in the place of what a request brought.
    pub fn write(&self, headers: &mut HeaderMap) {
        let (trace, span, flags) = (self.trace, self.span, self.flags);
        let text = format!("00-{trace}-{span}-{flags:02x}");
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(TRACEPARENT, value);
        }
        headers.remove(TRACESTATE);
        let state = self.state.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(value)) = state {
            headers.insert(TRACESTATE, value);
        }
    }
}

/// Section 3.2: `version-traceid-parentid-flags`, in lower case.
fn parse(text: &str) -> Option<TraceContext> {
    let bytes = text.as_bytes();
    let (head, rest) = bytes.split_at_checked(LENGTH)?;
    let version = hex::<1>(&head[..2])?[0];
    // Later versions may have more at the end, after a dash (section 4.3).
    let fits = match version {
        0xff => false,
        0 => rest.is_empty(),
        _ => rest.is_empty() || rest.starts_with(b"-"),
    };
    let dashes = [2, 35, 52].iter().all(|at| head[*at] == b'-');
    if !fits || !dashes {
        return None;
    }
    Some(TraceContext {
        trace: TraceId::new(hex(&head[3..35])?)?,
        span: SpanId::new(hex(&head[36..52])?)?,
        flags: hex::<1>(&head[53..])?[0] & FLAGS,
        state: None,
    })
}

fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Several headers are one list (section 3.3). One that is not well-formed is dropped as a whole.
fn state(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    let lists: Vec<&str> = values.collect::<Result<_, _>>().ok()?;
    let members: Vec<&str> = lists
        .iter()
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect();
    let well_formed = |member: &&str| {
        let Some((key, value)) = member.split_once('=') else {
            return false;
        };
        let in_key = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte)
        };
        !key.is_empty()
            && key.bytes().all(in_key)
            && value
                .bytes()
                .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
    };
    let state = members.join(",");
    let good = !members.is_empty()
        && members.len() <= MAX_MEMBERS
        && state.len() <= MAX_STATE
        && members.iter().all(well_formed);
    good.then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of section 3.2.2.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(all: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn a_trace_is_taken_over_and_passed_on() {
        let mut headers = headers(&[
            (TRACEPARENT, EXAMPLE),
            (TRACESTATE, "congo=t61rcWkgMzE"),
            (TRACESTATE, "rojo=00f067aa0ba902b7, @x=1"),
        ]);
        let context = TraceContext::of(&headers).unwrap();
        assert_eq!(
            context.trace.to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert_eq!(context.span.to_string(), "00f067aa0ba902b7");
        assert!(context.sampled());
        let own = context.child(SpanId::new([1; 8]).unwrap(), false);
        own.write(&mut headers);
        assert_eq!(
            headers[TRACEPARENT],
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0101010101010101-00"
        );
        let states: Vec<_> = headers.get_all(TRACESTATE).iter().collect();
        assert_eq!(states, ["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,@x=1"]);
    }

    #[test]
    fn malformed_parents_are_none() {
        for text in [
            "",
            "00",
            // Upper case, a wrong length, wrong dashes, zeros, the version that is none.
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ] {
            assert_eq!(
                TraceContext::of(&headers(&[(TRACEPARENT, text)])),
                None,
                "{text}"
            );
        }
        let two = headers(&[(TRACEPARENT, EXAMPLE), (TRACEPARENT, EXAMPLE)]);
        assert_eq!(TraceContext::of(&two), None);
        assert_eq!(TraceContext::of(&headers(&[(TRACESTATE, "a=b")])), None);
        let mut not_text = headers(&[]);
        not_text.insert(TRACEPARENT, HeaderValue::from_bytes(&[0xff; 55]).unwrap());
        assert_eq!(TraceContext::of(&not_text), None);
    }

    #[test]
    fn later_versions_and_unknown_flags() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe-what-is-new";
        let context = TraceContext::of(&headers(&[(TRACEPARENT, later)])).unwrap();
        assert!(!context.sampled());
        let mut out = HeaderMap::new();
        context.write(&mut out);
        assert_eq!(
            out[TRACEPARENT],
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02"
        );
    }

    #[test]
    fn a_bad_state_is_dropped_and_the_trace_stays() {
        let many = (0..33)
            .map(|n| format!("k{n}=v"))
            .collect::<Vec<_>>()
            .join(",");
        let long = format!("k={}", "v".repeat(MAX_STATE));
        for state in ["novalue", "KEY=v", "k=a=b", "=v", &many, &long, ""] {
            let all = headers(&[(TRACEPARENT, EXAMPLE), (TRACESTATE, state)]);
            let context = TraceContext::of(&all).unwrap();
            assert_eq!(context.state, None, "{state}");
        }
    }

    #[test]
    fn zeros_are_no_identifiers() {
        assert_eq!(TraceId::new([0; 16]), None);
        assert_eq!(SpanId::new([0; 8]), None);
    }
}
