//! TOML to checked types. Pure: no network, no secret is looked at.

pub mod catalog;
pub mod secret;

mod problem;

pub use problem::{Problem, Severity};
