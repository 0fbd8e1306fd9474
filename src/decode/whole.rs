//! Whether a body is one whole JSON document, and in what words it is told that it is none.

use crate::error::ErrorKind;

use super::DecodeError;
use super::document::shorten;
use super::tape::{Malformed, Tape};

/// The text of a body that [`fill`] took.
pub fn text_of(body: &[u8]) -> Result<&str, DecodeError> {
    // Looking at it again is cheaper than anything that would remember it safely.
    simdutf8::basic::from_utf8(body).map_err(|_| DecodeError::new(ErrorKind::Bug, "a body was put on the tape that is no text"))
}

/// Puts a body on the tape, whose places are those in its text.
pub fn fill(tape: &mut Tape, body: &[u8]) -> Result<(), DecodeError> {
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<') {
        return Err(DecodeError::unavailable(format!("the body is {}, not JSON", markup(body))));
    }
    let malformed = match simdutf8::compat::from_utf8(body) {
        Ok(text) => match tape.fill(text) {
            Ok(()) => return Ok(()),
            Err(malformed) => malformed,
        },
        // Without a length the last character may go on.
        Err(error) if error.error_len().is_none() => Malformed::CutOff,
        Err(error) => Malformed::Other(format!("it is not UTF-8 at byte `{}`", error.valid_up_to())),
    };
    Err(DecodeError::unavailable(match malformed {
        Malformed::Empty => "the body is empty".to_owned(),
        Malformed::CutOff => format!("the document is cut off, it ends in the middle at byte `{}`", body.len()),
        Malformed::More(at) => format!("there is more after the end of the document, at byte `{at}`"),
        Malformed::Other(what) => format!("the body is not JSON: {what}; it begins with `{}`", beginning(body)),
    }))
}

/// What a body is that begins with `<`.
pub fn markup(body: &[u8]) -> &'static str {
    let head = String::from_utf8_lossy(&body[..body.len().min(1024)]).to_lowercase();
    if head.contains("<html") || head.contains("<!doctype html") {
        return "HTML";
    }
    if head.contains("<?xml") { "XML" } else { "HTML or XML" }
}

fn beginning(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(256)]).into_owned();
    shorten(&head.split_whitespace().collect::<Vec<_>>().join(" "), 60)
}
