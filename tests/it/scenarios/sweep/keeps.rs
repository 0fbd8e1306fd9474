//! What left a table and comes back, killed anywhere.

use std::sync::Arc;

use highwater::config::catalog::Job;
use highwater::fault::{FaultPlan, Guards};
use highwater::run::{self, Collected, Heap, Ports, RewindKind, RunError, RunOptions};
use highwater::store::Store;
use jiff::SignedDuration;

use super::life::{Fixture, Home, listing};
use super::rewinds::{double_rewind_sweep, options, rewind_sweep};
use super::{SIDES, assert_right, block_on, in_parallel, kill};

fn none() -> Arc<FaultPlan> {
    Arc::new(FaultPlan::none())
}

async fn go_back(fixture: &Fixture, home: &Home, to: u64) -> Result<run::RunReport, RunError> {
    fixture.live_with(home, &none(), Guards::standing(), &options(RewindKind::Rollback(to))).await
}

#[test]
fn a_rollback_is_killed_anywhere() {
    // D-01, D-67
    let back = options(RewindKind::Rollback(1));
    for fixture in [Fixture::new(), Fixture::merge(), Fixture::sets()] {
        assert_right(&rewind_sweep(&fixture, &fixture, Home::memory, &back));
    }
    assert_right(&rewind_sweep(&Fixture::merge(), &Fixture::merge(), Home::disk, &back));
}

#[test]
fn a_rollback_is_killed_again_in_the_recovery() {
    // D-02, D-67
    let back = options(RewindKind::Rollback(1));
    double_rewind_sweep(&Fixture::merge(), &Fixture::merge(), Home::memory, &back, 20_261_106);
    double_rewind_sweep(&Fixture::new(), &Fixture::new(), Home::disk, &back, 20_261_107);
}

#[test]
fn a_table_goes_back_and_forth_and_back_again() {
    // D-67
    for fixture in [Fixture::new(), Fixture::merge()] {
        for home in [Home::memory(), Home::disk()] {
            block_on(async {
                fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
                for (to, days) in [(1, 1), (3, 4), (2, 2), (4, 1), (3, 4)] {
                    let report = go_back(&fixture, &home, to).await.expect("gone back");
                    assert!(report.rewound.is_some());
                    assert_right(&fixture.clone().first_days(days).compare_now(&home).await);
                }
                let report = go_back(&fixture, &home, 3).await.expect("asked again");
                assert!(report.rewound.is_some_and(|text| text.ends_with("it was so already")));
                go_back(&fixture, &home, 1).await.expect("gone back");
                assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
            });
        }
    }
}

#[test]
fn what_is_gone_for_good_is_not_gone_back_to() {
    block_on(async {
        let fixture = Fixture::merge();
        let home = Home::memory();
        fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
        let store = home.store();
        let kept: Vec<String> = listing(store.as_ref()).await.into_keys().filter(|path| path.contains("/history/")).collect();
        assert!(!kept.is_empty());
        for path in &kept {
            store.delete(path).await.expect("deleted");
        }
        let before = listing(store.as_ref()).await;
        let refused = go_back(&fixture, &home, 1).await.expect_err("gone");
        assert!(refused.to_string().contains("gone for good"), "{refused}");
        assert_eq!(listing(store.as_ref()).await, before);
        let refused = go_back(&fixture, &home, 9).await.expect_err("no such record");
        assert!(refused.to_string().contains("there is no record 9"), "{refused}");

        // Without a history nothing is kept, and so nothing comes back.
        let mut fixture = Fixture::merge();
        fixture.job().keep.history = SignedDuration::ZERO;
        let home = Home::memory();
        fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
        assert!(!listing(home.store().as_ref()).await.into_keys().any(|path| path.contains("/history/")));
        let refused = go_back(&fixture, &home, 1).await.expect_err("gone");
        assert!(refused.to_string().contains("gone for good"), "{refused}");
    });
}

