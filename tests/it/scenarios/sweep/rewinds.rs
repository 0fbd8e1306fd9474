//! Reading again by hand, killed anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use highwater::error::ErrorKind;
use highwater::fault::{FaultPlan, Guards};
use highwater::run::{Rewind, RewindKind, RunOptions};

use super::life::{Fixture, Home, listing};
use super::{SIDES, assert_right, block_on, effects, in_parallel, kill, placed};
use crate::world::dice::Dice;

pub(super) fn options(what: RewindKind) -> RunOptions {
    let rewind = Rewind { what, set: None, may_empty: true, may_lose: 0, asked_by: "the sweep".to_owned(), why: None };
    RunOptions { rewind: Some(rewind), ..RunOptions::default() }
}

pub(super) fn range() -> RunOptions {
    let bound = |text: &str| text.parse().ok();
    options(RewindKind::Range { from: bound("2026-01-02T06:00:00Z"), to: bound("2026-01-03T06:00:00Z") })
}

/// A table that is loaded as it was, and then told to be read again: each effect of that is the last one once. What is left must
/// settle into the same rows, and asking once more must too.
pub(super) fn rewind_sweep(before: &Fixture, fixture: &Fixture, home: fn() -> Home, options: &RunOptions) -> Vec<String> {
    let none = || Arc::new(FaultPlan::none());
    let log = block_on(async {
        let home = home();
        before.live(&home, &none(), Guards::standing()).await.expect("a clean load");
        let counting = none();
        let report = fixture.live_with(&home, &counting, Guards::standing(), options).await.expect("a clean rewind");
        assert!(report.rewound.is_some() && report.failed.is_empty(), "{report:?}");
        counting.log()
    });
    assert!(log.len() > 10, "only {} effects: {log:#?}", log.len());
    let places: Vec<_> = (1..=log.len() as u64).flat_map(|at| SIDES.map(|side| (at, side))).collect();
    in_parallel(&places, async |(at, side)| {
        let home = home();
        before.live(&home, &none(), Guards::standing()).await.expect("a clean load");
        drop(fixture.live_with(&home, &kill(*at, *side), Guards::standing(), options).await);
        let mut wrong = match fixture.live_with(&home, &none(), Guards::standing(), options).await {
            Ok(report) if report.failed.is_empty() => Vec::new(),
            other => vec![format!("it does not recover: {other:?}")],
        };
        wrong.extend(fixture.recover_and_check(&home, Guards::standing()).await);
        // A state that is lost learns all of it from the log.
        if let Some(amnesiac) = home.amnesiac() {
            wrong.extend(fixture.recover_and_check(&amnesiac, Guards::standing()).await);
        }
        wrong.into_iter().map(|text| format!("killed {side:?} effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
    })
}

/// The same, killed again in the life that goes on with it, at an effect chosen by seed. That life asks for the rewind once more, or
/// is one that knows nothing of it; half of the states are lost then, and learn all from the log.
pub(super) fn double_rewind_sweep(before: &Fixture, fixture: &Fixture, home: fn() -> Home, options: &RunOptions, seed: u64) {
    let none = || Arc::new(FaultPlan::none());
    let log = block_on(async {
        let (home, counting) = (home(), none());
        before.live(&home, &none(), Guards::standing()).await.expect("a clean load");
        fixture.live_with(&home, &counting, Guards::standing(), options).await.expect("a clean rewind");
        counting.log()
    });
    let mut dice = Dice::new(seed);
    let chosen =
        |at| (at, SIDES[dice.below(2) as usize], 1 + dice.below(log.len() as u64 * 2 / 3), SIDES[dice.below(2) as usize]);
    let places: Vec<_> = (1..=log.len() as u64).step_by(3).map(chosen).collect();
    let died = AtomicUsize::new(0);
    assert_right(&in_parallel(&places, async |(at, side, second, second_side)| {
        let home = home();
        before.live(&home, &none(), Guards::standing()).await.expect("a clean load");
        drop(fixture.live_with(&home, &kill(*at, *side), Guards::standing(), options).await);
        let again = kill(*second, *second_side);
        match second % 2 == 0 {
            true => drop(fixture.live_with(&home, &again, Guards::standing(), options).await),
            false => drop(fixture.live(&home, &again, Guards::standing()).await),
        }
        died.fetch_add(usize::from(again.is_dead()), Ordering::SeqCst);
        let home = home.amnesiac().filter(|_| at % 4 == 1).unwrap_or(home);
        let mut wrong = Vec::new();
        // Asked for once more, it would read again what is missing.
        if second % 2 == 0 {
            match fixture.live_with(&home, &none(), Guards::standing(), options).await {
                Ok(report) if report.failed.is_empty() => {}
                other => wrong.push(format!("it does not recover: {other:?}")),
            }
        }
        wrong.extend(fixture.recover_and_check(&home, Guards::standing()).await);
        let place = format!(
            "seed {seed}: killed {side:?} effect {at}, `{}`, then {second_side:?} effect {second}",
            log[*at as usize - 1]
        );
        wrong.into_iter().map(|text| format!("{place}: {text}")).collect()
    }));
    let died = died.into_inner();
    assert!(died * 3 >= places.len(), "only {died} of {} lives were killed twice", places.len());
}

#[test]
fn what_reads_again_by_hand_is_killed_again_in_the_recovery() {
    // D-02, D-66, D-67
    let full = options(RewindKind::Full);
    double_rewind_sweep(&Fixture::merge(), &Fixture::merge(), Home::memory, &range(), 20_261_103);
    double_rewind_sweep(&Fixture::merge(), &Fixture::merge(), Home::memory, &full, 20_261_104);
    double_rewind_sweep(&Fixture::new(), &Fixture::new(), Home::disk, &full, 20_261_105);
}

#[test]
fn a_range_is_read_again_and_killed_anywhere() {
    // D-66, D-67
    for fixture in [Fixture::new(), Fixture::merge(), Fixture::sets()] {
        assert_right(&rewind_sweep(&fixture, &fixture, Home::memory, &range()));
    }
    assert_right(&rewind_sweep(&Fixture::merge(), &Fixture::merge(), Home::disk, &range()));
}

#[test]
fn everything_is_read_again_and_killed_anywhere() {
    // D-67
    for fixture in [Fixture::new(), Fixture::merge()] {
        assert_right(&rewind_sweep(&fixture, &fixture, Home::memory, &options(RewindKind::Full)));
    }
}

#[test]
fn lost_files_are_left_behind_and_killed_anywhere() {
    // D-67
    let none = || Arc::new(FaultPlan::none());
    let shown = |may_lose| {
        let options = options(RewindKind::Full);
        RunOptions { rewind: options.rewind.map(|rewind| Rewind { may_lose, ..rewind }), ..RunOptions::default() }
    };
    for fixture in [Fixture::new(), Fixture::merge()] {
        let lacking = async || {
            let home = Home::memory();
            fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
            let files = fixture.live_files(&home).await;
            home.store().delete(files.first().expect("a file")).await.expect("deleted");
            home
        };
        let log = block_on(async {
            let home = lacking().await;
            let before = listing(home.store().as_ref()).await;
            let refused = fixture.live_with(&home, &none(), Guards::standing(), &shown(0)).await.expect_err("nothing was shown");
            assert_eq!(refused.kind, ErrorKind::Conflict, "{refused:?}");
            let after = listing(home.store().as_ref()).await;
            assert!(before.keys().all(|path| after.contains_key(path)), "{after:?}");
            let counting = none();
            let report = fixture.live_with(&home, &counting, Guards::standing(), &shown(1)).await.expect("a clean rewind");
            assert!(report.rewound.is_some_and(|note| note.contains("lost")) && report.failed.is_empty());
            counting.log()
        });
        let places: Vec<_> = (1..=log.len() as u64).flat_map(|at| SIDES.map(|side| (at, side))).collect();
        assert_right(&in_parallel(&places, async |(at, side)| {
            let home = lacking().await;
            drop(fixture.live_with(&home, &kill(*at, *side), Guards::standing(), &shown(1)).await);
            let mut wrong = match fixture.live_with(&home, &none(), Guards::standing(), &shown(1)).await {
                Ok(report) if report.failed.is_empty() => Vec::new(),
                other => vec![format!("it does not recover: {other:?}")],
            };
            wrong.extend(fixture.recover_and_check(&home, Guards::standing()).await);
            wrong.into_iter().map(|text| format!("killed {side:?} effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
        }));
    }
}

#[test]
fn another_definition_is_loaded_anew_and_killed_anywhere() {
    // D-60, D-67
    let full = options(RewindKind::Full);
    assert_right(&rewind_sweep(&Fixture::merge().partitioned_otherwise(), &Fixture::merge(), Home::memory, &full));
    assert_right(&rewind_sweep(&Fixture::new().partitioned_otherwise(), &Fixture::new(), Home::disk, &full));
}

#[test]
fn partitions_are_edited_while_a_batch_is_under_way() {
    // D-60
    for fixture in [Fixture::new(), Fixture::new().with_delta(), Fixture::merge().with_delta()] {
        let edited = fixture.clone().partitioned_otherwise();
        let log = effects(&fixture, Home::memory, Guards::standing());
        assert_right(&in_parallel(&placed(&fixture, &log), async |(at, side)| {
            let home = Home::memory();
            drop(fixture.live(&home, &kill(*at, *side), Guards::standing()).await);
            let decided = home.store().size("_highwater/items/log/00000000000000000001.json").await.unwrap().is_some();
            let ended = edited.live(&home, &Arc::new(FaultPlan::none()), Guards::standing()).await;
            // Refused while records of the old meaning stand, else simply loaded.
            let wrong = match (decided, ended) {
                (true, Err(error)) if error.kind == ErrorKind::Config && error.to_string().contains("take the change back") => {
                    fixture.recover_and_check(&home, Guards::standing()).await
                }
                (false, Ok(_)) => edited.recover_and_check(&home, Guards::standing()).await,
                (_, other) => vec![format!("decided: {decided}, then {other:?}")],
            };
            wrong.into_iter().map(|text| format!("killed {side:?} effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
        }));
    }
}

#[test]
fn a_job_over_sets_is_killed_anywhere() {
    // D-01, D-02, D-17
    let fixture = Fixture::sets();
    assert_right(&super::sweep(&fixture, Home::memory, Guards::standing()));
    assert_right(&super::sweep(&fixture, Home::disk, Guards::standing()));
    assert_right(&super::double_sweep(&fixture, Home::memory, 20_260_105, 1));
    assert_right(&super::rival_sweep(&fixture, Guards::standing()));
}
