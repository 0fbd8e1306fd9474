//! Bad input and bad surroundings: the exit code, one clear error, and lake and mark as they were.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::loads::{api_with, mark, run};
use crate::world::api::{FakeApi, Fault, Pages, Record};
use crate::world::bucket::{Bucket, Gate, S3Gate};
use crate::world::dice::Dice;
use crate::world::feed;
use crate::world::kind::{Kind, prepared, tried};
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;
use crate::world::skip;

/// A project that has loaded once, and an API that has news for it.
struct Loaded {
    api: FakeApi,
    project: Project,
    lake: Vec<(String, u64)>,
    mark: Value,
}

fn lake(project: &Project) -> Vec<(String, u64)> {
    project.listing("lake").into_iter().map(|(path, (size, _))| (path, size)).collect()
}

impl Loaded {
    fn new(pages: Pages) -> Self {
        let api = api_with(pages.clone(), 5, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
        let project = Project::of_items(&api, &pages, 5);
        // Enough to see that it is tried again, little enough to wait for.
        project.edit("sources/api.toml", "timeout = \"20s\"\n", "timeout = \"20s\"\nretry = { attempts = 2 }\n");
        run(&project);
        api.add_records("items", feed::plain(11, 20, "2026-03-01T00:10:00Z"));
        api.set_now("2026-03-02T00:00:00Z");
        let (lake, mark) = (lake(&project), mark(&project));
        assert!(lake.len() > 2 && mark.is_string());
        Loaded { api, project, lake, mark }
    }

    /// Runs the job and expects it to be refused with this exit code; what it said, redacted.
    fn refused(&self, code: i32) -> String {
        let ended = highwater(&self.project, &["run", "items"]).run();
        self.check(ended, code)
    }

    /// The same for a file that is wrong, with what `check` says about it.
    fn refused_and_checked(&self) -> String {
        let said = self.refused(78);
        let checked = self.check(highwater(&self.project, &["check"]).run(), 78);
        format!("{said}\n--- check\n{checked}")
    }

    fn check(&self, ended: Ended, code: i32) -> String {
        let said = format!("{}\n{}", ended.redacted_stdout(&self.project), ended.redacted(&self.project));
        assert_eq!(ended.code, Some(code), "{said}");
        assert_eq!(lake(&self.project), self.lake, "the lake changed\n{said}");
        assert_eq!(said.lines().filter(|line| line.starts_with("error: ")).count(), 1, "one clear error\n{said}");
        said
    }

    /// After the cause is gone the next run brings the news.
    fn mends(&self) {
        assert_eq!(mark(&self.project), self.mark, "the mark moved");
        self.api.heal();
        assert_eq!(run(&self.project)["counts"]["kept"], 20);
    }
}

#[test]
fn an_unknown_key() {
    let loaded = Loaded::new(Pages::Token);
    loaded.project.edit("jobs/items.toml", "partition_by = ", "partition_bye = ");
    insta::assert_snapshot!(loaded.refused_and_checked());
    loaded.project.edit("jobs/items.toml", "partition_bye = ", "partition_by = ");
    loaded.mends();
}

#[test]
fn a_wrong_type() {
    let loaded = Loaded::new(Pages::Token);
    loaded.project.edit("sources/api.toml", "timeout = \"20s\"", "timeout = 20");
    insta::assert_snapshot!(loaded.refused_and_checked());
    loaded.project.edit("sources/api.toml", "timeout = 20", "timeout = \"20s\"");
    loaded.mends();
}

#[test]
fn a_missing_secret() {
    // S-39
    let loaded = Loaded::new(Pages::Token);
    let auth = "auth = { type = \"bearer\", token = { env = \"NOT_SET_ANYWHERE\" } }\n";
    loaded.project.edit("sources/api.toml", "timeout = \"20s\"\n", &format!("timeout = \"20s\"\n{auth}"));
    insta::assert_snapshot!(loaded.refused(78));
    loaded.project.edit("sources/api.toml", auth, "");
    loaded.mends();
}

#[test]
fn an_unreachable_host() {
    // D-28
    let loaded = Loaded::new(Pages::Token);
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    loaded.project.edit("sources/api.toml", &loaded.api.url(), &format!("http://{port}"));
    insta::assert_snapshot!(loaded.refused(1));
    loaded.project.edit("sources/api.toml", &format!("http://{port}"), &loaded.api.url());
    loaded.mends();
}

#[test]
fn a_401() {
    let loaded = Loaded::new(Pages::Token);
    loaded.api.fail(0..99, Fault::Status(401));
    insta::assert_snapshot!(loaded.refused(1));
    loaded.mends();
}

#[test]
fn a_404() {
    let loaded = Loaded::new(Pages::Token);
    loaded.api.fail(0..99, Fault::Status(404));
    insta::assert_snapshot!(loaded.refused(78));
    loaded.mends();
}

#[test]
fn a_500_for_ever() {
    // R-32
    let loaded = Loaded::new(Pages::Token);
    let before = loaded.api.seen().len();
    loaded.api.fail(0..99, Fault::Status(500));
    insta::assert_snapshot!(loaded.refused(1));
    assert_eq!(loaded.api.seen().len() - before, 2, "as many requests as attempts");
    loaded.mends();
}

#[test]
fn a_page_of_html() {
    // C-62
    let loaded = Loaded::new(Pages::Token);
    loaded.api.fail(0..99, Fault::Html);
    insta::assert_snapshot!(loaded.refused(1));
    loaded.mends();
}

#[test]
fn a_body_that_is_cut_off() {
    let loaded = Loaded::new(Pages::Token);
    loaded.api.fail(1..99, Fault::CutBody);
    insta::assert_snapshot!(loaded.refused(1));
    loaded.mends();
}

#[test]
fn json_that_is_cut_off() {
    // The page is asked for again, a bounded number of times.
    let loaded = Loaded::new(Pages::Token);
    loaded.api.fail(1..99, Fault::CutJson);
    insta::assert_snapshot!(loaded.refused(1));
    loaded.mends();
}

#[test]
fn records_that_are_no_list() {
    let loaded = Loaded::new(Pages::Token);
    loaded.api.fail(1..99, Fault::WrongType);
    insta::assert_snapshot!(loaded.refused(1));
    loaded.mends();
}

#[test]
fn paging_without_end() {
    let loaded = Loaded::new(Pages::Token);
    change_pages(&loaded, Pages::Endless);
    loaded.project.edit("sources/api.toml", "param = \"token\"", "param = \"token\", pages_max = 30");
    insta::assert_snapshot!(loaded.refused(1));
}

#[test]
fn a_token_that_comes_again() {
    // C-28
    let loaded = Loaded::new(Pages::Token);
    change_pages(&loaded, Pages::SameToken);
    insta::assert_snapshot!(loaded.refused(1));
}

#[test]
fn a_next_link_to_another_host() {
    // C-31, S-06
    let loaded = Loaded::new(Pages::NextUrl);
    let other = api_with(Pages::None, 5, feed::plain(500, 3, "2026-03-01T00:10:00Z"));
    change_pages(&loaded, Pages::NextUrlIs(format!("{}/items", other.url())));
    insta::assert_snapshot!(loaded.refused(1));
    assert!(other.seen().is_empty(), "not a packet is sent there");
}

#[test]
fn a_redirect_to_another_host() {
    let loaded = Loaded::new(Pages::Token);
    let other = api_with(Pages::None, 5, feed::plain(500, 3, "2026-03-01T00:10:00Z"));
    loaded.api.fail(0..99, Fault::Redirect(format!("{}/items", other.url())));
    insta::assert_snapshot!(loaded.refused(78));
    assert!(other.seen().is_empty(), "not a packet is sent there");
    loaded.mends();
}

fn change_pages(loaded: &Loaded, pages: Pages) {
    let records = feed::plain(11, 20, "2026-03-01T00:10:00Z");
    loaded.api.put_stream("items", crate::world::api::Stream { pages, page_size: 5, records });
}

#[test]
fn an_unknown_template_name() {
    let loaded = Loaded::new(Pages::Token);
    loaded.project.edit("sources/api.toml", "{{ from }}", "{{ form }}");
    insta::assert_snapshot!(loaded.refused_and_checked());
    loaded.project.edit("sources/api.toml", "{{ form }}", "{{ from }}");
    loaded.mends();
}

#[test]
fn an_edited_log() {
    // D-43
    let loaded = Loaded::new(Pages::Token);
    let record = "lake/_highwater/items/log/00000000000000000001.json";
    let text = std::fs::read_to_string(loaded.project.at(record)).unwrap();
    // Of the same length, so that only the hash can tell.
    let edited = text.replacen("\"fetched\": 10", "\"fetched\": 11", 1);
    assert_ne!(edited, text);
    loaded.project.write(record, &edited);
    insta::assert_snapshot!(loaded.refused(1));
    loaded.project.write(record, &text);
    loaded.mends();
}

#[test]
fn a_damaged_state() {
    // D-42: as far as refusing goes.
    let loaded = Loaded::new(Pages::Token);
    let state = loaded.project.at("state/highwater.db");
    let whole = std::fs::read(&state).unwrap();
    std::fs::write(&state, vec![b'x'; whole.len()]).unwrap();
    insta::assert_snapshot!(loaded.refused(78));
    std::fs::write(&state, whole).unwrap();
    loaded.mends();
}

/// A small file system in memory; it is taken away with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// From now on it has these options, besides those that it has.
    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap();
        assert!(done.success(), "{options}");
    }

    fn mount(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&folder).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(SmallDisk(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg(&self.0).status().unwrap();
        assert!(gone.success(), "unmount {}", self.0.display());
    }
}

