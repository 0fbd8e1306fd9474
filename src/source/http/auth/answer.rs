//! What an authorization server answers, RFC 6749 sections 5.1 and 5.2. Nothing of a body is ever shown but its own error fields: the
//! rest may be a token.

use std::time::Duration;

use ::http::StatusCode;
use serde_json::Value;

use crate::config::secret::SecretString;
use crate::error::ErrorKind;

use super::super::redact::Redactor;
use super::super::status::{Remedy, judge};
use super::denial::Denial;

/// The longest token that is taken, bytes: it goes into a header, and servers take no longer ones.
pub(super) const TOKEN_MAX: usize = 16 * 1024;

/// What a token request brought.
pub(super) struct Obtained {
    pub(super) access: SecretString,
    /// `None`: the one before stays good.
    pub(super) refresh: Option<SecretString>,
    pub(super) lifetime: Option<Duration>,
}

/// How a refusal is told: what was asked with.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// Scheme, host and path of the token address.
    pub(super) address: &'a str,
    /// The reference that a grant rests on, as messages show it.
    pub(super) grant: &'a str,
    /// The reference that the client is known by.
    pub(super) client: &'a str,
}

/// Reads an answer with a status of success.
pub(super) fn read(asked: Asked<'_>, status: StatusCode, body: &[u8], redactor: &Redactor) -> Result<Obtained, Denial> {
    let bad = |what: &str| Denial::new(ErrorKind::Data, format!("{} answered {status}: {what}", asked.address));
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return Err(bad("not a JSON object")) };
    let text = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let Some(access) = text("access_token") else {
        // Some servers refuse with a status of success.
        return Err(refusal(asked, &Value::Object(body), redactor).unwrap_or_else(|| bad("there is no `access_token` in it")));
    };
    let token_type = text("token_type").unwrap_or("bearer").to_ascii_lowercase();
    if matches!(token_type.as_str(), "dpop" | "mac" | "pop") {
        return Err(bad("its tokens are no bearer tokens, and others are not understood"));
    }
    let refresh = text("refresh_token");
    for (key, token) in [("access_token", Some(access)), ("refresh_token", refresh)] {
        if token
            .is_some_and(|token| token.len() > TOKEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '))
        {
            return Err(bad(&format!("its `{key}` is no token")));
        }
    }
    let secret = |token: &str| SecretString::from(token.to_owned());
    Ok(Obtained { access: secret(access), refresh: refresh.map(secret), lifetime: body.get("expires_in").and_then(lifetime) })
}

/// Seconds, as a number or in quotes. Nothing that is above zero is no length: the token holds until it is refused.
fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    // Ten years are as good as for ever, and no clock overflows.
    (seconds >= 1.0).then(|| Duration::from_secs(seconds.min(315_360_000.0) as u64))
}

/// What an answer without success means, and whether the same request may work later.
pub(super) fn refuse(asked: Asked<'_>, status: StatusCode, body: &[u8], redactor: &Redactor) -> (Denial, Remedy) {
    let (kind, remedy) = judge(status, None);
    let told = serde_json::from_slice(body).ok().and_then(|body| refusal(asked, &body, redactor));
    match told {
        Some(denial) if remedy != Remedy::Retry => (denial, Remedy::None),
        _ => {
            let told = |status: u16| match status {
                300..=399 => "; a token request follows no redirect, write the address that it leads to",
                404 | 405 => "; see `token_url`",
                _ => "",
            };
            let message = format!("{} answered {status}{}", asked.address, told(status.as_u16()));
            let kind = if status.is_redirection() { ErrorKind::Config } else { kind };
            (Denial::new(kind, message), if remedy == Remedy::Retry { remedy } else { Remedy::None })
        }
    }
}

