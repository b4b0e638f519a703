//! Notes on how much of a run's spans was left out. They don't distinguish the sender's limits
//! from ours: both are counted together.

use super::note::{Note, SpanPart};
use super::span::Span;

/// One note for each kind of data that was left out of the spans. Empty when they are complete.
#[must_use]
pub fn notes(spans: &[Span]) -> Vec<Note> {
    let attributes = |span: &Span| {
        let of_events = span.events.iter().map(|event| u64::from(event.dropped_attributes)).sum::<u64>();
        u64::from(span.dropped.attributes) + of_events
    };
    [
        note(spans.iter().map(attributes), SpanPart::Attribute),
        note(spans.iter().map(|span| u64::from(span.dropped.events)), SpanPart::Event),
        note(spans.iter().map(|span| u64::from(span.dropped.links)), SpanPart::Link),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn note(dropped: impl Iterator<Item = u64>, part: SpanPart) -> Option<Note> {
    let (spans, left_out) =
        dropped.filter(|n| *n > 0).fold((0_u64, 0_u64), |(spans, sum), n| (spans + 1, sum.saturating_add(n)));
    (spans > 0).then_some(Note::PartsLeftOut { part, spans, left_out })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::span::Dropped;
    use crate::model::trace::tests::span;

    #[test]
    fn notes_count_each_kind_of_data() {
        let cut = |attributes, events| Span {
            dropped: Dropped { attributes, events, links: 0 },
            ..span(1, None, 0, 1)
        };
        assert!(notes(&[cut(0, 0)]).is_empty());
        assert_eq!(
            notes(&[cut(1, 0), cut(0, 0), cut(11, 1)]),
            [
                Note::PartsLeftOut { part: SpanPart::Attribute, spans: 2, left_out: 12 },
                Note::PartsLeftOut { part: SpanPart::Event, spans: 1, left_out: 1 },
            ]
        );
    }
}
