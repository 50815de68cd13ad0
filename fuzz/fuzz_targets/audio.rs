#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = twinfer_fuzz::audio::everything(data);
});
