//! The two loads of a demo.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::cli::Context;
use crate::cli::commands::{close, run_until_stopped};
use crate::cli::engine::JobEnd;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::project::Project;
use crate::config::catalog::Job;
use crate::run::RunOptions;
use crate::source::http::recording::Wire;
use crate::state::State;

use super::feed::Feed;
use super::replica::{Replica, ReplicaSettings};
use super::{folder, project, show};

/// How much of the feed's time has passed at the first load.
const FIRST_LOAD_AT: f64 = 0.7;
/// What the replica allows: little enough that a load of ten pages meets it, enough that nobody waits long.
pub(super) const BURST: u32 = 4;
pub(super) const REQUESTS_PER_SECOND: f64 = 3.0;

/// What happened, for whoever shows it.
pub(super) struct Played {
    pub first: JobEnd,
    pub second: JobEnd,
    /// Requests that the replica refused for their rate.
    pub refused: u64,
    /// Events in the feed, and distinct ids among them.
    pub events: u64,
    pub distinct_ids: u64,
}

pub(in crate::cli) async fn demo(context: &Context, feed: Option<&Path>, folder: &Path) -> Result<Exit, Failure> {
    let feed = match feed {
        Some(path) => Feed::open(path).map_err(|error| {
            Failure::new(Exit::Usage, error)
                .help("a feed is what https://earthquake.usgs.gov/earthquakes/feed/v1.0/geojson.php offers")
        })?,
        None => Feed::shipped().map_err(|error| Failure::new(Exit::Failed, error))?,
    };
    // `./highwater-demo` is what nobody types.
    let root = if context.folder == Path::new(".") { folder.to_path_buf() } else { context.folder.join(folder) };
    folder::prepare(&root)?;
    let (first_now, feed_end) = times(&feed)?;
    let settings = ReplicaSettings {
        now: first_now,
        burst: BURST,
        requests_per_second: REQUESTS_PER_SECOND,
        clock: Arc::clone(&context.clock),
    };
    let start = Timestamp::from_millisecond(feed.first_time()).map_err(|error| outside(&error))?;
    let replica = Replica::start(feed, settings).await;
    let replica = replica.map_err(|error| Failure::new(Exit::Failed, format!("listen on 127.0.0.1: {error}")))?;
    project::write(&root, &replica.base_url(), start)?;
    let played = play(context, &root, &replica, first_now, feed_end).await;
    // Whatever came of it: the address of a replica that is gone serves nobody.
    project::restore(&root)?;
    replica.stop().await;
    let played = played?;
    show::outcome(context, &root, &played).await
}

/// Opens the project that was written and runs its job twice.
async fn play(
    context: &Context,
    root: &Path,
    replica: &Replica,
    first_now: Timestamp,
    feed_end: Timestamp,
) -> Result<Played, Failure> {
    // Not below $STATE_DIRECTORY: everything of a demo stands in its folder.
    let project = Project::open_folder(root, None, context)?;
    let job = project.job(project::JOB)?.clone();
    let second_now = feed_end.checked_add(job.window.settle).and_then(|at| at.checked_add(SignedDuration::from_hours(1)));
    let second_now = second_now.map_err(|error| outside(&error))?;
    show::opening(context, root, replica, first_now)?;
    let state = project.take_state().await?;
    let played = load_twice(context, &project, &state, replica, second_now).await;
    close(state).await;
    played
}

async fn load_twice(
    context: &Context,
    project: &Project,
    state: &Arc<dyn State>,
    replica: &Replica,
    second_now: Timestamp,
) -> Result<Played, Failure> {
    let job = project.job(project::JOB)?;
    let first = load(context, project, state, job).await?;
    replica.set_now(second_now);
    show::clock_moved(context, second_now)?;
    let second = load(context, project, state, job).await?;
    Ok(Played {
        first,
        second,
        refused: replica.refused(),
        events: replica.feed().events().len() as u64,
        distinct_ids: replica.feed().distinct_ids(),
    })
}

/// Runs the job and tells of it; fails unless all of it worked.
async fn load(context: &Context, project: &Project, state: &Arc<dyn State>, job: &Job) -> Result<JobEnd, Failure> {
    let ends =
        run_until_stopped(context, project, state.clone(), vec![job.clone()], &RunOptions::default(), Wire::Network).await?;
    let end = ends.into_iter().next().ok_or_else(|| Failure::new(Exit::Failed, "the job did not run"))?;
    show::load(context, &end)?;
    match end.exit() {
        Exit::Done => Ok(end),
        // In JSON the report is only printed whole; a part of it is an error.
        exit if context.terminal.json => Err(Failure::new(exit, show::trouble(&end))),
        exit => Err(Failure::told(exit)),
    }
}

/// When the first load happens, and the feed's last change.
fn times(feed: &Feed) -> Result<(Timestamp, Timestamp), Failure> {
    let (first, last) = feed.updated_range();
    let passed = (last.saturating_sub(first) as f64 * FIRST_LOAD_AT) as i64;
    let at = |ms: i64| Timestamp::from_millisecond(ms).map_err(|error| outside(&error));
    Ok((at(first.saturating_add(passed))?, at(last)?))
}

fn outside(error: &jiff::Error) -> Failure {
    Failure::new(Exit::Usage, format!("the feed's times leave the calendar: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_load_sees_a_part_of_the_shipped_week_and_the_second_all_of_it() {
        let feed = Feed::shipped().expect("shipped feed");
        let (first_now, feed_end) = times(&feed).map_err(|failure| failure.message).expect("times");
        let seen = feed.events().iter().filter(|event| event.updated <= first_now.as_millisecond()).count();
        assert!((500..1500).contains(&seen), "{seen}");
        assert_eq!(feed_end.to_string(), "2018-02-07T01:45:04.877Z");
    }

    #[test]
    fn a_feed_of_one_moment_has_both_loads_at_it() {
        let feed = Feed::parse(r#"{"features":[{"properties":{"updated":5000}}]}"#.to_owned()).expect("feed");
        let (first_now, feed_end) = times(&feed).map_err(|failure| failure.message).expect("times");
        assert_eq!(first_now, feed_end);
    }
}
