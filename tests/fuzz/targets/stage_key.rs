//! Templates of stage names: arbitrary text.
#![no_main]

libfuzzer_sys::fuzz_target!(|name: &str| pacegate_fuzz::template_is_stable(name));
