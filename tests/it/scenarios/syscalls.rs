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
use crate::world::oracle::Oracle;
use crate::world::program::{Ended, command, highwater};
use crate::world::project::{Project, job};
use crate::world::skip;

const PAGE: usize = 8;
const SIGKILL: i32 = 9;
/// Calls of one kind that a run makes at most.
const CALLS_MAX: usize = 400;
const KINDS: [&str; 2] = ["parquet", "delta"];

/// Ten rows, of which five have a second version in the later slice, in another month.
fn versions() -> Vec<Record> {
    [feed::plain(1, 10, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

fn newest() -> Vec<Record> {
    [feed::plain(1, 5, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

/// A project that merges two slices into a table of a kind, on disk.
fn merging(api: &FakeApi, kind: &str) -> Project {
    let project = Project::of_items(api, &Pages::Token, PAGE);
    project.edit("sinks/lake.toml", "parquet", kind);
    project.write("jobs/items.toml", &format!("{}step = \"14d\"\n", job("").replace("2026-01-01", "2026-01-31")));
    project.edit("jobs/items.toml", "mode = \"append\"", "mode = \"merge\"");
    project
}

fn expect(oracle: &mut Oracle, name: &str, kind: &str, project: &Project, truth: &[Record]) {
    let table = project.at("lake/items");
    match kind {
        "delta" => oracle.expect_delta(name, &serde_json::json!(table), truth),
        _ => oracle.expect(name, &table, truth),
    };
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
    let oracle = Oracle::new();
    if oracle.is_none() {
        skip(test, "the independent readers are not installed");
    }
    oracle
}

#[test]
fn a_process_is_killed_at_its_nth_system_call() {
    // D-04
    if prepared("a_process_is_killed_at_its_nth_system_call").is_none() {
        return;
    }
    const NAMES: &str = "link,linkat,rename,renameat,renameat2";
    const FOLDERS: &str = "unlink,unlinkat,rmdir,mkdir,mkdirat";
    // Of a Delta table's folders, of syncs and of writes some: there are many, and what lies between two of them is alike.
    let series = [
        ("parquet", NAMES, 1),
        ("parquet", FOLDERS, 2),
        ("delta", NAMES, 1),
        ("delta", FOLDERS, 4),
        ("parquet", "fsync,fdatasync", 9),
        ("delta", "pwrite64", 9),
    ];
    let api = api_with(Pages::Token, PAGE, versions());
    let (next, lakes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((kind, calls, step)) = series.get(next.fetch_add(1, Ordering::SeqCst)) {
            for at in (1..CALLS_MAX).step_by(*step) {
                let project = merging(&api, kind);
                let inject = format!("inject={calls}:signal=KILL:when={at}");
                let died = traced(&project, &["-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &inject]);
                let name = format!("{kind} killed at call {at} of {calls}");
                run(&project);
                highwater(&project, &["verify"]).run().expect_code(0);
                lakes.lock().unwrap().push((name, *kind, project));
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
        some.iter().for_each(|(name, kind, project)| expect(&mut oracle, name, kind, project, &newest()));
        oracle.check();
    }
}

#[test]
fn a_folder_that_cannot_be_made_durable_decides_nothing() {
    // D-05
    let Some(mut oracle) = prepared("a_folder_that_cannot_be_made_durable_decides_nothing") else { return };
    let api = api_with(Pages::Token, PAGE, feed::plain(1, 10, "2026-02-01T00:00:00Z"));
    let folders = ["_highwater/items/log", "items", "items/_delta_log", "_highwater/items", "_highwater/items/staging"];
    let mut projects = Vec::new();
    for (kind, folder) in KINDS.into_iter().flat_map(|kind| folders.map(|folder| (kind, folder))) {
        let project = merging(&api, kind);
        run(&project);
        projects.push((kind, folder, project));
    }
    api.add_records("items", feed::plain(6, 10, "2026-03-01T00:10:00Z"));
    api.set_now("2026-03-02T00:00:00Z");
    for (kind, folder, project) in &projects {
        let name = format!("{kind}: no fsync of {folder}");
        let before = mark(project);
        let path = project.at("lake").join(folder);
        let options = ["-o", "/dev/null", "-P", &path.to_string_lossy(), "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"];
        let ended = traced(project, &options);
        let decides = *folder == "_highwater/items/log" || *kind == "delta" && *folder == "items/_delta_log";
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
        expect(&mut oracle, &name, kind, project, &truth);
    }
    oracle.check();
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
    // D-11, D-12
    if !traces("every_file_is_durable_before_it_has_its_name_and_its_folder_after") {
        return;
    }
    let api = api_with(Pages::Token, PAGE, versions());
    for kind in KINDS {
        let trace = |mutant: Option<&str>| {
            let project = merging(&api, kind);
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
    // D-08
    let api = api_with(Pages::Token, PAGE, versions());
    let project = merging(&api, "parquet");
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let status = command(&project, &["run", "items"]).stderr(full()).stdout(std::process::Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(run(&project)["commits"], 0);
    // Whoever reads the report must not take a part of it for the whole.
    let status = command(&project, &["run", "items", "--json"]).stdout(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
    highwater(&project, &["verify"]).run().expect_code(0);
}

#[test]
fn a_process_that_gets_no_more_handles_decides_nothing_that_is_not_whole() {
    // D-09
    let Some(mut oracle) = prepared("a_process_that_gets_no_more_handles_decides_nothing_that_is_not_whole") else { return };
    let api = api_with(Pages::Token, PAGE, versions());
    let mut projects = Vec::new();
    let ends: Vec<Option<i32>> = [12, 16, 20, 24, 28, 32, 40, 1024]
        .into_iter()
        .map(|handles| {
            let project = merging(&api, "parquet");
            let limit = format!("ulimit -n {handles}; exec \"$0\" \"$@\"");
            let ended = highwater(&project, &["run", "items"]).under(&["sh", "-c", &limit]).run();
            run(&project);
            highwater(&project, &["verify"]).run().expect_code(0);
            expect(&mut oracle, &format!("{handles} handles"), "parquet", &project, &newest());
            projects.push(project);
            ended.code
        })
        .collect();
    assert!(ends[0] != Some(0) && ends.last() == Some(&Some(0)), "{ends:?}");
    oracle.check();
}

#[test]
fn a_process_is_killed_at_any_moment() {
    // D-10: what the kernel does where memory runs out.
    let Some(mut oracle) = Oracle::new() else {
        return skip("a_process_is_killed_at_any_moment", "the independent readers are not installed");
    };
    let api = api_with(Pages::Token, PAGE, versions());
    let mut dice = Dice::new(20_260_110);
    let mut kept = Vec::new();
    for kind in KINDS {
        let project = merging(&api, kind);
        let mut killed = 0;
        for _ in 0..20 {
            // Each life has all of it to read again.
            let mut child = command(&project, &["run", "items", "--full", "--yes"]);
            let mut child = child.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(10 + dice.below(150)));
            child.kill().unwrap();
            killed += usize::from(child.wait().unwrap().code().is_none());
        }
        println!("{kind}: killed {killed} of 20 lives");
        assert!(killed > 0, "{kind}: every life ended by itself: this shows nothing");
        run(&project);
        highwater(&project, &["verify"]).run().expect_code(0);
        expect(&mut oracle, kind, kind, &project, &newest());
        kept.push(project);
    }
    oracle.check();
}

/// Every Parquet file below a folder, as a reader's glob finds it at this moment, with the batches of its rows.
fn look(folder: &Path) -> Vec<(String, Vec<String>)> {
    use arrow::array::AsArray;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
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
            if path.extension().is_none_or(|extension| extension != "parquet") {
                continue;
            }
            let name = path.to_string_lossy().into_owned();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes));
            let reader = reader.unwrap_or_else(|error| panic!("{name} is torn: {error}")).build().unwrap();
            let mut batches = Vec::new();
            for rows in reader.map(Result::unwrap) {
                let column = arrow::compute::cast(rows.column_by_name("_hw_commit").unwrap(), &arrow::datatypes::DataType::Utf8);
                batches.extend(column.unwrap().as_string::<i32>().iter().flatten().map(str::to_owned));
            }
            found.push((name, batches));
        }
    }
    found
}

#[test]
fn who_polls_a_folder_sees_whole_files_of_decided_batches_alone() {
    // D-68
    let api = api_with(Pages::Token, PAGE, versions());
    let log = super::kill::effects(&merging(&api, "parquet"));
    let writes = ["put_absent", "store.publish", "store.put ", "store.delete", "state.advance"];
    let places: Vec<usize> = (1..=log.len()).filter(|at| writes.iter().any(|verb| log[at - 1].contains(verb))).collect();
    assert!(places.len() >= 10, "{log:#?}");
    let mut looks = 0;
    for (at, side) in places.iter().zip(["before", "after"].into_iter().cycle()) {
        let project = merging(&api, "parquet");
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let poller = scope.spawn(|| {
                let mut seen: BTreeSet<String> = BTreeSet::new();
                let mut looks = 0;
                while !done.load(Ordering::SeqCst) {
                    seen.extend(look(&project.at("lake/items")).into_iter().flat_map(|(_, batches)| batches));
                    looks += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                (seen, looks)
            });
            highwater(&project, &["run", "items"]).env("HIGHWATER_FAULT", &format!("kill-{side}:{at}")).run();
            run(&project);
            done.store(true, Ordering::SeqCst);
            poller.join().expect("no file was torn")
        });
        looks += seen.1;
        let decided: String = project
            .listing("lake/_highwater/items/log")
            .into_keys()
            .map(|name| std::fs::read_to_string(project.at(&name)).unwrap())
            .collect();
        let stray: Vec<&String> = seen.0.iter().filter(|batch| !decided.contains(*batch)).collect();
        assert!(stray.is_empty(), "killed {side} effect {at}, `{}`: rows of {stray:?}, which nobody decided", log[at - 1]);
    }
    assert!(looks > places.len() * 4, "only {looks} looks");
}

#[test]
fn verify_names_a_file_that_is_lost_doubled_or_changed_and_fails() {
    // D-70
    let api = api_with(Pages::Token, PAGE, versions());
    for kind in KINDS {
        for (what, says) in [("lost", "is missing"), ("doubled", "but no record names it"), ("changed", "its SHA-256 differs")] {
            let project = merging(&api, kind);
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
