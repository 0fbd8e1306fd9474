//! A channel with its address.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Client;
use url::Url;

use crate::config::secret::{ExposeSecret, SecretSource};
use crate::config::service::{AlertChannel, AlertKind};
use crate::error::ErrorKind;
use crate::outbound;

use super::AlertError;

/// From connecting to the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to tell, of what. Cheap to clone.
#[derive(Clone)]
pub struct Channel {
    pub(super) name: String,
    pub(super) on: BTreeSet<AlertKind>,
    pub(super) client: Client,
    /// The secret.
    pub(super) url: Url,
}

/// Resolves the channels' addresses.
///
/// # Errors
/// `Config` if an address cannot be had or is none; the message names the channel and never the address.
pub fn open(channels: &[AlertChannel], secrets: &dyn SecretSource) -> Result<Vec<Channel>, AlertError> {
    channels.iter().map(|channel| open_one(channel, secrets)).collect()
}

fn open_one(channel: &AlertChannel, secrets: &dyn SecretSource) -> Result<Channel, AlertError> {
    let refuse = |what: &str| AlertError { kind: ErrorKind::Config, message: format!("alerts.{}.url: {what}", channel.name) };
    let url = secrets.resolve(&channel.url).map_err(|error| refuse(&error))?;
    let url = Url::parse(url.expose_secret().trim()).map_err(|_| refuse("the secret is not an address"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(refuse("the secret is not an address of http or https"));
    }
    let mut client = outbound::client().timeout(TIMEOUT).connect_timeout(TIMEOUT / 2);
    if url.scheme() == "http" {
        // Without encryption nothing needs the machine's certificates, and a machine may have none.
        client = client.tls_certs_only([]);
    }
    let client = client.build().map_err(|_| refuse("the HTTP client cannot be built, the machine may lack CA certificates"))?;
    Ok(Channel { name: channel.name.clone(), on: channel.on.clone(), client, url })
}
