//! Bodies to UTF-8. What an encoding does not know is an error, never a sign that stands for it.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use super::super::DecodeError;

/// The body's text without byte order mark; a mark wins over the encoding that was declared. Borrowed if it is UTF-8 already.
pub fn to_text<'a>(body: &'a [u8], declared: &'static Encoding) -> Result<Cow<'a, str>, DecodeError> {
    let (encoding, mark) = Encoding::for_bom(body).unwrap_or((declared, 0));
    let body = &body[mark..];
    if encoding == UTF_8 {
        return std::str::from_utf8(body).map(Cow::Borrowed).map_err(|error| not_utf8(body, &error));
    }
    encoding.decode_without_bom_handling_and_without_replacement(body).ok_or_else(|| {
        DecodeError::data(format!("the body is not in the encoding `{}`; name the one that it has", encoding.name()))
    })
}

fn not_utf8(body: &[u8], error: &std::str::Utf8Error) -> DecodeError {
    let at = error.valid_up_to();
    if error.error_len().is_none() {
        return DecodeError::unavailable(format!("the body is cut off, it ends in the middle of a character at byte `{at}`"));
    }
    let line = 1 + body[..at].iter().filter(|byte| **byte == b'\n').count();
    DecodeError::data(format!("the body is not UTF-8 in line `{line}`, at byte `{at}`; name the `encoding` that it has"))
}
