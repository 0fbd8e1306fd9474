//! Effects of a run, numbered, so that a test can kill the run before or after each of them. In a release build nothing of it
//! is there.
//!
//! A [`FaultPlan`] goes into the decorators `FaultyStore`, `FaultyState` and `FaultySource`; every verb that passes through them
//! is an effect and takes the next number, beginning with 1.
//!
//! A *mutant* is the program with one guard of the data switched off: a test that stays green with it guards nothing.

mod guards;
#[cfg(any(test, debug_assertions))]
mod plan;
#[cfg(any(test, debug_assertions))]
mod waits;

pub use guards::Guards;
#[cfg(any(test, debug_assertions))]
pub use plan::{Ending, FaultPlan, Outcome, Side};
#[cfg(any(test, debug_assertions))]
pub use waits::{wait_for_work, waits_for_work};
