mod bodies;
mod fixture;
mod origins;
mod refusals;
mod requests;
mod retries;
mod server;
mod tokens;
