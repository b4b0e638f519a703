//! Reads a list of spans in Zipkin's JSON, for v1 and v2. The list is counted before it is read. Each
//! span is converted as soon as it is read, so that the list is never in memory twice.

use serde::de::DeserializeOwned;

use super::{Shared, ZipkinSpan};
use crate::bounded::{Fold, Gather, Sum, Tally, check_values};
use crate::{Decoded, IngestError, Limits};

/// A span in the JSON of one version.
pub(super) trait WireSpan: DeserializeOwned {
    /// Converts the span. The second span is the server side, if the wire span has both sides of a
    /// call. The error is a sentence that says why the span is unusable.
    fn convert(self) -> Result<(ZipkinSpan, Option<ZipkinSpan>), String>;
}

/// The spans so far.
#[derive(Default)]
struct Spans {
    decoded: Decoded,
    shared: Shared,
    /// Attributes inside the text of annotations, which `check_values` does not see.
    hidden_values: usize,
}

impl<W: WireSpan> Gather<W> for Spans {
    fn take(&mut self, span: W) {
        match span.convert() {
            Ok((span, server_side)) => {
                self.hidden_values += span.events.iter().map(|e| e.attributes.0.len()).sum::<usize>();
                self.decoded.spans.push(span.into_span(&mut self.shared));
                self.decoded.spans.extend(server_side.map(|span| span.into_span(&mut self.shared)));
            }
            Err(reason) => self.decoded.rejected.add(|| reason),
        }
    }
}

/// Reads a list of spans `W`. `C` counts a span without keeping it.
///
/// # Errors
/// [`IngestError`] when the text is not such a list or exceeds a limit.
pub(super) fn read_list<C, W>(
    body: &[u8],
    limits: Limits,
    format: &'static str,
) -> Result<Decoded, IngestError>
where
    C: DeserializeOwned + Into<Tally>,
    W: WireSpan,
{
    let malformed = |e: serde_json::Error| IngestError::Malformed { format, reason: e.to_string() };
    check_values(body, limits)?;
    let count = serde_json::from_slice::<Sum<C>>(body).map_err(malformed)?.0;
    count.check(limits)?;
    let Fold(spans, _): Fold<W, Spans> = serde_json::from_slice(body).map_err(malformed)?;
    Tally { values: count.values + spans.hidden_values, ..count }.check(limits)?;
    Ok(spans.decoded)
}
