//! Splits rows into statements of few sizes. Drivers keep statements prepared by their text, and
//! the number of rows is part of the text. Statements of arbitrary sizes would never be reused.

/// Most rows of a statement; a power of two.
const LARGEST: usize = 128;

/// Splits rows into chunks whose sizes are powers of two, the larger ones first.
pub(super) fn chunks<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        // The largest power of two that fits.
        let size = 1 << rows.len().min(LARGEST).checked_ilog2()?;
        let (chunk, rest) = rows.split_at(size);
        rows = rest;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_powers_of_two_and_complete() {
        let rows: Vec<u16> = (0..333).collect();
        let cases: [(usize, &[usize]); 5] =
            [(0, &[]), (1, &[1]), (7, &[4, 2, 1]), (128, &[128]), (333, &[128, 128, 64, 8, 4, 1])];
        for (count, sizes) in cases {
            let cut: Vec<&[u16]> = chunks(&rows[..count]).collect();
            assert_eq!(cut.iter().map(|chunk| chunk.len()).collect::<Vec<_>>(), sizes, "{count}");
            assert_eq!(cut.concat(), rows[..count]);
        }
    }
}
