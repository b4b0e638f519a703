//! `Format::JaegerProtobuf`: arbitrary bytes.
#![no_main]

use pacegate_ingest::{Format, Limits};
use pacegate_fuzz::survives_storage;

libfuzzer_sys::fuzz_target!(|body: &[u8]| survives_storage(Format::JaegerProtobuf.decode(body, Limits::default())));
