//! Databases on the Postgres server that `tests/run` started, and a server of a test's own, which it may restart.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::setting;

const SERVER: &str = "HIGHWATER_TEST_POSTGRES";
/// Where the server's programs are.
const TOOLS: &str = "HIGHWATER_TEST_POSTGRES_TOOLS";

/// A database of its own on the server of all tests.
pub struct Database {
    url: String,
}

impl Database {
    pub fn new(name: &str) -> Option<Database> {
        let server = setting(SERVER)?;
        for statement in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
            ask(&server, &statement);
        }
        Some(Database { url: server.replace("/postgres?", &format!("/{name}?")) })
    }

    pub fn is_there() -> bool {
        setting(SERVER).is_some()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn count(&self, query: &str) -> i64 {
        runtime().block_on(async {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            let count = sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&pool).await.unwrap();
            pool.close().await;
            count
        })
    }
}

fn ask(url: &str, statement: &str) {
    runtime().block_on(async {
        let pool = sqlx::PgPool::connect(url).await.unwrap();
        sqlx::query(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await.unwrap();
        pool.close().await;
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A server that writes to disk as it should, for it is killed. It ends when it is dropped.
pub struct Server {
    tools: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Option<Server> {
        let tools = PathBuf::from(setting(TOOLS)?);
        let folder = tempfile::Builder::new().prefix("hw-pg-").tempdir_in("/tmp").unwrap();
        let server = Server { tools, folder };
        if is_root() {
            let owned = Command::new("chown").arg("postgres:").arg(server.folder.path()).status().unwrap();
            assert!(owned.success());
        }
        server.call("initdb", &["-U", "postgres", "-A", "trust", "-E", "UTF8"]);
        server.begin();
        Some(server)
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Where its socket lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As when the machine loses its power, and comes back.
    pub fn crash(&self) {
        self.call("pg_ctl", &["-m", "immediate", "stop"]);
        self.begin();
    }

    fn begin(&self) {
        let folder = self.folder.path().display();
        let (log, options) = (format!("{folder}/log"), format!("-c listen_addresses= -c unix_socket_directories={folder}"));
        self.call("pg_ctl", &["-w", "-t", "60", "-l", &log, "-o", &options, "start"]);
    }

    /// The server refuses to be root's.
    fn call(&self, tool: &str, args: &[&str]) {
        let tool = self.tools.join(tool);
        let mut command = if is_root() { Command::new("setpriv") } else { Command::new(&tool) };
        if is_root() {
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(&tool);
        }
        let command = command.arg("-D").arg(self.folder.path()).args(args).current_dir(Path::new("/"));
        let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "{tool:?} {args:?}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.call("pg_ctl", &["-m", "immediate", "stop"]);
    }
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}
