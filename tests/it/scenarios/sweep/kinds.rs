//! The same on real stores, for every kind of table, at some of the effects: in memory all of them are tried, and the machine does not
//! know where it writes; here the folder and the S3 server have their say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use highwater::config::catalog::TableFormat;
use highwater::error::ErrorKind;
use highwater::fault::{Ending, FaultPlan, Guards, Side};
use highwater::run::{Collected, RewindKind};
use jiff::SignedDuration;

use super::keeps::{collect, litter};
use super::life::{Fixture, listing};
use super::recounts::{edit, lose_double_and_change, problems};
use super::rewinds::{options, range};
use super::{SIDES, assert_right, beside_a_rival, block_on, effects, fail_at, in_parallel, kill};
use crate::world::dice::Dice;
use crate::world::kind::{Kind, prepared, tried};

fn none() -> Arc<FaultPlan> {
    Arc::new(FaultPlan::none())
}

/// Two days of versions: the second rewrites files of the first.
fn small() -> Fixture {
    Fixture::merge().first_days(2)
}

/// The effects that decide, show or note something, of which every so many.
fn some(log: &[String], one_of: usize) -> Vec<u64> {
    const WRITES: [&str; 6] =
        ["store.put_absent ", "store.publish ", "store.put ", "store.delete ", "state.note", "state.advance"];
    let writes = |name: &String| WRITES.iter().any(|verb| name.starts_with(verb));
    let places: Vec<u64> = (1..).zip(log).filter(|(_, name)| writes(name)).map(|(at, _)| at).step_by(one_of).collect();
    assert!(places.len() >= 3, "{log:#?}");
    places
}

/// A Delta table's kernel reads its log in a number of effects that differs from life to life: these are counted by their names.
const DECISION: &str = "store.put_absent _highwater/items/log/";
const COMMIT: &str = "store.put_absent items/_delta_log/";
const PUBLICATION: &str = "store.publish items/";

fn killed_at(number: u64, side: Side, name: &str) -> Arc<FaultPlan> {
    Arc::new(FaultPlan::kill(number, side, Ending::InProcess).of(name))
}

#[test]
fn tables_of_every_kind_are_killed_again_in_the_recovery() {
    // D-02 on every kind
    let Some(_) = prepared("tables_of_every_kind_are_killed_again_in_the_recovery") else { return };
    let tried = tried!();
    let mut dice = Dice::new(20_261_127);
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        let log = effects(&fixture, home, Guards::standing());
        let mut chosen =
            |at| (at, SIDES[dice.below(2) as usize], 1 + dice.below(log.len() as u64 / 3), SIDES[dice.below(2) as usize]);
        let places: Vec<_> = some(&log, 7).into_iter().map(&mut chosen).collect();
        let died = AtomicUsize::new(0);
        assert_right(&in_parallel(&places, async |(at, side, second, second_side)| {
            let home = home();
            drop(fixture.live(&home, &kill(*at, *side), Guards::standing()).await);
            let again = kill(*second, *second_side);
            drop(fixture.live(&home, &again, Guards::standing()).await);
            died.fetch_add(usize::from(again.is_dead()), Ordering::SeqCst);
            let wrong = fixture.recover_and_check(&home, Guards::standing()).await;
            let place = format!("killed {side:?} effect {at}, `{}`, then {second_side:?} effect {second}", log[*at as usize - 1]);
            wrong.into_iter().map(|text| format!("{place}: {text}")).collect()
        }));
        assert!(died.into_inner() * 2 >= places.len(), "most recoveries went through");
    }
}

#[test]
fn effects_on_folders_fail_in_passing() {
    // D-13, D-14, D-15, D-16, D-19 on parquet-local, delta-local: told as an error on either side of the effect, or as a conflict.
    // A rename whose answer is lost has taken its origin away.
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::LOCAL) {
        let log = effects(&fixture, home, Guards::standing());
        assert_right(&fail_at(&fixture, home, &log, &some(&log, 5)));
        let names = [DECISION, PUBLICATION, COMMIT];
        let names = if fixture.is_delta() { &names[..] } else { &names[..2] };
        for (name, way) in names.iter().flat_map(|name| (0..3).map(move |way| (name, way))) {
            let plan = FaultPlan::none().of(name);
            let plan = match way {
                0 => plan.error_at(2),
                1 => plan.error_after(2),
                _ => plan.lie_exists(2),
            };
            assert_right(&block_on(async {
                let home = home();
                drop(fixture.live(&home, &Arc::new(plan), Guards::standing()).await);
                fixture.recover_and_check(&home, Guards::standing()).await
            }));
        }
    }
}

