//! Trace context in the environment: TRACEPARENT, TRACESTATE and BAGGAGE in the forms of the W3C. An
//! invalid context is ignored.

use pacegate_engine::model::ids::{SpanId, TraceId};

/// The longest `tracestate` that is passed on, in bytes.
const TRACE_STATE_BYTES: usize = 512;
const TRACE_STATE_MEMBERS: usize = 32;
/// The longest baggage that is read, in bytes.
const BAGGAGE_BYTES: usize = 8_192;
/// Entries that become attributes.
const BAGGAGE_ATTRIBUTES: usize = 16;
/// Prefixes of baggage about the pipeline. Other entries may hold anything, so they are not recorded.
const BAGGAGE_KEYS: [&str; 3] = ["pipeline.", "cicd.", "vcs."];

/// The span of the process around this command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TraceParent {
    pub trace_id: TraceId,
    pub span_id: SpanId,
}

impl TraceParent {
    /// Reads `00-TRACE-SPAN-FLAGS`. Later versions may be longer, with the same beginning.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut fields = text.splitn(5, '-');
        let (version, trace) = (fields.next()?, fields.next()?);
        let (span, flags, more) = (fields.next()?, fields.next()?, fields.next());
        let is_byte = |text: &str| text.len() == 2 && text.bytes().all(is_lower_hex);
        if !is_byte(version) || version == "ff" || !is_byte(flags) || (version == "00" && more.is_some()) {
            return None;
        }
        if !trace.bytes().chain(span.bytes()).all(is_lower_hex) {
            return None;
        }
        Some(Self { trace_id: trace.parse().ok()?, span_id: span.parse().ok()? })
    }

    /// The value for the command's environment. Always sampled, because this command is recorded.
    pub(super) fn to_text(self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }
}

fn is_lower_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Whether a `tracestate` is valid and may be passed on.
pub(super) fn is_trace_state(text: &str) -> bool {
    let members: Vec<&str> = text.split(',').map(str::trim).filter(|m| !m.is_empty()).collect();
    let is_member = |member: &&str| {
        member.split_once('=').is_some_and(|(key, value)| {
            !key.is_empty()
                && key.bytes().all(|b| {
                    b.is_ascii_lowercase()
                        || b.is_ascii_digit()
                        || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@')
                })
                && !value.is_empty()
                && value.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=')
        })
    };
    text.len() <= TRACE_STATE_BYTES
        && (1..=TRACE_STATE_MEMBERS).contains(&members.len())
        && members.iter().all(is_member)
}

/// The entries of a `baggage` about the pipeline.
pub(super) fn pipeline_baggage(text: &str) -> Vec<(String, String)> {
    if text.len() > BAGGAGE_BYTES {
        return Vec::new();
    }
    text.split(',')
        .filter_map(|entry| entry.split(';').next()?.split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), percent_decoded(value.trim())))
        .filter(|(key, value)| BAGGAGE_KEYS.iter().any(|start| key.starts_with(start)) && !value.is_empty())
        .take(BAGGAGE_ATTRIBUTES)
        .collect()
}

/// Decodes `%41` and the like. Anything else stays as it is.
pub(super) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = rest
            .get(1..3)
            .filter(|_| first == b'%')
            .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &rest[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn only_w3c_trace_contexts_are_read() {
        let parsed = TraceParent::parse(&format!("00-{TRACE}-{SPAN}-00")).expect("a context");
        assert_eq!(parsed.to_text(), format!("00-{TRACE}-{SPAN}-01"));
        assert!(TraceParent::parse(&format!("cc-{TRACE}-{SPAN}-01-what-comes-later")).is_some());
        for bad in [
            String::new(),
            TRACE.to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{SPAN}-{TRACE}-01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{}é-01", &SPAN[..14]),
        ] {
            assert_eq!(TraceParent::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn trace_state_members_are_bounded() {
        assert!(is_trace_state("rojo=00f067aa0ba902b7, congo@ek=t61rcWkgMzE"));
        let many = vec!["a=1"; 33].join(",");
        for bad in ["", "novalue", "a=", "=b", "A=1", "a=b=c", "a=\u{7f}", &many, &"x".repeat(600)] {
            assert!(!is_trace_state(bad), "{bad}");
        }
    }

    #[test]
    fn pipeline_baggage_becomes_attributes() {
        let baggage =
            "userId=alice, pipeline.id=p%2D7;ttl=1,vcs.change.id = 12 ,cicd.x=,broken,pipeline.z=%zz%4";
        let expected = [("pipeline.id", "p-7"), ("vcs.change.id", "12"), ("pipeline.z", "%zz%4")];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pipeline_baggage(baggage), expected);
        assert!(pipeline_baggage(&format!("pipeline.id={}", "x".repeat(9_000))).is_empty());
        assert_eq!(percent_decoded("%E6%9E%84 %ff"), "构 \u{fffd}");
    }
}
