//! What a table's coverage says to people: mark, holes, freshness.

use jiff::Timestamp;

use crate::config::catalog::{Cursor, Window};
use crate::slice::{Coverage, Covered, Span};

use super::text::instant;

/// The high-water mark of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The end of the contiguous coverage.
    Time(Timestamp),
    Integer(i128),
}

impl Mark {
    /// As an instant to the second, or a whole number.
    pub fn text(&self) -> String {
        match self {
            Mark::Time(at) => instant(*at),
            Mark::Integer(value) => value.to_string(),
        }
    }

    /// Exact, for programs: RFC 3339, or a whole number.
    pub fn exact(&self) -> String {
        match self {
            Mark::Time(at) => at.to_string(),
            Mark::Integer(value) => value.to_string(),
        }
    }
}

/// The mark of a table: the lowest of its partitions, `None` while one of them has none.
pub(crate) fn mark(coverage: &Coverage, window: &Window) -> Option<Mark> {
    let mut lowest: Option<Mark> = None;
    for covered in coverage.partitions.values() {
        let mark = match covered {
            Covered::Integer(mark) => Mark::Integer(mark.value),
            Covered::Spans(spans) => Mark::Time(contiguous(spans, window)?.to),
        };
        lowest = Some(match (lowest, mark) {
            (Some(Mark::Time(a)), Mark::Time(b)) => Mark::Time(a.min(b)),
            (Some(Mark::Integer(a)), Mark::Integer(b)) => Mark::Integer(a.min(b)),
            (_, mark) => mark,
        });
    }
    lowest
}

/// Stretches of time between or before the covered ones, over all partitions.
pub(crate) fn holes(coverage: &Coverage, window: &Window) -> Vec<(Option<Timestamp>, Timestamp)> {
    let mut holes = Vec::new();
    for covered in coverage.partitions.values() {
        let Covered::Spans(spans) = covered else { continue };
        let inside: Vec<&Span> = spans.iter().filter(|span| window.start.is_none_or(|start| span.to > start)).collect();
        let mut end = window.start;
        for (index, span) in inside.into_iter().enumerate() {
            let starts_late = match (end, span.from) {
                (Some(end), Some(from)) => from > end,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if (index > 0 || starts_late)
                && let Some(from) = span.from
                && starts_late
            {
                holes.push((end, from));
            }
            end = Some(span.to);
        }
    }
    holes
}

fn contiguous<'a>(spans: &'a [Span], window: &Window) -> Option<&'a Span> {
    match window.start {
        None => spans.first().filter(|span| span.from.is_none()),
        Some(start) => spans.iter().find(|span| span.from.is_none_or(|from| from <= start) && span.to > start),
    }
}

/// Whether a table's mark can be compared with the clock.
pub(crate) fn is_time(cursor: &Cursor) -> bool {
    cursor.cursor_type != crate::config::catalog::CursorType::Integer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::SignedDuration;

    use super::*;
    use crate::ids::PartitionKey;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(day * 86_400).expect("day")
    }

    fn window(start: Option<i64>) -> Window {
        Window { start: start.map(day), start_integer: None, step: None, settle: SignedDuration::ZERO }
    }

    fn covered(spans: &[(Option<i64>, i64)]) -> Coverage {
        let spans = spans.iter().map(|(from, to)| Span::new(from.map(day), day(*to))).collect();
        Coverage { partitions: BTreeMap::from([(PartitionKey::new(""), Covered::Spans(spans))]) }
    }

    #[test]
    fn the_mark_ends_the_first_unbroken_stretch() {
        let coverage = covered(&[(Some(1), 5), (Some(7), 9)]);
        assert_eq!(mark(&coverage, &window(Some(1))), Some(Mark::Time(day(5))));
        assert_eq!(holes(&coverage, &window(Some(1))), [(Some(day(5)), day(7))]);
    }

    #[test]
    fn without_the_windows_start_there_is_no_mark_but_a_hole() {
        let coverage = covered(&[(Some(2), 5)]);
        assert_eq!(mark(&coverage, &window(Some(1))), None);
        assert_eq!(holes(&coverage, &window(Some(1))), [(Some(day(1)), day(2))]);
        assert_eq!(mark(&coverage, &window(None)), None);
        assert_eq!(holes(&coverage, &window(None)), [(None, day(2))]);
        assert_eq!(mark(&covered(&[(None, 5)]), &window(None)), Some(Mark::Time(day(5))));
        assert_eq!(holes(&covered(&[(None, 5)]), &window(None)), []);
    }

    #[test]
    fn nothing_covered_has_neither() {
        assert_eq!(mark(&Coverage::default(), &window(None)), None);
        assert_eq!(holes(&Coverage::default(), &window(Some(1))), []);
    }

    #[test]
    fn the_slowest_partition_holds_the_mark() {
        let mut coverage = covered(&[(None, 5)]);
        coverage.partitions.insert(PartitionKey::new("b"), Covered::Spans(vec![Span::new(None, day(3))]));
        assert_eq!(mark(&coverage, &window(None)), Some(Mark::Time(day(3))));
    }
}
