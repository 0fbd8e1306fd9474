//! A key in a header, query entry or cookie of the API's own naming, with an optional prefix before it.

use ::http::HeaderName;

use crate::config::catalog::ApiKeyPlace;
use crate::config::secret::{ExposeSecret, SecretRef, SecretString};
use crate::error::ErrorKind;
use crate::source::FetchError;

use super::{Attach, Resolver};

pub(super) fn attach(
    resolver: &mut Resolver<'_>,
    name: &str,
    place: ApiKeyPlace,
    value: &SecretRef,
    prefix: &str,
) -> Result<Attach, FetchError> {
    let secret = resolver.resolve(value)?;
    let text = format!("{prefix}{}", secret.expose_secret());
    match place {
        ApiKeyPlace::Query => Ok(Attach::Query(name.to_owned(), SecretString::from(text))),
        ApiKeyPlace::Cookie => resolver.cookie(name, &text, value),
        ApiKeyPlace::Header => {
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| FetchError::new(ErrorKind::Config, format!("auth.name: `{name}` is not a header name")))?;
            Ok(Attach::Header(header, resolver.header(&text, value)?))
        }
    }
}
