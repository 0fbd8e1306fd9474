//! Runs that are recorded, and made again from what was recorded.

use std::path::Path;

use serde_json::{Value, json};

use crate::rust_text::root;
use crate::world::api::{Fault, Pages};
use crate::world::desk::{BODY, Desk, Query};
use crate::world::feed;
use crate::world::oracle::Oracle;
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;
use crate::world::skip;

use super::loads::api_with;

const SECRET: &str = "CANARY-record-1";

fn call(project: &Project, args: &[&str], code: i32) -> Ended {
    highwater(project, args).run().expect_code(code)
}

fn kept(ended: &Ended) -> u64 {
    ended.json()[0]["counts"]["kept"].as_u64().unwrap()
}

fn all_text(folder: &Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[test]
fn a_recorded_run_is_made_again_without_network_and_without_secrets() {
    let records = feed::unkind(7, 1, 120, "2026-02-01T00:00:00Z", 20);
    let api = api_with(Pages::Token, 20, records.clone());
    let project = Project::of_items(&api, &Pages::Token, 20);
    project.edit("sources/api.toml", "timeout =", "auth = { type = \"bearer\", token = { env = \"TOKEN\" } }\ntimeout =");
    // Patience that was asked for then is not asked of a replay: the test would not end in time.
    api.fail(1..2, Fault::Status(503));
    api.fail(2..3, Fault::TooMany { retry_after: 1 });
    let record = ["run", "items", "--record", "tape", "--json"];
    let ended = highwater(&project, &record).env("TOKEN", SECRET).run().expect_code(0);
    assert_eq!(kept(&ended), 120);
    assert!(ended.stderr.contains("recorded: 8 exchanges"), "{}", ended.stderr);
    assert!(!all_text(&project.at("tape")).contains("CANARY"), "S-34");
    let ended = highwater(&project, &record).env("TOKEN", SECRET).run().expect_code(64);
    assert!(ended.stderr.contains("holds a recording already"), "{}", ended.stderr);

    let (state, lake) = (call(&project, &["state", "show", "--json"], 0).stdout, project.listing("lake"));
    api.forget();
    let ended = call(&project, &["run", "items", "--replay", "tape", "--into", "one", "--json"], 0);
    assert_eq!(kept(&ended), 120);
    assert!(api.seen().is_empty(), "a replay asked the API");
    let url = api.url();
    drop(api);
    project.edit("sources/api.toml", &url, "http://nowhere.invalid");
    assert_eq!(kept(&call(&project, &["run", "items", "--replay", "tape", "--into", "two", "--json"], 0)), 120);
    let ended = call(&project, &["preview", "items", "--replay", "tape", "--json"], 0);
    assert!(ended.json()["rows"].as_array().unwrap().len() == 10, "{}", ended.stdout);
    // What the job itself has read is as it was.
    assert_eq!(call(&project, &["state", "show", "--json"], 0).stdout, state);
    assert_eq!(project.listing("lake"), lake);
    assert!(call(&project, &["run", "items", "--replay", "tape", "--into", "one"], 64).stderr.contains("not empty"));
    match Oracle::new() {
        None => skip("a_recorded_run_is_made_again", "DuckDB and pyarrow are not installed"),
        Some(mut oracle) => {
            for folder in ["lake/items", "one/lake/items", "two/lake/items"] {
                oracle.expect(folder, &project.at(folder), &records);
            }
            oracle.check();
        }
    }

    // Steps are tried against what was recorded, and a request that was never made is named.
    project.write("jobs/items.toml", &crate::world::project::job("[[steps]]\nfilter = \"id <= 20\"\n"));
    assert_eq!(kept(&call(&project, &["run", "items", "--replay", "tape", "--into", "three", "--json"], 0)), 20);
    project.edit("sources/api.toml", "path = \"/items\"", "path = \"/items\"\nquery = { state = \"open\" }");
    let ended = call(&project, &["run", "items", "--replay", "tape", "--into", "four"], 78);
    assert!(ended.stderr.contains("the nearest is exchange 1") && ended.stderr.contains("`state` is new"), "{}", ended.stderr);
}

#[test]
fn a_run_that_went_on_from_a_mark_is_made_again_from_there() {
    let api = api_with(Pages::LinkHeader, 10, feed::plain(1, 30, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::LinkHeader, 10);
    call(&project, &["run", "items"], 0);
    api.add_records("items", feed::plain(31, 15, "2026-03-02T00:00:00Z"));
    api.set_now("2026-03-03T00:00:00Z");
    assert_eq!(kept(&call(&project, &["run", "items", "--record", "tape", "--json"], 0)), 15);
    assert_eq!(kept(&call(&project, &["run", "items", "--replay", "tape", "--into", "again", "--json"], 0)), 15);
    assert_eq!(call(&project, &["preview", "items", "--replay", "tape", "--json"], 0).json()["counts"]["kept"], 10);
}

/// The recordings that are kept here, each with the job that it is of.
const CASSETTES: &[(&str, &str, u64)] = &[("github_issues", "github", 3)];

fn project_of(cassette: &str, source: &str) -> Project {
    let project = Project::new();
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    for file in [format!("sources/{source}.toml"), format!("jobs/{cassette}.toml")] {
        project.write(&file, &crate::rust_text::read(&file));
    }
    project
}

#[test]
fn the_recordings_that_are_kept_here_fit_the_definitions_that_ship() {
    for (cassette, source, rows) in CASSETTES {
        let project = project_of(cassette, source);
        let tape = root().join("tests/it/cassettes").join(cassette);
        let tape = tape.to_str().unwrap();
        assert_eq!(kept(&call(&project, &["run", cassette, "--replay", tape, "--into", "out", "--json"], 0)), *rows);
    }
}

/// What `check --against` says of the recording that is kept here, after a change of the definition.
fn against(changes: &[(&str, &str, &str)], code: i32) -> Vec<serde_json::Value> {
    let project = project_of("github_issues", "github");
    for (file, from, to) in changes {
        project.edit(file, from, to);
    }
    let tape = root().join("tests/it/cassettes/github_issues");
    let ended = call(&project, &["check", "--against", tape.to_str().unwrap(), "--json"], code);
    ended.json()["problems"].as_array().unwrap().clone()
}

#[test]
fn a_definition_is_held_to_a_recording_with_line_and_help() {
    assert!(against(&[], 0).is_empty(), "{:?}", against(&[], 0));
    let source = "sources/github.toml";
    let issues = "primary_key = [\"id\"]\npaging = { type = \"link_header\" }\n[streams.issues.cursor]\nfield = \"updated_at\"";
    let change = |key: &str, paging: &str, field: &str| {
        format!("primary_key = [\"{key}\"]\npaging = {paging}\n[streams.issues.cursor]\nfield = \"{field}\"")
    };
    let links = "{ type = \"link_header\" }";
    for (changes, key, said) in [
        (
            vec![(
                source,
                "sort = \"updated\", direction = \"asc\", per_page = 100 }\nprimary_key = [\"id\"]\npaging = { type = \"link_header\" }\n[streams.issues.cursor]",
                "sort = \"created\", direction = \"asc\", per_page = 100 }\nprimary_key = [\"id\"]\npaging = { type = \"link_header\" }\n[streams.issues.cursor]",
            )],
            "streams.issues.query.sort",
            "`sort` was `updated` and is `created`",
        ),
        (
            vec![(source, issues, &change("number_of", links, "updated_at"))],
            "streams.issues.primary_key",
            "3 of 3 records do not fit",
        ),
        (vec![(source, issues, &change("id", links, "title"))], "streams.issues.cursor.field", "3 of 3 records do not fit"),
        (
            vec![(
                source,
                "query = { state = \"all\", sort = \"updated\", direction = \"asc\", per_page = 100 }\nprimary_key",
                "query = { state = \"all\", sort = \"updated\", direction = \"asc\", per_page = 100 }\nrecords = \"data.items\"\nprimary_key",
            )],
            "streams.issues.records",
            "exchange 1",
        ),
        (
            vec![("jobs/github_issues.toml", "[window]", "[columns]\nweight = \"int64\"\n[window]")],
            "columns.weight",
            "no record of the recording has `weight`",
        ),
    ] {
        let is_error = key != "columns.weight";
        let found = against(&changes, if is_error { 78 } else { 0 });
        let problem = found.iter().find(|problem| problem["key"] == key);
        let problem = problem.unwrap_or_else(|| panic!("{key}: {found:?}"));
        assert!(problem["message"].as_str().unwrap().contains(said), "{problem}");
        assert!(problem["line"].as_u64().unwrap() > 1 && !problem["help"].as_str().unwrap().is_empty(), "{problem}");
    }
}

const TOWN: &str = r#"version = 1
type = "http"
base_url = "{url}"
auth = { type = "oauth2", grant = "client_credentials", token_url = "{url}/token", client_id = "client-id", client_secret = { env = "CLIENT_SECRET" } }
[limits]
points = ["100000/s"]
cost = "extensions.cost"
[streams.shops]
path = "/graphql"
records = "data.shops.nodes"
primary_key = ["id"]
paging = { type = "graphql", page_info = "data.shops.pageInfo", variable = "after" }
body = { type = "graphql", query = "query($after: String) { shops(first: 2, after: $after) { nodes { id } } }" }
[streams.orders]
path = "/graphql"
records = "data.orders.nodes"
primary_key = ["id"]
parent = { stream = "shops", carry = { shop = "id" } }
paging = { type = "graphql", page_info = "data.orders.pageInfo", variable = "after" }
body = { type = "graphql", query = "query($shop: ID!, $after: String) { orders(shop: $shop, after: $after) { nodes { id } } }", variables = { shop = "{{ parent.id }}" } }
"#;

/// Three shops in pages of two, with as many orders as their number says, in pages of two.
fn town(path: &str, query: &Query) -> (u16, Value) {
    let body = query.get(BODY).map_or("", String::as_str);
    if path == "/token" {
        return (200, json!({ "access_token": SECRET, "expires_in": 3600, "token_type": "Bearer" }));
    }
    let body: Value = serde_json::from_str(body).unwrap();
    let (name, all): (&str, Vec<String>) = match body["variables"]["shop"].as_str() {
        None => ("shops", (1..=3).map(|shop| format!("s{shop}")).collect()),
        Some(shop) => ("orders", (1..=shop[1..].parse().unwrap()).map(|order| format!("{shop}-{order}")).collect()),
    };
    let first: usize = body["variables"]["after"].as_str().map_or(0, |after| after.parse().unwrap());
    let nodes: Vec<Value> = all.iter().skip(first).take(2).map(|id| json!({ "id": id })).collect();
    let info = json!({ "hasNextPage": first + 2 < all.len(), "endCursor": (first + 2).to_string() });
    (200, json!({ "data": { name: { "nodes": nodes, "pageInfo": info } }, "extensions": { "cost": 10 } }))
}

#[test]
fn children_of_one_graphql_path_behind_a_token_are_planned_recorded_and_made_again() {
    let desk = Desk::start(town);
    let project = Project::new();
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("sources/town.toml", &TOWN.replace("{url}", &desk.url()));
    project.write("jobs/orders.toml", "version = 1\nsource = \"town\"\nstream = \"orders\"\nsink = \"lake\"\n");
    let let_in = |args: &[&str]| highwater(&project, args).env("CLIENT_SECRET", "CANARY-client").run().expect_code(0);

    // How many shops there are is known by nobody, whatever is probed.
    for args in [&["plan", "orders"][..], &["plan", "orders", "--probe"]] {
        let plan = let_in(args).stdout;
        assert!(plan.contains("at least 1 request, one a page of `shops` and one or more for each record of it"), "{plan}");
        assert!(plan.contains("limits:   100,000 points in 1"), "{plan}");
    }
    assert!(desk.asked().is_empty());
    assert_eq!(let_in(&["preview", "orders", "--json"]).json()["counts"]["kept"], 6);
    assert_eq!(kept(&let_in(&["run", "orders", "--record", "tape", "--json"])), 6);
    assert!(let_in(&["plan", "orders"]).stdout.contains("about 6 requests, as slices took before"));

    let tape = all_text(&project.at("tape"));
    assert!(!tape.contains("CANARY") && !tape.contains("/token"), "S-34: {tape}");
    drop(desk);
    let against = call(&project, &["check", "--against", "tape", "--json"], 0).json();
    assert_eq!(against["problems"], json!([]), "{against}");
    let ended = call(&project, &["run", "orders", "--replay", "tape", "--into", "again", "--json"], 0);
    assert_eq!(kept(&ended), 6);
    assert!(!ended.stderr.contains("WARN"), "{}", ended.stderr);
    assert_eq!(call(&project, &["preview", "orders", "--replay", "tape", "--json"], 0).json()["counts"]["kept"], 6);
}
