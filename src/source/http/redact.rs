//! Keeps resolved secrets out of messages: what a server echoes can hold them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::config::secret::{ExposeSecret, SecretString};

use super::request::encode_query;

/// Longest piece of a body that a message shows, in characters.
pub(super) const EXCERPT_MAX: usize = 200;

/// The secrets of one source in every form in which they could come back.
#[derive(Clone, Default)]
pub(super) struct Redactor {
    known: Known,
    recent: Recent,
}

/// So much of a body is looked through for secrets before a message quotes it.
const SEARCHED_MAX: usize = 1024 * 1024;

/// Shorter secrets are not looked for in recordings.
const SCRUBBED_MIN: usize = 8;

/// Shorter ones are not looked for in messages: `x`, as some vendors have it for a password, stands in every other word.
const CLEANED_MIN: usize = 3;

/// So many secrets that came at run time are remembered; those before have long ended.
const RECENT_MAX: usize = 32;

/// Secrets that came at run time, for all sources that share them.
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<VecDeque<Known>>>);

impl Recent {
    pub(super) fn add(&self, secret: &str) {
        let mut known = Known::default();
        known.add(secret);
        let mut recent = self.secrets();
        let plain = |known: &Known| known.plain.first().map(|secret| secret.expose_secret().to_owned());
        if recent.iter().any(|other| plain(other) == plain(&known)) {
            return;
        }
        recent.push_back(known);
        while recent.len() > RECENT_MAX {
            recent.pop_front();
        }
    }

    fn secrets(&self) -> MutexGuard<'_, VecDeque<Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Default)]
struct Known {
    forms: Vec<SecretString>,
    /// The secrets as they are.
    plain: Vec<SecretString>,
}

impl Known {
    fn add(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let json = serde_json::Value::from(secret).to_string();
        let json = json.trim_matches('"');
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let base64 = STANDARD.encode(secret);
        let forms = [
            secret.to_owned(),
            json.to_owned(),
            json.replace('/', "\\/"),
            utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
            form,
            encode_query(secret),
            base64.trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        self.plain.push(SecretString::from(secret.to_owned()));
        self.forms.extend(forms.into_iter().map(SecretString::from));
    }
}

impl Redactor {
    pub(super) fn add(&mut self, secret: &str) {
        self.known.add(secret);
    }

    /// Also removes what comes at run time.
    pub(super) fn watch(&mut self, recent: &Recent) {
        self.recent = recent.clone();
    }

    /// The text with `***` for every secret.
    pub(super) fn clean(&self, text: &str) -> String {
        self.hide(text, CLEANED_MIN)
    }

    /// A message that may quote pieces of a body: where that holds a secret, a piece may hold half of it, so none is shown.
    pub(super) fn clean_of(&self, message: &str, body: &[u8]) -> String {
        let message = self.clean(message);
        let body = String::from_utf8_lossy(&body[..body.len().min(SEARCHED_MAX)]);
        if self.clean(&body) == body {
            return message;
        }
        // From the first to the last: a piece may hold such a sign itself.
        match (message.find('`'), message.rfind('`')) {
            (Some(first), Some(last)) if first < last => format!("{}`***`{}", &message[..first], &message[last + 1..]),
            _ => message,
        }
    }

    /// The same for what is kept to be read again by a program: a user name of two letters would be found in every other word of it.
    pub(super) fn scrub(&self, text: &str) -> String {
        self.hide(text, SCRUBBED_MIN)
    }

    fn hide(&self, text: &str, shortest: usize) -> String {
        let mut text = text.to_owned();
        let recent = self.recent.secrets();
        let long = |secret: &&SecretString| secret.expose_secret().len() >= shortest;
        let forms = self.known.forms.iter().chain(recent.iter().flat_map(|known| &known.forms));
        let mut forms: Vec<&SecretString> = forms.filter(long).collect();
        // The longest first: a form that holds another must go as a whole.
        forms.sort_by_key(|form| std::cmp::Reverse(form.expose_secret().len()));
        for form in forms {
            if text.contains(form.expose_secret()) {
                text = text.replace(form.expose_secret(), "***");
            }
        }
        let plain = self.known.plain.iter().chain(recent.iter().flat_map(|known| &known.plain));
        let plain: Vec<&SecretString> = plain.filter(long).collect();
        // A server may escape more or fewer characters than we would: then the whole text goes.
        match shows_once_decoded(&plain, &text) {
            true => "*** (it held a secret)".to_owned(),
            false => text,
        }
    }

