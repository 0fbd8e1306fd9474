mod fixture;
mod origins;
mod requests;
mod retries;
mod server;
