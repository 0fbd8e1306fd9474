use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::test_clock::TestClock;
use super::window::{Window, take_all};
use super::*;
use crate::config::catalog::Rate;
use crate::stop::Stop;

fn limits(requests: &[(u32, u64)], concurrency: Option<usize>) -> Limits {
    let rate = |&(requests, seconds): &(u32, u64)| Rate { requests, per: Duration::from_secs(seconds) };
    Limits { requests: requests.iter().map(rate).collect(), concurrency, ..Limits::default() }
}

fn key(credential: &str) -> BudgetKey {
    BudgetKey { credential: credential.to_owned(), host: "api.example.com".to_owned() }
}

/// Sends after each gap as soon as the windows grant; the instants of sending.
fn send(windows: &[Window], clock: &TestClock, gaps: impl Iterator<Item = Duration>) -> Vec<Duration> {
    let mut sent = Vec::new();
    for gap in gaps {
        clock.advance(gap);
        while let Err(wait) = take_all(windows) {
            clock.advance(wait);
        }
        sent.push(clock.elapsed());
    }
    sent
}

/// The most requests that any closed interval of the length holds.
fn most_within(sent: &[Duration], length: Duration) -> usize {
    let mut most = 0;
    let mut first = 0;
    for last in 0..sent.len() {
        while sent[last] - sent[first] > length {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    // Whatever the trace of arrivals, no interval of a window's length holds more than its limit.
    #[test]
    fn no_interval_holds_more_than_its_limit(
        rates in prop::collection::vec((1u32..400, 1u64..120), 1..4),
        gaps in prop::collection::vec((0u64..20, 0u64..3_000), 1..60),
    ) {
        let clock = Arc::new(TestClock::new());
        let windows: Vec<Window> = limits(&rates, None)
            .requests
            .into_iter()
            .map(|rate| Window::new(rate, clock.clone()))
            .collect();
        // Bunches of arrivals with pauses between them.
        let gaps = gaps.into_iter().flat_map(|(bunch, pause)| {
            std::iter::repeat_n(Duration::ZERO, bunch as usize).chain([Duration::from_millis(pause)])
        });
        let sent = send(&windows, &clock, gaps);
        for (requests, seconds) in rates {
            prop_assert!(most_within(&sent, Duration::from_secs(seconds)) <= requests as usize);
        }
    }
}

#[test]
fn the_limit_is_used_while_there_is_work() {
    for (requests, seconds) in [(1, 1), (60, 60), (900, 60), (5000, 3600), (10, 1)] {
        let clock = Arc::new(TestClock::new());
        let windows = [Window::new(Rate { requests, per: Duration::from_secs(seconds) }, clock.clone())];
        let sent = send(&windows, &clock, std::iter::repeat_n(Duration::ZERO, requests as usize * 10));
        let took = sent[sent.len() - 1] - sent[0];
        let share = sent.len() as f64 / requests as f64 / (took.as_secs_f64() / seconds as f64);
        assert!(share >= 0.95, "{requests} in {seconds} s: {share}");
    }
}

#[test]
fn a_hundred_a_second_are_nearly_reached() {
    //
    let clock = Arc::new(TestClock::new());
    let windows = [Window::new(Rate { requests: 100, per: Duration::from_secs(1) }, clock.clone())];
    let sent = send(&windows, &clock, std::iter::repeat_n(Duration::ZERO, 3_000));
    let a_second = 2_999.0 / (sent[2_999] - sent[0]).as_secs_f64();
    assert!(a_second >= 97.0, "{a_second}");
}

#[test]
fn a_refusal_of_one_window_costs_the_others_nothing() {
    let clock = Arc::new(TestClock::new());
    let rate = |requests, seconds| Rate { requests, per: Duration::from_secs(seconds) };
    let windows = [Window::new(rate(1, 1), clock.clone()), Window::new(rate(1, 60), clock.clone())];
    assert!(take_all(&windows).is_ok());
    clock.advance(Duration::from_secs(2));
    assert!(take_all(&windows).is_err());
    assert!(take_all(&windows[..1]).is_ok());
}

#[tokio::test]
async fn two_jobs_with_one_credential_share_a_budget() {
    let clock = Arc::new(TestClock::new());
    let budgets = Budgets::new(clock.clone());
    let limits = limits(&[(1, 10)], None);
    let (one, other) = (budgets.get(key("a"), &limits), budgets.get(key("a"), &limits));
    assert!(Arc::ptr_eq(&one, &other));
    assert!(!Arc::ptr_eq(&one, &budgets.get(key("b"), &limits)));
    let stop = Stop::new();
    let before = clock.elapsed();
    one.take(&stop, &|_, _| ()).await.unwrap();
    other.take(&stop, &|_, _| ()).await.unwrap();
    assert!(clock.elapsed() - before >= Duration::from_secs(10));
}

#[tokio::test]
async fn a_pause_holds_for_everybody_and_ends_spread() {
    // R-01 R-33
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).get(key("a"), &limits(&[], None));
    budget.pause(Duration::from_secs(5));
    budget.pause(Duration::from_secs(1));
    let until = clock.elapsed() + Duration::from_secs(5);
    let stop = Stop::new();
    let told = std::sync::Mutex::new(Vec::new());
    budget.take(&stop, &|why, length| told.lock().unwrap().push((why.to_owned(), length))).await.unwrap();
    assert!(clock.elapsed() >= until);
    let told = told.into_inner().unwrap();
    assert_eq!(told[0].0, "the source asked for patience");
    assert!(told[0].1 > Duration::from_secs(5), "no jitter after the pause");
}

#[tokio::test]
async fn a_pause_beyond_an_hour_is_refused_at_once() {
    let clock = Arc::new(TestClock::new());
    let budget = Budgets::new(clock.clone()).get(key("a"), &limits(&[], None));
    budget.pause(Duration::from_secs(7200));
    let refused = budget.take(&Stop::new(), &|_, _| ()).await.unwrap_err();
    assert_eq!(refused, Refused::Paused { length: Duration::from_secs(7200) });
    assert!(clock.slept().is_empty());
}

#[tokio::test]
async fn stop_wakes_whoever_waits() {
    //
    let clock = Arc::new(TestClock::new());
    clock.hold();
    let stop = Stop::new();
    stop.request();
    let paused = Budgets::new(clock.clone()).get(key("a"), &limits(&[], None));
    paused.pause(Duration::from_secs(3600));
    assert_eq!(paused.take(&stop, &|_, _| ()).await.unwrap_err(), Refused::Stopped);
    let narrow = Budgets::new(clock).get(key("a"), &limits(&[(1, 3600)], Some(1)));
    // What needs no wait is still granted: the slice under way may finish.
    let permit = narrow.take(&stop, &|_, _| ()).await.unwrap();
    assert_eq!(narrow.take(&stop, &|_, _| ()).await.unwrap_err(), Refused::Stopped);
    drop(permit);
    assert_eq!(narrow.take(&stop, &|_, _| ()).await.unwrap_err(), Refused::Stopped);
}

#[tokio::test]
async fn a_dropped_permit_gives_its_place_back() {
    let clock = Arc::new(TestClock::new());
    let budgets = Budgets::new(clock);
    budgets.get(key("a"), &limits(&[], Some(5)));
    let budget = budgets.get(key("a"), &limits(&[], Some(1)));
    let stop = Stop::new();
    let first = budget.take(&stop, &|_, _| ()).await.unwrap();
    let mut second = std::pin::pin!(budget.take(&stop, &|_, _| ()));
    assert!(futures::poll!(second.as_mut()).is_pending());
    drop(first);
    assert!(futures::poll!(second.as_mut()).is_ready());
}

#[test]
fn a_jump_of_the_wall_clock_grants_nothing() {
    //
    struct Jumping(TestClock);
    #[async_trait::async_trait]
    impl Clock for Jumping {
        fn now(&self) -> jiff::Timestamp {
            jiff::Timestamp::MAX
        }
        fn elapsed(&self) -> Duration {
            self.0.elapsed()
        }
        async fn sleep(&self, length: Duration) {
            self.0.sleep(length).await;
        }
        fn fraction(&self) -> f64 {
            0.0
        }
        fn batch_id(&self) -> crate::ids::BatchId {
            self.0.batch_id()
        }
        fn run_id(&self) -> crate::ids::RunId {
            self.0.run_id()
        }
    }
    let windows = [Window::new(Rate { requests: 1, per: Duration::from_secs(60) }, Arc::new(Jumping(TestClock::new())))];
    assert!(take_all(&windows).is_ok());
    assert!(take_all(&windows).is_err());
}
