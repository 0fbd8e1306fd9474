//! What goes wrong at which effect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;

/// Names kept for [`FaultPlan::log`]; a run that makes more is still counted.
const LOG_MAX: usize = 100_000;

/// On which side of an effect a run dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Nothing of the effect happens.
    Before,
    /// The effect happens, its answer is lost.
    After,
}

/// How a run dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The world is dead, the process lives: this and every later effect fails and does nothing.
    InProcess,
    /// The process gets a SIGKILL.
    Process,
}

#[derive(Clone)]
enum Fault {
    Kill(Side, Ending),
    /// The effect fails in passing; the world goes on.
    Error(Side),
    /// A `put_absent` answers `Exists` and does nothing, as S3's 409 does.
    LieExists,
    Delay(Duration, Arc<dyn Clock>),
    /// The process gets a SIGSTOP, and goes on where it was once somebody lets it.
    Stop(Side),
}

/// Numbers the effects of one life of a program, and says which of them go wrong. Shared by all decorators of that life.
#[derive(Default)]
pub struct FaultPlan {
    faults: BTreeMap<u64, Fault>,
    /// What `faults` count, instead of every effect: those whose name contains this.
    of: Option<String>,
    /// Effects whose name contains this panic.
    panic_in: Option<String>,
    /// Once this file is there no effect ever ends.
    hang_when: Option<PathBuf>,
    /// The first write whose name contains this lacks its last byte.
    cut_in: Option<String>,
    /// Waited for before each effect.
    pace: Option<Arc<dyn Clock>>,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    count: u64,
    /// Of effects that the plan's numbers are of.
    meant: u64,
    log: Vec<String>,
    dead: bool,
    cut: bool,
}

/// How an effect went, seen from outside.
#[derive(Debug)]
pub enum Outcome<T> {
    /// It was performed, and this is its answer.
    Answer(T),
    /// The world is dead; nothing was done, or its answer is lost.
    Killed,
    /// Told as a passing failure, whatever was done. `performed` holds an answer that nobody is to see.
    Failed { performed: Option<T> },
    /// Nothing was done; a `put_absent` says that something is there.
    ToldExists,
}

impl FaultPlan {
    /// Nothing goes wrong; effects are counted.
    pub fn none() -> Self {
        FaultPlan::default()
    }

    /// Dies at the effect of this number.
    pub fn kill(at: u64, side: Side, ending: Ending) -> Self {
        FaultPlan::none().and(at, Fault::Kill(side, ending))
    }

    /// The effect of this number fails in passing and is not performed.
    pub fn error_at(self, at: u64) -> Self {
        self.and(at, Fault::Error(Side::Before))
    }

    /// The effect of this number is performed, and told as a passing failure.
    pub fn error_after(self, at: u64) -> Self {
        self.and(at, Fault::Error(Side::After))
    }

    /// The effect of this number does nothing; a `put_absent` answers `Exists` though nothing is there, any other fails in passing.
    pub fn lie_exists(self, at: u64) -> Self {
        self.and(at, Fault::LieExists)
    }

    /// The effect of this number takes that much longer to begin.
    pub fn delay(self, at: u64, length: Duration, clock: Arc<dyn Clock>) -> Self {
        self.and(at, Fault::Delay(length, clock))
    }

    /// No effect begins before a wait on this clock is over: whoever holds the clock says who goes on.
    pub fn paced(mut self, clock: Arc<dyn Clock>) -> Self {
        self.pace = Some(clock);
        self
    }

    fn and(mut self, at: u64, fault: Fault) -> Self {
        self.faults.insert(at, fault);
        self
    }

    /// The plan's numbers are of effects whose name contains `part`, not of all.
    pub fn of(mut self, part: &str) -> Self {
        self.of = Some(part.to_owned());
        self
    }

    /// Effects whose name contains `part` panic.
    pub fn panic_in(mut self, part: &str) -> Self {
        self.panic_in = Some(part.to_owned());
        self
    }

    /// No effect ends any more once the file is there.
    pub fn hang_when(mut self, file: &Path) -> Self {
        self.hang_when = Some(file.to_owned());
        self
    }

    /// The first write to a path that contains `part` lacks its last byte, and is told as whole.
    pub fn cut_in(mut self, part: &str) -> Self {
        self.cut_in = Some(part.to_owned());
        self
    }

    /// Whether this write is the one to be cut.
    pub fn cuts(&self, path: &str) -> bool {
        let is_meant = self.cut_in.as_ref().is_some_and(|part| path.contains(part));
        is_meant && !std::mem::replace(&mut self.progress().cut, true)
    }

