//! The rules of the house, read from ARCHITECTURE.md and enforced on the source text.

use std::collections::{BTreeMap, BTreeSet};

use highwater::fault::Guards;

use crate::rust_text::{Token, read, root, rust_files, tokens, without_tests};

/// Which rooms a room may use besides the leaves; `None` for everything.
type Rooms = BTreeMap<String, Option<BTreeSet<String>>>;

/// The table of rooms and the list of leaves, as ARCHITECTURE.md states them.
fn plan_of_the_house(paper: &str) -> (Rooms, BTreeSet<String>) {
    let mut rooms = Rooms::new();
    for line in paper.lines().skip_while(|line| !line.starts_with("| room |")).skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let may_use = match cells[2] {
            "everything" => None,
            "-" => Some(BTreeSet::new()),
            list => Some(list.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect()),
        };
        rooms.insert(cells[0].trim_matches('`').to_owned(), may_use);
    }
    let leaves = paper.lines().find_map(|line| line.strip_prefix("Leaves: ")).expect("ARCHITECTURE.md lists the leaves");
    let leaves = leaves.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    (rooms, leaves)
}

/// The names that follow `crate::`, in paths and in `use` groups.
fn used_rooms(tokens: &[Token]) -> Vec<(String, usize)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut used = Vec::new();
    for at in 0..tokens.len() {
        if text(at) != "crate" || text(at + 1) != ":" || text(at + 2) != ":" {
            continue;
        }
        if text(at + 3) != "{" {
            used.push((text(at + 3).to_owned(), tokens[at + 3].line));
            continue;
        }
        let mut depth = 0;
        let mut begins = true;
        for token in &tokens[at + 3..] {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                "," => begins = depth == 1,
                name if depth == 1 && begins => {
                    used.push((name.to_owned(), token.line));
                    begins = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    used
}

fn room_of(path: &str) -> String {
    let inside = path.strip_prefix("src/").unwrap_or(path);
    inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs").to_owned()
}

/// The modules that a file declares for tests alone, as the paths of their files without `.rs`.
fn test_modules(path: &str, tokens: &[Token]) -> Vec<String> {
    let folder = match path.strip_suffix("/mod.rs").or(path.strip_suffix("/lib.rs")) {
        Some(folder) => folder,
        None => path.trim_end_matches(".rs"),
    };
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for at in (0..tokens.len()).filter(|at| stands(tokens, *at, &mark)) {
        let mut rest =
            tokens[at + mark.len()..].iter().map(|token| token.text.as_str()).skip_while(|word| *word != "mod").skip(1);
        if let (Some(name), Some(";")) = (rest.next(), rest.next()) {
            found.push(format!("{folder}/{name}"));
        }
    }
    found
}

/// The product's own code of every source file.
fn sources() -> Vec<(String, Vec<Token>)> {
    let files: Vec<(String, Vec<Token>)> =
        rust_files("src").into_iter().map(|path| (path.clone(), tokens(&read(&path)))).collect();
    let tests: Vec<String> = files.iter().flat_map(|(path, tokens)| test_modules(path, tokens)).collect();
    let is_test = |path: &str| tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")));
    files.iter().filter(|(path, _)| !is_test(path)).map(|(path, tokens)| (path.clone(), without_tests(tokens))).collect()
}

fn stray_edges(rooms: &Rooms, leaves: &BTreeSet<String>, path: &str, tokens: &[Token]) -> Vec<String> {
    let room = room_of(path);
    if room == "lib" || room == "main" {
        return Vec::new();
    }
    let mut stray = Vec::new();
    for (used, line) in used_rooms(tokens) {
        let known = rooms.contains_key(&used) || leaves.contains(&used);
        let allowed = match rooms.get(&room) {
            Some(None) => true,
            Some(Some(may_use)) => may_use.contains(&used) || leaves.contains(&used),
            None => leaves.contains(&used),
        };
        if used != room && known && !allowed {
            stray.push(format!("{path}:{line}: `{room}` may not use `{used}` (ARCHITECTURE.md, table of rooms)"));
        }
        // A macro or item of the crate's root would slip through the table.
        if !known {
            stray.push(format!("{path}:{line}: `{used}` is neither a room nor a leaf of ARCHITECTURE.md"));
        }
    }
    stray
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let (rooms, leaves) = plan_of_the_house(&read("ARCHITECTURE.md"));
    assert!(rooms.len() > 5 && leaves.len() > 5, "the table was not understood: {rooms:?} {leaves:?}");
    let stray: Vec<String> = sources().iter().flat_map(|(path, tokens)| stray_edges(&rooms, &leaves, path, tokens)).collect();
    assert!(stray.is_empty(), "{}", stray.join("\n"));
}

#[test]
fn every_room_and_leaf_stands_in_the_papers() {
    let (rooms, leaves) = plan_of_the_house(&read("ARCHITECTURE.md"));
    let stated: BTreeSet<String> = rooms.keys().chain(&leaves).cloned().collect();
    let there: BTreeSet<String> =
        rust_files("src").iter().map(|path| room_of(path)).filter(|room| room != "lib" && room != "main").collect();
    assert_eq!(stated, there, "ARCHITECTURE.md and src disagree");
}

/// A crate and the only places where it may be named.
const HOMES: &[(&str, &[&str])] = &[
    ("reqwest", &["src/source/", "src/alert/", "src/outbound/"]),
    ("sqlx", &["src/state/"]),
    ("polars", &["src/transform/", "src/sink/query", "src/crossing"]),
    ("polars_arrow", &["src/crossing"]),
    ("object_store", &["src/store/"]),
    ("delta_kernel", &["src/sink/delta/"]),
    ("delta_kernel_default_engine", &["src/sink/delta/"]),
    ("axum", &["src/cli/", "src/web/"]),
    ("hyper", &["src/web/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("tokio_cron_scheduler", &["src/schedule/alarm.rs"]),
    ("croner", &["src/cadence/cron.rs"]),
    ("chrono", &["src/cadence/cron.rs"]),
];

/// `name ::` where a path begins: a crate, not a module of ours that happens to be called the same.
fn names_crate(tokens: &[Token], at: usize, name: &str) -> bool {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    tokens[at].text == name && text(at + 1) == ":" && text(at + 2) == ":" && (at == 0 || text(at - 1) != ":")
}

#[test]
fn heavy_crates_stay_at_home() {
    let mut astray = Vec::new();
    for (path, tokens) in sources() {
        for (name, homes) in HOMES {
            if homes.iter().any(|home| path.starts_with(home)) {
                continue;
            }
            for at in (0..tokens.len()).filter(|at| names_crate(&tokens, *at, name)) {
                astray.push(format!("{path}:{}: `{name}` lives in {}", tokens[at].line, homes.join(", ")));
            }
        }
    }
    assert!(astray.is_empty(), "{}", astray.join("\n"));
}

#[test]
fn the_environment_is_read_in_cli_alone() {
    let mut astray = Vec::new();
    for (path, tokens) in sources() {
        // A mutant is asked for from outside of tests that know nothing of it, so no `cli` could hand it on.
        if path.starts_with("src/cli/") || path == "src/main.rs" || path == "src/fault/guards.rs" {
            continue;
        }
        for window in tokens.windows(4) {
            let words: Vec<&str> = window.iter().map(|token| token.text.as_str()).collect();
            if words[0] == "env" && words[1] == ":" && words[2] == ":" && words[3].starts_with("var") {
                astray.push(format!("{path}:{}", window[0].line));
            }
        }
    }
    assert!(astray.is_empty(), "the environment is read outside of cli: {}", astray.join(", "));
}

#[test]
fn front_doors_are_short() {
    for path in rust_files("src").iter().filter(|path| path.ends_with("/mod.rs")) {
        let lines = read(path).lines().count();
        assert!(
            lines <= 150,
            "{path} has {lines} lines: a front door says what a room is for, the work goes into files beside it"
        );
    }
}

/// Whether `words` stand in a row at `at`.
fn stands(tokens: &[Token], at: usize, words: &[&str]) -> bool {
    tokens[at..].iter().take(words.len()).map(|token| token.text.as_str()).eq(words.iter().copied())
}

#[test]
fn nothing_is_left_half_done() {
    let mut found = Vec::new();
    for (path, tokens) in sources() {
        for at in 0..tokens.len() {
            let unfinished =
                [&[".", "unwrap", "("][..], &["todo", "!"], &["unimplemented", "!"], &["dbg", "!"], &["#", "[", "allow"]];
            for words in unfinished.iter().filter(|words| stands(&tokens, at, words)) {
                found.push(format!("{path}:{}: {}", tokens[at].line, words.concat()));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_test_is_switched_off_or_content_with_a_panic() {
    let mut found = Vec::new();
    for path in rust_files("src").into_iter().chain(rust_files("tests")) {
        let tokens = tokens(&read(&path));
        for at in 0..tokens.len() {
            if stands(&tokens, at, &["#", "[", "ignore"]) || stands(&tokens, at, &["#", "[", "should_panic"]) {
                found.push(format!("{path}:{}: {}", tokens[at].line, tokens[at + 2].text));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_guard_has_a_test_that_is_red_without_it() {
    // D-44: that it is, `just mutants` finds out.
    let tests: String = ["src", "tests"].iter().flat_map(|folder| rust_files(folder)).map(|path| read(&path)).collect();
    let list = read("tests/mutants/tests.txt");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<(&str, &str)> = lines.map(|line| line.split_once(' ').expect("a guard and its test")).collect();
    assert_eq!(lines.iter().map(|(guard, _)| *guard).collect::<Vec<_>>(), Guards::NAMES, "tests/mutants/tests.txt");
    let is_there = |test: &str| test.rsplit("::").next().is_some_and(|name| tests.contains(&format!("fn {name}()")));
    let lacks: Vec<_> = lines.iter().filter(|(_, test)| !is_there(test)).collect();
    assert!(lacks.is_empty(), "there is no such test: {lacks:?}");
}

#[test]
fn readme_names_the_test_command_that_ci_runs() {
    let command = "bash tests/run";
    assert!(read("README.md").lines().any(|line| line.trim() == command), "README.md shows `{command}` on a line of its own");
    assert!(read(".ci/run").lines().any(|line| line.trim() == command), ".ci/run runs `{command}`");
    assert!(root().join("tests/run").is_file());
}

#[test]
fn papers_point_at_files_that_are_there() {
    let mut missing = Vec::new();
    for paper in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/guide.md",
        "docs/guarantees.md",
        "docs/reliability.md",
        "docs/catalogue.md",
        "systemd/README.md",
    ] {
        let folder = root().join(paper).parent().unwrap().to_owned();
        for target in read(paper).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or(target);
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                missing.push(format!("{paper}: {target}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

// The rules must be able to fail.
#[test]
fn a_stray_edge_is_seen() {
    let (rooms, leaves) = plan_of_the_house(
        "| room | duty | may use |\n|---|---|---|\n| `cli` | x | everything |\n| `sink` | x | store |\n| `store` | x | - |\n| `state` | x | - |\nLeaves: `ids`, `clock`.\n",
    );
    let stray = |path: &str, source: &str| stray_edges(&rooms, &leaves, path, &without_tests(&tokens(source))).len();
    assert_eq!(stray("src/sink/mod.rs", "use crate::store::Store; use crate::{ids::{A, B}, clock};"), 0);
    assert_eq!(stray("src/sink/mod.rs", "use crate::{\n    ids::A,\n    state::State,\n};"), 1);
    assert_eq!(stray("src/sink/live.rs", "fn f() { crate::state::open() }"), 1);
    assert_eq!(stray("src/sink/live.rs", "#[cfg(test)] mod tests { use crate::state::X; }"), 0);
    assert_eq!(stray("src/ids.rs", "use crate::store::Store;"), 1);
    assert_eq!(stray("src/cli/run.rs", "use crate::state::X;"), 0);
    assert_eq!(stray("src/cli/run.rs", "use crate::unknown::X;"), 1);
}
