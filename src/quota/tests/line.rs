//! Waiting in line: turns, stops, pauses, dropped wishes.

use std::sync::Mutex as StdMutex;

use super::*;
use crate::quota::told::{Refusal, RefusalCause, Told};
use crate::stop::Stop;
use test_clock::TestClock;

const SILENT: &(dyn Fn(&str, Duration) + Sync) = &|_, _| ();

fn ask(job: &str) -> Arc<Claim> {
    Arc::new(claim(job))
}

async fn once(budget: &Arc<Budget>, job: &str) {
    let permit = budget.take(ask(job), &Stop::new(), SILENT).await.unwrap();
    permit.answered(Outcome::Answered, &Told::default());
}

#[tokio::test]
async fn two_jobs_with_one_credential_share_a_budget() {
    let clock = Arc::new(TestClock::new());
    let budgets = Budgets::new(clock.clone());
    let limits = limits(&[(1, 10)], None);
    let (one, other) = (budgets.get(key("a"), &limits), budgets.get(key("a"), &limits));
    assert!(Arc::ptr_eq(&one, &other));
    assert!(!Arc::ptr_eq(&one, &budgets.get(key("b"), &limits)));
    let before = clock.elapsed();
    once(&one, "one").await;
    once(&other, "other").await;
    assert!(clock.elapsed() - before >= secs(10));
    let view = &budgets.views()[0];
    assert_eq!((view.host.as_str(), view.windows.len(), view.windows[0].left), ("api.example.com", 1, Some(0)));
    assert_eq!(view.used_by.iter().map(|by| (by.job.as_str(), by.requests)).collect::<Vec<_>>(), [("one", 1), ("other", 1)]);
}

#[tokio::test]
async fn a_pause_holds_for_everybody_and_ends_spread() {
    //
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).get(key("a"), &limits(&[], None));
    budget.pause("/orders", secs(5));
    budget.pause("/orders", secs(1));
    let until = clock.elapsed() + secs(5);
    let told = StdMutex::new(Vec::new());
    let waiting = |why: &str, length: Duration| told.lock().unwrap().push((why.to_owned(), length));
    let permit = budget.take(ask("a"), &Stop::new(), &waiting).await.unwrap();
    assert!(clock.elapsed() > until, "no jitter after the pause");
    drop(permit);
    let told = told.into_inner().unwrap();
    assert_eq!(told[0], ("the source asked for patience".to_owned(), secs(5)));
}

#[tokio::test]
async fn a_thousand_that_waited_for_one_pause_leave_spread() {
    //
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).get(key("a"), &limits(&[], Some(1000)));
    budget.pause("/orders", secs(5));
    let until = clock.elapsed() + secs(5);
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..1000 {
        let (budget, clock) = (budget.clone(), clock.clone());
        tasks.spawn(async move {
            let permit = budget.take(ask(&format!("job-{task}")), &Stop::new(), SILENT).await.unwrap();
            let sent = clock.elapsed();
            permit.answered(Outcome::Answered, &Told::default());
            sent
        });
    }
    let mut sent = tasks.join_all().await;
    sent.sort();
    assert!(sent[0] >= until);
    assert!(sent[999] - sent[0] >= millis(900), "{:?}", sent[999] - sent[0]);
    let most = (0..1000).map(|first| sent[first..].iter().take_while(|at| **at - sent[first] < millis(100)).count()).max();
    assert!(most <= Some(120), "{most:?} within a tenth of a second");
}

#[tokio::test]
async fn whoever_would_wait_long_is_sent_away_at_once() {
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).patient_for(secs(60)).get(key("a"), &limits(&[], None));
    budget.pause("/orders", secs(61));
    let refused = budget.take(ask("a"), &Stop::new(), SILENT).await.err().unwrap();
    assert_eq!(refused, Refused::Later { why: "the source asked for patience", length: secs(61) });
    assert!(clock.slept().is_empty());
    // Pages in hand would be lost and paid for again.
    let holder = Arc::new(Claim { holds: true, ..claim("a") });
    assert!(budget.take(holder.clone(), &Stop::new(), SILENT).await.is_ok());
    budget.pause("/orders", PAUSE_MAX + secs(1));
    assert!(matches!(budget.take(holder, &Stop::new(), SILENT).await, Err(Refused::Later { .. })));
}

