//! What is said over the socket: one line of JSON asks, lines of JSON answer, the last of them ends it.
//!
//! Whatever is not understood is refused and never ignored: a daemon that does not know a flag must not run without it.

use std::io;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::cli::exit::Exit;
use crate::cli::report::RunJson;
use crate::event::Event;
use crate::ids::JobName;
use crate::quota::AccountView;
use crate::run::RunOptions;

/// Raised by every change that an older program would misunderstand.
pub(crate) const VERSION: u32 = 1;

/// Longest question, bytes: the names of ten thousand jobs.
pub(crate) const ASK_MAX: usize = 1 << 20;
/// Longest answer, bytes: the ends of as many runs, with their reasons.
pub(crate) const ANSWER_MAX: usize = 64 << 20;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    pub version: u32,
    pub ask: Ask,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// Run jobs now; answered by `accepted`, events, and `ended`.
    Run(Box<RunRequest>),
    /// How is the daemon? Answered by `view`.
    View {},
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    pub jobs: Vec<JobName>,
    /// What the asker's files are: `config::Loaded::digest`. Another one than the daemon's is told, not refused.
    pub files: String,
    #[serde(default, skip_serializing_if = "is_default")]
    pub options: RunOptions,
}

fn is_default(options: &RunOptions) -> bool {
    *options == RunOptions::default()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Accepted {
        pid: u32,
    },
    /// Something to know, in a sentence.
    Note {
        text: String,
    },
    Event(Event),
    /// The last line of a `run`: one a job, in the order they were named.
    Ended {
        runs: Vec<RunJson>,
    },
    /// The last line of a `view`.
    View(DaemonView),
    /// The last line of a question that was not taken.
    Refused {
        exit: Exit,
        message: String,
        help: Option<String>,
    },
}

/// The daemon at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DaemonView {
    pub pid: u32,
    pub version: String,
    pub since: Timestamp,
    /// No run starts any more.
    pub stopping: bool,
    /// Why the files as they are now are not the ones it works with; null if they are.
    pub problem: Option<String>,
    pub running: usize,
    pub waiting: usize,
    pub jobs: Vec<DaemonJobView>,
    /// What is left of what the APIs grant.
    #[serde(default)]
    pub quotas: Vec<AccountView>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DaemonJobView {
    pub job: JobName,
    pub next_due: Option<Timestamp>,
    pub running_since: Option<Timestamp>,
    /// A run waits for a place or for its moment.
    pub waiting: bool,
    /// Why it does not run; null if it may.
    pub parked: Option<String>,
    pub parked_until: Option<Timestamp>,
}

/// Reads one line of at most `max` bytes; `None` at the end of the stream.
///
/// # Errors
/// `InvalidData` for a line that is longer, cut off, or not what was expected. Not safe to drop: half a line may be gone.
pub(crate) async fn read_line<T: DeserializeOwned>(
    reader: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    reader.take(max as u64 + 1).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    let bad = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    match line.pop() {
        Some(b'\n') => {}
        _ if line.len() >= max => return Err(bad(format!("a line of more than {max} bytes"))),
        _ => return Err(bad("a line that is cut off".to_owned())),
    }
    serde_json::from_slice(&line).map(Some).map_err(|error| bad(error.to_string()))
}

pub(crate) async fn write_line<T: Serialize>(writer: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PartitionKey, RunId};
    use crate::slice::{CursorMark, Reach, Slice};

    async fn read(text: &str, max: usize) -> io::Result<Option<Request>> {
        read_line(&mut text.as_bytes(), max).await
    }

    #[tokio::test]
    async fn a_request_reads_as_it_was_written() {
        let run = RunRequest { jobs: vec![JobName::new("orders")], files: "ab".to_owned(), options: RunOptions::default() };
        let request = Request { version: VERSION, ask: Ask::Run(Box::new(run)) };
        let mut line = Vec::new();
        write_line(&mut line, &request).await.expect("written");
        let text = String::from_utf8(line).expect("text");
        assert_eq!(text, "{\"version\":1,\"ask\":{\"run\":{\"jobs\":[\"orders\"],\"files\":\"ab\"}}}\n");
        assert_eq!(read(&text, ASK_MAX).await.expect("read"), Some(request));
        let view = read("{\"version\":1,\"ask\":{\"view\":{}}}\n", ASK_MAX).await.expect("read");
        assert_eq!(view, Some(Request { version: VERSION, ask: Ask::View {} }));
    }

    #[tokio::test]
    async fn what_is_not_known_is_refused() {
        for text in [
            "{\"version\":1,\"ask\":{\"run\":{\"jobs\":[],\"files\":\"\",\"options\":{\"dry\":true}}}}\n",
            "{\"version\":1,\"ask\":{\"run\":{\"jobs\":[],\"files\":\"\",\"dry\":true}}}\n",
            "{\"version\":1,\"ask\":{\"stop\":{}}}\n",
            "{\"version\":1,\"ask\":{\"view\":{}}",
            "not JSON\n",
        ] {
            let error = read(text, ASK_MAX).await.expect_err(text);
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text}: {error}");
        }
        assert_eq!(read("", ASK_MAX).await.expect("the end"), None);
    }

    #[tokio::test]
    async fn a_line_without_end_is_cut_at_the_bound() {
        let error = read(&"x".repeat(200), 100).await.expect_err("too long");
        assert_eq!(error.to_string(), "a line of more than 100 bytes");
    }

    #[test]
    fn events_survive_the_way() {
        let mark = CursorMark { value: i128::MAX.into(), keys: vec!["ff".to_owned()] };
        let slice = Slice { partition: PartitionKey::new("a"), reach: Reach::Mark(Some(mark)) };
        let job = JobName::new("orders");
        let events = [
            Event::RunStarted { job: job.clone(), run: RunId(uuid::Uuid::nil()) },
            Event::SliceFailed { job: job.clone(), slice, reason: "no".to_owned() },
            Event::Waiting { job, reason: "budget".to_owned(), length: std::time::Duration::from_millis(1_500) },
        ];
        for event in events {
            let text = serde_json::to_string(&Answer::Event(event.clone())).expect("JSON");
            let Ok(Answer::Event(read)) = serde_json::from_str(&text) else { panic!("{text}") };
            assert_eq!(format!("{read:?}"), format!("{event:?}"));
        }
    }
}
