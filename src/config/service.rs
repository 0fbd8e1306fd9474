//! What the daemon shows and tells: `[web]` and `[alerts.*]`.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::secret::SecretRef;

/// `[web]`. A project without it has no listener.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// An address that other machines can reach comes with a token.
    pub listen: SocketAddr,
    /// Without it metrics and status are for whoever is on this machine.
    pub token: Option<SecretRef>,
    /// Names, without port and in lower case, by which this machine may be asked, besides `localhost` and addresses.
    pub hosts: BTreeSet<String>,
}

/// `[alerts.NAME]`: a webhook that takes `{"text": ".."}`.
#[derive(Clone, Debug)]
pub struct AlertChannel {
    pub name: String,
    /// The address is the secret: whoever knows it may write there.
    pub url: SecretRef,
    /// Never empty.
    pub on: BTreeSet<AlertKind>,
}

/// What an operator can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertKind {
    /// A run failed, after all of its retries.
    RunFailed,
    /// A table is older than its job's `freshness`.
    Late,
    /// A job cannot run until a file or a secret is changed.
    Parked,
    /// A table's columns changed.
    SchemaChanged,
    /// What had been committed was gone from the lake.
    Lost,
    /// One of the first three has passed.
    Recovered,
}

impl AlertKind {
    pub const ALL: [AlertKind; 6] = [
        AlertKind::RunFailed,
        AlertKind::Late,
        AlertKind::Parked,
        AlertKind::SchemaChanged,
        AlertKind::Lost,
        AlertKind::Recovered,
    ];

    /// The word in `on`, in the state and in logs.
    pub fn name(self) -> &'static str {
        match self {
            AlertKind::RunFailed => "run_failed",
            AlertKind::Late => "late",
            AlertKind::Parked => "parked",
            AlertKind::SchemaChanged => "schema_changed",
            AlertKind::Lost => "lost",
            AlertKind::Recovered => "recovered",
        }
    }

    pub fn from_name(name: &str) -> Option<AlertKind> {
        AlertKind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
