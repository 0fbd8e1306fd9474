//! Limits that answers tell of.

use super::world::{Api, World, fairness, silent};
use super::*;
use crate::quota::account::Account;
use crate::quota::told::{Refusal, RefusalCause, Told, ToldLimit, ToldShape};

fn window(left: Option<u64>, size: Option<u64>, per: Option<Duration>, reset: Option<Duration>) -> Told {
    let shape = ToldShape::Window { per, reset };
    Told { limits: vec![ToldLimit { name: "default".to_owned(), size, left, shape }], refusal: None }
}

fn with_refusal(mut told: Told, through: bool, patience: Duration) -> Told {
    let refusal = Refusal { cause: RefusalCause::Rate, patience: Some(patience), limit: String::new() };
    told.refusal = (!through).then_some(refusal);
    told
}

/// Size, rest and reset, and the length only where `exact`.
fn tell(exact: bool) -> impl Fn(&Api, Duration, bool, &[usize]) -> Told {
    move |api, now, through, left| {
        let (limit, per) = api.windows[0];
        let oldest = api.arrived.iter().find(|at| now - **at <= per).copied().unwrap_or(now);
        let reset = Duration::from_secs((oldest + per - now).as_secs_f64().ceil() as u64);
        let told = window(Some(left[0] as u64), Some(limit as u64), exact.then_some(per), Some(reset));
        with_refusal(told, through, reset)
    }
}

#[test]
fn what_is_told_is_used_like_what_is_declared() {
    for exact in [true, false] {
        let mut world = World::new(Account::new(), Api::new(&[(100, secs(1))]));
        let through = world.run(8, secs(60), &tell(exact));
        assert_eq!(world.api.refused.len(), 0, "exact {exact}");
        let rate = through.iter().sum::<u64>() as f64 / 60.0;
        assert!(rate >= 95.0, "exact {exact}: {rate} a second");
        assert!(fairness(&through) >= 0.9);
    }
}

#[test]
fn a_fixed_window_that_only_tells_its_reset_is_not_overrun() {
    // The API counts by the minute of its own clock.
    let told = |_: &Api, now: Duration, through: bool, _: &[usize]| {
        let reset = Duration::from_secs(60 - now.as_secs() % 60);
        with_refusal(window(None, Some(100), None, Some(reset)), through, reset)
    };
    let count = std::sync::Mutex::new((0u64, 0u64));
    let fixed = move |api: &Api, now: Duration, _: bool, left: &[usize]| {
        let mut count = count.lock().unwrap();
        let minute = now.as_secs() / 60;
        if count.0 != minute {
            *count = (minute, 0);
        }
        count.1 += 1;
        let through = count.1 <= 100;
        let mut answer = told(api, now, through, left);
        answer.limits[0].left = Some(100u64.saturating_sub(count.1));
        answer
    };
    let mut world = World::new(Account::new(), Api::new(&[]));
    world.now = secs(10);
    let refused = std::rc::Rc::new(std::cell::Cell::new(0));
    let seen = refused.clone();
    let counting = move |api: &Api, now: Duration, through: bool, left: &[usize]| {
        let told = fixed(api, now, through, left);
        seen.set(seen.get() + u32::from(told.refusal.is_some()));
        told
    };
    let through: u64 = world.run(8, secs(590), &counting).iter().sum();
    assert_eq!(refused.get(), 0);
    assert!(through >= 880, "{through} of 1000");
}

#[test]
fn others_who_spend_of_the_same_are_seen() {
    let mut account = Account::new();
    let claim = claim("a");
    let mut now = secs(10);
    let mut left = 100u64;
    for _ in 0..10 {
        assert!(account.ask(&claim, false, now).is_ok());
        let number = account.send(&claim, false, now);
        left -= 10;
        now += millis(1000);
        account.answered(number, Outcome::Answered, &window(Some(left), Some(100), Some(secs(3600)), None), now, 0.0);
        account.landed(number, now);
    }
    let blocked = account.ask(&claim, false, now).unwrap_err();
    assert!(blocked.at.is_some_and(|at| at > now + secs(3000)), "{blocked:?}");
}

