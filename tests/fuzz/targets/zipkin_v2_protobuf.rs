//! `Format::ZipkinV2Protobuf`: arbitrary bytes.
#![no_main]

use pacegate_ingest::{Format, Limits};
use pacegate_fuzz::survives_storage;

libfuzzer_sys::fuzz_target!(|body: &[u8]| survives_storage(Format::ZipkinV2Protobuf.decode(body, Limits::default())));
