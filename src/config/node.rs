//! A file's tree after the walk: every value has its place and its checked type, or is known to be bad.

use std::net::SocketAddr;

use http::{HeaderName, Method};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};
use url::Url;

use crate::page::ResponsePath;
use crate::template::{JsonTemplate, Template};

use super::address::AddressTemplate;
use super::catalog::{Compression, DeclaredType, PartitionColumn, PathPattern, Rate};
use super::problem::Place;
use super::secret::SecretRef;

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub at: Place,
    pub value: Value,
}

/// A value as its shape asks for it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Reported already; whoever needs it goes without.
    Bad,
    Text(String),
    Integer(i64),
    Boolean(bool),
    Template(Template),
    Json(JsonTemplate),
    Duration(SignedDuration),
    Size(u64),
    Rate(Rate),
    /// A share of something, from 0 to 1.
    Share(f64),
    Pattern(PathPattern),
    Path(ResponsePath),
    Url(Url),
    Address(AddressTemplate),
    Header(HeaderName),
    Method(Method),
    Socket(SocketAddr),
    Zone(TimeZone),
    Type(DeclaredType),
    Partition(PartitionColumn),
    Compression(Compression),
    Start(Start),
    Secret(SecretRef),
    List(Vec<Node>),
    Table(Table),
}

/// What `window.start` says; the cursor's type decides which of them fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    Instant(Timestamp),
    Day(civil::Date),
    Integer(i64),
}

/// A table's entries in file order. Accessors answer `None` for a key that is absent or bad.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub at: Place,
    pub entries: Vec<(String, Node)>,
}

macro_rules! accessors {
    ($($name:ident: $variant:ident -> $type:ty;)*) => {
        $(pub fn $name(&self, key: &str) -> Option<$type> {
            match self.value(key) {
                Some(Value::$variant(value)) => Some(value.clone()),
                _ => None,
            }
        })*
    };
}

impl Table {
    accessors! {
        text: Text -> String;
        integer: Integer -> i64;
        boolean: Boolean -> bool;
        template: Template -> Template;
        json: Json -> JsonTemplate;
        duration: Duration -> SignedDuration;
        size: Size -> u64;
        share: Share -> f64;
        path: Path -> ResponsePath;
        url: Url -> Url;
        address: Address -> AddressTemplate;
        header: Header -> HeaderName;
        method: Method -> Method;
        socket: Socket -> SocketAddr;
        zone: Zone -> TimeZone;
        compression: Compression -> Compression;
        start: Start -> Start;
        secret: Secret -> SecretRef;
    }

    pub fn node(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.node(key).map(|node| &node.value)
    }

    /// Whether the key is written, well or badly.
    pub fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    pub fn table(&self, key: &str) -> Option<&Table> {
        match self.value(key) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// A list's good items; empty if the key is absent.
    pub fn list(&self, key: &str) -> &[Node] {
        match self.value(key) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// A free table's entries in file order; empty if the key is absent.
    pub fn map(&self, key: &str) -> &[(String, Node)] {
        self.table(key).map_or(&[], |table| &table.entries)
    }

    /// Where the key's value stands, or the table itself if it is absent.
    pub fn place(&self, key: &str) -> Place {
        match self.node(key) {
            Some(node) => node.at.clone(),
            None => self.place_of_missing(key),
        }
    }

    /// The table's own place under the name of a key that it lacks.
    pub fn place_of_missing(&self, key: &str) -> Place {
        Place { key: join_key(&self.at.key, key), ..self.at.clone() }
    }
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn template(&self) -> Option<&Template> {
        match &self.value {
            Value::Template(template) => Some(template),
            _ => None,
        }
    }

    pub fn json(&self) -> Option<&JsonTemplate> {
        match &self.value {
            Value::Json(value) => Some(value),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i64> {
        match &self.value {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    pub fn is_list(&self) -> bool {
        matches!(self.value, Value::List(_))
    }

    pub fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// `window` and `step` give `window.step`; a step that is no plain word is quoted as TOML would have it.
pub(super) fn join_key(outer: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let shown = match plain {
        true => key.to_owned(),
        false if key.is_empty() => "\"\"".to_owned(),
        false => format!("\"{}\"", super::problem::quote(key).trim_matches('`')),
    };
    if outer.is_empty() { shown } else { format!("{outer}.{shown}") }
}