    /// Reads a plan for a process of its own: `count`, `panic-in:` with a part of an effect's name, `hang-when:` with a file, or one of `kill-before`, `kill-after`, `error-before`, `error-after`, `stop-before`,
    /// `stop-after` and `lie-exists` with `:` and the number of an effect, or `3@` and a part of the names of effects of which it is the
    /// third. Kills are real ones.
    pub fn from_text(text: &str) -> Result<Self, String> {
        if text == "count" {
            return Ok(FaultPlan::none());
        }
        let (what, number) = text.split_once(':').ok_or_else(|| format!("a fault is `count` or `kind:number`, not `{text}`"))?;
        match what {
            "panic-in" => return Ok(FaultPlan::none().panic_in(number)),
            "hang-when" => return Ok(FaultPlan::none().hang_when(Path::new(number))),
            _ => {}
        }
        let (number, of) = number.split_once('@').map_or((number, None), |(number, part)| (number, Some(part)));
        let at = match number.parse::<u64>() {
            Ok(at) if at > 0 => at,
            _ => return Err(format!("effects are numbered from 1, not `{number}`")),
        };
        let plan = match what {
            "kill-before" => Ok(FaultPlan::kill(at, Side::Before, Ending::Process)),
            "kill-after" => Ok(FaultPlan::kill(at, Side::After, Ending::Process)),
            "error-before" => Ok(FaultPlan::none().error_at(at)),
            "error-after" => Ok(FaultPlan::none().error_after(at)),
            "lie-exists" => Ok(FaultPlan::none().lie_exists(at)),
            "stop-before" => Ok(FaultPlan::none().and(at, Fault::Stop(Side::Before))),
            "stop-after" => Ok(FaultPlan::none().and(at, Fault::Stop(Side::After))),
            _ => Err(format!("there is no fault `{what}`")),
        };
        plan.map(|plan| FaultPlan { of: of.map(str::to_owned), ..plan })
    }

    /// Effects begun so far; those of a dead world are not counted.
    pub fn count(&self) -> u64 {
        self.progress().count
    }

    /// The names of the effects in order, effect 1 first: `store.put_absent _highwater/x/log/00000000000000000001.json`.
    pub fn log(&self) -> Vec<String> {
        self.progress().log.clone()
    }

    /// Whether the kill has struck.
    pub fn is_dead(&self) -> bool {
        self.progress().dead
    }

    /// Performs an effect, or not, as planned. For decorators.
    pub async fn effect<T>(&self, name: String, perform: impl Future<Output = T>) -> Outcome<T> {
        assert!(!self.panic_in.as_ref().is_some_and(|part| name.contains(part)), "panicked as planned: {name}");
        if self.hang_when.as_ref().is_some_and(|file| file.exists()) {
            std::future::pending::<()>().await;
        }
        if let Some(clock) = self.pace.as_ref().filter(|_| !self.is_dead()) {
            clock.sleep(Duration::ZERO).await;
        }
        let Some(number) = self.begin(name) else { return Outcome::Killed };
        match self.faults.get(&number) {
            None => {}
            Some(Fault::Kill(side, ending)) => {
                if *side == Side::After {
                    drop(perform.await);
                }
                self.die(*ending);
                return Outcome::Killed;
            }
            Some(Fault::Error(Side::Before)) => return Outcome::Failed { performed: None },
            Some(Fault::Error(Side::After)) => return Outcome::Failed { performed: Some(perform.await) },
            Some(Fault::LieExists) => return Outcome::ToldExists,
            Some(Fault::Delay(length, clock)) => clock.sleep(*length).await,
            Some(Fault::Stop(Side::Before)) => stop(),
            Some(Fault::Stop(Side::After)) => {
                let answer = perform.await;
                stop();
                return Outcome::Answer(answer);
            }
        }
        let answer = perform.await;
        // Killed meanwhile, by an effect beside this one: whoever waited for the answer is dead.
        if self.is_dead() { Outcome::Killed } else { Outcome::Answer(answer) }
    }

    /// The number of the effect that begins now, 0 for one that the plan is not about; `None` in a dead world.
    fn begin(&self, name: String) -> Option<u64> {
        let mut progress = self.progress();
        if progress.dead {
            return None;
        }
        progress.count += 1;
        let is_meant = self.of.as_ref().is_none_or(|part| name.contains(part));
        progress.meant += u64::from(is_meant);
        if progress.log.len() < LOG_MAX {
            progress.log.push(name);
        }
        Some(if is_meant { progress.meant } else { 0 })
    }

