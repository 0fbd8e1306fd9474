//! How covers stand in records and in the state. Marks of whole numbers are written as they always were; each other kind of mark has
//! a name of its own, so that a program that does not know it stops instead of reading it for something else.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cursor::CursorKey;
use crate::ids::PartitionKey;

use super::{CursorMark, Span};

#[derive(Serialize, Deserialize)]
pub(super) struct Mark<T> {
    value: T,
    keys: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cover {
    Span { partition: PartitionKey, from: Option<Timestamp>, to: Timestamp },
    Integer { partition: PartitionKey, before: Option<Mark<i128>>, mark: Mark<i128> },
    Text { partition: PartitionKey, before: Option<Mark<String>>, mark: Mark<String> },
    Token { partition: PartitionKey, before: Option<String>, token: String },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Covered {
    Spans(Vec<Span>),
    Integer(Mark<i128>),
    Text(Mark<String>),
    Token(String),
}

impl From<Mark<i128>> for CursorMark {
    fn from(mark: Mark<i128>) -> Self {
        CursorMark { value: CursorKey::Number(mark.value), keys: mark.keys }
    }
}

impl From<Mark<String>> for CursorMark {
    fn from(mark: Mark<String>) -> Self {
        CursorMark { value: CursorKey::Text(mark.value), keys: mark.keys }
    }
}

/// A mark by its kind. Those of one cover are of one kind.
enum Kind {
    Number(Mark<i128>),
    Text(Mark<String>),
}

fn kind(mark: CursorMark) -> Kind {
    let CursorMark { value, keys } = mark;
    match value {
        CursorKey::Number(value) => Kind::Number(Mark { value, keys }),
        CursorKey::Text(value) => Kind::Text(Mark { value, keys }),
    }
}

impl From<super::Cover> for Cover {
    fn from(cover: super::Cover) -> Self {
        match cover {
            super::Cover::Span { partition, from, to } => Cover::Span { partition, from, to },
            super::Cover::Token { partition, before, token } => Cover::Token { partition, before, token },
            super::Cover::Mark { partition, before, mark } => match (kind(mark), before.map(kind)) {
                (Kind::Number(mark), Some(Kind::Number(before))) => Cover::Integer { partition, before: Some(before), mark },
                (Kind::Number(mark), _) => Cover::Integer { partition, before: None, mark },
                (Kind::Text(mark), Some(Kind::Text(before))) => Cover::Text { partition, before: Some(before), mark },
                (Kind::Text(mark), _) => Cover::Text { partition, before: None, mark },
            },
        }
    }
}

impl From<Cover> for super::Cover {
    fn from(cover: Cover) -> Self {
        match cover {
            Cover::Span { partition, from, to } => super::Cover::Span { partition, from, to },
            Cover::Token { partition, before, token } => super::Cover::Token { partition, before, token },
            Cover::Integer { partition, before, mark } => {
                super::Cover::Mark { partition, before: before.map(CursorMark::from), mark: mark.into() }
            }
            Cover::Text { partition, before, mark } => {
                super::Cover::Mark { partition, before: before.map(CursorMark::from), mark: mark.into() }
            }
        }
    }
}

impl From<super::Covered> for Covered {
    fn from(covered: super::Covered) -> Self {
        match covered {
            super::Covered::Spans(spans) => Covered::Spans(spans),
            super::Covered::Token(token) => Covered::Token(token),
            super::Covered::Mark(mark) => match kind(mark) {
                Kind::Number(mark) => Covered::Integer(mark),
                Kind::Text(mark) => Covered::Text(mark),
            },
        }
    }
}

impl From<Covered> for super::Covered {
    fn from(covered: Covered) -> Self {
        match covered {
            Covered::Spans(spans) => super::Covered::Spans(spans),
            Covered::Token(token) => super::Covered::Token(token),
            Covered::Integer(mark) => super::Covered::Mark(mark.into()),
            Covered::Text(mark) => super::Covered::Mark(mark.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cover, Covered, CursorMark};
    use crate::cursor::CursorKey;
    use crate::ids::PartitionKey;

    #[test]
    fn covers_of_the_previous_form_are_read_and_written_as_they_were() {
        for text in [
            r#"{"span":{"partition":"a","from":null,"to":"2026-01-02T03:04:05.000006Z"}}"#,
            r#"{"integer":{"partition":"","before":null,"mark":{"value":170141183460469231731687303715884105727,"keys":["ab"]}}}"#,
            r#"{"integer":{"partition":"","before":{"value":-7,"keys":[]},"mark":{"value":-5,"keys":["ab","cd"]}}}"#,
        ] {
            let cover: Cover = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&cover).expect("JSON"), text);
        }
        let covered: Covered = serde_json::from_str(r#"{"integer":{"value":18446744073709551616,"keys":[]}}"#).expect("a mark");
        assert_eq!(covered, Covered::Mark(CursorMark::at(CursorKey::Number(1 << 64))));
    }

    #[test]
    fn marks_of_every_kind_come_back() {
        let partition = PartitionKey::new("a");
        let text = |text: &str| CursorMark { value: text.into(), keys: vec!["00".to_owned()] };
        let covers = [
            Cover::Mark { partition: partition.clone(), before: Some(text("12")), mark: text("2024-01-01#17") },
            Cover::Mark { partition: partition.clone(), before: None, mark: CursorMark::at(i128::MIN) },
            Cover::Token { partition: partition.clone(), before: None, token: "17".to_owned() },
            Cover::Token { partition, before: Some("ü \"".to_owned()), token: "https://x/?t=1".to_owned() },
        ];
        for cover in covers {
            let json = serde_json::to_string(&cover).expect("JSON");
            assert_eq!(serde_json::from_str::<Cover>(&json).expect("a cover"), cover, "{json}");
        }
        for covered in [Covered::Mark(text("12")), Covered::Token("12".to_owned())] {
            let json = serde_json::to_string(&covered).expect("JSON");
            assert_eq!(serde_json::from_str::<Covered>(&json).expect("covered"), covered, "{json}");
        }
    }
}
