//! What a table's coverage says to people.

use jiff::Timestamp;

use crate::config::catalog::Window;
use crate::ids::PartitionKey;
use crate::plan;
use crate::slice::{Coverage, Span};

use super::text::{counted, instant};

/// Stretches before or between the covered ones of the given sets: what failed slices left for a later run.
pub(crate) fn holes<'a>(coverage: &Coverage, sets: impl IntoIterator<Item = &'a PartitionKey>, window: &Window) -> Vec<Span> {
    let mut holes = Vec::new();
    for set in sets {
        let spans = coverage.spans(set);
        if let Some(last) = spans.last() {
            holes.extend(plan::gaps(window.start, last.to, spans));
        }
    }
    holes
}

/// The mark of a job that goes over so many sets: the lowest of theirs.
pub(crate) fn mark_of_sets(mark: Option<&str>, sets: usize) -> String {
    let mark = mark.map(short_mark).unwrap_or_default();
    if sets == 0 { mark } else { format!("{mark} ({})", counted(sets as u64, "set")).trim_start().to_owned() }
}

/// A mark to the second, where it is a time; as it stands elsewhere.
pub(crate) fn short_mark(mark: &str) -> String {
    mark.parse::<Timestamp>().map_or_else(|_| mark.to_owned(), instant)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::*;
    use crate::slice::Covered;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).expect("day")
    }

    fn count(start: Option<i64>, spans: &[(Option<i64>, i64)]) -> usize {
        let window =
            Window { start: start.map(day), start_integer: None, step: None, settle: SignedDuration::ZERO, lookback: None };
        let spans = spans.iter().map(|(from, to)| Span::new(from.map(day), day(*to))).collect();
        let partitions = BTreeMap::from([(PartitionKey::new(""), Covered::Spans(spans))]);
        holes(&Coverage { partitions }, &[PartitionKey::new("")], &window).len()
    }

    #[test]
    fn holes_lie_before_and_between_but_not_behind_what_is_covered() {
        assert_eq!(count(Some(1), &[(Some(1), 5)]), 0);
        assert_eq!(count(Some(1), &[(Some(1), 5), (Some(7), 9)]), 1);
        assert_eq!(count(Some(1), &[(Some(2), 5), (Some(7), 9)]), 2);
        assert_eq!(count(None, &[(None, 5)]), 0);
        assert_eq!(count(None, &[(Some(2), 5)]), 1);
    }

    #[test]
    fn marks_are_shown_to_the_second() {
        assert_eq!(short_mark("2018-02-07T01:45:04.877Z"), "2018-02-07 01:45:04");
        assert_eq!(short_mark("170141183460469231731687303715884105727"), "170141183460469231731687303715884105727");
    }
}