#[test]
fn a_full_disk() {
    // D-06: at staging, the first write that does not fit.
    let api = api_with(Pages::Token, 500, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let project = Project::of_items(&api, &Pages::Token, 500);
    let Some(disk) = SmallDisk::mount(project.at("lake")) else {
        return skip("a_full_disk", "no right to mount a small disk");
    };
    run(&project);
    let mut dice = Dice::new(5);
    let noise = |dice: &mut Dice| (0..64).map(|_| format!("{:016x}", dice.next())).collect::<String>();
    let big = feed::plain(11, 4000, "2026-03-01T00:10:00Z").into_iter().map(|record| {
        let json = record.json.replace("\"name\":\"", &format!("\"name\":\"{}", noise(&mut dice)));
        Record { json, ..record }
    });
    api.set_now("2026-03-05T00:00:00Z");
    api.add_records("items", big);
    let loaded = Loaded { lake: lake(&project), mark: mark(&project), api, project };
    insta::assert_snapshot!(loaded.refused(1));
    assert_eq!(mark(&loaded.project), loaded.mark);

    disk.remount("size=64m");
    assert_eq!(run(&loaded.project)["counts"]["kept"], 4000);
}

#[test]
fn a_disk_that_is_full_at_any_write_or_may_only_be_read_decides_nothing() {
    // D-06, D-24 on parquet-local, delta-local: with so many pages left.
    const PAGES: [u64; 9] = [0, 1, 2, 4, 6, 9, 13, 20, 60];
    const NAME: &str = "a_disk_that_is_full_at_any_write_or_may_only_be_read_decides_nothing";
    let Some(mut oracle) = prepared(NAME) else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, 8, feed::plain(1, 10, "2026-01-31T23:55:00Z"));
    let mut tables = Vec::new();
    for (kind, pages) in
        Kind::LOCAL.into_iter().flat_map(|kind| PAGES.map(Some).into_iter().chain([None]).map(move |pages| (kind, pages)))
    {
        let table = tried.table(kind, &api, 8).merging();
        let Some(disk) = SmallDisk::mount(table.at("lake")) else { return skip(NAME, "no right to mount a small disk") };
        run(&table);
        tables.push((table, disk, pages));
    }
    api.add_records("items", feed::plain(6, 10, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    let truth = [feed::plain(1, 5, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-03-01T00:10:00Z")].concat();
    let (mut refused, mut kept) = (0, Vec::new());
    for (table, disk, pages) in &tables {
        let before = mark(table);
        match pages {
            // `size` counts what is there; less is taken as what is there.
            Some(pages) => disk.remount(&format!("size={}", (used(&disk.0) + pages) * 4096)),
            None => disk.remount("ro"),
        }
        let ended = highwater(table, &["run", "items"]).run();
        disk.remount("rw,size=64m");
        if ended.code != Some(0) {
            refused += 1;
            let (code, says) = if pages.is_some() { (1, "no space left") } else { (78, "the file system is read-only") };
            assert!(ended.code == Some(code) && ended.stderr.to_lowercase().contains(says), "{pages:?} pages: {ended:?}");
            assert_eq!(mark(table), before, "{pages:?} pages");
        }
        run(table);
        assert_eq!(run(table)["commits"], 0);
        highwater(table, &["verify"]).run().expect_code(0);
        // The disk goes with the life; who compares comes later.
        let copy = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").arg("-r").arg(table.at("lake/items")).arg(copy.path()).status().unwrap();
        assert!(copied.success());
        let name = format!("{}: {pages:?} pages were left", table.kind);
        oracle.expect_place(&name, &serde_json::json!(copy.path().join("items")), table.kind.is_delta(), &truth);
        kept.push(copy);
    }
    assert!(refused >= 8 && refused < tables.len(), "{refused} of {} were refused", tables.len());
    // Disks before the folders that they lie in.
    tables.into_iter().for_each(|(table, disk, _)| {
        drop(disk);
        drop(table);
    });
    oracle.check();
}

/// The pages of a small disk that are taken.
fn used(folder: &std::path::Path) -> u64 {
    let told = Command::new("df").args(["--block-size=4096", "--output=used"]).arg(folder).output().unwrap();
    String::from_utf8(told.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
}

#[test]
fn a_bucket_that_may_only_be_read() {
    // D-24
    let Some(bucket) = Bucket::new() else {
        return skip("a_bucket_that_may_only_be_read", "there is no S3 server");
    };
    let gate = S3Gate::before(&bucket.endpoint);
    let api = api_with(Pages::Token, 5, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let project = Project::of_items_in(&bucket, &gate.endpoint(), &api, &Pages::Token, 5);
    run(&project);
    api.add_records("items", feed::plain(11, 20, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    let objects: BTreeSet<String> = bucket.objects();
    gate.set(Gate::ReadOnly);
    let loaded = Loaded { lake: lake(&project), mark: mark(&project), api, project };
    insta::assert_snapshot!(loaded.refused(1));
    assert!(gate.spoiled() > 0);
    assert_eq!(bucket.objects(), objects);
    gate.set(Gate::Open);
    loaded.mends();
}

#[test]
fn two_at_once_on_one_state() {
    let loaded = Loaded::new(Pages::Token);
    let lock = std::fs::File::options().write(true).open(loaded.project.at("state/highwater.db.lock")).unwrap();
    lock.lock().unwrap();
    insta::assert_snapshot!(loaded.refused(75));
    drop(lock);
    loaded.mends();
}

/// The runs so far were of another hour than the next one: that one writes `runs` whatever becomes of it.
fn long_ago(project: &Project) {
    let file = project.at("state/highwater.db");
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(&file)).await.unwrap();
        let aged = "UPDATE runs SET started_at = '2026-01-01T00:00:00.000000000Z'";
        assert!(sqlx::raw_sql(aged).execute(&pool).await.unwrap().rows_affected() > 0);
        pool.close().await;
    });
}

/// A disk that is not mounted leaves no folder, or an empty one.
#[test]
fn a_lake_that_is_not_there_is_not_taken_for_one_that_was_lost() {
    let loaded = Loaded::new(Pages::Token);
    long_ago(&loaded.project);
    let (lake, away) = (loaded.project.at("lake"), loaded.project.at("away"));
    std::fs::rename(&lake, &away).unwrap();
    for is_mount_point in [false, true] {
        if is_mount_point {
            std::fs::create_dir(&lake).unwrap();
        }
        let ended = highwater(&loaded.project, &["run", "items"]).run();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let why = "is empty, and the log of the table items had come to record 1: mount its disk";
        assert!(ended.stderr.contains(why) && ended.stderr.contains("`highwater state rebuild items`"), "{ended:?}");
        assert!(std::fs::read_dir(&lake).is_ok_and(|mut left| left.next().is_none()) == is_mount_point, "something was written");
    }
    std::fs::remove_dir(&lake).unwrap();
    std::fs::rename(&away, &lake).unwrap();
    loaded.mends();

    // Gone for good, and said to be.
    std::fs::remove_dir_all(&lake).unwrap();
    highwater(&loaded.project, &["state", "rebuild", "items"]).run().expect_code(0);
    run(&loaded.project);
    let counted =
        highwater(&loaded.project, &["query", "SELECT COUNT(DISTINCT id) AS n, COUNT(*) AS rows FROM items", "--json"]).run();
    assert!(counted.stdout.contains("\"n\":30") && counted.stdout.contains("\"rows\":30"), "{counted:?}");
}
