//! One C math library on both wasm targets.
//!
//! `f32::exp` and its like become calls of C functions. On `wasm32-wasip2` these are
//! wasi-libc's, on `wasm32-unknown-unknown` those of `compiler_builtins`, and they differ in
//! the last bit here and there. Defined here they come before both, so that page and
//! component compute with the same code and give the same bits.

macro_rules! define {
    ($($name:ident($($x:ident),*) $type:ty;)*) => {$(
        // SAFETY: the signature is the one of C; nothing else in the program defines it
        // strongly (both libraries are archives, whose members are taken only when missing).
        #[unsafe(no_mangle)]
        extern "C" fn $name($($x: $type),*) -> $type {
            libm::$name($($x),*)
        }
    )*};
}

define! {
    acosf(x) f32; acoshf(x) f32; asinf(x) f32; asinhf(x) f32; atanf(x) f32; atan2f(y, x) f32;
    atanhf(x) f32; cbrtf(x) f32; cosf(x) f32; coshf(x) f32; erff(x) f32; erfcf(x) f32;
    exp2f(x) f32; expf(x) f32; expm1f(x) f32; fmodf(x, y) f32; hypotf(x, y) f32; log10f(x) f32;
    log1pf(x) f32; log2f(x) f32; logf(x) f32; powf(x, y) f32; sinf(x) f32; sinhf(x) f32;
    tanf(x) f32; tanhf(x) f32; tgammaf(x) f32; fmaf(x, y, z) f32;
    acos(x) f64; acosh(x) f64; asin(x) f64; asinh(x) f64; atan(x) f64; atan2(y, x) f64;
    atanh(x) f64; cbrt(x) f64; cos(x) f64; cosh(x) f64; erf(x) f64; erfc(x) f64;
    exp(x) f64; exp2(x) f64; expm1(x) f64; fmod(x, y) f64; hypot(x, y) f64; log(x) f64;
    log10(x) f64; log1p(x) f64; log2(x) f64; pow(x, y) f64; sin(x) f64; sinh(x) f64;
    tan(x) f64; tanh(x) f64; tgamma(x) f64; fma(x, y, z) f64;
}
