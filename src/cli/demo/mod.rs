//! `highwater demo`: the shipped job on real data, against a local replica of the API it was written for. The job runs twice
//! through the same code as `run`: a first load, and a second one after the replica's clock moved on.
//!
//! `replica` serves `protocol` over a `feed`; `project` writes the shipped files into a `folder` of its own; `play` runs, `show`
//! tells. Deliberately absent: any way of loading that `run` does not have.

pub mod feed;
mod folder;
mod play;
mod project;
pub mod protocol;
pub mod replica;
mod show;

pub(super) use play::demo;
