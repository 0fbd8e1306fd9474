//! What `preview` says of a definition that somebody tries out.

use serde_json::json;

use crate::scenarios::loads::api_with;
use crate::world::api::{FakeApi, Pages};
use crate::world::desk::Desk;
use crate::world::feed;
use crate::world::program::highwater;
use crate::world::project::{Project, job};

const PAGE: usize = 5;

fn twelve(pages: &Pages) -> (FakeApi, Project) {
    let api = api_with(pages.clone(), PAGE, feed::plain(1, 12, "2026-01-30T00:00:00Z"));
    let project = Project::of_items(&api, pages, PAGE);
    (api, project)
}

/// All that it says behind the rows.
fn told(project: &Project, rows: &str) -> String {
    let ended = highwater(project, &["preview", "items", "--rows", rows]).run().expect_code(0);
    let lines = ended.stdout.lines().skip_while(|line| !line.contains("fetched in"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn it_says_why_paging_ended_and_what_may_be_wrong_with_it() {
    let mut said = Vec::new();
    let mut note = |what: &str, told: String| said.push(format!("# {what}\n{told}"));
    for pages in [Pages::None, Pages::Page, Pages::Offset, Pages::Token, Pages::NextUrl, Pages::LinkHeader] {
        let (_api, project) = twelve(&pages);
        note(&format!("{pages:?}, all of it"), told(&project, "100"));
        if pages == Pages::Token {
            note("so many rows and no more", told(&project, "7"));
            let json = highwater(&project, &["preview", "items", "--rows", "7", "--json"]).run().expect_code(0).json();
            assert_eq!((&json["paging"]["pages"], &json["paging"]["more"]), (&2.into(), &true.into()), "{json}");
            project.edit("sources/api.toml", "token = \"next_token\"", "token = \"nope\"");
            note("a token that is never there", told(&project, "100"));
        }
        if pages == Pages::LinkHeader {
            project.edit("sources/api.toml", "type = \"link_header\"", "type = \"none\"");
            note("a header that nobody asked for", told(&project, "100"));
        }
    }
    let (_api, project) = twelve(&Pages::Page);
    project.edit("sources/api.toml", "param = \"page\"", "param = \"seite\"");
    note("a parameter that the API does not know", told(&project, "11"));
    let (api, project) = twelve(&Pages::Token);
    project.edit("sources/api.toml", "primary_key = [\"id\"]", "primary_key = [\"updated_at\"]");
    let same: Vec<_> = (1..=4).flat_map(|first| feed::plain(first * 10, 2, "2026-01-30T00:00:00Z")).collect();
    api.add_records("items", same);
    note("a key that is none", told(&project, "100"));
    insta::assert_snapshot!(said.join("\n\n"));
}

#[test]
fn a_source_that_does_not_heed_the_cursor_is_told_from_one_that_does_not_heed_the_page() {
    let desk = Desk::start(|_, _| {
        let rows: Vec<_> = (0..3).map(|id| json!({ "id": id, "updated_at": "2026-02-20T00:00:00Z" })).collect();
        (200, json!({ "data": rows }))
    });
    let stream = "primary_key = [\"id\"]\n[streams.items.cursor]\nfield = \"updated_at\"\ntype = \"timestamp\"\n\
                  query = { since = \"{{ from }}\", until = \"{{ to }}\" }\n";
    let window = "mode = \"append\"\n[window]\nstart = \"2026-01-01\"\nstep = \"1d\"\n";
    let project = super::cursors::project(&desk, stream, window);
    let shown = highwater(&project, &["preview", "items"]).run().expect_code(0).stdout;
    assert!(shown.contains("every record lies outside") && !shown.contains("came again"), "{shown}");
}

#[test]
fn a_window_that_begins_long_before_the_first_record_is_gone_over_until_there_is_one() {
    let api = api_with(Pages::Page, 10, feed::plain(1, 30, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Page, 10);
    for (start, finds) in [("2026-01-20T00:00:00Z", true), ("2025-01-01T00:00:00Z", false)] {
        project.write(
            "jobs/items.toml",
            &job("").replace("start = \"2026-01-01T00:00:00Z\"", &format!("start = \"{start}\"\nstep = \"1d\"")),
        );
        let shown = highwater(&project, &["preview", "items"]).run().expect_code(0).stdout;
        assert_eq!(shown.contains("updated_at"), finds, "{shown}");
        assert_eq!(shown.contains("the first 20 slices of the window, up to 2025-01-21T00:00:00Z"), !finds, "{shown}");
    }
}
