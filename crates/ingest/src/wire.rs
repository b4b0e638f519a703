//! Reads the protobuf wire format from borrowed bytes. It allocates nothing, so a request cannot
//! claim more than it holds. Specification: protobuf.dev/programming-guides/encoding.

use super::{IngestError, Limits};
use pacegate_engine::model::ids::{IdError, TraceId};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("it ends in the middle of a field")]
    Truncated,
    #[error("it holds a number of more than 64 bits")]
    LongNumber,
    #[error("it holds a field of unknown wire type {0}")]
    WireType(u8),
    #[error("it holds field number 0")]
    FieldZero,
    #[error("it holds text that is not UTF-8")]
    Utf8,
    #[error("it holds too many values")]
    TooManyValues,
}

impl WireError {
    /// The error for a whole request of this format.
    pub(super) fn into_ingest_error(self, format: &'static str, limits: Limits) -> IngestError {
        match self {
            Self::TooManyValues => IngestError::TooManyValues { limit: limits.values },
            e => IngestError::Malformed { format, reason: e.to_string() },
        }
    }
}

/// A trace id of 16 bytes, or of 8 bytes from older clients.
pub(super) fn trace_id(bytes: &[u8]) -> Result<TraceId, IdError> {
    let mut whole = [0; 16];
    match bytes.len() {
        8 => {
            whole[8..].copy_from_slice(bytes);
            TraceId::from_bytes(&whole)
        }
        _ => TraceId::from_bytes(bytes),
    }
}

/// How many more values may be read of a request.
#[derive(Debug)]
pub(super) struct Allowance(pub(super) usize);

impl Allowance {
    pub(super) fn spend(&mut self) -> Result<(), WireError> {
        self.0 = self.0.checked_sub(1).ok_or(WireError::TooManyValues)?;
        Ok(())
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a length-delimited field. Any other field is `None`, because protobuf readers
    /// skip fields of an unexpected type.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    pub(super) fn text(self) -> Result<Option<&'a str>, WireError> {
        self.bytes().map(|b| std::str::from_utf8(b).map_err(|_| WireError::Utf8)).transpose()
    }
}

/// Walks the fields of one message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| WireError::LongNumber)?;
        if number == 0 {
            return Err(WireError::FieldZero);
        }
        let value = match u8::try_from(tag & 7).unwrap_or(0) {
            0 => Value::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Value::Fixed64(u64::from_le_bytes(bytes.try_into().map_err(|_| WireError::Truncated)?))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            // Groups (3, 4) were never part of OTLP.
            other => return Err(WireError::WireType(other)),
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *self.take(1)?.first().ok_or(WireError::Truncated)?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(WireError::LongNumber);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::LongNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Result<usize, WireError> {
        let mut fields = Fields::new(bytes);
        let mut count = 0;
        while fields.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn specification_examples_are_read() {
        // The specification's examples: field 1 = 150, field 2 = "testing".
        let mut fields =
            Fields::new(&[0x08, 0x96, 0x01, 0x12, 0x07, b't', b'e', b's', b't', b'i', b'n', b'g']);
        assert!(matches!(fields.next(), Ok(Some((1, Value::Varint(150))))));
        let (number, value) = fields.next().expect("readable").expect("a field");
        assert_eq!((number, value.text()), (2, Ok(Some("testing"))));
        assert!(matches!(fields.next(), Ok(None)));
    }

    #[test]
    fn cut_or_invalid_bytes_are_refused() {
        assert_eq!(walk(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]), Err(WireError::Truncated));
        assert_eq!(walk(&[0x08]), Err(WireError::Truncated));
        assert_eq!(
            walk(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Err(WireError::LongNumber)
        );
        assert_eq!(walk(&[0x00, 0x00]), Err(WireError::FieldZero));
        assert_eq!(walk(&[0x0b]), Err(WireError::WireType(3)));
    }
}
