//! Single promises of a merge, each in a small history of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use highwater::config;
use highwater::config::catalog::Job;
use highwater::event::Events;
use highwater::fault::{FaultPlan, Guards};
use highwater::run::{self, Ports, Purpose, RunError, RunOptions, RunReport};
use highwater::state::memory::MemoryState;
use highwater::stop::Stop;
use highwater::store::Store;
use highwater::store::faulty::FaultyStore;
use highwater::store::memory::MemoryStore;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::world::api::{Pages, Record};
use crate::world::clock::TestClock;
use crate::world::project::{Project, source};
use crate::world::source::FakeSource;

/// A lake, a state and a job; runs over whatever records the source has at the time.
pub(super) struct Lab {
    project: Project,
    pub(super) job: Job,
    pub(super) store: MemoryStore,
    state: MemoryState,
    runs: AtomicU64,
    guards: Guards,
}

impl Lab {
    /// `job` is what stands before `[window]`, `window` what stands in it, `steps` what comes after.
    pub(super) fn new(job: &str, window: &str, steps: &str) -> Self {
        let project = Project::new();
        let api = source("http://127.0.0.1:9", &Pages::Page, 5);
        project
            .write("sources/api.toml", &api.replace("primary_key = [\"id\"]\n", "primary_key = [\"id\"]\ndeleted = \"gone\"\n"));
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        let head = "version = 1\nsource = \"api\"\nstream = \"items\"\nsink = \"lake\"\n";
        let types = "[columns]\nkind = \"text\"\nhidden = \"boolean\"\n";
        let text = format!("{head}{job}\n{types}[window]\nstart = \"2026-01-01T00:00:00Z\"\nsettle = \"1m\"\n{window}\n{steps}");
        project.write("jobs/items.toml", &text);
        let loaded = config::load(project.path(), None);
        let problems: Vec<String> = loaded.problems.iter().map(|problem| problem.to_string()).collect();
        let job = loaded.catalog.jobs.values().next().unwrap_or_else(|| panic!("{}", problems.join("\n"))).clone();
        let (store, state) = (MemoryStore::new(), MemoryState::new());
        Lab { project, job, store, state, runs: AtomicU64::new(1), guards: Guards::standing() }
    }

    pub(super) fn run(&self, records: &[Record], now: &str) -> Result<RunReport, RunError> {
        self.run_under(&Arc::new(FaultPlan::none()), records, now, RunOptions::default())
    }

    fn run_under(
        &self,
        plan: &Arc<FaultPlan>,
        records: &[Record],
        now: &str,
        options: RunOptions,
    ) -> Result<RunReport, RunError> {
        let source = FakeSource { records: records.to_vec(), page_size: 5, now: now.parse().unwrap() };
        let ports = Ports {
            state: Arc::new(self.state.reopen()),
            store: Arc::new(FaultyStore::new(Arc::new(self.store.clone()), plan.clone())),
            source: Arc::new(source),
            roster: None,
            clock: Arc::new(TestClock::new(now, self.runs.fetch_add(1, Ordering::SeqCst))),
            events: Events::default(),
            stop: Stop::new(),
            owner: "test".to_owned(),
            spool: self.project.at("spool"),
            memory: 64 << 20,
            guards: self.guards,
            options,
        };
        block_on(run::run_job(&self.job, Purpose::Load, &ports))
    }

    /// A run that must do its work.
    pub(super) fn load(&self, records: &[Record], now: &str) -> RunReport {
        let report = self.run(records, now).expect("a run");
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        report
    }

    /// The texts of a column over all rows, sorted; read with the `parquet` crate alone.
    fn column(&self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        for object in block_on(self.store.list("items")).unwrap() {
            let bytes = block_on(self.store.get(&object.path, 1 << 24)).unwrap().unwrap();
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
                let batch = batch.unwrap();
                let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
                let options = arrow::util::display::FormatOptions::default().with_null("null");
                let shown = arrow::util::display::ArrayFormatter::try_new(column, &options).unwrap();
                values.extend((0..batch.num_rows()).map(|row| shown.value(row).to_string()));
            }
        }
        values.sort();
        values
    }

    fn files(&self) -> usize {
        block_on(self.store.list("items")).unwrap().len()
    }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub(super) fn record(id: &str, at: &str, rest: &str) -> Record {
    let comma = if rest.is_empty() { "" } else { "," };
    Record { json: format!("{{\"id\":{id},\"updated_at\":\"{at}\"{comma}{rest}}}"), cursor: Some(at.parse().unwrap()) }
}

const MERGE: &str = "mode = \"merge\"";
const HARD: &str = "mode = \"merge\"\non_delete = \"hard\"";

