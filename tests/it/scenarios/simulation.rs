//! The program's own way from lease to commit in worlds of chance: store, state, source and clocks are simulated, and every seed is a
//! history of its own that comes out the same each time.
//!
//! A history has a source that changes (inserts, updates, ties, deletes, moves across partitions, rows that a filter lets go and takes
//! back, rows that come late but within `lookback`), one writer or two of the same job that take turns at their effects, with one state
//! or one each, kills on either side of an effect, errors and lost answers, clocks that are minutes off, states that are lost or put
//! back, files that are joined and tables that go back. In the end the table must be what the source has, once each.
//!
//! `HIGHWATER_TEST_HISTORIES` says how many seeds (5,000), `HIGHWATER_TEST_SEED` where they begin. With `HIGHWATER_TEST_SIMULATION`, a
//! folder, they are told of as they come, and the same folder again goes on from there.

mod history;
mod source;
mod table;
mod turns;
mod witness;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use highwater::fault::Guards;
use serde::{Deserialize, Serialize};

use super::sweep::in_parallel_until;
use crate::world::setting;
use history::{Told, live};

const SEEDS: u64 = 5_000;
/// Seeds that are told of together.
const CHUNK: u64 = 500;
/// Seeds within which a guard that is gone must be missed.
const MUTANT_SEEDS: u64 = 300;

/// How far a series got.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Progress {
    first: u64,
    seeds: u64,
    commits: u64,
    kills: u64,
    faults: u64,
    lost: u64,
    doubled: u64,
    violations: u64,
}

impl Progress {
    fn add(&mut self, told: &Told) {
        let count = |word: &str| told.wrong.iter().filter(|text| text.contains(word)).count() as u64;
        self.seeds += 1;
        self.commits += told.commits;
        self.kills += told.kills;
        self.faults += told.faults;
        self.lost += count(" is lost");
        self.doubled += count(" is doubled") + count(" was decided ");
        self.violations += u64::from(!told.wrong.is_empty());
    }

    fn text(&self) -> String {
        let Progress { first, seeds, commits, kills, faults, lost, doubled, violations } = self;
        format!(
            "{seeds} seeds from {first} on: {commits} commits, {kills} kills, {faults} other faults; {lost} rows lost, {doubled} doubled, {violations} seeds with violations"
        )
    }
}

/// What is wrong with a seed, and how to see it again.
fn explain(seed: u64, told: &Told) -> Vec<String> {
    if told.wrong.is_empty() {
        return Vec::new();
    }
    let again = format!("HIGHWATER_TEST_SEED={seed} HIGHWATER_TEST_HISTORIES=1 cargo test --test it simulation::");
    vec![format!("seed {seed}:\n  {}\n{}\nagain: {again}", told.wrong.join("\n  "), told.plan.join("\n"))]
}

/// Lives through seeds on two threads, with `first` no further than to the first violation.
fn series(seeds: &[u64], guards: Guards, first: bool, progress: &mut Progress) -> Vec<String> {
    let counted = Mutex::new(std::mem::take(progress));
    let found = in_parallel_until(seeds, first, async |seed| {
        let told = live(*seed, guards).await;
        counted.lock().unwrap().add(&told);
        explain(*seed, &told)
    });
    *progress = counted.into_inner().unwrap();
    found
}

/// A long series in a folder, chunk by chunk.
fn long_series(folder: &Path, first: u64, count: u64) {
    std::fs::create_dir_all(folder).unwrap();
    let file = folder.join("progress.json");
    let kept = std::fs::read(&file).ok().map(|bytes| serde_json::from_slice::<Progress>(&bytes).unwrap());
    let mut progress = kept.unwrap_or(Progress { first, ..Progress::default() });
    while progress.seeds < count {
        let from = progress.first + progress.seeds;
        let seeds: Vec<u64> = (from..from + CHUNK.min(count - progress.seeds)).collect();
        let found = series(&seeds, Guards::standing(), false, &mut progress);
        if !found.is_empty() {
            let path = folder.join(format!("violations-{from}.txt"));
            std::fs::write(&path, found.join("\n\n")).unwrap();
            println!("{}", found.join("\n\n"));
        }
        std::fs::write(folder.join("next.json"), serde_json::to_vec(&progress).unwrap()).unwrap();
        std::fs::rename(folder.join("next.json"), &file).unwrap();
        println!("{}", progress.text());
    }
    assert_eq!(progress.violations, 0, "{}", progress.text());
}

/// Some seed must be red without a guard, and green with it.
fn assert_missed(guards: Guards, what: &str) {
    let seeds: Vec<u64> = (1..=MUTANT_SEEDS).collect();
    let found = in_parallel_until(&seeds, true, async |seed| {
        let told = live(*seed, guards).await;
        let is_guarded = told.wrong.is_empty() || live(*seed, Guards::standing()).await.wrong.is_empty();
        if is_guarded { explain(*seed, &told) } else { Vec::new() }
    });
    assert!(!found.is_empty(), "{MUTANT_SEEDS} seeds stay green with {what}: it guards nothing");
    println!("missed: {}", found[0]);
}

#[test]
fn random_histories_end_as_the_source_once_each() {
    // C-04, C-05, C-06, C-48, C-50, C-67, D-01, D-02, D-14, D-15, D-16, D-17, D-30, D-34, D-39, D-40, D-56, D-57
    let number = |name: &str, default: u64| setting(name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (first, count) = (number("HIGHWATER_TEST_SEED", 1), number("HIGHWATER_TEST_HISTORIES", SEEDS));
    if let Some(folder) = setting("HIGHWATER_TEST_SIMULATION") {
        return long_series(&PathBuf::from(folder), first, count);
    }
    let seeds: Vec<u64> = (first..first + count).collect();
    let mut progress = Progress { first, ..Progress::default() };
    let found = series(&seeds, Guards::standing(), true, &mut progress);
    println!("{}", progress.text());
    assert!(found.is_empty(), "{}\n{}", progress.text(), found.join("\n\n"));
}

#[test]
fn seeds_that_were_red_once_are_green() {
    // C-06, D-30: what one state alone knew to be read was looked back over from the end of what the other had read behind a hole.
    let found = series(&[19_906, 42_500, 52_179], Guards::standing(), false, &mut Progress::default());
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[test]
fn a_seed_is_the_same_history_each_time() {
    // D-57
    let seeds: Vec<u64> = (1..=60).collect();
    let found = in_parallel_until(&seeds, false, async |seed| {
        let (one, other) = (live(*seed, Guards::standing()).await, live(*seed, Guards::standing()).await);
        assert!(!one.effects.is_empty());
        // Delta's kernel reads the files of its log in any order.
        if one.is_delta {
            return Vec::new();
        }
        let differs = one.effects.iter().zip(&other.effects).position(|(one, other)| one != other);
        let differs = differs.map(|at| format!("effect {at}: {}, then {}", one.effects[at], other.effects[at]));
        if one == other { Vec::new() } else { vec![format!("seed {seed} is two histories: {differs:?}\n{:?}", one.plan)] }
    });
    assert!(found.is_empty(), "{} of {}:\n{}", found.len(), seeds.len(), found.join("\n"));
}

#[test]
fn without_put_if_absent_the_simulation_is_red() {
    // D-44
    assert_missed(Guards { put_if_absent: false, ..Guards::standing() }, "decisions that overwrite");
}

#[test]
fn with_the_state_before_publication_the_simulation_is_red() {
    // D-44
    assert_missed(Guards { publish_before_state: false, ..Guards::standing() }, "the state before publication");
}
