//! One slice from the first request to its last row: pages flow, the next is asked for while this one is worked on. Where its rows go
//! is [`Stage`]'s.

mod changed;
mod part;

use jiff::{SignedDuration, Timestamp};

use crate::batch::Counts;
use crate::config::catalog::{Job, Mode};
use crate::cursor::CursorKey;
use crate::error::{ErrorKind, chain};
use crate::event::Event;
use crate::ids::BatchId;
use crate::page::{Answered, PagePosition, RawPage};
use crate::plan;
use crate::schema::TableSchema;
use crate::sink::content::Digest;
use crate::sink::current::Current;
use crate::sink::live::index_at;
use crate::sink::merge::{Touched, carry};
use crate::sink::settle::Head;
use crate::sink::stage::StagedFile;
use crate::sink::table;
use crate::slice::{Cover, Reach, Slice, Span};
use crate::source::FetchError;

use super::keyed::{self, Keyed, Picked};
use super::misfits::Misfits;
use super::order::{Behind, More, Progress, Rest};
use super::overlap::Overlap;
use super::refine::{RefineError, Refined, Refinery};
use super::repeated::Repeated;
use super::spool::Spool;
use super::stage::{Rows, Stage};
use super::whole::{Desk, explain, fetch};
use super::{Ports, RunError, RunOptions};

/// Pages up to which a change of types encodes anew at once.
const FEW_PAGES: usize = 8;

/// What a slice came to.
pub(super) struct SliceRead {
    pub cover: Option<Cover>,
    pub files: Vec<StagedFile>,
    /// Live files that the slice's rows replace.
    pub replaces: Replaced,
    pub counts: Counts,
    pub read_schema: TableSchema,
    pub schema: TableSchema,
    pub pages: u64,
    pub bytes: u64,
    pub changes: Vec<String>,
    /// The first record that does not fit: its field, and why.
    pub misfit: Option<String>,
    /// How far the source's clock is ahead of ours.
    pub skew: Option<SignedDuration>,
    /// The slice reached into time that is not closed yet and was cut short.
    pub cut_short: bool,
    /// Only the first part of the slice was read, and this comes behind it.
    pub more: Option<More>,
    /// That part, where it is a stretch of time.
    pub part: Option<Slice>,
    /// By what to ask whether it has changed, where one answer was all of it.
    pub answered: Option<Answered>,
}

/// Live files that leave the table with a commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Replaced {
    pub paths: Vec<String>,
    /// Rows of them that stand in the new files as they were.
    pub carried: u64,
    /// Rows of them that are gone.
    pub superseded: u64,
    /// The digest of the rows that replace them.
    pub content: Option<String>,
}

/// Reads a slice and stages its rows. On an error nothing of it is left but orphans that no reader sees.
pub(super) async fn read_slice(
    job: &Job,
    ports: &Ports,
    head: &Head,
    slice: &Slice,
    rest: Option<Box<Rest>>,
    batch: BatchId,
    index: &mut Option<Current>,
) -> Result<SliceRead, RunError> {
    if let Some(roster) = &ports.roster {
        roster.begin(job, ports, head, slice, index).await?;
    }
    let before = if rest.is_none() { changed::before(job, ports, head, slice, index).await? } else { None };
    let mut reading = Reading::begin(job, ports, head, slice, batch)?;
    let read = match reading.read_pages(rest, before).await {
        Ok(()) if reading.is_unchanged => Ok(()),
        // Nothing of it counts: it is read again in two halves.
        Ok(()) if matches!(reading.more, Some(More::Split(_))) => {
            reading.stage.abort().await;
            reading.nothing_closed = true;
            Ok(())
        }
        Ok(()) => reading.settle_keys(index).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(()) => reading.finish().await,
        Err(error) => {
            reading.stage.abort().await;
            Err(error)
        }
    }
}

