//! What a recount names: a table is loaded, one thing is done to it behind the program's back; and the guards around batches whose
//! files vanish.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater::fault::{Ending, FaultPlan, Guards, Side};
use highwater::run::{self, RunOptions};
use highwater::sink::delta;
use highwater::sink::verify::verify;
use highwater::store::Store;

use super::life::{Fixture, Home, Meanwhile};
use super::{assert_right, block_on, effects};

fn none() -> Arc<FaultPlan> {
    Arc::new(FaultPlan::none())
}

fn tables() -> [Fixture; 4] {
    [Fixture::new(), Fixture::merge(), Fixture::new().with_delta(), Fixture::merge().with_delta()]
}

async fn read(store: &dyn Store, path: &str) -> Bytes {
    store.get(path, 1 << 24).await.expect("read").expect("there")
}

pub(super) async fn edit(store: &dyn Store, path: &str, from: &str, to: &str) {
    let text = String::from_utf8(read(store, path).await.to_vec()).expect("text");
    assert!(text.contains(from), "no {from} in {text}");
    store.put(path, text.replacen(from, to, 1).into()).await.expect("edited");
}

/// What `verify` says.
pub(super) async fn problems(fixture: &Fixture, home: &Home) -> Vec<String> {
    let store = home.store();
    let mut problems = verify(store.as_ref(), fixture.dataset()).await.expect("a recount").problems;
    if fixture.is_delta() {
        problems.extend(delta::verify(store, fixture.dataset()).await.expect("a recount of the Delta log"));
    }
    problems
}

async fn loaded(fixture: &Fixture) -> Home {
    let home = Home::memory();
    fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
    assert_right(&problems(fixture, &home).await);
    home
}

/// One thing is done to a file of the table at a time: a recount names that, and nothing else.
pub(super) async fn lose_double_and_change(fixture: &Fixture, home: &Home, whole: &BTreeMap<String, Bytes>) {
    for (what, says) in [
        ("lost", "is missing"),
        ("doubled", "is in the table's folder, but no record names it"),
        ("changed", "is not what was written: its SHA-256 differs"),
        ("cut", "bytes, its record says"),
    ] {
        let store = home.store();
        let path = fixture.live_files(home).await.into_iter().nth(1).expect("two files");
        let bytes = read(store.as_ref(), &path).await;
        let named = match what {
            "lost" => {
                store.delete(&path).await.expect("deleted");
                path
            }
            "doubled" => {
                let copy = path.replace("/part-", "/copy-");
                store.put(&copy, bytes).await.expect("copied");
                copy
            }
            "changed" => {
                let mut changed = bytes.to_vec();
                changed[bytes.len() / 3] ^= 1;
                store.put(&path, changed.into()).await.expect("changed");
                path
            }
            _ => {
                store.put(&path, bytes.slice(..bytes.len() - 1)).await.expect("cut");
                path
            }
        };
        let found = problems(fixture, home).await;
        let is_it = |problem: &String| problem.contains(&named) && problem.contains(says);
        assert!(found.len() == 1 && found.iter().all(is_it), "{what}: {named}: {found:#?}");
        home.put_lake(whole).await;
    }
}

#[test]
fn a_file_that_is_lost_doubled_or_changed_is_named_and_nothing_else() {
    // D-70
    block_on(async {
        for fixture in tables() {
            let home = loaded(&fixture).await;
            lose_double_and_change(&fixture, &home, &home.copy_of_lake().await).await;
        }
    });
}

