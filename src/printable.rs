//! Foreign text made harmless for terminals, logs and messages. What a server says ends up in all of them.

/// Foreign text without what would drive a terminal: control characters (but line breaks and tabs) and the marks that turn
/// the direction of writing become U+FFFD.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if drives_terminal(letter) { char::REPLACEMENT_CHARACTER } else { letter }).collect()
}

/// Foreign text for one line of a table: as `printable`, and line breaks and tabs are shown as `\n`, `\r` and `\t`.
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            letter if drives_terminal(letter) => line.push(char::REPLACEMENT_CHARACTER),
            letter => line.push(letter),
        }
    }
    line
}

/// The first `width` letters; what is left out is an ellipsis.
pub fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

fn drives_terminal(letter: char) -> bool {
    let is_direction = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (letter.is_control() && !matches!(letter, '\n' | '\t' | '\r')) || is_direction
}

#[cfg(test)]
mod tests {
    use super::*;

    // S-74
    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(one_line("a\nb\u{7}c\td\u{202e}"), "a\\nb\u{fffd}c\\td\u{fffd}");
        assert_eq!(shortened("größer", 4), "grö…");
        assert_eq!(shortened("groß", 4), "groß");
    }
}
