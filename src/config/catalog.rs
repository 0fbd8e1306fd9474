//! The checked types: what a project's files say, with every default filled in. Invalid states have no type here.

mod auth;
mod body;
mod common;
mod cursor;
mod errors;
mod export;
mod format;
mod keep;
mod paging;
mod parent;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::cadence::Schedule;
use crate::ids::{DatasetName, JobName, PartitionKey};
use crate::schema::ColumnType;
use crate::template::Template;

use super::secret::SecretRef;
use super::service::{AlertChannel, WebSettings};

pub use auth::{
    ApiKeyPlace, Auth, Client, ClientIdentity, ClientPlace, Grant, Hmac, HmacAlgorithm, HmacEncoding, JwtAlgorithm, JwtBearer,
    OAuth2, Session, SessionPlace,
};
pub use body::{PlainRequest, QueryText, RequestBody};
pub use common::Common;
pub use cursor::{Cursor, CursorFormat, CursorNulls, CursorType, Order};
pub use errors::{ErrorRule, Then};
pub use export::{Export, Poll};
pub use format::{Csv, Format, Packing, Xml};
pub use keep::Keep;
pub use paging::{CountedEnd, LastPage, Paging, PagingKind, Placed, TokenPlace};
pub use parent::Parent;
pub use stream::{Conditional, Stream};

pub use super::limits::{HeaderTrust, LimitGroup, Limits, Pace, PathPattern, Rate};

/// Everything a project says. Jobs whose files have problems are not in it: they are in `Checked::parked`.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The project folder.
    pub root: PathBuf,
    pub settings: Settings,
    pub jobs: BTreeMap<JobName, Job>,
}

/// `config.toml`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the SQLite state stands; absolute. With another state, spools and the daemon's socket lie beside it all the same.
    pub state_path: PathBuf,
    /// The address of a state in Postgres, in place of the file.
    pub state_server: Option<SecretRef>,
    /// Ceiling on data in flight, bytes.
    pub memory: u64,
    /// Jobs at the same time.
    pub runs: usize,
    /// The daemon starts no run while a disk that it writes to has less free, bytes; 0 for no limit.
    pub disk_free: u64,
    pub web: Option<WebSettings>,
    /// In file order.
    pub alerts: Vec<AlertChannel>,
}

/// A job with the source, stream and sink it names, resolved.
#[derive(Clone, Debug)]
pub struct Job {
    pub name: JobName,
    /// The file it stands in, as the user would type it.
    pub file: String,
    pub enabled: bool,
    /// When it runs by itself.
    pub schedule: Option<Schedule>,
    /// Jobs whose success makes it run; each is in the catalog or parked, and none depends on itself.
    pub after: Vec<JobName>,
    pub catch_up: CatchUp,
    /// At most this much later than due, where jobs with the same credential come due at the same moment.
    pub jitter: SignedDuration,
    pub source: Common<Source>,
    pub stream: Common<Stream>,
    pub sink: Common<Sink>,
    pub dataset: DatasetName,
    pub table: String,
    pub mode: Mode,
    /// What becomes of rows whose record says that it was deleted; only in a merge.
    pub on_delete: OnDelete,
    /// A row never moves to another partition: a merge looks for it in its own alone.
    pub partition_immutable: bool,
    pub partition_by: Vec<PartitionColumn>,
    /// Parameter values that all sets have in common, after defaults, by name.
    pub parameters: BTreeMap<String, String>,
    /// What is read, each with its own coverage; never empty. Without `for_each` it is one set with an empty key.
    pub sets: Vec<ParameterSet>,
    pub window: Window,
    pub steps: Vec<Step>,
    /// Declared types by the dotted path of the source's record field; they win over inferred ones.
    pub columns: BTreeMap<String, DeclaredType>,
    pub on_type_change: OnTypeChange,
    /// Rows carry `_hw_commit` and `_hw_extracted_at`.
    pub metadata: bool,
    /// What becomes of files that leave the table.
    pub keep: Keep,
    /// The table should never be older than this.
    pub freshness: Option<Duration>,
}

/// What becomes of due times at which a job could not run, because nothing ran at all or its last run was not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CatchUp {
    /// They are dropped.
    None,
    /// One run makes up for all of them.
    One,
    /// Each gets a run, one after the other.
    All,
}

impl CatchUp {
    pub fn name(self) -> &'static str {
        match self {
            CatchUp::None => "none",
            CatchUp::One => "one",
            CatchUp::All => "all",
        }
    }
}