#[test]
fn a_version_that_comes_late_does_not_bring_back_what_was_deleted_after_it() {
    // C-50, C-06
    let lab = Lab::new(HARD, "lookback = \"6h\"", "[[steps]]\nfilter = \"hidden IS NULL OR NOT hidden\"");
    let first = [
        record("1", "2026-01-01T01:00:00Z", "\"name\":\"a\""),
        record("2", "2026-01-01T01:00:00Z", "\"name\":\"b\""),
        record("3", "2026-01-01T01:00:00Z", "\"name\":\"c\""),
    ];
    lab.load(&first, "2026-01-01T02:00:00Z");
    // 1 is deleted, 2 is hidden from the table: both leave it, and what was said of them before that comes again, late.
    let then = [
        record("1", "2026-01-01T03:00:00Z", "\"gone\":true"),
        record("2", "2026-01-01T03:00:00Z", "\"name\":\"b2\",\"hidden\":true"),
        record("3", "2026-01-01T01:00:00Z", "\"name\":\"c\""),
    ];
    let report = lab.load(&then, "2026-01-01T04:00:00Z");
    assert_eq!((report.counts.deleted, report.counts.filtered, report.counts.unchanged), (1, 1, 1));
    assert_eq!(lab.column("name"), ["c"]);
    let late =
        [record("1", "2026-01-01T02:30:00Z", "\"name\":\"late\""), record("2", "2026-01-01T02:30:00Z", "\"name\":\"late\"")];
    let report = lab.load(&late, "2026-01-01T05:00:00Z");
    assert_eq!((report.counts.duplicate, report.commits), (2, 0), "older than the deletion");
    assert_eq!(lab.column("name"), ["c"]);
    // What is newer than the deletion is alive.
    let back = [record("1", "2026-01-01T05:30:00Z", "\"name\":\"back\"")];
    lab.load(&back, "2026-01-01T06:00:00Z");
    assert_eq!(lab.column("name"), ["back", "c"]);
    assert_eq!(lab.load(&back, "2026-01-01T06:10:00Z").commits, 0);
}

#[test]
fn what_came_late_is_read_though_the_slice_that_looks_back_failed() {
    // C-06: slices behind that one would move the end from which the next run looks back.
    let first = [record("1", "2026-01-01T01:00:00Z", "\"name\":\"a\"")];
    let late = record("2", "2026-01-01T00:30:00Z", "\"name\":\"late\"");
    let then = [first[0].clone(), late, record("3", "2026-01-01T20:00:00Z", "\"name\":\"c\"")];
    let lab = || {
        let lab = Lab::new(MERGE, "step = \"6h\"\nlookback = \"6h\"", "");
        lab.load(&first, "2026-01-01T02:00:00Z");
        lab
    };
    let second = |lab: &Lab, plan: FaultPlan| {
        let plan = Arc::new(plan);
        let report = lab.run_under(&plan, &then, "2026-01-02T02:00:00Z", RunOptions::default()).expect("a run");
        (report, plan.log())
    };
    let (_, effects) = second(&lab(), FaultPlan::none());
    let staged = effects.iter().position(|name| name.starts_with("store.stage ")).expect("a file") as u64;
    let lab = lab();
    let (report, _) = second(&lab, FaultPlan::none().error_at(staged + 1));
    assert_eq!((report.failed.len(), report.commits), (1, 0), "{report:?}");
    lab.load(&then, "2026-01-02T03:00:00Z");
    assert_eq!(lab.column("name"), ["a", "c", "late"]);
}

#[test]
fn a_deleted_record_marks_its_row_and_keeps_what_was_last_seen() {
    // C-48
    let lab = Lab::new(MERGE, "lookback = \"6h\"", "");
    lab.load(&[record("1", "2026-01-01T01:00:00Z", "\"name\":\"a\"")], "2026-01-01T02:00:00Z");
    let gone =
        [record("1", "2026-01-01T03:00:00Z", "\"gone\":\"2026-01-01\""), record("9", "2026-01-01T03:00:00Z", "\"gone\":true")];
    lab.load(&gone, "2026-01-01T04:00:00Z");
    assert_eq!((lab.column("name"), lab.column("_hw_deleted")), (vec!["a".to_owned()], vec!["true".to_owned()]));
    assert_eq!(lab.load(&gone, "2026-01-01T04:10:00Z").commits, 0, "it is marked already");
    lab.load(&[record("1", "2026-01-01T05:00:00Z", "\"name\":\"b\",\"gone\":false")], "2026-01-01T06:00:00Z");
    assert_eq!((lab.column("name"), lab.column("_hw_deleted")), (vec!["b".to_owned()], vec!["false".to_owned()]));
}

