//! What every state promises, as one suite that runs on each of them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

use super::{BatchNote, BatchStatus, Condition, ConditionKey, DatasetState, DueTimes, EventRow, Lease, RunRow, State, Told};
use crate::batch::Counts;
use crate::clock::Clock;
use crate::config::secret::SecretString;
use crate::cursor::CursorKey;
use crate::error::ErrorKind;
use crate::ids::{BatchId, ClaimId, DatasetName, JobName, PartitionKey, RunId};
use crate::ledger::{Ledger, LedgerEntry, TEXT_MAX};
use crate::slice::{Cover, Coverage, Covered, CursorMark, Span};
use crate::vault::{self, TokenVault, VaultEntry};

/// Runs the suite in an empty state.
///
/// # Panics
/// Where the state breaks the contract.
pub async fn state_contract(state: &dyn State) {
    leases_exclude_and_raise_the_epoch(state).await;
    many_at_once_get_one_lease(state).await;
    what_is_known_comes_back_exactly(state).await;
    an_old_lease_writes_nothing(state).await;
    batches_stay_open_until_they_are_over(state).await;
    runs_come_newest_first(state).await;
    events_come_newest_first_and_once(state).await;
    the_newest_run_that_ended_well_is_known(state).await;
    conditions_stay_until_they_are_dropped(state).await;
    due_times_come_back_exactly(state).await;
    a_due_time_is_taken_once(state).await;
    entries_of_the_ledger_come_back_exactly(state).await;
    an_entry_is_replaced_by_whoever_knows_it(state).await;
    many_at_once_write_one_version(state).await;
    tokens_are_replaced_by_whoever_knows_them(state).await;
    old_tokens_are_forgotten(state).await;
    leave_something_for_the_next_process(state).await;
}

/// What must be there in a state that was opened again after [`state_contract`] ran in it.
///
/// # Panics
/// Where something got lost, or a dead process still holds a lease.
pub async fn reopened_state_contract(state: &dyn State) {
    let dataset = DatasetName::new("kept");
    assert_eq!(state.dataset(&dataset).await.expect("dataset answers"), Some(known(7)));
    let open = state.open_batches(&dataset).await.expect("open_batches answers");
    assert_eq!(open, [note(70, 8)]);
    let runs = state.runs(Some(&JobName::new("kept")), 10).await.expect("runs answers");
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].status, "failed", "its process is gone");
    assert!(runs[0].error.is_some());
    let due = state.due_times().await.expect("due_times answers");
    let expected = [
        (JobName::new("kept"), due_times(Some(at(60)), Some(at(90)), None)),
        (JobName::new("waits"), parked(DueTimes::default(), at(7200))),
    ];
    assert_eq!(due, expected);
    let kept = JobName::new("kept");
    assert!(!state.claim_due(&kept, at(60), ClaimId(Uuid::from_u128(2)), None).await.expect("claim_due answers"), "taken before");
    assert!(state.claim_due(&kept, at(90), ClaimId(Uuid::from_u128(2)), None).await.expect("claim_due answers"));
    // The owner of before never gave it back.
    let lease = lease(state, "kept").await;
    assert_eq!(lease.epoch, 2);
    state.advance(&lease, &known(8), Some(batch(70))).await.expect("the new lease writes");
    assert_eq!(state.open_batches(&dataset).await.expect("open_batches answers"), []);
    assert_eq!(state.conditions().await.expect("conditions answers"), [condition("kept", "", 7)]);
    let entries = state.entries().await.expect("entries answers");
    let known: Vec<(&str, u64)> = entries.iter().map(|entry| (entry.account.as_str(), entry.version)).collect();
    assert_eq!(known, [("a \"quoted\"", 2), ("b", 2), ("kept", 2), ("known", 4), ("many", 1), ("ü", 2)]);
    assert_eq!(entries[2], entry("kept", 2, "two"));
    assert!(put(state, "kept", 1, "two").await, "its answer was lost with its process");
    assert!(!put(state, "kept", 1, "other").await);
    assert!(put(state, "kept", 2, "three").await);
    assert_eq!(state.tokens("kept").await.expect("tokens answers"), Some(tokens("kept", 2, "two")));
    assert!(keep(state, "kept", 1, "two").await, "its answer was lost with its process");
    assert!(!keep(state, "kept", 1, "other").await);
    assert!(keep(state, "kept", 2, "three").await);
    state.ping().await.expect("the state answers");
}

