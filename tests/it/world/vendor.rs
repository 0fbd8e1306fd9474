//! Vendors' APIs, played after their documentation: a server that answers as `tests/it/vendors/NAME.toml` says, and what it made
//! as the truth to compare a lake with. Whatever such a file cannot say does not belong here; tests/it/vendors/README.md explains it.

mod answer;
mod description;
mod exports;
mod pages;
mod records;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::api::serve;
pub use description::Canned;
use description::Description;
use pages::Token;
pub use records::{Row, get, put};

/// What goes wrong with one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The description's `errors.throttled`.
    Throttled,
    /// The description's `errors.failed`.
    Failed,
    /// The description's `errors.spent`.
    Spent,
    /// One of the description's `answers`, by its place.
    Told(usize),
    /// The right answer, but the connection ends half way through the body.
    Cut,
}

struct Inner {
    description: Description,
    rows: BTreeMap<String, Vec<Row>>,
    /// How many steps of its time have passed.
    steps: usize,
    tokens: Vec<Token>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    exports: Vec<exports::Made>,
    /// No export gets done.
    exports_held: bool,
    hold: Option<Hold>,
    /// Each request by the stream that it was for, and the status that it got.
    asked: Vec<(String, u16)>,
    /// No page is larger, whatever is asked for.
    page_max: usize,
}

/// Every stream answers so many requests, and keeps all others waiting.
struct Hold {
    after: usize,
    answered: BTreeMap<String, usize>,
    waiting: BTreeSet<String>,
}

