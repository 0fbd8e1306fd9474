//! Sources that misbehave in ways a real one does: pages that shift, clocks that are wrong, definitions that are mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use highwater::config;
use highwater::config::catalog::{Job, Mode};
use highwater::event::Events;
use highwater::fault::{Ending, FaultPlan, Guards, Side};
use highwater::page::{Envelope, PageAt, PagePosition, RawPage, ResponsePath};
use highwater::run::{self, Ports, Purpose, RunError, RunOptions, RunReport};
use highwater::sink::verify::verify;
use highwater::slice::Slice;
use highwater::source::{FetchError, Judgement, Source};
use highwater::state::memory::MemoryState;
use highwater::stop::Stop;
use highwater::store::Store;
use highwater::store::faulty::FaultyStore;
use highwater::store::memory::MemoryStore;
use http::HeaderMap;
use serde_json::json;

use super::cursors::{project, query, shelf};
use crate::world::clock::TestClock;
use crate::world::desk::Desk;
use crate::world::program::highwater;
use crate::world::project::Project;

const NOW: &str = "2026-01-04T12:00:00Z";

/// Answers with these pages, whatever it is asked.
struct Scripted {
    pages: Vec<String>,
    /// The source's clock, and ours.
    now: String,
    here: String,
    /// How often it was told to look ahead.
    looked_ahead: Arc<AtomicU64>,
}

#[async_trait]
impl Source for Scripted {
    fn clean(&self, message: String, _body: &[u8]) -> String {
        message
    }

    async fn fetch(&self, _slice: &Slice, at: &PagePosition, _attempt: u32) -> Result<RawPage, FetchError> {
        let page = usize::try_from(at.index).ok().and_then(|index| self.pages.get(index));
        Ok(RawPage {
            position: at.clone(),
            status: 200,
            headers: HeaderMap::new(),
            body: Bytes::from(page.cloned().unwrap_or_else(|| "[]".to_owned())),
            received_at: self.here.parse().unwrap(),
            source_now: Some(self.now.parse().unwrap()),
            address: "fake://rows".to_owned(),
            ..RawPage::nothing()
        })
    }

    async fn read_on(&self, _slice: &Slice, first: RawPage) -> RawPage {
        self.looked_ahead.fetch_add(1, Ordering::SeqCst);
        first
    }

    fn requests(&self) -> u64 {
        0
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        Vec::new()
    }

    fn judge(&self, _envelope: &Envelope) -> Judgement {
        Judgement::Records
    }

    fn next(
        &self,
        _slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        _headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        Ok((envelope.records > 0).then(|| at.after(envelope.records, PageAt::Number(at.index + 1))))
    }
}

/// A lake and a state that outlive the runs of a test.
struct Place {
    project: Project,
    store: MemoryStore,
    state: Arc<MemoryState>,
    runs: AtomicU64,
    looked_ahead: Arc<AtomicU64>,
}

impl Place {
    fn new() -> Self {
        let (state, runs) = (Arc::new(MemoryState::new()), AtomicU64::new(1));
        Place { project: Project::new(), store: MemoryStore::new(), state, runs, looked_ahead: Arc::default() }
    }

    /// The job over a stream with the given cursor, and more lines of its file.
    fn job(&self, cursor: &str, more: &str) -> Job {
        let source = format!(
            "version = 1\ntype = \"http\"\nbase_url = \"http://127.0.0.1:9\"\n[streams.rows]\npath = \"/rows\"\nprimary_key = [\"id\"]\n\
             paging = {{ type = \"page\", param = \"page\" }}\n[streams.rows.cursor]\n{cursor}\n"
        );
        self.project.write("sources/api.toml", &source);
        self.project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        let job = format!("version = 1\nsource = \"api\"\nstream = \"rows\"\nsink = \"lake\"\nmode = \"append\"\n{more}\n");
        self.project.write("jobs/rows.toml", &job);
        let loaded = config::load(self.project.path(), None);
        assert!(!loaded.has_errors(), "{:?}", loaded.problems);
        loaded.catalog.jobs.values().next().unwrap().clone()
    }

