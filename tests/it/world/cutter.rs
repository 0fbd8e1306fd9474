//! A proxy before a Postgres server's socket whose connections break: some are reset, some fall silent for ever, in one direction or both.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::dice::Dice;

/// How a connection ends that is meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Reset,
    /// What is asked arrives, and no answer comes any more.
    Deaf,
    /// Nothing arrives any more, on either side.
    Silent,
}

struct Inner {
    server: PathBuf,
    dice: Mutex<Dice>,
    /// New connections are meant to break.
    stormy: AtomicBool,
    broken: AtomicU64,
    /// The listener ends.
    over: AtomicBool,
}

/// It listens on a port of its own until it is dropped.
pub struct Cutter {
    address: SocketAddr,
    inner: Arc<Inner>,
}

impl Cutter {
    /// Before the server whose socket lies in `folder`, with the chances of `seed`.
    pub fn before(folder: &Path, seed: u64) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inner = Arc::new(Inner {
            server: folder.join(".s.PGSQL.5432"),
            dice: Mutex::new(Dice::new(seed)),
            stormy: AtomicBool::new(true),
            broken: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let cutter = Cutter { address: listener.local_addr().unwrap(), inner: Arc::clone(&inner) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if inner.over.load(Ordering::Relaxed) {
                    break;
                }
                inner.join(client);
            }
        });
        cutter
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres?sslmode=disable", self.address)
    }

    /// Connections that were broken so far.
    pub fn broken(&self) -> u64 {
        self.inner.broken.load(Ordering::Relaxed)
    }

    /// New connections are whole from now on. Those that are silent stay so: what forgot them does not remember.
    pub fn heal(&self) {
        self.inner.stormy.store(false, Ordering::Relaxed);
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

impl Inner {
    fn join(self: &Arc<Self>, client: TcpStream) {
        let Ok(server) = UnixStream::connect(&self.server) else { return };
        let (cut, after) = {
            let mut dice = self.dice.lock().unwrap();
            // Most of them outlive their opening, which takes about a thousand bytes of answers.
            (*dice.pick(&[Cut::Reset, Cut::Reset, Cut::Deaf, Cut::Silent]), 500 + dice.below(20_000))
        };
        let line = Arc::new(Line {
            inner: Arc::clone(self),
            client,
            server,
            cut,
            left: Mutex::new(after),
            is_cut: AtomicBool::new(false),
        });
        let asked = Arc::clone(&line);
        std::thread::spawn(move || asked.carry(true));
        std::thread::spawn(move || line.carry(false));
    }
}

struct Line {
    inner: Arc<Inner>,
    client: TcpStream,
    server: UnixStream,
    cut: Cut,
    /// Bytes of answers until it breaks.
    left: Mutex<u64>,
    is_cut: AtomicBool,
}

impl Line {
    fn carry(&self, questions: bool) {
        let mut bytes = [0; 2_048];
        loop {
            let read = if questions { (&self.client).read(&mut bytes) } else { (&self.server).read(&mut bytes) };
            let Ok(count @ 1..) = read else { break };
            if !questions {
                self.spend(count as u64);
            }
            if self.is_cut.load(Ordering::Relaxed) {
                match self.cut {
                    Cut::Reset => break,
                    Cut::Deaf if questions => {}
                    Cut::Deaf | Cut::Silent => continue,
                }
            }
            let wrote =
                if questions { (&self.server).write_all(&bytes[..count]) } else { (&self.client).write_all(&bytes[..count]) };
            if wrote.is_err() {
                break;
            }
        }
        // Where the other side is gone, this one is told, unless it is meant to wait in vain.
        if questions || self.cut == Cut::Reset || !self.is_cut.load(Ordering::Relaxed) {
            drop(self.client.shutdown(Shutdown::Both));
            drop(self.server.shutdown(Shutdown::Both));
        }
    }

    fn spend(&self, count: u64) {
        let mut left = self.left.lock().unwrap();
        *left = left.saturating_sub(count);
        if *left == 0 && self.inner.stormy.load(Ordering::Relaxed) && !self.is_cut.swap(true, Ordering::Relaxed) {
            self.inner.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}
