//! Just enough of Rust's grammar to read the house: words and punctuation, without comments and literals.

use std::path::{Path, PathBuf};

/// The repository's folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository, by its path from the root with `/`.
pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// All Rust files below a folder of the repository, as paths from the root with `/`, sorted.
pub fn rust_files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort();
    found
}

/// A word (identifier, keyword, number) or one sign, and the line it stands on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// Splits Rust source into words and signs. Comments, text and character literals are left out.
pub fn tokens(source: &str) -> Vec<Token> {
    let signs: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < signs.len() {
        let start = at;
        match signs[at] {
            '/' if signs.get(at + 1) == Some(&'/') => at = end_of_line(&signs, at),
            '/' if signs.get(at + 1) == Some(&'*') => at = end_of_block_comment(&signs, at),
            '"' => at = end_of_text(&signs, at),
            '\'' => at = end_of_quote(&signs, at),
            sign if sign.is_alphanumeric() || sign == '_' => {
                while at < signs.len() && (signs[at].is_alphanumeric() || signs[at] == '_') {
                    at += 1;
                }
                let word: String = signs[start..at].iter().collect();
                match end_of_raw_text(&signs, at, &word) {
                    Some(end) => at = end,
                    None => tokens.push(Token { text: word, line }),
                }
            }
            sign => {
                if !sign.is_whitespace() {
                    tokens.push(Token { text: sign.to_string(), line });
                }
                at += 1;
            }
        }
        line += signs[start..at].iter().filter(|sign| **sign == '\n').count();
    }
    tokens
}

fn end_of_line(signs: &[char], at: usize) -> usize {
    signs[at..].iter().position(|sign| *sign == '\n').map_or(signs.len(), |length| at + length)
}

fn end_of_block_comment(signs: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < signs.len() {
        match (signs[at], signs.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn end_of_text(signs: &[char], mut at: usize) -> usize {
    at += 1;
    while at < signs.len() && signs[at] != '"' {
        at += if signs[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(signs.len())
}

/// A character literal, or the quote of a lifetime.
fn end_of_quote(signs: &[char], at: usize) -> usize {
    match (signs.get(at + 1), signs.get(at + 2)) {
        (Some('\\'), _) => {
            let tail = &signs[at + 3..];
            at + 4 + tail.iter().position(|sign| *sign == '\'').unwrap_or(tail.len())
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at + 1,
    }
    .min(signs.len())
}

/// `r"..."`, `br#"..."#`: the word was the prefix, `at` stands behind it.
fn end_of_raw_text(signs: &[char], at: usize, prefix: &str) -> Option<usize> {
    if !matches!(prefix, "r" | "br" | "cr") {
        return None;
    }
    let hashes = signs[at..].iter().take_while(|sign| **sign == '#').count();
    if signs.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < signs.len() {
        if signs[end] == '"' && signs[end + 1..].iter().take(hashes).filter(|sign| **sign == '#').count() == hashes {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}

/// The tokens outside of `#[cfg(test)]` items.
pub fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let marked = tokens[at..].iter().take(mark.len()).map(|token| token.text.as_str()).eq(mark);
        if marked {
            at = end_of_item(tokens, at + mark.len());
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn end_of_item(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" if depth == 0 => return at + 1,
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        at += 1;
    }
    at
}

#[test]
fn literals_and_comments_are_no_code() {
    let source = "fn a<'x>() { /* b /* c */ d */ \"e\\\"f\"; r#\"g\"h\"#; 'i'; '\\''; '\\u{41}'; j } // k";
    let words: Vec<String> = tokens(source).into_iter().map(|token| token.text).collect();
    assert_eq!(words.join(" "), "fn a < x > ( ) { ; ; ; ; ; j }");
}

#[test]
fn test_items_are_left_out() {
    let words = |source: &str| without_tests(&tokens(source)).into_iter().map(|token| token.text).collect::<Vec<_>>().join(" ");
    assert_eq!(words("a; #[cfg(test)] mod tests { b { c } } d;"), "a ; d ;");
    assert_eq!(words("#[cfg(test)] mod tests; e;"), "e ;");
}