#[test]
fn a_row_whose_partition_has_another_type_now_is_there_once() {
    // Its value stands in a column beside the partition's, which is null: the row moved, though the source did not move it.
    let lab = Lab::new("mode = \"merge\"\npartition_by = [\"shard\"]\npartition_immutable = true", "", "");
    lab.load(&[record("1", "2026-01-01T01:00:00Z", "\"shard\":3,\"name\":\"a\"")], "2026-01-01T02:00:00Z");
    lab.load(&[record("1", "2026-01-01T03:00:00Z", "\"shard\":\"3\",\"name\":\"b\"")], "2026-01-01T04:00:00Z");
    assert_eq!(lab.column("name"), ["b"]);
    lab.load(&[record("1", "2026-01-01T05:00:00Z", "\"shard\":3,\"name\":\"c\"")], "2026-01-01T06:00:00Z");
    assert_eq!(lab.column("name"), ["c"]);
}

#[test]
fn only_files_that_hold_a_key_are_opened() {
    let lab = Lab::new(MERGE, "", "");
    // Twelve files: three runs with keys of a range of their own, nine with keys all over the place.
    for run in 0..12u32 {
        let at = format!("2026-01-{:02}T01:00:00Z", run + 1);
        let id = |row: u32| {
            if run < 3 {
                format!("{}", 1000 * (run + 1) + row)
            } else {
                format!("\"{:016x}\"", u64::from(row * 12 + run).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            }
        };
        let records: Vec<Record> = (0..20).map(|row| record(&id(row), &at, "\"name\":\"x\"")).collect();
        // The key's type differs between the two kinds, which no merge minds.
        lab.load(&records, &format!("2026-01-{:02}T02:00:00Z", run + 1));
    }
    assert_eq!(lab.files(), 12);
    let read = |records: &[Record], now: &str| {
        let plan = Arc::new(FaultPlan::none());
        let report = lab.run_under(&plan, records, now, RunOptions::default()).expect("a run");
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        let log = plan.log();
        let opened: std::collections::BTreeSet<&str> = log
            .iter()
            .filter_map(|name| name.strip_prefix("store.get_range items/"))
            .filter_map(|rest| rest.split(' ').next())
            .collect();
        let rewritten = log.iter().filter(|name| name.starts_with("store.delete items/")).count();
        (opened.len(), rewritten)
    };
    // A key between those of the ranges: nothing is opened.
    assert_eq!(read(&[record("5", "2026-02-01T00:00:00Z", "\"name\":\"y\"")], "2026-02-01T01:00:00Z"), (0, 0));
    // A key of one range: its file alone is opened and replaced.
    assert_eq!(read(&[record("2007", "2026-02-02T00:00:00Z", "\"name\":\"y\"")], "2026-02-02T01:00:00Z"), (1, 1));
    // A key that lies in the range of nine files: their filters are asked, and one file is replaced.
    let scattered = format!("\"{:016x}\"", u64::from(5 * 12 + 7u32).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (opened, rewritten) = read(&[record(&scattered, "2026-02-03T00:00:00Z", "\"name\":\"y\"")], "2026-02-03T01:00:00Z");
    assert!(opened <= 10 && rewritten == 1, "{opened} opened, {rewritten} rewritten");
    // The same again is no news: nothing is rewritten.
    assert_eq!(lab.load(&[], "2026-02-04T01:00:00Z").commits, 0);
    assert_eq!(lab.column("id").len(), 12 * 20 + 1);
}

#[test]
fn a_replacement_by_less_than_half_is_refused_without_force() {
    // C-60
    let lab = Lab::new("mode = \"replace\"", "", "");
    let all: Vec<Record> = (0..10).map(|id| record(&id.to_string(), "2026-01-01T01:00:00Z", "\"name\":\"x\"")).collect();
    lab.load(&all, "2026-01-02T00:00:00Z");
    assert_eq!(lab.load(&all, "2026-01-02T01:00:00Z").commits, 0, "the same rows again are no news");
    lab.load(&all[..5], "2026-01-03T00:00:00Z");
    assert_eq!(lab.column("id").len(), 5, "half is enough");
    for few in [&all[..2], &[]] {
        let report = lab.run(few, "2026-01-04T00:00:00Z").expect("a run");
        let reason = &report.failed[0].reason;
        assert!(reason.contains("--force") && reason.contains("has 5"), "{reason}");
        assert_eq!(lab.column("id").len(), 5);
    }
    let forced = RunOptions { force: true, ..RunOptions::default() };
    lab.run_under(&Arc::new(FaultPlan::none()), &all[..2], "2026-01-05T00:00:00Z", forced).expect("forced");
    assert_eq!(lab.column("id").len(), 2);
}

#[test]
fn rejects_that_are_read_again_are_put_aside_once() {
    let lab = Lab::new(MERGE, "lookback = \"1d\"", "[[steps]]\ncast = { name = \"int64\" }");
    let records =
        [record("1", "2026-01-01T01:00:00Z", "\"name\":\"7\""), record("2", "2026-01-01T01:00:00Z", "\"name\":\"seven\"")];
    let report = lab.load(&records, "2026-01-01T02:00:00Z");
    assert_eq!((report.counts.kept, report.counts.rejected), (1, 1));
    let report = lab.load(&records, "2026-01-01T03:00:00Z");
    assert_eq!((report.counts.rejected, report.commits), (0, 0), "it lies there already: {report:?}");
    assert_eq!(block_on(lab.store.list("_highwater/items/dead_letters")).unwrap().len(), 1);
}

#[test]
fn without_its_guards_a_merge_is_wrong() {
    // D-44
    let older = [record("1", "2026-01-01T01:00:00Z", "\"name\":\"old\"")];
    let newer = [record("1", "2026-01-01T02:00:00Z", "\"name\":\"new\"")];
    let table = |guards: Guards| {
        let lab = Lab { guards, ..Lab::new(MERGE, "lookback = \"6h\"", "") };
        lab.load(&newer, "2026-01-01T03:00:00Z");
        lab.load(&older, "2026-01-01T04:00:00Z");
        lab.column("name")
    };
    assert_eq!(table(Guards::standing()), ["new"]);
    assert_eq!(table(Guards { newest_wins: false, ..Guards::standing() }), ["old"]);
    let versions = |guards: Guards| {
        let lab = Lab { guards, ..Lab::new(MERGE, "", "") };
        lab.load(&older, "2026-01-01T01:30:00Z");
        lab.load(&newer, "2026-01-01T04:00:00Z");
        lab.column("name")
    };
    assert_eq!(versions(Guards::standing()), ["new"]);
    assert_eq!(versions(Guards { rewrite_touched: false, ..Guards::standing() }), ["new", "old"]);
}

#[test]
fn without_tombstones_a_late_version_brings_back_what_was_deleted() {
    // D-44, C-50
    let table = |guards: Guards| {
        let lab = Lab { guards, ..Lab::new(HARD, "lookback = \"6h\"", "") };
        lab.load(&[record("1", "2026-01-01T01:00:00Z", "\"name\":\"a\"")], "2026-01-01T02:00:00Z");
        lab.load(&[record("1", "2026-01-01T03:00:00Z", "\"gone\":true")], "2026-01-01T04:00:00Z");
        lab.load(&[record("1", "2026-01-01T02:30:00Z", "\"name\":\"late\"")], "2026-01-01T05:00:00Z");
        lab.column("name")
    };
    assert_eq!(table(Guards::standing()), Vec::<String>::new());
    assert_eq!(table(Guards { tombstones: false, ..Guards::standing() }), ["late"]);
}

#[test]
fn a_file_that_is_passed_over_wrongly_leaves_a_row_twice() {
    // D-44
    let table = |guards: Guards, changed: &str| {
        let lab = Lab { guards, ..Lab::new(MERGE, "", "") };
        let first: Vec<Record> = (1..=9).map(|id| record(&id.to_string(), "2026-01-01T01:00:00Z", "\"name\":\"old\"")).collect();
        lab.load(&first, "2026-01-01T02:00:00Z");
        lab.load(&[record(changed, "2026-01-01T03:00:00Z", "\"name\":\"new\"")], "2026-01-01T04:00:00Z");
        (lab.column("id").iter().filter(|id| *id == changed).count(), lab.column("id").len())
    };
    // The least and the greatest key of the file, and one between them.
    for changed in ["1", "9", "5"] {
        assert_eq!(table(Guards::standing(), changed), (1, 9), "{changed}");
        let in_filter = Guards { keys_in_filter: false, ..Guards::standing() };
        assert_eq!(table(in_filter, changed), (2, 10), "{changed}");
    }
    let in_range = Guards { keys_in_range: false, ..Guards::standing() };
    assert_eq!(["1", "9", "5"].map(|changed| table(in_range, changed)), [(2, 10), (2, 10), (1, 9)]);
}

#[test]
fn without_the_digest_the_same_answer_replaces_itself() {
    // D-44
    let records: Vec<Record> = (0..7).map(|id| record(&id.to_string(), "2026-01-01T01:00:00Z", "\"name\":\"x\"")).collect();
    let again = |guards: Guards| {
        let lab = Lab { guards, ..Lab::new("mode = \"replace\"", "", "") };
        let paths = || block_on(lab.store.list("items")).unwrap().into_iter().map(|object| object.path).collect::<Vec<_>>();
        lab.load(&records, "2026-01-02T00:00:00Z");
        let before = paths();
        let commits = lab.load(&records, "2026-01-02T01:00:00Z").commits;
        (commits, paths() == before)
    };
    assert_eq!(again(Guards::standing()), (0, true));
    assert_eq!(again(Guards { same_content: false, ..Guards::standing() }), (1, false));
}
