//! Which case is covered by which test: read from the comments in the tests, written to docs/catalogue.md.
//!
//! A test names the cases it covers in a comment of its own, inside it or directly above: `// D-01` or `// C-33, C-34 why`. Of a case
//! of delivery it may say on which kinds of table it tries it, on real folders and a real S3 server: `// D-01 on every kind`,
//! `// D-13 on parquet-s3, delta-s3: why`. Such a test has to take `tried!()`, which fails it where that is not what it did
//! (world/kind.rs); without the word a test counts as one of the machine alone, over a simulated store or beside any table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::rust_text::{read, root, rust_files};
use crate::world::kind::Kind;
use crate::world::setting;

const CATALOGUES: &[(&str, &str)] =
    &[("D", "Delivery"), ("C", "Cursors and paging"), ("R", "Rate limits and retries"), ("S", "Security"), ("O", "Operations")];

/// The cases of docs/cases.md: id to text.
fn cases() -> BTreeMap<String, String> {
    let mut cases = BTreeMap::new();
    for line in read("docs/cases.md").lines() {
        let Some((id, text)) = line.strip_prefix("- ").and_then(|line| line.split_once(' ')) else { continue };
        // Others say on which tables a case is not tried.
        if is_case(id) && !text.starts_with("on ") {
            assert!(cases.insert(id.to_owned(), text.to_owned()).is_none(), "docs/cases.md names {id} twice");
        }
    }
    cases
}

fn is_case(word: &str) -> bool {
    let Some((letter, number)) = word.split_once('-') else { return false };
    CATALOGUES.iter().any(|(name, _)| *name == letter) && number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// What a comment line claims: the case ids with which it begins, and the kinds of table that it names after them; no ids for any
/// other line. An error if it names what is no kind.
fn claim_in(line: &str) -> Result<(Vec<String>, BTreeSet<Kind>), String> {
    let Some(comment) = line.trim_start().strip_prefix("// ") else { return Ok(Default::default()) };
    let words = comment.split([' ', ',']).filter(|word| !word.is_empty()).map(|word| word.trim_end_matches([':', '.', ';']));
    let ids: Vec<String> = words.take_while(|word| is_case(word)).map(str::to_owned).collect();
    let Some(rest) = ids.last().and_then(|last| comment.split_once(&format!("{last} on "))) else {
        return Ok((ids, BTreeSet::new()));
    };
    let named = rest.1.split([':', '.', ';']).next().unwrap_or_default().trim();
    let kinds = if named == "every kind" { Ok(Kind::ALL.into()) } else { kinds_in(named) };
    kinds.map(|kinds| (ids, kinds))
}

fn kinds_in(list: &str) -> Result<BTreeSet<Kind>, String> {
    let kind = |name: &str| {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| format!("`{name}` is no kind of table"))
    };
    list.split(',').map(|name| kind(name.trim())).collect()
}

#[derive(Debug, PartialEq)]
struct Claim {
    case: String,
    test: String,
    kinds: BTreeSet<Kind>,
}

/// What a file's tests claim, and what is wrong with that.
#[derive(Debug, Default, PartialEq)]
struct Claims {
    covered: Vec<Claim>,
    wrong: Vec<String>,
    /// Tests that have their claims checked as they run.
    checked: BTreeSet<String>,
}

impl Claims {
    fn add(&mut self, number: usize, test: &str, line: &str) {
        match claim_in(line) {
            Ok((ids, kinds)) => {
                let claim = |case| Claim { case, test: test.to_owned(), kinds: kinds.clone() };
                self.covered.extend(ids.into_iter().map(claim));
            }
            Err(error) => self.wrong.push(format!("{number}: {error}")),
        }
    }
}

