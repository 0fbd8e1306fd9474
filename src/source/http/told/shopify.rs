//! Shopify. REST (shopify.dev/docs/api/admin-rest/usage/rate-limits): a bucket whose state stands in
//! `X-Shopify-Shop-Api-Call-Limit: 32/40` and which leaks a twentieth of its size each second, on every plan: 40 at 2, 80 at 4, 400
//! at 20. GraphQL (shopify.dev/docs/api/usage/limits): a bucket of points, described in each body.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::page::{Captured, ResponsePath};
use crate::quota::told::{ToldLimit, ToldShape};

use super::answer::Answer;
use super::{bounded, number};

/// Seconds after which a full bucket is empty again.
const LEAKS_IN: f64 = 20.0;
/// Seconds. A bucket that takes longer to fill is not described as it is.
const REFILL_MAX: f64 = 600.0;

pub(super) fn limits(answer: &Answer<'_>) -> Vec<ToldLimit> {
    answer.text("x-shopify-shop-api-call-limit").and_then(bucket).into_iter().collect()
}

fn bucket(text: &str) -> Option<ToldLimit> {
    let (used, size) = text.split_once('/')?;
    let (used, size) = (number::count(used.trim())?, number::count(size.trim())?);
    let shape = ToldShape::Bucket { per_second: size as f64 / LEAKS_IN };
    Some(ToldLimit { name: "shop-api-call".to_owned(), size: Some(size), left: Some(size.saturating_sub(used)), shape })
}

/// Where a body says what its bucket of points holds at most, holds now, and gains each second.
pub(in super::super) fn points_paths() -> [ResponsePath; 3] {
    ["maximumAvailable", "currentlyAvailable", "restoreRate"]
        .map(|name| ResponsePath::Body(["extensions", "cost", "throttleStatus", name].map(str::to_owned).to_vec()))
}

/// The bucket of points, of what was captured at [`points_paths`].
pub(in super::super) fn points(captured: &BTreeMap<ResponsePath, Captured>) -> Option<ToldLimit> {
    let [most, now, gain] = points_paths().map(|path| number::plain(&captured.get(&path)?.text()?));
    let shape = ToldShape::Points { per_second: gain? };
    bounded(ToldLimit { name: "points".to_owned(), size: Some(most? as u64), left: now.map(|now| now as u64), shape })
}

/// Where a body says how many points its query has to find in the bucket, whatever it costs in the end.
pub(in super::super) fn requested_path() -> ResponsePath {
    ResponsePath::Body(["extensions", "cost", "requestedQueryCost"].map(str::to_owned).to_vec())
}

/// How long until the bucket holds what a query that was refused for its cost needs; `None` where its body does not say.
pub(in super::super) fn refill(captured: &BTreeMap<ResponsePath, Captured>) -> Option<Duration> {
    let needed = number::plain(&captured.get(&requested_path())?.text()?)?;
    let ToldLimit { size: Some(size), left: Some(left), shape: ToldShape::Points { per_second }, .. } = points(captured)? else {
        return None;
    };
    // What needs more than it can hold is refused by the API in other words.
    let lacks = needed.min(size as f64) - left as f64;
    Duration::try_from_secs_f64((lacks / per_second).clamp(0.0, REFILL_MAX)).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{bucket, refusal, told};
    use super::{points, points_paths, refill, requested_path};
    use crate::page::Captured;
    use crate::quota::told::RefusalCause::Rate;
    use crate::quota::told::{ToldLimit, ToldShape};

    #[test]
    fn the_bucket() {
        for (text, size, left, per_second) in [("32/40", 40, 8, 2.0), ("1/80", 80, 79, 4.0), ("400/400", 400, 0, 20.0)] {
            let limits = told(200, &format!("X-Shopify-Shop-Api-Call-Limit: {text}"), "").limits;
            assert_eq!(limits, [bucket("shop-api-call", size, left, per_second)]);
        }
        for junk in ["", "40", "/", "a/b", "1/0", "-1/40"] {
            assert_eq!(told(200, &format!("X-Shopify-Shop-Api-Call-Limit: {junk}"), "").limits, [], "{junk}");
        }
        let over = told(429, "X-Shopify-Shop-Api-Call-Limit: 41/40\nRetry-After: 2.0", "");
        assert_eq!(over.refusal, refusal(Rate, Some(2), "shop-api-call"));
    }

    #[test]
    fn the_bucket_of_points() {
        //
        let of = |values: [&str; 3]| {
            let captured = values.map(|value| Captured::Number(value.to_owned()));
            points(&points_paths().into_iter().zip(captured).collect())
        };
        let shape = ToldShape::Points { per_second: 50.0 };
        let expected = ToldLimit { name: "points".to_owned(), size: Some(1000), left: Some(988), shape };
        assert_eq!(of(["1000.0", "988", "50.0"]), Some(expected));
        for values in [["x", "988", "50.0"], ["1000", "988", "0"], ["1000", "988", "-50"], ["-1", "1", "50"]] {
            assert_eq!(of(values), None, "{values:?}");
        }
        assert_eq!(of(["1e300", "1", "1"]), None);
        assert_eq!(of(["10", "99", "1"]).unwrap().left, Some(10));
        let [path, ..] = points_paths();
        assert_eq!(path.to_string(), "extensions.cost.throttleStatus.maximumAvailable");
        assert_eq!(points(&BTreeMap::from([(path, Captured::Null)])), None);
    }

    #[test]
    fn what_a_throttled_query_waits_for() {
        // R-18 R-19
        let of = |needed: &str, now: &str| {
            let values = ["2000", now, "100"].map(|value| Captured::Number(value.to_owned()));
            let mut captured: BTreeMap<_, _> = points_paths().into_iter().zip(values).collect();
            captured.insert(requested_path(), Captured::Number(needed.to_owned()));
            refill(&captured).map(|wait| wait.as_millis())
        };
        assert_eq!(of("302", "200"), Some(1020));
        assert_eq!(of("302", "302"), Some(0));
        assert_eq!(of("5000", "0"), Some(20_000), "the bucket is full then");
        assert_eq!(of("x", "0"), None);
    }
}
