#![no_main]
//! See `tintype_weights::fuzzing::safetensors`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tintype_weights::fuzzing::safetensors(data));
