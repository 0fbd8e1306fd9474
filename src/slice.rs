//! Parts of a stream and what is known to be loaded of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cursor::CursorKey;
use crate::ids::PartitionKey;

mod disk;

/// A half-open stretch of a time-like cursor, `[from, to)`. Without `from` it has no lower end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    pub from: Option<Timestamp>,
    pub to: Timestamp,
}

impl Span {
    /// # Panics
    /// If the span is empty or backwards: a bug of the caller, never input.
    pub fn new(from: Option<Timestamp>, to: Timestamp) -> Self {
        assert!(from.is_none_or(|from| from < to), "a span is never empty or backwards");
        Span { from, to }
    }

    pub fn contains(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= at) && at < self.to
    }

    pub fn overlaps(&self, other: &Span) -> bool {
        self.from.is_none_or(|from| from < other.to) && other.from.is_none_or(|from| from < self.to)
    }
}

/// What one slice reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Everything there is: a stream without a cursor.
    Snapshot,
    /// The rows whose cursor lies in the span.
    Time(Span),
    /// The rows whose whole-number or text cursor is at least the mark; those at the mark whose key hash is listed were read before.
    Mark(Option<CursorMark>),
    /// What has changed since the source gave this token; all that there is without one.
    Token(Option<String>),
}

/// The largest cursor seen of those that have no closed time, with the hashes of the keys seen at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorMark {
    pub value: CursorKey,
    /// Sorted; hex of the first 16 bytes of SHA-256 of the key's text form.
    pub keys: Vec<String>,
}

impl CursorMark {
    /// A mark at which no key is known: everything at it is read.
    pub fn at(value: impl Into<CursorKey>) -> Self {
        CursorMark { value: value.into(), keys: Vec::new() }
    }
}

/// Part of a stream that is read and committed as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    pub partition: PartitionKey,
    pub reach: Reach,
}

/// What a committed slice covers. A snapshot covers nothing that a later run could leave out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "disk::Cover", into = "disk::Cover")]
pub enum Cover {
    Span {
        partition: PartitionKey,
        from: Option<Timestamp>,
        to: Timestamp,
    },
    /// `before` is the mark that the slice began at.
    Mark {
        partition: PartitionKey,
        before: Option<CursorMark>,
        mark: CursorMark,
    },
    /// `before` is the token that the slice began with, `token` the one that the next begins with.
    Token {
        partition: PartitionKey,
        before: Option<String>,
        token: String,
    },
}

/// What is covered of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "disk::Covered", into = "disk::Covered")]
pub enum Covered {
    /// Sorted, disjoint, never touching each other.
    Spans(Vec<Span>),
    Mark(CursorMark),
    Token(String),
}

/// What committed slices cover, by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    pub partitions: BTreeMap<PartitionKey, Covered>,
}

impl Coverage {
    /// The covered spans of a partition: sorted, disjoint, never touching.
    pub fn spans(&self, partition: &PartitionKey) -> &[Span] {
        match self.partitions.get(partition) {
            Some(Covered::Spans(spans)) => spans,
            _ => &[],
        }
    }

    /// The covers that make up this coverage: a mark, or a token, as one that began with nothing.
    pub fn to_covers(&self) -> Vec<Cover> {
        let of = |(partition, covered): (&PartitionKey, &Covered)| {
            let partition = partition.clone();
            match covered {
                Covered::Spans(spans) => {
                    spans.iter().map(|span| Cover::Span { partition: partition.clone(), from: span.from, to: span.to }).collect()
                }
                Covered::Mark(mark) => vec![Cover::Mark { partition, before: None, mark: mark.clone() }],
                Covered::Token(token) => vec![Cover::Token { partition, before: None, token: token.clone() }],
            }
        };
        self.partitions.iter().flat_map(of).collect()
    }

    /// The largest whole-number or text cursor seen in a partition.
    pub fn cursor_mark(&self, partition: &PartitionKey) -> Option<&CursorMark> {
        match self.partitions.get(partition) {
            Some(Covered::Mark(mark)) => Some(mark),
            _ => None,
        }
    }

    /// The token that the source gave last.
    pub fn token(&self, partition: &PartitionKey) -> Option<&str> {
        match self.partitions.get(partition) {
            Some(Covered::Token(token)) => Some(token),
            _ => None,
        }
    }

    /// The high-water mark of a time-like partition: the end of the contiguous coverage that begins at `start` (or has no lower
    /// end, where there is no `start`).
    pub fn mark(&self, partition: &PartitionKey, start: Option<Timestamp>) -> Option<Timestamp> {
        let reaches = |span: &&Span| match (span.from, start) {
            (None, _) => start.is_none_or(|start| start < span.to),
            (Some(from), Some(start)) => from <= start && start < span.to,
            (Some(_), None) => false,
        };
        self.spans(partition).iter().find(reaches).map(|span| span.to)
    }