fn claims(source: &str) -> Claims {
    let mut found = Claims::default();
    // Comments directly above a test, until its `fn` shows up.
    let mut above: Vec<(usize, &str)> = Vec::new();
    let mut is_test = false;
    // The test we are in, and the line that ends it.
    let mut inside: Option<(String, String)> = None;
    let astray = |found: &mut Claims, above: &mut Vec<(usize, &str)>| {
        let lines = above.drain(..).filter(|(_, line)| claim_in(line).is_ok_and(|(ids, _)| !ids.is_empty()));
        found.wrong.extend(lines.map(|(number, _)| format!("{number}: a case is named outside of a test")));
    };
    for (number, line) in (1..).zip(source.lines()) {
        let trimmed = line.trim_start();
        if let Some((name, end)) = &inside {
            found.add(number, name, line);
            if trimmed.contains("tried!()") && !trimmed.starts_with("//") {
                found.checked.insert(name.clone());
            }
            if line == end {
                inside = None;
            }
            continue;
        }
        if trimmed.starts_with("#[test]") || trimmed.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = function_name(trimmed) {
            if is_test {
                above.drain(..).for_each(|(number, line)| found.add(number, name, line));
                let indent = &line[..line.len() - trimmed.len()];
                inside = Some((name.to_owned(), format!("{indent}}}")));
            }
            is_test = false;
            astray(&mut found, &mut above);
        } else if trimmed.starts_with("//") || trimmed.starts_with("#[") {
            above.push((number, line));
        } else {
            astray(&mut found, &mut above);
        }
    }
    astray(&mut found, &mut above);
    let unchecked = found.covered.iter().filter(|claim| !claim.kinds.is_empty() && !found.checked.contains(&claim.test));
    let unchecked: BTreeSet<&String> = unchecked.map(|claim| &claim.test).collect();
    found.wrong.extend(unchecked.into_iter().map(|test| format!(" {test} names kinds of table, and does not take `tried!()`")));
    found
}

