use std::time::Duration;

use ::http::{HeaderMap, HeaderName, Method};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair,
    VerificationAlgorithm,
};
use base64::Engine;
use futures::FutureExt;
use url::Url;

use super::super::assertion::Assertion;
use super::*;
use crate::config::catalog::{ApiKeyPlace, Hmac, HmacAlgorithm, HmacEncoding, JwtAlgorithm, JwtBearer};
use crate::config::secret::{SecretRef, SecretString};
use crate::error::ErrorKind;
use crate::event::Events;
use crate::ids::JobName;
use crate::quota::test_clock::TestClock;
use crate::source::http::origin::OriginRule;
use crate::source::http::recording::Wire;
use crate::source::http::transport::Transport;
use crate::state::memory::MemoryState;
use crate::stop::Stop;
use crate::template::Template;

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
        transport: Transport::new(reqwest::Client::new(), Wire::Network),
        origins: OriginRule::new(&Url::parse("https://api.example.com").unwrap(), &[], false).unwrap(),
        timeout: Duration::from_secs(1),
        attempts_max: 1,
        clock: clock.clone(),
        job: JobName::new("items"),
        events: Events::default(),
        stop: Stop::new(),
    };
    let base_url = Url::parse("https://api.example.com").unwrap();
    let site = Site { base_url: &base_url, parameters: &BTreeMap::new() };
    Credentials::open(auth, &Known, &Tokens::new(clock, Arc::new(MemoryState::new())), site, line)
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

fn signed(sign: &str, headers: &[(&'static str, &str)], encoding: HmacEncoding) -> Result<HeaderMap, FetchError> {
    let template = |text: &str| Template::parse(text).unwrap();
    let hmac = Hmac {
        key: env("TOKEN"),
        key_id: Some(env("USER")),
        algorithm: HmacAlgorithm::Sha256,
        encoding,
        sign: template(sign),
        headers: headers.iter().map(|(name, text)| (HeaderName::from_static(name), template(text))).collect(),
    };
    let credentials = opened(&Auth::Hmac(Box::new(hmac))).unwrap();
    let proof = credentials.proof().now_or_never().unwrap().unwrap();
    let (mut url, mut headers) = (Url::parse("https://api.example.com:8443/a%20b?x=1&y=2").unwrap(), HeaderMap::new());
    let unsigned = Unsigned { method: &Method::POST, url: &mut url, headers: &mut headers, body: b"{}" };
    credentials.apply(&proof, unsigned).map(|()| headers)
}

#[test]
fn a_request_is_signed_over_what_the_template_says() {
    let sign = "{{ method }}\n{{ path }}\n{{ query }}\n{{ host }}\n{{ timestamp }}\n{{ body_sha256 }}";
    let written = [("x-date", "{{ date }}"), ("x-signature", "{{ key_id }}:{{ signature }}"), ("x-ms", "{{ timestamp_ms }}")];
    let headers = signed(sign, &written, HmacEncoding::Hex).unwrap();
    // By Python's hmac, with the key `s3cr&t`.
    assert_eq!(headers["x-signature"], "jo:cafcaac2a22e0cc9d4073a4c831ef1396b48819be57a897358b81c21977af017");
    assert_eq!(
        (&headers["x-date"], &headers["x-ms"]),
        ("Thu, 01 Jan 2026 00:00:10 GMT".parse().as_ref().unwrap(), "1767225610000".parse().as_ref().unwrap())
    );
    assert!(headers["x-signature"].is_sensitive());
    let headers = signed("{{ body }}", &[("x-signature", "{{ signature }}")], HmacEncoding::Base64).unwrap();
    assert_eq!(headers["x-signature"], "oYbZrAe+GKeg5MwAf6jgoWIdyKQrnr5rh7PK7GAj4BA=");
}

#[test]
fn a_signature_that_cannot_be_written_is_an_error() {
    let error = signed("x", &[("x-signature", "{{ signature }}\n")], HmacEncoding::Hex).err().unwrap();
    assert!(error.kind == ErrorKind::Config && error.message.contains("auth.headers.x-signature"), "{}", error.message);
}

/// A key as PEM, and the assertion that it signs, in its three parts.
fn assertion(algorithm: JwtAlgorithm, pem: &str) -> Result<Vec<String>, FetchError> {
    struct Pem(String);
    impl SecretSource for Pem {
        fn resolve(&self, _secret: &SecretRef) -> Result<SecretString, String> {
            Ok(self.0.clone().into())
        }
    }
    let jwt = JwtBearer {
        key: env("KEY"),
        algorithm,
        issuer: "me".to_owned(),
        subject: Some("you".to_owned()),
        audience: "https://id.example.com/token".to_owned(),
        key_id: Some("k1".to_owned()),
        lifetime: Duration::from_secs(600),
        claims: vec![("team".to_owned(), "7".to_owned())],
    };
    let pem = Pem(pem.to_owned());
    let (assertion, _) = Assertion::resolve(&mut Resolver::new(&pem), &jwt)?;
    let text = assertion.sign(&["read".to_owned(), "write".to_owned()], &TestClock::new())?;
    Ok(text.split('.').map(str::to_owned).collect())
}

fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

#[test]
fn an_assertion_is_signed_with_either_algorithm() {
    let decode = |part: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let rsa_pem = pem(AsDer::<Pkcs8V1Der>::as_der(&rsa).unwrap().as_ref());
    let ecdsa_pem = pem(ecdsa.to_pkcs8v1().unwrap().as_ref());
    let cases: [(JwtAlgorithm, &str, &dyn VerificationAlgorithm, &[u8]); 2] = [
        (JwtAlgorithm::Rs256, &rsa_pem, &RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref()),
        (JwtAlgorithm::Es256, &ecdsa_pem, &ECDSA_P256_SHA256_FIXED, ecdsa.public_key().as_ref()),
    ];
    for (algorithm, pem, verify, public) in cases {
        let parts = assertion(algorithm, pem).unwrap();
        let signed = format!("{}.{}", parts[0], parts[1]);
        verify.verify_sig(public, signed.as_bytes(), &decode(&parts[2])).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&decode(&parts[0])).unwrap();
        assert_eq!(header, serde_json::json!({"alg": algorithm.name(), "typ": "JWT", "kid": "k1"}));
        let claims: serde_json::Value = serde_json::from_slice(&decode(&parts[1])).unwrap();
        let now = 1_767_225_600;
        let expected = serde_json::json!({"iss": "me", "sub": "you", "aud": "https://id.example.com/token", "team": "7", "scope": "read write",
            "iat": now, "exp": now + 600, "jti": "00000000-0000-0000-0000-000000000000"});
        assert_eq!(claims, expected);
        // As an environment variable carries it.
        assert!(assertion(algorithm, &pem.replace('\n', "\\n")).is_ok());
    }
    for (algorithm, pem) in
        [(JwtAlgorithm::Rs256, ecdsa_pem.as_str()), (JwtAlgorithm::Es256, &rsa_pem), (JwtAlgorithm::Rs256, "CANARY")]
    {
        let error = assertion(algorithm, pem).err().unwrap();
        assert!(error.kind == ErrorKind::Auth && error.message.contains("`env KEY` is no private key for"), "{}", error.message);
        assert!(!error.message.contains("CANARY"), "{}", error.message);
    }
}
