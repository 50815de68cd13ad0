//! The WASI HTTP component: `twinfer-serve` in `wasi:http/handler@0.3`.
//!
//! It moves bytes in and answers out, and knows its host by these environment
//! variables:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `TWINFER_REGISTRY` | the registry: a folder (OCI image layout) that the host opens for it, or a static host (`https://host/path`), from which it fetches by itself | `/registry` |
//! | `TWINFER_MAX_BODY` | largest request body in bytes | 67108864 |
//! | `TWINFER_DEFAULT_MODEL` | the model that answers where a protocol names none (`name` or `name:tag`) | the only one of the registry |
//! | `AIP_HEALTH_ROUTE`, `AIP_PREDICT_ROUTE` | paths at which that model says whether it is healthy, and predicts: Vertex AI sets them | none |
//! | `TWINFER_TRUST_POLICY` | the trust policy (JSON); when it is malformed, nothing is loaded | none: every package is loaded |
//! | `TWINFER_TRUST_COUNTERS` | counters of signed tags that were seen before: `{"name": 7}` | `{}` |
//! | `TWINFER_ACCESS` | who may ask what: the settings of access control as JSON; `host` where the host has decided already; when it is malformed, nothing but health is answered | health and predictions are open, all else is closed |
//! | `TWINFER_OPEN` | what is open beside that, with commas between: `page,metrics` | nothing |
//! | `TWINFER_INDEX` | a file that is read in the place of the `index.json` of a registry folder | none |
//! | `TWINFER_PREDICTION_CACHE` | bytes of predictions that are kept and given again for the same inputs | 0: none |
//! | `TWINFER_BUNDLE` | the secret by which it knows a bundle of requests of its host | none: there are no bundles |
//! | `TWINFER_REPOSITORY` | `enabled`: the repository extension is on, for who shows the token | `disabled` |
//! | `TWINFER_HOST_METRICS` | path of the host's metrics (Prometheus' text format, Triton's names), with its query, for the page | none |
//! | `TWINFER_ADMIN_TOKEN` | the token, of 16 characters or more | none |
//! | `TWINFER_METRICS` | `1`: count, and answer `/metrics` with what this instance counted | off |
//!
//! With a static host these as well:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `TWINFER_MIRRORS` | more addresses of the same registry, with commas between; asked in this order after the first | none |
//! | `TWINFER_CACHE` | where packages are kept: `memory`, a folder such as `/cache`, or `key-value:NAME` (with the feature `key-value`) | `memory` |
//! | `TWINFER_CACHE_POLICY` | `online`, `stale-while-revalidate` or `offline` | `stale-while-revalidate` |
//! | `TWINFER_CACHE_QUOTA` | bytes that the cache holds at most | 268435456 in memory, else none |
//! | `TWINFER_POLL` | seconds after which a warm instance asks what is new | 30 |
//!
//! What is malformed in these is an error of every request that wants a model.
//!
//! A fused component has a package in it that was loaded at build time (`twinfer fuse`): it
//! answers for that one at once, and for others as far as a registry is there. It reads the same
//! variables, when the first request is there.
//!
//! It imports only `wasi:*` interfaces, so Spin, `wasmtime serve` and our own
//! host run the same file; the one with the feature `key-value` needs a host with `wasi:keyvalue` as
//! well. Built for anything but WASI it is empty.
#![deny(missing_docs)]

#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod access;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod bundle;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod component;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod environment;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod fuse;
#[cfg(all(target_family = "wasm", target_os = "wasi", feature = "key-value"))]
mod key_value;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod memory;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod observe;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod origin;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod remote;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod seeds;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod settings;
#[cfg(all(target_family = "wasm", target_os = "wasi"))]
mod surroundings;
