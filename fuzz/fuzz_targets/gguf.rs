#![no_main]
//! See `tintype_weights::fuzzing::gguf`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tintype_weights::fuzzing::gguf(data));
