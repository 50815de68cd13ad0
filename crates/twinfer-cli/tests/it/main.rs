//! The `twinfer` command as its user has it: arguments, output, errors, exit codes, and
//! what is left after it was killed.

mod crash;
mod packages;
mod predict;
mod run;
mod support;
mod usage;
