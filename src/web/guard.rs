//! Who may ask, for what, and by which name. Every request comes through here first.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::config::secret::{ExposeSecret, SecretSource};
use crate::config::service::WebSettings;

use super::Web;
use super::pages::text;

/// A shorter token can be guessed; `openssl rand -hex 32` makes one of 64.
const TOKEN_MIN: usize = 16;

/// How long a wrong token waits for its answer.
const WRONG_TOKEN: Duration = Duration::from_millis(250);

/// What everybody may see.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Set on every answer. Nothing here is a page: nothing may run, be framed, be kept or be read by another site.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

pub(super) struct Guard {
    /// Of the token, so that comparing takes the same time for every length.
    token: Option<[u8; 32]>,
    hosts: BTreeSet<String>,
}

impl Guard {
    pub fn new(settings: &WebSettings, secrets: &dyn SecretSource) -> Result<Guard, String> {
        let token = match &settings.token {
            None => None,
            Some(reference) => {
                let token = secrets.resolve(reference).map_err(|error| format!("web.token: {error}"))?;
                if token.expose_secret().len() < TOKEN_MIN {
                    return Err(format!("web.token: it has less than {TOKEN_MIN} characters; `openssl rand -hex 32` makes one"));
                }
                Some(digest(token.expose_secret().as_bytes()))
            }
        };
        Ok(Guard { token, hosts: settings.hosts.clone() })
    }

    /// Whether the request carries the token, where one is needed.
    pub fn admits(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let Some(given) = bearer(headers) else { return false };
        verify_slices_are_equal(token, &digest(given)).is_ok()
    }

    /// A page of another site can make a browser ask us under that site's name, once the name leads here (DNS rebinding). It cannot
    /// make it ask for an address or a name that is ours.
    fn knows_host(&self, request: &Request) -> bool {
        let asked = request.headers().get_all(header::HOST);
        let mut asked =
            asked.iter().map(|host| host.to_str().unwrap_or_default()).chain(request.uri().authority().map(|of| of.as_str()));
        match asked.next() {
            None => false,
            Some(first) => self.is_ours(first) && asked.all(|host| self.is_ours(host)),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        if host.contains('@') {
            return false;
        }
        let name = authority.host().to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok() || name == "localhost" || self.hosts.contains(&name)
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The token of `Authorization: Bearer TOKEN`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (value, None) = (all.next()?.as_bytes(), all.next()) else { return None };
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// The first layer of every page.
pub(super) async fn check(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let mut response = match refusal(&web.guard, &request) {
        None => next.run(request).await,
        Some(refusal) => {
            // Guessing must cost something; asking without a token is no guess.
            if refusal.status() == StatusCode::UNAUTHORIZED && request.headers().contains_key(header::AUTHORIZATION) {
                web.ports.clock.sleep(WRONG_TOKEN).await;
            }
            refusal
        }
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(guard: &Guard, request: &Request) -> Option<Response> {
    if !guard.knows_host(request) {
        return Some(text(StatusCode::MISDIRECTED_REQUEST, "this host is not known here: add its name to `web.hosts`\n"));
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Some(refused);
    }
    if has_body(request.headers()) {
        return Some(text(StatusCode::PAYLOAD_TOO_LARGE, "no body is taken\n"));
    }
    if !OPEN.contains(&request.uri().path()) && !guard.admits(request.headers()) {
        let mut refused = text(StatusCode::UNAUTHORIZED, "send the token: Authorization: Bearer ..\n");
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(refused);
    }
    None
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING) || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;
    use crate::config::secret::{SecretRef, SecretString};

    struct Given;

    impl SecretSource for Given {
        fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
            match secret {
                SecretRef::Literal(value) => Ok(value.clone()),
                _ => Err("not set".to_owned()),
            }
        }
    }

    const TOKEN: &str = "0123456789abcdef";

    fn guard(token: Option<&str>, hosts: &[&str]) -> Result<Guard, String> {
        let settings = WebSettings {
            listen: "127.0.0.1:0".parse().expect("address"),
            token: token.map(|token| SecretRef::Literal(token.to_owned().into())),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        };
        Guard::new(&settings, &Given)
    }

    fn admits(authorization: &[&[u8]]) -> bool {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).expect("value"));
        }
        guard(Some(TOKEN), &[]).expect("guard").admits(&headers)
    }

    // S-42
    #[test]
    fn only_the_whole_token_opens() {
        for good in ["Bearer 0123456789abcdef", "bearer 0123456789abcdef", "BEARER 0123456789abcdef"] {
            assert!(admits(&[good.as_bytes()]), "{good}");
        }
        let bad = [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789ABCDEF",
            "Bearer  0123456789abcdef",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
            "Bearer0123456789abcdef",
        ];
        for bad in bad {
            assert!(!admits(&[bad.as_bytes()]), "{bad}");
        }
        assert!(!admits(&[]));
        assert!(!admits(&[b"Bearer \xff\xfe"]));
        assert!(!admits(&[b"Bearer 0123456789abcdef", b"Bearer wrong"]), "two are none");
        assert!(guard(None, &[]).expect("guard").admits(&HeaderMap::new()));
    }

    #[test]
    fn a_token_that_can_be_guessed_or_not_be_had_is_refused() {
        let short = guard(Some("0123456789abcde"), &[]).err().expect("short");
        assert_eq!(short, "web.token: it has less than 16 characters; `openssl rand -hex 32` makes one");
        let settings = WebSettings {
            listen: "127.0.0.1:0".parse().expect("address"),
            token: Some(SecretRef::Env("X".to_owned())),
            hosts: BTreeSet::new(),
        };
        assert_eq!(Guard::new(&settings, &Given).err().as_deref(), Some("web.token: not set"));
    }

    fn knows(uri: &str, hosts: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        guard(None, &["etl.example.org"]).expect("guard").knows_host(&request.body(Body::empty()).expect("request"))
    }

    // S-44
    #[test]
    fn a_name_that_is_not_ours_is_refused() {
        for ours in [
            "127.0.0.1:7077",
            "127.0.0.1",
            "10.1.2.3:80",
            "[::1]:7077",
            "localhost",
            "LOCALHOST:7077",
            "etl.example.org:7077",
            "ETL.example.org",
        ] {
            assert!(knows("/metrics", &[ours]), "{ours}");
        }
        for other in [
            "evil.example",
            "localhost.evil.example",
            "etl.example.org.evil",
            "",
            "user@localhost",
            "127.0.0.1.evil",
            "a b",
            "127.0.0.1:7077:1",
        ] {
            assert!(!knows("/metrics", &[other]), "{other}");
        }
        assert!(!knows("/metrics", &[]), "no name at all");
        assert!(!knows("/metrics", &["localhost", "evil.example"]), "two names");
        assert!(!knows("http://evil.example/metrics", &["localhost"]), "a name in the address");
        assert!(knows("http://localhost/metrics", &["localhost"]));
    }
}
