//! A machine that misbehaves under real processes: killed at a system call, a disk that cannot make anything durable, no handles, a
//! log that nobody can write; and what the order of the calls says about a loss of power.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::loads::{api_with, mark, run};
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::dice::Dice;
use crate::world::feed;
use crate::world::kind::{self, Kind, Table, Tried, tried};
use crate::world::oracle::Oracle;
use crate::world::program::{Ended, command, highwater};
use crate::world::project::Project;
use crate::world::skip;

const PAGE: usize = 8;
const SIGKILL: i32 = 9;
/// Calls of one kind that a run makes at most.
const CALLS_MAX: usize = 400;

/// Ten rows, of which five have a second version in the later slice, in another month.
fn versions() -> Vec<Record> {
    [feed::plain(1, 10, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

fn newest() -> Vec<Record> {
    [feed::plain(1, 5, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

/// A run under strace, or `None` where there is none that may trace.
fn traced(project: &Project, options: &[&str]) -> Ended {
    let wrapper = [&["strace", "-f", "-qq"], options].concat();
    highwater(project, &["run", "items"]).under(&wrapper).run()
}

/// What tests here need; a skip, noted, where something of it is missing.
fn traces(test: &str) -> bool {
    let traces = std::process::Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !traces.is_ok_and(|status| status.success()) {
        skip(test, "there is no strace, or it may not trace");
        return false;
    }
    true
}

fn prepared(test: &str) -> Option<Oracle> {
    if !traces(test) {
        return None;
    }
    kind::prepared(test)
}

#[test]
fn a_process_is_killed_at_its_nth_system_call() {
    // D-04 on every kind: in a bucket what goes over the network, and the state.
    if prepared("a_process_is_killed_at_its_nth_system_call").is_none() {
        return;
    }
    let tried = tried!();
    const NAMES: &str = "link,linkat,rename,renameat,renameat2";
    const FOLDERS: &str = "unlink,unlinkat,rmdir,mkdir,mkdirat";
    const SENDS: &str = "sendto,sendmsg,writev";
    // Of a Delta table's folders, of syncs and of writes some: there are many, and what lies between two of them is alike.
    let series = [
        (Kind::ParquetLocal, NAMES, 1),
        (Kind::ParquetLocal, FOLDERS, 2),
        (Kind::DeltaLocal, NAMES, 1),
        (Kind::DeltaLocal, FOLDERS, 4),
        (Kind::ParquetLocal, "fsync,fdatasync", 9),
        (Kind::DeltaLocal, "pwrite64", 9),
        (Kind::ParquetS3, SENDS, 41),
        (Kind::DeltaS3, SENDS, 67),
    ];
    let api = api_with(Pages::Token, PAGE, versions());
    let (next, lakes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((kind, calls, step)) = series.get(next.fetch_add(1, Ordering::SeqCst)) {
            for at in (1..CALLS_MAX).step_by(*step) {
                let table = tried.table(*kind, &api, PAGE).merging();
                let inject = format!("inject={calls}:signal=KILL:when={at}");
                let died = traced(&table, &["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]);
                let name = format!("killed at call {at} of {calls}");
                run(&table);
                highwater(&table, &["verify"]).run().expect_code(0);
                lakes.lock().unwrap().push((name, table));
                if died.signal != Some(SIGKILL) {
                    assert!(died.code == Some(0) && at > 1, "{died:?}");
                    break;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let lakes = lakes.into_inner().unwrap();
    assert!(lakes.len() > 30, "only {} lives", lakes.len());
    for some in lakes.chunks(40) {
        let mut oracle = Oracle::new().unwrap();
        for (name, table) in some {
            table.expect(&mut oracle, name, &newest());
        }
        oracle.check();
    }
}

#[test]
fn a_folder_that_cannot_be_made_durable_decides_nothing() {
    // D-05 on parquet-local, delta-local
    let Some(mut oracle) = prepared("a_folder_that_cannot_be_made_durable_decides_nothing") else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let folders = ["_highwater/items/log", "items", "items/_delta_log", "_highwater/items", "_highwater/items/staging"];
    let mut projects = Vec::new();
    for (kind, folder) in Kind::LOCAL.into_iter().flat_map(|kind| folders.map(|folder| (kind, folder))) {
        let table = tried.table(kind, &api, PAGE).merging();
        run(&table);
        projects.push((folder, table));
    }
    api.add_records("items", feed::plain(6, 10, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    for (folder, project) in &projects {
        let name = format!("{}: no fsync of {folder}", project.kind);
        let before = mark(project);
        let path = project.at("lake").join(folder);
        let options = ["-o", "/dev/null", "-P", &path.to_string_lossy(), "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"];
        let ended = traced(project, &options);
        let decides = *folder == "_highwater/items/log" || project.kind.is_delta() && *folder == "items/_delta_log";
        if decides {
            assert_eq!(ended.code, Some(1), "{name}: {ended:?}");
        }
        if ended.code != Some(0) {
            assert_eq!(mark(project), before, "{name}: {ended:?}");
            assert!(ended.stderr.contains("os error 5"), "{name}: {ended:?}");
        }
        run(project);
        highwater(project, &["verify"]).run().expect_code(0);
        let truth = [feed::plain(1, 5, "2026-02-01T00:00:00Z"), feed::plain(6, 10, "2026-03-01T00:10:00Z")].concat();
        project.expect(&mut oracle, &name, &truth);
    }
    oracle.check();
}

#[test]
fn a_folder_without_hard_links_or_across_file_systems_is_refused_before_a_row_is_written() {
    // D-53, D-54 on parquet-local, delta-local
    if prepared("a_folder_without_hard_links_or_across_file_systems_is_refused_before_a_row_is_written").is_none() {
        return;
    }
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    for kind in Kind::LOCAL {
        for (calls, error, says) in
            [("link,linkat", "EPERM", "take a folder on ext4"), ("rename,renameat,renameat2", "EXDEV", "nothing can be renamed")]
        {
            let table = tried.table(kind, &api, PAGE).merging();
            let inject = format!("inject={calls}:error={error}");
            let ended = traced(&table, &["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]).expect_code(78);
            assert!(ended.stderr.contains(says), "{kind} {error}: {}", ended.stderr);
            assert!(table.objects().is_empty(), "{kind} {error}: {:?}", table.objects());
        }
    }
}

/// A call that names a file or makes one durable, as strace tells with `-y`.
enum Call {
    Sync(String),
    Named { from: String, to: String },
}

fn read_call(line: &str) -> Option<Call> {
    let between = |text: &str, open: char, close: char| {
        let start = text.find(open)? + 1;
        let end = start + text[start..].find(close)?;
        Some((text[start..end].to_owned(), text[end + 1..].to_owned()))
    };
    if line.contains("fsync(") || line.contains("fdatasync(") {
        return Some(Call::Sync(between(line, '<', '>')?.0));
    }
    let call = &line[line.find("link").or_else(|| line.find("rename"))?..];
    if call.starts_with("unlink") || line.contains("unlink") || !line.trim_end().ends_with("= 0") {
        return None;
    }
    let (from, rest) = between(call, '"', '"')?;
    Some(Call::Named { from, to: between(&rest, '"', '"')?.0 })
}

/// The calls of a trace in the order in which they ended: strace writes one in two halves where another thread calls meanwhile.
fn whole_calls(trace: &str) -> Vec<String> {
    let mut begun = BTreeMap::new();
    let mut whole = Vec::new();
    for line in trace.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        if let Some(first) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, first.trim_end());
        } else if let Some((_, rest)) = call.split_once(" resumed>") {
            whole.push(format!("{}{rest}", begun.remove(thread).expect("a call that began")));
        } else {
            whole.push(call.to_owned());
        }
    }
    whole
}

/// Names below `lake` that were given before their file was durable, or whose folder was not made durable after.
fn not_durable(trace: &str, lake: &Path) -> Vec<String> {
    let lake = lake.to_string_lossy();
    let (mut synced, mut open, mut wrong) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    let mut named = 0;
    for call in whole_calls(trace).iter().filter_map(|line| read_call(line)) {
        match call {
            Call::Sync(path) => {
                open.retain(|name: &String| Path::new(name).parent() != Some(Path::new(&path)));
                synced.insert(path);
            }
            Call::Named { from, to } if to.starts_with(&*lake) => {
                named += 1;
                if !synced.contains(&from) {
                    wrong.push(format!("{to} got its name before {from} was durable"));
                }
                synced.insert(to.clone());
                open.insert(to);
            }
            Call::Named { .. } => {}
        }
    }
    assert!(named >= 6, "only {named} names were given");
    wrong.extend(open.into_iter().map(|name| format!("the folder of {name} was not made durable")));
    wrong
}

#[test]
fn every_file_is_durable_before_it_has_its_name_and_its_folder_after() {
    // D-11 on parquet-local, delta-local
    // D-12 on delta-local
    if !traces("every_file_is_durable_before_it_has_its_name_and_its_folder_after") {
        return;
    }
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    for kind in Kind::LOCAL {
        let trace = |mutant: Option<&str>| {
            let project = tried.table(kind, &api, PAGE).merging();
            let log = project.at("trace.txt");
            let calls = "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2";
            let path = log.to_string_lossy();
            let wrapper = ["strace", "-f", "-qq", "-y", "-s", "4096", "-o", &*path, "-e", calls];
            let call = highwater(&project, &["run", "items"]).under(&wrapper);
            let call = match mutant {
                Some(name) => call.env("HIGHWATER_MUTANT", name),
                None => call,
            };
            call.run().expect_code(0);
            not_durable(&std::fs::read_to_string(&log).unwrap(), &project.at("lake"))
        };
        assert_eq!(trace(None), [""; 0], "{kind}");
        // D-44
        assert!(!trace(Some("synced")).is_empty(), "{kind}: the guard guards nothing");
    }
}

#[test]
fn a_log_that_cannot_be_written_stops_no_run() {
    // D-08 on every kind
    if prepared("a_log_that_cannot_be_written_stops_no_run").is_none() {
        return;
    }
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    for kind in Kind::ALL {
        let table = tried.table(kind, &api, PAGE).merging();
        let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
        let status = command(&table, &["run", "items"]).stderr(full()).stdout(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{kind}");
        assert_eq!(run(&table)["commits"], 0, "{kind}");
        // Whoever reads the report must not take a part of it for the whole.
        let status = command(&table, &["run", "items", "--json"]).stdout(full()).status().unwrap();
        assert_eq!(status.code(), Some(1), "{kind}");
        highwater(&table, &["verify"]).run().expect_code(0);
    }
}

#[test]
fn a_process_that_gets_no_more_handles_decides_nothing_that_is_not_whole() {
    // D-09 on every kind
    let Some(mut oracle) = prepared("a_process_that_gets_no_more_handles_decides_nothing_that_is_not_whole") else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    let mut tables = Vec::new();
    for kind in Kind::ALL {
        let limits = [12, 16, 20, 24, 28, 32, 40, 1024];
        let ends: Vec<Option<i32>> = limits
            .into_iter()
            .step_by(if kind == Kind::ParquetLocal { 1 } else { 2 })
            .chain([1024])
            .map(|handles| {
                let table = tried.table(kind, &api, PAGE).merging();
                let limit = format!("ulimit -n {handles}; exec \"$0\" \"$@\"");
                let ended = highwater(&table, &["run", "items"]).under(&["sh", "-c", &limit]).run();
                run(&table);
                highwater(&table, &["verify"]).run().expect_code(0);
                table.expect(&mut oracle, &format!("{handles} handles"), &newest());
                tables.push(table);
                ended.code
            })
            .collect();
        assert!(ends[0] != Some(0) && ends.last() == Some(&Some(0)), "{kind}: {ends:?}");
    }
    oracle.check();
}

#[test]
fn a_process_is_killed_at_any_moment() {
    // D-10 on every kind: what the kernel does where memory runs out.
    let Some(mut oracle) = prepared("a_process_is_killed_at_any_moment") else { return };
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    let mut dice = Dice::new(20_260_110);
    let mut kept = Vec::new();
    for kind in Kind::ALL {
        let table = tried.table(kind, &api, PAGE).merging();
        let (lives, longest) = if kind.is_on_s3() { (8, 600) } else { (20, 150) };
        let mut killed = 0;
        for _ in 0..lives {
            // Each life has all of it to read again.
            let mut child = command(&table, &["run", "items", "--full", "--yes"]);
            let mut child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(10 + dice.below(longest)));
            child.kill().unwrap();
            killed += usize::from(child.wait().unwrap().code().is_none());
        }
        println!("{kind}: killed {killed} of {lives} lives");
        assert!(killed > 0, "{kind}: every life ended by itself: this shows nothing");
        run(&table);
        highwater(&table, &["verify"]).run().expect_code(0);
        table.expect(&mut oracle, "killed", &newest());
        kept.push(table);
    }
    oracle.check();
}

/// Every Parquet file below a folder, as a reader's glob finds it at this moment, with the batches of its rows.
fn look(folder: &Path) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            // Removed since it was listed, as by a merge.
            let Ok(bytes) = std::fs::read(&path) else { continue };
            if path.extension().is_some_and(|extension| extension == "parquet") {
                let name = path.to_string_lossy().into_owned();
                found.push((name.clone(), batches(&name, bytes.into())));
            }
        }
    }
    found
}

/// The same of a table of any kind.
fn look_at(table: &Table) -> Vec<(String, Vec<String>)> {
    let Some(bucket) = &table.bucket else { return look(&table.at("lake/items")) };
    let names = bucket.objects().into_iter().filter(|name| name.starts_with("raw/items/") && name.ends_with(".parquet"));
    names.filter_map(|name| bucket.get(&name).map(|bytes| (name.clone(), batches(&name, bytes)))).collect()
}

/// The batches of a file's rows; the file must be whole.
fn batches(name: &str, bytes: bytes::Bytes) -> Vec<String> {
    use arrow::array::AsArray;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes);
    let reader = reader.unwrap_or_else(|error| panic!("{name} is torn: {error}")).build().unwrap();
    let mut batches = Vec::new();
    for rows in reader.map(Result::unwrap) {
        // A checkpoint of a Delta table's log has no rows of ours.
        let Some(column) = rows.column_by_name("_hw_commit") else { continue };
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8);
        batches.extend(column.unwrap().as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    batches
}

#[test]
fn who_polls_a_folder_sees_whole_files_of_decided_batches_alone() {
    // D-68 on every kind
    if prepared("who_polls_a_folder_sees_whole_files_of_decided_batches_alone").is_none() {
        return;
    }
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    for (kind, one_of) in [(Kind::ParquetLocal, 1), (Kind::ParquetS3, 6), (Kind::DeltaLocal, 4), (Kind::DeltaS3, 9)] {
        polled(&tried, kind, one_of, &api);
    }
}

fn polled(tried: &Tried, kind: Kind, one_of: usize, api: &FakeApi) {
    let log = super::kill::effects(&tried.table(kind, api, PAGE).merging());
    let writes = ["put_absent", "store.publish", "store.put ", "store.delete", "state.advance"];
    let places = (1..=log.len()).filter(|at| writes.iter().any(|verb| log[at - 1].contains(verb)));
    let places: Vec<usize> = places.step_by(one_of).collect();
    assert!(places.len() >= 3, "{log:#?}");
    let (mut looks, mut rows) = (0, 0);
    for (at, side) in places.iter().zip(["before", "after"].into_iter().cycle()) {
        let table = tried.table(kind, api, PAGE).merging();
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let poller = scope.spawn(|| {
                let mut seen: BTreeSet<String> = BTreeSet::new();
                let mut looks = 0;
                while !done.load(Ordering::SeqCst) {
                    seen.extend(look_at(&table).into_iter().flat_map(|(_, batches)| batches));
                    looks += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                (seen, looks)
            });
            highwater(&table, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-{side}:{at}")).run();
            run(&table);
            done.store(true, Ordering::SeqCst);
            poller.join().expect("no file was torn")
        });
        looks += seen.1;
        rows += seen.0.len();
        let decided: String = table.records().concat();
        let stray: Vec<&String> = seen.0.iter().filter(|batch| !decided.contains(*batch)).collect();
        assert!(
            stray.is_empty(),
            "{kind}: killed {side} effect {at}, `{}`: rows of {stray:?}, which nobody decided",
            log[at - 1]
        );
    }
    assert!(looks > places.len() * 2 && rows >= places.len(), "{kind}: only {looks} looks at {rows} batches");
}

#[test]
fn verify_names_a_file_that_is_lost_doubled_or_changed_and_fails() {
    // D-70 on parquet-local, delta-local
    let tried = tried!();
    let api = api_with(Pages::Token, PAGE, versions());
    for kind in Kind::LOCAL {
        for (what, says) in [("lost", "is missing"), ("doubled", "but no record names it"), ("changed", "its SHA-256 differs")] {
            let project = tried.table(kind, &api, PAGE).merging();
            run(&project);
            highwater(&project, &["verify"]).run().expect_code(0);
            // A Delta table keeps what a merge took out of it for readers of older versions.
            let live = std::fs::read_to_string(project.at("lake/_highwater/items/current.json")).unwrap();
            let is_live = |name: &str| live.contains(Path::new(name).file_name().unwrap().to_str().unwrap());
            let files = look(&project.at("lake/items"));
            let file = std::path::PathBuf::from(
                &files.iter().find(|(name, _)| name.contains("2026-02") && is_live(name)).expect("a file").0,
            );
            let named = match what {
                "lost" => {
                    std::fs::remove_file(&file).unwrap();
                    file
                }
                "doubled" => {
                    let copy = file.with_file_name("copy.parquet");
                    std::fs::copy(&file, &copy).unwrap();
                    copy
                }
                _ => {
                    let mut bytes = std::fs::read(&file).unwrap();
                    bytes[40] ^= 1;
                    std::fs::write(&file, bytes).unwrap();
                    file
                }
            };
            let ended = highwater(&project, &["verify", "--json"]).run().expect_code(1).json();
            let problems = ended[0]["problems"].as_array().unwrap();
            let is_it = |text: &str| text.contains(&*named.to_string_lossy()) && text.contains(says);
            assert!(
                problems.len() == 1 && problems.iter().all(|text| is_it(text.as_str().unwrap())),
                "{kind} {what}: {problems:#?}"
            );
        }
    }
}