#[test]
fn a_rival_commits_to_tables_of_every_kind_in_between() {
    // D-17, D-30 on every kind
    let Some(_) = prepared("a_rival_commits_to_tables_of_every_kind_in_between") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        let mut places = vec![(DECISION, 1), (DECISION, 2), (PUBLICATION, 1), ("state.advance", 1)];
        places.extend(fixture.is_delta().then_some((COMMIT, 2)));
        assert_right(&in_parallel(&places, async |(name, number)| {
            let plan = FaultPlan::none().of(name);
            let wrong = beside_a_rival(&fixture, home(), Guards::standing(), plan, *number).await;
            wrong.into_iter().map(|text| format!("a rival before `{name}` {number}: {text}")).collect()
        }));
    }
}

#[test]
fn staged_files_of_tables_of_every_kind_vanish_or_are_torn() {
    // D-20 on every kind
    // D-21 on every kind: a byte is swallowed, and all is said to be well.
    let Some(_) = prepared("staged_files_of_tables_of_every_kind_vanish_or_are_torn") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        block_on(async {
            for all in [false, true] {
                let home = home();
                drop(fixture.live(&home, &killed_at(2, Side::After, DECISION), Guards::standing()).await);
                let staged = home.store().list("_highwater/items/staging").await.expect("listed");
                for file in &staged[..if all { staged.len() } else { 1 }] {
                    home.store().delete(&file.path).await.expect("deleted");
                }
                let report = fixture.live(&home, &none(), Guards::standing()).await.expect("a run");
                assert!(report.recovered.iter().any(|text| text.contains("voided")), "{:?}", report.recovered);
                assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
            }
            let home = home();
            let report = fixture.live(&home, &Arc::new(FaultPlan::none().cut_in("/staging/")), Guards::standing()).await;
            assert!(report.is_err() || report.is_ok_and(|report| !report.failed.is_empty()), "it is noticed");
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        });
    }
}

#[test]
fn states_and_tables_of_every_kind_come_back_from_backups() {
    // D-39, D-40, D-41 on every kind
    let Some(_) = prepared("states_and_tables_of_every_kind_come_back_from_backups") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        block_on(async {
            let home = home();
            drop(fixture.live(&home, &killed_at(2, Side::Before, DECISION), Guards::standing()).await);
            let (state, lake) = (home.copy_of_state(), home.copy_of_lake().await);
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
            // The state is old, then gone.
            home.put_state(&state);
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
            assert_right(&fixture.recover_and_check(&home.rival(), Guards::standing()).await);
            // The lake is old.
            home.put_lake(&lake).await;
            let report = fixture.live(&home, &none(), Guards::standing()).await.expect("a run");
            assert!(report.recovered.iter().any(|text| text.contains("lost")), "{:?}", report.recovered);
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        });
    }
}

#[test]
fn a_recount_of_tables_of_every_kind_names_what_was_done_to_them() {
    // D-43, D-70 on every kind
    let Some(_) = prepared("a_recount_of_tables_of_every_kind_names_what_was_done_to_them") else { return };
    let tried = tried!();
    let record = |seq: u64| format!("_highwater/items/log/{seq:020}.json");
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        block_on(async {
            let home = home();
            fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
            let whole = home.copy_of_lake().await;
            lose_double_and_change(&fixture, &home, &whole).await;
            // Changed, then cut off: a run refuses what a recount names.
            edit(home.store().as_ref(), &record(1), "\"job\": \"items\"", "\"job\": \"other\"").await;
            let found = problems(&fixture, &home).await;
            assert!(found.len() == 1 && found[0].contains("record 2 does not follow record 1"), "{found:#?}");
            home.put_lake(&whole).await;
            edit(home.store().as_ref(), &record(2), "}", "").await;
            let refused = fixture.live(&home, &none(), Guards::standing()).await.expect_err("a record that was cut");
            assert!(refused.to_string().contains("the log was edited"), "{refused}");
            home.put_lake(&whole).await;
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        });
    }
}

