//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::run::Bound;

/// Pulls what changed from rate-limited APIs into partitioned Parquet, and remembers how far it got.
#[derive(Debug, Parser)]
#[command(
    name = "highwater",
    version,
    max_term_width = 100,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 a run failed, 64 usage, 75 try later, 78 configuration.\n\
                  A first look without any set-up: highwater demo"
)]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The project folder
    #[arg(short = 'C', value_name = "DIR", default_value = ".", global = true, hide_default_value = true)]
    pub folder: PathBuf,
    /// Print machine-readable results, errors too
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a project with a working example
    #[command(after_long_help = "Nothing that exists is written over.\n\nExamples:\n  highwater init\n  highwater init quakes")]
    Init {
        /// A new or an empty folder; the project folder if none is named
        dir: Option<PathBuf>,
    },
    /// Check every file; print every problem, and what jobs are promised
    #[command(
        after_long_help = "With --connect each source of an enabled job is asked for one page, with its credentials, and each sink gets small\n\
                           objects below `_highwater/probe/`, which are removed again. Of more than three enabled jobs, what they\n\
                           are promised is printed by name alone.\n\nExamples:\n  highwater check\n  highwater check earthquakes\n  highwater -C /etc/highwater check --json\n  highwater check --connect\n  highwater check --against quakes"
    )]
    Check {
        /// Say of this job alone what it is promised; files are checked all the same
        job: Option<String>,
        /// Also resolve secrets, ask sources, and try sinks out
        #[arg(long)]
        connect: bool,
        /// Also say where a recording and its job disagree; sends nothing
        #[arg(long, value_name = "DIR", conflicts_with = "connect")]
        against: Option<PathBuf>,
    },
    /// Show a run's slices, requests, share of the quota and end; fetches nothing
    #[command(
        after_long_help = "Examples:\n  highwater plan\n  highwater plan earthquakes\n  highwater plan earthquakes --probe"
    )]
    Plan {
        /// The job; all enabled jobs if none is named
        job: Option<String>,
        /// Ask for the first page of each slice, to learn how many there are
        #[arg(long, requires = "job")]
        probe: bool,
    },
    /// Fetch a job's first rows and show them, types and rejects; writes nothing
    #[command(after_long_help = "Examples:\n  highwater preview earthquakes\n  highwater preview earthquakes --rows 100 --json")]
    Preview {
        job: String,
        /// Rows to fetch
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        rows: u32,
        /// From a recording instead of the API
        #[arg(long, value_name = "DIR")]
        replay: Option<PathBuf>,
    },
    /// Run jobs now, once, with progress
    #[command(
        after_long_help = "The first interrupt finishes the slices at work and ends; the second aborts at once, and the next run\n\
                           settles what was left. With --full, --from and --to something is read again: what that will do is shown, and asked for.\n\nExamples:\n  highwater run\n  highwater run earthquakes --json\n  highwater run earthquakes --from 2026-01-01 --to 2026-02-01\n  highwater run earthquakes --record quakes\n  highwater run earthquakes --replay quakes"
    )]
    Run {
        /// The jobs, enabled or not; all enabled jobs if none is named
        jobs: Vec<String>,
        #[command(flatten)]
        again: Again,
        #[command(flatten)]
        taken: Taken,
        /// Replace a table even by nothing, or by less than half of what it has; put a slice's records into the dead letters even where none fits; ask a source although it wanted patience before
        #[arg(long, requires = "jobs")]
        force: bool,
    },
    /// Run jobs on their schedules until stopped: the daemon
    #[command(
        after_long_help = "The first interrupt or termination finishes the slices at work and ends with 0; the second aborts at once, and\n\
                           the next start settles what was left. A hang-up (SIGHUP) reads the project's files anew; files that are\n\
                           broken change nothing, which `status` tells.\n\nExample:\n  highwater -C /etc/highwater serve"
    )]
    Serve,
    /// Show each job's last run, mark, holes and freshness
    #[command(after_long_help = "Example:\n  highwater status --json")]
    Status,
    /// Show the history of runs, newest first
    #[command(after_long_help = "Examples:\n  highwater runs\n  highwater runs earthquakes --limit 5")]
    Runs {
        job: Option<String>,
        /// Runs to show
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show what happened, newest last
    #[command(
        after_long_help = "Examples:\n  highwater logs\n  highwater logs earthquakes --follow\n  highwater logs --limit 1000 --json"
    )]
    Logs {
        job: Option<String>,
        /// Events to show
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
        /// Go on showing what happens
        #[arg(long, short = 'f')]
        follow: bool,
    },
    /// Look at what is known of the tables, or say how far they are read
    State {
        #[command(subcommand)]
        action: StateAction,
    },
    /// Ask the tables by name in SQL
    #[command(after_long_help = "The dialect is polars SQL. Tables are read as their last commit left them.\n\n\
        Examples:\n  highwater query \"SELECT COUNT(*) FROM earthquakes\"\n  \
        highwater query \"SELECT * FROM earthquakes LIMIT 5\" --json")]
    Query { sql: String },
    /// Recount tables from the lake alone; exit code 1 if one is not what its log says
    #[command(
        after_long_help = "Examples:\n  highwater verify\n  highwater verify earthquakes --json\n  highwater verify earthquakes --source"
    )]
    Verify {
        job: Option<String>,
        /// Ask the source as well how many records it has in what is covered, with one request a slice and set
        #[arg(long)]
        source: bool,
    },
    /// See whether files, secrets, sources, sinks, state and machine are fit for runs
    #[command(
        after_long_help = "Everything that `check --connect` does, and this machine: the state, the daemon, disks, the clock. Exit code 1 where\n\
                           something is broken.\n\nExamples:\n  highwater doctor\n  highwater -C /etc/highwater doctor --json"
    )]
    Doctor,
    /// Take away what nothing names: staged leftovers, orphans, history past its time
    #[command(after_long_help = "A job does the same by itself at the end of its first run of a day, also in the daemon.\n\n\
        Examples:\n  highwater gc --dry-run\n  highwater gc earthquakes")]
    Gc {
        job: Option<String>,
        /// Only say what there is
        #[arg(long)]
        dry_run: bool,
    },
    /// Join small files of tables into larger ones, partition by partition
    #[command(
        after_long_help = "Rows stay what they are; what was joined goes to the history. The daemon does the same between runs, from\n\
        `compact_min_files` on, and leaves alone what would be written anew too often.\n\n\
        Examples:\n  highwater compact --dry-run\n  highwater compact earthquakes"
    )]
    Compact {
        job: Option<String>,
        /// Only say what there is
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the JSON Schemas of the project's files, for editors
    #[command(after_long_help = "Examples:\n  highwater schema job\n  highwater schema --dir schemas")]
    Schema {
        /// config, source, sink or job; all if none is named
        kind: Option<String>,
        /// Write KIND.schema.json files into this folder instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Run the shipped job twice on real data against a local replica of its API
    #[command(
        after_long_help = "Needs no network and no set-up. What it writes can be looked at afterwards with every other command.\n\n\
        Examples:\n  highwater demo\n  highwater demo --feed all_month.geojson --dir month"
    )]
    Demo {
        /// A GeoJSON feed of the USGS form; the shipped week of 2018 if none is given
        #[arg(long, value_name = "FILE")]
        feed: Option<PathBuf>,
        /// Where to write the project; an earlier demo there is replaced
        #[arg(long, value_name = "DIR", default_value = "highwater-demo")]
        dir: PathBuf,
    },
    /// Print a completion script for a shell
    #[command(after_long_help = "Example:\n  highwater completions bash > ~/.local/share/bash-completion/completions/highwater")]
    Completions { shell: Shell },
}

