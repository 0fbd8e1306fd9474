//! `Authorization: Bearer <token>`, RFC 6750.

use ::http::header::AUTHORIZATION;

use crate::config::secret::{ExposeSecret, SecretRef};
use crate::source::FetchError;

use super::{Attach, Resolver};

pub(super) fn attach(resolver: &mut Resolver<'_>, token: &SecretRef) -> Result<Attach, FetchError> {
    let secret = resolver.resolve(token)?;
    let value = resolver.header(&format!("Bearer {}", secret.expose_secret()), token)?;
    Ok(Attach::Header(AUTHORIZATION, value))
}