#[tokio::test]
async fn stop_wakes_whoever_waits() {
    //
    let clock = Arc::new(TestClock::new());
    clock.hold();
    let stop = Stop::new();
    stop.request();
    let paused = Budgets::new(clock.clone()).get(key("a"), &limits(&[], None));
    paused.pause("/orders", PAUSE_MAX);
    assert_eq!(paused.take(ask("a"), &stop, SILENT).await.err(), Some(Refused::Stopped));
    let narrow = Budgets::new(clock).get(key("a"), &limits(&[(1, 600)], Some(1)));
    // What needs no wait is still granted: the slice under way may finish.
    let permit = narrow.take(ask("a"), &stop, SILENT).await.unwrap();
    assert_eq!(narrow.take(ask("a"), &stop, SILENT).await.err(), Some(Refused::Stopped));
    permit.answered(Outcome::Answered, &Told::default());
    drop(permit);
    assert_eq!(narrow.take(ask("a"), &stop, SILENT).await.err(), Some(Refused::Stopped));
}

#[tokio::test]
async fn a_dropped_permit_or_wish_gives_its_place_back() {
    let clock = Arc::new(TestClock::new());
    clock.hold();
    let budgets = Budgets::new(clock);
    budgets.get(key("a"), &limits(&[], Some(5)));
    let budget = budgets.get(key("a"), &limits(&[], Some(1)));
    let stop = Stop::new();
    let first = budget.take(ask("a"), &stop, SILENT).await.unwrap();
    let mut third = Box::pin(budget.take(ask("c"), &stop, SILENT));
    {
        let mut second = std::pin::pin!(budget.take(ask("b"), &stop, SILENT));
        assert!(futures::poll!(second.as_mut()).is_pending());
        assert!(futures::poll!(third.as_mut()).is_pending());
        // A redirect holds the place already.
        assert!(first.go_on(&stop, SILENT).await.is_ok());
        drop(first);
        // Granted to the second, who goes away without having seen it.
    }
    assert!(futures::poll!(third.as_mut()).is_ready());
}

#[tokio::test]
async fn an_api_that_fails_is_probed_by_one() {
    //
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).get(key("a"), &limits(&[], Some(50)));
    let fail = || async {
        let permit = budget.take(ask("a"), &Stop::new(), SILENT).await.unwrap();
        permit.answered(Outcome::Failed, &Told::default());
    };
    for _ in 0..20 {
        fail().await;
    }
    let opened = clock.elapsed();
    let probe = budget.take(ask("a"), &Stop::new(), SILENT).await.unwrap();
    assert!(clock.elapsed() - opened >= secs(30));
    assert!(budget.view().broken);
    clock.hold();
    let stop = Stop::new();
    let mut other = Box::pin(budget.take(ask("b"), &stop, SILENT));
    assert!(futures::poll!(other.as_mut()).is_pending(), "one probe at a time");
    probe.answered(Outcome::Answered, &Told::default());
    assert!(futures::poll!(other.as_mut()).is_ready());
}

#[tokio::test]
async fn a_refusal_pauses_before_the_permit_is_given_back() {
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).get(key("a"), &limits(&[], Some(4)));
    let permit = budget.take(ask("a"), &Stop::new(), SILENT).await.unwrap();
    let refusal = Refusal { cause: RefusalCause::Rate, patience: Some(secs(5)), limit: String::new() };
    permit.answered(Outcome::Answered, &Told { limits: Vec::new(), refusal: Some(refusal) });
    let until = clock.elapsed() + secs(5);
    once(&budget, "b").await;
    assert!(clock.elapsed() >= until);
    drop(permit);
}