/// What a run reads again.
#[derive(Debug, Args)]
pub struct Again {
    /// Read everything again; a table whose job means something else now is emptied first
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub full: bool,
    /// Read again from here on: an instant, a day, or a whole number, as the cursor is
    #[arg(long, value_name = "BOUND", allow_hyphen_values = true)]
    pub from: Option<Bound>,
    /// Read again up to here
    #[arg(long, value_name = "BOUND", allow_hyphen_values = true)]
    pub to: Option<Bound>,
    #[command(flatten)]
    pub how: How,
}

/// Where a run's answers go, or come from.
#[derive(Debug, Args)]
pub struct Taken {
    /// Keep every exchange with the API in this folder, without secrets
    #[arg(long, value_name = "DIR", requires = "jobs")]
    pub record: Option<PathBuf>,
    /// Take the answers from such a folder, without network and secrets, into a table of its own
    #[arg(long, value_name = "DIR", requires = "jobs", conflicts_with_all = ["record", "full", "from", "to", "set", "why", "yes", "force"])]
    pub replay: Option<PathBuf>,
    /// Where a replay writes: a folder that is new or empty
    #[arg(long, value_name = "FOLDER", requires = "replay")]
    pub into: Option<PathBuf>,
}

/// How a change of what counts as read is made.
#[derive(Debug, Args)]
pub struct How {
    /// Of this parameter set alone, such as owner=a,repo=b
    #[arg(long, value_name = "KEY")]
    pub set: Option<String>,
    /// What to keep in the log beside your name
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
}

