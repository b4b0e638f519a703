//! Jaeger's UI JSON: arbitrary bytes.
#![no_main]

use pacegate_ingest::{Limits, jaeger};
use pacegate_fuzz::survives_storage;

libfuzzer_sys::fuzz_target!(|body: &[u8]| survives_storage(jaeger::decode_ui(body, Limits::default())));
