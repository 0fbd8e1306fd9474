//! What an API says of its limits, in words that no vendor owns. Plain data: the source reads answers, the budget learns from this.

use std::time::Duration;

/// What one answer said of the limits behind it; empty where it said nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub limits: Vec<ToldLimit>,
    /// The request was refused for a limit's sake.
    pub refusal: Option<Refusal>,
}

/// A limit as an answer describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ToldLimit {
    /// The API's own name of it, in lower case; empty where it has none. Limits of one account that differ have different names.
    pub name: String,
    /// What a whole window grants, what a full bucket holds, how many may be under way.
    pub size: Option<u64>,
    /// What is left of it after the request that was answered.
    pub left: Option<u64>,
    pub shape: ToldShape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ToldShape {
    /// Requests in a window of length `per`; `left` counts until `reset` has passed, from the answer on.
    Window { per: Option<Duration>, reset: Option<Duration> },
    /// A bucket of requests that fills steadily.
    Bucket { per_second: f64 },
    /// A bucket of points (GraphQL cost) that fills steadily.
    Points { per_second: f64 },
    /// Requests at the same time.
    Concurrency,
}

/// How an answer refused a request for a limit's sake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub cause: RefusalCause,
    /// How long the source asked to wait; `None` where it did not say.
    pub patience: Option<Duration>,
    /// What the source calls the limit, for messages; empty where it does not say.
    pub limit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// Too many within some window, which passes by itself within minutes.
    Rate,
    /// Too many at the same time.
    Concurrency,
    /// The day's or month's quota is spent.
    Spent,
    /// The server is overloaded, by whomever.
    Overload,
}
