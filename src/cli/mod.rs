//! Arguments, output, exit codes.

mod args;
pub mod demo;
mod environment;
pub mod exit;
mod failure;
mod progress;
mod secrets;
mod terminal;
mod text;