struct Reading<'a> {
    job: &'a Job,
    ports: &'a Ports,
    head: &'a Head,
    slice: &'a Slice,
    batch: BatchId,
    /// The table as it is committed.
    table: Option<TableSchema>,
    desk: Desk,
    reach: Reach,
    spool: Spool,
    stage: Stage<'a>,
    /// Where rows are compared with the table's before they are written.
    options: RunOptions,
    keyed: Option<Keyed>,
    replaces: Replaced,
    /// Of the rows, where they replace a table.
    digest: Digest,
    /// Types changed and encoding waits for the slice's end.
    waits: bool,
    pages_at_restart: usize,
    counts: Counts,
    pages: u64,
    bytes: u64,
    changes: Vec<String>,
    skew: Option<SignedDuration>,
    cut_short: bool,
    /// Nothing of the slice is closed yet, or nothing of it counts.
    nothing_closed: bool,
    /// The source says that there is nothing but what was read before.
    is_unchanged: bool,
    answered: Option<Answered>,
    /// What the source gave last to go on with.
    token: Option<String>,
    /// The slice that requests are for: the reading's own, or where it has got to.
    asked: Slice,
    /// Where the source keeps an order, and has kept it so far.
    progress: Option<Progress>,
    /// The greatest cursor of each page in the spool, where there is an order.
    page_ends: Vec<Option<CursorKey>>,
    /// Where the slice began, if this reading goes on with it.
    lowest: Option<Reach>,
    more: Option<More>,
    overlap: Option<Overlap>,
    repeated: Repeated,
    misfits: Misfits,
}

impl<'a> Reading<'a> {
    fn begin(job: &'a Job, ports: &'a Ports, head: &'a Head, slice: &'a Slice, batch: BatchId) -> Result<Self, RunError> {
        // A table that was emptied, or has no row yet, binds no type.
        let known = |schema: &&TableSchema| !schema.fields.is_empty();
        let read_schema = head.record.as_ref().map(|record| &record.read_schema).filter(known);
        let refinery = Refinery::new(job, read_schema, ports.source.wanted(), slice).map_err(explain)?;
        Ok(Reading {
            job,
            ports,
            head,
            slice,
            batch,
            table: head.record.as_ref().map(|record| &record.schema).filter(known).cloned(),
            desk: Desk::new(refinery),
            reach: slice.reach.clone(),
            spool: Spool::new(&ports.spool, batch, ports.memory),
            stage: Stage::new(job, ports, slice, batch),
            options: ports.options.clone(),
            keyed: keyed::is_needed(job, head.state.generation).then(|| Keyed::new(job, ports, batch)),
            replaces: Replaced::default(),
            digest: Digest::default(),
            waits: false,
            pages_at_restart: 0,
            counts: Counts::default(),
            pages: 0,
            bytes: 0,
            changes: Vec::new(),
            skew: None,
            cut_short: false,
            nothing_closed: false,
            is_unchanged: false,
            answered: None,
            token: None,
            asked: slice.clone(),
            progress: Progress::of(job),
            page_ends: Vec::new(),
            lowest: None,
            more: None,
            overlap: Overlap::of(job),
            repeated: Repeated::of(job),
            misfits: Misfits::default(),
        })
    }

