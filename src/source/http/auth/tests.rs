use std::time::Duration;

use ::http::Method;
use futures::FutureExt;

use super::*;
use crate::config::catalog::ApiKeyPlace;
use crate::config::secret::{SecretRef, SecretString};
use crate::error::ErrorKind;
use crate::event::Events;
use crate::ids::JobName;
use crate::quota::test_clock::TestClock;
use crate::source::http::origin::OriginRule;
use crate::state::memory::MemoryState;
use crate::stop::Stop;

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

fn opened(auth: &Auth) -> Result<Credentials, FetchError> {
    // What main does; a second time is no harm.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let clock = Arc::new(TestClock::new());
    let line = Line {
        client: reqwest::Client::new(),
        origins: OriginRule::new(&Url::parse("https://api.example.com").unwrap(), &[], false).unwrap(),
        timeout: Duration::from_secs(1),
        attempts_max: 1,
        clock: clock.clone(),
        job: JobName::new("items"),
        events: Events::default(),
        stop: Stop::new(),
    };
    Credentials::open(auth, &Known, &Tokens::new(clock, Arc::new(MemoryState::new())), line)
}

fn applied(auth: &Auth, url: &str) -> (String, HeaderMap) {
    let mut url = Url::parse(url).unwrap();
    let mut headers = HeaderMap::new();
    let credentials = opened(auth).unwrap();
    let proof = credentials.proof().now_or_never().unwrap().unwrap();
    let unsigned = Unsigned { method: &Method::GET, url: &mut url, headers: &mut headers, body: &[] };
    credentials.apply(&proof, unsigned).unwrap();
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
    let cookie = Auth::ApiKey { name: "SID".to_owned(), place: ApiKeyPlace::Cookie, value: env("TOKEN"), prefix: String::new() };
    let (_, headers) = applied(&cookie, url);
    assert_eq!(headers["cookie"], "SID=s3cr&t");
    assert!(opened(&api_key(ApiKeyPlace::Cookie, "TOKEN")).err().unwrap().message.contains("a cookie cannot carry"));
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
        let error = opened(&Auth::Bearer { token: env(name) }).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Auth);
        assert!(error.message.starts_with(&format!("missing secret `env {name}`")), "{}", error.message);
    }
}

#[test]
fn a_secret_with_line_ends_never_becomes_a_header() {
    // S-18
    let error = opened(&Auth::Bearer { token: env("LINES") }).err().unwrap();
    assert!(error.message.contains("`env LINES`") && !error.message.contains("Evil"), "{}", error.message);
}

#[test]
fn fingerprints_tell_credentials_apart_and_nothing_else() {
    let of = |auth: &Auth| opened(auth).unwrap().fingerprint().to_owned();
    let token = of(&Auth::Bearer { token: env("TOKEN") });
    assert_eq!(token, of(&api_key(ApiKeyPlace::Query, "TOKEN")));
    assert_ne!(token, of(&Auth::Bearer { token: env("USER") }));
    assert_ne!(token, of(&Auth::None));
    assert_eq!(token.len(), 32);
}

#[test]
fn basic_credentials_are_removed_in_their_joined_form() {
    let credentials = opened(&Auth::Basic { username: env("USER"), password: env("TOKEN") }).unwrap();
    assert_eq!(credentials.redactor().clean("got am86czNjciZ0 and s3cr&t"), "got *** and ***");
}
