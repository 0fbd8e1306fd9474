//! Finds paging that never ends.
//!
//! Circles are found by Brent's method: one position of the sequence is kept and every later one compared with it; each time the
//! distance doubles, the newest is kept instead. So circles of any length are found, in memory that does not grow with pages.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use crate::page::{PageAt, PagePosition};

/// Empty pages in a row that promise more; some APIs filter after paging and send a few.
const EMPTY_MAX: u32 = 10;
/// Sequences under way at once that are followed. More than slices ever read side by side; the oldest is forgotten.
const SEQUENCES_MAX: usize = 256;

/// Follows the sequences of one stream. A sequence is recognised by the position it stands at, so several slices can be paged
/// side by side, and a page asked for twice does no harm: at worst a sequence is followed from there anew.
#[derive(Default)]
pub(super) struct Guard {
    sequences: Mutex<Sequences>,
}

#[derive(Default)]
struct Sequences {
    by_position: HashMap<u64, Sequence>,
    age: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sequence {
    /// Hash of the kept position.
    kept: u64,
    steps: u64,
    steps_max: u64,
    empty: u32,
    /// Records of the largest page. Servers cap their pages by account or by parent, too: of another sequence it says nothing.
    largest: u64,
    told: Option<Told>,
    /// For forgetting the oldest.
    age: u64,
}

/// What a page told of the number of records.
#[derive(Clone, Copy, Debug)]
struct Told {
    total: u64,
    records: u64,
    /// Since the first page it fell by what had come with the page before.
    falls: bool,
}

impl Told {
    fn next(before: Option<Told>, total: u64, records: u64) -> Told {
        let falls = before
            .is_none_or(|before| before.falls && before.records > 0 && before.total.checked_sub(before.records) == Some(total));
        Told { total, records, falls }
    }
}

impl Guard {
    /// Looks at the last page of a sequence that a total has ended. A total that falls by exactly what has come tells what is left, and
    /// the records that came were never to reach it. The error says so.
    pub(super) fn ended(&self, at: &PagePosition, total: u64, records: u64) -> Result<(), String> {
        let sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = sequences.by_position.get(&hash_position(at)).and_then(|sequence| sequence.told) else {
            return Ok(());
        };
        if at.index == 0 || total <= records || !Told::next(Some(before), total, records).falls {
            return Ok(());
        }
        Err(format!(
            "the total falls from page to page by the records that came: it tells what is left, `{total}` with this page, and not how \
             many there are; take `total` out, and an empty page is the end"
        ))
    }

    /// Notes the step from one position to the next. The error says what goes wrong.
    pub(super) fn advance(&self, at: &PagePosition, next: &PagePosition, records: u64, total: Option<u64>) -> Result<(), String> {
        let target = hash(&next.at);
        if target == hash(&at.at) {
            return Err(format!("the answer leads to the very page it came with, {}", describe(&next.at)));
        }
        let mut sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        sequences.age += 1;
        let age = sequences.age;
        let fresh = Sequence { kept: hash(&at.at), steps: 0, steps_max: 1, empty: 0, largest: 0, told: None, age };
        let begun = sequences.by_position.remove(&hash_position(at)).filter(|_| at.index > 0);
        let mut sequence = Sequence { age, ..begun.unwrap_or(fresh) };
        if sequence.kept == target {
            return Err(format!("the pages go in a circle: {} was there before", describe(&next.at)));
        }
        sequence.steps += 1;
        if sequence.steps == sequence.steps_max {
            sequence.kept = target;
            sequence.steps = 0;
            sequence.steps_max = sequence.steps_max.saturating_mul(2);
        }
        sequence.told = total.map(|total| Told::next(sequence.told, total, records));
        sequence.largest = sequence.largest.max(records);
        sequence.empty = if records == 0 { sequence.empty + 1 } else { 0 };
        if sequence.empty > EMPTY_MAX {
            return Err(format!(
                "`{}` empty pages in a row that promise more; check `records` and how paging knows its end",
                sequence.empty
            ));
        }
        sequences.by_position.insert(hash_position(next), sequence);
        sequences.forget_the_oldest();
        Ok(())
    }

    /// Records of the largest page before this position, in its sequence; 0 before the first, and where the sequence is not known.
    pub(super) fn largest(&self, at: &PagePosition) -> u64 {
        let sequences = self.sequences.lock().unwrap_or_else(PoisonError::into_inner);
        sequences.by_position.get(&hash_position(at)).filter(|_| at.index > 0).map_or(0, |sequence| sequence.largest)
    }

    /// Forgets a sequence that has come to its end.
    pub(super) fn finish(&self, at: &PagePosition) {
        self.sequences.lock().unwrap_or_else(PoisonError::into_inner).by_position.remove(&hash_position(at));
    }
}

impl Sequences {
    fn forget_the_oldest(&mut self) {
        if self.by_position.len() <= SEQUENCES_MAX {
            return;
        }
        if let Some(oldest) = self.by_position.iter().min_by_key(|(_, sequence)| sequence.age).map(|(position, _)| *position) {
            self.by_position.remove(&oldest);
        }
    }
}

/// What the page is, for messages; tokens are shown by their beginning, addresses not at all: their query can hold secrets.
fn describe(at: &PageAt) -> String {
    match at {
        PageAt::Start => "the first page".to_owned(),
        PageAt::Number(number) => format!("number `{number}`"),
        PageAt::Token(token) => {
            let start: String = token.chars().filter(|c| !c.is_control()).take(12).collect();
            format!("token `{start}{}`", if token.chars().count() > 12 { "…" } else { "" })
        }
        PageAt::Url(_) => "the same address".to_owned(),
    }
}

fn hash(at: &PageAt) -> u64 {
    let mut hasher = DefaultHasher::new();
    match at {
        PageAt::Start => 0u8.hash(&mut hasher),
        PageAt::Number(number) => (1u8, number).hash(&mut hasher),
        PageAt::Token(token) => (2u8, token).hash(&mut hasher),
        PageAt::Url(url) => (3u8, url).hash(&mut hasher),
    }
    hasher.finish()
}

fn hash_position(at: &PagePosition) -> u64 {
    let mut hasher = DefaultHasher::new();
    (at.index, at.records_before, hash(&at.at)).hash(&mut hasher);
    // The records of different parents are sequences of their own, and several are under way at once.
    at.parent.as_ref().map(|parent| (parent.page.index, hash(&parent.page.at), parent.nth)).hash(&mut hasher);
    hasher.finish()
}
