//! Credentials: secrets are resolved once when the source is opened, and shown to the source's own origin alone.
//!
//! Fixed ones come down to an `Attach`. Those that come at run time are *held*: `Tokens` has one `HeldToken` for each credential of
//! the process, which asks for a new token once for everybody who waits, keeps what must not be lost in the vault (`kept`) and
//! renews ahead of the end. `oauth2` and
//! `session` say what is asked, `line` asks it, `answer` understands what comes back.

mod answer;
mod api_key;
mod assertion;
mod attach;
mod basic;
mod bearer;
mod credentials;
mod denial;
mod errand;
mod held;
mod hmac;
mod kept;
mod line;
mod none;
mod oauth2;
mod resolver;
mod session;
mod shelf;
mod tokens;

use attach::Attach;
pub(super) use attach::Unsigned;
pub(super) use credentials::{Credentials, Site};
pub(super) use line::Line;
pub(super) use oauth2::fingerprint;
use resolver::Resolver;
pub use tokens::Tokens;
