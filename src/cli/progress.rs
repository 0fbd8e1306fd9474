//! Live progress of runs: one line a job on a terminal, plain lines elsewhere. All of it goes to stderr.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

use crate::batch::Counts;
use crate::clock::Clock;
use crate::event::{Event, Listener};
use crate::ids::JobName;
use crate::slice::{Reach, Slice};

use super::text::{counted, instant, length, one_line, shortened, size, thousands};

/// How often a waiting line shows that it is alive.
const TICK: Duration = Duration::from_millis(120);

/// The lines at the bottom of the terminal, and what is written above them. Cheap to clone.
#[derive(Clone)]
pub struct Screen {
    lines: MultiProgress,
    live: bool,
}

impl Screen {
    /// A screen that is not `live` draws nothing and writes plain lines.
    pub fn new(live: bool) -> Self {
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Screen { lines: MultiProgress::with_draw_target(target), live }
    }

    /// Writes a line above the live ones.
    pub fn say(&self, text: &str) {
        let mut writer = self.clone();
        // stderr being gone is no reason to stop a load.
        let _lost = writer.write_all(format!("{text}\n").as_bytes());
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lines.suspend(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = Screen;

    fn make_writer(&'a self) -> Screen {
        self.clone()
    }
}

/// Shows the events of runs.
pub struct Progress {
    screen: Screen,
    clock: Arc<dyn Clock>,
    jobs: Mutex<BTreeMap<JobName, JobProgress>>,
    /// Letters of the longest job's name.
    name_width: usize,
}

/// What was seen of one job.
struct JobProgress {
    line: Option<ProgressBar>,
    started: Duration,
    figures: Figures,
    /// What it is doing: the slice, or what it waits for.
    doing: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    records: u64,
    bytes: u64,
    requests: u64,
    total: Option<u64>,
    committed: u64,
}

impl Progress {
    pub fn new<'a>(screen: Screen, clock: Arc<dyn Clock>, jobs: impl Iterator<Item = &'a JobName>) -> Self {
        let name_width = jobs.map(|job| job.as_str().chars().count()).max().unwrap_or(0).min(30);
        Progress { screen, clock, jobs: Mutex::new(BTreeMap::new()), name_width }
    }

    fn start(&self, name: &JobName) -> JobProgress {
        let line = self.screen.live.then(|| {
            let line = self.screen.lines.add(ProgressBar::new_spinner());
            // The template is a constant; should it not parse, the default style shows the same message.
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {prefix:.bold}  {wide_msg}") {
                line.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
            }
            line.set_prefix(format!("{:width$}", shortened(name.as_str(), 30), width = self.name_width));
            line.enable_steady_tick(TICK);
            line
        });
        JobProgress { line, started: self.clock.elapsed(), figures: Figures::default(), doing: "starting".to_owned() }
    }

    /// Writes above the live lines, named after the job.
    fn say(&self, job: &JobName, text: &str) {
        let name = format!("{:width$}", shortened(job.as_str(), 30), width = self.name_width);
        self.screen.say(&format!("  {name}  {}", one_line(text)));
    }
}

impl JobProgress {
    fn show(&self, now: Duration) {
        if let Some(line) = &self.line {
            line.set_message(describe(&self.figures, now.saturating_sub(self.started), &self.doing));
        }
    }
}

/// `1,200 rows (120/s) · 1.2 MiB · 14 requests · waiting 1.0s: asked for patience`, the time left where a total is known.
fn describe(figures: &Figures, passed: Duration, doing: &str) -> String {
    let mut parts = Vec::new();
    let seconds = passed.as_secs_f64();
    let rate = if seconds >= 0.5 { figures.records as f64 / seconds } else { 0.0 };
    let of = figures.total.map(|total| format!(" of {}", thousands(total))).unwrap_or_default();
    let speed = if rate >= 1.0 { format!(" ({}/s)", thousands(rate as u64)) } else { String::new() };
    parts.push(format!("{}{of} rows{speed}", thousands(figures.records)));
    parts.push(size(figures.bytes));
    parts.push(counted(figures.requests, "request"));
    if let Some(left) = figures.total.and_then(|total| total.checked_sub(figures.records))
        && left > 0
        && rate >= 1.0
    {
        parts.push(format!("{} left", length(Duration::from_secs_f64(left as f64 / rate))));
    }
    if !doing.is_empty() {
        parts.push(one_line(doing));
    }
    parts.join(" · ")
}

