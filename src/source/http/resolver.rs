//! Name resolution that never leads to a private address unasked. The check stands on the very addresses that are connected to:
//! a name that is public when looked up first and private the next time gains nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;
use url::{Host, Url};

use super::address::is_public;

/// A name that leads to private addresses only.
#[derive(Debug, Error)]
#[error("`{host}` leads to the private address `{address}`, and allow_private is not set")]
pub(super) struct PrivateAddress {
    host: String,
    address: IpAddr,
}

/// Looks names up. The system's resolver, or a test's.
#[async_trait]
pub(super) trait Lookup: Send + Sync {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

pub(super) struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await.map_err(|error| read_answer(host, error))?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// What systems say where a name server knows no such name, or no address of it; everything else is trouble on the way there.
const NO_SUCH_NAME: [&str; 5] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "nodename nor servname provided",
    "No such host is known",
];

/// The system's resolver tells the one from the other by its words alone.
fn read_answer(host: &str, error: io::Error) -> io::Error {
    let said = error.to_string();
    match NO_SUCH_NAME.iter().any(|words| said.contains(words)) {
        true => NoSuchName { host: host.to_owned() }.into(),
        false => error,
    }
}

/// The answer that there is no such name. It may still be asked for again: a name server that is misled for a while, or that of
/// another network, says the same.
#[derive(Debug, Error)]
#[error("no name server knows `{host}`")]
pub(super) struct NoSuchName {
    host: String,
}

impl From<NoSuchName> for io::Error {
    fn from(error: NoSuchName) -> Self {
        io::Error::new(io::ErrorKind::NotFound, error)
    }
}

/// Which private addresses a source may reach by name.
#[derive(Clone, Debug, Default)]
pub(super) struct NameRule {
    allow_private: bool,
    /// `base_url` says `localhost`: that is as good as the literal address.
    loopback: Option<String>,
    /// The user named it, and it usually stands in the same network.
    proxy: Option<String>,
}

impl NameRule {
    pub(super) fn new(base_url: &Url, proxy: Option<&Url>, allow_private: bool) -> Self {
        let loopback = match base_url.host() {
            Some(Host::Domain(name)) if name == "localhost" || name.ends_with(".localhost") => Some(name.to_owned()),
            _ => None,
        };
        NameRule { allow_private, loopback, proxy: proxy.and_then(Url::host_str).map(str::to_owned) }
    }

    fn allows(&self, host: &str, address: IpAddr) -> bool {
        self.allow_private
            || is_public(address)
            || self.proxy.as_deref() == Some(host)
            || (self.loopback.as_deref() == Some(host) && address.is_loopback())
    }
}

/// The resolver that the client is given.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    pub(super) rule: NameRule,
    pub(super) lookup: Arc<dyn Lookup>,
}

impl GuardedResolver {
    async fn addresses(self, host: String) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
        let found = self.lookup.addresses(&host).await?;
        let (open, private): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().partition(|address| self.rule.allows(&host, *address));
        match (open.is_empty(), private.first()) {
            (true, Some(&address)) => Err(Box::new(PrivateAddress { host, address })),
            (true, None) => Err(Box::new(io::Error::from(NoSuchName { host }))),
            // Port 0: the client puts the address's own in.
            (false, _) => Ok(Box::new(open.into_iter().map(|address| SocketAddr::new(address, 0)))),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(self.clone().addresses(name.as_str().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<&'static str>);

    #[async_trait]
    impl Lookup for Fixed {
        async fn addresses(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.iter().map(|address| address.parse().unwrap()).collect())
        }
    }

    async fn resolve(
        base: &str,
        proxy: Option<&str>,
        allow_private: bool,
        host: &str,
        found: &[&'static str],
    ) -> Result<Vec<String>, String> {
        let proxy = proxy.map(|proxy| Url::parse(proxy).unwrap());
        let rule = NameRule::new(&Url::parse(base).unwrap(), proxy.as_ref(), allow_private);
        let resolver = GuardedResolver { rule, lookup: Arc::new(Fixed(found.to_vec())) };
        match resolver.addresses(host.to_owned()).await {
            Ok(addresses) => Ok(addresses.map(|address| address.ip().to_string()).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[tokio::test]
    async fn names_that_lead_to_private_addresses_are_refused() {
        // S-09
        let base = "https://api.example.com";
        for private in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"] {
            let refused = resolve(base, None, false, "api.example.com", &[private]).await.unwrap_err();
            assert!(refused.contains("allow_private"), "{refused}");
        }
        assert_eq!(resolve(base, None, false, "api.example.com", &["10.0.0.1", "8.8.8.8"]).await.unwrap(), ["8.8.8.8"]);
        assert_eq!(resolve(base, None, true, "api.example.com", &["10.0.0.1"]).await.unwrap(), ["10.0.0.1"]);
        assert!(resolve(base, None, false, "api.example.com", &[]).await.unwrap_err().contains("no name server knows"));
    }

    #[test]
    fn a_name_that_is_not_there_is_told_from_a_server_that_does_not_answer() {
        //
        let read = |words: &str| {
            let error = io::Error::other(format!("failed to lookup address information: {words}"));
            read_answer("api.example.com", error).to_string()
        };
        assert_eq!(read("Name or service not known"), "no name server knows `api.example.com`");
        assert_eq!(read("Name does not resolve"), "no name server knows `api.example.com`");
        assert!(read("Temporary failure in name resolution").contains("Temporary failure"));
        assert!(read("Try again").contains("Try again"));
    }

    #[tokio::test]
    async fn a_name_that_turns_private_is_refused_when_it_does() {
        // S-14: the addresses that are connected to are these very ones, so a second look-up cannot slip past the check.
        struct Turning(std::sync::atomic::AtomicBool);
        #[async_trait]
        impl Lookup for Turning {
            async fn addresses(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
                let turned = self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
                Ok(vec![if turned { "127.0.0.1" } else { "8.8.8.8" }.parse().unwrap()])
            }
        }
        let rule = NameRule::new(&Url::parse("https://api.example.com").unwrap(), None, false);
        let resolver = GuardedResolver { rule, lookup: Arc::new(Turning(false.into())) };
        let name = || "api.example.com".parse::<Name>().unwrap();
        assert!(resolver.resolve(name()).await.is_ok());
        assert!(resolver.resolve(name()).await.is_err());
    }

    #[tokio::test]
    async fn localhost_reaches_loopback_alone_and_only_as_the_base() {
        assert!(resolve("http://localhost:8080", None, false, "localhost", &["127.0.0.1"]).await.is_ok());
        assert!(resolve("http://localhost:8080", None, false, "localhost", &["10.0.0.1"]).await.is_err());
        assert!(resolve("http://localhost:8080", None, false, "other.localhost", &["127.0.0.1"]).await.is_err());
        assert!(resolve("https://api.example.com", None, false, "localhost", &["127.0.0.1"]).await.is_err());
    }

    #[tokio::test]
    async fn the_named_proxy_may_be_a_neighbour() {
        let proxy = Some("http://proxy.corp:3128");
        assert!(resolve("https://api.example.com", proxy, false, "proxy.corp", &["10.0.0.1"]).await.is_ok());
        assert!(resolve("https://api.example.com", proxy, false, "api.example.com", &["10.0.0.1"]).await.is_err());
    }
}
