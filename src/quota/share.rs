//! How several processes share the limits of one account: who may spend how much of what, agreed upon in the ledger.
//!
//! Each process counts what it sends itself, exactly, against a *share* of each window. What a member may count against a window at
//! a moment is at most what it *holds* of it: its share, or where it gave some of that away, what it spent before and has not left
//! the window yet. Nobody takes more than others do not hold, so the sum of what all of them count stays below the limit in every
//! interval, however shares move. Who gives lowers its share before it says so; who takes raises it once that is written, and the
//! writing succeeds only for whoever knows what stands there.
//!
//! Windows up to a minute, and requests at the same time, are divided by need; longer ones are spent in blocks, as in `keep`. What
//! a member holds is its own for a while after it was heard of last, by the ledger's clock; then it sends nothing, and a window's
//! length later the others take what it held.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::account::{Account, BLOCKS, Limit, Need, is_divided};
use super::keep::{Entry, KeptWindow, Member, Moment, Part, millis, pattern_of};
use super::{BudgetKey, Budgets};
use crate::clock::{Asked, Clock};
use crate::ledger::Ledger;

/// How often a member that has work looks whether others want of what it holds, or have left something.
pub(super) const LOOK: Duration = Duration::from_millis(300);
/// Who wants nothing for so long needs nothing.
const IDLE: Duration = Duration::from_secs(2);
/// This part of the time is not used for which what is held stays one's own: clocks do not run alike.
const MARGIN_PART: u32 = 6;
/// After this, a request that was sent has arrived, or never will.
const WAY: Duration = Duration::from_secs(2);
/// Shares that are too few for all go round after so many seconds.
const TURN: i64 = 5;

/// Where budgets are kept, and the name of this process there.
#[derive(Clone)]
pub(crate) struct Keeper {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) writer: String,
    /// What a source asked an earlier process for holds for this one.
    pub(crate) patient: bool,
    /// Where no other process can be as long as this one lives.
    pub(crate) place: String,
}

impl Budgets {
    /// Where this process is the only one as long as it lives: an earlier one that was there is dead, and what it held is taken
    /// over without waiting for that to end.
    pub fn at(mut self, place: &str) -> Self {
        if let Some(keeper) = &mut self.keeper {
            keeper.place = place.to_owned();
        }
        self
    }

    /// Agrees with the other processes about limits time after time, for as long as it is polled. For whoever works with budgets.
    pub async fn keep_sharing(&self) {
        if self.keeper.as_ref().is_none_or(|keeper| keeper.ledger.shared_for().is_none()) {
            return std::future::pending().await;
        }
        // Bounded by the work: whoever polls this drops it then.
        loop {
            // Those that began together need not ask together.
            self.clock.sleep(LOOK.mul_f64(0.75 + self.clock.fraction() / 2.0)).await;
            let budgets: Vec<_> = self.by_key().values().map(Arc::clone).collect();
            futures::future::join_all(budgets.iter().map(|budget| budget.look_around())).await;
        }
    }
}

impl Keeper {
    /// The name of a budget in the ledger.
    pub(super) fn account(&self, key: &BudgetKey) -> String {
        key.account()
    }
}

/// What a process knows of those it shares an account with.
#[derive(Default)]
pub(super) struct Sharing {
    /// What it wrote last, as far as that is certain.
    written: Option<Part>,
    /// The moment before it asked for what it holds.
    asked: Option<Asked>,
    /// When somebody wanted to send last.
    wished_at: Duration,
    /// It has said its last word.
    left: bool,
}

/// An entry that would agree with what a process wants.
pub(super) struct Proposal {
    pub(super) text: String,
    part: Part,
    shares: Vec<(Of, u64)>,
    blocks: Vec<(usize, u64)>,
    asked: Asked,
}