/// The error that a body tells of.
fn refusal(asked: Asked<'_>, body: &Value, redactor: &Redactor) -> Option<Denial> {
    let error = body.get("error")?.as_str().filter(|error| !error.is_empty())?;
    let told = |key: &str| body.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut said = redactor.excerpt(error.as_bytes())?;
    if let Some(more) = told("error_description").and_then(|text| redactor.excerpt(text.as_bytes())) {
        said = format!("{said}: {more}");
    }
    let (kind, message) = match error {
        "invalid_grant" => (
            ErrorKind::Auth,
            format!(
                "{} refuses {} ({said}): it was revoked, has ended or was used before; get a new one and put it there",
                asked.address, asked.grant
            ),
        ),
        "invalid_client" | "unauthorized_client" | "access_denied" => {
            (ErrorKind::Auth, format!("{} refuses the client of {} ({said})", asked.address, asked.client))
        }
        "invalid_scope" | "unsupported_grant_type" | "invalid_request" => {
            (ErrorKind::Config, format!("{} does not take what it is asked ({said}); see `auth`", asked.address))
        }
        "temporarily_unavailable" | "server_error" => (ErrorKind::Unavailable, format!("{} answered {said}", asked.address)),
        _ => (ErrorKind::Auth, format!("{} refuses {} ({said})", asked.address, asked.client)),
    };
    Some(Denial::new(kind, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::secret::ExposeSecret;

    const ASKED: Asked<'static> = Asked { address: "https://id.example/token", grant: "`env REFRESH`", client: "`env ID`" };

    fn redactor() -> Redactor {
        let mut redactor = Redactor::default();
        redactor.add("CANARY");
        redactor
    }

    fn read(body: &str) -> Result<Obtained, Denial> {
        super::read(ASKED, StatusCode::OK, body.as_bytes(), &redactor())
    }

    fn refuse(status: u16, body: &str) -> (Denial, Remedy) {
        super::refuse(ASKED, StatusCode::from_u16(status).unwrap(), body.as_bytes(), &redactor())
    }

    #[test]
    fn a_token_comes_with_its_lifetime_in_many_forms() {
        let lifetime = |text: &str| {
            let body = format!(r#"{{"access_token":"a","token_type":"Bearer","expires_in":{text}}}"#);
            read(&body).map(|obtained| obtained.lifetime.map(|lifetime| lifetime.as_secs())).unwrap()
        };
        assert_eq!([lifetime("3600"), lifetime("\"60\""), lifetime("59.9")], [Some(3600), Some(60), Some(59)]);
        for nonsense in ["0", "-1", "null", "\"soon\"", "[]"] {
            assert_eq!(lifetime(nonsense), None, "{nonsense}");
        }
        assert_eq!(lifetime("1e300"), Some(315_360_000));
        let obtained = read(r#"{"access_token":"a","refresh_token":"r"}"#).unwrap();
        assert_eq!((obtained.access.expose_secret(), obtained.refresh.unwrap().expose_secret()), ("a", "r"));
        assert!(read(r#"{"access_token":"a","refresh_token":""}"#).unwrap().refresh.is_none());
    }

    #[test]
    fn what_is_no_token_answer_is_an_error_that_shows_nothing_of_it() {
        let long = format!(r#"{{"access_token":"{}"}}"#, "x".repeat(TOKEN_MAX + 1));
        let bodies =
            ["", "secret-in-a-cut-body", "[\"secret\"]", r#"{"access_token":7}"#, r#"{"access_token":"secret\n"}"#, &long];
        for body in bodies {
            let denial = read(body).err().unwrap();
            assert_eq!(denial.kind, ErrorKind::Data, "{body}");
            assert!(!denial.message.contains("secret") && denial.message.len() < 200, "{}", denial.message);
        }
        assert!(read(r#"{"access_token":"a","token_type":"DPoP"}"#).err().unwrap().message.contains("no bearer tokens"));
    }

    #[test]
    fn refusals_blame_what_is_to_be_renewed() {
        let (denial, remedy) = refuse(400, r#"{"error":"invalid_grant","error_description":"Token CANARY has been revoked."}"#);
        assert_eq!((denial.kind, remedy), (ErrorKind::Auth, Remedy::None));
        assert!(
            denial.message.contains("refuses `env REFRESH` (`invalid_grant`: `Token *** has been revoked.`)"),
            "{}",
            denial.message
        );
        let (denial, _) = refuse(401, r#"{"error":"invalid_client"}"#);
        assert!(denial.kind == ErrorKind::Auth && denial.message.contains("the client of `env ID`"), "{}", denial.message);
        assert_eq!(refuse(400, r#"{"error":"invalid_scope"}"#).0.kind, ErrorKind::Config);
        assert_eq!(read(r#"{"error":"bad_refresh_token"}"#).err().unwrap().kind, ErrorKind::Auth);
        assert_eq!(refuse(403, "<html>").0.kind, ErrorKind::Auth);
        let (denial, remedy) = refuse(302, "");
        assert!(denial.message.contains("follows no redirect") && remedy == Remedy::None, "{}", denial.message);
    }

    #[test]
    fn what_passes_is_retried_whatever_the_body_says() {
        for status in [408, 429, 500, 503] {
            assert_eq!(refuse(status, r#"{"error":"server_error"}"#).1, Remedy::Retry, "{status}");
        }
    }
}
