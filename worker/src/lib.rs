//! The WASI HTTP component: `twinfer-serve` in `wasi:http/handler@0.3`.
//!
//! It moves bytes in and answers out, and knows its host by these environment
//! variables:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `TWINFER_REGISTRY` | the registry folder (OCI image layout), a folder that the host opens for it | `/registry` |
//! | `TWINFER_MAX_BODY` | largest request body in bytes | 67108864 |
//! | `TWINFER_TRUST_POLICY` | the trust policy (JSON); when it is malformed, nothing is loaded | none: every package is loaded |
//! | `TWINFER_TRUST_COUNTERS` | counters of signed tags that were seen before: `{"name": 7}` | `{}` |
//!
//! It imports only `wasi:*` interfaces, so Spin, `wasmtime serve` and our own
//! host run the same file. Built for anything but WASI it is empty.
#![deny(missing_docs)]

#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod component;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod origin;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod remote;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod settings;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod surroundings;
