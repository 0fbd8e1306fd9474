use super::*;
use crate::clock::SystemClock;
use crate::config::secret::ExposeSecret;
use crate::state::contract::{reopened_state_contract, shared_state_contract, state_contract};

/// A database of its own on the server that `tests/run` started; `None` where there is no server.
async fn database(name: &str) -> Option<SecretString> {
    let Some(server) = std::env::var_os("HIGHWATER_TEST_POSTGRES").and_then(|server| server.into_string().ok()) else {
        crate::state::contract::note_skip(name);
        return None;
    };
    let address = |database: &str| SecretString::from(server.replace("/postgres?", &format!("/{database}?")));
    let pool = PgPool::connect(address("postgres").expose_secret()).await.unwrap();
    for statement in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    pool.close().await;
    Some(address(name))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

async fn open(url: &SecretString, lease: Duration) -> PostgresState {
    PostgresState::open(url, clock(), lease).await.unwrap()
}

#[tokio::test]
async fn keeps_the_contract_and_everything_over_a_reopening() {
    let Some(url) = database("contract").await else { return };
    assert!(PostgresState::open_read_only(&url, clock()).await.unwrap().is_none(), "there is none yet");
    let state = open(&url, LEASE).await;
    state_contract(&state).await;
    state.end().await;
    reopened_state_contract(&open(&url, LEASE).await).await;
}

#[tokio::test]
async fn two_processes_share_it() {
    // D-32
    let Some(url) = database("shared").await else { return };
    let length = Duration::from_millis(1500);
    shared_state_contract(&open(&url, length).await, &open(&url, length).await, &*clock()).await;
}

#[tokio::test]
async fn eight_begin_at_once_and_a_newer_one_is_refused() {
    let Some(url) = database("begin").await else { return };
    let opened = futures::future::join_all((0..8).map(|_| PostgresState::open(&url, clock(), LEASE))).await;
    let mut processes: Vec<String> = opened.into_iter().map(|state| state.unwrap().process).collect();
    processes.sort();
    processes.dedup();
    assert_eq!(processes.len(), 8, "each has its own name");
    let state = open(&url, LEASE).await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, '', true, '', 0)",
    )
    .execute(&state.pool)
    .await
    .unwrap();
    for refused in
        [PostgresState::open(&url, clock(), LEASE).await.map(drop), PostgresState::open_read_only(&url, clock()).await.map(drop)]
    {
        let error = refused.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.message.contains("newer highwater (tables of version 999)"), "{error}");
    }
}

#[tokio::test]
async fn a_run_whose_process_is_gone_has_failed_and_a_nul_keeps_nothing_from_being_noted() {
    let Some(url) = database("gone").await else { return };
    let length = Duration::from_millis(1500);
    let (one, other) = (open(&url, length).await, open(&url, length).await);
    let lease = one.lease(&DatasetName::new("orders"), "one", Timestamp::UNIX_EPOCH).await.unwrap();
    let row = crate::state::contract::running("orders", "a\0b");
    one.start_run(&row).await.unwrap();
    let seen = other.runs(None, 1).await.unwrap();
    assert_eq!((seen[0].status.as_str(), seen[0].error.as_deref()), ("running", Some("a\u{fffd}b")));
    one.note_event(Timestamp::UNIX_EPOCH, None, "odd", "x\0y").await.unwrap();
    assert_eq!(other.events(None, 1).await.unwrap()[0].text, "x\u{fffd}y");
    one.release(&lease).await.unwrap();
    assert_eq!(other.runs(None, 1).await.unwrap()[0].status, "failed");
    assert_eq!(one.runs(None, 1).await.unwrap()[0].status, "running", "a process knows its own");
}

#[tokio::test]
async fn no_error_shows_the_address() {
    // S-35
    for url in ["postgres://me:hunter2@127.0.0.1:1/x", "postgres://me:hunter2@127.0.0.1:notaport/x"] {
        let error = open::for_reading(&SecretString::from(url), clock()).await.map(drop).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