    pub fn add(&mut self, cover: &Cover) {
        match cover {
            Cover::Span { partition, from, to } => {
                let mut spans = self.spans(partition).to_vec();
                spans.push(Span::new(*from, *to));
                self.partitions.insert(partition.clone(), Covered::Spans(join_spans(spans)));
            }
            Cover::Mark { partition, mark, .. } => {
                let mark = match self.cursor_mark(partition) {
                    Some(known) if known.value > mark.value => known.clone(),
                    Some(known) if known.value == mark.value => join_marks(known, mark),
                    _ => mark.clone(),
                };
                self.partitions.insert(partition.clone(), Covered::Mark(mark));
            }
            // Tokens have no order: the one that was given last is the one to go on with.
            Cover::Token { partition, token, .. } => {
                self.partitions.insert(partition.clone(), Covered::Token(token.clone()));
            }
        }
    }

    /// Takes a cover out again: the record that covered it was voided.
    pub fn subtract(&mut self, cover: &Cover) {
        let (partition, from, to) = match cover {
            Cover::Span { partition, from, to } => (partition, from, to),
            Cover::Mark { partition, before, mark } => {
                if self.cursor_mark(partition) == Some(mark) {
                    self.put_back(partition, before.clone().map(Covered::Mark));
                }
                return;
            }
            Cover::Token { partition, before, token } => {
                if self.token(partition) == Some(token) {
                    self.put_back(partition, before.clone().map(Covered::Token));
                }
                return;
            }
        };
        let gone = Span::new(*from, *to);
        let left = self.spans(partition).iter().flat_map(|span| span.without(&gone)).collect::<Vec<_>>();
        match left.is_empty() {
            true => self.partitions.remove(partition),
            false => self.partitions.insert(partition.clone(), Covered::Spans(left)),
        };
    }
}

impl Coverage {
    /// Takes out what an operator wants to be read again: of a mark or token all that is known of its partition, whatever it was, since
    /// what is covered then is said anew.
    pub fn forget(&mut self, cover: &Cover) {
        match cover {
            Cover::Span { .. } => self.subtract(cover),
            Cover::Mark { partition, .. } | Cover::Token { partition, .. } => drop(self.partitions.remove(partition)),
        }
    }

    fn put_back(&mut self, partition: &PartitionKey, before: Option<Covered>) {
        match before {
            Some(before) => drop(self.partitions.insert(partition.clone(), before)),
            None => drop(self.partitions.remove(partition)),
        }
    }
}

impl Cover {
    pub fn partition(&self) -> &PartitionKey {
        match self {
            Cover::Span { partition, .. } | Cover::Mark { partition, .. } | Cover::Token { partition, .. } => partition,
        }
    }

    /// Whether two covers claim some of the same rows.
    pub fn overlaps(&self, other: &Cover) -> bool {
        match (self, other) {
            (Cover::Span { partition: a, from, to }, Cover::Span { partition: b, from: other_from, to: other_to }) => {
                a == b && Span { from: *from, to: *to }.overlaps(&Span { from: *other_from, to: *other_to })
            }
            (a, b) => a.partition() == b.partition(),
        }
    }
}

impl Span {
    /// What is left of the span without `gone`: none, one or two pieces.
    pub fn without(&self, gone: &Span) -> Vec<Span> {
        if !self.overlaps(gone) {
            return vec![*self];
        }
        let mut left = Vec::new();
        if let Some(gone_from) = gone.from
            && self.from.is_none_or(|from| from < gone_from)
        {
            left.push(Span::new(self.from, gone_from));
        }
        if gone.to < self.to {
            left.push(Span::new(Some(gone.to), self.to));
        }
        left
    }
}

fn join_spans(mut spans: Vec<Span>) -> Vec<Span> {
    // `None` sorts before every instant, as it should.
    spans.sort_by_key(|span| (span.from, span.to));
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.from.is_none_or(|from| from <= last.to) => last.to = last.to.max(span.to),
            _ => joined.push(span),
        }
    }
    joined
}

fn join_marks(known: &CursorMark, found: &CursorMark) -> CursorMark {
    let mut keys = known.keys.clone();
    keys.extend(found.keys.iter().cloned());
    keys.sort();
    keys.dedup();
    CursorMark { value: known.value.clone(), keys }
}

#[cfg(test)]
mod tests;
