//! Packages from recipe to self test, and everything that is wrong with them.

mod bad_packages;
mod bad_recipes;
mod fixture;
mod folder;
mod golden;
mod pack;
