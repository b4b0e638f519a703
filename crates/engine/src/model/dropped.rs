//! Notes on how much of a run's spans was left out. They don't say which side left it out: the
//! sender's limits and ours are counted together.

use super::span::Span;

/// One note for each kind of data that was left out of the spans. Empty when they are complete.
#[must_use]
pub fn notes(spans: &[Span]) -> Vec<String> {
    let attributes = |span: &Span| {
        let of_events = span.events.iter().map(|event| u64::from(event.dropped_attributes)).sum::<u64>();
        u64::from(span.dropped.attributes) + of_events
    };
    [
        note(spans.iter().map(attributes), "attribute", "attributes"),
        note(spans.iter().map(|span| u64::from(span.dropped.events)), "event", "events"),
        note(spans.iter().map(|span| u64::from(span.dropped.links)), "link", "links"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn note(dropped: impl Iterator<Item = u64>, one: &str, many: &str) -> Option<String> {
    let (spans, left_out) =
        dropped.filter(|n| *n > 0).fold((0_u64, 0_u64), |(spans, sum), n| (spans + 1, sum.saturating_add(n)));
    let had = if spans == 1 { "1 span had".to_owned() } else { format!("{spans} spans had") };
    let kind = if left_out == 1 { one } else { many };
    (spans > 0).then(|| format!("{had} more {many} than are kept: {left_out} {kind} left out"))
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
                "2 spans had more attributes than are kept: 12 attributes left out",
                "1 span had more events than are kept: 1 event left out"
            ]
        );
    }
}
