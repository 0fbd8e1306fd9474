//! A stream's declaration with its paths taken apart, once for all pages.

use jiff::tz::TimeZone;

use crate::config::catalog::{CursorType, Format, Job, OnTypeChange, Packing};
use crate::error::ErrorKind;
use crate::page::{ResponsePath, is_same_path, split_path};

use super::declare::declared_kind;
use super::kind::Kind;
use super::{CursorSpec, DecodeError, DecodeSpec};

impl DecodeSpec {
    /// How the records of a job's stream are read: without keys kept aside, and with no field that tells of deletions.
    pub fn of(job: &Job, wanted: Vec<ResponsePath>) -> Self {
        let stream = &job.stream;
        let in_records = stream.cursor.as_ref().filter(|cursor| cursor.cursor_type != CursorType::Token);
        DecodeSpec {
            packing: stream.packing,
            format: stream.format.clone(),
            body_max: job.source.body_max,
            records: stream.records.clone(),
            records_optional: stream.records_optional,
            one_record: stream.one_record,
            declared: job.columns.clone(),
            cursor: in_records.map(|cursor| CursorSpec {
                field: cursor.field.clone(),
                cursor_type: cursor.cursor_type,
                timezone: cursor.timezone.clone(),
            }),
            key: stream.primary_key.clone(),
            keep_keys: false,
            deleted: None,
            deleted_is: Vec::new(),
            wanted,
            on_type_change: job.on_type_change,
        }
    }
}

#[derive(Debug)]
pub struct Plan {
    pub packing: Packing,
    pub format: Format,
    pub body_max: u64,
    /// Steps to the records' list.
    pub records: Vec<String>,
    pub records_optional: bool,
    pub one_record: bool,
    pub cursor: Option<CursorPlan>,
    pub key: Vec<KeyField>,
    pub keep_keys: bool,
    pub deleted: Option<FieldPath>,
    /// The values of `deleted` that say so; empty for what is true by itself.
    pub deleted_is: Vec<String>,
    /// Of timestamps that carry no offset.
    pub timezone: TimeZone,
    pub wanted: Vec<(ResponsePath, Vec<String>)>,
    pub on_type_change: OnTypeChange,
}

#[derive(Debug)]
pub struct KeyField {
    pub path: FieldPath,
    /// What the user declared it as, if so.
    pub declared: Option<Kind>,
}

#[derive(Debug)]
pub struct CursorPlan {
    pub field: FieldPath,
    pub cursor_type: CursorType,
    pub timezone: TimeZone,
}

/// A path into a record: the record's field, and the steps inside of it.
#[derive(Debug)]
pub struct FieldPath {
    pub text: String,
    pub first: String,
    pub rest: Vec<String>,
}

impl Plan {
    pub fn new(spec: &DecodeSpec) -> Result<Self, DecodeError> {
        let ResponsePath::Body(records) = &spec.records else {
            return Err(config_error(format!("records cannot stand in a header: `{}`", spec.records)));
        };
        let cursor = spec.cursor.as_ref().map(|cursor| {
            let field = FieldPath::parse(&cursor.field)?;
            Ok(CursorPlan { field, cursor_type: cursor.cursor_type, timezone: cursor.timezone.clone() })
        });
        let body_path = |path: &ResponsePath| match path {
            ResponsePath::Body(steps) => Some((path.clone(), steps.clone())),
            ResponsePath::Header(_) => None,
        };
        Ok(Plan {
            packing: spec.packing,
            format: spec.format.clone(),
            body_max: spec.body_max,
            records: records.clone(),
            records_optional: spec.records_optional,
            one_record: spec.one_record,
            cursor: cursor.transpose()?,
            key: spec.key.iter().map(|path| KeyField::new(path, spec)).collect::<Result<_, _>>()?,
            keep_keys: spec.keep_keys,
            deleted: spec.deleted.as_deref().map(FieldPath::parse).transpose()?,
            deleted_is: spec.deleted_is.clone(),
            timezone: spec.cursor.as_ref().map_or(TimeZone::UTC, |cursor| cursor.timezone.clone()),
            wanted: spec.wanted.iter().filter_map(body_path).collect(),
            on_type_change: spec.on_type_change,
        })
    }

    /// Whether rows at one cursor value are told apart by hashes of their keys.
    pub fn needs_key_hashes(&self) -> bool {
        let has_mark = self.cursor.as_ref().is_some_and(|cursor| cursor.cursor_type.has_mark());
        has_mark && !self.key.is_empty()
    }
}

impl KeyField {
    fn new(path: &str, spec: &DecodeSpec) -> Result<Self, DecodeError> {
        let declared = spec.declared.iter().find(|(declared, _)| is_same_path(declared, path));
        let declared = declared.and_then(|(_, declared)| declared_kind(declared).ok()).map(|(kind, _)| kind);
        Ok(KeyField { path: FieldPath::parse(path)?, declared })
    }
}

impl FieldPath {
    fn parse(text: &str) -> Result<Self, DecodeError> {
        let mut steps = split_path(text).map_err(config_error)?.into_iter();
        let first = steps.next().ok_or_else(|| config_error("a field's path is empty".to_owned()))?;
        Ok(FieldPath { text: text.to_owned(), first, rest: steps.collect() })
    }
}

fn config_error(message: String) -> DecodeError {
    DecodeError::new(ErrorKind::Config, message)
}
