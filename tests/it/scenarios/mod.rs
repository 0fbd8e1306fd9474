//! Whole runs: of the program, and of its path inside this process.

mod sweep;
