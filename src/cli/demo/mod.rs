//! `highwater demo`: the shipped job on real data, against a local replica of the API it was written for.

pub mod feed;
pub mod protocol;
pub mod replica;
