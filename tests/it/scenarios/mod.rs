//! Whole runs: of the program, and of its path inside this process.

mod demo;
mod exactness;
mod kill;
mod loads;
mod refusals;
mod sweep;