/// The server. It stops when it is dropped.
pub struct Vendor {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Vendor {
    /// Starts the vendor of this name with so many records in each stream. `page_max` makes short pages where whole ones would take
    /// thousands of records.
    pub fn start(name: &str, records: usize, page_max: usize) -> Self {
        let description = Description::of(name);
        let (faults, asked, tokens) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (exports, rows) = (Vec::new(), BTreeMap::new());
        let (steps, exports_held, hold) = (0, false, None);
        let mut inner = Inner { description, rows, steps, tokens, faults, exports, exports_held, hold, asked, page_max };
        inner.add(records);
        let inner = Arc::new(Mutex::new(inner));
        let shared = inner.clone();
        let (address, stop, thread) = serve(axum::Router::new().fallback(move |request| answer::answer(shared.clone(), request)));
        Vendor { address, inner, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment in which the vendor lets a program in.
    pub fn env(&self) -> BTreeMap<String, String> {
        self.inner.lock().unwrap().description.auth.env.clone()
    }

    pub fn streams(&self) -> Vec<String> {
        self.inner.lock().unwrap().rows.keys().cloned().collect()
    }

    /// What is played without the address of the vendor's page that tells of it.
    pub fn without_ground(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        let Description { auth, errors, answers, streams } = &inner.description;
        let has_ground = |ground: &Option<String>| ground.as_ref().is_some_and(|page| page.starts_with("https://"));
        let mut parts = vec![
            ("errors.throttled".to_owned(), has_ground(&errors.throttled.ground)),
            ("errors.failed".to_owned(), has_ground(&errors.failed.ground)),
        ];
        if !auth.env.is_empty() {
            parts.push(("auth".to_owned(), has_ground(&auth.ground)));
        }
        let others = [("errors.unauthorized", &errors.unauthorized), ("errors.spent", &errors.spent)];
        for (name, canned) in others.into_iter().filter_map(|(name, canned)| Some((name, canned.as_ref()?))) {
            parts.push((name.to_owned(), has_ground(&canned.ground)));
        }
        parts.extend(answers.iter().enumerate().map(|(number, told)| (format!("answers[{number}]"), has_ground(&told.ground))));
        parts.extend(streams.iter().map(|(name, stream)| (format!("streams.{name}"), has_ground(&stream.ground))));
        parts.into_iter().filter(|(_, has_ground)| !has_ground).map(|(name, _)| name).collect()
    }

    /// What the definition's own `[[errors]]` are for: the stream, and the answer's status, headers and body.
    pub fn answers(&self) -> Vec<(String, Canned)> {
        let inner = self.inner.lock().unwrap();
        inner.description.answers.iter().map(|told| (told.stream.clone(), told.canned())).collect()
    }

    /// Whether a day's allowance can be spent.
    pub fn can_be_spent(&self) -> bool {
        self.inner.lock().unwrap().description.errors.spent.is_some()
    }

    /// What the vendor has, in the order in which it was made.
    pub fn truth(&self, stream: &str) -> Vec<Row> {
        self.inner.lock().unwrap().rows[stream].clone()
    }

    /// The time goes on: new records in every stream, and some of the old ones change where anything tells of it.
    pub fn go_on(&self, new: usize) {
        let mut inner = self.inner.lock().unwrap();
        // Beyond what was now until now.
        inner.steps += 100;
        inner.change();
        inner.add(new);
    }

    /// The next requests for this stream go wrong, in this order.
    pub fn fail(&self, stream: &str, faults: &[Fault]) {
        self.inner.lock().unwrap().faults.insert(stream.to_owned(), faults.iter().copied().collect());
    }

    /// The streams that have faults left.
    pub fn unharmed(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        inner.faults.iter().filter(|(_, left)| !left.is_empty()).map(|(name, _)| name.clone()).collect()
    }

    /// Each stream answers so many requests more; whoever asks further waits, until he is killed.
    pub fn hold_after(&self, answers: usize) {
        self.inner.lock().unwrap().hold = Some(Hold { after: answers, answered: BTreeMap::new(), waiting: BTreeSet::new() });
    }

    /// The streams for whose next page somebody waits.
    pub fn waited_for(&self) -> BTreeSet<String> {
        self.inner.lock().unwrap().hold.as_ref().map(|hold| hold.waiting.clone()).unwrap_or_default()
    }

    /// Whoever asks from now on is answered.
    pub fn let_go(&self) {
        self.inner.lock().unwrap().hold = None;
    }

    /// The streams that take several requests of their own.
    pub fn paged(&self) -> BTreeSet<String> {
        let streams = &self.inner.lock().unwrap().description.streams;
        let is_paged = |stream: &description::Stream| stream.parent.is_none() && stream.paging.kind != description::Kind::None;
        streams.iter().filter(|(_, stream)| is_paged(stream)).map(|(name, _)| name.clone()).collect()
    }

    /// No query gives more than so many records from now on, where the vendor has such a limit.
    pub fn lower_caps(&self, records: usize) {
        let mut inner = self.inner.lock().unwrap();
        inner.description.streams.values_mut().filter_map(|stream| stream.cap.as_mut()).for_each(|cap| cap.records = records);
    }

    /// Exports stay under way from now on, or go on.
    pub fn hold_exports(&self, held: bool) {
        self.inner.lock().unwrap().exports_held = held;
    }

    /// How many exports of a stream were asked for so far.
    pub fn exports(&self, stream: &str) -> usize {
        self.inner.lock().unwrap().exports.iter().filter(|made| made.stream() == stream).count()
    }

    /// The requests since this was last called: the stream, empty where none fits, and the status.
    pub fn asked(&self) -> Vec<(String, u16)> {
        std::mem::take(&mut self.inner.lock().unwrap().asked)
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the vendor closes without a panic");
        }
    }
}

impl Inner {
    /// More records in every stream; parents first, then as many children as all of them have.
    fn add(&mut self, count: usize) {
        let Inner { description, rows, steps, .. } = self;
        for (name, stream) in description.streams.iter().filter(|(_, stream)| stream.parent.is_none()) {
            let rows = rows.entry(name.clone()).or_default();
            let first = rows.len() + 1;
            rows.extend((0..count).map(|more| records::make(stream, first + more, *steps + 1 + more)));
        }
        for (name, stream) in &description.streams {
            let Some(parent) = &stream.parent else { continue };
            let id = &description.streams[&parent.stream].id.field;
            let parents = rows[&parent.stream].clone();
            let children = rows.entry(name.clone()).or_default();
            for number in children.len() + 1..=parents.len() * parent.each {
                let above = &parents[(number - 1) / parent.each].value;
                let mut row = records::make(stream, number, *steps + number);
                if let Some(field) = &parent.field {
                    put(&mut row.value, field, get(above, id).unwrap().clone());
                }
                row.under = Some(above.clone());
                children.push(row);
            }
        }
        *steps += count;
    }

    /// Every ninth record changes, which its cursor tells; what has the cursor for a name cannot. The first of them is deleted, where
    /// a vendor says so.
    fn change(&mut self) {
        let mut most = 0;
        for (name, stream) in self.description.streams.iter().filter(|(_, stream)| stream.id.form != "cursor") {
            for (count, row) in self.rows.get_mut(name).unwrap().iter_mut().skip(4).step_by(9).enumerate() {
                records::stamp(stream, row, self.steps + 1 + count);
                if let (0, Some(deleted)) = (count, &stream.deleted) {
                    put(&mut row.value, &deleted.field, deleted.value.clone());
                }
                most = most.max(count + 1);
            }
        }
        self.steps += most;
    }
}