/// `2018-01-31 to 2018-02-05`: the stretch that a slice reads.
pub fn describe_slice(slice: &Slice) -> String {
    let stretch = match &slice.reach {
        Reach::Snapshot => "everything".to_owned(),
        Reach::Time(span) => match span.from {
            Some(from) => format!("{} to {}", instant(from), instant(span.to)),
            None => "everything until now".to_owned(),
        },
        Reach::Mark(None) => "from the first value".to_owned(),
        Reach::Mark(Some(mark)) => format!("from {}", mark.value),
        Reach::Token(None) => "everything".to_owned(),
        Reach::Token(Some(_)) => "what changed since the last token".to_owned(),
    };
    match slice.partition.as_str() {
        "" => stretch,
        partition => format!("{partition}: {stretch}"),
    }
}

/// `962 kept, 3 rejected`: only what there is.
pub fn describe_counts(counts: &Counts) -> String {
    let mut parts = vec![format!("{} kept", thousands(counts.kept))];
    let others = [
        (counts.filtered, "filtered"),
        (counts.rejected, "rejected"),
        (counts.out_of_window, "out of window"),
        (counts.duplicate, "duplicate"),
        (counts.unchanged, "unchanged"),
        (counts.deleted, "deleted"),
    ];
    for (count, name) in others {
        if count > 0 {
            parts.push(format!("{} {name}", thousands(count)));
        }
    }
    parts.join(", ")
}

/// A reason in the room that a line has: without the address, which is the job's own, and without what the bodies said.
fn gist(reason: &str) -> &str {
    let reason = [": `", "; asked with `", "; its body began with "]
        .iter()
        .fold(reason, |reason, cut| reason.split_once(cut).map_or(reason, |(said, _)| said));
    match reason.find(" answered ") {
        Some(at) => &reason[at + 1..],
        None => reason,
    }
}

impl Listener for Progress {
    fn hear(&self, event: &Event) {
        let name = event.job();
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.entry(name.clone()).or_insert_with(|| self.start(name));
        let said = job.take_in(event);
        job.show(self.clock.elapsed());
        if matches!(event, Event::RunFinished { .. })
            && let Some(ended) = jobs.remove(name)
            && let Some(line) = ended.line
        {
            line.finish_and_clear();
        }
        drop(jobs);
        match said {
            Said::Nothing => {}
            Said::Always(text) => self.say(name, &text),
            // A live line shows it already.
            Said::Plain(text) if !self.screen.live => self.say(name, &text),
            Said::Plain(_) => {}
        }
    }
}

/// What becomes of an event besides the live line.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Plain(String),
    Always(String),
}

