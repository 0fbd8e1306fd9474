//! Limits that nobody declared and no answer tells.

use jiff::Timestamp;

use super::world::{Api, Dice, World, silent};
use super::*;
use crate::quota::account::Account;
use crate::quota::keep::{Moment, Part};

fn share_refused(world: &World, from: Duration) -> f64 {
    let after = |moments: &[Duration]| moments.iter().filter(|at| **at >= from).count() as f64;
    let (refused, taken) = (after(&world.api.refused), after(&world.api.taken));
    refused / (refused + taken).max(1.0)
}

#[test]
fn a_hidden_limit_is_found_and_kept_below() {
    //
    for windows in [&[(100, secs(1))][..], &[(20, secs(1))], &[(300, secs(10))]] {
        let mut world = World::new(Account::new(), Api::new(windows));
        world.run(8, secs(60), &silent);
        let from = world.now;
        let through: u64 = world.run(8, secs(240), &silent).iter().sum();
        let refused = share_refused(&world, from);
        assert!(refused <= 0.01, "{windows:?}: {refused}");
        let most = windows[0].0 as f64 / windows[0].1.as_secs_f64() * 240.0;
        assert!(through as f64 >= most * 0.65, "{windows:?}: {through} of {most}");
    }
}

#[test]
fn more_is_used_once_there_is_more() {
    //
    let mut world = World::new(Account::new(), Api::new(&[(50, secs(1))]));
    world.run(8, secs(120), &silent);
    world.api.windows = vec![(100, secs(1))];
    world.run(8, secs(360), &silent);
    let through: u64 = world.run(8, secs(60), &silent).iter().sum();
    assert!(through >= 60 * 60, "{through}");
}

#[test]
fn a_door_that_was_shut_for_a_while_leaves_no_pace_behind() {
    let mut world = World::new(Account::new(), Api::new(&[(0, secs(1))]));
    world.run(50, secs(6), &silent);
    world.api.windows.clear();
    let through: u64 = world.run(50, secs(60), &silent).iter().sum();
    assert!(world.account.pace.rate().is_none());
    assert!(through >= 60 * 100, "{through}");
}

#[test]
fn refusals_for_nothing_lower_no_pace_over_many_short_lives() {
    // whoever is restarted every 15 seconds never comes to try more.
    for seed in 1..5 {
        let mut world = World::new(Account::new(), Api { mood: 0.02, dice: Dice(seed), ..Api::new(&[]) });
        let mut through = 0;
        for life in 0..240 {
            let came: u64 = world.run(8, secs(15), &silent).iter().sum();
            through += if life < 120 { 0 } else { came };
            // As the ledger keeps it.
            let moment = Moment { now: world.now, wall: Timestamp::UNIX_EPOCH, uptime: None };
            let kept = serde_json::to_string(&Part::of(&world.account, true, &[], &moment)).expect("JSON");
            let part: Part = serde_json::from_str(&kept).expect("a part");
            let mut account = Account::new();
            if let Some(rate) = part.pace {
                account.pace.remember(rate, part.vain, world.now);
                account.gate.trust();
            }
            world.account = account;
        }
        println!("{seed}: {through} in the last half hour");
        assert!(through >= 1800 * 10, "{seed}: {through} in half an hour");
    }
}

#[test]
fn refusals_for_nothing_are_no_limit() {
    //
    for (mood, seed) in [(0.02, 1), (0.02, 2), (0.05, 3), (0.005, 4)] {
        let mut world = World::new(Account::new(), Api { mood, dice: Dice(seed), ..Api::new(&[]) });
        world.run(8, secs(1800), &silent);
        let from = world.now;
        let through: u64 = world.run(8, secs(1800), &silent).iter().sum();
        println!("{mood} {seed}: {through}, pace {:?}", world.account.pace.rate());
        assert!(through >= 1800 * 20, "{mood}, {seed}: {through} in half an hour");
        // With a limit as well, that is found, and mostly kept.
        world.api.windows = vec![(20, secs(1))];
        world.run(8, secs(600), &silent);
        let limited = world.now;
        let through: u64 = world.run(8, secs(1800), &silent).iter().sum();
        let refused = share_refused(&world, limited);
        println!("limited {mood} {seed}: {through}, {refused}, pace {:?}", world.account.pace.rate());
        assert!(through >= 1800 * 8, "{mood}, {seed}: {through} in half an hour, of 36,000; from {from:?}");
        assert!(refused <= mood + 0.1, "{mood}, {seed}: {refused}");
    }
}

#[test]
fn time_in_which_nobody_asked_is_no_pace() {
    let mut world = World::new(Account::new(), Api::new(&[]));
    // A request a minute, for an hour.
    for _ in 0..60 {
        world.run(1, millis(40), &silent);
        world.now += secs(60);
    }
    world.api.windows = vec![(0, secs(1))];
    world.run(1, millis(200), &silent);
    world.api.windows.clear();
    world.now += secs(10);
    let through: u64 = world.run(8, secs(60), &silent).iter().sum();
    assert!(through >= 300, "{through}");
}

#[test]
fn slowness_lowers_concurrency() {
    //
    let mut account = Account::new();
    let claim = claim("a");
    let mut now = secs(10);
    let mut round = |account: &mut Account, took: Duration| {
        let mut numbers = Vec::new();
        while account.ask(&claim, false, now).is_ok() {
            numbers.push(account.send(&claim, false, now));
        }
        now += took;
        for number in &numbers {
            account.answered(*number, Outcome::Answered, &told::Told::default(), now, 0.0);
            account.landed(*number, now);
        }
        numbers.len()
    };
    for _ in 0..20 {
        round(&mut account, millis(50));
    }
    let before = round(&mut account, millis(50));
    assert!(before > 16, "{before}");
    for _ in 0..6 {
        round(&mut account, millis(400));
    }
    let after = round(&mut account, millis(400));
    assert!(after < before / 2, "{after} of {before}");
}
