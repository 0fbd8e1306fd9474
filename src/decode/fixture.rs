//! Pages and specs for this room's tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::catalog::{CursorType, DeclaredType, Format, OnTypeChange, Packing};
use crate::page::{PagePosition, RawPage, ResponsePath};
use crate::schema::{ColumnType, Field, TableSchema};

use super::{CursorSpec, DecodeSpec};

pub const BODY_MAX: u64 = 64 << 20;

pub fn page(body: impl Into<Vec<u8>>) -> RawPage {
    RawPage {
        position: PagePosition::start(),
        status: 200,
        headers: HeaderMap::new(),
        body: Bytes::from(body.into()),
        received_at: Timestamp::UNIX_EPOCH,
        source_now: None,
        address: "https://api.example.com/records".to_owned(),
        ..RawPage::nothing()
    }
}

/// The body is the list of records; nothing is declared.
pub fn spec() -> DecodeSpec {
    DecodeSpec {
        packing: Packing::Auto,
        format: Format::Json,
        body_max: BODY_MAX,
        records: ResponsePath::root(),
        records_optional: false,
        one_record: false,
        declared: BTreeMap::new(),
        cursor: None,
        keep_keys: false,
        deleted: None,
        deleted_is: Vec::new(),
        key: Vec::new(),
        wanted: Vec::new(),
        on_type_change: OnTypeChange::NewColumn,
    }
}

pub fn spec_at(records: &str) -> DecodeSpec {
    DecodeSpec { records: ResponsePath::parse(records).expect("a fixture"), ..spec() }
}

pub fn spec_with_cursor(cursor_type: CursorType, zone: &str) -> DecodeSpec {
    let timezone = TimeZone::get(zone).expect("a fixture");
    DecodeSpec { cursor: Some(CursorSpec { field: "at".to_owned(), cursor_type, timezone }), ..spec() }
}

pub fn spec_declared(declared: &[(&str, DeclaredType)]) -> DecodeSpec {
    let declared = declared.iter().map(|(path, declared)| ((*path).to_owned(), declared.clone())).collect();
    DecodeSpec { declared, ..spec() }
}

pub fn schema(fields: &[(&str, ColumnType)]) -> TableSchema {
    TableSchema { fields: fields.iter().map(|(name, column_type)| Field::new(*name, column_type.clone())).collect() }
}
