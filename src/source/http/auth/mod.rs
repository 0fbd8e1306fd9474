//! Credentials: resolved once when the source is opened, attached to requests that go to the source's own origin.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use url::Url;

use crate::config::catalog::Auth;
use crate::config::secret::{ExposeSecret, SecretRef, SecretSource, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::redact::Redactor;
use super::request::encode_query;

mod api_key;
mod basic;
mod bearer;
mod none;

/// What a source shows to be let in.
pub(super) struct Credentials {
    attach: Attach,
    redactor: Redactor,
    fingerprint: String,
}

/// Where a credential goes. All kinds come down to one of these.
enum Attach {
    Nothing,
    Header(HeaderName, HeaderValue),
    Query(String, SecretString),
}

impl Credentials {
    /// Resolves the secrets. A missing one is an error of kind auth that names the reference, never a value.
    pub(super) fn open(auth: &Auth, secrets: &dyn SecretSource) -> Result<Self, FetchError> {
        let mut resolver = Resolver { secrets, redactor: Redactor::default(), digest: Sha256::new() };
        let attach = match auth {
            Auth::None => none::attach(),
            Auth::Bearer { token } => bearer::attach(&mut resolver, token)?,
            Auth::Basic { username, password } => basic::attach(&mut resolver, username, password)?,
            Auth::ApiKey { name, place, value, prefix } => api_key::attach(&mut resolver, name, *place, value, prefix)?,
        };
        let digest = resolver.digest.finalize();
        let fingerprint = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Credentials { attach, redactor: resolver.redactor, fingerprint })
    }

    /// Puts the credential on a request. An entry of the same name that a next link echoes is replaced.
    pub(super) fn apply(&self, url: &mut Url, headers: &mut HeaderMap) {
        match &self.attach {
            Attach::Nothing => {}
            Attach::Header(name, value) => {
                headers.insert(name.clone(), value.clone());
            }
            Attach::Query(name, value) => set_entry(url, name, value),
        }
    }

    /// What all requests with this credential share: their budget. Says nothing about the credential itself.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }
}

fn set_entry(url: &mut Url, name: &str, value: &SecretString) {
    let is_other = |entry: &&str| {
        let key = entry.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&key).decode_utf8_lossy() != name
    };
    let mut query: Vec<String> = Vec::new();
    query
        .extend(url.query().unwrap_or_default().split('&').filter(|entry| !entry.is_empty()).filter(is_other).map(str::to_owned));
    query.push(format!("{}={}", encode_query(name), encode_query(value.expose_secret())));
    url.set_query(Some(&query.join("&")));
}

/// Resolves the secrets of one credential and remembers what must not be shown.
struct Resolver<'a> {
    secrets: &'a dyn SecretSource,
    redactor: Redactor,
    digest: Sha256,
}