/// What two processes can rely on that share a state, whose leases hold for a second or two.
///
/// # Panics
/// Where the state breaks the contract.
pub async fn shared_state_contract(one: &dyn State, other: &dyn State, clock: &dyn Clock) {
    let length = one.lease_length().expect("a shared state's leases end");
    let dataset = DatasetName::new("both");
    let first = one.lease(&dataset, "one", at(0)).await.expect("the lease is free");
    let taken = other.lease(&dataset, "other", at(0)).await.expect_err("it is held");
    assert_eq!(taken.kind, ErrorKind::Conflict);
    assert!(taken.message.contains("`one` works on `both`"), "{taken}");
    // Renewed, it holds for longer than its length.
    for _ in 0..4 {
        clock.sleep(length / 2).await;
        one.renew(&first).await.expect("renew succeeds");
        assert!(other.lease(&dataset, "other", at(0)).await.is_err(), "it is held");
    }
    one.note_batch(&first, &note(80, 1)).await.expect("note_batch succeeds");
    // Not renewed, it is the other's; the first is a zombie and writes nothing.
    let second = taken_over(other, &dataset, length, clock).await;
    assert_eq!((second.epoch, second.owner.as_str()), (first.epoch + 1, "other"));
    let kinds = [
        one.renew(&first).await.expect_err("taken over").kind,
        one.advance(&first, &known(1), Some(batch(80))).await.expect_err("fenced").kind,
        one.note_batch(&first, &note(81, 1)).await.expect_err("fenced").kind,
        one.mark_batch(&first, batch(80), BatchStatus::Dropped).await.expect_err("fenced").kind,
    ];
    assert_eq!(kinds, [ErrorKind::Conflict; 4]);
    one.release(&first).await.expect("what is gone is no error");
    assert!(one.lease(&dataset, "one", at(0)).await.is_err(), "it is held");
    assert_eq!(open(other, "both").await, [(batch(80), 1, BatchStatus::Prepared)], "for the new owner to settle");
    other.advance(&second, &known(1), Some(batch(80))).await.expect("advance succeeds");
    other.release(&second).await.expect("release succeeds");
    let third = one.lease(&dataset, "one", at(0)).await.expect("it was given back");
    assert_eq!(third.epoch, second.epoch + 1);
    // A due time is one's, also where the other knows less and sets it back.
    let job = JobName::new("shared");
    let rows = [(job.clone(), due_times(Some(at(0)), Some(at(30)), None))];
    one.set_due_times(&rows).await.expect("set_due_times succeeds");
    let claim = |n: u128| ClaimId(Uuid::from_u128(n));
    let both = futures::future::join(one.claim_due(&job, at(30), claim(1), None), other.claim_due(&job, at(30), claim(2), None));
    let (mine, theirs) = both.await;
    assert_ne!(mine.expect("claim_due answers"), theirs.expect("claim_due answers"));
    other.set_due_times(&rows).await.expect("set_due_times succeeds");
    for state in [one, other] {
        assert!(!state.claim_due(&job, at(30), claim(3), None).await.expect("claim_due answers"), "it was taken");
    }
    assert!(other.claim_due(&job, at(60), claim(4), None).await.expect("claim_due answers"));
    // What one has spent nobody overwrites who has not seen it.
    assert!(put(one, "account", 0, "spent").await && !put(other, "account", 0, "other").await);
    assert_eq!(other.entry("account").await.expect("entry answers"), Some(entry("account", 1, "spent")));
}

/// Waits for the end of a lease that nobody renews.
async fn taken_over(state: &dyn State, dataset: &DatasetName, length: Duration, clock: &dyn Clock) -> Lease {
    for _ in 0..40 {
        if let Ok(lease) = state.lease(dataset, "other", at(1)).await {
            return lease;
        }
        clock.sleep(length / 10).await;
    }
    panic!("the lease does not end");
}

/// A run that is under way.
pub fn running(job: &str, error: &str) -> RunRow {
    RunRow { error: Some(error.to_owned()), ..run(90, job) }
}

