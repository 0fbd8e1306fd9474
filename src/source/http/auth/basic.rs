//! `Authorization: Basic <base64 of name:password>`, RFC 7617.

use ::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::secret::{ExposeSecret, SecretRef};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::resolver::describe;
use super::{Attach, Resolver};

pub(super) fn attach(resolver: &mut Resolver<'_>, username: &SecretRef, password: &SecretRef) -> Result<Attach, FetchError> {
    let name = resolver.resolve(username)?;
    if name.expose_secret().contains(':') {
        // The server would take what follows for the password.
        let message = format!("user name {} holds a colon, which basic authentication cannot carry", describe(username));
        return Err(FetchError::new(ErrorKind::Auth, message));
    }
    let secret = resolver.resolve(password)?;
    let joined = format!("{}:{}", name.expose_secret(), secret.expose_secret());
    resolver.redactor.add(&joined);
    let value = resolver.header(&format!("Basic {}", STANDARD.encode(&joined)), password)?;
    Ok(Attach::Header(AUTHORIZATION, value))
}
