//! Files that are joined and partitions that grow old, between runs: killed anywhere, beside a rival, with answers that are lost.

use std::sync::Arc;

use highwater::error::ErrorKind;
use highwater::fault::{FaultPlan, Guards};
use highwater::run::{self, Compacted, Effort, RewindKind, RunError, RunOptions};
use highwater::sink::live::live_table;
use highwater::stop::Stop;

use super::life::{Fixture, Home, listing};
use super::rewinds::options;
use super::{SIDES, assert_red, assert_right, block_on, in_parallel_until, kill, life};
use crate::world::dice::Dice;

fn none() -> Arc<FaultPlan> {
    Arc::new(FaultPlan::none())
}

/// All that there is to do at the table, as the daemon does it.
async fn tend(fixture: &Fixture, home: &Home, plan: &Arc<FaultPlan>, guards: Guards) -> Result<Compacted, RunError> {
    let asked = RunOptions::default();
    let work = async |job: &_, ports: &_| run::tend(job, ports, Some(Effort::all(false))).await;
    fixture.with_ports(home, plan, guards, &asked, work).await.map(|(_, compacted, _)| compacted)
}

/// The table as a run leaves it: two files a day and kind, nothing too old yet.
async fn loaded(fixture: &Fixture, home: Home) -> Home {
    fixture.clone().keeping_all().live(&home, &none(), Guards::standing()).await.expect("a clean load");
    home
}

/// A loaded table, of which each life gets a copy, and the names of the effects of a clean turn.
fn base(fixture: &Fixture, home: fn() -> Home) -> (Home, Vec<String>) {
    block_on(async {
        let (base, plan) = (loaded(fixture, home()).await, none());
        let compacted = tend(fixture, &base.fork(), &plan, Guards::standing()).await.expect("a clean turn");
        assert!(compacted.files_before >= 2 * compacted.files_after && compacted.files_after > 0, "{compacted:?}");
        (base, plan.log())
    })
}

/// The effects to stop at: all that change something, and some of those that only read.
fn places(fixture: &Fixture, log: &[String]) -> Vec<u64> {
    const READS: [&str; 6] = ["store.get ", "store.get_range ", "store.size ", "store.list ", "state.dataset", "state.open"];
    // A Delta log is read again and again, and its table is made of what every table is made of.
    let every = if fixture.is_delta() { u64::MAX } else { 7 };
    let counts = |name: &str, at: u64| at % every == 1 || !READS.iter().any(|verb| name.starts_with(verb));
    let places: Vec<u64> = log.iter().zip(1..).filter(|(name, at)| counts(name, *at)).map(|(_, at)| at).collect();
    assert!(places.len() >= 20, "{log:#?}");
    places
}

/// What is wrong once a run and a turn came to their good end: the turn first, or the run.
async fn settle_and_check(fixture: &Fixture, home: &Home, guards: Guards, turn_first: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !turn_first && let Err(error) = fixture.live(home, &none(), guards).await {
        wrong.push(format!("the run fails: {error}"));
    }
    if let Err(error) = tend(fixture, home, &none(), guards).await {
        wrong.push(format!("the turn is not gone on with: {error}"));
    }
    wrong.extend(fixture.recover_and_check(home, guards).await);
    match tend(fixture, home, &none(), guards).await {
        Ok(done) if done == Compacted::default() => {}
        other => wrong.push(format!("one more turn: {other:?}")),
    }
    wrong
}