/// A test that cannot run here is printed and counted by `tests/run`.
#[cfg(test)]
pub fn note_skip(name: &str) {
    use std::io::Write;
    let Some(path) = std::env::var_os("HIGHWATER_TEST_SKIPS") else { return };
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    let noted = file.and_then(|mut file| writeln!(file, "state::postgres {name}: no Postgres server"));
    noted.expect("the skip is noted");
}

fn at(second: i64) -> Timestamp {
    // Odd nanoseconds: nothing may be rounded.
    Timestamp::new(1_767_225_600 + second, 123_456_789).expect("within range")
}

fn batch(n: u128) -> BatchId {
    BatchId(Uuid::from_u128(n))
}

fn cover(n: i64) -> Cover {
    Cover::Span { partition: PartitionKey::new("a/b"), from: Some(at(n)), to: at(n + 1) }
}

/// Coverage of both kinds, with the largest values there are.
fn known(seq: u64) -> DatasetState {
    let spans = vec![Span::new(None, at(0)), Span::new(Some(at(1)), at(2))];
    let mark =
        CursorMark { value: CursorKey::Number(i128::from(u64::MAX) * 10 + i128::from(seq)), keys: vec!["00ff".to_owned()] };
    let covered =
        [(PartitionKey::new(""), Covered::Spans(spans)), (PartitionKey::new("ü \"quoted\""), Covered::Mark(mark.clone()))];
    let pending = vec![cover(1), Cover::Mark { partition: PartitionKey::new(""), before: None, mark }];
    DatasetState {
        seq,
        record_hash: format!("{seq:064x}"),
        generation: 3,
        coverage: Coverage { partitions: BTreeMap::from(covered) },
        pending,
        fingerprint: BTreeMap::from([("stream".to_owned(), "orders".to_owned())]),
    }
}

fn note(n: u128, seq: u64) -> BatchNote {
    BatchNote {
        batch: batch(n),
        seq,
        status: BatchStatus::Prepared,
        staged: vec![format!("_highwater/x/staging/{n}/1.staged")],
        covers: vec![cover(5)],
        rows: 1 << 40,
        bytes: 1 << 50,
        noted_at: at(9),
    }
}

async fn lease(state: &dyn State, dataset: &str) -> Lease {
    state.lease(&DatasetName::new(dataset), "me", at(0)).await.expect("the lease is free")
}

async fn open(state: &dyn State, dataset: &str) -> Vec<(BatchId, u64, BatchStatus)> {
    let open = state.open_batches(&DatasetName::new(dataset)).await.expect("open_batches answers");
    open.into_iter().map(|note| (note.batch, note.seq, note.status)).collect()
}

async fn leases_exclude_and_raise_the_epoch(state: &dyn State) {
    let dataset = DatasetName::new("leased");
    assert_eq!(state.dataset(&dataset).await.expect("dataset answers"), None);
    let first = lease(state, "leased").await;
    assert_eq!(first, Lease { dataset: dataset.clone(), owner: "me".to_owned(), epoch: 1 });
    assert_eq!(state.dataset(&dataset).await.expect("dataset answers"), Some(DatasetState::default()));
    let taken = state.lease(&dataset, "other", at(1)).await.expect_err("it is held");
    assert_eq!(taken.kind, ErrorKind::Conflict);
    lease(state, "leased_too").await;
    state.release(&first).await.expect("release succeeds");
    state.release(&first).await.expect("release repeats");
    let second = lease(state, "leased").await;
    assert_eq!(second.epoch, 2);
    // What the first gives back late is not the second's.
    state.release(&first).await.expect("release repeats");
    assert!(state.lease(&dataset, "other", at(1)).await.is_err());
    state.release(&second).await.expect("release succeeds");
}

async fn many_at_once_get_one_lease(state: &dyn State) {
    let dataset = DatasetName::new("wanted");
    let tries = (0..8).map(|_| state.lease(&dataset, "me", at(0)));
    let leases: Vec<Lease> = futures::future::join_all(tries).await.into_iter().flatten().collect();
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].epoch, 1);
}

