//! A job against a test server.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::Method;
use async_trait::async_trait;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::config::catalog::{
    Auth, CatchUp, Common, Compression, Conditional, Cursor, CursorFormat, CursorNulls, CursorType, Format, Job, Limits, Mode,
    OnDelete, OnTypeChange, Order, Packing, Paging, PagingKind, ParameterSet, ParquetSettings, Sink, SinkPlace,
    Source as ApiSource, Stream, TableFormat, Window,
};
use crate::config::secret::{ExposeSecret, SecretRef, SecretSource, SecretString};
use crate::error::ErrorKind;
use crate::event::{Event, Events, Listener};
use crate::ids::{DatasetName, JobName, PartitionKey};
use crate::page::{PagePosition, RawPage, ResponsePath};
use crate::quota::Budgets;
use crate::quota::test_clock::TestClock;
use crate::slice::{Reach, Slice, Span};
use crate::source::http::http_source::Surroundings;
use crate::source::http::recording::Wire;
use crate::source::http::resolver::{Lookup, SystemLookup};
use crate::source::http::{HttpSource, Shared, Tokens};
use crate::source::{FetchError, Source};
use crate::stop::Stop;
use crate::template::Template;
use crate::vault::{TokenVault, VaultEntry, VaultError};

pub(super) const SECRET: &str = "CANARY-0123/456";

pub(super) fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

/// A job without cursor, limits and credentials.
pub(super) fn job(base_url: &str) -> Job {
    let source = ApiSource {
        name: "api".to_owned(),
        file: "sources/api.toml".to_owned(),
        experimental: false,
        base_url: Url::parse(base_url).unwrap(),
        headers: Vec::new(),
        auth: Auth::None,
        allow_hosts: Vec::new(),
        allow_private: false,
        proxy: None,
        ca_file: None,
        identity: None,
        timeout: Duration::from_secs(20),
        body_max: 100_000,
        limits: Limits::default(),
        attempts_max: 4,
    };
    let stream = Stream {
        name: "items".to_owned(),
        method: Method::GET,
        path: template("/items"),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
        errors: Vec::new(),
        format: Format::Json,
        packing: Packing::Auto,
        records: ResponsePath::root(),
        records_optional: false,
        one_record: false,
        deleted: None,
        deleted_is: Vec::new(),
        primary_key: Vec::new(),
        paging: Paging { kind: PagingKind::None, pages_max: 100, last: None, result_cap: None },
        conditional: Conditional::Etag,
        cursor: None,
        parent: None,
        export: None,
    };
    let sink = Sink {
        name: "lake".to_owned(),
        file: "sinks/lake.toml".to_owned(),
        format: TableFormat::Parquet,
        place: SinkPlace::Local("/nowhere".into()),
        storage: BTreeMap::new(),
        parquet: ParquetSettings { compression: Compression::None, file_size: 1, row_group_size: 1 },
        keep: Default::default(),
    };
    Job {
        name: JobName::new("items"),
        file: "jobs/items.toml".to_owned(),
        enabled: true,
        schedule: None,
        after: Vec::new(),
        catch_up: CatchUp::One,
        jitter: SignedDuration::ZERO,
        source: Common::new(source),
        stream: Common::new(stream),
        sink: Common::new(sink),
        dataset: DatasetName::new("items"),
        table: "items".to_owned(),
        mode: Mode::Append,
        on_delete: OnDelete::Soft,
        partition_immutable: false,
        partition_by: Vec::new(),
        parameters: BTreeMap::new(),
        sets: vec![ParameterSet { partition: PartitionKey::default(), parameters: BTreeMap::new() }],
        window: Window { start: None, start_integer: None, step: None, settle: SignedDuration::ZERO, lookback: None },
        steps: Vec::new(),
        columns: BTreeMap::new(),
        on_type_change: OnTypeChange::NewColumn,
        metadata: true,
        keep: Default::default(),
        freshness: None,
    }
}

pub(super) fn time_cursor(query: &[(&str, &str)]) -> Cursor {
    Cursor {
        field: "updated_at".to_owned(),
        cursor_type: CursorType::Timestamp,
        token: None,
        query: query.iter().map(|(name, text)| ((*name).to_owned(), template(text))).collect(),
        order: Order::None,
        format: CursorFormat::Rfc3339,
        precision: SignedDuration::from_secs(1),
        timezone: TimeZone::UTC,
        to_inclusive: false,
        nulls: CursorNulls::DeadLetter,
        history_max: None,
    }
}

pub(super) fn bearer() -> Auth {
    Auth::Bearer { token: SecretRef::Env("TOKEN".to_owned()) }
}

pub(super) fn snapshot() -> Slice {
    Slice { partition: PartitionKey::new(""), reach: Reach::Snapshot }
}