#[test]
fn the_tightest_of_several_governs_and_endpoints_are_told_apart() {
    //
    let limit = |name: &str, left| ToldLimit {
        name: name.to_owned(),
        size: Some(100),
        left: Some(left),
        shape: ToldShape::Window { per: None, reset: Some(secs(30)) },
    };
    let told = Told { limits: vec![limit("burst", 50), limit("daily", 0)], refusal: None };
    let mut account = Account::new();
    let number = account.send(&claim("a"), false, secs(10));
    account.answered(number, Outcome::Answered, &told, secs(11), 0.0);
    account.landed(number, secs(11));
    assert!(account.ask(&claim("a"), false, secs(12)).is_err());
    // An endpoint of which nothing is known may be under the same limit; one that told of another is not.
    let other = Claim { endpoint: "/search".to_owned(), path: "/search".to_owned(), ..claim("a") };
    assert!(account.ask(&other, false, secs(12)).is_err());
    let number = account.send(&other, false, secs(12));
    let search = Told { limits: vec![limit("search", 9)], refusal: None };
    account.answered(number, Outcome::Answered, &search, secs(13), 0.0);
    account.landed(number, secs(13));
    assert!(account.ask(&other, false, secs(14)).is_ok());
    assert!(account.ask(&claim("a"), false, secs(14)).is_err());
    assert!(account.ask(&claim("a"), false, secs(43)).is_ok(), "the reset and a little is over");
}

#[test]
fn what_is_told_tightens_what_is_declared_unless_it_is_to_be_followed() {
    use crate::config::catalog::HeaderTrust;
    for (headers, size, more) in [
        (HeaderTrust::Tighten, 2, false),
        (HeaderTrust::Tighten, 1000, false),
        (HeaderTrust::Follow, 1000, true),
        (HeaderTrust::Ignore, 2, true),
    ] {
        let declared = if headers == HeaderTrust::Ignore { 50 } else { 5 };
        let limits = Limits { headers, burst: 1.0, ..limits(&[(declared, 60)], None) };
        let mut account = Account::new();
        account.declare(&limits);
        let mut sent = 0;
        let mut now = secs(10);
        while sent < 20 && account.ask(&claim("a"), false, now).is_ok() {
            let number = account.send(&claim("a"), false, now);
            sent += 1;
            now += millis(100);
            let left = size - sent.min(size);
            account.answered(number, Outcome::Answered, &window(Some(left), Some(size), Some(secs(60)), None), now, 0.0);
            account.landed(number, now);
            // The learnt window is spent evenly; this test is about amounts.
            now += millis(1300);
        }
        assert_eq!(sent >= 20, more, "{headers:?} {size}: {sent}");
    }
}

#[test]
fn a_bucket_never_overflows() {
    //
    let mut account = Account::new();
    let (size, leak) = (40.0, 2.0);
    let (mut level, mut at, mut now) = (0.0f64, secs(10), secs(10));
    let mut flying: Vec<(u64, Duration)> = Vec::new();
    let (mut sent, mut most) = (0, 0.0f64);
    while now < secs(130) {
        let blocked = account.ask(&claim("a"), false, now);
        if flying.len() < 8 && blocked.is_ok() {
            let number = account.send(&claim("a"), false, now);
            level = (level - leak * (now - at).as_secs_f64()).max(0.0) + 1.0;
            at = now;
            most = most.max(level);
            sent += 1;
            flying.push((number, now + millis(50)));
            continue;
        }
        let answer = flying.iter().map(|(_, at)| *at).min();
        let wake = blocked.err().and_then(|blocked| blocked.at);
        now = [answer, wake].into_iter().flatten().min().unwrap().max(now + Duration::from_nanos(1));
        if let Some(place) = flying.iter().position(|(_, at)| *at <= now) {
            let (number, _) = flying.swap_remove(place);
            let used = (level - leak * (now - at).as_secs_f64()).max(0.0).ceil() as u64;
            let limit = ToldLimit {
                name: "shop".to_owned(),
                size: Some(size as u64),
                left: Some(size as u64 - used.min(size as u64)),
                shape: ToldShape::Bucket { per_second: leak },
            };
            account.answered(number, Outcome::Answered, &Told { limits: vec![limit], refusal: None }, now, 0.0);
            account.landed(number, now);
        }
    }
    assert!(most <= size, "{most}");
    assert!(sent >= 40 + 2 * 115, "{sent}");
}