async fn what_is_known_comes_back_exactly(state: &dyn State) {
    let lease = lease(state, "known").await;
    for seq in [1, 2] {
        state.advance(&lease, &known(seq), None).await.expect("advance succeeds");
        state.advance(&lease, &known(seq), None).await.expect("advance repeats");
        assert_eq!(state.dataset(&lease.dataset).await.expect("dataset answers"), Some(known(seq)));
    }
    let all = state.datasets().await.expect("datasets answers");
    assert!(all.contains(&(lease.dataset.clone(), known(2))));
    assert!(all.is_sorted_by(|one, other| one.0 < other.0));
}

async fn an_old_lease_writes_nothing(state: &dyn State) {
    let old = lease(state, "fenced").await;
    state.note_batch(&old, &note(10, 1)).await.expect("note_batch succeeds");
    state.release(&old).await.expect("release succeeds");
    let new = lease(state, "fenced").await;
    let kinds = [
        state.advance(&old, &known(1), Some(batch(10))).await.expect_err("fenced").kind,
        state.note_batch(&old, &note(11, 1)).await.expect_err("fenced").kind,
        state.mark_batch(&old, batch(10), BatchStatus::Dropped).await.expect_err("fenced").kind,
    ];
    assert_eq!(kinds, [ErrorKind::Conflict; 3]);
    assert_eq!(state.dataset(&new.dataset).await.expect("dataset answers"), Some(DatasetState::default()));
    assert_eq!(open(state, "fenced").await, [(batch(10), 1, BatchStatus::Prepared)]);
    let unknown = Lease { dataset: DatasetName::new("never leased"), ..new };
    assert_eq!(state.advance(&unknown, &known(1), None).await.expect_err("no lease").kind, ErrorKind::Conflict);
}

async fn batches_stay_open_until_they_are_over(state: &dyn State) {
    let lease = lease(state, "batches").await;
    for (n, seq) in [(21, 2), (20, 1), (22, 3)] {
        state.note_batch(&lease, &note(n, seq)).await.expect("note_batch succeeds");
        state.note_batch(&lease, &note(n, seq)).await.expect("note_batch repeats");
    }
    let prepared = |n, seq| (batch(n), seq, BatchStatus::Prepared);
    assert_eq!(open(state, "batches").await, [prepared(20, 1), prepared(21, 2), prepared(22, 3)]);
    let read = state.open_batches(&lease.dataset).await.expect("open_batches answers");
    assert_eq!(read[0], note(20, 1), "nothing of it is lost");
    state.advance(&lease, &known(1), Some(batch(20))).await.expect("advance succeeds");
    state.advance(&lease, &known(1), Some(batch(20))).await.expect("advance repeats");
    // It lost its seq to a rival and goes on with the next.
    state.note_batch(&lease, &note(21, 4)).await.expect("note_batch succeeds");
    state.mark_batch(&lease, batch(22), BatchStatus::Aborted).await.expect("mark_batch succeeds");
    assert_eq!(open(state, "batches").await, [(batch(22), 3, BatchStatus::Aborted), prepared(21, 4)]);
    state.mark_batch(&lease, batch(22), BatchStatus::Dropped).await.expect("mark_batch succeeds");
    state.mark_batch(&lease, batch(22), BatchStatus::Dropped).await.expect("mark_batch repeats");
    state.mark_batch(&lease, batch(99), BatchStatus::Dropped).await.expect("an unknown batch is no error");
    state.advance(&lease, &known(2), Some(batch(99))).await.expect("an unknown batch is no error");
    assert_eq!(open(state, "batches").await, [prepared(21, 4)]);
    assert_eq!(open(state, "fenced").await, [(batch(10), 1, BatchStatus::Prepared)], "another dataset's");
}

fn run(n: u128, job: &str) -> RunRow {
    let counts = Counts { fetched: 5, kept: 3, rejected: 2, ..Counts::default() };
    RunRow {
        run: RunId(Uuid::from_u128(n)),
        job: JobName::new(job),
        started_at: at(n as i64),
        finished_at: None,
        status: "running".to_owned(),
        counts,
        requests: 1,
        bytes: 2,
        files: 3,
        commits: 4,
        error: None,
    }
}