/// Every effect of a turn is the last one once.
fn upkeep_sweep(fixture: &Fixture, home: fn() -> Home, guards: Guards) -> Vec<String> {
    let (base, log) = base(fixture, home);
    let at: Vec<_> = places(fixture, &log).into_iter().flat_map(|at| SIDES.map(|side| (at, side))).collect();
    in_parallel_until(&at, guards != Guards::ALL, async |(at, side)| {
        let home = base.fork();
        drop(tend(fixture, &home, &kill(*at, *side), guards).await);
        let wrong = settle_and_check(fixture, &home, guards, at % 2 == 0).await;
        wrong.into_iter().map(|text| format!("killed {side:?} effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
    })
}

/// The same, with a second kill in the turn that follows, at an effect chosen by seed; half of the states are lost then, and learn all
/// from the log.
fn double_upkeep_sweep(fixture: &Fixture, home: fn() -> Home, seed: u64) -> Vec<String> {
    let (base, log) = base(fixture, home);
    let mut dice = Dice::new(seed);
    let places = places(fixture, &log).into_iter().step_by(2);
    let at: Vec<_> = places.map(|at| (at, 1 + dice.below(log.len() as u64), dice.below(2) as usize)).collect();
    in_parallel_until(&at, false, async |(at, second, side)| {
        let home = base.fork();
        drop(tend(fixture, &home, &kill(*at, SIDES[1 - side]), Guards::standing()).await);
        drop(tend(fixture, &home, &kill(*second, SIDES[*side]), Guards::standing()).await);
        let home = home.amnesiac().filter(|_| at % 2 == 0).unwrap_or(home);
        let wrong = settle_and_check(fixture, &home, Guards::standing(), second % 2 == 0).await;
        wrong.into_iter().map(|text| format!("seed {seed}: killed at {at}, then at {second}: {text}")).collect()
    })
}

/// Every effect is told as failed once, in one of the ways that there are.
fn fail_in_passing(fixture: &Fixture) -> Vec<String> {
    let (base, log) = base(fixture, Home::memory);
    let at: Vec<_> = places(fixture, &log).into_iter().enumerate().map(|(number, at)| (at, number % 3)).collect();
    in_parallel_until(&at, false, async |(at, way)| {
        let home = base.fork();
        let plan = match way {
            0 => FaultPlan::none().error_at(*at),
            1 => FaultPlan::none().error_after(*at),
            _ => FaultPlan::none().lie_exists(*at),
        };
        drop(tend(fixture, &home, &Arc::new(plan), Guards::standing()).await);
        let wrong = settle_and_check(fixture, &home, Guards::standing(), at % 2 == 0).await;
        wrong.into_iter().map(|text| format!("effect {at}, `{}`, failed in way {way}: {text}", log[*at as usize - 1])).collect()
    })
}

/// A rival with a state of its own loads the last day, and does the same work, just before each effect of ours.
fn rival_sweep(fixture: &Fixture, guards: Guards) -> Vec<String> {
    let early = fixture.clone().first_days(2);
    let (base, log) = base(&early, Home::memory);
    // A rival of a Delta table is swept by its loads.
    let at: Vec<u64> = places(fixture, &log).into_iter().step_by(if fixture.is_delta() { 6 } else { 3 }).collect();
    in_parallel_until(&at, guards != Guards::ALL, async |at| {
        let home = base.fork();
        let rival = home.rival();
        let meanwhile = {
            let (fixture, rival) = (fixture.clone(), rival.clone());
            life::Meanwhile::new(Box::pin(async move {
                drop(fixture.live(&rival, &none(), guards).await);
                drop(tend(&fixture, &rival, &none(), guards).await);
            }))
        };
        let plan = FaultPlan::none().delay(*at, std::time::Duration::from_secs(1), Arc::new(meanwhile));
        drop(tend(fixture, &home, &Arc::new(plan), guards).await);
        let mut wrong = settle_and_check(fixture, &home, guards, at % 2 == 0).await;
        wrong.extend(settle_and_check(fixture, &rival, guards, at % 2 == 0).await);
        wrong.into_iter().map(|text| format!("a rival before effect {at}, `{}`: {text}", log[*at as usize - 1])).collect()
    })
}

/// Two days, of which the first is too old.
fn small(mode: &str) -> Fixture {
    Fixture::small_files(mode).first_days(2)
}

#[test]
fn work_on_files_is_killed_anywhere() {
    // D-01, D-02
    for mode in ["append", "merge"] {
        assert_right(&upkeep_sweep(&small(mode), Home::memory, Guards::standing()));
    }
    assert_right(&upkeep_sweep(&small("merge"), Home::disk, Guards::standing()));
    assert_right(&double_upkeep_sweep(&small("merge"), Home::memory, 20_261_101));
}

#[test]
fn work_on_a_delta_tables_files_is_killed_wherever_it_is_written() {
    // D-01, D-02
    assert_right(&upkeep_sweep(&small("merge").with_delta(), Home::memory, Guards::standing()));
    assert_right(&double_upkeep_sweep(&small("append").with_delta(), Home::disk, 20_261_102));
}

#[test]
fn every_effect_of_work_on_files_fails_in_passing_once() {
    // D-13, D-14, D-15, D-16
    assert_right(&fail_in_passing(&small("merge")));
    assert_right(&fail_in_passing(&small("append").with_delta()));
}

#[test]
fn a_rival_commits_in_between_work_on_files() {
    // D-17, D-30
    assert_right(&rival_sweep(&Fixture::small_files("merge"), Guards::standing()));
    assert_right(&rival_sweep(&Fixture::small_files("merge").with_delta(), Guards::standing()));
}

#[test]
fn without_its_guards_work_on_files_is_red() {
    // D-44
    // Without a fault these two are red at once; with files that stay, each further turn would only join more of them.
    let turn = |guards: Guards| {
        let fixture = small("append");
        block_on(async {
            let home = loaded(&fixture, Home::memory()).await;
            drop(tend(&fixture, &home, &none(), guards).await);
            fixture.compare_now(&home).await
        })
    };
    assert_right(&turn(Guards::standing()));
    assert_red(
        &turn(Guards { joined_leave: false, ..Guards::standing() }),
        "files that stay beside those that they were joined into",
    );
    assert_red(
        &turn(Guards { whole_is_old: false, ..Guards::standing() }),
        "partitions that are dropped before all of them is old",
    );
    let overwritten = Guards { put_if_absent: false, ..Guards::standing() };
    assert_red(&rival_sweep(&Fixture::small_files("append"), overwritten), "decisions that overwrite");
}

#[test]
fn a_table_goes_back_over_work_on_its_files() {
    // D-67
    block_on(async {
        for mode in ["append", "merge"] {
            let fixture = Fixture::small_files(mode);
            let (home, all) = (loaded(&fixture, Home::memory()).await, fixture.clone().keeping_all());
            let loaded = live_table(home.store().as_ref(), fixture.clone().job()).await.expect("read").expect("a table");
            tend(&fixture, &home, &none(), Guards::standing()).await.expect("a clean turn");
            assert_right(&fixture.compare_now(&home).await);
            let tended = live_table(home.store().as_ref(), fixture.clone().job()).await.expect("read").expect("a table");
            assert_eq!(tended.seq, loaded.seq + 2, "one record drops what is old, one joins");
            // To before both, to between them, to before, to after both.
            for (to, truth) in [(loaded.seq, &all), (loaded.seq + 1, &fixture), (loaded.seq, &all), (tended.seq, &fixture)] {
                let back = options(RewindKind::Rollback(to));
                all.live_with(&home, &none(), Guards::standing(), &back).await.expect("gone back");
                assert_right(&truth.compare_now(&home).await);
            }
            let files = live_table(home.store().as_ref(), fixture.clone().job()).await.expect("read").expect("a table").files;
            assert_eq!(files.len(), tended.files.len(), "{mode}");
            // What was dropped is covered, and stays away.
            assert_right(&settle_and_check(&fixture, &home, Guards::standing(), false).await);
        }
    });
}

#[test]
fn work_on_files_ends_when_it_is_asked_to_and_refuses_another_definition() {
    block_on(async {
        let fixture = Fixture::small_files("append").keeping_all();
        let home = loaded(&fixture, Home::memory()).await;
        let before = listing(home.store().as_ref()).await;
        let asked = RunOptions::default();
        let asked_to_stop = async |job: &_, ports: &run::Ports| {
            let stop = Stop::new();
            stop.request();
            run::compact(job, &run::Ports { stop, ..ports.clone() }, Effort::all(false)).await
        };
        let stopped = fixture.with_ports(&home, &none(), Guards::standing(), &asked, asked_to_stop).await;
        assert_eq!(stopped.expect("stopped"), Compacted { is_partial: true, ..Compacted::default() });
        let dry = async |job: &_, ports: &_| run::compact(job, ports, Effort::all(true)).await;
        let told = fixture.with_ports(&home, &none(), Guards::standing(), &asked, dry).await.expect("looked");
        assert_eq!(listing(home.store().as_ref()).await, before, "nothing was written");
        let other = fixture.clone().partitioned_otherwise();
        let refused = tend(&other, &home, &none(), Guards::standing()).await.expect_err("another definition");
        assert_eq!(refused.kind, ErrorKind::Config, "{refused}");
        let done = tend(&fixture, &home, &none(), Guards::standing()).await.expect("done");
        assert_eq!((done.files_before, done.files_after, done.rows), (told.files_before, told.files_after, told.rows));
    });
}
