#![no_main]
//! See `tintype_server::fuzzing::signature`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tintype_server::fuzzing::signature(data));
