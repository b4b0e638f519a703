//! Iterates over the JSON objects of a file with one object on each line. Other lines are skipped:
//! tools print text between the objects.

use serde::Deserialize;

/// The first `lines` lines that are objects of type `T`.
pub(super) fn documents<'a, T: Deserialize<'a>>(text: &'a [u8], lines: usize) -> impl Iterator<Item = T> {
    text.split(|byte| *byte == b'\n')
        .take(lines)
        .filter(|line| line.trim_ascii_start().first() == Some(&b'{'))
        .filter_map(|line| serde_json::from_slice(line).ok())
}
