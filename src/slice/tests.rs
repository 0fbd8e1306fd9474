use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn cover(from: Option<i64>, to: i64) -> Cover {
    Cover::Span { partition: PartitionKey::new(""), from: from.map(at), to: at(to) }
}

fn whole() -> PartitionKey {
    PartitionKey::new("")
}

#[test]
fn the_mark_is_the_end_of_what_is_contiguous_from_the_start() {
    // C-57
    let mut coverage = Coverage::default();
    coverage.add(&cover(Some(20), 30));
    assert_eq!(coverage.mark(&whole(), Some(at(0))), None, "a slice that finished early does not move the mark");
    coverage.add(&cover(Some(0), 10));
    assert_eq!(coverage.mark(&whole(), Some(at(0))), Some(at(10)));
    coverage.add(&cover(Some(10), 20));
    assert_eq!(coverage.mark(&whole(), Some(at(0))), Some(at(30)));
    assert_eq!(coverage.spans(&whole()), [Span::new(Some(at(0)), at(30))]);
}

#[test]
fn a_start_moved_earlier_leaves_a_hole_in_front() {
    let mut coverage = Coverage::default();
    coverage.add(&cover(Some(100), 200));
    assert_eq!(coverage.mark(&whole(), Some(at(50))), None);
    assert_eq!(coverage.mark(&whole(), None), None);
    assert_eq!(coverage.mark(&whole(), Some(at(150))), Some(at(200)));
}

#[test]
fn marks_never_go_back() {
    let mut coverage = Coverage::default();
    let mark = |value, keys: &[&str]| Cover::Mark {
        partition: whole(),
        before: None,
        mark: CursorMark { value: CursorKey::Number(value), keys: keys.iter().map(|key| (*key).to_owned()).collect() },
    };
    coverage.add(&mark(7, &["a"]));
    coverage.add(&mark(5, &["b"]));
    assert_eq!(coverage.cursor_mark(&whole()), Some(&CursorMark { value: CursorKey::Number(7), keys: vec!["a".into()] }));
    coverage.add(&mark(7, &["c"]));
    assert_eq!(
        coverage.cursor_mark(&whole()),
        Some(&CursorMark { value: CursorKey::Number(7), keys: vec!["a".into(), "c".into()] })
    );
}

#[test]
fn marks_of_texts_are_ordered_byte_by_byte() {
    // C-41
    let mut coverage = Coverage::default();
    let mark = |text: &str| Cover::Mark { partition: whole(), before: None, mark: CursorMark::at(text) };
    for text in ["B", "a", "Z", "z", "é", "e\u{301}"] {
        coverage.add(&mark(text));
    }
    assert_eq!(
        coverage.cursor_mark(&whole()).map(|mark| mark.value.clone()),
        Some("é".into()),
        "neither case nor alphabet counts"
    );
}

proptest! {
    #[test]
    fn adding_and_taking_away_agree_with_a_set_of_seconds(
        changes in proptest::collection::vec((any::<bool>(), 0i64..60, 1i64..20, any::<bool>()), 1..30)
    ) {
        let mut coverage = Coverage::default();
        let mut seconds = std::collections::BTreeSet::new();
        for (add, from, length, open) in changes {
            let open = open && add;
            let change = cover((!open).then_some(from), from + length);
            let first = if open { -50 } else { from };
            if add {
                coverage.add(&change);
                seconds.extend(first..from + length);
            } else {
                coverage.subtract(&change);
                seconds.retain(|second| !(first..from + length).contains(second));
            }
            let spans = coverage.spans(&whole());
            for second in -50..90 {
                let inside = spans.iter().any(|span| span.contains(at(second)));
                prop_assert_eq!(inside, seconds.contains(&second), "second {}", second);
            }
            for pair in spans.windows(2) {
                prop_assert!(pair[1].from.is_some_and(|from| pair[0].to < from), "spans touch: {:?}", spans);
            }
        }
    }
}