#[test]
fn a_record_that_is_lost_or_changed_is_named() {
    // D-70, D-43
    let record = |seq: u64| format!("_highwater/items/log/{seq:020}.json");
    block_on(async {
        for fixture in tables() {
            let home = loaded(&fixture).await;
            edit(home.store().as_ref(), &record(1), "\"job\": \"items\"", "\"job\": \"other\"").await;
            let found = problems(&fixture, &home).await;
            assert!(found.len() == 1 && found[0].contains("record 2 does not follow record 1"), "{found:#?}");

            let home = loaded(&fixture).await;
            edit(home.store().as_ref(), &record(3), "\"kept\": ", "\"kept\": 1").await;
            let found = problems(&fixture, &home).await;
            assert!(found.iter().any(|problem| problem.contains("the counts of record 3 do not add up")), "{found:#?}");

            let home = loaded(&fixture).await;
            home.store().delete(&record(2)).await.expect("deleted");
            let found = problems(&fixture, &home).await;
            assert!(found.iter().any(|problem| problem.contains("record 2 is missing, though")), "{found:#?}");

            let home = loaded(&fixture).await;
            home.store().delete("_highwater/items/current.json").await.expect("deleted");
            let found = problems(&fixture, &home).await;
            assert!(found.len() == 1 && found[0].contains("current.json` is missing"), "{found:#?}");
        }
    });
}

#[test]
fn what_the_delta_log_has_too_much_or_too_little_is_named() {
    // D-70
    block_on(async {
        for fixture in [Fixture::new().with_delta(), Fixture::merge().with_delta()] {
            let home = loaded(&fixture).await;
            let store = home.store();
            let ours = fixture.live_files(&home).await.pop_last().expect("a file");
            let commits = store.list("items/_delta_log").await.expect("listed").len();
            let below = &ours["items/".len()..];
            let action =
                |kind: &str, path: &str, more: &str| format!("{{\"{kind}\":{{\"path\":\"{path}\",{more}\"dataChange\":true}}}}");
            let values =
                "\"partitionValues\":{\"updated_at_day\":\"2026-01-01\",\"kind\":\"a\"},\"size\":1,\"modificationTime\":1,";
            let theirs = "updated_at_day=2026-01-01/kind=a/theirs.parquet";
            let text = [action("remove", below, "\"deletionTimestamp\":1,"), action("add", theirs, values)].join("\n");
            store.put(&format!("items/_delta_log/{commits:020}.json"), text.into()).await.expect("another's commit");
            let found = problems(&fixture, &home).await;
            assert!(found.iter().any(|told| told.contains(&ours) && told.contains("does not count to readers")), "{found:#?}");
            assert!(found.iter().any(|told| told.contains(theirs) && told.contains("though no record names it")), "{found:#?}");
            assert_eq!(found.len(), 2, "{found:#?}");
        }
    });
}

/// The number of the first effect whose name contains `part`.
fn effect(fixture: &Fixture, part: &str) -> u64 {
    let log = effects(fixture, Home::memory, Guards::standing());
    log.iter().position(|name| name.contains(part)).unwrap_or_else(|| panic!("no {part} in {log:#?}")) as u64 + 1
}

/// A writer is paused before its decision; meanwhile another one with the same state settles and collects, and leaves again. The
/// paused one decides after all: whether the next run has to take that back.
async fn has_to_be_taken_back(fixture: &Fixture, at: u64, guards: Guards) -> bool {
    let home = Home::memory();
    let meanwhile = {
        let (fixture, home) = (fixture.clone(), home.clone());
        Meanwhile::new(Box::pin(async move {
            let collect = async |job: &_, ports: &_| run::collect(job, ports, false).await;
            fixture.with_ports(&home, &none(), guards, &RunOptions::default(), collect).await.expect("collected");
        }))
    };
    let plan = FaultPlan::none().delay(at, Duration::from_secs(1), Arc::new(meanwhile));
    // Its state is another's by then.
    drop(fixture.live(&home, &Arc::new(plan), guards).await);
    let report = fixture.live(&home, &none(), guards).await.expect("a run");
    assert_right(&fixture.recover_and_check(&home, guards).await);
    report.recovered.iter().any(|text| text.contains("voided"))
}

#[test]
fn a_batch_that_may_still_be_decided_keeps_its_staged_files() {
    // D-44, D-32
    let at = effect(&Fixture::new(), "store.put_absent _highwater");
    block_on(async {
        assert!(!has_to_be_taken_back(&Fixture::new(), at, Guards::standing()).await);
        let guards = Guards { staged_kept: false, ..Guards::standing() };
        assert!(has_to_be_taken_back(&Fixture::new(), at, guards).await, "the guard guards nothing");
    });
}

