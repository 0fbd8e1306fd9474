//! One seed: a world, what befalls it, and what is wrong with it in the end.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;
use highwater::config::catalog::{Job, TableFormat};
use highwater::event::Events;
use highwater::fault::{Ending, FaultPlan, Guards, Side};
use highwater::run::{self, Effort, Ports, Purpose, Rewind, RewindKind, RunError, RunOptions, RunReport};
use highwater::sink::delta;
use highwater::sink::verify::verify;
use highwater::source::faulty::FaultySource;
use highwater::state::State;
use highwater::state::faulty::FaultyState;
use highwater::state::memory::MemoryState;
use highwater::stop::Stop;
use highwater::store::faulty::FaultyStore;
use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use super::source::{Items, LiveSource, Shape};
use super::table::{TABLE, compare, files_by_index, files_by_listing, read_rows};
use super::turns::{Seat, Turns};
use super::witness::Witness;
use crate::world::clock::TestClock;
use crate::world::dice::Dice;

/// Runs that the end may take: one settles and reads, a second one is for what failed in passing.
const RECOVERIES_MAX: u32 = 3;
/// Effects of a life among which faults are thrown.
const FAULTS_WITHIN: u64 = 50;

/// What came of a seed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    pub is_delta: bool,
    /// The history in words.
    pub plan: Vec<String>,
    /// Every effect of every life, in order.
    pub effects: Vec<String>,
    /// Records that were decided.
    pub commits: u64,
    pub kills: u64,
    pub faults: u64,
    pub wrong: Vec<String>,
}

/// What a process does in its life.
#[derive(Clone, Debug)]
enum Work {
    Load,
    Join,
    GoBack(u64),
}

/// One process.
struct Life {
    job: Job,
    store: Witness,
    state: Arc<dyn State>,
    items: Arc<Mutex<Items>>,
    plan: Arc<FaultPlan>,
    faults: Vec<u64>,
    work: Work,
    /// Minutes that its clock is ahead.
    skew: i64,
    seed: u64,
    guards: Guards,
}

impl Life {
    async fn live(&self) -> (Result<Option<RunReport>, RunError>, String) {
        let ended = self.work().await;
        let how = match &ended {
            Ok(Some(report)) => {
                let (commits, mark) = (report.commits, report.mark.as_deref().unwrap_or("none"));
                let failed: Vec<&str> = report.failed.iter().map(|failure| failure.reason.as_str()).collect();
                format!("{commits} commits, mark {mark}, failed {failed:?}")
            }
            Ok(None) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        let life = self.seed & 0xffff;
        (ended, format!("  life {life} ended after {} effects: {how}", self.plan.count()))
    }

    async fn work(&self) -> Result<Option<RunReport>, RunError> {
        let now = self.items.lock().unwrap().now + SignedDuration::from_mins(self.skew);
        let rewind = match self.work {
            Work::GoBack(seq) => Some(Rewind {
                what: RewindKind::Rollback(seq),
                set: None,
                may_empty: true,
                may_lose: 0,
                asked_by: "somebody".to_owned(),
                why: None,
            }),
            Work::Load | Work::Join => None,
        };
        let source = LiveSource::new(Arc::clone(&self.items));
        let ports = Ports {
            state: Arc::new(FaultyState::new(Arc::clone(&self.state), Arc::clone(&self.plan))),
            store: Arc::new(FaultyStore::new(Arc::new(self.store.clone()), Arc::clone(&self.plan))),
            source: Arc::new(FaultySource::new(Arc::new(source), Arc::clone(&self.plan))),
            roster: None,
            clock: Arc::new(TestClock::new(&now.to_string(), self.seed)),
            events: Events::default(),
            stop: Stop::new(),
            owner: format!("life {}", self.seed),
            // Nothing is ever large enough to be written there.
            spool: "/nonexistent".into(),
            memory: 64 << 20,
            guards: self.guards,
            options: RunOptions { force: true, rewind, as_of: None },
        };
        match self.work {
            Work::Load | Work::GoBack(_) => run::run_job(&self.job, Purpose::Load, &ports).await.map(Some),
            Work::Join => run::compact(&self.job, &ports, Effort::all(false)).await.map(|_| None),
        }
    }
}

struct History {
    seed: u64,
    dice: Dice,
    shape: Shape,
    job: Job,
    store: Witness,
    /// One that both writers share, or one of each.
    states: Vec<MemoryState>,
    backups: Vec<(usize, MemoryState)>,
    items: Arc<Mutex<Items>>,
    lives: u64,
    guards: Guards,
    told: Told,
}

/// Lives through a seed. A panic on the way is a violation like another.
pub async fn live(seed: u64, guards: Guards) -> Told {
    highwater::fault::wait_for_work();
    let mut history = History::new(seed, guards);
    let lived = AssertUnwindSafe(history.live()).catch_unwind().await;
    let mut told = std::mem::take(&mut history.told);
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        told.wrong.push(format!("panicked: {}", text.unwrap_or("without a word")));
    }
    told.commits = history.store.decided();
    told
}

