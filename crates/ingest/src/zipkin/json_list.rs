//! A list of spans in Zipkin's JSON, whichever version: counted before it is read, and each span made
//! ours as soon as it is read, so that the list is never in memory twice.

use serde::de::DeserializeOwned;

use super::{Shared, Told};
use crate::bounded::{Fold, Gather, Sum, Tally, check_values};
use crate::{Decoded, IngestError, Limits};

/// A span as one version writes it.
pub(super) trait WireSpan: DeserializeOwned {
    /// The span, and the server's side of the call when it tells both in one; a sentence when it
    /// can't be used.
    fn told(self) -> Result<(Told, Option<Told>), String>;
}

/// The spans so far.
#[derive(Default)]
struct Spans {
    decoded: Decoded,
    shared: Shared,
    /// Attributes written inside an annotation's text, which no brace of the body counts.
    hidden_values: usize,
}

impl<W: WireSpan> Gather<W> for Spans {
    fn take(&mut self, span: W) {
        match span.told() {
            Ok((told, other_side)) => {
                self.hidden_values += told.events.iter().map(|e| e.attributes.0.len()).sum::<usize>();
                self.decoded.spans.push(told.into_span(&mut self.shared));
                self.decoded.spans.extend(other_side.map(|told| told.into_span(&mut self.shared)));
            }
            Err(reason) => self.decoded.rejected.add(|| reason),
        }
    }
}

/// Reads a list of spans `W`, each of which `C` counts without keeping it.
///
/// # Errors
/// [`IngestError`] when the text is not such a list or holds too much.
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
