//! The commands, a file each: their arguments, and what they do.

pub mod api_key;
pub mod batch;
pub mod cache;
pub mod copy;
pub mod deploy;
pub mod diff;
pub mod fuse;
pub mod gc;
pub mod health;
pub mod inspect;
pub mod keygen;
pub mod ls;
pub mod mirror;
pub mod pack;
pub mod policy;
pub mod predict;
pub mod pull;
pub mod push;
pub mod rm;
pub mod run;
pub mod sign;
pub mod sign_tags;
pub mod slim;
pub mod tag;
pub mod unpack;
pub mod verify;