pub(super) async fn collect(
    fixture: &Fixture,
    home: &Home,
    plan: &Arc<FaultPlan>,
    guards: Guards,
    dry_run: bool,
) -> Result<Collected, RunError> {
    let asked = RunOptions::default();
    fixture.with_ports(home, plan, guards, &asked, async |job, ports| run::collect(job, ports, dry_run).await).await
}

const NOBODY: &str = "00000000-0000-7000-8000-00000000abcd";

/// What runs that came to nothing may leave behind: a staged object, and a file that was published too late.
pub(super) async fn litter(store: &dyn Store) -> [String; 2] {
    let litter =
        [format!("_highwater/items/staging/{NOBODY}/0000.staged"), format!("items/kind=a/part-{:020}-0000-{NOBODY}.parquet", 1)];
    for path in &litter {
        store.put(path, "litter".into()).await.expect("put");
    }
    litter
}

/// A table whose every object is old enough.
fn aged() -> Fixture {
    let mut fixture = Fixture::merge();
    fixture.job().keep.gc_min_age = SignedDuration::ZERO;
    fixture
}

#[test]
fn garbage_is_taken_away_and_nothing_else() {
    // D-69, D-37
    block_on(async {
        let home = Home::memory();
        let store = home.store();
        Fixture::merge().live(&home, &none(), Guards::standing()).await.expect("a clean load");
        let clean = listing(store.as_ref()).await;
        let litter = litter(store.as_ref()).await;
        // Not ours, and of a rival that decided meanwhile.
        let others = ["items/mine.parquet".to_owned(), format!("items/part-{:020}-0000-{NOBODY}.parquet", 99)];
        for path in &others {
            store.put(path, "other".into()).await.expect("put");
        }
        let all = listing(store.as_ref()).await;

        let collected = collect(&Fixture::merge(), &home, &none(), Guards::standing(), false).await.expect("collected");
        assert_eq!(collected, Collected::default(), "all of it is young");
        let collected = collect(&aged(), &home, &none(), Guards::standing(), true).await.expect("looked");
        let one = Heap { objects: 1, bytes: 6 };
        assert_eq!(collected, Collected { staged: one.clone(), orphans: one, history: Heap::default() });
        assert_eq!(listing(store.as_ref()).await, all, "a dry run takes nothing");

        assert_eq!(collect(&aged(), &home, &none(), Guards::standing(), false).await.expect("collected"), collected);
        for path in &others {
            store.delete(path).await.expect("deleted");
        }
        assert_eq!(listing(store.as_ref()).await, clean, "{litter:?}");

        let mut fixture = aged();
        fixture.job().keep.history = SignedDuration::from_nanos(1);
        let kept = clean.keys().filter(|path| path.contains("/history/")).count() as u64;
        let collected = collect(&fixture, &home, &none(), Guards::standing(), false).await.expect("collected");
        assert!(kept > 0 && collected.history.objects == kept, "{collected:?}");
        assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
    });
}

#[test]
fn a_collection_is_killed_anywhere() {
    // D-01, D-02, D-69: after a load that was killed where its files were staged, noted or decided; every other collection is killed
    // again where it goes on.
    let mut fixture = aged();
    fixture.job().keep.history = SignedDuration::from_nanos(1);
    let count = |at: u64| {
        block_on(async {
            let (home, plan) = (Home::memory(), none());
            drop(fixture.live(&home, &kill(at, SIDES[0]), Guards::standing()).await);
            collect(&fixture, &home, &plan, Guards::standing(), false).await.expect("a clean collection");
            plan.count()
        })
    };
    let loads = [20, 35, 50, 65, 80];
    let places: Vec<_> =
        loads.iter().flat_map(|load| (1..=count(*load)).flat_map(move |at| SIDES.map(|side| (*load, at, side)))).collect();
    assert_right(&in_parallel(&places, async |(load, at, side)| {
        let home = Home::memory();
        drop(fixture.live(&home, &kill(*load, SIDES[0]), Guards::standing()).await);
        // Where nothing was decided yet, what lies in the table's folder is not known to be ours, and is refused.
        let first = format!("_highwater/{}/log/{:020}.json", fixture.dataset(), 1);
        if home.store().size(&first).await.expect("looked").is_some() {
            litter(home.store().as_ref()).await;
        }
        drop(collect(&fixture, &home, &kill(*at, *side), Guards::standing(), false).await);
        if at % 2 == 0 {
            drop(collect(&fixture, &home, &kill(1 + at * 7 % 11, SIDES[1]), Guards::standing(), false).await);
        }
        let mut wrong = match collect(&fixture, &home, &none(), Guards::standing(), false).await {
            Ok(_) => Vec::new(),
            Err(error) => vec![format!("it does not go on: {error}")],
        };
        for path in litter(home.store().as_ref()).await {
            home.store().delete(&path).await.expect("deleted");
        }
        wrong.extend(fixture.recover_and_check(&home, Guards::standing()).await);
        wrong.into_iter().map(|text| format!("load killed at {load}, collection {side:?} {at}: {text}")).collect()
    }));
}

