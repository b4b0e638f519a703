//! Compresses the batches of accepted spans that wait in the store for their run: OTLP protobuf in
//! zstd. A batch is written once and read once, and its cost is the disk. Uncompressed batches of
//! earlier versions (OTLP protobuf or JSON) can still be read.

use std::borrow::Cow;

/// zstd's fastest regular level. The spans of a batch repeat each other's keys, so higher levels
/// gain little for several times the work.
const LEVEL: i32 = 1;
/// The first bytes of a zstd frame. No OTLP request begins like this, in either encoding.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Limit on the decompressed size of a batch, bytes: more than an accepted request can grow to.
const PLAIN_LIMIT: u64 = 256 << 20;

/// A stored batch that can't be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the error texts document the variants")]
pub enum SpanBatchError {
    #[error(
        "a stored batch of spans can't be decompressed: the database is damaged, restore it from a backup"
    )]
    Damaged(#[source] std::io::Error),
    /// More bytes than any stored batch has.
    #[error(
        "a stored batch of spans has a decompressed size of {0} bytes: the database is damaged, restore it from \
         a backup"
    )]
    TooLarge(u64),
}

/// Compresses a batch for the store.
#[must_use]
pub fn compress(plain: &[u8]) -> Box<[u8]> {
    // Compression fails only when memory is short. An uncompressed batch can be read too.
    zstd::bulk::compress(plain, LEVEL).map_or_else(|_| plain.into(), Vec::into_boxed_slice)
}

/// Decompresses a stored batch to OTLP.
///
/// # Errors
/// [`SpanBatchError`] when the bytes are not the output of [`compress`]: the database is damaged.
pub fn plain(stored: &[u8]) -> Result<Cow<'_, [u8]>, SpanBatchError> {
    if !stored.starts_with(&MAGIC) {
        return Ok(Cow::Borrowed(stored));
    }
    let claimed = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten().unwrap_or(u64::MAX);
    let size = usize::try_from(claimed).ok().filter(|_| claimed <= PLAIN_LIMIT);
    let size = size.ok_or(SpanBatchError::TooLarge(claimed))?;
    zstd::bulk::decompress(stored, size).map(Cow::Owned).map_err(SpanBatchError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_batch_decompresses_to_itself() {
        for batch in [Vec::new(), b"\n\x03abc".to_vec(), b"\n\x03abc".repeat(100_000)] {
            assert_eq!(plain(&compress(&batch)).unwrap(), batch);
        }
        assert!(compress(&b"cicd.pipeline.run.id".repeat(1_000)).len() < 100);
    }

    #[test]
    fn uncompressed_batches_of_earlier_versions_are_read() {
        for batch in [&b"{\"resourceSpans\":[]}"[..], b"\n\x00", b""] {
            assert_eq!(plain(batch).unwrap(), batch);
        }
    }

    #[test]
    fn damaged_batch_is_refused_without_reserving_memory() {
        let mut cut = compress(&b"spans ".repeat(1_000)).into_vec();
        cut.pop();
        assert!(matches!(plain(&cut), Err(SpanBatchError::Damaged(_))));
        // A frame header that claims 2^62 bytes.
        let mut huge = MAGIC.to_vec();
        huge.extend([0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40]);
        assert!(matches!(plain(&huge), Err(SpanBatchError::TooLarge(size)) if size == 1 << 62));
    }
}
