//! Reading again by hand, killed anywhere.

use std::sync::Arc;

use highwater::error::ErrorKind;
use highwater::fault::{FaultPlan, Guards};
use highwater::run::{Rewind, RewindKind, RunOptions};

use super::life::{Fixture, Home};
use super::{SIDES, assert_right, block_on, effects, in_parallel, kill, placed};

pub(super) fn options(what: RewindKind) -> RunOptions {
    let rewind = Rewind { what, set: None, may_empty: true, asked_by: "the sweep".to_owned(), why: None };
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
