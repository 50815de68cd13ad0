#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| twinfer_fuzz::session::everything(data));
