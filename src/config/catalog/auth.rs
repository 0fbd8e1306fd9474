//! How requests prove who they are.

use std::time::Duration;

use http::HeaderName;
use url::Url;

use crate::config::secret::SecretRef;
use crate::page::ResponsePath;
use crate::template::Template;

use super::PlainRequest;

#[derive(Clone, Debug)]
pub enum Auth {
    None,
    Bearer { token: SecretRef },
    Basic { username: SecretRef, password: SecretRef },
    ApiKey { name: String, place: ApiKeyPlace, value: SecretRef, prefix: String },
    OAuth2(Box<OAuth2>),
    Hmac(Box<Hmac>),
    Session(Box<Session>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyPlace {
    Header,
    Query,
    Cookie,
}

/// Access tokens from an authorization server, RFC 6749.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// With the encryption that `base_url` has.
    pub token_url: Url,
    pub grant: Grant,
    /// None of them holds a space.
    pub scopes: Vec<String>,
    /// Further entries of the token request; none that the grant writes itself.
    pub extra: Vec<(String, String)>,
}

/// What is shown to the authorization server.
#[derive(Clone, Debug)]
pub enum Grant {
    ClientCredentials {
        client: Client,
    },
    RefreshToken {
        client: Client,
        /// The first one; its successors stand in the state.
        refresh_token: SecretRef,
    },
    JwtBearer(JwtBearer),
}

/// The program that asks, as the authorization server knows it.
#[derive(Clone, Debug)]
pub struct Client {
    pub id: SecretRef,
    /// A public client has none.
    pub secret: Option<SecretRef>,
    pub place: ClientPlace,
}

/// Where a client shows its secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPlace {
    /// `Authorization: Basic ..`.
    Basic,
    /// Entries of the token request.
    Body,
}

/// A signed assertion, RFC 7523.
#[derive(Clone, Debug)]
pub struct JwtBearer {
    /// PEM.
    pub key: SecretRef,
    pub algorithm: JwtAlgorithm,
    pub issuer: String,
    pub subject: Option<String>,
    pub audience: String,
    pub key_id: Option<String>,
    /// Of an assertion; above zero.
    pub lifetime: Duration,
    /// Further claims; none that is written anyway.
    pub claims: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtAlgorithm {
    Rs256,
    Es256,
}

impl JwtAlgorithm {
    pub fn name(self) -> &'static str {
        match self {
            JwtAlgorithm::Rs256 => "RS256",
            JwtAlgorithm::Es256 => "ES256",
        }
    }
}

/// Each request signed.
#[derive(Clone, Debug)]
pub struct Hmac {
    pub key: SecretRef,
    pub key_id: Option<SecretRef>,
    pub algorithm: HmacAlgorithm,
    pub encoding: HmacEncoding,
    /// What is signed.
    pub sign: Template,
    /// What is written with the signature.
    pub headers: Vec<(HeaderName, Template)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    Sha1,
    Sha256,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacEncoding {
    Hex,
    Base64,
}

/// A login of the API's own.
#[derive(Clone, Debug)]
pub struct Session {
    pub username: SecretRef,
    pub password: SecretRef,
    /// Its templates know `username` and `password` besides the parameters, but for the path.
    pub login: PlainRequest,
    pub place: SessionPlace,
    /// `None`: until it is refused.
    pub expires: Option<Duration>,
}

/// What a login gives, and where requests show it.
#[derive(Clone, Debug)]
pub enum SessionPlace {
    Header {
        /// Where the answer has the token.
        token: ResponsePath,
        name: HeaderName,
        prefix: String,
    },
    /// The cookie's name.
    Cookie(String),
}

/// A certificate that the client shows, PEM.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    pub certificate: SecretRef,
    pub key: SecretRef,
}

impl Auth {
    /// Whether something of it comes at run time and is kept in the state.
    pub fn keeps_tokens(&self) -> bool {
        matches!(self, Auth::OAuth2(_) | Auth::Session(_))
    }

    /// Where tokens are asked for, if not from the source itself.
    pub fn token_url(&self) -> Option<&Url> {
        match self {
            Auth::OAuth2(oauth2) => Some(&oauth2.token_url),
            _ => None,
        }
    }
}
