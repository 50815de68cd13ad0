//! See Cargo.toml and ../speed.mjs. One model at a time, in statics: nothing calls this twice at once.
#![allow(static_mut_refs, dangerous_implicit_autorefs)]
use twinfer::*;
#[unsafe(no_mangle)]
pub extern "C" fn alloc(n: usize) -> *mut u8 {
    let mut v = vec![0u128; n.div_ceil(16)];
    let p = v.as_mut_ptr();
    std::mem::forget(v);
    p.cast()
}
static mut S: Option<Session> = None;
static mut IN: Vec<(String, Tensor)> = Vec::new();
static mut OUT: Vec<u8> = Vec::new();
static mut INFO: String = String::new();
unsafe extern "C" {
    fn __wasm_call_ctors();
}
unsafe extern "C" {
    safe fn host_log(p: *const u8, n: usize);
}
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    std::panic::set_hook(Box::new(|i| {
        let s = i.to_string();
        host_log(s.as_ptr(), s.len());
    }));
    unsafe { __wasm_call_ctors() }
}
#[unsafe(no_mangle)]
pub extern "C" fn load(p: *const u8, n: usize) -> i32 {
    unsafe {
        IN = Vec::new();
        match Session::load(std::slice::from_raw_parts(p, n)) {
            Ok(s) => {
                let sig = s.signature();
                INFO = sig
                    .inputs
                    .iter()
                    .map(|i| format!("{}|{:?}|{:?}\n", i.name, i.dtype, i.shape))
                    .collect();
                S = Some(s);
                0
            }
            Err(e) => {
                INFO = format!("{e:?}");
                1
            }
        }
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn info_ptr() -> *const u8 {
    unsafe { (*&raw const INFO).as_ptr() }
}
#[unsafe(no_mangle)]
pub extern "C" fn info_len() -> usize {
    unsafe { (*&raw const INFO).len() }
}
// name, dtype 0 f32 1 i64 2 i32 3 u8
#[unsafe(no_mangle)]
pub extern "C" fn input(
    np: *const u8,
    nn: usize,
    dt: u32,
    dp: *const u32,
    dn: usize,
    p: *const u8,
    n: usize,
) -> i32 {
    unsafe {
        let name = String::from_utf8(std::slice::from_raw_parts(np, nn).to_vec()).unwrap();
        let dims: Vec<usize> = std::slice::from_raw_parts(dp, dn)
            .iter()
            .map(|d| *d as usize)
            .collect();
        let dt = [DType::F32, DType::I64, DType::I32, DType::U8][dt as usize];
        let t = Tensor::from_bytes(dt, &dims, std::slice::from_raw_parts(p, n).to_vec()).unwrap();
        (*&raw mut IN).push((name, t));
        0
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn run() -> i32 {
    unsafe {
        let mut t = Tensors::default();
        for (n, v) in (*&raw const IN).iter() {
            t.push((n.clone(), v.clone()));
        }
        match (*&raw const S).as_ref().unwrap().run(t) {
            Ok(o) => {
                OUT.clear();
                for (_, v) in &o {
                    match v {
                        Value::Tensor(t) => {
                            (*&raw mut OUT).extend_from_slice(t.as_bytes().unwrap_or(&[]))
                        }
                        Value::Maps(m) => {
                            (*&raw mut OUT).extend_from_slice(m.values.as_bytes().unwrap())
                        }
                    }
                }
                0
            }
            Err(e) => {
                INFO = format!("{e:?}");
                1
            }
        }
    }
}
#[unsafe(no_mangle)]
pub extern "C" fn out_ptr() -> *const u8 {
    unsafe { (*&raw const OUT).as_ptr() }
}
#[unsafe(no_mangle)]
pub extern "C" fn out_len() -> usize {
    unsafe { (*&raw const OUT).len() }
}
