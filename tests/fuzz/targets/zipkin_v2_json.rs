//! `Format::ZipkinV2Json`: arbitrary bytes.
#![no_main]

use pacegate_ingest::{Format, Limits};
use pacegate_fuzz::survives;

libfuzzer_sys::fuzz_target!(|body: &[u8]| survives(Format::ZipkinV2Json.decode(body, Limits::default())));
