//! Surrogate pairs, put together before arrow-json sees them.
//!
//! arrow-json 60.1 joins the halves of an escaped pair with "or" where it must add: `\ud86e\udc20` (U+2B820, a Chinese character) comes out
//! as U+1B820, and so does half of what lies beyond U+1FFFF. So it never gets to see one.
//!
//! A half without its other half (a text that somebody cut in the middle of an emoji) is no character at all: it stays in the value as
//! the six characters of its escape, since one such record must not hold up the whole slice.

use std::borrow::Cow;

/// A body with escaped surrogate pairs as the UTF-8 of their characters, and with single halves as text; borrowed if it has none, which
/// is nearly always. Strings stay where they are in the order of values.
pub fn join_pairs(body: &[u8]) -> Cow<'_, [u8]> {
    let mut joined: Vec<u8> = Vec::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(escape) = next_escape(body, at) {
        if let Some(character) = pair_at(&body[escape..]) {
            joined.extend_from_slice(&body[copied..escape]);
            joined.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            at = escape + PAIR;
            copied = at;
        } else if unit_at(&body[escape..]).is_some_and(|unit| (0xd800..0xe000).contains(&unit)) {
            // One more backslash makes it the text of an escape.
            joined.extend_from_slice(&body[copied..escape]);
            joined.push(b'\\');
            copied = escape;
            at = escape + 2;
        } else {
            at = escape + 2;
        }
    }
    if joined.is_empty() {
        return Cow::Borrowed(body);
    }
    joined.extend_from_slice(&body[copied..]);
    Cow::Owned(joined)
}

const BLOCK: usize = 256;
/// Bytes of `\ud86e\udc20`.
const PAIR: usize = 12;

/// Where the next backslash stands. In blocks: a search within one is many bytes at a time, and most pages have few escapes.
pub fn next_escape(body: &[u8], from: usize) -> Option<usize> {
    let rest = body.get(from..)?;
    let block = rest.chunks(BLOCK).position(|block| block.contains(&b'\\'))? * BLOCK;
    let within = rest[block..].iter().position(|byte| *byte == b'\\')?;
    Some(from + block + within)
}

fn pair_at(text: &[u8]) -> Option<char> {
    let (high, low) = (unit_at(text)?, unit_at(text.get(PAIR / 2..)?)?);
    match char::decode_utf16([high, low]).next() {
        Some(Ok(character)) if character > '\u{ffff}' => Some(character),
        _ => None,
    }
}

fn unit_at(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    let value = |unit: u16, digit: &u8| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16);
    digits.iter().try_fold(0, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_pairs_are_joined() {
        let joined = |text: &str| String::from_utf8(join_pairs(text.as_bytes()).into_owned()).unwrap();
        assert_eq!(joined(r#"["\ud86e\udc20","\uD83D\uDE00x\u00e9"]"#), "[\"\u{2b820}\",\"\u{1f600}x\\u00e9\"]");
        for untouched in [r#""\\ud86e\\udc20""#, "\"\\", "\\u12", "a"] {
            assert!(matches!(join_pairs(untouched.as_bytes()), Cow::Borrowed(_)), "{untouched}");
        }
        assert_eq!(joined(r#""\ud86e""#), r#""\\ud86e""#);
        assert_eq!(joined(r#""\udc20\ud86e""#), r#""\\udc20\\ud86e""#);
        assert_eq!(joined(r#""\ud86e\u0041""#), r#""\\ud86e\u0041""#);
        assert_eq!(joined(r#""\ud86e\ud86e\udc20""#), "\"\\\\ud86e\u{2b820}\"");
        assert_eq!(joined(r#""\\\ud86e\udc20""#), "\"\\\\\u{2b820}\"");
    }
}
