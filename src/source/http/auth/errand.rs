//! What is asked for by a source, and how: the recipe of its kind, and the way.

use std::time::Duration;

use ::http::HeaderValue;
use ::http::header::AUTHORIZATION;
use jiff::Timestamp;

use crate::config::secret::ExposeSecret;
use crate::error::ErrorKind;

use super::super::redact::Redactor;
use super::answer::Obtained;
use super::attach::Attach;
use super::denial::Denial;
use super::held::Access;
use super::line::Line;
use super::{oauth2, session};

/// How a token is come by.
pub(super) enum Recipe {
    OAuth2(oauth2::Recipe),
    Session(session::Recipe),
}

impl Recipe {
    /// By what the tokens are kept: where and with which secret they are asked for.
    pub(super) fn vault_key(&self) -> String {
        match self {
            Recipe::OAuth2(recipe) => recipe.vault_key(),
            Recipe::Session(recipe) => recipe.vault_key(),
        }
    }

    fn variant(&self) -> String {
        match self {
            Recipe::OAuth2(recipe) => recipe.variant(),
            Recipe::Session(_) => "session".to_owned(),
        }
    }
}

/// Of one source.
pub(super) struct Errand {
    recipe: Recipe,
    line: Line,
    pub(super) redactor: Redactor,
    /// Tells apart what one secret is used to ask for: scopes, audiences.
    pub(super) variant: String,
}

impl Errand {
    pub(super) fn new(recipe: Recipe, line: Line, redactor: Redactor) -> Self {
        Errand { variant: recipe.variant(), recipe, line, redactor }
    }

    /// Whether an answer may bring the successor of what is asked with.
    pub(super) fn rotates(&self) -> bool {
        match &self.recipe {
            Recipe::OAuth2(recipe) => recipe.rotates(),
            Recipe::Session(_) => false,
        }
    }

    /// The secret that everything rests on, as messages show it.
    pub(super) fn grant_name(&self) -> &str {
        match &self.recipe {
            Recipe::OAuth2(recipe) => recipe.grant_name(),
            Recipe::Session(recipe) => recipe.name(),
        }
    }

    /// Asks for a token; `refresh` is the successor of the refresh token that the files name.
    pub(super) async fn ask(&self, refresh: Option<&str>) -> Result<Obtained, Denial> {
        match &self.recipe {
            Recipe::OAuth2(recipe) => recipe.ask(&self.line, refresh, &self.redactor).await,
            Recipe::Session(recipe) => recipe.ask(&self.line).await,
        }
    }

    /// Waits, unless a stop is asked for meanwhile.
    pub(super) async fn wait(&self, length: Duration) -> Result<(), Denial> {
        self.line.wait(length).await
    }

    /// Adds what is known of the past. `cut_off`: an answer was awaited then, and never kept.
    pub(super) fn explain(&self, denial: Denial, cut_off: Option<Timestamp>) -> Denial {
        match (denial.kind, cut_off) {
            (ErrorKind::Auth, Some(at)) => {
                let message = format!(
                    "{} (a renewal at {at} was cut off before its answer was kept, which may have used it up)",
                    denial.message
                );
                Denial { message, ..denial }
            }
            _ => denial,
        }
    }

    pub(super) fn attach(&self, access: &Access) -> Result<Attach, Denial> {
        if let Recipe::Session(recipe) = &self.recipe {
            return recipe.attach(access.secret.expose_secret());
        }
        let bad = || Denial::new(ErrorKind::Data, "the token that was given cannot stand in a header");
        let mut value = HeaderValue::from_str(&format!("Bearer {}", access.secret.expose_secret())).map_err(|_| bad())?;
        value.set_sensitive(true);
        Ok(Attach::Header(AUTHORIZATION, value))
    }
}
