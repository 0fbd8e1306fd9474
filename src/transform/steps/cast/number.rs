//! Decimal numbers of any length, to compare what was written with what a type would keep.

/// `digits` times ten to the power `exponent`. Digits have no zeros at either end; zero has none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Number {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Number {
    /// Reads `-12.50e3`: ASCII digits, one at least on a side of the point; nothing around.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], parse_exponent(&text[at + 1..])?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0 || !is_digits(whole) || !is_digits(fraction) {
            return None;
        }
        let exponent = exponent - fraction.len() as i64;
        Some(Number::new(negative, format!("{whole}{fraction}"), exponent))
    }

    pub fn from_unscaled(unscaled: i128, scale: i8) -> Self {
        Number::new(unscaled < 0, unscaled.unsigned_abs().to_string(), -i64::from(scale))
    }

    fn new(negative: bool, digits: String, mut exponent: i64) -> Self {
        let kept = digits.trim_end_matches('0');
        exponent += (digits.len() - kept.len()) as i64;
        let kept = kept.trim_start_matches('0');
        if kept.is_empty() {
            // The sign of zero is kept by floats and lost by everything else; it is no part of the number.
            return Number { negative: false, digits: String::new(), exponent: 0 };
        }
        Number { negative, digits: kept.to_owned(), exponent }
    }

    /// The number as a whole one times `10^-scale`; `None` if it has more digits behind the point, or more than `precision` in all.
    pub fn unscaled(&self, precision: u8, scale: i8) -> Option<i128> {
        let zeros = self.exponent + i64::from(scale);
        if self.digits.is_empty() {
            return Some(0);
        }
        if zeros < 0 || self.digits.len() as i64 + zeros > i64::from(precision) {
            return None;
        }
        let magnitude = self.digits.parse::<i128>().ok()?.checked_mul(10_i128.checked_pow(u32::try_from(zeros).ok()?)?)?;
        Some(if self.negative { -magnitude } else { magnitude })
    }

    /// The number, if it is whole and of at most 38 digits.
    pub fn whole(&self) -> Option<i128> {
        self.unscaled(38, 0)
    }

    /// The nearest float, if it gives the number back when written with as many digits.
    pub fn float64(&self) -> Option<f64> {
        let float: f64 = self.text().parse().ok()?;
        let same =
            |float: f64| Number::parse(&format!("{float:.*e}", self.digits.len().saturating_sub(1))).as_ref() == Some(self);
        (float.is_finite() && same(float)).then_some(float)
    }

    /// As `float64`.
    pub fn float32(&self) -> Option<f32> {
        let float: f32 = self.text().parse().ok()?;
        let same =
            |float: f32| Number::parse(&format!("{float:.*e}", self.digits.len().saturating_sub(1))).as_ref() == Some(self);
        (float.is_finite() && same(float)).then_some(float)
    }

    fn text(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        format!("{sign}0{}e{}", self.digits, self.exponent)
    }
}

/// Exponents beyond any type's reach are cut to a size that cannot overflow.
fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000_000);
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}
