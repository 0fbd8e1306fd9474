//! Whole runs: of the program, and of its path inside this process.

mod demo;
mod exactness;
mod kill;
mod loads;
mod odd_sources;
mod papers;
mod refusals;
mod scheduler;
mod sweep;
mod year;