/// The kinds of table that a test says it tries.
pub fn kinds_claimed(file: &str, test: &str) -> BTreeSet<Kind> {
    claims(&read(file)).covered.into_iter().filter(|claim| claim.test == test).flat_map(|claim| claim.kinds).collect()
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

/// How the reason of a case begins that lies before or beside every table.
const ANY_TABLE: &str = "any table: ";

/// Why a case is not tried on kinds of table, as docs/cases.md says it: by case and kind.
fn reasons() -> BTreeMap<(String, Kind), String> {
    let mut reasons = BTreeMap::new();
    for line in read("docs/cases.md").lines() {
        let Some((case, rest)) = line.strip_prefix("- ").and_then(|line| line.split_once(" on ")) else { continue };
        let Some((kinds, why)) = rest.split_once(": ").filter(|_| is_case(case)) else { continue };
        let (kinds, text) = match kinds {
            "any table" => (Kind::ALL.into(), format!("{ANY_TABLE}{why}")),
            "no table" => (Kind::ALL.into(), why.to_owned()),
            list => (kinds_in(list).unwrap_or_else(|error| panic!("docs/cases.md: {line}: {error}")), why.to_owned()),
        };
        for kind in kinds {
            assert!(reasons.insert((case.to_owned(), kind), text.clone()).is_none(), "docs/cases.md says twice why: {line}");
        }
    }
    reasons
}

/// The tests of a case, by kind of table; under `None` those of the machine alone.
type Tests = BTreeMap<Option<Kind>, BTreeSet<String>>;

fn listed(tests: Option<&BTreeSet<String>>) -> String {
    let name = |test: &String| format!("`{}`", test.trim_start_matches("tests/it/scenarios/"));
    tests.into_iter().flatten().map(name).collect::<Vec<_>>().join("<br>")
}

/// Cases of delivery: a column for each kind of table. What is neither tried nor has a reason is told, and so is a reason for what is
/// tried.
fn delivery(cases: &BTreeMap<String, String>, covered: &BTreeMap<String, Tests>, wrong: &mut Vec<String>) -> String {
    let mut page = format!(
        "A test in a column of a kind ran on tables of that kind: real folders, and an S3 server (moto) over the network. The last \
         column has what proves the machine without them: the protocol over a simulated store, which does not know where it writes, and \
         what lies before or beside every table.\n\n| case | what | {} | simulated, or beside any table |\n|---|---|---|---|---|---|---|\n",
        Kind::ALL.map(Kind::name).join(" | ")
    );
    let reasons = reasons();
    let none = Tests::new();
    for (id, what) in cases.iter().filter(|(id, _)| id.starts_with('D')) {
        let tests = covered.get(id).unwrap_or(&none);
        let cells = Kind::ALL.map(|kind| {
            let (tried, reason) = (tests.get(&Some(kind)), reasons.get(&(id.clone(), kind)));
            match (tried, reason) {
                (Some(_), Some(_)) => wrong.push(format!("{id} is tried on {kind}, and docs/cases.md says why it is not")),
                (None, None) => wrong.push(format!("{id} is not tried on {kind}, and docs/cases.md does not say why")),
                (None, Some(reason)) if reason.starts_with(ANY_TABLE) && !tests.contains_key(&None) => {
                    wrong.push(format!("{id} is said to be of any table, and no test tries it"));
                }
                _ => {}
            }
            match reason {
                Some(reason) if reason.starts_with(ANY_TABLE) => "*any table*".to_owned(),
                Some(reason) => format!("*{reason}*"),
                None => listed(tried),
            }
        });
        let beside = reasons.get(&(id.clone(), Kind::ParquetLocal)).and_then(|reason| reason.strip_prefix(ANY_TABLE));
        let beside = beside.map(|why| format!("*{why}:*<br>")).unwrap_or_default();
        writeln!(page, "| {id} | {what} | {} | {beside}{} |", cells.join(" | "), listed(tests.get(&None))).unwrap();
    }
    page
}

fn page(cases: &BTreeMap<String, String>, covered: &BTreeMap<String, Tests>, wrong: &mut Vec<String>) -> String {
    let mut page = String::from(
        "# Which test covers which case\n\nWritten by the tests themselves (`just catalogue`); do not edit. The cases stand in \
         [cases.md](cases.md). Files without a folder lie in `tests/it/scenarios`.\n",
    );
    for (letter, title) in CATALOGUES {
        let known = cases.keys().filter(|id| id.starts_with(letter)).count();
        let here: Vec<_> = covered.iter().filter(|(id, _)| id.starts_with(letter)).collect();
        write!(page, "\n## {letter}: {title}\n\n{} of {known} cases are named by a test.\n\n", here.len()).unwrap();
        if *letter == "D" {
            page.push_str(&delivery(cases, covered, wrong));
            continue;
        }
        if here.is_empty() {
            continue;
        }
        page.push_str("| case | what | tests |\n|---|---|---|\n");
        for (id, tests) in here {
            writeln!(page, "| {id} | {} | {} |", cases[id], listed(tests.get(&None))).unwrap();
        }
    }
    page
}

#[test]
fn the_catalogue_says_what_the_tests_name() {
    let cases = cases();
    let mut covered: BTreeMap<String, Tests> = BTreeMap::new();
    let mut wrong = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")).filter(|path| path != file!()) {
        let claims = claims(&read(&path));
        wrong.extend(claims.wrong.iter().map(|text| format!("{path}:{text}")));
        for Claim { case, test, kinds } in claims.covered {
            let name = format!("{path}::{test}");
            if !cases.contains_key(&case) {
                wrong.push(format!("{name}: `{case}` does not exist"));
                continue;
            }
            let places: Vec<Option<Kind>> = if kinds.is_empty() { vec![None] } else { kinds.into_iter().map(Some).collect() };
            for place in places {
                covered.entry(case.clone()).or_default().entry(place).or_default().insert(name.clone());
            }
        }
    }
    let page = page(&cases, &covered, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

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
    let claim = |case: &str, test: &str| Claim { case: case.to_owned(), test: test.to_owned(), kinds: BTreeSet::new() };
    let covered = vec![claim("D-01", "one"), claim("D-02", "one"), claim("C-03", "one"), claim("S-06", "two")];
    let wrong = [8, 18].map(|line| format!("{line}: a case is named outside of a test")).to_vec();
    assert_eq!(claims(source), Claims { covered, wrong, checked: BTreeSet::new() });
}

#[test]
fn kinds_of_table_are_claimed_by_name_and_only_where_they_are_checked() {
    let source = "\
#[test]
fn one() {
    // D-01, D-02 on parquet-s3, delta-s3: why
    // D-03 on every kind
    let tried = tried!();
}

#[test]
fn two() {
    // D-04 on delta-local
    // D-05 on delta-tape
}
";
    let claims = claims(source);
    let kinds = |case: &str| -> Vec<Kind> {
        claims.covered.iter().filter(|claim| claim.case == case).flat_map(|claim| claim.kinds.clone()).collect()
    };
    assert_eq!((kinds("D-01"), kinds("D-02"), kinds("D-03")), (Kind::S3.to_vec(), Kind::S3.to_vec(), Kind::ALL.to_vec()));
    assert_eq!(claims.wrong, ["11: `delta-tape` is no kind of table", " two names kinds of table, and does not take `tried!()`"]);
}
