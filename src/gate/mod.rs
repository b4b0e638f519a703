//! Pure decisions: spans to stages, history to a baseline, both to a comparison.