    async fn read_pages(&mut self, rest: Option<Box<Rest>>, before: Option<Answered>) -> Result<(), RunError> {
        let next = match rest {
            Some(rest) => self.go_on(*rest).await?,
            None => PagePosition::start(),
        };
        let source = self.ports.source.as_ref();
        let first = match before {
            Some(before) => changed::fetch(source, &self.asked, &before).await?,
            None => Some(fetch(source, &self.asked, &next, 1).await?),
        };
        let Some(page) = first else {
            self.nothing_closed = true;
            self.is_unchanged = true;
            return Ok(());
        };
        if self.lowest.is_none() && !self.close_time(&page)? {
            self.nothing_closed = true;
            self.pages += 1;
            self.bytes += page.body.len() as u64;
            return Ok(());
        }
        let mut at_desk = self.desk.whole(self.job, source, &self.asked, self.read_on(page).await).await?;
        loop {
            let (whole, refined) = at_desk;
            let failed = |error: FetchError| RunError::new(error.kind, chain(&error));
            let next = source.next(&self.asked, &whole.position, &refined.envelope, &whole.headers).map_err(failed)?;
            let token = source.token(self.slice, &refined.envelope, &whole.headers).map_err(failed)?;
            self.token = token.or(self.token.take());
            self.repeated
                .look(&whole, &refined.raw, next.is_none())
                .map_err(|message| RunError::new(ErrorKind::Data, message))?;
            self.tell_page(&whole, &refined);
            self.spool.keep(&whole).await?;
            let cap = source.cap(&whole.position, &refined.envelope, &whole.headers);
            let next = self.follow(&whole, &refined, next)?;
            if self.is_too_much(cap) {
                return self.end_at_cap(refined).await;
            }
            let Some(position) = next else {
                self.answered = whole.answered.filter(|_| self.pages == 1);
                self.stage_page(refined).await?;
                break;
            };
            let is_much = self.progress.as_ref().filter(|progress| progress.is_much(self.spool.is_much()));
            if let Some(part) = is_much.and_then(|progress| progress.part(&self.reach)) {
                self.stage_page(refined).await?;
                return self.end_at(part, Behind::Page(position)).await;
            }
            at_desk = match self.stage_and_go_on(refined, &position).await? {
                Ok(page) => page,
                Err(error) => return self.end_by(error).await,
            };
        }
        self.check_token()?;
        if self.waits {
            self.encode_anew().await?;
        }
        Ok(())
    }

    /// Where no token ever came, the next run would read everything again, as would all after it, and nobody would know.
    fn check_token(&self) -> Result<(), RunError> {
        let (Reach::Token(before), Some(cursor), None) = (&self.reach, &self.job.stream.cursor, &self.token) else {
            return Ok(());
        };
        let what = format!("no page held a token at `{}`", cursor.field);
        if before.is_none() {
            let message = format!("{what}, so the next run could not go on from there: check the cursor's `field`");
            return Err(RunError::new(ErrorKind::Config, message));
        }
        tracing::warn!(job.id = %self.job.name, "{what}: the next run begins with the token of this one");
        Ok(())
    }

    /// Cuts the slice to what is closed by the source's own clock; false if nothing of it is.
    fn close_time(&mut self, page: &RawPage) -> Result<bool, RunError> {
        let believed = page.received_at.checked_add(plan::CLOCK_AHEAD_MAX).unwrap_or(Timestamp::MAX);
        let source_now = page.source_now.filter(|source_now| *source_now <= believed);
        if let (Some(told), None) = (page.source_now, source_now) {
            tracing::warn!(job.id = %self.job.name, "the source says it is {told}, which is not believed: time is closed by this machine's clock");
        }
        self.skew = source_now.map(|source_now| source_now.duration_since(page.received_at));
        let (Reach::Time(span), Some(cursor)) = (&self.reach, self.job.stream.window_cursor()) else { return Ok(true) };
        let source_now = source_now.unwrap_or(page.received_at);
        let Some(end) = plan::closed_end(cursor, self.job.window.settle, source_now) else { return Ok(true) };
        if end >= span.to {
            return Ok(true);
        }
        self.cut_short = true;
        if span.from.is_some_and(|from| end <= from) {
            return Ok(false);
        }
        self.reach = Reach::Time(Span::new(span.from, end));
        self.desk.refinery()?.set_reach(self.reach.clone());
        Ok(true)
    }

    fn tell_page(&mut self, page: &RawPage, refined: &Refined) {
        self.pages += 1;
        self.bytes += page.body.len() as u64;
        self.misfits.note(&refined.rejects);
        let (job, bytes) = (self.job.name.clone(), page.body.len() as u64);
        self.ports.events.tell(Event::PageFetched { job, bytes, records: refined.envelope.records, total: None });
    }

