//! `tests/it/vendors/NAME.toml` as types; tests/it/vendors/README.md says what each key means. An unknown key is an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::rust_text::read;

type Texts = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    #[serde(default)]
    pub auth: Auth,
    pub errors: Errors,
    #[serde(default)]
    pub answers: Vec<Told>,
    pub streams: BTreeMap<String, Stream>,
}

impl Description {
    pub fn of(name: &str) -> Self {
        let path = format!("tests/it/vendors/{name}.toml");
        toml::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// Without it nobody has to show anything.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub header: Option<String>,
    pub query: Option<String>,
    pub value: String,
    pub env: Texts,
    pub token: Option<TokenRequest>,
    pub ground: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    pub path: String,
    pub form: Texts,
    pub answer: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    pub unauthorized: Option<Canned>,
    pub throttled: Canned,
    pub failed: Canned,
    pub spent: Option<Canned>,
}

/// An answer that one of the definition's own `[[errors]]` is for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told {
    pub stream: String,
    pub status: u16,
    #[serde(default)]
    pub headers: Texts,
    pub body: String,
    pub ground: Option<String>,
}

impl Told {
    pub fn canned(&self) -> Canned {
        Canned { status: self.status, headers: self.headers.clone(), body: self.body.clone(), ground: self.ground.clone() }
    }
}

/// An answer that is always the same.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canned {
    pub status: u16,
    #[serde(default)]
    pub headers: Texts,
    pub body: String,
    pub ground: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    #[serde(default = "get")]
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub require: Require,
    pub records: String,
    pub envelope: Option<String>,
    #[serde(default)]
    pub headers: Texts,
    pub sample: String,
    pub id: Field,
    pub cursor: Option<Field>,
    #[serde(default)]
    pub vary: Texts,
    pub deleted: Option<Deleted>,
    pub parent: Option<Parent>,
    #[serde(default)]
    pub order: Order,
    #[serde(default)]
    pub filters: Vec<Filter>,
    #[serde(default)]
    pub paging: Paging,
    pub cap: Option<Cap>,
    pub export: Option<Export>,
    pub ground: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    pub create: String,
    pub poll: String,
    pub answer: String,
    pub id: Field,
    pub state: String,
    pub words: Vec<String>,
    pub unknown: Canned,
}

fn get() -> String {
    "GET".to_owned()
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Require {
    pub query: Texts,
    pub headers: Texts,
    pub json: BTreeMap<String, Value>,
    pub contains: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub field: String,
    pub form: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deleted {
    pub field: String,
    pub value: Value,
    pub every: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    pub stream: String,
    pub segment: String,
    pub field: Option<String>,
    pub each: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Id,
    Ascending,
    Descending,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum In {
    Query,
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    #[serde(rename = "in")]
    pub place: In,
    pub name: String,
    pub pattern: Option<String>,
    pub keeps: Keeps,
    pub form: String,
    pub cut: Option<Cut>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    AtOrAfter,
    After,
    AtOrBefore,
    Before,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cut {
    Day,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    pub kind: Kind,
    #[serde(rename = "in")]
    pub place: Option<In>,
    pub param: Option<String>,
    pub start: Option<usize>,
    pub past_end: Option<Canned>,
    pub token: Option<String>,
    pub first: Option<String>,
    pub at_end: Option<AtEnd>,
    pub url: Option<String>,
    pub form: Option<UrlForm>,
    pub next_path: Option<String>,
    pub connection: Option<String>,
    pub variable: Option<String>,
    pub size_param: Option<String>,
    pub size_in: Option<In>,
    pub size_default: Option<usize>,
    pub size_max: Option<usize>,
    pub more: Option<String>,
    pub last: Option<String>,
    pub total: Option<String>,
    pub total_pages: Option<String>,
    pub count: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    None,
    Page,
    Offset,
    Token,
    NextUrl,
    LinkHeader,
    Keyset,
    Graphql,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtEnd {
    Missing,
    Null,
    Empty,
    Again,
    Same,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UrlForm {
    Absolute,
    Path,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    pub records: usize,
    pub status: Option<u16>,
    pub body: Option<String>,
}
