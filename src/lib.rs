//! highwater: pulls what changed from rate-limited APIs into partitioned Parquet, and remembers how far it got.
//!
//! Rooms in reading order; ARCHITECTURE.md says who may use whom.

pub mod alert;
pub mod cli;
pub mod config;
pub mod decode;
pub mod plan;
pub mod quota;
pub mod run;
pub mod schedule;
pub mod sink;
pub mod source;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod transform;
pub mod web;

// Leaves: all rooms may use them.
pub mod batch;
pub mod cadence;
pub mod clock;
pub mod crossing;
pub mod cursor;
pub mod dataset;
pub mod descriptors;
pub mod disk;
pub mod error;
pub mod event;
pub mod fault;
pub mod freshness;
pub mod gzip;
pub mod heap;
pub mod ids;
pub mod image;
pub mod ledger;
pub mod outbound;
pub mod page;
pub mod printable;
pub mod reject;
pub mod schema;
pub mod scratch;
pub mod slice;
pub mod stop;
pub mod template;
pub mod vault;
