//! One message to one webhook, once.

use std::time::Duration;

use jiff::Timestamp;

use crate::outbound::retry_after;

use super::channel::Channel;
use super::message::Body;

/// Longer waits that a receiver asks for are cut: what it is not told meanwhile may have passed.
const PATIENCE_MAX: Duration = Duration::from_secs(3600);

/// Why a message did not arrive. Never holds the address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    pub reason: String,
    /// How long the receiver asked to wait.
    pub patience: Option<Duration>,
}

/// Sends a message. It has arrived where the receiver answers with a status of success; the body of the answer is not looked at.
pub(super) async fn send(channel: &Channel, body: &Body, now: Timestamp) -> Result<(), Undelivered> {
    let answer = channel.client.post(channel.url.clone()).json(body).send().await;
    let answer = answer.map_err(|error| Undelivered { reason: describe(error, channel), patience: None })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = match status.as_u16() {
        300..400 => format!("it answered {status}: redirects are not followed, correct the address"),
        400 | 401 | 403 | 404 | 405 | 410 => format!("it answered {status}: is the address right?"),
        _ => format!("it answered {status}"),
    };
    let patience = retry_after::patience(answer.headers(), now).map(|patience| patience.min(PATIENCE_MAX));
    Err(Undelivered { reason, patience })
}

/// The chain of causes without a trace of the address: its path is the secret, and its host says whom to ask.
fn describe(error: reqwest::Error, channel: &Channel) -> String {
    let what = match (error.is_timeout(), error.is_connect()) {
        (true, _) => "no answer in time",
        (false, true) => "no connection",
        (false, false) => "the exchange broke off",
    };
    let mut text = crate::error::chain(&error.without_url());
    let url = &channel.url;
    let parts = [Some(url.as_str()), Some(url.path()), url.query(), url.host_str(), Some(url.username()), url.password()];
    for part in parts.into_iter().flatten().filter(|part| part.len() > 1) {
        text = text.replace(part, "***");
    }
    format!("{what}: {text}")
}
