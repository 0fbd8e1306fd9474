//! What is asked for by a source, and how: the recipe of its kind, and the way.

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
use super::oauth2::Recipe;

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
        self.recipe.rotates()
    }

    /// The secret that everything rests on, as messages show it.
    pub(super) fn grant_name(&self) -> &str {
        self.recipe.grant_name()
    }

    /// Asks for a token; `refresh` is the successor of the refresh token that the files name.
    pub(super) async fn ask(&self, refresh: Option<&str>) -> Result<Obtained, Denial> {
        self.recipe.ask(&self.line, refresh, &self.redactor).await
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
        let bad = || Denial::new(ErrorKind::Data, "the token that was given cannot stand in a header");
        let mut value = HeaderValue::from_str(&format!("Bearer {}", access.secret.expose_secret())).map_err(|_| bad())?;
        value.set_sensitive(true);
        Ok(Attach::Header(AUTHORIZATION, value))
    }
}
