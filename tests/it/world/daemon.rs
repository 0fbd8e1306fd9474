//! `highwater serve` as a process of its own, with the test as its service manager.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Deadline;
use super::program::{Ended, command};
use super::project::Project;

/// How long anything that has to happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Deadline::after(PATIENCE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(!deadline.passed(), "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A daemon at work. It is killed when it is dropped.
pub struct Daemon {
    child: Child,
    notify: UnixDatagram,
    /// What systemd was told, line by line.
    told: Vec<String>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    socket: PathBuf,
}

impl Daemon {
    pub fn start(project: &Project, environment: &[(&str, &str)]) -> Daemon {
        let address = project.at("notify.sock");
        drop(std::fs::remove_file(&address));
        let notify = UnixDatagram::bind(&address).unwrap();
        notify.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let mut command: Command = command(project, &["serve"]);
        command.env("NOTIFY_SOCKET", &address).env("HIGHWATER_LOG", "info");
        for (name, value) in environment {
            command.env(name, value);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let readers =
            vec![keep(child.stdout.take().unwrap(), Arc::clone(&log)), keep(child.stderr.take().unwrap(), Arc::clone(&log))];
        let socket = project.at("state/highwater.sock");
        Daemon { child, notify, told: Vec::new(), log, readers, socket }
    }

    /// Starts it and waits until it says that it is able to work.
    pub fn ready(project: &Project, environment: &[(&str, &str)]) -> Daemon {
        let mut daemon = Daemon::start(project, environment);
        daemon.wait_for("READY=1");
        daemon
    }

    /// Starts it before a service manager that does not listen, and whose socket is full.
    pub fn unheard(project: &Project) -> Daemon {
        let address = project.at("full.sock");
        let deaf = UnixDatagram::bind(&address).unwrap();
        let shouting = UnixDatagram::unbound().unwrap();
        shouting.set_nonblocking(true).unwrap();
        while shouting.send_to(b"X=1", &address).is_ok() {}
        let mut daemon = Daemon::start(project, &[("NOTIFY_SOCKET", address.to_str().unwrap())]);
        daemon.notify = deaf;
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn wait_for_log(&self, part: &str) {
        eventually(&format!("{part:?} in the log"), || self.log().contains(part).then_some(()));
    }

    /// Takes in what was told since.
    pub fn told(&mut self) -> &[String] {
        let mut message = [0; 4096];
        while let Ok(length) = self.notify.recv(&mut message) {
            self.told.extend(String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned));
        }
        &self.told
    }

    /// Forgets what was told so far.
    pub fn forget(&mut self) {
        self.told();
        self.told.clear();
    }

    /// Waits until a line that begins so was told, and returns it.
    pub fn wait_for(&mut self, line: &str) -> String {
        let deadline = Deadline::after(PATIENCE);
        loop {
            if let Some(found) = self.told().iter().find(|told| told.starts_with(line)).cloned() {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(!deadline.passed() && ended.is_none(), "{line} was not told ({ended:?}):\n{:#?}\n{}", self.told, self.log());
        }
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status().unwrap();
        assert!(sent.success());
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let deadline = Deadline::after(PATIENCE);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(!deadline.passed(), "the daemon does not end in {PATIENCE:?}; it said\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Ended { code: status.code(), signal: status.signal(), stdout: String::new(), stderr: self.log() }
    }

    /// Asks it to stop and expects a good end.
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.wait().expect_code(0)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn keep(pipe: impl Read + Send + 'static, log: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).unwrap_or(0) > 0 {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
