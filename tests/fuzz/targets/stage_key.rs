//! The templater of stages' names: arbitrary text.
#![no_main]

libfuzzer_sys::fuzz_target!(|name: &str| pacegate_fuzz::templates(name));
