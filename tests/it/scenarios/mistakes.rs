//! What a newcomer's first definition gets wrong, and what `check` says of it, as it stands on the screen: file, line, value, and what
//! to write instead. What only an answer can show is said by `preview`.

use serde_json::json;

use crate::world::desk::Desk;
use crate::world::program::highwater;
use crate::world::project::Project;

const SOURCE: &str = r#"version = 1
type = "http"
base_url = "https://api.example.org/v1"
auth = { type = "bearer", token = { env = "SHOP_TOKEN" } }
limits = { requests = ["100/min"] }

[parameters]
region = { required = true }

[streams.orders]
path = "/regions/{{ region }}/orders"
records = "data.items"
primary_key = ["id"]
paging = { type = "page", param = "page", until = "short_page", page_size = 100, size_param = "per_page" }

[streams.orders.cursor]
field = "updated_at"
type = "timestamp"
query = { updated_since = "{{ from }}", updated_before = "{{ to }}" }
"#;

const JOB: &str = r#"version = 1
source = "shop"
stream = "orders"
sink = "lake"
schedule = "0 * * * *"
mode = "merge"
partition_by = ["month(created_at)"]
parameters = { region = "eu" }

[window]
start = "2026-01-01"
step = "1d"
"#;

fn project() -> Project {
    let project = Project::new();
    project.write("sources/shop.toml", SOURCE);
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("jobs/orders.toml", JOB);
    project
}

fn checked(project: &Project) -> String {
    let ended = highwater(project, &["check"]).run();
    let code = ended.code.unwrap_or_default();
    format!("{}{}exit code {code}\n", ended.redacted_stdout(project), ended.redacted(project))
}

const SHOP: &str = "sources/shop.toml";
const ORDERS: &str = "jobs/orders.toml";