async fn runs_come_newest_first(state: &dyn State) {
    for (n, job) in [(31, "one"), (33, "one"), (32, "two")] {
        state.start_run(&run(n, job)).await.expect("start_run succeeds");
        state.start_run(&run(n, job)).await.expect("start_run repeats");
    }
    let finished_at = Some(at(40).checked_add(1.nanosecond()).expect("within range"));
    let finished = RunRow { finished_at, status: "failed".to_owned(), error: Some("it: broke".to_owned()), ..run(33, "one") };
    state.finish_run(&finished).await.expect("finish_run succeeds");
    state.finish_run(&finished).await.expect("finish_run repeats");
    // Its beginning was never noted.
    let unheard = RunRow { status: "done".to_owned(), ..run(30, "two") };
    state.finish_run(&unheard).await.expect("finish_run succeeds");
    let all = state.runs(None, 10).await.expect("runs answers");
    assert_eq!(all, [finished.clone(), run(32, "two"), run(31, "one"), unheard]);
    assert_eq!(state.runs(None, 1).await.expect("runs answers"), std::slice::from_ref(&finished));
    assert_eq!(state.runs(Some(&JobName::new("one")), 10).await.expect("runs answers"), [finished, run(31, "one")]);
    assert_eq!(state.runs(Some(&JobName::new("none")), 10).await.expect("runs answers"), []);
}

async fn events_come_newest_first_and_once(state: &dyn State) {
    let job = JobName::new("one");
    let event = |second, job: Option<&JobName>, text: &str| EventRow {
        at: at(second),
        job: job.cloned(),
        kind: "recovered".to_owned(),
        text: text.to_owned(),
    };
    let noted = [event(1, Some(&job), "a"), event(3, None, "b"), event(2, Some(&job), "c"), event(3, None, "d")];
    for event in &noted {
        for _ in 0..2 {
            let done = state.note_event(event.at, event.job.as_ref(), &event.kind, &event.text).await;
            done.expect("note_event repeats");
        }
    }
    let [a, b, c, d] = noted;
    assert_eq!(state.events(None, 10).await.expect("events answers"), [d.clone(), b, c.clone(), a.clone()]);
    assert_eq!(state.events(None, 1).await.expect("events answers"), [d]);
    assert_eq!(state.events(Some(&job), 10).await.expect("events answers"), [c, a]);
}

async fn the_newest_run_that_ended_well_is_known(state: &dyn State) {
    let job = JobName::new("well");
    let (other, odd) = (JobName::new("well too"), JobName::new("it's \"odd\", ü"));
    let jobs = [other.clone(), job.clone(), JobName::new("one"), odd.clone()];
    assert_eq!(state.last_done(&jobs).await.expect("last_done answers"), BTreeMap::new());
    for (n, status) in [(51, "done"), (52, "done"), (53, "failed"), (54, "stopped"), (55, "running")] {
        let row = RunRow { status: status.to_owned(), ..run(n, "well") };
        state.finish_run(&row).await.expect("finish_run succeeds");
    }
    for (n, of) in [(56, &other), (57, &odd)] {
        let row = RunRow { status: "done".to_owned(), ..run(n, of.as_str()) };
        state.finish_run(&row).await.expect("finish_run succeeds");
    }
    // `one` never ended well.
    let known = BTreeMap::from([(job.clone(), at(52)), (other, at(56)), (odd, at(57))]);
    assert_eq!(state.last_done(&jobs).await.expect("last_done answers"), known);
    assert_eq!(state.last_done(&[]).await.expect("last_done answers"), BTreeMap::new());
}

fn condition(job: &str, detail: &str, second: i64) -> Condition {
    let key = ConditionKey { job: JobName::new(job), kind: "run_failed".to_owned(), detail: detail.to_owned() };
    let told = BTreeMap::from([("ops".to_owned(), Told::Raised), ("quiet \"one\"".to_owned(), Told::Cleared)]);
    Condition { key, since: at(second), reason: "it: broke\nü".to_owned(), cleared_at: Some(at(second + 1)), told }
}

async fn conditions_stay_until_they_are_dropped(state: &dyn State) {
    assert_eq!(state.conditions().await.expect("conditions answers"), []);
    let (first, second) = (condition("sick", "", 1), condition("sick", "new column `a`", 2));
    for condition in [&second, &first, &second] {
        state.put_condition(condition).await.expect("put_condition repeats");
    }
    assert_eq!(state.conditions().await.expect("conditions answers"), [first.clone(), second.clone()]);
    let changed = Condition { cleared_at: None, told: BTreeMap::new(), ..first.clone() };
    state.put_condition(&changed).await.expect("put_condition replaces");
    assert_eq!(state.conditions().await.expect("conditions answers"), [changed, second.clone()]);
    for key in [&first.key, &first.key, &second.key] {
        state.drop_condition(key).await.expect("drop_condition repeats");
    }
    assert_eq!(state.conditions().await.expect("conditions answers"), []);
    state.ping().await.expect("the state answers");
}