impl History {
    fn new(seed: u64, guards: Guards) -> Self {
        let mut dice = Dice::new(seed);
        let shape = Shape::roll(&mut dice);
        let states = (0..*dice.pick(&[1, 2])).map(|_| MemoryState::new()).collect();
        let items = Arc::new(Mutex::new(Items::new(dice.next(), &shape)));
        let job = shape.job();
        let told = Told { is_delta: shape.delta, plan: vec![format!("{shape:?}")], ..Told::default() };
        let (store, backups) = (Witness::new(), Vec::new());
        History { seed, dice, shape, job, store, states, backups, items, lives: 0, guards, told }
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap()
    }

    async fn live(&mut self) {
        for _ in 0..2 + self.dice.below(3) {
            let changes = self.items().go_on();
            self.told.plan.push(changes);
            if self.dice.once_in(2) {
                self.meet().await;
            } else {
                self.alone().await;
            }
            self.check_marks().await;
            self.lose_state();
        }
        self.items().settle();
        self.end().await;
    }

    /// A life with what goes wrong in it; `state` is where it looks for what it knows.
    fn life(&mut self, state: Arc<dyn State>, work: Work, paced: Option<Seat>) -> Life {
        let (mut plan, mut faults) = (FaultPlan::none(), Vec::new());
        if self.dice.once_in(2) {
            let (at, side) = (1 + self.dice.below(FAULTS_WITHIN), *self.dice.pick(&[Side::Before, Side::After]));
            self.told.plan.push(format!("  life {}: killed {side:?} effect {at}", self.lives + 1));
            plan = FaultPlan::kill(at, side, Ending::InProcess);
        }
        for _ in 0..*self.dice.pick(&[0, 0, 0, 1, 2, 3]) {
            let at = 1 + self.dice.below(FAULTS_WITHIN);
            let kind = self.dice.below(3);
            plan = match kind {
                0 => plan.error_at(at),
                1 => plan.error_after(at),
                _ => plan.lie_exists(at),
            };
            let kind = ["fails undone", "fails done", "is told to exist"][kind as usize];
            self.told.plan.push(format!("  life {}: effect {at} {kind}", self.lives + 1));
            faults.push(at);
        }
        if let Some(seat) = paced {
            plan = plan.paced(Arc::new(seat));
        }
        let skew = *self.dice.pick(&[0, 0, 0, -7, -2, 3, 9]);
        let mut life = self.calm_life(state, work);
        self.told.plan.push(format!("  life {}: {:?}, {skew} min ahead", self.lives, life.work));
        (life.plan, life.faults, life.skew) = (Arc::new(plan), faults, skew);
        life
    }

    fn calm_life(&mut self, state: Arc<dyn State>, work: Work) -> Life {
        self.lives += 1;
        Life {
            job: self.job.clone(),
            store: self.store.clone(),
            state,
            items: Arc::clone(&self.items),
            plan: Arc::new(FaultPlan::none()),
            faults: Vec::new(),
            work,
            skew: 0,
            seed: self.seed << 16 | self.lives,
            guards: self.guards,
        }
    }

    fn note(&mut self, life: &Life) {
        self.told.kills += u64::from(life.plan.is_dead());
        self.told.faults += life.faults.iter().filter(|at| **at <= life.plan.count()).count() as u64;
        self.told.effects.extend(life.plan.log());
    }

    fn work(&mut self) -> Work {
        let records = self.store.decided();
        match self.dice.below(12) {
            0 | 1 => Work::Join,
            2 if records > 0 && !self.shape.delta => Work::GoBack(1 + self.dice.below(records)),
            _ => Work::Load,
        }
    }

    /// One writer; what nothing happens to must succeed.
    async fn alone(&mut self) {
        let which = self.dice.below(self.states.len() as u64) as usize;
        let (state, work) = (Arc::new(self.states[which].reopen()), self.work());
        self.told.plan.push(format!("alone, with state {which}"));
        let life = self.life(state, work, None);
        let (ended, how) = life.live().await;
        self.told.plan.push(how);
        let is_calm = !life.plan.is_dead() && life.faults.iter().all(|at| *at > life.plan.count());
        let failed = match &ended {
            Ok(report) => report.as_ref().is_some_and(|report| !report.failed.is_empty()),
            Err(_) => true,
        };
        if is_calm && failed && matches!(life.work, Work::Load) {
            self.told.wrong.push(format!("a run failed that nothing happened to: {ended:?}"));
        }
        self.note(&life);
    }

