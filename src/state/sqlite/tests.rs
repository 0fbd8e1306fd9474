use super::*;
use crate::error::ErrorKind;
use crate::ledger::Ledger;
use crate::state::contract::{reopened_state_contract, state_contract};
use crate::vault::TokenVault;

fn path(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("state/of the project/highwater.db")
}

/// The error of an opening that must fail.
fn refused(opened: Result<SqliteState, StateError>) -> StateError {
    match opened {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn keeps_the_contract_and_everything_over_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    state_contract(&state).await;
    state.close().await;
    reopened_state_contract(&SqliteState::open(&path(&folder)).await.unwrap()).await;
}

#[tokio::test]
async fn a_copy_of_the_files_as_a_kill_left_them_holds_everything() {
    // A process that is killed closes nothing: what it committed is in the log beside the file.
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    state_contract(&state).await;
    let left = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(path(&folder).parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), left.path().join(entry.file_name())).unwrap();
    }
    reopened_state_contract(&SqliteState::open(&left.path().join("highwater.db")).await.unwrap()).await;
}

#[tokio::test]
async fn it_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    let error = refused(SqliteState::open(&path(&folder)).await);
    assert_eq!(error.kind, ErrorKind::Conflict);
    let text = format!("another highwater process works with this state (`{}`)", path(&folder).display());
    assert_eq!(error.message, text);
    drop(state);
    SqliteState::open(&path(&folder)).await.unwrap();
}

#[tokio::test]
async fn readers_see_what_a_writer_committed_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let error = refused(SqliteState::open_read_only(&path(&folder)).await);
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("there is no state yet"), "{error}");
    assert!(!path(&folder).exists());

    let writer = SqliteState::open(&path(&folder)).await.unwrap();
    let reader = SqliteState::open_read_only(&path(&folder)).await.unwrap();
    let dataset = DatasetName::new("orders");
    assert_eq!(reader.dataset(&dataset).await.unwrap(), None);
    let lease = writer.lease(&dataset, "me", Timestamp::UNIX_EPOCH).await.unwrap();
    let known = DatasetState { seq: 4, ..DatasetState::default() };
    writer.advance(&lease, &known, None).await.unwrap();
    assert_eq!(reader.dataset(&dataset).await.unwrap(), Some(known.clone()));
    assert!(reader.lease(&dataset, "reader", Timestamp::UNIX_EPOCH).await.is_err());
    assert!(writer.put_entry("api", 0, "{}", Timestamp::UNIX_EPOCH).await.unwrap());
    assert!(reader.put_entry("api", 1, "{}", Timestamp::UNIX_EPOCH).await.is_err());
    assert_eq!(reader.entry("api").await.unwrap().map(|entry| entry.version), Some(1));
    assert!(writer.put_tokens("ab12", 0, &"{}".into(), Timestamp::UNIX_EPOCH).await.unwrap());
    assert!(reader.put_tokens("ab12", 1, &"{}".into(), Timestamp::UNIX_EPOCH).await.is_err());
    assert_eq!(reader.tokens("ab12").await.unwrap().map(|entry| entry.version), Some(1));

    writer.close().await;
    reader.close().await;
    let alone = SqliteState::open_read_only(&path(&folder)).await.unwrap();
    assert_eq!(alone.dataset(&dataset).await.unwrap(), Some(known));
}