    fn die(&self, ending: Ending) {
        // Held on to in the other case too: no effect may begin while the signal is on its way.
        let mut progress = self.progress();
        progress.dead = true;
        if ending == Ending::Process {
            drop(signal_hook::low_level::raise(signal_hook::consts::SIGKILL));
            // Only reached where there is no such signal.
            std::process::abort();
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // A panic while it was held leaves a count and a log that are whole.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the whole process until it gets a SIGCONT.
fn stop() {
    drop(signal_hook::low_level::raise(signal_hook::consts::SIGSTOP));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    async fn touch(plan: &FaultPlan, touched: &mut Vec<u64>, n: u64) -> Outcome<u64> {
        plan.effect(format!("touch {n}"), async {
            touched.push(n);
            n
        })
        .await
    }

    #[tokio::test]
    async fn effects_are_numbered_and_named() {
        let plan = FaultPlan::none();
        let mut touched = Vec::new();
        for n in 1..=3 {
            assert!(matches!(touch(&plan, &mut touched, n).await, Outcome::Answer(answer) if answer == n));
        }
        assert_eq!(plan.count(), 3);
        assert_eq!(plan.log(), ["touch 1", "touch 2", "touch 3"]);
        assert!(!plan.is_dead());
    }

    #[tokio::test]
    async fn a_kill_ends_the_world_on_either_side() {
        for (side, done) in [(Side::Before, vec![1]), (Side::After, vec![1, 2])] {
            let plan = FaultPlan::kill(2, side, Ending::InProcess);
            let mut touched = Vec::new();
            assert!(matches!(touch(&plan, &mut touched, 1).await, Outcome::Answer(1)));
            for n in 2..=4 {
                assert!(matches!(touch(&plan, &mut touched, n).await, Outcome::Killed));
            }
            assert_eq!(touched, done);
            assert!(plan.is_dead());
            assert_eq!(plan.count(), 2);
        }
    }

    #[tokio::test]
    async fn numbers_may_be_of_effects_of_a_name() {
        let plan = FaultPlan::from_text("error-before:2@touch 1").unwrap();
        let mut touched = Vec::new();
        for n in [1, 2, 12, 1] {
            touch(&plan, &mut touched, n).await;
        }
        assert_eq!((touched, plan.count()), (vec![1, 2, 1], 4));
    }

    #[tokio::test]
    async fn an_answer_that_comes_after_death_is_lost() {
        let plan = FaultPlan::kill(2, Side::Before, Ending::InProcess);
        let outer = plan.effect("outer".to_owned(), async {
            plan.effect("inner".to_owned(), async {}).await;
            1
        });
        assert!(matches!(outer.await, Outcome::Killed));
    }

    #[tokio::test]
    async fn errors_and_lies_leave_the_world_alive() {
        let plan = FaultPlan::none().error_at(1).error_after(2).lie_exists(3);
        let plan = plan.delay(4, Duration::from_millis(1), Arc::new(SystemClock::new()));
        let mut touched = Vec::new();
        assert!(matches!(touch(&plan, &mut touched, 1).await, Outcome::Failed { performed: None }));
        assert!(matches!(touch(&plan, &mut touched, 2).await, Outcome::Failed { performed: Some(2) }));
        assert!(matches!(touch(&plan, &mut touched, 3).await, Outcome::ToldExists));
        assert!(matches!(touch(&plan, &mut touched, 4).await, Outcome::Answer(4)));
        assert_eq!(touched, [2, 4]);
    }

    #[test]
    fn a_real_kill_is_signal_9() {
        use std::os::unix::process::ExitStatusExt;
        const ASKED: &str = "HIGHWATER_TEST_DIES";
        if std::env::var_os(ASKED).is_some() {
            FaultPlan::none().die(Ending::Process);
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "fault::plan::tests::a_real_kill_is_signal_9"]).env(ASKED, "1");
        let status = child.stdout(std::process::Stdio::null()).status().unwrap();
        assert_eq!(status.signal(), Some(9));
    }

    #[test]
    fn plans_are_read_from_text() {
        for good in [
            "count",
            "kill-before:17",
            "kill-after:1@put",
            "kill-after:1",
            "error-before:2",
            "error-after:2",
            "lie-exists:3",
            "stop-before:4",
        ] {
            assert!(FaultPlan::from_text(good).is_ok(), "{good}");
        }
        for bad in ["", "kill", "kill-before", "kill-before:0", "kill-before:x", "explode:1"] {
            assert!(FaultPlan::from_text(bad).is_err(), "{bad}");
        }
    }
}