/// The moments of a proposal.
pub(super) struct Times {
    /// By the process's own clock.
    pub(super) now: Duration,
    /// By the ledger's clock: it is as late as this at least, and at most.
    pub(super) least: Timestamp,
    pub(super) most: Timestamp,
    pub(super) asked: Asked,
    /// How long what is held stays one's own.
    pub(super) length: Duration,
}

/// Something that is divided.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Window(usize),
    Places,
    Group(usize),
}

impl Sharing {
    pub(super) fn wish(&mut self, now: Duration) {
        (self.wished_at, self.left) = (now, false);
    }

    /// Whether what it holds is still its own.
    pub(super) fn holds(&self, length: Duration, clock: &dyn Clock) -> bool {
        self.asked.is_some_and(|asked| asked.age(clock) < length - length / MARGIN_PART)
    }

    /// Whether there is anything to talk about: it wants something, or holds something that others could want.
    pub(super) fn is_engaged(&self, account: &Account, now: Duration) -> bool {
        let holds = |part: &Part| part.windows.iter().any(|window| window.share + window.need + window.ahead > 0);
        let wished = self.wished_at > Duration::ZERO && !self.left;
        account.has_limits() && wished && (!self.is_idle(account, now) || self.written.as_ref().is_none_or(holds))
    }

    fn is_idle(&self, account: &Account, now: Duration) -> bool {
        account.flying() == 0 && now >= self.wished_at + IDLE
    }

    /// Nobody knows whether what was proposed last stands there.
    pub(super) fn doubt(&mut self) {
        self.written = None;
    }

    pub(super) fn has_written(&self) -> bool {
        self.asked.is_some()
    }

    /// What is to be written, if it is worth that. Shares that are given away are given away from now on.
    pub(super) fn propose(
        &mut self,
        account: &mut Account,
        entry: &Entry,
        keeper: &Keeper,
        times: &Times,
        due: bool,
    ) -> Option<Proposal> {
        let known = Moment { now: times.now, wall: times.least, uptime: None };
        let mut others: BTreeMap<String, Part> = entry.parts.clone();
        others.remove(&keeper.writer);
        for part in others.values_mut() {
            // Only one process can be there: this one.
            let member = part.member.as_mut().filter(|member| !keeper.place.is_empty() && member.place == keeper.place);
            if let Some(member) = member {
                member.until = member.until.min(times.least);
            }
        }
        let idle = self.is_idle(account, times.now);
        let short = |limit: &Limit| (limit.need.short && !idle && !is_divided(limit.meter.per())).then_some(limit.need.peak);
        let wishes: Vec<Option<u64>> = account.limits.iter().map(short).collect();
        let mut needs = Vec::new();
        let mut shares = Vec::new();
        for of in all_of(account) {
            let limit = of.limit(account);
            let need = if idle { of.need(account).forget() } else { of.need(account).tell(times.now, limit) };
            needs.push((of, need));
            let (held, settled, wanted) = others_of(&others, &of.window(account), &known);
            of.note_others(account, held);
            if !of.is_divided(account) {
                continue;
            }
            let share = wanted_part(limit.saturating_sub(settled), need, &wanted, &keeper.writer, times.least);
            let share = share.min(limit.saturating_sub(held));
            if share < of.share(account) {
                of.set_share(account, share);
            }
            shares.push((of, share));
        }
        let blocks = grant_blocks(account, &others, &wishes, idle, &known);
        let (held_now, until) = (Moment { now: times.now, wall: times.most, uptime: None }, later(times.least, times.length));
        let mut part = Part::beside(others.len() + 1, account, true, &blocks, &held_now);
        part.member = Some(Member { place: keeper.place.clone(), until });
        for (of, need) in &needs {
            let share = shares.iter().find(|(of_share, _)| of_share == of).map_or(0, |(_, share)| *share);
            match of {
                Of::Window(place) => {
                    let window = &mut part.windows[*place];
                    (window.share, window.need) = (share, *need);
                    // What is held of a divided window is its share, which stands for what is granted ahead.
                    window.ahead -= if of.is_divided(account) { account.limits[*place].allowed.min(window.ahead) } else { 0 };
                }
                Of::Places | Of::Group(_) => part.windows.push(KeptWindow { share, need: *need, ..of.window(account) }),
            }
        }
        if !due && blocks.is_empty() && !self.is_news(&part, idle, &held_now, times) {
            return None;
        }
        others.retain(|_, part| part.is_worth_keeping(&known));
        others.insert(keeper.writer.clone(), part.clone());
        let text = Entry { format: 1, parts: others }.text();
        Some(Proposal { text, part, shares, blocks, asked: times.asked })
    }