fn due_times(last_due: Option<Timestamp>, next_due: Option<Timestamp>, owed_after: Option<&str>) -> DueTimes {
    let schedule = "0 6 * * * (Europe/Berlin)".to_owned();
    DueTimes { last_due, next_due, schedule, owed_after: owed_after.map(JobName::new), ..DueTimes::default() }
}

/// The same, parked.
fn parked(known: DueTimes, until: Timestamp) -> DueTimes {
    DueTimes { parked_until: Some(until), parked_reason: Some("429: \"slow\ndown\" ü".to_owned()), ..known }
}

async fn due_times_come_back_exactly(state: &dyn State) {
    assert_eq!(state.due_times().await.expect("due_times answers"), []);
    state.set_due_times(&[]).await.expect("nothing is no error");
    let rows = [
        (JobName::new("due a"), due_times(Some(at(1)), None, Some("due b"))),
        (JobName::new("due b"), due_times(None, Some(at(2)), None)),
        (JobName::new("due c"), DueTimes::default()),
        (JobName::new("due d"), parked(due_times(Some(at(1)), Some(at(2)), Some("due b")), at(3))),
        (JobName::new("due e"), parked(DueTimes::default(), at(-1))),
    ];
    for _ in 0..2 {
        state.set_due_times(&rows).await.expect("set_due_times repeats");
        assert_eq!(state.due_times().await.expect("due_times answers"), rows);
    }
    // More than go into one statement.
    let many: Vec<(JobName, DueTimes)> =
        (0..1100).map(|n| (JobName::new(format!("many {n:04}")), due_times(Some(at(n)), None, Some("due a")))).collect();
    state.set_due_times(&many).await.expect("set_due_times succeeds");
    let all = state.due_times().await.expect("due_times answers");
    assert_eq!((&all[..5], &all[5..]), (&rows[..], &many[..]));
    state.forget_due_times(&many.iter().map(|(job, _)| job.clone()).collect::<Vec<_>>()).await.expect("they are forgotten");
    // Also back: whoever sets them knows better than the clock.
    let [first, second, third, fourth, fifth] = rows;
    let earlier = (first.0, due_times(Some(at(-1)), Some(at(0)), None));
    let not_parked = (fourth.0, due_times(Some(at(1)), Some(at(2)), None));
    state.set_due_times(&[earlier.clone(), not_parked.clone()]).await.expect("set_due_times succeeds");
    let changed = [earlier, second, third, not_parked, fifth];
    assert_eq!(state.due_times().await.expect("due_times answers"), changed);
    for _ in 0..2 {
        let mut gone = changed.clone().map(|(job, _)| job).to_vec();
        gone.push(JobName::new("due nobody"));
        state.forget_due_times(&gone).await.expect("forget_due_times repeats");
    }
    assert_eq!(state.due_times().await.expect("due_times answers"), []);
}