    /// Stages a page while the next is fetched and refined, even where the line before the encoder is full. The inner error is that the
    /// next page cannot be had.
    async fn stage_and_go_on(
        &mut self,
        refined: Refined,
        next: &PagePosition,
    ) -> Result<Result<(RawPage, Refined), RunError>, RunError> {
        let (job, source, asked) = (self.job, self.ports.source.as_ref(), self.asked.clone());
        self.note_changes(&refined);
        let Some(schema) = self.fits_stage(&refined)? else {
            // What was staged of earlier pages is of no use any more, and the desk is needed for them.
            let (staged, fetched) = tokio::join!(self.stage_anew(), fetch(source, &asked, next, 1));
            staged?;
            return match fetched {
                Ok(page) => self.desk.whole(job, source, &asked, page).await.map(Ok),
                Err(error) => Ok(Err(error)),
            };
        };
        let mut desk = self.desk.lend();
        let (staged, come) = tokio::join!(self.encode(refined, schema), async {
            match fetch(source, &asked, next, 1).await {
                Ok(page) => desk.whole(job, source, &asked, page).await.map(Ok),
                Err(error) => Ok(Err(error)),
            }
        });
        self.desk = desk;
        staged?;
        come
    }

    /// Rows to the encoder, its bytes to the store.
    async fn stage_page(&mut self, refined: Refined) -> Result<(), RunError> {
        self.note_changes(&refined);
        match self.fits_stage(&refined)? {
            Some(schema) => self.encode(refined, schema).await,
            None => self.stage_anew().await,
        }
    }

    /// A change of types throws away what was encoded of this slice and begins anew from the spool: at once while that is little work,
    /// else once at the slice's end, so that the work stays within twice the pages.
    async fn stage_anew(&mut self) -> Result<(), RunError> {
        let pages = self.spool.pages();
        self.waits |= pages > FEW_PAGES && pages < 2 * self.pages_at_restart;
        if self.waits { Ok(()) } else { self.encode_anew().await }
    }

    fn note_changes(&mut self, refined: &Refined) {
        if self.table.is_some() {
            self.changes.extend(refined.changes.iter().cloned());
        }
    }

    /// The table's columns after a page, where its rows go to those that are staged already; `None` where they change what these are.
    fn fits_stage(&self, refined: &Refined) -> Result<Option<TableSchema>, RunError> {
        if self.waits {
            return Ok(None);
        }
        let schema = self.schema_of(refined)?;
        // What became of earlier pages may hang on a type that has just changed, and a page without a row does not tell its columns.
        let is_other =
            (!refined.changes.is_empty() && self.spool.pages() > 1) || self.known_schema().is_some_and(|known| *known != schema);
        Ok(Some(schema).filter(|_| !is_other))
    }

    /// The columns that the rows so far have come to.
    fn known_schema(&self) -> Option<&TableSchema> {
        let collected = self.keyed.as_ref().and_then(|keyed| keyed.schema.as_ref());
        self.stage.schema().or(collected)
    }

    /// The table's columns after a page; one without a row says nothing of them.
    fn schema_of(&self, refined: &Refined) -> Result<TableSchema, RunError> {
        if refined.batch.rows.num_rows() == 0 {
            return Ok(self.known_schema().or(self.table.as_ref()).cloned().unwrap_or_default());
        }
        let found =
            TableSchema::from_arrow(&refined.batch.rows.schema()).map_err(|message| RunError::new(ErrorKind::Config, message))?;
        Ok(table::evolve(self.table.as_ref(), &found)?)
    }

    async fn encode(&mut self, refined: Refined, schema: TableSchema) -> Result<(), RunError> {
        self.counts.add(&refined.counts);
        if let Some(keyed) = &mut self.keyed {
            if refined.batch.rows.num_rows() > 0 {
                keyed.schema = Some(schema);
            }
            return keyed.collect(self.job, &refined);
        }
        if let Some(marks) = &refined.batch.marks {
            self.digest.add(&marks.hashes);
            self.digest.add_bytes(refined.rejects.iter().map(|reject| reject.record.as_ref()));
        }
        let weight = refined.raw.json().len() as u64;
        let rows = Rows { weight, batch: Some(refined.batch), rejects: refined.rejects, ..Rows::default() };
        self.stage.write(rows, schema).await
    }

    /// Encodes all pages so far with the types that are known now.
    async fn encode_anew(&mut self) -> Result<(), RunError> {
        self.waits = false;
        self.stage.begin_anew().await?;
        self.counts = Counts::default();
        self.digest = Digest::default();
        self.pages_at_restart = self.spool.pages();
        if let Some(keyed) = &mut self.keyed {
            keyed.begin_anew(self.job);
        }
        self.desk.refinery()?.begin_anew();
        for index in 0..self.spool.pages() {
            let refined = self.refine_again(index).await?;
            let schema = self.schema_of(&refined)?;
            self.encode(refined, schema).await?;
        }
        Ok(())
    }