    /// One run at the time `now`, by both clocks.
    fn run(&self, job: &Job, pages: &[&str], now: &str) -> Result<RunReport, RunError> {
        self.run_here(job, pages, now, now)
    }

    /// One run where the source's clock says `now` and ours says `here`.
    fn run_here(&self, job: &Job, pages: &[&str], now: &str, here: &str) -> Result<RunReport, RunError> {
        self.run_under(&Arc::new(FaultPlan::none()), job, pages, now, here)
    }

    /// The same with what goes wrong at the store.
    fn run_under(&self, plan: &Arc<FaultPlan>, job: &Job, pages: &[&str], now: &str, here: &str) -> Result<RunReport, RunError> {
        let pages = pages.iter().map(|page| (*page).to_owned()).collect();
        let looked_ahead = Arc::clone(&self.looked_ahead);
        let source = Scripted { pages, now: now.to_owned(), here: here.to_owned(), looked_ahead };
        let ports = Ports {
            state: self.state.clone(),
            store: Arc::new(FaultyStore::new(Arc::new(self.store.clone()), plan.clone())),
            source: Arc::new(source),
            roster: None,
            clock: Arc::new(TestClock::new(here, self.runs.fetch_add(1, Ordering::SeqCst))),
            events: Events::default(),
            stop: Stop::new(),
            owner: "test".to_owned(),
            spool: self.project.at("spool"),
            memory: 64 << 20,
            guards: Guards::standing(),
            options: RunOptions::default(),
        };
        block_on(run::run_job(job, Purpose::Load, &ports))
    }

    fn files(&self, folder: &str) -> Vec<String> {
        block_on(self.store.list(folder)).unwrap().into_iter().map(|listed| listed.path).collect()
    }
}

