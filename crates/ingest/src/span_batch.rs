//! A batch of accepted spans as it waits in the store for its run: OTLP protobuf, compressed. It is
//! written once and read once, and what it costs is the disk. Batches of earlier versions, OTLP as
//! protobuf or JSON without compression, are read as they are.

use std::borrow::Cow;

/// zstd's fastest regular level: the spans of a batch repeat each other's keys, and higher levels
/// gain little for several times the work.
const LEVEL: i32 = 1;
/// How a zstd frame begins: no OTLP request does, in neither encoding.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The most a batch takes before it is compressed: what an accepted request may grow to, and more.
const PLAIN_LIMIT: u64 = 256 << 20;

/// A stored batch that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SpanBatchError {
    /// Not what was written.
    #[error(
        "a stored batch of spans can't be decompressed: the database is damaged, restore it from a backup"
    )]
    Damaged(#[source] std::io::Error),
    /// Nothing that was written says so.
    #[error("a stored batch of spans claims {0} bytes: the database is damaged, restore it from a backup")]
    Claims(u64),
}

/// The form in which a batch is stored.
#[must_use]
pub fn compress(plain: &[u8]) -> Box<[u8]> {
    // It fails for want of memory alone; a batch that is stored as it is can be read too.
    zstd::bulk::compress(plain, LEVEL).map_or_else(|_| plain.into(), Vec::into_boxed_slice)
}

/// A stored batch as OTLP.
///
/// # Errors
/// [`SpanBatchError`]: what is stored is what [`compress`] wrote, so the database is damaged.
pub fn plain(stored: &[u8]) -> Result<Cow<'_, [u8]>, SpanBatchError> {
    if !stored.starts_with(&MAGIC) {
        return Ok(Cow::Borrowed(stored));
    }
    let claimed = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten().unwrap_or(u64::MAX);
    let size = usize::try_from(claimed).ok().filter(|_| claimed <= PLAIN_LIMIT);
    let size = size.ok_or(SpanBatchError::Claims(claimed))?;
    zstd::bulk::decompress(stored, size).map(Cow::Owned).map_err(SpanBatchError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_comes_back() {
        for batch in [Vec::new(), b"\n\x03abc".to_vec(), b"\n\x03abc".repeat(100_000)] {
            assert_eq!(plain(&compress(&batch)).unwrap(), batch);
        }
        assert!(compress(&b"cicd.pipeline.run.id".repeat(1_000)).len() < 100);
    }

    #[test]
    fn batches_of_earlier_versions_are_read_as_they_are() {
        for batch in [&b"{\"resourceSpans\":[]}"[..], b"\n\x00", b""] {
            assert_eq!(plain(batch).unwrap(), batch);
        }
    }

    #[test]
    fn damage_is_told_and_claims_reserve_nothing() {
        let mut cut = compress(&b"spans ".repeat(1_000)).into_vec();
        cut.pop();
        assert!(matches!(plain(&cut), Err(SpanBatchError::Damaged(_))));
        // A frame header that claims 2^62 bytes.
        let mut huge = MAGIC.to_vec();
        huge.extend([0xe0, 0, 0, 0, 0, 0, 0, 0, 0x40]);
        assert!(matches!(plain(&huge), Err(SpanBatchError::Claims(size)) if size == 1 << 62));
    }
}
