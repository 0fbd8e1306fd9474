//! Which case is covered by which test: read from the comments in the tests, written to docs/catalogue.md.
//!
//! A test names the cases it covers in a comment of its own, inside it or directly above: `// D-01` or `// C-33, C-34 why`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::rust_text::{read, root, rust_files};
use crate::world::setting;

const CATALOGUES: &[(&str, &str)] =
    &[("D", "Delivery"), ("C", "Cursors and paging"), ("R", "Rate limits and retries"), ("S", "Security"), ("O", "Operations")];

/// The cases of docs/cases.md: id to text.
fn cases() -> BTreeMap<String, String> {
    let mut cases = BTreeMap::new();
    for line in read("docs/cases.md").lines() {
        let Some((id, text)) = line.strip_prefix("- ").and_then(|line| line.split_once(' ')) else { continue };
        if is_case(id) {
            assert!(cases.insert(id.to_owned(), text.to_owned()).is_none(), "docs/cases.md names {id} twice");
        }
    }
    cases
}

fn is_case(word: &str) -> bool {
    let Some((letter, number)) = word.split_once('-') else { return false };
    CATALOGUES.iter().any(|(name, _)| *name == letter) && number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// The case ids with which a comment line begins; empty for any other line.
fn ids_in(line: &str) -> Vec<String> {
    let Some(comment) = line.trim_start().strip_prefix("// ") else { return Vec::new() };
    let words = comment.split([' ', ',']).filter(|word| !word.is_empty()).map(|word| word.trim_end_matches([':', '.', ';']));
    words.take_while(|word| is_case(word)).map(str::to_owned).collect()
}

/// What a file's tests claim: (case, test) pairs, and the lines where a case stands outside of any test.
#[derive(Debug, Default, PartialEq)]
struct Claims {
    covered: Vec<(String, String)>,
    astray: Vec<usize>,
}

fn claims(source: &str) -> Claims {
    let mut found = Claims::default();
    // Ids in comments directly above a test, until its `fn` shows up.
    let mut above: Vec<(String, usize)> = Vec::new();
    let mut is_test = false;
    // The test we are in, and the line that ends it.
    let mut inside: Option<(String, String)> = None;
    for (index, line) in source.lines().enumerate() {
        let trimmed = line.trim_start();
        if let Some((name, end)) = &inside {
            found.covered.extend(ids_in(line).into_iter().map(|id| (id, name.clone())));
            if line == end {
                inside = None;
            }
            continue;
        }
        if trimmed.starts_with("#[test]") || trimmed.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = function_name(trimmed) {
            if is_test {
                found.covered.extend(above.drain(..).map(|(id, _)| (id, name.to_owned())));
                let indent = &line[..line.len() - trimmed.len()];
                inside = Some((name.to_owned(), format!("{indent}}}")));
            }
            is_test = false;
            found.astray.extend(above.drain(..).map(|(_, line)| line));
        } else if trimmed.starts_with("//") || trimmed.starts_with("#[") {
            above.extend(ids_in(line).into_iter().map(|id| (id, index + 1)));
        } else {
            found.astray.extend(above.drain(..).map(|(_, line)| line));
        }
    }
    found.astray.extend(above.drain(..).map(|(_, line)| line));
    found.astray.dedup();
    found
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn page(cases: &BTreeMap<String, String>, covered: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut page = String::from(
        "# Which test covers which case\n\nWritten by the tests themselves (`just catalogue`); do not edit. The cases stand in [cases.md](cases.md).\n",
    );
    for (letter, title) in CATALOGUES {
        let known = cases.keys().filter(|id| id.starts_with(letter)).count();
        let here: Vec<_> = covered.iter().filter(|(id, _)| id.starts_with(letter)).collect();
        write!(page, "\n## {letter}: {title}\n\n{} of {known} cases are named by a test.\n\n", here.len()).unwrap();
        if here.is_empty() {
            continue;
        }
        page.push_str("| case | what | tests |\n|---|---|---|\n");
        for (id, tests) in here {
            let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
            writeln!(page, "| {id} | {} | {} |", cases[id], tests.join("<br>")).unwrap();
        }
    }
    page
}

#[test]
fn the_catalogue_says_what_the_tests_name() {
    let cases = cases();
    let mut covered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")).filter(|path| path != file!()) {
        let claims = claims(&read(&path));
        wrong.extend(claims.astray.iter().map(|line| format!("{path}:{line}: a case is named outside of a test")));
        for (id, test) in claims.covered {
            if cases.contains_key(&id) {
                covered.entry(id).or_default().insert(format!("{path}::{test}"));
            } else {
                wrong.push(format!("{path}::{test}: `{id}` does not exist"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let page = page(&cases, &covered);
    let target = root().join("docs/catalogue.md");
    let stands = std::fs::read_to_string(&target).unwrap_or_default();
    if page != stands {
        std::fs::write(&target, page).unwrap();
        assert!(
            setting("CI").as_deref() != Some("true"),
            "docs/catalogue.md was out of date; run `just catalogue` and commit it"
        );
    }
}

#[test]
fn claims_are_read_inside_and_above_tests_only() {
    let source = "\
// D-01, D-02 above
#[test]
fn one() {
    // C-03: inside
    // see C-04 for more
}

// D-05 of nobody
fn helper() {}

mod tests {
    #[tokio::test(flavor = \"multi_thread\")]
    async fn two() {
        if true {
        }
        // S-06
    }
    // R-07 behind
}
";
    let pair = |id: &str, test: &str| (id.to_owned(), test.to_owned());
    let covered = vec![pair("D-01", "one"), pair("D-02", "one"), pair("C-03", "one"), pair("S-06", "two")];
    assert_eq!(claims(source), Claims { covered, astray: vec![8, 18] });
}