#[test]
fn an_index_that_somebody_edited_costs_no_file() {
    // D-69
    block_on(async {
        let home = Home::memory();
        let store = home.store();
        Fixture::merge().live(&home, &none(), Guards::standing()).await.expect("a clean load");
        let path = "_highwater/items/current.json";
        let bytes = store.get(path, u64::MAX).await.expect("read").expect("there");
        let mut index: serde_json::Value = serde_json::from_slice(&bytes).expect("json");
        index["files"] = serde_json::json!({});
        store.put(path, index.to_string().into()).await.expect("edited");
        let collected = collect(&aged(), &home, &none(), Guards::standing(), false).await.expect("collected");
        assert_eq!(collected.orphans, Heap::default());
        assert_right(&Fixture::merge().compare_now(&home).await);
    });
}

#[test]
fn a_collector_without_its_guards_is_noticed() {
    // D-44, D-69
    block_on(async {
        let home = Home::memory();
        Fixture::merge().live(&home, &none(), Guards::standing()).await.expect("a clean load");
        litter(home.store().as_ref()).await;
        let guards = Guards { young_is_live: false, ..Guards::standing() };
        let collected = collect(&Fixture::merge(), &home, &none(), guards, true).await.expect("looked");
        assert!(collected.objects() > 0, "what is young is taken without the guard");
        let guards = Guards { named_is_live: false, ..Guards::standing() };
        collect(&aged(), &home, &none(), guards, false).await.expect("collected");
        assert!(!Fixture::merge().compare_now(&home).await.is_empty(), "the table is right without the guard");
    });
}

#[test]
fn a_state_is_rebuilt_from_the_lake_alone() {
    // D-40
    block_on(async {
        for fixture in [Fixture::new(), Fixture::merge(), Fixture::sets()] {
            let home = Home::disk();
            fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
            let asked = RunOptions::default();
            let again = async |job: &Job, ports: &Ports| run::rebuild(job, ports).await;
            let rebuilt = fixture.with_ports(&home, &none(), Guards::standing(), &asked, again).await.expect("rebuilt");
            assert!(rebuilt.seq > 0 && rebuilt.seq == rebuilt.seq_before && rebuilt.mark.is_some(), "{rebuilt:?}");
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);

            // A log that is broken teaches nothing, and what was known stays known.
            let store = home.store();
            let first = format!("_highwater/{}/log/{:020}.json", fixture.dataset(), 1);
            store.put(&first, "{}".into()).await.expect("spoilt");
            fixture.with_ports(&home, &none(), Guards::standing(), &asked, again).await.expect_err("spoilt");
            let look = async |job: &Job, ports: &Ports| Ok(ports.state.dataset(&job.dataset).await.expect("known"));
            let known = fixture.with_ports(&home, &none(), Guards::standing(), &asked, look).await;
            assert_eq!(known.expect("known").map(|state| state.seq), Some(rebuilt.seq));
        }
    });
}