    /// What was proposed stands there.
    pub(super) fn agree(&mut self, account: &mut Account, proposal: Proposal) {
        for (of, share) in proposal.shares {
            of.set_share(account, share);
        }
        for (place, amount) in proposal.blocks {
            account.limits[place].allowed += amount;
        }
        self.written = Some(proposal.part);
        self.asked = Some(proposal.asked);
    }

    /// The last word of a process: it sends nothing more.
    pub(super) fn leave(&mut self, account: &Account, entry: &Entry, keeper: &Keeper, times: &Times) -> String {
        let mut parts = entry.parts.clone();
        let moment = Moment { now: times.now, wall: times.most, uptime: None };
        let mut part = Part::beside(parts.len() + 1, account, false, &[], &moment);
        part.member = Some(Member { place: keeper.place.clone(), until: times.least });
        parts.retain(|_, part| part.is_worth_keeping(&Moment { wall: times.least, ..moment.clone() }));
        parts.insert(keeper.writer.clone(), part);
        (self.written, self.asked, self.left) = (None, None, true);
        Entry { format: 1, parts }.text()
    }

    fn is_news(&self, part: &Part, idle: bool, moment: &Moment, times: &Times) -> bool {
        let Some(before) = &self.written else { return true };
        if before.windows.len() != part.windows.len() {
            return true;
        }
        let changed = before.windows.iter().zip(&part.windows).any(|(before_window, window)| {
            let less = part.held(window, moment) < before.held(before_window, moment);
            let divided = is_divided(Duration::from_millis(window.per));
            let gives = less && (idle || (divided && window.share < window.need));
            (before_window.share, before_window.need) != (window.share, window.need) || gives
        });
        let holds = part.windows.iter().any(|window| window.share + window.ahead + window.need > 0);
        let ends = before.member.as_ref().is_none_or(|member| member.until < later(times.most, times.length * 2 / 3));
        changed || (holds && ends)
    }
}

impl Part {
    /// What of a window a member may count against it at a moment.
    pub(super) fn held(&self, window: &KeptWindow, moment: &Moment) -> u64 {
        let age = millis(self.age(moment));
        let spent: u64 = window.leaving.iter().filter(|(leaves, _)| *leaves > age).map(|(_, amount)| amount).sum();
        let Some(member) = &self.member else { return spent + window.ahead };
        // The last that it may have sent was sent when its time was over.
        let rest = WAY + Duration::from_millis(window.per.saturating_add(window.per / 100 + 250));
        if self.open && moment.wall < later(member.until, rest) { window.share.max(window.ahead + spent) } else { spent }
    }

    fn is_worth_keeping(&self, moment: &Moment) -> bool {
        let until = self.member.as_ref().map_or(self.at, |member| member.until);
        let age = millis(self.age(moment));
        self.windows.iter().any(|window| self.held(window, moment) > 0)
            || self.pauses.values().any(|left| *left > age)
            || (self.open && moment.wall < until)
    }

    fn is_alive(&self, moment: &Moment) -> bool {
        self.open && self.member.as_ref().is_some_and(|member| moment.wall < member.until)
    }
}

