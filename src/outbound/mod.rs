//! The manners of every HTTP client of ours: what a client does by itself and that would leak, hide or multiply is switched off
//! here, once; and how long an answer asks to wait.

pub mod http_date;
pub mod retry_after;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};

const USER_AGENT: &str = concat!("highwater/", env!("CARGO_PKG_VERSION"));

/// A client that follows no redirect, tells no Referer, heeds no proxy of the environment and repeats nothing. Timeouts, names and
/// certificates are the caller's.
pub fn client() -> ClientBuilder {
    Client::builder()
        .tls_backend_rustls()
        .user_agent(USER_AGENT)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
}