/// Where records come in an order, they may say that the first page is the last: whatever was asked for behind it would be wasted.
#[test]
fn nothing_is_looked_ahead_for_where_records_may_say_that_no_more_is_needed() {
    let page = "[{\"id\":1,\"at\":\"2026-01-02T00:00:00Z\"},{\"id\":2,\"at\":\"2026-01-02T00:00:00Z\"}]";
    for (order, looks) in [("", 1), ("order = \"ascending\"", 0), ("order = \"descending\"", 0)] {
        let place = Place::new();
        let cursor = format!("field = \"at\"\ntype = \"timestamp\"\nquery = {{ since = \"{{{{ from }}}}\" }}\n{order}");
        let job = place.job(&cursor, "[window]\nstart = \"2026-01-01\"");
        assert_eq!(place.run(&job, &[page], NOW).unwrap().counts.kept, 2, "{order}");
        assert_eq!(place.looked_ahead.load(Ordering::SeqCst), looks, "{order}");
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const TIME: &str = "field = \"at\"\ntype = \"timestamp\"\nquery = { since = \"{{ from }}\" }";
const NUMBER: &str = "field = \"seq\"\ntype = \"integer\"\nquery = { after = \"{{ from }}\" }";

#[test]
fn a_source_that_does_not_heed_which_page_is_asked_for_ends_no_run_well() {
    let place = Place::new();
    let job = place.job("field = \"at\"\ntype = \"timestamp\"", "[window]\nstart = \"2026-01-01T00:00:00Z\"");
    let page = r#"[{"id":1,"at":"2026-01-02T00:00:00Z"},{"id":2,"at":"2026-01-02T00:00:01Z"}]"#;
    let report = place.run(&job, &[page, page, page], NOW).expect("a report");
    let shown = format!("{report:?}");
    assert!(shown.contains("page 3 has the very records of the page before it"), "{shown}");
    assert!(place.files("rows").is_empty() && place.files("_highwater/rows/log").is_empty(), "nothing was decided");
    // An empty page behind two that are the same shows that it does heed it, as where page 0 is page 1 as well.
    let report = place.run(&job, &[page, page], NOW).expect("a run");
    assert_eq!((report.counts.fetched, report.counts.kept, report.counts.duplicate), (4, 2, 2));
}

#[test]
fn a_page_of_which_no_row_is_left_still_changes_the_types_of_those_before_it() {
    // S-26
    let record = |id: u64, name: &str| format!(r#"[{{"id":{id},"at":"2026-01-0{id}T00:00:00Z","name":{name}}}]"#);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(200));
    for mode in [Mode::Append, Mode::Merge] {
        for (first, second, kept, folders) in
            [("\"x\"", long.as_str(), 1, &["%22x%22"][..]), ("\"\"", r#"{"a":1}"#, 2, &["%22%22", "%7B%22a%22%3A1%7D"])]
        {
            let place = Place::new();
            let mut job = place.job(TIME, "partition_by = [\"name\"]");
            job.mode = mode;
            let report = place.run(&job, &[&record(1, first), &record(2, second)], NOW).expect("a run");
            assert_eq!((report.counts.kept, report.counts.rejected), (kept, 2 - kept), "{mode:?} {first}: {report:?}");
            let names = place.files("rows");
            assert!(folders.iter().all(|folder| names.iter().any(|name| name.contains(&format!("name={folder}/")))), "{names:?}");
            let report = place.run(&job, &[&record(5, "\"y\"")], "2026-01-06T12:00:00Z").expect("another run");
            assert_eq!(report.counts.kept, 1, "{mode:?} {first}: {report:?}");
            assert!(place.files("rows").iter().any(|name| name.contains("name=%22y%22/")), "{:?}", place.files("rows"));
        }
    }
}

#[test]
fn a_record_that_moves_to_the_next_page_is_there_once() {
    // C-21
    let place = Place::new();
    let job = place.job(TIME, "");
    let pages = [
        r#"[{"id":1,"at":"2026-01-01T00:00:00Z"},{"id":2,"at":"2026-01-01T00:00:00Z"}]"#,
        r#"[{"id":2,"at":"2026-01-01T00:00:00Z"},{"id":3,"at":"2026-01-02T00:00:00Z","late":true}]"#,
    ];
    let report = place.run(&job, &pages, NOW).expect("a run");
    assert_eq!((report.counts.fetched, report.counts.kept, report.counts.duplicate), (4, 3, 1));
    // The same id with other content is a new version of it, not a repetition.
    let revised = [r#"[{"id":4,"at":"2026-01-01T00:00:00Z","v":1},{"id":4,"at":"2026-01-01T00:00:00Z","v":2}]"#];
    let place = Place::new();
    let report = place.run(&place.job(TIME, ""), &revised, NOW).expect("a run");
    assert_eq!(report.counts.kept, 2);
}

/// A tree of comments, however deep: what is committed can be read again, and the next run goes on.
#[test]
fn records_that_are_nested_very_deep_end_no_table() {
    let tree = |id: u32, depth: usize| {
        let (open, close) = ("{\"text\":\"t\",\"replies\":[".repeat(depth), "]}".repeat(depth));
        format!("[{{\"id\":{id},\"at\":\"2026-01-{id:02}T00:00:00Z\",\"replies\":[{open}{close}]}}]")
    };
    for depths in [[30, 2], [2, 60], [60, 60]] {
        let place = Place::new();
        let job = place.job(TIME, "");
        for (id, depth) in (4..).zip(depths) {
            let report = place.run(&job, &[&tree(id, depth)], &format!("2026-01-{id:02}T12:00:00Z")).expect("a run");
            assert_eq!((report.counts.kept, report.failed.len()), (1, 0), "{depths:?}");
        }
        let verified = block_on(verify(&place.store, &job.dataset)).expect("a recount");
        assert_eq!((verified.rows, verified.problems.len()), (2, 0), "{depths:?}: {verified:?}");
    }
}

#[test]
fn a_source_that_is_years_ahead_is_not_believed() {
    let place = Place::new();
    let job = place.job(TIME, "");
    place.run_here(&job, &[r#"[{"id":1,"at":"2026-01-01T00:00:00Z"}]"#], "2035-01-01T00:00:00Z", NOW).expect("a run");
    // Its clock is mended, and what came meanwhile is found.
    let later = r#"[{"id":2,"at":"2026-01-04T11:59:30Z"}]"#;
    let report = place.run(&job, &[later], "2026-01-04T12:01:00Z").expect("a run");
    assert_eq!(report.counts.kept, 1, "nothing after our own now was called closed");
}

#[test]
fn a_source_that_is_minutes_ahead_is_asked_every_time() {
    // C-08
    let place = Place::new();
    let job = place.job(TIME, "");
    place.run_here(&job, &[r#"[{"id":1,"at":"2026-01-04T12:03:00Z"}]"#], "2026-01-04T12:05:00Z", NOW).expect("a run");
    let second = [r#"[{"id":2,"at":"2026-01-04T12:04:30Z"}]"#];
    let report = place.run_here(&job, &second, "2026-01-04T12:06:00Z", "2026-01-04T12:01:00Z").expect("a run");
    assert_eq!(report.counts.kept, 1);
}

#[test]
fn a_misfit_is_put_aside_by_its_own_slice_alone() {
    let place = Place::new();
    let job = place.job(TIME, "[columns]\namount = \"int64\"");
    let page = r#"[{"id":1,"at":"2026-01-01T00:00:00Z","amount":1},{"id":2,"at":"2026-01-04T11:59:30Z","amount":"x"}]"#;
    let first = place.run(&job, &[page], NOW).expect("a run");
    assert_eq!((first.counts.rejected, first.counts.out_of_window), (0, 1), "its time is not closed yet");
    let second = place.run(&job, &[page], "2026-01-04T12:01:00Z").expect("a run");
    assert_eq!((second.counts.rejected, second.counts.kept), (1, 0));
    let third = place.run(&job, &[page], "2026-01-04T12:02:00Z").expect("a run");
    assert_eq!((third.counts.rejected, third.commits), (0, 0));
}

#[test]
fn a_misfit_with_a_whole_number_is_put_aside_once() {
    let place = Place::new();
    let job = place.job(NUMBER, "[columns]\namount = \"int64\"");
    let page = r#"[{"id":1,"seq":1,"amount":1},{"id":2,"seq":9,"amount":"x"}]"#;
    assert_eq!(place.run(&job, &[page], NOW).expect("a run").counts.rejected, 1);
    let again = place.run(&job, &[page], NOW).expect("a run");
    assert_eq!((again.counts.rejected, again.commits), (0, 0));
    // C-01
    let tied = r#"[{"id":2,"seq":9,"amount":"x"},{"id":3,"seq":9,"amount":3}]"#;
    assert_eq!(place.run(&job, &[tied], NOW).expect("a run").counts.kept, 1, "another key at the mark");
}

#[test]
fn a_filter_that_is_mended_before_the_first_row_loses_nothing() {
    let place = Place::new();
    let page = [r#"[{"id":1,"at":"2026-01-01T00:00:00Z"}]"#];
    let wrong = place.job(TIME, "[[steps]]\nfilter = \"id > 100\"");
    let report = place.run(&wrong, &page, NOW).expect("a run");
    assert_eq!((report.counts.filtered, report.commits), (1, 0));
    let mended = place.job(TIME, "[[steps]]\nfilter = \"id > 0\"");
    assert_eq!(place.run(&mended, &page, NOW).expect("a run").counts.kept, 1);
}

#[test]
fn a_table_whose_log_is_gone_is_not_loaded_twice() {
    let place = Place::new();
    let job = place.job(TIME, "");
    let page = [r#"[{"id":1,"at":"2026-01-01T00:00:00Z"}]"#];
    place.run(&job, &page, NOW).expect("a run");
    let files = place.files("rows");
    for path in place.files("_highwater/rows") {
        block_on(place.store.delete(&path)).unwrap();
    }
    for _ in 0..2 {
        let error = place.run(&job, &page, NOW).expect_err("the files are still there");
        assert!(error.to_string().contains("that no record of its log names"), "{error}");
        assert_eq!(place.files("rows"), files);
    }
}

#[test]
fn a_log_that_lost_its_end_alone_stops_every_run() {
    let place = Place::new();
    let job = place.job(TIME, "");
    place.run(&job, &[r#"[{"id":1,"at":"2026-01-01T00:00:00Z"}]"#], "2026-01-02T00:00:00Z").expect("a run");
    let second = [r#"[{"id":2,"at":"2026-01-03T00:00:00Z"}]"#];
    place.run(&job, &second, NOW).expect("a run");
    let files = place.files("rows");
    block_on(place.store.delete("_highwater/rows/log/00000000000000000002.json")).unwrap();
    for _ in 0..2 {
        let error = place.run(&job, &second, NOW).expect_err("the files are still there");
        assert!(error.to_string().contains("that no record of its log names"), "{error}");
        assert_eq!(place.files("rows"), files);
    }
}

#[test]
fn a_decided_batch_whose_staged_files_vanish_is_taken_back_and_read_again() {
    // D-20
    let page = [r#"[{"id":1,"at":"2026-01-01T00:00:00Z"},{"id":2,"at":"2026-02-01T00:00:00Z"},{"id":3,"at":"x"}]"#];
    let now = "2026-03-01T00:00:00Z";
    let partitions = "partition_by = [\"month(at)\"]";
    // Where in a clean run the decision stands.
    let clean = Place::new();
    let plan = Arc::new(FaultPlan::none());
    clean.run_under(&plan, &clean.job(TIME, partitions), &page, now, now).expect("a run");
    let decision = plan.log().iter().position(|effect| effect.contains("put_absent")).expect("a decision") as u64 + 1;
    let whole = clean.files("rows").len();

    let place = Place::new();
    let job = place.job(TIME, partitions);
    let killed = Arc::new(FaultPlan::kill(decision, Side::After, Ending::InProcess));
    place.run_under(&killed, &job, &page, now, now).expect_err("killed");
    assert!(place.files("rows").is_empty(), "decided, and seen by nobody");
    let staged = place.files("_highwater/rows/staging");
    block_on(place.store.delete(&staged[1])).unwrap();
    let report = place.run(&job, &page, now).expect("a run");
    assert!(report.recovered.iter().any(|text| text.contains("voided")), "{:?}", report.recovered);
    assert_eq!((report.counts.kept, report.counts.rejected, report.commits), (2, 1, 1));
    assert_eq!(place.files("rows").len(), whole);
    assert!(place.files("_highwater/rows/staging").is_empty());
    let verified = block_on(verify(&place.store, &job.dataset)).expect("a recount");
    assert_eq!((verified.rows, verified.problems), (2, Vec::new()));
    assert_eq!(place.run(&job, &page, now).expect("a run").commits, 0);
}

#[test]
fn proxies_of_the_environment_are_not_asked() {
    // S-16
    let api = Desk::start(|_, _| (200, json!({ "data": [{ "id": 1 }] })));
    let trap = Desk::start(|_, _| (200, json!({ "data": [{ "id": 666 }] })));
    let project = Project::new();
    let source = |more: &str| {
        let stream = "[streams.items]\npath = \"/items\"\nrecords = \"data\"\n";
        format!("version = 1\ntype = \"http\"\nbase_url = \"{}\"\n{more}{stream}", api.url())
    };
    project.write("sources/api.toml", &source(""));
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("jobs/items.toml", "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n");
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let under = |args: &[&str]| names.iter().fold(highwater(&project, args), |call, name| call.env(name, &trap.url()));
    under(&["run", "items"]).run().expect_code(0);
    assert!(trap.asked().is_empty() && api.asked().len() == 1);
    // One that the file names is.
    project.write("sources/api.toml", &source(&format!("proxy = \"{}\"\n", trap.url())));
    under(&["run", "items"]).run().expect_code(0);
    assert!(trap.asked().len() == 1 && api.asked().is_empty());
}

#[test]
fn a_list_that_grows_in_front_while_pages_are_asked_for_side_by_side_loses_nothing() {
    // The third page is answered after a record came in front, those behind it, which are under way with it, before.
    for (end, by_pages) in [("total = \"total\"", false), ("total_pages = \"pages\"", true)] {
        let third = AtomicU64::new(0);
        let answer = move |_: &str, query: &std::collections::BTreeMap<String, String>| {
            let page: u64 = query["page"].parse().unwrap();
            let times = third.fetch_add(u64::from(page == 3), Ordering::SeqCst);
            // One after the other, whatever comes behind the third comes after it.
            let has_grown = page == 3 || (page > 3 && (by_pages || times > 1));
            let newest = if has_grown { 40 } else { 39 };
            let first = newest + 1 - (page - 1) * 4;
            let rows: Vec<_> = (first.saturating_sub(4)..first).rev().map(|id| json!({ "id": id })).collect();
            (200, json!({ "data": rows, "total": newest + 1, "pages": (newest + 1).div_ceil(4) }))
        };
        let desk = Desk::start(answer);
        let project = Project::new();
        let source = format!(
            "version = 1\ntype = \"http\"\nbase_url = \"{}\"\n[streams.items]\npath = \"/items\"\nrecords = \"data\"\nprimary_key = [\"id\"]\n\
             paging = {{ type = \"page\", param = \"page\", page_size = 4, {end} }}\n",
            desk.url()
        );
        project.write("sources/api.toml", &source);
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        project.write("jobs/items.toml", "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n");
        highwater(&project, &["run", "items"]).run().expect_code(0);
        let sql = "SELECT COUNT(*) AS n, COUNT(DISTINCT id) AS ids, MIN(id) AS least FROM items WHERE id < 40";
        let found = highwater(&project, &["query", sql, "--json"]).run().expect_code(0).stdout;
        assert_eq!(found.trim(), "{\"n\":40,\"ids\":40,\"least\":0}", "{end}");
        let pages: Vec<String> = desk.asked().iter().map(|query| query["page"].clone()).collect();
        // What was asked for beside it is asked for again, once; a number of pages tells too little to go side by side at all.
        let most = pages.iter().map(|page| pages.iter().filter(|other| *other == page).count()).max();
        assert_eq!(most, Some(if by_pages { 1 } else { 2 }), "{pages:?}");
    }
}

#[test]
fn a_slice_of_which_no_record_fits_is_no_success() {
    let rows: Vec<_> = (0..30).map(|id| json!({ "id": id, "day": if id < 25 { "soon" } else { "2026-01-01" } })).collect();
    let bad = rows[..25].to_vec();
    let project_of = |rows: Vec<serde_json::Value>| {
        let desk = Desk::start(move |_, _| (200, json!({ "data": rows })));
        let project = Project::new();
        let source = format!(
            "version = 1\ntype = \"http\"\nbase_url = \"{}\"\n[streams.items]\npath = \"/items\"\nrecords = \"data\"\nprimary_key = [\"id\"]\n",
            desk.url()
        );
        project.write("sources/api.toml", &source);
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        project.write(
            "jobs/items.toml",
            "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n[columns]\nday = \"date\"\n",
        );
        (desk, project)
    };
    let (_desk, project) = project_of(bad);
    let failed = highwater(&project, &["run", "items"]).run().expect_code(1);
    assert!(
        failed.stderr.contains("none of the slice's 25 records fits") && failed.stderr.contains("`day`"),
        "{}",
        failed.stderr
    );
    assert!(project.listing("lake").keys().all(|path| !path.contains("dead_letters")), "{:?}", project.listing("lake"));
    // A preview shows why, and does not call it nothing.
    let preview = highwater(&project, &["preview", "items"]).run().expect_code(0);
    assert!(preview.stdout.contains("there is no row") && preview.stdout.contains("rejected: decode: day"), "{}", preview.stdout);
    let told = highwater(&project, &["run", "items", "--force", "--json"]).run().expect_code(0).json();
    assert_eq!((&told[0]["counts"]["rejected"], &told[0]["counts"]["kept"]), (&json!(25), &json!(0)));
    // Where some fit, those that do not are put aside, and the first is told.
    let (_desk, project) = project_of(rows);
    let ended = highwater(&project, &["run", "items"]).run().expect_code(0);
    assert!(
        ended.stdout.contains("25 records did not fit and went to the dead letters, the first because of `day`"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_feed_whose_since_is_cursor_and_next_page_is_read_to_its_end_and_on_from_there() {
    let last = Arc::new(AtomicU64::new(25));
    let feed = Arc::clone(&last);
    let desk = Desk::start(move |_, query| {
        let since: u64 = query.get("since").map_or(0, |since| since.parse().unwrap());
        let until = feed.load(Ordering::SeqCst).min(since + 10);
        let records: Vec<_> = (since + 1..=until).map(|number| json!({ "id": number, "seq": number })).collect();
        (200, json!({ "results": records, "last_seq": until.max(since) }))
    });
    let project = Project::new();
    let source = r#"version = 1
type = "http"
base_url = "URL"
[streams.items]
path = "/_changes"
records = "results"
primary_key = ["id"]
paging = { type = "page_token", token = "last_seq" }
[streams.items.cursor]
field = "last_seq"
type = "token"
query = { since = "{{ page.token or from }}" }
"#;
    project.write("sources/api.toml", &source.replace("URL", &desk.url()));
    project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    project.write("jobs/items.toml", "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n");
    let run = || highwater(&project, &["run", "items", "--json"]).run().expect_code(0).json()[0]["counts"]["kept"].clone();
    let since = |desk: &Desk| -> Vec<String> {
        desk.asked().iter().map(|query| query.get("since").cloned().unwrap_or_default()).collect()
    };
    assert_eq!((run(), since(&desk)), (json!(25), ["", "10", "20", "25"].map(str::to_owned).to_vec()));
    last.store(30, Ordering::SeqCst);
    assert_eq!((run(), since(&desk)), (json!(5), ["25", "30"].map(str::to_owned).to_vec()));
    assert_eq!(run(), json!(0));
}

/// Whether it is the API that changed, or another server of it that answers: a declared key is the same one.
#[test]
fn ids_that_are_written_in_another_way_are_the_same_records() {
    for (declared, written) in [
        ("int64", [json!(7), json!("7"), json!(7.0)]),
        ("text", [json!("7"), json!(7), json!("7")]),
        ("decimal(10,2)", [json!("7.00"), json!(7), json!("7.0")]),
    ] {
        let rows = shelf(&[]);
        let answered = rows.clone();
        let desk = Desk::start(move |_, _| (200, json!({ "data": *answered.lock().unwrap() })));
        let job = format!("mode = \"merge\"\n[columns]\nid = \"{declared}\"\n");
        let project = project(&desk, "primary_key = [\"id\"]\ncursor = { field = \"seq\", type = \"integer\" }\n", &job);
        for (seq, id) in (1..).zip(written) {
            *rows.lock().unwrap() = vec![json!({ "id": id, "seq": seq }), json!({ "id": 8, "seq": 1 })];
            highwater(&project, &["run", "items"]).run().expect_code(0);
            let found = query(&project, "SELECT COUNT(*) AS n, MAX(seq) AS seq, SUM(seq) AS all_of_them FROM items");
            assert_eq!(found, format!("{{\"n\":2,\"seq\":{seq},\"all_of_them\":{}}}", seq + 1), "{declared}: version {seq}");
        }
    }
    // A table whose keys are compared in two ways has some of them twice: `"7"` is 7 because it was declared, and 7 may be `"7"` once it is.
    for (before, after, told) in [
        ("[columns]\nid = \"int64\"\n", "", "primary_key as was `id as int64` and is ``"),
        ("", "[columns]\nid = \"text\"\n", "primary_key as was `` and is `id as text`"),
        ("", "[columns]\nid = \"boolean\"\n", "primary_key as was `` and is `id as boolean`"),
    ] {
        let desk = Desk::start(move |_, _| (200, json!({ "data": [{ "id": "7" }] })));
        let mode = "mode = \"merge\"\n";
        let project = project(&desk, "primary_key = [\"id\"]\n", &format!("{mode}{before}"));
        highwater(&project, &["run", "items"]).run().expect_code(0);
        project.edit("jobs/items.toml", &format!("{mode}{before}"), &format!("{mode}{after}"));
        let refused = highwater(&project, &["run", "items"]).run().expect_code(78);
        assert!(refused.stderr.contains(told), "{}", refused.stderr);
    }
}
