//! The HTTP client of one source: `outbound`'s manners, and what the source's file says.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Identity, Proxy};

use crate::config::catalog::{ClientIdentity, Source};
use crate::config::secret::{ExposeSecret, SecretRef, SecretSource, SecretString};
use crate::error::ErrorKind;
use crate::outbound;
use crate::source::FetchError;

use super::resolver::{GuardedResolver, Lookup, NameRule};

/// gzip is taken off by `gunzip`, zstd by the client, frame after frame. Behind the end of a brotli or deflate stream the client drops
/// what follows without a word, so neither is asked for, and what comes in one all the same is refused.
const ENCODINGS: HeaderValue = HeaderValue::from_static("gzip, zstd");

/// A server that is there answers a connection within this.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Longest silence within a body. Shorter than the whole timeout, so that a connection that died is noticed early.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(super) fn client(source: &Source, secrets: &dyn SecretSource, lookup: Arc<dyn Lookup>) -> Result<Client, FetchError> {
    let rule = NameRule::new(&source.base_url, source.proxy.as_ref(), source.allow_private);
    let mut builder = outbound::client()
        .no_gzip()
        .no_brotli()
        .no_deflate()
        .default_headers(HeaderMap::from_iter([(ACCEPT_ENCODING, ENCODINGS)]))
        .connect_timeout(source.timeout.min(CONNECT_MAX))
        .read_timeout(source.timeout.min(SILENCE_MAX))
        .timeout(source.timeout)
        .dns_resolver(GuardedResolver { rule, lookup });
    if let Some(proxy) = &source.proxy {
        let proxy = Proxy::all(proxy.clone()).map_err(|error| config("proxy", error))?;
        builder = builder.proxy(proxy);
    }
    if let Some(identity) = &source.identity {
        builder = builder.identity(read_identity(identity, secrets)?);
    }
    let own = source.ca_file.as_deref().map(read_certificates).transpose()?;
    let tokens_encrypted = source.auth.token_url().is_some_and(|url| url.scheme() == "https");
    let encrypted = source.base_url.scheme() == "https" || tokens_encrypted || !source.allow_hosts.is_empty();
    builder = match (own, encrypted) {
        (Some(own), _) => builder.tls_certs_merge(own),
        // Without encryption nothing needs the machine's certificates, and a machine without any can still run the job.
        (None, false) => builder.tls_certs_only([]),
        (None, true) => builder,
    };
    builder.build().map_err(|error| config("the HTTP client cannot be built, the machine may lack CA certificates", error))
}

/// Never says what stands in it.
fn read_identity(identity: &ClientIdentity, secrets: &dyn SecretSource) -> Result<Identity, FetchError> {
    let resolve = |what: &str, reference: &SecretRef| {
        let missing = |why: String| FetchError::new(ErrorKind::Auth, format!("tls.{what}: {why}"));
        secrets.resolve(reference).map_err(missing)
    };
    let (certificate, key) = (resolve("certificate", &identity.certificate)?, resolve("key", &identity.key)?);
    let pem = SecretString::from(format!("{}\n{}\n", key.expose_secret(), certificate.expose_secret()));
    Identity::from_pem(pem.expose_secret().as_bytes()).map_err(|_| {
        let message = "tls: certificate and key cannot be read: each is a PEM file, the key without a password";
        FetchError::new(ErrorKind::Auth, message)
    })
}

fn read_certificates(path: &Path) -> Result<Vec<Certificate>, FetchError> {
    let what = || format!("ca_file `{}`", path.display());
    let pem = std::fs::read(path).map_err(|error| FetchError::new(ErrorKind::Config, what()).with_source(error))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| config(&what(), error))?;
    if certificates.is_empty() {
        return Err(FetchError::new(ErrorKind::Config, format!("{} holds no certificate", what())));
    }
    Ok(certificates)
}

fn config(what: &str, error: reqwest::Error) -> FetchError {
    FetchError::new(ErrorKind::Config, what).with_source(error.without_url())
}
