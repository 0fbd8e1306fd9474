//! What an API grants: `[limits]` of a source.

use std::fmt;
use std::time::Duration;

use crate::page::ResponsePath;

/// Share of a window that may leave at once, where a file does not say.
pub const BURST: f64 = 0.02;

/// `[limits]`, for one credential at the source's host. What is empty limits nothing.
#[derive(Clone, Debug)]
pub struct Limits {
    /// All must grant.
    pub requests: Vec<Rate>,
    /// As `requests`, counted in points of cost.
    pub points: Vec<Rate>,
    pub concurrency: Option<usize>,
    /// Share of each window that may leave at once; above 0, at most 1.
    pub burst: f64,
    /// Share of each window that backfills and previews leave alone; from 0 to below 1.
    pub reserve: f64,
    pub pace: Pace,
    pub headers: HeaderTrust,
    /// Where a response says what its request cost.
    pub cost: Option<ResponsePath>,
    /// What a request counts as before its response is there, points; at least 1 and at most what each rate of points grants.
    pub cost_guess: u32,
    /// In file order, at most 100. A request is held to every group that its path matches, besides all of the above.
    pub groups: Vec<LimitGroup>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            requests: Vec::new(),
            points: Vec::new(),
            concurrency: None,
            burst: BURST,
            reserve: 0.0,
            pace: Pace::Burst,
            headers: HeaderTrust::Tighten,
            cost: None,
            cost_guess: 1,
            groups: Vec::new(),
        }
    }
}

/// `"100/min"`: at most `requests`, or points where points are counted, in any interval of length `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// How fast a window is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As fast as all windows allow.
    Burst,
    /// Windows of an hour and longer are spent evenly over their length.
    Spread,
}

/// What becomes of limits that answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderTrust {
    /// They only narrow what is declared.
    Tighten,
    /// They also replace what is declared where they are wider.
    Follow,
    /// They count for nothing. `Retry-After` and refusals are heeded all the same.
    Ignore,
}

/// `[limits.groups.NAME]`: limits of a part of the API.
#[derive(Clone, Debug)]
pub struct LimitGroup {
    pub name: String,
    pub pattern: PathPattern,
    /// As in [`Limits`]; of the three at least one limits something.
    pub requests: Vec<Rate>,
    pub points: Vec<Rate>,
    pub concurrency: Option<usize>,
}

/// A pattern of paths below `base_url`, such as `/search/*`; a star stands for any characters, a slash too, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// `None` where it can match no path: it begins with a slash or a star, and holds nothing that a path cannot hold.
    pub fn parse(text: &str) -> Option<Self> {
        const LONGEST: usize = 500;
        let begins_well = text.starts_with(['/', '*']);
        let foreign = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '\\' | '{' | '}');
        let fits = begins_well && text.len() <= LONGEST && !text.contains(foreign);
        fits.then(|| PathPattern(text.to_owned()))
    }

    /// Whether the whole path, as it is sent and with its leading slash, fits. Takes time in proportion to the two lengths'
    /// product at worst, whatever the stars.
    pub fn matches(&self, path: &str) -> bool {
        let (pattern, path) = (self.0.as_bytes(), path.as_bytes());
        let (mut at, mut read) = (0, 0);
        // Where the last star stands, and how much of the path it has taken: taking more is all that there is to try.
        let mut star: Option<(usize, usize)> = None;
        while read < path.len() {
            if pattern.get(at) == Some(&b'*') {
                star = Some((at, read));
                at += 1;
            } else if pattern.get(at) == Some(&path[read]) {
                at += 1;
                read += 1;
            } else if let Some((star_at, taken)) = star {
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            } else {
                return false;
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        PathPattern::parse(pattern).unwrap().matches(path)
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, path) in [
            ("/search/*", "/search/code"),
            ("/search/*", "/search/"),
            ("/search*", "/search"),
            ("*", ""),
            ("*", "/a/b"),
            ("/repos/*/issues", "/repos/a/b/issues"),
            ("/repos/*/issues", "/repos/x/issues/issues"),
            ("*/issues*", "/a/issues/1"),
            ("**/a", "/x/a"),
            ("/a%2Fb", "/a%2Fb"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/search/*", "/search"),
            ("/search", "/search/code"),
            ("/search", "/searc"),
            ("/search/*", "/v1/search/code"),
            ("/repos/*/issues", "/repos/issues"),
            ("/repos/*/issues", "/repos/a/issues/1"),
            ("/A", "/a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_no_path_can_be() {
        for text in ["", "search", "/a b", "/a?b", "/a#b", "/{{ owner }}", "/a\n", "https://x/*"] {
            assert_eq!(PathPattern::parse(text), None, "{text}");
        }
        assert_eq!(PathPattern::parse(&"*".repeat(501)), None);
    }

    proptest! {
        #[test]
        fn matching_is_what_the_plain_rule_says(pattern in "[/*][ab*]{0,8}", path in "/?[ab]{0,10}") {
            fn plain(pattern: &[u8], path: &[u8]) -> bool {
                match pattern.split_first() {
                    None => path.is_empty(),
                    Some((b'*', rest)) => (0..=path.len()).any(|taken| plain(rest, &path[taken..])),
                    Some((byte, rest)) => path.first() == Some(byte) && plain(rest, &path[1..]),
                }
            }
            prop_assert_eq!(matches(&pattern, &path), plain(pattern.as_bytes(), path.as_bytes()));
        }
    }
}
