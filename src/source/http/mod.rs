//! An API over HTTP: one stream of it for one job.
//!
//! From the inside out: `request` says what is asked (templates, `bounds`, `paging`), `exchange` sends it once (budget, `auth`,
//! redirects within `origin`, body cap), `retry` decides about another attempt, and here all of it becomes a `Source`. `export` waits
//! for what an API writes out on request. `status` alone knows what a status means; `transport` brings the answer, from the network or
//! a `recording`; `told` knows what an answer says of limits; `client` alone how the client is set up.
//!
//! Absent on purpose: a jar of cookies, caches, and every retry but the one here.

mod address;
mod asked;
mod asking;
mod auth;
mod body;
mod bounds;
mod buffer;
mod client;
mod conditional;
mod exchange;
mod export;
mod failure;
mod graphql;
mod gunzip;
mod http_source;
mod origin;
mod paging;
mod payload;
pub mod recording;
mod redact;
mod request;
mod resolver;
mod retry;
mod rules;
mod status;
mod token;
mod told;
mod transport;

#[cfg(test)]
mod tests;

pub use auth::Tokens;
pub use http_source::{HttpSource, Shared};