#[tokio::test]
async fn a_state_of_a_newer_program_is_refused_and_left_alone() {
    // D-59
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'future', 1, x'00', 1)",
    )
    .execute(&state.pool)
    .await
    .unwrap();
    state.close().await;
    let before = std::fs::read(path(&folder)).unwrap();
    for opened in [SqliteState::open(&path(&folder)).await, SqliteState::open_read_only(&path(&folder)).await] {
        let error = refused(opened);
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("newer highwater (tables of version 9999)"), "{error}");
    }
    assert_eq!(std::fs::read(path(&folder)).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_state_is_refused_with_the_way_out() {
    // D-42
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    state_contract(&state).await;
    state.close().await;
    let whole = std::fs::read(path(&folder)).unwrap();
    let mut page = whole.clone();
    for page in page.chunks_mut(4096).skip(1).step_by(2) {
        page.fill(0xab);
    }
    for damaged in [page, b"this is no database, it is a text".repeat(200)] {
        std::fs::write(path(&folder), &damaged).unwrap();
        let error = refused(SqliteState::open(&path(&folder)).await);
        assert_eq!(error.kind, ErrorKind::Config, "{error}");
        assert!(error.message.contains("damaged") && error.message.contains("move it away"), "{error}");
        assert_eq!(std::fs::read(path(&folder)).unwrap(), damaged, "left as it was");
    }
    std::fs::write(path(&folder), whole).unwrap();
    SqliteState::open(&path(&folder)).await.unwrap();
}

#[tokio::test]
async fn closed_batches_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    let lease = state.lease(&DatasetName::new("orders"), "me", Timestamp::UNIX_EPOCH).await.unwrap();
    for seq in 1..=u64::from(crate::state::CLOSED_BATCHES_MAX) + 5 {
        let batch = BatchId(uuid::Uuid::from_u128(seq.into()));
        let note = BatchNote {
            batch,
            seq,
            status: BatchStatus::Prepared,
            staged: vec![],
            covers: vec![],
            rows: 0,
            bytes: 0,
            noted_at: Timestamp::UNIX_EPOCH,
        };
        state.note_batch(&lease, &note).await.unwrap();
        state.advance(&lease, &DatasetState { seq, ..DatasetState::default() }, Some(batch)).await.unwrap();
    }
    let (kept, oldest): (u32, u32) = sqlx::query_as("SELECT count(*), min(seq) FROM batch").fetch_one(&state.pool).await.unwrap();
    assert_eq!((kept, oldest), (crate::state::CLOSED_BATCHES_MAX, 6));
}

#[tokio::test]
async fn history_does_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    let many = crate::state::HISTORY_MAX;
    let numbers = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?1) INSERT INTO ";
    let runs = "runs SELECT printf('00000000-0000-0000-0000-%012d', n), 'one', printf('2026-01-01T00:00:00.%09dZ', n), NULL, 'done', \
        '{\"version\":1,\"value\":{\"fetched\":0,\"kept\":0,\"filtered\":0,\"rejected\":0,\"out_of_window\":0,\"duplicate\":0,\"unchanged\":0}}', \
        0, 0, 0, 0, NULL FROM n";
    let events = "events (at, job, kind, text) SELECT printf('2026-01-01T00:00:00.%09dZ', n), 'one', 'k', 't' FROM n";
    for rest in [runs, events] {
        sqlx::query(sqlx::AssertSqlSafe(format!("{numbers}{rest}"))).bind(many).execute(&state.pool).await.unwrap();
    }
    let job = JobName::new("one");
    let newest = state.runs(Some(&job), 1).await.unwrap().remove(0);
    let later = "2026-01-02T00:00:00Z".parse().unwrap();
    for (n, job) in [(1, "one"), (2, "two")] {
        let run = crate::ids::RunId(uuid::Uuid::from_u128(n << 64));
        state.start_run(&RunRow { run, job: JobName::new(job), started_at: later, ..newest.clone() }).await.unwrap();
        state.note_event(later, Some(&JobName::new(job)), "k", "t").await.unwrap();
    }
    let all = state.runs(None, u32::MAX).await.unwrap();
    assert_eq!(all.len(), many as usize + 1, "one more, of another job");
    assert_eq!(all.last().unwrap().started_at, "2026-01-01T00:00:00.000000002Z".parse().unwrap(), "the oldest went");
    let all = state.events(None, u32::MAX).await.unwrap();
    assert_eq!(all.len(), many as usize + 1);
    assert_eq!(all.last().unwrap().at, "2026-01-01T00:00:00.000000002Z".parse().unwrap());
}

