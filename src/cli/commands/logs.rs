//! `highwater logs [JOB]`: what happened, newest last.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::cli::Context;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::cli::signals::Signals;
use crate::cli::text::{instant, one_line};
use crate::ids::JobName;
use crate::state::{EventRow, State};

/// How often a follower looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Events that a follower looks at: more in one second are not read by anybody.
const LOOK_MAX: u32 = 1_000;

/// With `--json`: one `EventRow` (`crate::state`) a line, oldest first.
pub(super) async fn logs(context: &Context, job: Option<&str>, limit: u32, follow: bool) -> Result<Exit, Failure> {
    let project = Project::open(context)?;
    project.require_settings()?;
    let name = job.map(JobName::new);
    let mut state = project.look_at_state().await?;
    let mut events = match &state {
        Some(state) => read(&**state, name.as_ref(), if follow { LOOK_MAX.max(limit) } else { limit }).await?,
        None => Vec::new(),
    };
    // As for `runs`: a job whose file is gone still has a past.
    if let (Some(job), true) = (job, events.is_empty())
        && !project.parked.contains_key(&JobName::new(job))
    {
        project.job(job)?;
    }
    let mut seen = Seen::default();
    events = seen.news(events);
    if events.is_empty() && !follow && !context.terminal.json {
        context.terminal.line("nothing happened yet")?;
    }
    for event in events.iter().skip(events.len().saturating_sub(limit as usize)) {
        print(context, event)?;
    }
    if !follow {
        return Ok(Exit::Done);
    }
    let mut signals = Signals::listen()?;
    loop {
        tokio::select! {
            _ = signals.next() => return Ok(Exit::Done),
            () = context.clock.sleep(LOOK_EVERY) => {}
        }
        // Before the first run there is nothing to look at.
        if state.is_none() {
            state = project.look_at_state().await?;
        }
        let Some(state) = &state else { continue };
        for event in seen.news(read(&**state, name.as_ref(), LOOK_MAX).await?) {
            print(context, &event)?;
        }
    }
}

/// The newest events, oldest first.
async fn read(state: &dyn State, job: Option<&JobName>, limit: u32) -> Result<Vec<EventRow>, Failure> {
    let mut events = state.events(job, limit).await.map_err(|error| Failure::of(error.kind, error.to_string()))?;
    events.reverse();
    Ok(events)
}

/// What was there when one looked last. Events are written a moment after they happen, and not in order: the newest that was shown
/// is no border.
#[derive(Default)]
struct Seen {
    /// No older ones count: they were left out on purpose.
    since: Option<Timestamp>,
    events: HashSet<EventKey>,
}

type EventKey = (Timestamp, Option<JobName>, String, String);

fn key(event: &EventRow) -> EventKey {
    (event.at, event.job.clone(), event.kind.clone(), event.text.clone())
}

impl Seen {
    /// Those of `events` (oldest first) that were not there before.
    fn news(&mut self, events: Vec<EventRow>) -> Vec<EventRow> {
        let oldest = events.first().map(|event| event.at);
        let keys = events.iter().map(key).collect();
        let is_new = |event: &EventRow| self.since.is_none_or(|since| event.at >= since) && !self.events.contains(&key(event));
        let news = events.into_iter().filter(is_new).collect();
        self.events = keys;
        self.since = self.since.max(oldest);
        news
    }
}

fn print(context: &Context, event: &EventRow) -> Result<(), Failure> {
    if context.terminal.json {
        let line = serde_json::to_string(event).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        return context.terminal.line(&line);
    }
    let job = event.job.as_ref().map_or("-", JobName::as_str);
    context.terminal.line(&format!("{}  {job}  {}  {}", instant(event.at), event.kind, one_line(&event.text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, text: &str) -> EventRow {
        let at = Timestamp::from_second(second).expect("instant");
        EventRow { at, job: None, kind: "k".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_follower_sees_each_event_once() {
        let mut seen = Seen::default();
        let mut look = |events: &[(i64, &str)]| {
            let news = seen.news(events.iter().map(|(second, text)| event(*second, text)).collect());
            news.into_iter().map(|event| event.text).collect::<String>()
        };
        assert_eq!(look(&[(1, "a"), (3, "c")]), "ac");
        assert_eq!(look(&[(1, "a"), (2, "b"), (3, "c"), (3, "d")]), "bd");
        assert_eq!(look(&[(2, "b"), (3, "c"), (3, "d")]), "");
        assert_eq!(look(&[(0, "old"), (3, "d"), (4, "e")]), "e");
    }
}
