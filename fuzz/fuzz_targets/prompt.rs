#![no_main]
//! See `tintype_server::fuzzing::prompt`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| tintype_server::fuzzing::prompt(data));
