//! Everything that is tested from outside: the house's own rules, and whole runs in a world of fakes.
//!
//! `bash tests/run` starts what these tests need (readers that do not share our code, an S3 server). Without it the tests that
//! need them are skipped, printed and counted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod catalogue;
mod house;
mod rust_text;
mod scenarios;
mod world;