async fn a_due_time_is_taken_once(state: &dyn State) {
    // Twice would be two runs for one tick.
    let job = JobName::new("claimed");
    let claim = |n: u128| ClaimId(Uuid::from_u128(n));
    let take = async |due_at: i64, n: u128| {
        state.claim_due(&job, at(due_at), claim(n), Some(at(due_at + 30))).await.expect("claim_due answers")
    };
    assert!(!take(30, 1).await, "nothing is known of the job");
    state
        .set_due_times(&[(job.clone(), parked(due_times(Some(at(0)), Some(at(30)), Some("other")), at(9)))])
        .await
        .expect("set_due_times succeeds");
    assert!(!take(0, 1).await, "settled when the job was first seen");
    let known = async || {
        state.due_times().await.expect("due_times answers").into_iter().find(|(of, _)| *of == job).map(|(_, known)| known)
    };
    assert_eq!(known().await.and_then(|known| known.parked_until), Some(at(9)), "what is refused changes nothing");
    // Many at once, and exactly one of them.
    let tries = (1..=8).map(|n| take(30, n));
    let taken = futures::future::join_all(tries).await;
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
    let winner = taken.iter().zip(1..).find(|(taken, _)| **taken).map_or(0, |(_, n)| n);
    assert!(take(30, winner).await, "its answer was lost, and it asks again");
    assert!(!take(30, 100).await && !take(29, 100).await);
    assert_eq!(known().await, Some(due_times(Some(at(30)), Some(at(60)), None)), "nothing is owed any more, and it may run");
    assert!(take(90, 101).await, "one that was dropped lies between");
    assert!(!take(60, 102).await && !take(30, winner).await);
    // What is set anew is nobody's claim.
    state.set_due_times(&[(job.clone(), due_times(Some(at(90)), None, None))]).await.expect("set_due_times succeeds");
    assert!(!take(90, 101).await);
    state.forget_due_times(std::slice::from_ref(&job)).await.expect("forget_due_times succeeds");
}

fn entry(account: &str, version: u64, text: &str) -> LedgerEntry {
    LedgerEntry { account: account.to_owned(), version, text: text.to_owned(), at: at(version as i64) }
}

/// Each version has its own moment.
async fn put(ledger: &dyn Ledger, account: &str, before: u64, text: &str) -> bool {
    ledger.put_entry(account, before, text, at(before as i64 + 1)).await.expect("put_entry answers")
}

async fn entries_of_the_ledger_come_back_exactly(state: &dyn State) {
    // The budgets know a state as this and no more.
    let ledger: &dyn Ledger = state;
    assert_eq!(ledger.entry("b").await.expect("entry answers"), None);
    assert_eq!(ledger.entries().await.expect("entries answers"), []);
    let longest = "ü".repeat(TEXT_MAX / 2);
    let noted = [entry("a \"quoted\"", 1, ""), entry("b", 1, "{\"spent\": 1}\n\0ü"), entry("ü", 1, &longest)];
    for entry in noted.iter().rev() {
        assert!(put(ledger, &entry.account, 0, &entry.text).await);
        assert_eq!(ledger.entry(&entry.account).await.expect("entry answers").as_ref(), Some(entry));
    }
    assert_eq!(ledger.entries().await.expect("entries answers"), noted, "by account");
    let refused = ledger.put_entry("b", 1, &format!("{longest}x"), at(2)).await.expect_err("too long");
    assert_eq!(refused.kind, ErrorKind::Bug);
    assert_eq!(ledger.entry("b").await.expect("entry answers").as_ref(), Some(&noted[1]));
    for entry in noted {
        assert!(put(ledger, &entry.account, 1, "over").await);
    }
}

async fn an_entry_is_replaced_by_whoever_knows_it(state: &dyn State) {
    for before in [1, 2, u64::MAX - 1, u64::MAX] {
        let written = state.put_entry("known", before, "x", at(0)).await.expect("put_entry answers");
        assert!(!written, "nothing stands there, not version {before}");
    }
    assert_eq!(state.entry("known").await.expect("entry answers"), None);
    for (before, text) in [(0, "one"), (1, "two"), (2, "three")] {
        for _ in 0..2 {
            assert!(put(state, "known", before, text).await, "once, and again where the answer was lost");
            assert_eq!(state.entry("known").await.expect("entry answers"), Some(entry("known", before + 1, text)));
        }
        // The same text of another moment is another's.
        let later = state.put_entry("known", before, text, at(99)).await.expect("put_entry answers");
        assert!(!later && !put(state, "known", before, "other").await, "version {before} is gone");
    }
    for before in [0, 1, 4, 5, u64::MAX] {
        let written = state.put_entry("known", before, "x", at(0)).await.expect("put_entry answers");
        assert!(!written, "version {before} does not stand there");
    }
    assert!(!put(state, "known", 1, "two").await, "nor is a call repeated that others have followed");
    assert_eq!(state.entry("known").await.expect("entry answers"), Some(entry("known", 3, "three")));
}