    /// Two writers take turns; the second comes when the first is under way, and the source may have changed by then.
    async fn meet(&mut self) {
        let turns = Arc::new(Turns::new(self.dice.next()));
        let seats = [0, 1].map(|who| Seat::new(Arc::clone(&turns), who));
        let states: [Arc<dyn State>; 2] = match &self.states[..] {
            // The second takes the lease over, as where the first was paused for longer than its lease.
            [shared] if self.dice.once_in(2) => [Arc::new(shared.reopen()), Arc::new(shared.reopen())],
            [shared] => {
                let state = Arc::new(shared.reopen());
                [state.clone(), state]
            }
            others => [0, 1].map(|which| Arc::new(others[which].reopen()) as Arc<dyn State>),
        };
        self.told.plan.push("two writers".to_owned());
        let mut lives = Vec::new();
        for (state, seat) in states.into_iter().zip(seats) {
            let work = self.work();
            lives.push(self.life(state, work, Some(seat)));
        }
        let (comes_at, changes) = (self.dice.below(FAULTS_WITHIN), self.dice.once_in(2));
        self.told.plan.push(format!("  the second comes at effect {comes_at}, the source changes before: {changes}"));
        let first = async {
            let (_, how) = lives[0].live().await;
            turns.leave(0);
            how
        };
        let second = async {
            turns.until(comes_at).await;
            let changed = if changes { self.items().go_on() } else { String::new() };
            let (_, how) = lives[1].live().await;
            turns.leave(1);
            format!("  {changed}\n{how}")
        };
        let (first, second) = tokio::join!(Box::pin(first), Box::pin(second));
        self.told.plan.extend([first, second]);
        for life in &lives {
            self.note(life);
        }
    }

    /// A state may be gone, or be what it was.
    fn lose_state(&mut self) {
        let which = self.dice.below(self.states.len() as u64) as usize;
        match self.dice.below(8) {
            0 => {
                self.told.plan.push(format!("state {which} is lost"));
                self.states[which] = MemoryState::new();
            }
            1 if !self.backups.is_empty() => {
                let (of, backup) = self.dice.pick(&self.backups);
                self.told.plan.push(format!("state {of} is put back"));
                self.states[*of] = backup.fork();
            }
            2..=4 => self.backups.push((which, self.states[which].fork())),
            _ => {}
        }
    }

    /// What a state knows last must be what the lake has.
    async fn check_marks(&mut self) {
        for state in &self.states {
            let Some(known) = state.dataset(&self.job.dataset).await.unwrap() else { continue };
            let record = self.store.record(known.seq);
            let hash = record.map(|bytes| Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>());
            if known.seq > 0 && hash.as_ref() != Some(&known.record_hash) {
                self.told.wrong.push(format!("a state leads the lake: it knows of record {}, which the log lacks", known.seq));
            }
        }
    }

    async fn calm_run(&mut self, which: usize) -> Result<RunReport, RunError> {
        let state = Arc::new(self.states[which].reopen());
        let life = self.calm_life(state, Work::Load);
        let (ended, how) = life.live().await;
        self.told.plan.push(how);
        self.note(&life);
        Ok(ended?.expect("a load reports"))
    }

    async fn end(&mut self) {
        for which in 0..self.states.len() {
            let mut last = String::new();
            for _ in 0..RECOVERIES_MAX {
                last = match self.calm_run(which).await {
                    Ok(report) if report.failed.is_empty() => String::new(),
                    ended => format!("{ended:?}"),
                };
                if last.is_empty() {
                    break;
                }
            }
            if !last.is_empty() {
                self.told.wrong.push(format!("it does not recover: {last}"));
            }
        }
        self.check_table().await;
        self.check_marks().await;
        for which in 0..self.states.len() {
            let before = self.store.decided();
            let ended = self.calm_run(which).await;
            if self.store.decided() != before || !ended.as_ref().is_ok_and(|report| report.failed.is_empty()) {
                self.told.wrong.push(format!("one more run with state {which}: {ended:?}"));
            }
        }
        self.told.wrong.extend(self.store.decided_twice());
    }

    async fn check_table(&mut self) {
        let store = &self.store;
        let by_index = files_by_index(store).await;
        let counting = match self.job.sink.format {
            TableFormat::Parquet => files_by_listing(store).await,
            TableFormat::Delta => {
                let active = delta::active_files(Arc::new(store.clone()), TABLE).await.expect("a Delta log").unwrap_or_default();
                let problems = delta::verify(Arc::new(store.clone()), &self.job.dataset).await.expect("a Delta log");
                self.told.wrong.extend(problems.iter().map(|problem| format!("the Delta log: {problem}")));
                active
            }
        };
        let rows = read_rows(store, &counting).await;
        let mut wrong = compare(&self.shape, &self.items.lock().unwrap(), &rows);
        if counting != by_index {
            let differ: Vec<&String> = counting.symmetric_difference(&by_index).collect();
            wrong.push(format!("current.json and the table differ in {differ:?}"));
        }
        match verify(store, &self.job.dataset).await {
            Ok(report) => wrong.extend(report.problems.iter().map(|problem| format!("verify: {problem}"))),
            Err(error) => wrong.push(format!("verify: {error}")),
        }
        self.told.wrong.extend(wrong);
    }
}