impl Need {
    /// What the others are told: coarse, or each request would be news.
    fn tell(&mut self, now: Duration, limit: u64) -> u64 {
        let wish = if self.short { self.peak.saturating_mul(2) } else { self.peak };
        let need = if wish == 0 { 0 } else { wish.min(limit).next_power_of_two().min(limit) };
        (self.peak, self.short) = (0, false);
        if need >= self.told || now >= self.told_at + IDLE {
            self.told = need;
            self.told_at = now;
        }
        self.told
    }

    fn forget(&mut self) -> u64 {
        *self = Need::default();
        0
    }
}

impl Of {
    fn limit(self, account: &Account) -> u64 {
        match self {
            Of::Window(place) => account.limits[place].meter.limit(),
            Of::Places => account.gate.declared().unwrap_or_default() as u64,
            Of::Group(place) => account.groups[place].most as u64,
        }
    }

    fn share(self, account: &Account) -> u64 {
        match self {
            Of::Window(place) => account.limits[place].meter.share(),
            Of::Places => account.gate.share() as u64,
            Of::Group(place) => account.groups[place].share as u64,
        }
    }

    fn set_share(self, account: &mut Account, share: u64) {
        let places = usize::try_from(share).unwrap_or(usize::MAX);
        match self {
            Of::Window(place) => account.limits[place].meter.set_share(share),
            Of::Places => account.gate.set_share(places),
            Of::Group(place) => account.groups[place].share = places,
        }
    }

    fn need(self, account: &mut Account) -> &mut Need {
        match self {
            Of::Window(place) => &mut account.limits[place].need,
            Of::Places => &mut account.gate_need,
            Of::Group(place) => &mut account.groups[place].need,
        }
    }

    fn note_others(self, account: &mut Account, held: u64) {
        if let Of::Window(place) = self {
            account.limits[place].others = held;
        }
    }

    fn is_divided(self, account: &Account) -> bool {
        match self {
            Of::Window(place) => is_divided(account.limits[place].meter.per()),
            Of::Places | Of::Group(_) => true,
        }
    }

    /// Which it is, and what of places is taken.
    fn window(self, account: &Account) -> KeptWindow {
        let (group, points, per, ahead) = match self {
            Of::Window(place) => {
                let limit = &account.limits[place];
                (pattern_of(account, limit), limit.points, millis(limit.meter.per()), 0)
            }
            Of::Places => (String::new(), false, 0, account.held() as u64),
            Of::Group(place) => {
                let group = &account.groups[place];
                (group.pattern.to_string(), false, 0, group.flying as u64)
            }
        };
        KeptWindow { group, points, limit: self.limit(account), per, ahead, leaving: Vec::new(), share: 0, need: 0 }
    }
}

fn all_of(account: &Account) -> Vec<Of> {
    let windows = (0..account.limits.len()).map(Of::Window);
    let places = account.gate.declared().map(|_| Of::Places);
    let of_groups = account.groups.iter().enumerate().filter(|(_, group)| group.most < usize::MAX);
    windows.chain(places).chain(of_groups.map(|(place, _)| Of::Group(place))).collect()
}

/// What others hold of a window; how much of that those hold who do not need any of it, the dead and the idle; and what each of the
/// rest needs of it, by name.
fn others_of(others: &BTreeMap<String, Part>, window: &KeptWindow, known: &Moment) -> (u64, u64, Vec<(String, u64)>) {
    let (mut held, mut settled, mut needs) = (0_u64, 0_u64, Vec::new());
    for (name, part) in others {
        let same = |other: &&KeptWindow| (&other.group, other.points, other.per) == (&window.group, window.points, window.per);
        let exact = part.windows.iter().filter(same).find(|other| other.limit == window.limit);
        // Two definitions may say different limits; what one of them sends counts for the other all the same.
        let Some(theirs) = exact.or_else(|| part.windows.iter().filter(same).max_by_key(|other| part.held(other, known))) else {
            continue;
        };
        let theirs_now = part.held(theirs, known);
        held = held.saturating_add(theirs_now);
        if part.is_alive(known) && theirs.need > 0 {
            needs.push((name.clone(), theirs.need));
        } else {
            settled = settled.saturating_add(theirs_now);
        }
    }
    (held, settled, needs)
}