#[tokio::test]
async fn a_full_disk_passes() {
    // D-07
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    let note = async |n: i64| {
        let at = Timestamp::from_second(n).unwrap();
        state.note_event(at, None, "k", &"x".repeat(20_000)).await
    };
    note(1).await.unwrap();
    // To SQLite this is a full disk; the limit belongs to the connection, so the next one has room again.
    sqlx::query("PRAGMA max_page_count = 1").execute(&state.pool).await.unwrap();
    let error = note(2).await.unwrap_err();
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Unavailable, "no space left on the disk"));
    note(3).await.unwrap();
    let noted = state.events(None, 10).await.unwrap();
    assert_eq!(noted.iter().map(|event| event.at.as_second()).collect::<Vec<_>>(), [3, 1]);
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    state.lease(&DatasetName::new("orders"), "me", Timestamp::UNIX_EPOCH).await.unwrap();
    for suffix in ["", "-wal"] {
        let file = PathBuf::from(format!("{}{suffix}", path(&folder).display()));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn what_something_is_built_on_is_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let state = SqliteState::open(&path(&folder)).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&state.pool).await.unwrap();
    let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(&state.pool).await.unwrap();
    assert_eq!((mode.as_str(), foreign_keys), ("wal", 1));
    let (now, job) = (Timestamp::UNIX_EPOCH, JobName::new("orders"));
    // As the last transaction left the connection: flushed at its end, or with the next one.
    let said = async || -> i64 { sqlx::query_scalar("PRAGMA synchronous").fetch_one(&state.pool).await.unwrap() };
    let (flushed, later) = (2, 1);
    let lease = state.lease(&DatasetName::new("orders"), "me", now).await.unwrap();
    assert_eq!(said().await, later, "a lease");
    let batch = BatchId(uuid::Uuid::from_u128(1));
    let (status, staged, covers) = (BatchStatus::Prepared, Vec::new(), Vec::new());
    let note = BatchNote { batch, seq: 1, status, staged, covers, rows: 0, bytes: 0, noted_at: now };
    state.note_batch(&lease, &note).await.unwrap();
    assert_eq!(said().await, flushed, "a batch that will be decided");
    state.release(&lease).await.unwrap();
    assert_eq!(said().await, later, "a lease that is given back");
    let lease = state.lease(&DatasetName::new("orders"), "me", now).await.unwrap();
    state.advance(&lease, &DatasetState { seq: 1, ..DatasetState::default() }, Some(batch)).await.unwrap();
    assert_eq!(said().await, flushed, "what is known of a table");
    state.release(&lease).await.unwrap();
    assert!(state.put_entry("api", 0, "{}", now).await.unwrap());
    assert_eq!(said().await, flushed, "what a budget has spent");
    let run = crate::state::contract::running("orders", "");
    state.start_run(&run).await.unwrap();
    assert_eq!(said().await, later, "that a run began");
    state.finish_run(&run).await.unwrap();
    assert_eq!(said().await, flushed, "how a run went");
    state.start_run(&run).await.unwrap();
    assert!(state.put_tokens("ab12", 0, &"{}".into(), now).await.unwrap());
    assert_eq!(said().await, flushed, "a token");
    state.start_run(&run).await.unwrap();
    state.set_due_times(&[(job.clone(), DueTimes::default())]).await.unwrap();
    assert_eq!(said().await, flushed, "when a job is due");
    state.start_run(&run).await.unwrap();
    assert!(state.claim_due(&job, now, crate::ids::ClaimId(uuid::Uuid::from_u128(1)), None).await.unwrap());
    assert_eq!(said().await, flushed, "that a due time was taken");
    // Without a log ahead of the file nothing keeps an order that is not flushed.
    let state = SqliteState { logged: false, ..state };
    state.start_run(&run).await.unwrap();
    let said: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&state.pool).await.unwrap();
    assert_eq!(said, flushed, "that a run began, without a log");
}

