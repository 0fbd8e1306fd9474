//! The quota as a user meets it: planned, kept over processes, shown.

use serde_json::Value;

use crate::scenarios::loads::{api_with, run};
use crate::world::api::Pages;
use crate::world::feed;
use crate::world::program::highwater;
use crate::world::project::Project;

fn plan(project: &Project, more: &[&str]) -> Value {
    let args = [&["plan", "items", "--json"][..], more].concat();
    highwater(project, &args).run().expect_code(0).json()[0].take()
}

#[test]
fn a_probe_tells_the_requests_of_the_run() {
    for (pages, expected) in [(Pages::None, 1), (Pages::Page, 10), (Pages::Offset, 10)] {
        let api = api_with(pages.clone(), 10, feed::plain(1, 95, "2026-01-30T00:00:00Z"));
        let project = Project::of_items(&api, &pages, 10);
        let forecast = plan(&project, &[])["forecast"].take();
        let basis = if pages == Pages::None { "exact" } else { "at_least" };
        assert_eq!((&forecast["requests"], &forecast["basis"]), (&1.into(), &basis.into()), "{pages:?}: {forecast}");
        assert_eq!(api.seen().len(), 0, "a plan asks nothing");

        let forecast = plan(&project, &["--probe"])["forecast"].take();
        assert_eq!((&forecast["requests"], &forecast["basis"]), (&expected.into(), &"exact".into()), "{pages:?}: {forecast}");
        assert_eq!(api.seen().len(), 1, "one request a slice");
        assert_eq!(run(&project)["requests"], forecast["requests"], "{pages:?}");
    }
}

#[test]
fn a_plan_offers_a_probe_only_where_one_tells_something() {
    for (pages, asks) in [(Pages::Page, true), (Pages::Offset, true), (Pages::Token, false), (Pages::LinkHeader, false)] {
        let api = api_with(pages.clone(), 10, feed::plain(1, 95, "2026-01-30T00:00:00Z"));
        let project = Project::of_items(&api, &pages, 10);
        let plain = highwater(&project, &["plan", "items"]).run().expect_code(0).stdout;
        assert_eq!(plain.contains("--probe asks how many"), asks, "{pages:?}: {plain}");
        assert_eq!(plain.contains("the API does not tell how many pages there are"), !asks, "{pages:?}: {plain}");
        let probed = highwater(&project, &["plan", "items", "--probe"]).run().expect_code(0).stdout;
        assert!(!probed.contains("--probe"), "{pages:?}: {probed}");
    }
}

#[test]
fn a_quota_outlasts_the_process_and_is_shown() {
    //
    let api = api_with(Pages::Token, 5, feed::plain(1, 50, "2026-01-30T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Token, 5);
    project.edit("sources/api.toml", "timeout = \"20s\"\n", "timeout = \"20s\"\nlimits = { requests = [\"4/h\"] }\n");
    let forecast = plan(&project, &[])["forecast"].take();
    assert_eq!(forecast["shares"][0]["share"], 0.25, "{forecast}");
    for _ in 0..3 {
        let ended = highwater(&project, &["run", "items"]).run().expect_code(75);
        assert!(
            ended.stderr.contains("the request limit of the source") || ended.stdout.contains("the request limit"),
            "{ended:?}"
        );
        assert_eq!(api.seen().len(), 4, "the next process knows what the last one spent");
    }
    let status = highwater(&project, &["status"]).run().expect_code(0).stdout;
    assert!(status.contains("0 of 4 requests in 1h 00m left"), "{status}");
    let status = highwater(&project, &["status", "--json"]).run().expect_code(0).json();
    assert_eq!(status["quotas"][0]["windows"][0]["left"], 0, "{status}");
    let forecast = plan(&project, &[])["forecast"].take();
    assert!(forecast["waiting_seconds"].as_f64() > Some(3000.0), "{forecast}");
}
