#![no_main]
//! See `tintype_server::fuzzing::picture`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tintype_server::fuzzing::picture(data));
