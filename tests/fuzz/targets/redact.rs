//! The redactor: arbitrary OTLP, as JSON or as protobuf.
#![no_main]

use pacegate_ingest::{Limits, otlp};
use pacegate_fuzz::redacts_once;

libfuzzer_sys::fuzz_target!(|body: &[u8]| match body.first() {
    Some(b'{') => redacts_once(otlp::decode_json(body, Limits::default())),
    _ => redacts_once(otlp::decode_protobuf(body, Limits::default())),
});
