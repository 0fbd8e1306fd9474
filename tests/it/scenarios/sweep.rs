//! The crash sweep: every effect of a run is the last one once, before it happens and after, and what is left must settle.
//!
//! The oracle here reads Parquet with the `parquet` crate alone; tests/oracle reads a part of the lakes with DuckDB and pyarrow.

mod keeps;
mod kinds;
mod life;
mod recounts;
mod rewinds;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use highwater::fault::{Ending, FaultPlan, Guards, Side};

use crate::world::dice::Dice;
use life::{Fixture, Home};

const SIDES: [Side; 2] = [Side::Before, Side::After];
/// Effects that the fixture must have at least, so that the sweep is one.
const EFFECTS_MIN: u64 = 30;

/// A rival lives within a life of ours: two programs on one stack, bytes.
const STACK: usize = 8 << 20;

/// Runs `work` for every item on two threads, each with a runtime of its own; what it returns is gathered.
fn in_parallel<T: Send + Sync>(items: &[T], work: impl AsyncFn(&T) -> Vec<String> + Sync) -> Vec<String> {
    in_parallel_until(items, false, work)
}

/// The same, with `first` no further than to the first that anything is found at: a mutant is killed once.
pub(super) fn in_parallel_until<T: Send + Sync>(
    items: &[T],
    first: bool,
    work: impl AsyncFn(&T) -> Vec<String> + Sync,
) -> Vec<String> {
    let enough = AtomicBool::new(false);
    let half = items.len().div_ceil(2).max(1);
    std::thread::scope(|scope| {
        let (work, enough) = (&work, &enough);
        let threads: Vec<_> = items
            .chunks(half)
            .map(|items| {
                let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let mut found = Vec::new();
                        for item in items {
                            if first && enough.load(Ordering::Relaxed) {
                                break;
                            }
                            found.extend(work(item).await);
                            enough.fetch_or(!found.is_empty(), Ordering::Relaxed);
                        }
                        found
                    })
                });
                thread.unwrap()
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The names of a clean run's effects.
fn effects(fixture: &Fixture, home: fn() -> Home, guards: Guards) -> Vec<String> {
    block_on(async {
        let plan = Arc::new(FaultPlan::none());
        let report = fixture.live(&home(), &plan, guards).await.expect("a clean run");
        assert!(report.failed.is_empty(), "{:?}", report.failed);
        plan.log()
    })
}

/// The effects to stop at. A Delta table is made of what every table is made of, whose sweeps go over all of it: with one, those
/// count that decide, publish or write, for each of its many readings of a log costs a life that shows nothing new.
fn places(fixture: &Fixture, log: &[String]) -> Vec<u64> {
    const WRITES: [&str; 4] = ["store.put_absent ", "store.publish ", "store.put ", "state.advance"];
    let counts = |name: &str| !fixture.is_delta() || WRITES.iter().any(|verb| name.starts_with(verb));
    let places: Vec<u64> = log.iter().zip(1..).filter(|(name, _)| counts(name)).map(|(_, at)| at).collect();
    assert!(places.len() >= 10, "{log:#?}");
    places
}

/// The same on both sides of each.
fn placed(fixture: &Fixture, log: &[String]) -> Vec<(u64, Side)> {
    places(fixture, log).into_iter().flat_map(|at| SIDES.map(|side| (at, side))).collect()
}

fn kill(at: u64, side: Side) -> Arc<FaultPlan> {
    Arc::new(FaultPlan::kill(at, side, Ending::InProcess))
}

/// Every effect, both sides, killed once: what is wrong afterwards, a line each.
fn sweep(fixture: &Fixture, home: fn() -> Home, guards: Guards) -> Vec<String> {
    let log = effects(fixture, home, guards);
    sweep_at(fixture, home, guards, &log, &placed(fixture, &log))
}

/// The same for a Delta table with a third of the effects that only read.
fn sweep_more(fixture: &Fixture, home: fn() -> Home) -> Vec<String> {
    let log = effects(fixture, home, Guards::standing());
    let mut places = placed(fixture, &log);
    let known: Vec<u64> = places.iter().map(|(at, _)| *at).collect();
    let others = (1..=log.len() as u64).filter(|at| !known.contains(at)).step_by(3);
    places.extend(others.flat_map(|at| SIDES.map(|side| (at, side))));
    places.sort_by_key(|(at, _)| *at);
    sweep_at(fixture, home, Guards::standing(), &log, &places)
}

fn sweep_at(fixture: &Fixture, home: fn() -> Home, guards: Guards, log: &[String], places: &[(u64, Side)]) -> Vec<String> {
    assert!(log.len() as u64 >= EFFECTS_MIN, "only {} effects: {log:#?}", log.len());
    in_parallel_until(places, guards != Guards::ALL, async |(at, side)| {
        let home = home();
        drop(fixture.live(&home, &kill(*at, *side), guards).await);
        let wrong = fixture.recover_and_check(&home, guards).await;
        wrong.into_iter().map(|text| format!("killed {side:?} effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
    })
}

/// The same, with a second kill in the recovery, at `samples` effects chosen by seed for each place of the first.
fn double_sweep(fixture: &Fixture, home: fn() -> Home, seed: u64, samples: u64) -> Vec<String> {
    let log = effects(fixture, home, Guards::standing());
    let mut dice = Dice::new(seed);
    let mut places = Vec::new();
    // Of a Delta table's every third.
    for at in self::places(fixture, &log).into_iter().step_by(if fixture.is_delta() { 3 } else { 1 }) {
        for side in SIDES {
            let seconds: Vec<_> = (0..samples).map(|_| (dice.next(), SIDES[dice.below(2) as usize])).collect();
            places.push((at, side, seconds));
        }
    }
    in_parallel(&places, async |(at, side, seconds)| {
        // How long the recovery is, is known only once it was run undisturbed.
        let rehearsal = home();
        drop(fixture.live(&rehearsal, &kill(*at, *side), Guards::standing()).await);
        let counting = Arc::new(FaultPlan::none());
        drop(fixture.live(&rehearsal, &counting, Guards::standing()).await);
        let mut found = Vec::new();
        for (chance, second_side) in seconds {
            let second = 1 + chance % counting.count().max(1);
            let home = home();
            drop(fixture.live(&home, &kill(*at, *side), Guards::standing()).await);
            drop(fixture.live(&home, &kill(second, *second_side), Guards::standing()).await);
            let wrong = fixture.recover_and_check(&home, Guards::standing()).await;
            let place = format!("seed {seed}: killed {side:?} effect {at}, then {second_side:?} effect {second} of the recovery");
            found.extend(wrong.into_iter().map(|text| format!("{place}: {text}")));
        }
        found
    })
}

/// A rival with a state of its own commits to the same table just before each effect of ours.
fn rival_sweep(fixture: &Fixture, guards: Guards) -> Vec<String> {
    let log = effects(fixture, Home::memory, guards);
    in_parallel_until(&places(fixture, &log), guards != Guards::ALL, async |at| {
        let wrong = beside_a_rival(fixture, Home::memory(), guards, FaultPlan::none(), *at).await;
        wrong.into_iter().map(|text| format!("a rival before effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
    })
}

/// A rival's run that ends well, for a place in another's where it comes first.
fn run_of(fixture: &Fixture, rival: &Home) -> Arc<life::Meanwhile> {
    let (fixture, rival) = (fixture.clone(), rival.clone());
    Arc::new(life::Meanwhile::new(Box::pin(async move {
        fixture.live(&rival, &Arc::new(FaultPlan::none()), Guards::standing()).await.expect("the rival's run");
    })))
}

/// The rival commits just before the effect of this number.
async fn beside_a_rival(fixture: &Fixture, home: Home, guards: Guards, plan: FaultPlan, at: u64) -> Vec<String> {
    let rival = home.rival();
    let meanwhile = {
        let (fixture, rival) = (fixture.clone(), rival.clone());
        Arc::new(life::Meanwhile::new(Box::pin(async move {
            drop(fixture.live(&rival, &Arc::new(FaultPlan::none()), guards).await);
        })))
    };
    let plan = plan.delay(at, std::time::Duration::from_secs(1), meanwhile);
    drop(fixture.live(&home, &Arc::new(plan), guards).await);
    let mut wrong = fixture.recover_and_check(&home, guards).await;
    wrong.extend(fixture.recover_and_check(&rival, guards).await);
    wrong
}

/// A writer is paused just before it writes its first index, and does that when a rival has gone on: the writer dies of it, and what
/// is left is looked at by readers, and then by the rival, whose state knows of nothing amiss.
fn index_put_back(fixture: &Fixture) -> Vec<String> {
    let log = effects(fixture, Home::memory, Guards::standing());
    let at = log.iter().position(|name| name == "store.put _highwater/items/current.json").expect("an index") as u64 + 1;
    block_on(async {
        let none = || Arc::new(FaultPlan::none());
        let home = Home::memory();
        let rival = home.rival();
        let meanwhile = run_of(fixture, &rival);
        let plan = FaultPlan::kill(at + 1, Side::Before, Ending::InProcess);
        let plan = plan.delay(at, std::time::Duration::from_secs(1), meanwhile);
        drop(fixture.live(&home, &Arc::new(plan), Guards::standing()).await);
        let mut wrong = Vec::new();
        if life::index_of_another(home.store().as_ref()).await.is_none() {
            wrong.push("the index was not put back: this shows nothing".to_owned());
        }
        // Readers go by the log; only the recount tells.
        let found = fixture.compare_now(&home).await;
        if found.len() != 1 || !found[0].contains("current.json` is of record 1, the log ends at 3") {
            wrong.push(format!("it is not told: {found:?}"));
        }
        wrong.extend(fixture.read_by_index(&home).await);
        // A run that finds nothing to do.
        fixture.live(&rival, &none(), Guards::standing()).await.expect("a run");
        wrong.extend(life::index_of_another(home.store().as_ref()).await);
        wrong.extend(fixture.recover_and_check(&home, Guards::standing()).await);
        wrong
    })
}

/// Every effect is told as failed once, in each way that there is.
fn fail_in_passing(fixture: &Fixture) -> Vec<String> {
    let log = effects(fixture, Home::memory, Guards::standing());
    fail_at(fixture, Home::memory, &log, &places(fixture, &log))
}

fn fail_at(fixture: &Fixture, home: fn() -> Home, log: &[String], places: &[u64]) -> Vec<String> {
    let places: Vec<(u64, usize)> = places.iter().flat_map(|at| (0..3).map(move |kind| (*at, kind))).collect();
    in_parallel(&places, async |(at, kind)| {
        let plan = FaultPlan::none();
        let plan = match kind {
            0 => plan.error_at(*at),
            1 => plan.error_after(*at),
            _ => plan.lie_exists(*at),
        };
        let home = home();
        drop(fixture.live(&home, &Arc::new(plan), Guards::standing()).await);
        let wrong = fixture.recover_and_check(&home, Guards::standing()).await;
        wrong.into_iter().map(|text| format!("effect {at}, `{}`, failed in way {kind}: {text}", log[*at as usize - 1])).collect()
    })
}

fn assert_right(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} violations, the first:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
}

fn assert_red(wrong: &[String], mutant: &str) {
    assert!(!wrong.is_empty(), "the sweep stays green with {mutant}: it guards nothing");
}

#[test]
fn killed_anywhere_in_memory() {
    // D-01
    assert_right(&sweep(&Fixture::new(), Home::memory, Guards::standing()));
}

#[test]
fn killed_anywhere_on_disk() {
    // D-01
    assert_right(&sweep(&Fixture::new(), Home::disk, Guards::standing()));
}

#[test]
fn a_merge_is_killed_anywhere() {
    // D-01, D-02, D-17
    let fixture = Fixture::merge();
    assert_right(&sweep(&fixture, Home::memory, Guards::standing()));
    assert_right(&sweep(&fixture, Home::disk, Guards::standing()));
    assert_right(&double_sweep(&fixture, Home::memory, 20_260_103, 1));
    assert_right(&rival_sweep(&fixture, Guards::standing()));
}

#[test]
fn a_replacement_is_killed_anywhere() {
    // D-01, D-02
    let fixture = Fixture::replace();
    assert_right(&sweep(&fixture, Home::memory, Guards::standing()));
    assert_right(&double_sweep(&fixture, Home::memory, 20_260_104, 1));
}

#[test]
fn a_delta_table_is_killed_wherever_it_is_written() {
    // D-01
    assert_right(&sweep_more(&Fixture::new().with_delta(), Home::disk));
    assert_right(&sweep(&Fixture::merge().with_delta(), Home::memory, Guards::standing()));
    assert_right(&sweep(&Fixture::replace().with_delta(), Home::memory, Guards::standing()));
}

#[test]
fn a_delta_table_is_killed_again_in_the_recovery() {
    // D-02
    assert_right(&double_sweep(&Fixture::merge().with_delta(), Home::memory, 20_260_105, 1));
}

#[test]
fn a_rival_commits_to_a_delta_table_in_between_anywhere() {
    // D-17, D-30
    assert_right(&rival_sweep(&Fixture::merge().with_delta(), Guards::standing()));
}

#[test]
fn every_effect_on_a_delta_table_fails_in_passing_once() {
    // D-13, D-14, D-15, D-16
    assert_right(&fail_in_passing(&Fixture::merge().with_delta()));
}

#[test]
fn killed_anywhere_and_again_in_the_recovery() {
    // D-02
    assert_right(&double_sweep(&Fixture::new(), Home::memory, 20_260_101, 2));
}

#[test]
fn killed_on_disk_and_again_in_the_recovery() {
    // D-02
    assert_right(&double_sweep(&Fixture::new(), Home::disk, 20_260_102, 1));
}

#[test]
fn a_rival_commits_in_between_anywhere() {
    // D-17, D-30
    assert_right(&rival_sweep(&Fixture::new(), Guards::standing()));
}

#[test]
fn a_file_that_a_rival_replaced_before_it_was_read_is_a_lost_race_and_no_failure() {
    // D-30
    let fixture = Fixture::merge();
    let log = effects(&fixture, Home::memory, Guards::standing());
    let places = (1..).zip(&log).filter(|(_, name)| name.starts_with("store.get_range items/")).map(|(at, _)| at);
    let places: Vec<u64> = places.collect();
    assert!(places.len() > 2, "{log:#?}");
    assert_right(&in_parallel(&places, async |at| {
        let home = Home::memory();
        let rival = home.rival();
        let meanwhile = run_of(&fixture, &rival);
        let plan = FaultPlan::none().delay(*at, std::time::Duration::from_secs(1), meanwhile);
        let failed = match fixture.live(&home, &Arc::new(plan), Guards::standing()).await {
            Ok(report) => report.failed.iter().map(|failure| format!("{failure:?}")).collect(),
            Err(error) => vec![error.to_string()],
        };
        let wrong = fixture.recover_and_check(&home, Guards::standing()).await;
        failed.into_iter().chain(wrong).map(|text| format!("a rival before effect {at}: {text}")).collect()
    }));
}

#[test]
fn an_index_that_a_slow_writer_puts_back_misleads_nobody_and_is_mended() {
    // D-30, D-33
    for fixture in [Fixture::new(), Fixture::merge(), Fixture::merge().with_delta()] {
        assert_right(&index_put_back(&fixture));
    }
}

#[test]
fn every_effect_fails_in_passing_once() {
    // D-14, D-15: told as an error, on either side of the effect. D-16: told as a conflict though nothing is there.
    assert_right(&fail_in_passing(&Fixture::new()));
}

#[test]
fn without_put_if_absent_the_sweep_is_red() {
    // D-44
    for fixture in [Fixture::new(), Fixture::merge().with_delta()] {
        let guards = Guards { put_if_absent: false, ..Guards::standing() };
        assert_red(&rival_sweep(&fixture, guards), "decisions that overwrite");
    }
}

#[test]
fn with_the_state_before_publication_the_sweep_is_red() {
    // D-44
    let guards = Guards { publish_before_state: false, ..Guards::standing() };
    for fixture in [Fixture::new(), Fixture::merge().with_delta()] {
        assert_red(&sweep(&fixture, Home::memory, guards), "the state before publication");
    }
}

#[test]
fn without_coverage_the_sweep_is_red() {
    // D-44
    let guards = Guards { record_coverage: false, ..Guards::standing() };
    for fixture in [Fixture::new(), Fixture::new().with_delta()] {
        assert_red(&sweep(&fixture, Home::memory, guards), "coverage that is not recorded");
    }
}

#[test]
fn a_state_that_is_gone_or_old_adopts_what_the_lake_has() {
    let fixture = Fixture::new();
    let half = effects(&fixture, Home::disk, Guards::standing()).len() as u64 / 2;
    block_on(async {
        let none = Arc::new(FaultPlan::none());
        // D-40
        let home = Home::memory();
        fixture.live(&home, &none, Guards::standing()).await.expect("a clean run");
        let amnesiac = home.rival();
        assert_right(&fixture.recover_and_check(&amnesiac, Guards::standing()).await);

        // D-39: the backup is from half way.
        let home = Home::disk();
        drop(fixture.live(&home, &kill(half, Side::Before), Guards::standing()).await);
        let backup = home.copy_of_state();
        assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        home.put_state(&backup);
        assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
    });
}

#[test]
fn a_record_that_is_found_is_made_durable_before_anything_is_built_upon_it() {
    // D-11: who decided it may have died before its folder was.
    let fixture = Fixture::new();
    let log = effects(&fixture, Home::memory, Guards::standing());
    let decided = log.iter().position(|name| name.starts_with("store.put_absent _highwater/items/log/")).expect("a decision");
    block_on(async {
        let home = Home::memory();
        drop(fixture.live(&home, &kill(decided as u64 + 1, Side::After), Guards::standing()).await);
        let next = Arc::new(FaultPlan::none());
        fixture.live(&home, &next, Guards::standing()).await.expect("a run");
        let log = next.log();
        let place = |verb: &str| log.iter().position(|name| name.starts_with(verb));
        let found = place("store.get _highwater/items/log/").expect("it was looked for");
        let kept = place("store.sync _highwater/items/log/").expect("it was made durable");
        let seen = place("store.publish items/").expect("its files were published");
        assert!(found < kept && kept < seen, "{log:#?}");
    });
}

#[test]
fn a_slice_without_rows_is_covered_without_a_decision_of_its_own() {
    // D-61: it waits in the state, and the next record names it.
    let fixture = Fixture::new().first_days(2);
    let log = effects(&fixture, Home::memory, Guards::standing());
    assert_eq!(log.iter().filter(|name| name.starts_with("store.put_absent _highwater/items/log/")).count(), 2, "{log:#?}");
    assert_right(&sweep(&fixture, Home::memory, Guards::standing()));
    block_on(async {
        let none = || Arc::new(FaultPlan::none());
        let (whole, home) = (Home::memory(), Home::memory());
        let all = Fixture::new().live(&whole, &none(), Guards::standing()).await.expect("a run").mark;
        let report = fixture.live(&home, &none(), Guards::standing()).await.expect("a run");
        assert!(report.empty_slices > 0 && report.mark == all && all.is_some(), "{report:?}");
    });
}

#[test]
fn a_lake_that_lost_its_end_is_noticed_and_read_again() {
    // D-41
    let fixture = Fixture::new();
    let half = effects(&fixture, Home::memory, Guards::standing()).len() as u64 / 2;
    block_on(async {
        let home = Home::memory();
        drop(fixture.live(&home, &kill(half, Side::Before), Guards::standing()).await);
        let backup = home.copy_of_lake().await;
        assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
        home.put_lake(&backup).await;
        let report = fixture.live(&home, &Arc::new(FaultPlan::none()), Guards::standing()).await.expect("a run");
        assert!(report.recovered.iter().any(|text| text.contains("lost")), "{:?}", report.recovered);
        assert_right(&fixture.recover_and_check(&home, Guards::standing()).await);
    });
}