/// One entry of `for_each`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSet {
    /// Made of what the entry says, and of that alone: what is common may change without it.
    pub partition: PartitionKey,
    /// All parameter values, the common ones included; what templates see.
    pub parameters: BTreeMap<String, String>,
}

impl Job {
    /// The job that reads the stream that this one's stream is gone over for.
    pub fn of_parent(&self) -> Option<Job> {
        let parent = self.stream.parent.as_ref()?;
        let mut stream = Common::new(parent.stream.as_ref().clone());
        if !parent.changed_only {
            // All of them are gone over: what orders them must not put one aside.
            stream.cursor = None;
        }
        let (mode, on_type_change) = (Mode::Append, OnTypeChange::NewColumn);
        let (steps, columns, partition_by) = (Vec::new(), BTreeMap::new(), Vec::new());
        Some(Job { stream, mode, on_type_change, steps, columns, partition_by, ..self.clone() })
    }

    /// Whether coverage tells of each record that the stream is gone over for: children with a cursor of their own.
    pub fn tells_parents_apart(&self) -> bool {
        let is_time = self.stream.cursor.as_ref().is_some_and(|cursor| cursor.cursor_type.is_time());
        let all = self.stream.parent.as_ref().is_some_and(|parent| !parent.changed_only);
        all && is_time && self.mode != Mode::Replace
    }

    /// The parameters that requests for the stream, and for those that it is gone over for, are made of.
    pub fn parameters_used(&self) -> BTreeSet<String> {
        let mut streams: Vec<&Stream> = vec![&self.stream];
        while let Some(parent) = streams.last().and_then(|stream| stream.parent.as_ref()) {
            streams.push(&parent.stream);
        }
        let cursors = streams.iter().filter_map(|stream| stream.cursor.as_ref()).flat_map(|cursor| &cursor.query);
        let named = cursors.map(|(_, template)| template).chain(self.source.headers.iter().map(|(_, template)| template));
        let templates = streams.iter().flat_map(|stream| stream.templates()).chain(named);
        let mut used: BTreeSet<String> = templates.flat_map(Template::names).map(str::to_owned).collect();
        // A login, and the later requests of an export, may be made of any of them.
        if matches!(self.source.auth, Auth::Session(..)) || streams.iter().any(|stream| stream.export.is_some()) {
            used.extend(self.sets.iter().flat_map(|set| set.parameters.keys().cloned()));
        }
        used
    }

    /// Whether the job goes over parameter sets.
    pub fn is_for_each(&self) -> bool {
        self.sets.iter().any(|set| !set.partition.is_none())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every version of a record is a row.
    Append,
    /// One row a key: the newest.
    Merge,
    /// The table is what the last run read.
    Replace,
}

/// What a deleted record does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The row stays as it was last seen and is marked in `_hw_deleted`.
    Soft,
    /// The row goes.
    Hard,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Mode::Append => "append",
            Mode::Merge => "merge",
            Mode::Replace => "replace",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTypeChange {
    NewColumn,
    DeadLetter,
    Fail,
}

/// An API, as far as it is the same for every job.
#[derive(Clone, Debug)]
pub struct Source {
    pub name: String,
    pub file: String,
    /// Nobody has held it to the API yet, by its own word.
    pub experimental: bool,
    /// Without query and fragment; its path is the prefix of every stream's path.
    pub base_url: Url,
    /// Header values are templates over the parameters.
    pub headers: Vec<(HeaderName, Template)>,
    pub auth: Auth,
    /// Hosts (no scheme, optional port) that next links and redirects may also lead to, without credentials.
    pub allow_hosts: Vec<String>,
    pub allow_private: bool,
    pub proxy: Option<Url>,
    pub ca_file: Option<PathBuf>,
    pub identity: Option<ClientIdentity>,
    /// For one request, from connecting to the last byte of the body.
    pub timeout: Duration,
    /// Largest decompressed body, bytes.
    pub body_max: u64,
    pub limits: Limits,
    /// Attempts per page, the first included.
    pub attempts_max: u32,
}

/// `[window]`.
#[derive(Clone, Debug)]
pub struct Window {
    pub start: Option<Timestamp>,
    /// A whole-number start for integer cursors.
    pub start_integer: Option<i128>,
    /// Length of a slice; above zero. A day is 24 hours: slices are cut in UTC.
    pub step: Option<SignedDuration>,
    pub settle: SignedDuration,
    /// What every run reads again behind the mark: a length of time, or units of a whole-number cursor.
    pub lookback: Option<Lookback>,
}

/// How far behind the mark a run reads again; above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookback {
    Time(SignedDuration),
    Integer(i128),
}

