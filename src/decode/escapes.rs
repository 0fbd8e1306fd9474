//! Escapes in JSON's strings (RFC 8259, section 7).
//!
//! Half of a surrogate pair without its other half (a text that somebody cut in the middle of an emoji) is no character at all: it
//! stays in the value as the six characters of its escape, since one such record must not hold up the whole slice.

use super::tape::Malformed;

/// Bytes of `\ud83d`.
const UNIT: usize = 6;

/// Adds what the escape at `at` stands for; returns the place behind it.
pub fn take(text: &str, at: usize, to: &mut String) -> Result<usize, Malformed> {
    let simple = match text.as_bytes().get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return take_unit(text, at, to),
        Some(_) => return Err(none(text, at, 2)),
        None => return Err(Malformed::CutOff),
    };
    to.push(simple);
    Ok(at + 2)
}

fn take_unit(text: &str, at: usize, to: &mut String) -> Result<usize, Malformed> {
    let unit = match unit_at(text, at) {
        Some(unit) => unit,
        None if text.len() < at + UNIT => return Err(Malformed::CutOff),
        None => return Err(none(text, at, UNIT)),
    };
    if let Some(character) = char::from_u32(u32::from(unit)) {
        to.push(character);
        return Ok(at + UNIT);
    }
    let pair = unit_at(text, at + UNIT).and_then(|low| char::decode_utf16([unit, low]).next()?.ok());
    match pair {
        Some(character) => {
            to.push(character);
            Ok(at + 2 * UNIT)
        }
        None => {
            to.push_str(text.get(at..at + UNIT).unwrap_or_default());
            Ok(at + UNIT)
        }
    }
}

fn unit_at(text: &str, at: usize) -> Option<u16> {
    let digits = text.as_bytes().get(at..at + UNIT)?.strip_prefix(b"\\u")?;
    let value = |unit: u16, digit: &u8| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16);
    digits.iter().try_fold(0, value)
}

fn none(text: &str, at: usize, length: usize) -> Malformed {
    let escape: String = text.get(at..).unwrap_or_default().chars().take(length).collect();
    Malformed::Other(format!("an escape is none: `{}`, at byte `{at}`", escape.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescape(text: &str) -> Result<String, Malformed> {
        let (mut to, mut at) = (String::new(), 0);
        while at < text.len() {
            match text[at..].chars().next() {
                Some('\\') => at = take(text, at, &mut to)?,
                Some(character) => {
                    to.push(character);
                    at += character.len_utf8();
                }
                None => break,
            }
        }
        Ok(to)
    }

    #[test]
    fn only_whole_pairs_are_characters() {
        assert_eq!(unescape(r"\ud86e\udc20,\uD83D\uDE00x\u00e9").unwrap(), "\u{2b820},\u{1f600}x\u{e9}");
        assert_eq!(unescape(r"\\ud86e\\udc20\/\b\f\n\r\t\u0000").unwrap(), "\\ud86e\\udc20/\u{8}\u{c}\n\r\t\0");
        assert_eq!(unescape(r"\ud86e").unwrap(), r"\ud86e");
        assert_eq!(unescape(r"\udc20\ud86e").unwrap(), r"\udc20\ud86e");
        assert_eq!(unescape(r"\ud86e\u0041").unwrap(), r"\ud86eA");
        assert_eq!(unescape(r"\ud86e\ud86e\udc20").unwrap(), "\\ud86e\u{2b820}");
        assert_eq!(unescape(r"\\\ud86e\udc20").unwrap(), "\\\u{2b820}");
    }

    #[test]
    fn what_is_no_escape_is_named() {
        for cut in ["\\", "\\u", "\\u00e"] {
            assert_eq!(unescape(cut), Err(Malformed::CutOff), "{cut}");
        }
        let message = Malformed::Other("an escape is none: `\\\\u00gé`, at byte `1`".to_owned());
        assert_eq!(unescape("a\\u00géb"), Err(message));
        assert!(matches!(unescape("\\x41"), Err(Malformed::Other(_))));
    }
}