    /// The first piece of a body as one line, without control characters and secrets; `None` where there is nothing to show.
    pub(super) fn excerpt(&self, body: &[u8]) -> Option<String> {
        // Cleaned before it is cut: half a secret is a secret too.
        let text = self.clean(&String::from_utf8_lossy(body));
        let text = text.trim_start_matches('\u{feff}').trim_start();
        let lower: String = text.chars().take(9).collect::<String>().to_ascii_lowercase();
        if lower.starts_with("<!doctype") || lower.starts_with("<html") {
            return Some("an HTML page".to_owned());
        }
        let mut line = String::new();
        for word in text.split(|c: char| c.is_whitespace() || is_unprintable(c)).filter(|word| !word.is_empty()) {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            if line.len() > EXCERPT_MAX * 4 {
                break;
            }
        }
        if line.chars().count() > EXCERPT_MAX {
            line = line.chars().take(EXCERPT_MAX).chain(['…']).collect();
        }
        (!line.is_empty()).then(|| format!("`{line}`"))
    }
}

fn shows_once_decoded(plain: &[&SecretString], text: &str) -> bool {
    if !text.contains(['%', '+', '\\', '&']) {
        return false;
    }
    let decoded = percent_decode_str(text).decode_utf8_lossy().into_owned();
    let variants = [decoded.replace('+', " "), decoded.replace('\\', ""), decoded];
    plain.iter().any(|secret| variants.iter().any(|variant| variant.contains(secret.expose_secret())))
}

/// Control characters, and those that turn the direction of text around.
fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(secret: &str) -> Redactor {
        let mut redactor = Redactor::default();
        redactor.add(secret);
        redactor
    }

    #[test]
    fn secrets_are_removed_in_every_form() {
        // S-36
        let redactor = redactor("p@ss/w?rd=\"1");
        for echoed in ["p@ss/w?rd=\"1", r#"p@ss/w?rd=\"1"#, r#"p@ss\/w?rd=\"1"#, "p%40ss%2Fw%3Frd%3D%221", "cEBzcy93P3JkPSIx"] {
            assert_eq!(redactor.clean(&format!("bad token {echoed}.")), "bad token ***.", "{echoed}");
        }
    }

    #[test]
    fn a_secret_that_is_escaped_in_part_takes_the_text_with_it() {
        let redactor = redactor("a/b+c=d e");
        for echoed in ["a/b%2Bc%3Dd%20e", "a%2fb%2bc%3dd%20e", "a/b+c%3Dd%20e"] {
            let cleaned = redactor.clean(&format!("/items?key={echoed}&page=1"));
            assert!(!cleaned.contains('b'), "{echoed}: {cleaned}");
        }
        assert_eq!(redactor.clean("/items?page=1&size=10%25"), "/items?page=1&size=10%25");
    }

    #[test]
    fn a_secret_across_the_cut_is_removed_whole() {
        let redactor = redactor("CANARY-0123456789");
        let body = format!("{}CANARY-0123456789 and more", "x".repeat(EXCERPT_MAX - 5));
        assert!(!redactor.excerpt(body.as_bytes()).unwrap().contains("CANARY"));
    }

    #[test]
    fn an_excerpt_is_one_short_printable_line() {
        // S-74
        let redactor = Redactor::default();
        assert_eq!(redactor.excerpt(b"{\"a\":\r\n 1}\x1b[31m\0").unwrap(), "`{\"a\": 1} [31m`");
        assert_eq!(redactor.excerpt(b" \n\t"), None);
        assert_eq!(redactor.excerpt("x".repeat(5000).as_bytes()).unwrap().chars().count(), EXCERPT_MAX + 3);
        assert_eq!(redactor.excerpt("ä ".repeat(5000).as_bytes()).unwrap().chars().count(), EXCERPT_MAX + 3);
        assert_eq!(redactor.excerpt(b"\xff\xfe").unwrap(), "`\u{fffd}\u{fffd}`");
        assert_eq!(redactor.excerpt(b"  <!DOCTYPE html><p>login").unwrap(), "an HTML page");
        assert_eq!(redactor.excerpt(b"<html lang=en>").unwrap(), "an HTML page");
    }

    #[test]
    fn what_comes_at_run_time_is_removed_from_every_source_that_shares_it() {
        // S-36
        let recent = Recent::default();
        let (mut one, mut other) = (redactor("seed"), Redactor::default());
        one.watch(&recent);
        other.watch(&recent);
        recent.add("access/1");
        assert_eq!(one.clean("seed access%2F1 YWNjZXNzLzE="), "*** *** ***=");
        assert_eq!(other.clean("seed access/1"), "seed ***");
        for n in 0..RECENT_MAX {
            recent.add(&format!("token {n}"));
            recent.add(&format!("token {n}"));
        }
        assert_eq!(other.clean("access/1, token 0"), "access/1, ***", "the oldest has long ended");
    }

    #[test]
    fn an_empty_secret_removes_nothing() {
        assert_eq!(redactor("").clean("abc"), "abc");
    }
}