#[derive(Clone, Debug)]
pub struct Sink {
    pub name: String,
    pub file: String,
    pub format: TableFormat,
    pub place: SinkPlace,
    /// What `[storage]` says, secrets as references.
    pub storage: BTreeMap<String, StorageValue>,
    pub parquet: ParquetSettings,
    pub keep: Keep,
}

/// What a sink's tables are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableFormat {
    /// Files in folders.
    #[default]
    Parquet,
    /// The same files, with a log beside them that says which of them count.
    Delta,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkPlace {
    /// An absolute folder.
    Local(PathBuf),
    S3 {
        bucket: String,
        prefix: String,
    },
    /// Google Cloud Storage.
    Gcs {
        bucket: String,
        prefix: String,
    },
    /// A container of Azure Blob Storage; `account_name` of `[storage]` says whose.
    Azure {
        container: String,
        prefix: String,
    },
}

#[derive(Clone, Debug)]
pub enum StorageValue {
    Text(String),
    Secret(SecretRef),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParquetSettings {
    pub compression: Compression,
    /// Files are closed at about this size, bytes.
    pub file_size: u64,
    pub row_group_size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Snappy,
    Zstd(i32),
}

/// One entry of `partition_by`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionColumn {
    /// A column of the table, after the steps.
    pub column: String,
    pub unit: PartitionUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionUnit {
    /// The value itself; the column stands in the path only.
    Value,
    Year,
    Month,
    Day,
    Hour,
}

impl PartitionColumn {
    /// The directory's key: `created_at_month`, or the column itself.
    pub fn key(&self) -> String {
        match self.unit {
            PartitionUnit::Value => self.column.clone(),
            PartitionUnit::Year => format!("{}_year", self.column),
            PartitionUnit::Month => format!("{}_month", self.column),
            PartitionUnit::Day => format!("{}_day", self.column),
            PartitionUnit::Hour => format!("{}_hour", self.column),
        }
    }

    /// The partition whose directories have this key, where no column of the table is called so.
    pub fn from_key(key: &str) -> Self {
        const UNITS: [(&str, PartitionUnit); 4] = [
            ("_year", PartitionUnit::Year),
            ("_month", PartitionUnit::Month),
            ("_day", PartitionUnit::Day),
            ("_hour", PartitionUnit::Hour),
        ];
        let cut = UNITS.iter().find_map(|(ending, unit)| Some((key.strip_suffix(ending)?, *unit)));
        let (column, unit) = cut.unwrap_or((key, PartitionUnit::Value));
        PartitionColumn { column: column.to_owned(), unit }
    }
}

/// A type that a user declares for a source field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeclaredType {
    /// Boolean, Int64, Float64, Decimal, Text, Json, Timestamp or Date.
    Column(ColumnType),
    EpochS,
    EpochMs,
    EpochUs,
}

/// One `[[steps]]` entry with its place in the file, for messages.
#[derive(Clone, Debug)]
pub struct Step {
    /// Counted from 1.
    pub number: usize,
    /// Line in the job's file.
    pub line: usize,
    pub kind: StepKind,
}

#[derive(Clone, Debug)]
pub enum StepKind {
    /// Keep these columns, in this order.
    Select(Vec<String>),
    Drop(Vec<String>),
    /// Old name to new name, in file order.
    Rename(Vec<(String, String)>),
    /// Column to type.
    Cast(Vec<(String, ColumnType)>),
    /// New or replaced column to SQL expression, in file order; all see the step's input.
    Derive(Vec<(String, String)>),
    /// SQL predicate; rows for which it is not true are filtered.
    Filter(String),
    /// Struct columns whose fields become columns `outer<separator>inner`, recursively.
    Flatten {
        columns: Vec<String>,
        separator: String,
    },
    /// A row-wise query over the table `batch`.
    Sql(String),
}

impl StepKind {
    pub fn name(&self) -> &'static str {
        match self {
            StepKind::Select(_) => "select",
            StepKind::Drop(_) => "drop",
            StepKind::Rename(_) => "rename",
            StepKind::Cast(_) => "cast",
            StepKind::Derive(_) => "derive",
            StepKind::Filter(_) => "filter",
            StepKind::Flatten { .. } => "flatten",
            StepKind::Sql(_) => "sql",
        }
    }
}
