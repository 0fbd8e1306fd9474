//! What a source shows to be let in, whatever its kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use crate::config::catalog::Auth;
use crate::config::secret::SecretSource;
use crate::source::FetchError;

use super::super::redact::Redactor;
use super::errand::{Errand, Recipe};
use super::held::HeldToken;
use super::hmac::Signer;
use super::{Attach, Line, Resolver, Tokens, Unsigned, api_key, basic, bearer, none, oauth2, session};

/// What a source shows to be let in.
pub(in super::super) struct Credentials {
    way: Way,
    redactor: Redactor,
    fingerprint: String,
    /// The references that are to be renewed where it is refused; never a value.
    name: String,
}

enum Way {
    Fixed(Attach),
    Held(Arc<HeldToken>, Arc<Errand>),
    Signed(Box<Signer>),
}

/// What one request shows.
pub(in super::super) struct Proof {
    attach: Option<Attach>,
    /// Which token it is, where another can be had.
    pub(in super::super) serial: Option<u64>,
}

impl Credentials {
    /// Resolves the secrets. A missing one is an error of kind auth that names the reference, never a value. `line` is where tokens
    /// are asked for.
    pub(in super::super) fn open(
        auth: &Auth,
        secrets: &dyn SecretSource,
        tokens: &Tokens,
        site: Site<'_>,
        line: Line,
    ) -> Result<Self, FetchError> {
        let mut resolver = Resolver::new(secrets);
        let way = match auth {
            Auth::None => Way::Fixed(none::attach()),
            Auth::Bearer { token } => Way::Fixed(bearer::attach(&mut resolver, token)?),
            Auth::Basic { username, password } => Way::Fixed(basic::attach(&mut resolver, username, password)?),
            Auth::ApiKey { name, place, value, prefix } => {
                Way::Fixed(api_key::attach(&mut resolver, name, *place, value, prefix)?)
            }
            Auth::Hmac(hmac) => Way::Signed(Box::new(Signer::resolve(&mut resolver, hmac, line.clock)?)),
            Auth::OAuth2(oauth2) => {
                line.check(&oauth2.token_url)?;
                hold(Recipe::OAuth2(oauth2::Recipe::resolve(&mut resolver, oauth2)?), &mut resolver, tokens, line)
            }
            Auth::Session(session) => {
                let recipe = session::Recipe::resolve(&mut resolver, session, site.base_url, site.parameters)?;
                line.check(recipe.url())?;
                hold(Recipe::Session(recipe), &mut resolver, tokens, line)
            }
        };
        let (fingerprint, name) = (resolver.fingerprint(), resolver.name());
        Ok(Credentials { way, redactor: resolver.redactor, fingerprint, name })
    }

    /// What the next request shows; asks for a token where none is good. Safe to drop: whatever is under way comes to its end.
    pub(in super::super) async fn proof(&self) -> Result<Proof, FetchError> {
        match &self.way {
            Way::Fixed(_) | Way::Signed(_) => Ok(Proof { attach: None, serial: None }),
            Way::Held(held, errand) => {
                let access = held.current(errand).await?;
                Ok(Proof { attach: Some(errand.attach(&access)?), serial: Some(access.serial) })
            }
        }
    }

    /// Replaces a token that was refused, once for everybody who was refused with it.
    pub(in super::super) async fn renew(&self, serial: u64) -> Result<(), FetchError> {
        match &self.way {
            Way::Fixed(_) | Way::Signed(_) => Ok(()),
            Way::Held(held, errand) => Ok(held.replace(errand, serial).await.map(drop)?),
        }
    }

    /// The next request shows another token, if there is one to be had.
    pub(in super::super) fn distrust(&self) -> bool {
        match &self.way {
            Way::Fixed(_) | Way::Signed(_) => false,
            Way::Held(held, errand) => held.distrust(errand),
        }
    }

    /// Puts the credential on a request. An entry of the same name that a next link echoes is replaced.
    pub(in super::super) fn apply(&self, proof: &Proof, request: Unsigned<'_>) -> Result<(), FetchError> {
        match (&self.way, &proof.attach) {
            (Way::Fixed(attach), _) | (Way::Held(..), Some(attach)) => attach.apply(request.url, request.headers),
            (Way::Signed(signer), _) => signer.sign(request)?,
            (Way::Held(..), None) => {}
        }
        Ok(())
    }

    /// What all requests with this credential share: their budget. Says nothing about the credential itself.
    pub(in super::super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(in super::super) fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    pub(in super::super) fn name(&self) -> &str {
        &self.name
    }
}

/// Where a source stands, for logins that are its own.
#[derive(Clone, Copy)]
pub(in super::super) struct Site<'a> {
    pub(in super::super) base_url: &'a Url,
    /// Those that all parameter sets have in common.
    pub(in super::super) parameters: &'a BTreeMap<String, String>,
}

fn hold(recipe: Recipe, resolver: &mut Resolver<'_>, tokens: &Tokens, line: Line) -> Way {
    let held = tokens.hold(recipe.vault_key());
    // Tokens that come later are hidden in this source's messages as well.
    resolver.redactor.watch(held.recent());
    Way::Held(held, Arc::new(Errand::new(recipe, line, resolver.redactor.clone())))
}

#[cfg(test)]
mod tests;
