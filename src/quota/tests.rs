//! Tests of the room as a whole: a small world with an API in it, in which time is a number.

mod exact;
mod found;
mod heard;
mod kept;
mod line;
mod shared;
mod world;

use std::time::Duration;

use super::*;
use crate::config::catalog::Rate;
use crate::ids::JobName;

fn limits(requests: &[(u32, u64)], concurrency: Option<usize>) -> Limits {
    let rate = |&(requests, seconds): &(u32, u64)| Rate { requests, per: Duration::from_secs(seconds) };
    Limits { requests: requests.iter().map(rate).collect(), concurrency, ..Limits::default() }
}

fn key(credential: &str) -> BudgetKey {
    BudgetKey { credential: credential.to_owned(), host: "api.example.com".to_owned() }
}

fn claim(job: &str) -> Claim {
    Claim {
        job: JobName::new(job),
        class: Class::Scheduled,
        endpoint: "/orders".to_owned(),
        path: "/orders".to_owned(),
        holds: false,
        counted: Arc::default(),
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