#[tokio::test]
async fn tables_made_at_once_are_those_of_one_migration_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for (name, version) in [("at once.db", None), ("each.db", Some(1))] {
        let file = folder.path().join(name);
        if let Some(version) = version {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
            let pool = SqlitePool::connect_with(options).await.unwrap();
            sqlx::migrate!("src/state/migrations").run_to(version, &pool).await.unwrap();
            pool.close().await;
        }
        let state = SqliteState::open(&file).await.unwrap();
        let tables: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_schema ORDER BY name").fetch_all(&state.pool).await.unwrap();
        let migrations: Vec<(i64, String, bool, Vec<u8>)> =
            sqlx::query_as("SELECT version, description, success, checksum FROM _sqlx_migrations ORDER BY version")
                .fetch_all(&state.pool)
                .await
                .unwrap();
        assert!(tables.len() > migrations.len() && !migrations.is_empty());
        found.push((tables, migrations));
        state.close().await;
        // What was made at once is found as it should be.
        SqliteState::open(&file).await.unwrap();
    }
    assert_eq!(found[0], found[1]);
}

#[tokio::test]
async fn tables_that_others_changed_are_not_written_to() {
    let half = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'half', 0, x'00', 1)";
    for (change, why) in
        [("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 3", "has been modified"), (half, "partially applied")]
    {
        let folder = tempfile::tempdir().unwrap();
        let state = SqliteState::open(&path(&folder)).await.unwrap();
        assert_eq!(sqlx::query(change).execute(&state.pool).await.unwrap().rows_affected(), 1);
        state.close().await;
        let error = refused(SqliteState::open(&path(&folder)).await);
        assert!(error.kind == ErrorKind::Config && error.message.contains(why), "{error:?}");
        SqliteState::open_read_only(&path(&folder)).await.unwrap();
    }
}

#[tokio::test]
async fn tables_are_made_all_or_none() {
    // Somebody else's tables, one of which is called like one of ours: of a new state, and of one that is to be brought up to date.
    for (version, in_the_way) in [(None, "CREATE TABLE vault (x)"), (Some(1), "CREATE TABLE condition (x)")] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("highwater.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let pool = SqlitePool::connect_with(options.clone()).await.unwrap();
        if let Some(version) = version {
            sqlx::migrate!("src/state/migrations").run_to(version, &pool).await.unwrap();
        }
        sqlx::raw_sql(in_the_way).execute(&pool).await.unwrap();
        let tables = async |pool: &SqlitePool| -> Vec<Option<String>> {
            sqlx::query_scalar("SELECT sql FROM sqlite_schema ORDER BY name").fetch_all(pool).await.unwrap()
        };
        let before = tables(&pool).await;
        pool.close().await;
        let error = refused(SqliteState::open(&file).await);
        assert!(error.message.contains("already exists"), "{error}");
        let pool = SqlitePool::connect_with(options).await.unwrap();
        assert_eq!(tables(&pool).await, before);
        pool.close().await;
    }
}

#[tokio::test]
async fn a_state_of_the_first_version_is_brought_up_to_date() {
    // D-58
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("highwater.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::migrate!("src/state/migrations").run_to(1, &pool).await.unwrap();
    sqlx::raw_sql(
        "INSERT INTO due (job, last_due, next_due) VALUES ('old', '2026-01-01T00:00:00.000000000Z', NULL);
         INSERT INTO events (at, job, kind, text) VALUES ('2026-01-01T00:00:00.000000000Z', 'old', 'k', 't');
         INSERT INTO ledger (budget, stretch_at, requests) VALUES ('api', '2026-01-01T00:00:00.000000000Z', 7);",
    )
    .execute(&pool)
    .await
    .unwrap();
    pool.close().await;
    let state = SqliteState::open(&file).await.unwrap();
    let last_due: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let known = DueTimes { last_due: Some(last_due), ..DueTimes::default() };
    assert_eq!(state.due_times().await.unwrap(), [(JobName::new("old"), known)]);
    assert_eq!(state.events(None, 10).await.unwrap().len(), 1);
    assert_eq!(state.entries().await.unwrap(), []);
    assert!(state.put_entry("api", 0, "{}", last_due).await.unwrap());
    assert!(state.put_tokens("ab12", 0, &"{}".into(), last_due).await.unwrap());
    let claim = crate::ids::ClaimId(uuid::Uuid::from_u128(1));
    let later = last_due + jiff::SignedDuration::from_secs(1);
    assert!(!state.claim_due(&JobName::new("old"), last_due, claim, None).await.unwrap());
    assert!(state.claim_due(&JobName::new("old"), later, claim, None).await.unwrap());
}