/// A name, a file, what stands there, and what is written instead.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("a_key_in_the_address", SHOP, "/v1\"", "/v1?api_key=12345\""),
    ("an_address_without_a_scheme", SHOP, "https://", ""),
    ("a_secret_as_a_shell_would_have_it", SHOP, "{ env = \"SHOP_TOKEN\" }", "\"${SHOP_TOKEN}\""),
    (
        "a_secret_in_a_header",
        SHOP,
        "auth = { type = \"bearer\", token = { env = \"SHOP_TOKEN\" } }",
        "headers = { Authorization = \"Bearer 12345\" }",
    ),
    ("a_rate_in_words", SHOP, "100/min", "100 per minute"),
    ("a_word_that_other_tools_use", SHOP, "paging =", "pagination ="),
    ("a_kind_of_paging_that_is_called_otherwise", SHOP, "type = \"page\"", "type = \"page_number\""),
    ("pages_without_their_size", SHOP, ", page_size = 100, size_param = \"per_page\"", ""),
    ("a_query_in_the_path", SHOP, "/orders\"", "/orders?status=open\""),
    ("a_path_as_jsonpath_has_it", SHOP, "records = \"data.items\"", "records = \"$.data.items[*]\""),
    ("a_key_that_is_no_list", SHOP, "primary_key = [\"id\"]", "primary_key = \"id\""),
    ("a_type_of_cursor_that_is_called_otherwise", SHOP, "type = \"timestamp\"", "type = \"datetime\""),
    ("an_epoch_without_its_unit", SHOP, "type = \"timestamp\"", "type = \"epoch\""),
    ("a_number_without_a_key", SHOP, "primary_key = [\"id\"]\n", "\n"),
    ("a_name_of_ones_own_in_a_template", SHOP, "{{ from }}", "{{ last_updated }}"),
    ("one_brace_too_few", SHOP, "{{ from }}", "{ from }"),
    ("a_key_below_the_wrong_heading", SHOP, "query = {", "records_optional = true\nquery = {"),
    ("a_parameter_that_the_job_forgets", ORDERS, "parameters = { region = \"eu\" }\n", ""),
    ("a_stream_that_is_called_otherwise", ORDERS, "stream = \"orders\"", "stream = \"order\""),
    ("a_source_named_by_its_file", ORDERS, "source = \"shop\"", "source = \"shop.toml\""),
    ("a_mode_that_is_called_otherwise", ORDERS, "mode = \"merge\"", "mode = \"upsert\""),
    ("a_schedule_in_words", ORDERS, "0 * * * *", "every hour"),
    ("a_length_in_words", ORDERS, "step = \"1d\"", "step = \"1 day\""),
    ("a_length_without_its_unit", ORDERS, "step = \"1d\"", "step = 1"),
    ("a_day_as_people_write_it", ORDERS, "2026-01-01", "01/01/2026"),
    ("a_partition_that_there_is_none_of", ORDERS, "month(created_at)", "week(created_at)"),
    ("a_quote_that_is_never_closed", ORDERS, "stream = \"orders\"", "stream = \"orders"),
    ("a_version_that_is_left_out", ORDERS, "version = 1\n", ""),
    ("a_parameter_in_single_braces", SHOP, "{{ region }}", "{region}"),
    ("a_parameter_behind_a_colon", SHOP, "{{ region }}", ":region"),
    ("a_field_as_jsonpath_has_it", SHOP, "field = \"updated_at\"", "field = \"$.updated_at\""),
    ("a_path_as_json_pointers_have_it", SHOP, "\"data.items\"", "\"/data/items\""),
    ("a_path_as_a_list", SHOP, "\"data.items\"", "[\"data\", \"items\"]"),
    ("two_cursors_in_a_row", SHOP, "query = {", "[streams.orders.cursor]\nfield = \"id\"\nquery = {"),
    ("a_list_of_cursors", SHOP, "[streams.orders.cursor]", "[[streams.orders.cursor]]"),
    ("a_paging_that_other_tools_call_cursor", SHOP, "type = \"page\"", "type = \"cursor\""),
    ("a_word_where_a_table_belongs", SHOP, "records = ", "parent = \"regions\"\nrecords = "),
    ("a_format_as_other_tools_have_it", SHOP, "type = \"timestamp\"", "type = \"timestamp\"\nformat = \"YYYY-MM-DD\""),
    ("a_line_of_yaml", SHOP, "records = \"data.items\"", "records: data.items"),
    ("an_api_key_by_other_names", SHOP, "{ type = \"bearer\", token =", "{ type = \"api_key\", header = \"X-Key\", key ="),
];

#[test]
fn the_definition_that_is_made_wrong_is_right() {
    assert!(checked(&project()).ends_with("exit code 0\n"), "{}", checked(&project()));
    assert!(MISTAKES.len() >= 20);
}

#[test]
fn every_likely_mistake_is_told_with_its_place_its_value_and_the_way_out() {
    let mut thin = Vec::new();
    for (name, file, right, wrong) in MISTAKES {
        let project = project();
        project.edit(file, right, wrong);
        if *name == "a_number_without_a_key" {
            project.edit(file, "type = \"timestamp\"", "type = \"integer\"");
        }
        let said = checked(&project);
        // A file, a line and a column; and a sentence on what to do.
        let place = |line: &&str| {
            let mut parts = line.split_once(": ").map_or("", |(_, rest)| rest).split(':');
            parts.next().is_some_and(|path| path.ends_with(".toml"))
                && parts.next().is_some_and(|line| line.parse::<u32>().is_ok())
        };
        let first = said.lines().find(|line| line.starts_with("error: ") || line.starts_with("warning: "));
        // What is no TOML is told in the parser's words, which say what it expected.
        let tells_the_way = said.contains("  help: ") || said.contains("expected `");
        if !first.as_ref().is_some_and(place) || !tells_the_way {
            thin.push(format!("{name}:\n{said}"));
        }
        insta::assert_snapshot!(*name, said);
    }
    assert!(thin.is_empty(), "{}", thin.join("\n"));
}