#[test]
fn a_quota_that_is_spent_does_not_lower_the_pace() {
    //
    let mut account = Account::new();
    let number = account.send(&claim("a"), false, secs(10));
    let refusal = Refusal { cause: RefusalCause::Spent, patience: Some(secs(3000)), limit: "daily".to_owned() };
    account.answered(number, Outcome::Answered, &Told { limits: Vec::new(), refusal: Some(refusal) }, secs(11), 0.0);
    account.landed(number, secs(11));
    assert!(account.pace.rate().is_none());
    assert_eq!(account.ask(&claim("a"), false, secs(12)).unwrap_err().at, Some(secs(3011)));
}

#[test]
fn near_the_end_of_a_days_quota_that_is_told_what_is_in_no_hurry_waits() {
    //
    let mut account = Account::new();
    account.declare(&Limits { reserve: 0.1, ..limits(&[], None) });
    let scheduled = claim("fresh");
    let backfill = Claim { class: Class::Backfill, ..claim("old") };
    let day = secs(24 * 3600);
    let number = account.send(&scheduled, false, secs(10));
    account.answered(number, Outcome::Answered, &window(Some(400), Some(5000), Some(day), None), secs(11), 0.0);
    account.landed(number, secs(11));
    let blocked = account.ask(&backfill, false, secs(12)).unwrap_err();
    assert!(blocked.at.is_some_and(|at| at > secs(12) + day / 2), "{blocked:?}");
    assert!(account.ask(&scheduled, false, secs(12)).is_ok());
    // What is told later may leave enough for both.
    let number = account.send(&scheduled, false, secs(12));
    let plenty = window(Some(4000), Some(5000), Some(day), None);
    let mut other = Account::new();
    other.declare(&Limits { reserve: 0.1, ..limits(&[], None) });
    let first = other.send(&scheduled, false, secs(10));
    other.answered(first, Outcome::Answered, &plenty, secs(11), 0.0);
    other.landed(first, secs(11));
    assert!(other.ask(&backfill, false, secs(12)).is_ok());
    // The vendor's count runs behind: it refuses although something should be left, and says nothing of when.
    let refusal = Refusal { cause: RefusalCause::Spent, patience: None, limit: "api-usage".to_owned() };
    let mut refused = window(Some(399), Some(5000), Some(day), None);
    refused.refusal = Some(refusal);
    assert!(account.answered(number, Outcome::Unclear, &refused, secs(13), 0.0), "a crash must not forget it");
    account.landed(number, secs(13));
    let until = secs(13) + secs(3660);
    assert_eq!(account.ask(&scheduled, false, secs(14)).unwrap_err().at, Some(until));
    assert!(account.ask(&backfill, false, secs(14)).unwrap_err().at >= Some(until));
    assert!(account.ask(&scheduled, false, until).is_ok());
}

#[test]
fn what_costs_more_than_the_bucket_holds_goes_once_it_is_full() {
    //
    let mut account = Account::new();
    let claim = claim("a");
    let told = |left| {
        let shape = ToldShape::Points { per_second: 50.0 };
        let limit = ToldLimit { name: "points".to_owned(), size: Some(1000), left: Some(left), shape };
        Told { limits: vec![limit], refusal: None }
    };
    let number = account.send(&claim, false, secs(10));
    account.answered(number, Outcome::Answered, &Told::default(), secs(10), 0.0);
    account.landed(number, secs(10));
    account.charge(&claim, 5000, secs(10));
    account.learn_of_body(&told(400), "/orders", secs(10));
    let blocked = account.ask(&claim, false, secs(11)).unwrap_err();
    assert_eq!(blocked.at, Some(secs(22)), "600 points at 50 a second");
    assert!(account.ask(&claim, false, secs(22)).is_ok());
    // It leaves nothing, and the next waits for all of it again.
    account.send(&claim, false, secs(22));
    let blocked = account.ask(&claim, false, secs(22)).unwrap_err();
    assert_eq!(blocked.at, Some(secs(42)));
}

#[test]
fn a_refusal_without_a_word_is_survived() {
    let mut world = World::new(Account::new(), Api::new(&[(1, secs(60))]));
    world.run(2, secs(600), &silent);
    assert!(world.api.refused.len() < 200, "{}", world.api.refused.len());
    assert!(world.api.taken.len() >= 5, "{}", world.api.taken.len());
}
