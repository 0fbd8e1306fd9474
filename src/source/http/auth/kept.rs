//! What stands in the vault for a credential.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::secret::{ExposeSecret, SecretString};

/// Raised when an older program would misread an entry.
const FORMAT: u32 = 1;
/// Sets of scopes that one secret is used with at the same time; of more, an access token is asked for again.
const ACCESS_MAX: usize = 8;

/// A credential's entry. Its text holds secrets.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    format: u32,
    /// The successor of the refresh token that the files name.
    pub(super) refresh: Option<String>,
    /// Since when an answer is awaited that may bring another refresh token. It stands there until that is kept, so after a crash
    /// it says why the one above may be used up.
    pub(super) asked_at: Option<Timestamp>,
    /// By what was asked for.
    access: BTreeMap<String, KeptAccess>,
}

/// An access token.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptAccess {
    pub(super) token: String,
    pub(super) at: Timestamp,
    /// Seconds; `None` where the server did not say.
    pub(super) lifetime: Option<u64>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(***)")
    }
}

impl Kept {
    pub(super) fn read(text: &SecretString) -> Result<Kept, String> {
        // What serde says of a text would quote it.
        let kept: Kept = serde_json::from_str(text.expose_secret()).map_err(|_| "it is damaged".to_owned())?;
        match kept.format {
            FORMAT => Ok(kept),
            other => Err(format!("its format is `{other}`, and this version reads {FORMAT}")),
        }
    }

    pub(super) fn text(&self) -> SecretString {
        let written = Kept { format: FORMAT, ..self.clone() };
        // A struct of texts and numbers is always written.
        SecretString::from(serde_json::to_string(&written).unwrap_or_default())
    }

    pub(super) fn access(&self, variant: &str) -> Option<&KeptAccess> {
        self.access.get(variant)
    }

    pub(super) fn put_access(&mut self, variant: &str, access: KeptAccess) {
        self.access.insert(variant.to_owned(), access);
        while self.access.len() > ACCESS_MAX {
            let oldest = self.access.iter().min_by_key(|(_, access)| access.at).map(|(variant, _)| variant.clone());
            oldest.map(|oldest| self.access.remove(&oldest));
        }
    }
}

impl KeptAccess {
    /// How long it holds, from now; `None` where nobody said. A clock that was put back makes it as young as can be.
    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        let lifetime = Duration::from_secs(self.lifetime?);
        let age = Duration::try_from(now.duration_since(self.at).max(SignedDuration::ZERO)).unwrap_or_default();
        Some(lifetime.saturating_sub(age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(second: i64, lifetime: Option<u64>) -> KeptAccess {
        KeptAccess { token: format!("token {second}"), at: Timestamp::new(second, 0).unwrap(), lifetime }
    }

    #[test]
    fn an_entry_comes_back_and_what_version_1_wrote_is_read() {
        let mut kept = Kept { refresh: Some("r".to_owned()), ..Kept::default() };
        kept.put_access("read", access(7, Some(60)));
        let text = kept.text();
        let written = r#"{"format":1,"refresh":"r","asked_at":null,"access":{"read":{"token":"token 7","at":"1970-01-01T00:00:07Z","lifetime":60}}}"#;
        assert_eq!(text.expose_secret(), written);
        let read = Kept::read(&text).unwrap();
        assert!(read.access("read") == kept.access("read") && read.refresh == kept.refresh);
        assert_eq!(format!("{read:?}"), "Kept(***)");
    }

    #[test]
    fn what_cannot_be_read_is_not_shown() {
        let error = Kept::read(&"{\"format\": 1, \"refresh\": CANARY".into()).unwrap_err();
        assert_eq!(error, "it is damaged");
        let error = Kept::read(&r#"{"format":2,"refresh":null,"asked_at":null,"access":{}}"#.into()).unwrap_err();
        assert!(error.contains("`2`"), "{error}");
    }

    #[test]
    fn a_token_is_never_younger_than_new() {
        let token = access(1000, Some(60));
        let left = |second: i64| token.left(Timestamp::new(second, 0).unwrap()).unwrap().as_secs();
        assert_eq!([left(0), left(1000), left(1059), left(1060), left(9999)], [60, 60, 1, 0, 0]);
        assert_eq!(access(1000, None).left(Timestamp::UNIX_EPOCH), None);
    }

    #[test]
    fn the_oldest_of_many_access_tokens_goes() {
        let mut kept = Kept::default();
        for second in 0..=ACCESS_MAX as i64 {
            kept.put_access(&format!("{second}"), access(second, None));
        }
        assert!(kept.access("0").is_none() && kept.access("1").is_some());
    }
}
