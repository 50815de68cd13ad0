//! Who may ask what: tables of requests and what is decided of them.

mod access;
mod door;
mod limits;
mod paths;
mod settings;
mod support;
mod tokens;