/// What of a limit is to be ours: everybody has what it needs, or as much as anybody else.
fn wanted_part(limit: u64, need: u64, others: &[(String, u64)], me: &str, at: Timestamp) -> u64 {
    if need == 0 {
        return 0;
    }
    let mut all: Vec<(&str, u64)> = others.iter().map(|(name, need)| (name.as_str(), *need)).collect();
    all.push((me, need));
    all.sort_unstable();
    // Of too little for all, each has its turn.
    if limit < all.len() as u64 {
        let first = (at.as_second() / TURN).unsigned_abs() as usize % all.len();
        all.rotate_left(first);
    }
    let needs: Vec<u64> = all.iter().map(|(_, need)| *need).collect();
    let place = all.iter().position(|(name, _)| *name == me).unwrap_or_default();
    parts(limit, &needs)[place]
}

/// Divides a whole: nobody gets more than it needs, and who gets less gets as much as anybody else, the first one more.
fn parts(whole: u64, needs: &[u64]) -> Vec<u64> {
    let mut parts = vec![0; needs.len()];
    let mut left = whole;
    // Each round fulfils a need, or is the last.
    for _ in 0..=needs.len() {
        let open: Vec<usize> = (0..needs.len()).filter(|place| parts[*place] < needs[*place]).collect();
        let each = left / open.len().max(1) as u64;
        let last = each == 0;
        for place in open {
            let part = (needs[place] - parts[place]).min(each.max(1)).min(left);
            parts[place] += part;
            left -= part;
        }
        if left == 0 || last {
            break;
        }
    }
    parts
}

/// What is granted of long windows, by place: a block where more is wished for than was granted, as far as others leave it. Who is
/// idle gives back what it did not spend.
fn grant_blocks(
    account: &mut Account,
    others: &BTreeMap<String, Part>,
    wishes: &[Option<u64>],
    idle: bool,
    known: &Moment,
) -> Vec<(usize, u64)> {
    let mut blocks = Vec::new();
    for (place, wish) in wishes.iter().enumerate() {
        let of = Of::Window(place);
        if of.is_divided(account) {
            continue;
        }
        let window = of.window(account);
        let (held, _, wanted) = others_of(others, &window, known);
        let members = wanted.len() as u64 + 1;
        let limit = &mut account.limits[place];
        limit.meter.set_pace((limit.meter.limit() / members).max(1));
        if idle {
            limit.allowed = 0;
        }
        let ours = limit.meter.used(known.now) + limit.allowed;
        let Some(wish) = wish else { continue };
        let room = limit.meter.limit().saturating_sub(held + ours);
        let block = (limit.meter.limit() / BLOCKS).max(wish.saturating_sub(ours)).max(1).min(room);
        if block > 0 {
            blocks.push((place, block));
        } else {
            limit.room_at = room_at(limit.meter.steps(usize::MAX), others, &window, known);
        }
    }
    blocks
}

/// When the first of what counts against a full window leaves it; in a second at the earliest, for others give back besides.
fn room_at(own: Vec<(Duration, u64)>, others: &BTreeMap<String, Part>, window: &KeptWindow, known: &Moment) -> Duration {
    let own = own.first().map(|(at, _)| *at);
    let theirs = others.values().flat_map(|part| {
        let age = millis(part.age(known));
        let same = |other: &&KeptWindow| (&other.group, other.points, other.per) == (&window.group, window.points, window.per);
        let leaving = part.windows.iter().filter(same).flat_map(|other| &other.leaving).map(|(leaves, _)| *leaves);
        leaving.filter(move |leaves| *leaves > age).map(move |leaves| known.now + Duration::from_millis(leaves - age))
    });
    let second = known.now + Duration::from_secs(1);
    theirs.chain(own).min().map_or(second, |at| at.max(second))
}

/// A moment by the ledger's clock, so much later.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(at)
}