#[derive(Debug, Subcommand)]
pub enum StateAction {
    /// Show seq, generation, mark and coverage of each table
    #[command(after_long_help = "Examples:\n  highwater state show\n  highwater state show earthquakes --json")]
    Show { job: Option<String> },
    /// Say up to where a job has read: what lies before counts as read, what lies behind does not
    #[command(after_long_help = "Shows what it will do and asks. The next run reads from there.\n\nExamples:\n  \
        highwater state set earthquakes --mark 2026-01-31\n  highwater state set orders --mark 48211 --set account=a --yes")]
    Set {
        job: String,
        /// An instant, a day, or a whole number, as the cursor is
        #[arg(long, value_name = "BOUND", allow_hyphen_values = true)]
        mark: Bound,
        #[command(flatten)]
        how: How,
    },
    /// Forget what is known of the tables and learn it from their logs again
    #[command(after_long_help = "Run history, due times and tokens stand in the state alone and stay.\n\nExamples:\n  \
        highwater state rebuild\n  highwater state rebuild orders")]
    Rebuild { job: Option<String> },
    /// Make a table what it was after an earlier record, or run
    #[command(
        after_long_help = "Files that were added since leave the table, files that were removed since come back from the history\n\
        (`history` of the sink), and the next run reads again what was read since. Shows what it will do and asks.\n\nExamples:\n  \
        highwater state rollback orders --to 41\n  highwater state rollback orders --to 2026-01-31T06:00:00Z --why \"wrong currency\""
    )]
    Rollback {
        job: String,
        /// A record's seq, or a run: its id, or when it started, as `runs` shows it
        #[arg(long, value_name = "RUN|SEQ")]
        to: String,
        /// What to keep in the log beside your name
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_takes_the_project_folder_and_json() {
        let commands = [
            "init there",
            "check",
            "plan",
            "preview j",
            "run",
            "serve",
            "status",
            "runs",
            "logs",
            "state show",
            "query q",
            "verify",
            "doctor",
            "gc",
            "compact",
            "state rollback j --to 1",
            "state rebuild",
            "schema",
            "demo",
            "completions bash",
        ];
        for command in commands {
            let arguments = parse(&format!("highwater {command} -C there --json")).expect(command);
            assert_eq!((arguments.global.folder, arguments.global.json), (PathBuf::from("there"), true), "{command}");
            parse(&format!("highwater -C there --json {command}")).expect(command);
        }
    }

    #[test]
    fn what_is_not_built_is_refused() {
        for line in [
            "highwater",
            "highwater serve now",
            "highwater run j --full --from 1",
            "highwater state set j",
            "highwater doctor --fix",
            "highwater preview j --rows 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn every_command_has_a_one_line_about() {
        for command in Arguments::command().get_subcommands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n') && about.len() <= 80, "{}: {about}", command.get_name());
        }
    }

    #[test]
    fn the_help_is_what_users_read_first() {
        let help = Arguments::command().term_width(100).render_help().to_string();
        insta::assert_snapshot!(help, @r#"
        Pulls what changed from rate-limited APIs into partitioned Parquet, and remembers how far it got

        Usage: highwater [OPTIONS] <COMMAND>

        Commands:
          init         Write a project with a working example
          check        Check every file; print every problem, and what jobs are promised
          plan         Show a run's slices, requests, share of the quota and end; fetches nothing
          preview      Fetch a job's first rows and show them, types and rejects; writes nothing
          run          Run jobs now, once, with progress
          serve        Run jobs on their schedules until stopped: the daemon
          status       Show each job's last run, mark, holes and freshness
          runs         Show the history of runs, newest first
          logs         Show what happened, newest last
          state        Look at what is known of the tables, or say how far they are read
          query        Ask the tables by name in SQL
          verify       Recount tables from the lake alone; exit code 1 if one is not what its log says
          doctor       See whether files, secrets, sources, sinks, state and machine are fit for runs
          gc           Take away what nothing names: staged leftovers, orphans, history past its time
          compact      Join small files of tables into larger ones, partition by partition
          schema       Print the JSON Schemas of the project's files, for editors
          demo         Run the shipped job twice on real data against a local replica of its API
          completions  Print a completion script for a shell

        Options:
          -C <DIR>       The project folder
              --json     Print machine-readable results, errors too
          -h, --help     Print help
          -V, --version  Print version

        Exit codes: 0 done, 1 a run failed, 64 usage, 75 try later, 78 configuration.
        A first look without any set-up: highwater demo
        "#);
    }
}