#[test]
fn partitions_of_tables_of_every_kind_are_edited_while_a_batch_is_under_way() {
    // D-60 on every kind
    let Some(_) = prepared("partitions_of_tables_of_every_kind_are_edited_while_a_batch_is_under_way") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        let edited = fixture.clone().partitioned_otherwise();
        for side in SIDES {
            assert_right(&block_on(async {
                let home = home();
                drop(fixture.live(&home, &killed_at(1, side, DECISION), Guards::standing()).await);
                let ended = edited.live(&home, &none(), Guards::standing()).await;
                // Refused once a record of the old meaning stands, else simply loaded.
                match (side == SIDES[1], ended) {
                    (true, Err(error)) if error.kind == ErrorKind::Config => {
                        fixture.recover_and_check(&home, Guards::standing()).await
                    }
                    (false, Ok(_)) => edited.recover_and_check(&home, Guards::standing()).await,
                    (_, other) => vec![format!("killed {side:?} the decision, then {other:?}")],
                }
            }));
        }
    }
}

#[test]
fn slices_of_tables_of_every_kind_are_empty() {
    // D-61 on every kind
    let Some(_) = prepared("slices_of_tables_of_every_kind_are_empty") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        block_on(async {
            let home = home();
            let report = fixture.live(&home, &none(), Guards::standing()).await.expect("a run");
            assert!(report.empty_slices > 0, "{report:?}");
            assert_eq!(report.mark.map(|mark| mark.to_string()).as_deref(), Some("2026-01-04T11:59:00Z"));
            let log = home.store().list("_highwater/items/log").await.expect("listed");
            assert_eq!(log.len(), 2, "nothing is decided of what is empty: {log:?}");
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        });
    }
}

#[test]
fn tables_of_every_kind_are_read_again_and_killed() {
    // D-66, D-67 on every kind
    let Some(_) = prepared("tables_of_every_kind_are_read_again_and_killed") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        for again in [range(), options(RewindKind::Full)] {
            assert_right(&in_parallel(&SIDES, async |side| {
                let home = home();
                fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
                let killed = killed_at(1, *side, DECISION);
                drop(fixture.live_with(&home, &killed, Guards::standing(), &again).await);
                assert!(killed.is_dead(), "it leaves a record");
                let ended = fixture.live_with(&home, &none(), Guards::standing(), &again).await;
                let mut wrong = match ended {
                    Ok(report) if report.failed.is_empty() => Vec::new(),
                    other => vec![format!("it does not recover: {other:?}")],
                };
                wrong.extend(fixture.recover_and_check(&home, Guards::standing()).await);
                wrong
            }));
        }
    }
}

#[test]
fn garbage_of_tables_of_every_kind_is_taken_away_and_nothing_else() {
    // D-69 on every kind
    let Some(_) = prepared("garbage_of_tables_of_every_kind_is_taken_away_and_nothing_else") else { return };
    let tried = tried!();
    for (fixture, home) in small().of_kinds(&tried, &Kind::ALL) {
        let mut aged = fixture.clone();
        aged.job().keep.gc_min_age = SignedDuration::ZERO;
        block_on(async {
            let home = home();
            fixture.live(&home, &none(), Guards::standing()).await.expect("a clean load");
            let clean = listing(home.store().as_ref()).await;
            let litter = litter(home.store().as_ref()).await;
            let young = collect(&fixture, &home, &none(), Guards::standing(), false).await.expect("collected");
            assert_eq!(young, Collected::default(), "all of it is young");
            let taken = collect(&aged, &home, &none(), Guards::standing(), false).await.expect("collected");
            assert_eq!(taken.staged.objects, 1, "{taken:?}");
            // What lies in a Delta table's folder may be another's who writes to it.
            let is_delta = fixture.clone().job().sink.format == TableFormat::Delta;
            assert_eq!(taken.orphans.objects, u64::from(!is_delta), "{taken:?}");
            if is_delta {
                home.store().delete(&litter[1]).await.expect("deleted");
            }
            assert_eq!(listing(home.store().as_ref()).await, clean);
            assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        });
    }
}