impl Resolver<'_> {
    fn resolve(&mut self, reference: &SecretRef) -> Result<SecretString, FetchError> {
        let missing = |why: &str| FetchError::new(ErrorKind::Auth, format!("missing secret {}: {why}", describe(reference)));
        let secret = self.secrets.resolve(reference).map_err(|why| missing(&why))?;
        if secret.expose_secret().is_empty() {
            // An empty environment variable is a variable that nobody filled in.
            return Err(missing("it is empty"));
        }
        self.redactor.add(secret.expose_secret());
        self.digest.update((secret.expose_secret().len() as u64).to_le_bytes());
        self.digest.update(secret.expose_secret());
        Ok(secret)
    }

    /// A header's value that is never printed.
    fn header(&self, value: &str, reference: &SecretRef) -> Result<HeaderValue, FetchError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            let message =
                format!("secret {} holds characters that a header cannot carry, a line end perhaps", describe(reference));
            FetchError::new(ErrorKind::Auth, message)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn describe(reference: &SecretRef) -> String {
    match reference {
        SecretRef::Env(name) => format!("`env {name}`"),
        SecretRef::File(path) => format!("`file {}`", path.display()),
        SecretRef::Credential(name) => format!("`credential {name}`"),
        SecretRef::Literal(_) => "given in the file".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalog::ApiKeyPlace;

    struct Known;

    impl SecretSource for Known {
        fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
            match secret {
                SecretRef::Env(name) if name == "TOKEN" => Ok("s3cr&t".into()),
                SecretRef::Env(name) if name == "USER" => Ok("jo".into()),
                SecretRef::Env(name) if name == "EMPTY" => Ok("".into()),
                SecretRef::Env(name) if name == "LINES" => Ok("a\r\nX-Evil: 1".into()),
                _ => Err("it is not set".to_owned()),
            }
        }
    }

    fn env(name: &str) -> SecretRef {
        SecretRef::Env(name.to_owned())
    }

    fn applied(auth: &Auth, url: &str) -> (String, HeaderMap) {
        let mut url = Url::parse(url).unwrap();
        let mut headers = HeaderMap::new();
        Credentials::open(auth, &Known).unwrap().apply(&mut url, &mut headers);
        (url.to_string(), headers)
    }

    fn api_key(place: ApiKeyPlace, value: &str) -> Auth {
        Auth::ApiKey { name: "X-Key".to_owned(), place, value: env(value), prefix: "Key ".to_owned() }
    }

    #[test]
    fn each_kind_attaches_its_credential() {
        let url = "https://api.example.com/x";
        let (same, headers) = applied(&Auth::None, url);
        assert_eq!((same.as_str(), headers.len()), (url, 0));
        let (_, headers) = applied(&Auth::Bearer { token: env("TOKEN") }, url);
        assert_eq!(headers["authorization"], "Bearer s3cr&t");
        assert!(headers["authorization"].is_sensitive());
        let (_, headers) = applied(&Auth::Basic { username: env("USER"), password: env("TOKEN") }, url);
        assert_eq!(headers["authorization"], "Basic am86czNjciZ0");
        let (_, headers) = applied(&api_key(ApiKeyPlace::Header, "TOKEN"), url);
        assert_eq!(headers["x-key"], "Key s3cr&t");
        let (keyed, _) = applied(&api_key(ApiKeyPlace::Query, "TOKEN"), url);
        assert_eq!(keyed, "https://api.example.com/x?X-Key=Key%20s3cr%26t");
    }

    #[test]
    fn an_echoed_key_is_replaced() {
        let (keyed, _) = applied(&api_key(ApiKeyPlace::Query, "TOKEN"), "https://api.example.com/x?page=2&X%2DKey=old&q=a+b");
        assert_eq!(keyed, "https://api.example.com/x?page=2&q=a+b&X-Key=Key%20s3cr%26t");
    }

    #[test]
    fn a_missing_secret_is_an_error_that_names_it() {
        // S-39
        for name in ["HIGHWATER_X", "EMPTY"] {
            let error = Credentials::open(&Auth::Bearer { token: env(name) }, &Known).err().unwrap();
            assert_eq!(error.kind, ErrorKind::Auth);
            assert!(error.message.starts_with(&format!("missing secret `env {name}`")), "{}", error.message);
        }
    }

    #[test]
    fn a_secret_with_line_ends_never_becomes_a_header() {
        // S-18
        let error = Credentials::open(&Auth::Bearer { token: env("LINES") }, &Known).err().unwrap();
        assert!(error.message.contains("`env LINES`") && !error.message.contains("Evil"), "{}", error.message);
    }

    #[test]
    fn fingerprints_tell_credentials_apart_and_nothing_else() {
        let of = |auth: &Auth| Credentials::open(auth, &Known).unwrap().fingerprint().to_owned();
        let token = of(&Auth::Bearer { token: env("TOKEN") });
        assert_eq!(token, of(&api_key(ApiKeyPlace::Query, "TOKEN")));
        assert_ne!(token, of(&Auth::Bearer { token: env("USER") }));
        assert_ne!(token, of(&Auth::None));
        assert_eq!(token.len(), 32);
    }

    #[test]
    fn basic_credentials_are_removed_in_their_joined_form() {
        let credentials = Credentials::open(&Auth::Basic { username: env("USER"), password: env("TOKEN") }, &Known).unwrap();
        assert_eq!(credentials.redactor().clean("got am86czNjciZ0 and s3cr&t"), "got *** and ***");
    }
}
