//! The program itself, as its users start it.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Deadline;
use super::project::Project;

/// How the program ended and what it said.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Stops the test with everything the program said unless it ended with this code.
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "signal {:?}\n--- stdout\n{}\n--- stderr\n{}", self.signal, self.stdout, self.stderr);
        self
    }

    /// The standard output as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }

    pub fn redacted_stdout(&self, project: &Project) -> String {
        redact(&self.stdout.replace(&project.path().to_string_lossy().into_owned(), "[project]"))
    }

    /// What was said on standard error, with everything that changes from run to run replaced: the project's folder, ports,
    /// ids, times and sizes that depend on them.
    pub fn redacted(&self, project: &Project) -> String {
        let text = self.stderr.replace(&project.path().to_string_lossy().into_owned(), "[project]");
        redact(&text)
    }
}

fn redact(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("127.0.0.1:") {
            out.push_str("127.0.0.1:[port]");
            rest = tail.trim_start_matches(|sign: char| sign.is_ascii_digit());
        } else if let Some(length) = id_length(rest) {
            out.push_str("[id]");
            rest = &rest[length..];
        } else if let Some(tail) = rest.strip_prefix("waiting ") {
            // Jitter.
            out.push_str("waiting [length]");
            rest = tail.trim_start_matches(|sign: char| sign.is_ascii_alphanumeric() || sign == '.');
        } else if let Some(tail) = rest.strip_prefix("attempt 2 in ") {
            out.push_str("attempt 2 in [length]");
            rest = tail.trim_start_matches(|sign: char| sign.is_ascii_alphanumeric() || sign == '.');
        } else if let Some(length) = time_length(rest) {
            out.push_str("[time]");
            rest = &rest[length..];
        } else {
            let sign = rest.chars().next().unwrap();
            out.push(sign);
            rest = &rest[sign.len_utf8()..];
        }
    }
    out
}

fn id_length(text: &str) -> Option<usize> {
    let id = text.get(..36)?;
    uuid::Uuid::try_parse(id).ok().map(|_| 36)
}

fn time_length(text: &str) -> Option<usize> {
    let inside = |sign: char| sign.is_ascii_digit() || matches!(sign, '-' | ':' | '.' | 'T' | 'Z');
    let end = text.find(|sign: char| !inside(sign)).unwrap_or(text.len());
    let end = text[..end].trim_end_matches([':', '.', '-']).len();
    if text[..end].parse::<jiff::Timestamp>().is_ok() {
        return Some(end);
    }
    // As people read it: a date, a blank, a time.
    let people = text.get(..19).filter(|people| people.as_bytes()[10] == b' ')?;
    jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", people).ok().map(|_| 19)
}

/// One call of the program in a project's folder, with an environment of its own.
pub struct Call {
    command: Command,
    deadline: Duration,
}

/// `highwater -C <project> ARGS`, with an environment of its own.
pub fn command(project: &Project, args: &[&str]) -> Command {
    project.is_tried();
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.arg("-C").arg(project.path()).args(args).current_dir(project.path());
    command.env_clear().env("HOME", project.path()).env("TMPDIR", std::env::temp_dir());
    command.env("TEST_S3_KEY", "key").env("TEST_S3_SECRET", "secret");
    // The tests of a mutant are of the whole program.
    command.envs(std::env::var_os("HIGHWATER_MUTANT").map(|name| ("HIGHWATER_MUTANT", name)));
    command.env("TEST_GCS_TOKEN", "google-token").env("TEST_AZURE_KEY", super::azure::KEY);
    command
}

/// The same, to be run to its end.
pub fn highwater(project: &Project, args: &[&str]) -> Call {
    Call { command: command(project, args), deadline: Duration::from_secs(120) }
}

impl Call {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// In another project folder.
    pub fn folder(mut self, folder: &std::path::Path) -> Self {
        let mut command = Command::new(self.command.get_program());
        // The first two arguments name the folder.
        command.arg("-C").arg(folder).args(self.command.get_args().skip(2)).current_dir(folder).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.command = command;
        self
    }

    /// As an argument of another program, with which the command line begins.
    pub fn under(mut self, wrapper: &[&str]) -> Self {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(self.command.get_program()).args(self.command.get_args()).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = self.command.get_current_dir() {
            command.current_dir(folder);
        }
        self.command = command;
        self
    }

    /// Runs to the end; a program that does not end in time is killed and fails the test.
    pub fn run(mut self) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let stdout = drain(child.stdout.take().unwrap());
        let stderr = drain(child.stderr.take().unwrap());
        let deadline = Deadline::after(self.deadline);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if deadline.passed() {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!(
                    "{:?} did not end in {:?}\n{}\n{}",
                    self.command,
                    self.deadline,
                    stdout.join().unwrap(),
                    stderr.join().unwrap()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        Ended { code: status.code(), signal: status.signal(), stdout, stderr }
    }
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[test]
fn what_changes_from_run_to_run_is_redacted() {
    let text =
        "at http://127.0.0.1:4711/items, run 0198c1b2-7d6e-7abc-8def-0123456789ab since 2026-01-02T03:04:05.678Z: 7 rows\n";
    assert_eq!(redact(text), "at http://127.0.0.1:[port]/items, run [id] since [time]: 7 rows\n");
}
