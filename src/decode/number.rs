//! Numbers as their text says them, exact.

/// Up to here every whole number is a float and back again.
pub const FLOAT_WHOLE_MAX: i64 = 1 << 53;

/// Whether a text is a number as JSON writes one (RFC 8259, section 6).
pub fn is_json_number(text: &[u8]) -> bool {
    end_of_json_number(text, 0) == Some(text.len())
}

/// Where the number ends that begins at `start`, as JSON writes one; `None` where none does, or one that is not at its end there.
#[inline]
pub fn end_of_json_number(text: &[u8], start: usize) -> Option<usize> {
    let first = start + usize::from(text.get(start) == Some(&b'-'));
    let mut at = skip_digits(text, first);
    if at == first || (at > first + 1 && text[first] == b'0') {
        return None;
    }
    // What mostly stands behind one.
    if let Some(b',' | b'}') = text.get(at) {
        return Some(at);
    }
    if text.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = skip_digits(text, fraction);
        if at == fraction {
            return None;
        }
    }
    if let Some(b'e' | b'E') = text.get(at) {
        let exponent = at + 1 + usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        at = skip_digits(text, exponent);
        if at == exponent {
            return None;
        }
    }
    (!matches!(text.get(at), Some(b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))).then_some(at)
}

/// The place behind the digits at `at`, eight of which are looked at together: less `0`, a digit is at most 9, and no more than 0x7f with
/// 0x76 added to it. What is none may spoil the bytes behind it, but not those before.
#[inline]
fn skip_digits(text: &[u8], mut at: usize) -> usize {
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    while let Some(bytes) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let values = u64::from_le_bytes(*bytes) ^ 0x3030_3030_3030_3030;
        let others = (values.wrapping_add(0x7676_7676_7676_7676) | values) & HIGHS;
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(b'0'..=b'9') = text.get(at) {
        at += 1;
    }
    at
}

/// Whether a text is a number as people write one in a string: a sign of either kind, leading zeros allowed.
pub fn is_numeric(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    let whole = count_digits(digits);
    whole > 0 && is_fraction_and_exponent(&digits[whole..])
}

fn is_fraction_and_exponent(mut rest: &[u8]) -> bool {
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = count_digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let digits = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        let length = count_digits(digits);
        return length > 0 && length == digits.len();
    }
    rest.is_empty()
}

fn count_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Whether a number's text has neither fraction nor exponent.
pub fn is_whole(text: &str) -> bool {
    !text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// A number as a float, where the float says about the same: `1e400` is not infinite and `1e-400` is not nothing.
pub fn float(text: &str) -> Option<f64> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite())?;
    if value != 0.0 {
        return Some(value);
    }
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let vanished = mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (!vanished).then_some(value)
}

/// Whether a whole number is exactly a float.
pub fn is_exact_float(value: i64) -> bool {
    // Through i128: the float next to i64::MAX lies outside of i64.
    (value as f64) as i128 == i128::from(value)
}

/// `text * 10^shift`, rounded towards negative infinity, and whether nothing was cut off. `None` beyond 128 bits or where the
/// text is not [numeric](is_numeric).
pub fn scaled(text: &str, shift: i32) -> Option<(i128, bool)> {
    if !is_numeric(text.as_bytes()) {
        return None;
    }
    let negative = text.starts_with('-');
    let unsigned = text.trim_start_matches(['-', '+']);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let fraction_digits = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).skip_while(|digit| *digit == b'0').collect();
    let mut power = exponent_of(exponent).saturating_sub_unsigned(fraction_digits as u64).saturating_add(i64::from(shift));
    // Without zeros at the end a cut always cuts something off.
    while digits.last() == Some(&b'0') {
        digits.pop();
        power = power.saturating_add(1);
    }
    if digits.is_empty() {
        return Some((0, true));
    }
    let kept = (digits.len() as i64).saturating_add(power);
    if kept > 39 {
        return None;
    }
    let exact = power >= 0;
    let whole_digits = if exact { digits.len() } else { usize::try_from(kept).unwrap_or(0) };
    let mut value: i128 = 0;
    for digit in &digits[..whole_digits] {
        value = value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    for _ in 0..power.max(0) {
        value = value.checked_mul(10)?;
    }
    match (negative, exact) {
        (false, _) => Some((value, exact)),
        (true, true) => Some((-value, true)),
        (true, false) => Some((-value - 1, false)),
    }
}

