//! Signed assertions: JSON Web Tokens (RFC 7519) with RS256 or ES256 (RFC 7518), by the process's one provider of cryptography.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::config::catalog::{JwtAlgorithm, JwtBearer};
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::denial::Denial;
use super::resolver::{Resolver, describe};

/// An assertion is dated back by this: a server whose clock is behind would take it for one of the future.
const SKEW: Duration = Duration::from_secs(10);

pub(super) struct Assertion {
    key: Key,
    algorithm: JwtAlgorithm,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    lifetime: Duration,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

impl Assertion {
    /// The assertion, and what tells its credential apart.
    pub(super) fn resolve(resolver: &mut Resolver<'_>, jwt: &JwtBearer) -> Result<(Self, Vec<String>), FetchError> {
        let pem = resolver.resolve(&jwt.key)?;
        let key = read_key(&pem, jwt.algorithm).map_err(|why| {
            FetchError::new(
                ErrorKind::Auth,
                format!("secret {} is no private key for {}: {why}", describe(&jwt.key), jwt.algorithm.name()),
            )
        })?;
        let mut header = Map::new();
        header.insert("alg".to_owned(), jwt.algorithm.name().into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(key_id) = &jwt.key_id {
            header.insert("kid".to_owned(), key_id.as_str().into());
        }
        let mut claims: Map<String, Value> =
            jwt.claims.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        claims.insert("iss".to_owned(), jwt.issuer.as_str().into());
        if let Some(subject) = &jwt.subject {
            claims.insert("sub".to_owned(), subject.as_str().into());
        }
        claims.insert("aud".to_owned(), jwt.audience.as_str().into());
        let mut seed = vec![pem.expose_secret().to_owned(), serde_json::Value::from(claims.clone()).to_string()];
        seed.extend(jwt.key_id.clone());
        Ok((Assertion { key, algorithm: jwt.algorithm, header, claims, lifetime: jwt.lifetime }, seed))
    }

    /// An assertion that holds from now on. Google reads scopes in it, others in the request.
    pub(super) fn sign(&self, scopes: &[String], clock: &dyn Clock) -> Result<String, Denial> {
        let bug = |what: &str| Denial::new(ErrorKind::Bug, format!("an assertion cannot be signed: {what}"));
        let now = clock.now().as_second() - SKEW.as_secs() as i64;
        let lifetime = SignedDuration::try_from(self.lifetime).map_err(|_| bug("its lifetime is out of range"))?;
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + lifetime.as_secs()).into());
        claims.insert("jti".to_owned(), clock.run_id().to_string().into());
        if !scopes.is_empty() {
            claims.insert("scope".to_owned(), scopes.join(" ").into());
        }
        let encode = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::Object(part.clone()).to_string());
        let text = format!("{}.{}", encode(&self.header), encode(&claims));
        let random = SystemRandom::new();
        let signature = match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).map_err(|_| bug(self.algorithm.name()))?;
                signature
            }
            Key::Ecdsa(key) => key.sign(&random, text.as_bytes()).map_err(|_| bug(self.algorithm.name()))?.as_ref().to_vec(),
        };
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Never says what stands in the key.
fn read_key(pem: &SecretString, algorithm: JwtAlgorithm) -> Result<Key, &'static str> {
    // Environment variables carry line breaks as `\n` often enough.
    let text = pem.expose_secret().replace("\\n", "\n");
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| "there is no PEM of one in it")?;
    match (algorithm, &der) {
        (JwtAlgorithm::Rs256, PrivateKeyDer::Pkcs8(der)) => {
            let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| "it is no RSA key that is safe")?;
            Ok(Key::Rsa(Box::new(key)))
        }
        (JwtAlgorithm::Rs256, PrivateKeyDer::Pkcs1(der)) => {
            let key = RsaKeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| "it is no RSA key that is safe")?;
            Ok(Key::Rsa(Box::new(key)))
        }
        (JwtAlgorithm::Es256, PrivateKeyDer::Pkcs8(der)) => {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
            Ok(Key::Ecdsa(Box::new(key.map_err(|_| "it is no key on the curve P-256")?)))
        }
        (JwtAlgorithm::Es256, PrivateKeyDer::Sec1(der)) => {
            let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der());
            Ok(Key::Ecdsa(Box::new(key.map_err(|_| "it is no key on the curve P-256")?)))
        }
        _ => Err("it is of another kind"),
    }
}