    /// A page that was read before, once more.
    async fn refine_again(&mut self, index: usize) -> Result<Refined, RunError> {
        let page = self.spool.page(index).await?;
        let refined = self.desk.refine(&page).await?.map_err(explain)?;
        if refined.changes.is_empty() {
            return Ok(refined);
        }
        let message = format!("page {} changed the types when it was read a second time", index + 1);
        Err(RunError::new(ErrorKind::Bug, message))
    }

    /// Where rows are compared with the table's: finds out which of them count, and writes these, the rejects, and what stays of
    /// the files that they touch. Where the table is replaced: names all that it has.
    async fn settle_keys(&mut self, index: &mut Option<Current>) -> Result<(), RunError> {
        if self.job.mode == Mode::Replace {
            return self.replace_all(index).await;
        }
        let Some(mut keyed) = self.keyed.take() else { return Ok(()) };
        if !keyed.is_empty() {
            let index = index_at(self.ports.store.as_ref(), &self.job.dataset, self.head, index).await?;
            // What is read of a parent that comes late may be older than anything that is there.
            let holes = self.ports.roster.is_some() || keyed::has_holes(self.job, &self.head.state.coverage, self.slice);
            keyed.resolve(self.job, self.ports, self.head, index, holes).await?;
        }
        let collected = std::mem::take(&mut self.counts);
        if !keyed.changes_something()? {
            self.counts = keyed.counts_of_nothing(&collected)?;
            return Ok(());
        }
        self.stage.keys_max = Some(keyed.keys_max());
        self.stage.carries(&keyed.resolution.touched).await?;
        let schema = keyed.schema.clone().or_else(|| self.table.clone()).unwrap_or_default();
        self.desk.refinery()?.begin_anew();
        for index in 0..self.spool.pages() {
            let refined = self.refine_again(index).await?;
            let weight = refined.raw.json().len() as u64;
            let Picked { batch, rejects, counts, buried_keys, buried_cursors } = keyed.pick(refined)?;
            self.counts.add(&counts);
            let rows = Rows { weight, batch: Some(batch), rejects, buried_keys, buried_cursors, ..Rows::default() };
            self.stage.write(rows, schema.clone()).await?;
        }
        let touched = keyed.resolution.touched.iter().filter(|_| self.ports.guards.rewrite_touched);
        for touched in touched {
            self.carry(touched, &schema).await?;
        }
        Ok(())
    }

    /// The slice is all that there is: everything that the table has leaves with it.
    async fn replace_all(&mut self, index: &mut Option<Current>) -> Result<(), RunError> {
        let index = index_at(self.ports.store.as_ref(), &self.job.dataset, self.head, index).await?;
        let set = &self.slice.partition;
        let content = self.digest.text();
        if self.ports.guards.same_content && index.contents.get(set) == Some(&content) {
            return self.leave_as_it_is().await;
        }
        self.replaces.content = Some(content);
        let old = index.files.iter().filter(|(_, file)| file.set == *set);
        for (path, file) in old {
            self.replaces.paths.push(path.clone());
            self.replaces.superseded += file.rows;
        }
        let (had, has) = (self.replaces.superseded, self.counts.kept);
        if self.cut_short && self.pages == 0 || self.replaces_safely(had, has) {
            return Ok(());
        }
        let message = format!(
            "the source gave {has} rows where the table {} has {had}: too few to replace it; if that is right, run `highwater run {} --force`",
            self.job.table, self.job.name
        );
        Err(RunError::new(ErrorKind::Data, message))
    }

    /// The table holds these very rows.
    async fn leave_as_it_is(&mut self) -> Result<(), RunError> {
        self.stage.abort().await;
        self.counts.unchanged += std::mem::take(&mut self.counts.kept);
        Ok(())
    }