/// A writer is paused when its record is decided and before it is seen; meanwhile a staged file vanishes, and another writer takes
/// the record back. What is wrong when the paused one has gone on.
async fn after_a_void(fixture: &Fixture, at: u64, guards: Guards) -> Vec<String> {
    let home = Home::memory();
    let rival = home.rival();
    let meanwhile = {
        let (fixture, rival) = (fixture.clone(), rival.clone());
        Meanwhile::new(Box::pin(async move {
            let store = rival.store();
            let staged = store.list("_highwater/items/staging").await.expect("listed");
            store.delete(&staged.last().expect("staged files").path).await.expect("deleted");
            let report = fixture.live(&rival, &none(), guards).await.expect("the rival's run");
            assert!(report.recovered.iter().any(|text| text.contains("voided")), "{:?}", report.recovered);
        }))
    };
    let plan = FaultPlan::none().delay(at, Duration::from_secs(1), Arc::new(meanwhile));
    drop(fixture.live(&home, &Arc::new(plan), guards).await);
    let mut wrong = fixture.compare_now(&home).await;
    wrong.extend(fixture.recover_and_check(&rival, guards).await);
    wrong.extend(fixture.recover_and_check(&home, guards).await);
    wrong
}

#[test]
fn a_record_that_was_taken_back_leaves_nothing_to_be_published() {
    // D-20, D-44
    let at = |fixture: &Fixture| effect(fixture, "store.publish items/");
    for fixture in tables() {
        let at = at(&fixture);
        assert_right(&block_on(after_a_void(&fixture, at, Guards::standing())));
    }
    let (fixture, guards) = (Fixture::new(), Guards { void_takes_staged: false, ..Guards::standing() });
    let at = at(&fixture);
    assert!(!block_on(after_a_void(&fixture, at, guards)).is_empty(), "the guard guards nothing");
}

#[test]
fn a_batch_of_any_table_whose_staged_files_vanish_is_taken_back_and_read_again() {
    // D-20
    for fixture in tables() {
        let log = effects(&fixture, Home::memory, Guards::standing());
        let decisions: Vec<u64> = (1..)
            .zip(&log)
            .filter(|(_, name)| name.starts_with("store.put_absent _highwater/items/log/"))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(decisions.len(), 3, "{log:#?}");
        // The first record, and one that takes files out where the table is merged; the first staged file, the last one, which
        // holds dead letters if any does, and all of them.
        for (at, which) in decisions[..2].iter().flat_map(|at| ["first", "last", "all"].map(|which| (*at, which))) {
            block_on(async {
                let home = Home::memory();
                drop(
                    fixture.live(&home, &Arc::new(FaultPlan::kill(at, Side::After, Ending::InProcess)), Guards::standing()).await,
                );
                let store = home.store();
                let staged = store.list("_highwater/items/staging").await.expect("listed");
                let gone = match which {
                    "first" => &staged[..1],
                    "last" => &staged[staged.len() - 1..],
                    _ => &staged[..],
                };
                for file in gone {
                    store.delete(&file.path).await.expect("deleted");
                }
                let report = fixture.live(&home, &none(), Guards::standing()).await.expect("a run");
                assert!(report.recovered.iter().any(|text| text.contains("voided")), "{:?}", report.recovered);
                assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
            });
        }
    }
}

/// A disk or a network that swallows a byte of a staged file and says that all is well.
async fn after_a_torn_upload(guards: Guards) -> Vec<String> {
    let fixture = Fixture::new();
    let home = Home::memory();
    drop(fixture.live(&home, &Arc::new(FaultPlan::none().cut_in("/staging/")), guards).await);
    fixture.recover_and_check(&home, guards).await
}

#[test]
fn a_staged_file_that_is_not_whole_is_not_decided() {
    // D-44, D-21
    block_on(async {
        assert_right(&after_a_torn_upload(Guards::standing()).await);
        let guards = Guards { staged_verified: false, ..Guards::standing() };
        assert!(!after_a_torn_upload(guards).await.is_empty(), "the guard guards nothing");
    });
}
