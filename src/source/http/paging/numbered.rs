//! Links that count pages and forget what was asked.
//!
//! Some servers write `?page=2` as the next page's address whatever else the request said. The list behind it is another one, in
//! another order, and both gaps and doubles would follow. Where such a link holds nothing but entries of the request itself and a
//! count, no other place is left that could remember the rest, so what it lacks is asked for again. A link with any other entry may
//! hold everything in that, and is followed as it is.

use url::Url;

/// What entries that count pages or records are called.
const COUNTS: [&str; 18] = [
    "page",
    "p",
    "pg",
    "page_number",
    "pagenumber",
    "pageno",
    "page[number]",
    "page[offset]",
    "offset",
    "start",
    "skip",
    "$skip",
    "from",
    "start_at",
    "startat",
    "startindex",
    "start_index",
    "first_result",
];

/// Adds to a link the entries of the first request that it has lost; the names of these, none where it is left alone.
pub(in crate::source::http) fn complete(link: &mut Url, asked: &[(String, String)]) -> Vec<String> {
    let entries: Vec<(String, String)> = link.query_pairs().into_owned().collect();
    let is_asked = |name: &str| asked.iter().any(|(asked, _)| asked == name);
    let counts = |(name, value): &(String, String)| {
        COUNTS.contains(&name.to_ascii_lowercase().as_str())
            && !value.is_empty()
            && value.bytes().all(|digit| digit.is_ascii_digit())
    };
    let is_counted = entries.iter().any(counts) && entries.iter().all(|entry| counts(entry) || is_asked(&entry.0));
    if !is_counted {
        return Vec::new();
    }
    let lost: Vec<&(String, String)> = asked.iter().filter(|(name, _)| !entries.iter().any(|(entry, _)| entry == name)).collect();
    if !lost.is_empty() {
        link.query_pairs_mut().extend_pairs(lost.iter().copied());
    }
    lost.into_iter().map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(link: &str) -> String {
        let asked = [("sort", "id"), ("since", "2026-01-01"), ("per_page", "100")];
        let asked = asked.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut url = Url::parse("https://api/items").unwrap().join(link).unwrap();
        complete(&mut url, &asked);
        url.query().unwrap_or_default().to_owned()
    }

    #[test]
    fn a_counting_link_gets_back_what_it_lost() {
        assert_eq!(completed("?page=2"), "page=2&sort=id&since=2026-01-01&per_page=100");
        assert_eq!(completed("?per_page=50&Page=2"), "per_page=50&Page=2&sort=id&since=2026-01-01");
        assert_eq!(completed("?page%5Bnumber%5D=2&sort=id&since=x"), "page%5Bnumber%5D=2&sort=id&since=x&per_page=100");
    }

    #[test]
    fn any_other_link_is_followed_as_it_is() {
        for link in [
            "?sort=id&since=2026-01-01&per_page=100&page=2",
            "?page_info=abc&per_page=100",
            "?page=2&session=abc",
            "?page=abc",
            "?page=",
            "?cursor=17",
            "?per_page=100",
            "",
        ] {
            assert_eq!(completed(link), link.trim_start_matches('?'), "{link}");
        }
    }
}