impl JobProgress {
    fn take_in(&mut self, event: &Event) -> Said {
        match event {
            Event::RunStarted { run, .. } => Said::Plain(format!("run {run} started")),
            Event::SliceStarted { slice, .. } => {
                self.doing = describe_slice(slice);
                Said::Plain(format!("reading {}", self.doing))
            }
            Event::PageFetched { bytes, records, total, .. } => {
                self.figures.requests += 1;
                self.figures.records += records;
                self.figures.bytes += bytes;
                self.figures.total = total.or(self.figures.total);
                "reading".clone_into(&mut self.doing);
                Said::Nothing
            }
            Event::Waiting { reason, length: wait, .. } => {
                self.doing = format!("waiting {}: {}", length(*wait), gist(reason));
                // Below a second it is pacing, not news.
                if *wait < Duration::from_secs(1) { Said::Nothing } else { Said::Plain(self.doing.clone()) }
            }
            Event::Retrying { reason, attempt, length: wait, .. } => {
                self.figures.requests += 1;
                self.doing = format!("attempt {attempt} in {}: {}", length(*wait), gist(reason));
                Said::Plain(self.doing.clone())
            }
            Event::SchemaChanged { change, .. } => Said::Plain(format!("schema: {change}")),
            Event::SliceCommitted { seq, counts, files, bytes, .. } => {
                self.figures.committed += 1;
                "committed".clone_into(&mut self.doing);
                let written = format!("{}, {}", counted(*files, "file"), size(*bytes));
                Said::Always(format!("commit {seq}: {} ({written})", describe_counts(counts)))
            }
            Event::SliceEmpty { slice, .. } => Said::Plain(format!("nothing new in {}", describe_slice(slice))),
            Event::SliceFailed { slice, reason, .. } => {
                Said::Always(format!("failed: {}: {}", describe_slice(slice), gist(reason)))
            }
            Event::Recovered { what, .. } => Said::Always(format!("recovered: {what}")),
            Event::RunFinished { counts, failed, .. } => {
                let end = if *failed { "failed" } else { "done" };
                Said::Plain(format!("{end}: {} fetched, {}", thousands(counts.fetched), describe_counts(counts)))
            }
            // Pages and retries count what a person wants to see; the end is told by whoever asked for the run.
            Event::RequestSent { .. } | Event::JobEnded { .. } => Said::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::ids::PartitionKey;
    use crate::slice::Span;

    fn job() -> JobName {
        JobName::new("earthquakes")
    }

    fn progress() -> JobProgress {
        Progress::new(Screen::new(false), Arc::new(SystemClock::new()), [job()].iter()).start(&job())
    }

    fn slice() -> Slice {
        let at = |text: &str| text.parse().expect("instant");
        let span = Span::new(Some(at("2018-01-31T00:00:00Z")), at("2018-02-05T12:00:00Z"));
        Slice { partition: PartitionKey::new(""), reach: Reach::Time(span) }
    }

    #[test]
    fn figures_add_up_over_pages_and_retries() {
        let mut job_progress = progress();
        for records in [100, 50] {
            job_progress.take_in(&Event::PageFetched { job: job(), bytes: 1024, records, total: None });
        }
        let retry = Event::Retrying { job: job(), reason: "status 503".into(), attempt: 2, length: Duration::from_millis(40) };
        let said = job_progress.take_in(&retry);
        assert_eq!(said, Said::Plain("attempt 2 in 40ms: status 503".into()));
        assert_eq!(job_progress.figures, Figures { records: 150, bytes: 2048, requests: 3, total: None, committed: 0 });
    }

    #[test]
    fn the_live_line_says_rate_and_time_left() {
        let figures = Figures { records: 1200, bytes: 2_000_000, requests: 12, total: Some(2400), committed: 0 };
        assert_eq!(
            describe(&figures, Duration::from_secs(10), "reading"),
            "1,200 of 2,400 rows (120/s) · 1.9 MiB · 12 requests · 10.0s left · reading"
        );
        assert_eq!(describe(&Figures::default(), Duration::ZERO, ""), "0 rows · 0 B · 0 requests");
    }

    #[test]
    fn a_commit_is_always_said_and_pacing_never() {
        let mut job_progress = progress();
        let counts = Counts { fetched: 12, kept: 9, rejected: 1, out_of_window: 2, ..Counts::default() };
        let said = job_progress.take_in(&Event::SliceCommitted { job: job(), seq: 3, counts, files: 1, bytes: 100 });
        assert_eq!(said, Said::Always("commit 3: 9 kept, 1 rejected, 2 out of window (1 file, 100 B)".into()));
        let wait = Event::Waiting { job: job(), reason: "budget".into(), length: Duration::from_millis(300) };
        assert_eq!(job_progress.take_in(&wait), Said::Nothing);
    }

    #[test]
    fn the_gist_of_a_refusal_fits_a_line() {
        let reason = "GET http://127.0.0.1:1/query answered 429 Too Many Requests: `Error 429: slow down`";
        assert_eq!(gist(reason), "answered 429 Too Many Requests");
        assert_eq!(gist("GET http://a/b answered 500; asked with `a=1`; its body began with `{}`"), "answered 500");
        assert_eq!(gist("the budget of 60 in 1m is spent"), "the budget of 60 in 1m is spent");
    }

    #[test]
    fn slices_are_named_by_their_stretch() {
        assert_eq!(describe_slice(&slice()), "2018-01-31 00:00:00 to 2018-02-05 12:00:00");
        let snapshot = Slice { partition: PartitionKey::new("acme"), reach: Reach::Snapshot };
        assert_eq!(describe_slice(&snapshot), "acme: everything");
    }
}