    /// An empty or much smaller answer is more often the source's trouble than the truth.
    fn replaces_safely(&self, had: u64, has: u64) -> bool {
        !self.ports.guards.enough_to_replace || self.options.force || had == 0 || (has > 0 && has.saturating_mul(2) >= had)
    }

    /// Takes over what stays of a file that the slice touches.
    async fn carry(&mut self, touched: &Touched, schema: &TableSchema) -> Result<(), RunError> {
        let mut carried = carry(&self.ports.store, touched, self.batch).await?;
        while let Some(rows) = carried.next().await? {
            self.replaces.carried += rows.num_rows() as u64;
            let (partition, weight) = (touched.file.partition.clone(), rows.get_array_memory_size() as u64);
            let rows = Rows { weight, carried: Some((partition, rows)), ..Rows::default() };
            self.stage.write(rows, schema.clone()).await?;
        }
        self.replaces.superseded += touched.rows_gone();
        self.replaces.paths.push(touched.path.clone());
        Ok(())
    }

    /// What the slice has taught about parents goes with its rows: they count for the same parents, or not at all.
    async fn stage_parents(&mut self) -> Result<(), RunError> {
        let (Some(roster), Reach::Time(span)) = (&self.ports.roster, &self.reach) else { return Ok(()) };
        let Some(change) = roster.change(span, self.batch)? else { return Ok(()) };
        let schema =
            self.stage.open_schema().or_else(|| self.known_schema()).or(self.table.as_ref()).cloned().unwrap_or_default();
        let mut rows = change.rows()?;
        while let Some(parents) = rows.next()? {
            let weight = parents.get_array_memory_size() as u64;
            self.stage.write(Rows { weight, parents: Some(parents), ..Rows::default() }, schema.clone()).await?;
        }
        self.replaces.paths.extend(change.replaces.iter().cloned());
        Ok(())
    }

    async fn finish(mut self) -> Result<SliceRead, RunError> {
        if !self.nothing_closed
            && let Err(error) = self.stage_parents().await
        {
            self.stage.abort().await;
            return Err(error);
        }
        if let Some(message) = self.misfits.refuse(&self.counts, self.job).filter(|_| !self.options.force) {
            self.stage.abort().await;
            return Err(RunError::new(ErrorKind::Data, message));
        }
        // Nothing is read again.
        let staged = self.stage.finish(self.spool).await?;
        let (schema, files) = staged.unwrap_or_else(|| (self.table.clone().unwrap_or_default(), Vec::new()));
        let mut desk = self.desk;
        let refinery = desk.refinery()?;
        if let Some(More::Rest(rest)) = &mut self.more {
            rest.recent = refinery.take_recent();
        }
        let cover =
            if self.nothing_closed { None } else { cover(self.slice, &self.reach, refinery, self.token).map_err(explain)? };
        let is_part = self.more.is_some() && !self.nothing_closed && matches!(self.reach, Reach::Time(_));
        let part = is_part.then(|| Slice { partition: self.slice.partition.clone(), reach: self.reach.clone() });
        Ok(SliceRead {
            part,
            cover,
            files,
            replaces: self.replaces,
            counts: self.counts,
            read_schema: refinery.read_schema().clone(),
            schema,
            pages: self.pages,
            bytes: self.bytes,
            changes: self.changes,
            misfit: self.misfits.first(),
            skew: self.skew,
            cut_short: self.cut_short,
            answered: self.answered.filter(|_| self.more.is_none()),
            more: self.more,
        })
    }
}

fn cover(slice: &Slice, reach: &Reach, refinery: &Refinery, token: Option<String>) -> Result<Option<Cover>, RefineError> {
    let partition = slice.partition.clone();
    Ok(match reach {
        Reach::Snapshot => None,
        Reach::Time(span) => Some(Cover::Span { partition, from: span.from, to: span.to }),
        Reach::Mark(before) => {
            let mark = refinery.cursor_mark()?.filter(|mark| Some(mark) != before.as_ref());
            mark.map(|mark| Cover::Mark { partition, before: before.clone(), mark })
        }
        Reach::Token(before) => {
            let token = token.filter(|token| Some(token) != before.as_ref());
            token.map(|token| Cover::Token { partition, before: before.clone(), token })
        }
    })
}