pub(super) fn span(from: Option<&str>, to: &str) -> Slice {
    let span = Span::new(from.map(|from| from.parse().unwrap()), to.parse().unwrap());
    Slice { partition: PartitionKey::new(""), reach: Reach::Time(span) }
}

struct Secrets;

impl SecretSource for Secrets {
    fn resolve(&self, secret: &SecretRef) -> Result<SecretString, String> {
        Ok(match secret {
            SecretRef::Literal(secret) => secret.clone(),
            _ => SECRET.into(),
        })
    }
}

/// Keeps every event.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<Event>>);

impl Listener for Heard {
    fn hear(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A lookup that knows one address for every name.
pub(super) struct Everywhere(pub(super) IpAddr);

#[async_trait]
impl Lookup for Everywhere {
    async fn addresses(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![self.0])
    }
}

/// An opened source and the world that it was given.
pub(super) struct World {
    pub(super) clock: Arc<TestClock>,
    pub(super) budgets: Budgets,
    pub(super) stop: Stop,
    pub(super) heard: Arc<Heard>,
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) drawer: Arc<Drawer>,
    pub(super) tokens: Tokens,
    pub(super) wire: Wire,
}

/// A vault that can be told to fail.
#[derive(Default)]
pub(in crate::source::http) struct Drawer {
    entries: Mutex<BTreeMap<String, VaultEntry>>,
    writes: AtomicUsize,
    /// Writes with a number from this one on fail.
    pub(in crate::source::http) broken_from: Mutex<Option<usize>>,
}

impl Drawer {
    /// What is written down, all of it.
    pub(in crate::source::http) fn text(&self) -> String {
        let entries = self.entries.lock().unwrap();
        entries.values().map(|entry| format!("{} {}\n", entry.credential, entry.text.expose_secret())).collect()
    }

    pub(super) fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenVault for Drawer {
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError> {
        Ok(self.entries.lock().unwrap().get(credential).cloned())
    }

    async fn put_tokens(&self, credential: &str, before: u64, text: &SecretString, at: Timestamp) -> Result<bool, VaultError> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        if self.broken_from.lock().unwrap().is_some_and(|from| number >= from) {
            let (action, message) = ("keep the tokens of a credential".to_owned(), "no space left on the disk".to_owned());
            return Err(VaultError { kind: ErrorKind::Unavailable, action, message });
        }
        let mut entries = self.entries.lock().unwrap();
        if entries.get(credential).map_or(0, |entry| entry.version) != before {
            return Ok(false);
        }
        let entry = VaultEntry { credential: credential.to_owned(), version: before + 1, text: text.clone(), at };
        entries.insert(credential.to_owned(), entry);
        Ok(true)
    }

    fn is_shared(&self) -> bool {
        true
    }
}

impl World {
    pub(super) fn new() -> World {
        // What main does; a second time is no harm.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let clock = Arc::new(TestClock::new());
        let drawer = Arc::new(Drawer::default());
        World {
            budgets: Budgets::new(clock.clone()),
            tokens: Tokens::new(clock.clone(), drawer.clone()),
            clock,
            stop: Stop::new(),
            heard: Arc::new(Heard::default()),
            lookup: Arc::new(SystemLookup),
            drawer,
            wire: Wire::Network,
        }
    }

    /// What the next process finds: what was kept, and nothing else.
    pub(super) fn next_process(&self) -> World {
        let tokens = Tokens::new(self.clock.clone(), self.drawer.clone());
        World { clock: self.clock.clone(), drawer: self.drawer.clone(), tokens, ..World::new() }
    }

    pub(super) fn with_lookup(mut self, lookup: impl Lookup + 'static) -> World {
        self.lookup = Arc::new(lookup);
        self
    }

    pub(super) fn try_open(&self, job: &Job) -> Result<HttpSource, FetchError> {
        let around = Surroundings {
            clock: self.clock.clone(),
            events: Events::to(vec![self.heard.clone()]),
            stop: self.stop.clone(),
            lookup: self.lookup.clone(),
        };
        HttpSource::open_with(job, &Secrets, Shared { budgets: &self.budgets, tokens: &self.tokens, wire: &self.wire }, around)
    }

    pub(super) fn open(&self, job: &Job) -> HttpSource {
        self.try_open(job).unwrap()
    }

    /// Fetches the first page of a snapshot.
    pub(super) async fn fetch(&self, job: &Job) -> Result<RawPage, FetchError> {
        self.open(job).fetch(&snapshot(), &PagePosition::start(), 1).await
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.heard.0.lock().unwrap().clone()
    }
}

/// The value of a header in a request's head.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The body of a request.
pub(super) fn body(request: &str) -> &str {
    request.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// The target in a request's first line.
pub(super) fn target(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}