#[test]
fn a_path_to_the_records_that_leads_nowhere_is_told_with_what_is_there() {
    let desk = Desk::start(|_, _| {
        (200, json!({ "result": { "orders": [{ "id": 1, "updated_at": "2026-02-01T00:00:00Z" }] }, "page": 1 }))
    });
    for (name, path) in [("records_at_a_wrong_name", "data.items"), ("records_one_level_up", "result")] {
        let project = project();
        project.edit(SHOP, "https://api.example.org/v1", &desk.url());
        project.edit(SHOP, "auth = { type = \"bearer\", token = { env = \"SHOP_TOKEN\" } }\n", "retry = { attempts = 1 }\n");
        project.edit(SHOP, "records = \"data.items\"", &format!("records = \"{path}\""));
        let ended = highwater(&project, &["preview", "orders"]).run();
        assert_ne!(ended.code, Some(0), "{}", ended.stdout);
        let last: Vec<String> =
            ended.redacted(&project).lines().filter(|line| !line.contains("WARN")).map(str::to_owned).collect();
        insta::assert_snapshot!(name, last.join("\n"));
    }
}

#[test]
fn a_job_that_nobody_reads_is_noticed() {
    let project = project();
    std::fs::rename(project.at("jobs/orders.toml"), project.at("jobs/orders.yaml")).unwrap();
    let said = checked(&project);
    assert!(
        said.contains(
            "warning: jobs/orders.yaml: the file is not read\n  help: definitions are TOML: write it as jobs/orders.toml"
        ),
        "{said}"
    );
    assert!(said.contains("warning: jobs: there is no job\n  help: each is a file of its own in that folder"), "{said}");
    assert!(said.contains("0 jobs ready, 0 parked; 0 errors, 2 warnings") && said.ends_with("exit code 0\n"), "{said}");
    std::fs::remove_file(project.at("jobs/orders.yaml")).unwrap();
    assert!(checked(&project).contains("there is no job"), "{said}");
}

#[test]
fn a_job_that_begins_in_the_future_is_noticed() {
    let project = project();
    project.edit(ORDERS, "2026-01-01", "2126-01-01");
    let said = checked(&project);
    let place = "warning: jobs/orders.toml:11:9: window.start: it lies ahead: before [time] UTC the job reads nothing";
    assert!(said.contains(place) && said.ends_with("exit code 0\n"), "{said}");
}

#[test]
fn a_bound_that_a_first_load_lacks_is_named_with_its_place() {
    let desk = Desk::start(|_, _| (200, json!({ "data": { "items": [] } })));
    let project = project();
    project.edit(SHOP, "https://api.example.org/v1", &desk.url());
    project.edit(SHOP, "auth = { type = \"bearer\", token = { env = \"SHOP_TOKEN\" } }\n", "");
    project.edit(SHOP, "updated_since = \"{{ from }}\"", "updated_since = \"{{ from | int }}\"");
    project.edit(ORDERS, "start = \"2026-01-01\"\nstep = \"1d\"\n", "");
    let said = highwater(&project, &["run", "orders"]).run().expect_code(78).stderr;
    assert!(said.contains("query.updated_since: ") && said.contains("write `(from or 0)` (at sources/shop.toml:18)"), "{said}");
    assert!(desk.asked().is_empty());
    project.edit(SHOP, "{{ from | int }}", "{{ (from or 0) | int }}");
    highwater(&project, &["run", "orders"]).run().expect_code(0);
    assert_eq!(desk.asked()[0]["updated_since"], "0");
}

#[test]
fn a_folder_that_cannot_be_made_is_found_before_anything_is_fetched() {
    let desk = Desk::start(|_, _| (200, json!([])));
    let project = project();
    project.edit(SHOP, "https://api.example.org/v1", &desk.url());
    project.edit(SHOP, "auth = { type = \"bearer\", token = { env = \"SHOP_TOKEN\" } }\n", "");
    project.write("file", "");
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"file/lake\"\n");
    let said = highwater(&project, &["run", "orders"]).run().expect_code(78).stderr;
    assert!(said.contains("sink lake: write to `") && said.contains("a part of the path is a file, not a folder"), "{said}");
    assert!(desk.asked().is_empty());
}