/// An exponent of any length; what does not fit saturates, far beyond all that has a value.
fn exponent_of(text: &str) -> i64 {
    match text.parse::<i64>() {
        Ok(exponent) => exponent.clamp(-(1 << 40), 1 << 40),
        Err(_) if text.starts_with('-') => -(1 << 40),
        Err(_) => 1 << 40,
    }
}

/// The whole number that a text says exactly, however it is written (`5`, `5.0`, `5e0`).
pub fn exact_whole(text: &str) -> Option<i128> {
    match scaled(text, 0) {
        Some((value, true)) => Some(value),
        _ => None,
    }
}

/// The unscaled value of a decimal of this precision and scale, if the text is exactly one.
pub fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (value, exact) = scaled(text, i32::from(scale))?;
    let bound = 10_i128.checked_pow(u32::from(precision))?;
    (exact && value > -bound && value < bound).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_numbers_are_told_from_what_looks_like_one() {
        for good in ["0", "-0", "1", "10", "-1.5", "0.5", "1e3", "1E+3", "1.25e-10"] {
            assert!(is_json_number(good.as_bytes()), "{good}");
        }
        for bad in ["", "-", "01", "1.", ".5", "+1", "1e", "1e+", "1-2", "1.2.3", "--1", "1e1.5", "00"] {
            assert!(!is_json_number(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn floats_that_would_say_something_else_are_refused() {
        assert_eq!(float("1.5"), Some(1.5));
        assert_eq!(float("0e10"), Some(0.0));
        assert_eq!(float("1e400"), None);
        assert_eq!(float("-1e-400"), None);
        assert!(is_exact_float(1 << 53) && is_exact_float(1 << 60) && is_exact_float(i64::MIN));
        assert!(!is_exact_float((1 << 53) + 1) && !is_exact_float(i64::MAX));
    }

    #[test]
    fn scaling_is_exact_and_rounds_down() {
        assert_eq!(scaled("1.7e9", 6), Some((1_700_000_000_000_000, true)));
        assert_eq!(scaled("-0.0000005", 6), Some((-1, false)));
        assert_eq!(scaled("0.0000005", 6), Some((0, false)));
        assert_eq!(scaled("1.500", 1), Some((15, true)));
        assert_eq!(scaled("000", 5), Some((0, true)));
        assert_eq!(scaled("1e99999999999999999999", 0), None);
        assert_eq!(scaled("-1e-99999999999999999999", 0), Some((-1, false)));
        assert_eq!(exact_whole("18446744073709551615"), Some(u64::MAX.into()));
        assert_eq!(exact_whole("170141183460469231731687303715884105727"), Some(i128::MAX));
        assert_eq!(exact_whole("170141183460469231731687303715884105728"), None);
        assert_eq!(exact_whole("5.0"), Some(5));
        assert_eq!(exact_whole("5.5"), None);
        assert_eq!(exact_whole("abc"), None);
        assert_eq!(decimal("12.34", 4, 2), Some(1234));
        assert_eq!(decimal("123.45", 4, 2), None);
        assert_eq!(decimal("1.234", 4, 2), None);
        assert_eq!(decimal("1.2300", 4, 2), Some(123));
    }

    proptest! {
        #[test]
        fn scaling_agrees_with_long_division(value in any::<i64>(), fraction in 0u32..12, shift in 0i32..8) {
            let magnitude = value.unsigned_abs();
            let unit = 10_u64.pow(fraction);
            let sign = if value < 0 { "-" } else { "" };
            let text = match fraction {
                0 => value.to_string(),
                _ => format!("{sign}{}.{:0width$}", magnitude / unit, magnitude % unit, width = fraction as usize),
            };
            let numerator = i128::from(value) * 10_i128.pow(shift.unsigned_abs());
            let exact = numerator % i128::from(unit) == 0;
            prop_assert_eq!(scaled(&text, shift), Some((numerator.div_euclid(i128::from(unit)), exact)));
        }

        #[test]
        fn grammar_agrees_with_serde_json(text in "[-+0-9.eE]{1,8}") {
            let is_number = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(is_json_number(text.as_bytes()), is_number);
        }
    }
}
