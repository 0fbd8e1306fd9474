//! Whole runs: of the program, and of its path inside this process.

mod again;
mod alerts;
mod auth;
mod cursors;
mod demo;
mod exactness;
mod exports;
mod formats;
mod histories;
mod init;
mod kill;
mod loads;
mod merges;
mod odd_sources;
mod papers;
mod parents;
mod quotas;
mod refusals;
mod scheduler;
mod serve;
mod sets;
mod sweep;
mod systemd;
mod vendors;
mod web;
mod year;