async fn many_at_once_write_one_version(state: &dyn State) {
    for (before, account) in [(0, "many"), (3, "known")] {
        let texts: Vec<String> = (0..8).map(|n| format!("writer {n}")).collect();
        let written = futures::future::join_all(texts.iter().map(|text| put(state, account, before, text))).await;
        let winners: Vec<&String> = texts.iter().zip(&written).filter(|(_, written)| **written).map(|(text, _)| text).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(state.entry(account).await.expect("entry answers"), Some(entry(account, before + 1, winners[0])));
    }
}

fn tokens(credential: &str, version: u64, text: &str) -> VaultEntry {
    VaultEntry { credential: credential.to_owned(), version, text: text.into(), at: at(version as i64) }
}

/// Each version has its own moment.
async fn keep(vault: &dyn TokenVault, credential: &str, before: u64, text: &str) -> bool {
    vault.put_tokens(credential, before, &text.into(), at(before as i64 + 1)).await.expect("put_tokens answers")
}

async fn tokens_are_replaced_by_whoever_knows_them(state: &dyn State) {
    // The sources know a state as this and no more.
    let vault: &dyn TokenVault = state;
    assert_eq!(vault.tokens("a").await.expect("tokens answers"), None);
    for before in [1, u64::MAX - 1, u64::MAX] {
        assert!(!vault.put_tokens("a", before, &"x".into(), at(0)).await.expect("put_tokens answers"), "nothing stands there");
    }
    let longest = "ü".repeat(vault::TEXT_MAX / 2);
    for (before, text) in [(0, "{\"refresh\": \"one\"}\n\0ü"), (1, ""), (2, longest.as_str())] {
        for _ in 0..2 {
            assert!(keep(vault, "a", before, text).await, "once, and again where the answer was lost");
            assert_eq!(vault.tokens("a").await.expect("tokens answers"), Some(tokens("a", before + 1, text)));
        }
        let later = vault.put_tokens("a", before, &text.into(), at(99)).await.expect("put_tokens answers");
        assert!(!later && !keep(vault, "a", before, "other").await, "version {before} is gone");
    }
    let refused = vault.put_tokens("a", 3, &SecretString::from(format!("{longest}x")), at(4)).await.expect_err("too long");
    assert_eq!(refused.kind, ErrorKind::Bug);
    assert_eq!(vault.tokens("a").await.expect("tokens answers"), Some(tokens("a", 3, &longest)));
    let texts: Vec<String> = (0..8).map(|n| format!("writer {n}")).collect();
    let written = futures::future::join_all(texts.iter().map(|text| keep(vault, "a", 3, text))).await;
    assert_eq!(written.iter().filter(|written| **written).count(), 1);
    assert_eq!(vault.tokens("b").await.expect("tokens answers"), None);
}

async fn old_tokens_are_forgotten(state: &dyn State) {
    let most = i64::from(vault::ENTRIES_MAX);
    for n in 0..most {
        let written = state.put_tokens(&format!("old {n}"), 0, &"x".into(), at(10 + n)).await;
        assert!(written.expect("put_tokens answers"));
    }
    assert_eq!(state.tokens("a").await.expect("tokens answers"), None, "it was not written for the longest time");
    for kept in ["old 0".to_owned(), format!("old {}", most - 1)] {
        assert!(state.tokens(&kept).await.expect("tokens answers").is_some(), "{kept}");
    }
}

async fn leave_something_for_the_next_process(state: &dyn State) {
    let (kept, waits) = (JobName::new("kept"), JobName::new("waits"));
    let rows = [(kept.clone(), due_times(Some(at(30)), Some(at(60)), None)), (waits, parked(DueTimes::default(), at(7200)))];
    state.set_due_times(&rows).await.expect("set_due_times succeeds");
    assert!(state.claim_due(&kept, at(60), ClaimId(Uuid::from_u128(1)), Some(at(90))).await.expect("claim_due answers"));

    assert!(put(state, "kept", 0, "one").await && put(state, "kept", 1, "two").await);
    assert!(keep(state, "kept", 0, "one").await && keep(state, "kept", 1, "two").await);

    let lease = lease(state, "kept").await;
    state.advance(&lease, &known(7), None).await.expect("advance succeeds");
    state.note_batch(&lease, &note(70, 8)).await.expect("note_batch succeeds");
    state.start_run(&run(70, "kept")).await.expect("start_run succeeds");
    state.put_condition(&condition("kept", "", 7)).await.expect("put_condition succeeds");
}
