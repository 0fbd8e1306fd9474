//! Several processes over one vault: of a refresh token that is good for one use, one of them asks, and all have what it is given.

use async_trait::async_trait;
use jiff::Timestamp;

use super::*;
use crate::clock::Clock;
use crate::config::secret::SecretString;
use crate::vault::{TokenVault, VaultEntry, VaultError};

/// What another process sees of a vault: after its first look it finds nothing new until the renewal that is under way was kept.
struct Watched {
    drawer: Arc<Drawer>,
    looks: Arc<AtomicUsize>,
    /// Its first look comes before that renewal was announced.
    is_early: bool,
}

#[async_trait]
impl TokenVault for Watched {
    async fn tokens(&self, credential: &str) -> Result<Option<VaultEntry>, VaultError> {
        let mut found = self.drawer.tokens(credential).await?;
        if self.looks.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(found.filter(|_| !self.is_early));
        }
        while found.as_ref().is_none_or(|entry| entry.version < 2) {
            tokio::task::yield_now().await;
            found = self.drawer.tokens(credential).await?;
        }
        Ok(found)
    }

    async fn put_tokens(&self, credential: &str, before: u64, text: &SecretString, at: Timestamp) -> Result<bool, VaultError> {
        self.drawer.put_tokens(credential, before, text, at).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}

fn shown(server: &Server) -> Vec<String> {
    server.seen().iter().filter_map(|head| header(head, "authorization").map(str::to_owned)).collect()
}

#[tokio::test]
async fn two_processes_renew_once() {
    for is_early in [false, true] {
        let (begun, looks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (begins, looked, given) = (begun.clone(), looks.clone(), AtomicUsize::new(0));
        let server = Server::start(move |_, head| {
            if target(head) != "/token" {
                return Answer::Say(json("200 OK", "", "[1]"));
            }
            begins.store(true, Ordering::SeqCst);
            // The answer comes once the other process has looked for what is kept.
            for _ in 0..10_000 {
                if looked.load(Ordering::SeqCst) > 0 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let number = given.fetch_add(1, Ordering::SeqCst) + 1;
            let body =
                format!(r#"{{"access_token": "access-{number}", "refresh_token": "refresh-{number}", "expires_in": 3600}}"#);
            token(&body)
        });
        let job = rotating_job(&server, "seed");
        let world = World::new();
        let next = world.next_process();
        let vault = Watched { drawer: world.drawer.clone(), looks, is_early };
        let next = World { tokens: crate::source::http::Tokens::new(world.clock.clone(), Arc::new(vault)), ..next };
        let (one, other) = (world.open(&job), next.open(&job));
        let second = async {
            while !begun.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            fetch(&other).await
        };
        let (first, second) = futures::join!(fetch(&one), second);
        first.unwrap();
        second.unwrap();
        assert_eq!(asked(&server).len(), 1, "it is spent once");
        assert_eq!(shown(&server), ["Bearer access-1", "Bearer access-1"]);
        let text = world.drawer.text();
        assert!(text.contains("\"refresh-1\"") && text.contains("\"asked_at\":null"), "{text}");
    }
}

#[tokio::test]
async fn a_process_that_died_while_it_asked_is_waited_for_and_no_longer() {
    // The first request for a token has no answer that could be kept.
    let failing = || {
        let given = AtomicUsize::new(0);
        Server::start(move |_, head| match target(head) {
            "/token" => match given.fetch_add(1, Ordering::SeqCst) {
                0 => Answer::Say(json("500 Internal Server Error", "", "{}")),
                _ => token(r#"{"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 3600}"#),
            },
            _ => Answer::Say(json("200 OK", "", "[1]")),
        })
    };
    let of = |server: &Server| {
        let mut job = rotating_job(server, "seed");
        job.source.attempts_max = 1;
        job
    };
    let server = failing();
    let (world, job) = (World::new(), of(&server));
    fetch(&world.open(&job)).await.unwrap_err();
    assert!(!world.drawer.text().contains("\"asked_at\":null"), "{}", world.drawer.text());
    world.clock.advance(Duration::from_secs(20));
    let before = world.clock.elapsed();
    fetch(&world.next_process().open(&job)).await.unwrap();
    let waited = world.clock.elapsed() - before;
    assert!(waited >= Duration::from_secs(99) && waited < Duration::from_secs(102), "{waited:?}");
    assert_eq!(asked(&server).len(), 2);

    // Of its own asking a process knows how it ended.
    let server = failing();
    let (world, job) = (World::new(), of(&server));
    let source = world.open(&job);
    fetch(&source).await.unwrap_err();
    let before = world.clock.elapsed();
    fetch(&source).await.unwrap();
    assert_eq!(world.clock.elapsed(), before);

    // Whoever waits can be stopped.
    let server = failing();
    let (world, job) = (World::new(), of(&server));
    fetch(&world.open(&job)).await.unwrap_err();
    let next = world.next_process();
    next.stop.request();
    assert_eq!(fetch(&next.open(&job)).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(asked(&server).len(), 1);
}

/// Another process renews the token whose announcement stands at a version.
fn renewed_elsewhere(drawer: &Drawer, version: u64, now: Timestamp) {
    let text = drawer.text();
    let (credential, kept) = text.trim().split_once(' ').unwrap();
    let mut kept: serde_json::Value = serde_json::from_str(kept).unwrap();
    kept["refresh"] = "refresh-2".into();
    kept["asked_at"] = serde_json::Value::Null;
    for access in kept["access"].as_object_mut().unwrap().values_mut() {
        access["token"] = "access-2".into();
        access["at"] = now.to_string().into();
    }
    let text = SecretString::from(kept.to_string());
    assert!(drawer.put_tokens(credential, version, &text, now).now_or_never().unwrap().unwrap());
}

#[tokio::test]
async fn a_refresh_token_that_another_process_has_spent_is_no_refusal() {
    let world = World::new();
    let (drawer, clock, given) = (world.drawer.clone(), world.clock.clone(), AtomicUsize::new(0));
    let server = Server::start(move |_, head| match target(head) {
        "/token" => match given.fetch_add(1, Ordering::SeqCst) {
            0 => token(r#"{"access_token": "access-1", "refresh_token": "refresh-1", "expires_in": 3600}"#),
            _ => {
                renewed_elsewhere(&drawer, 3, clock.now());
                Answer::Say(json("400 Bad Request", "", r#"{"error": "invalid_grant"}"#))
            }
        },
        _ => Answer::Say(json("200 OK", "", "[1]")),
    });
    let job = rotating_job(&server, "seed");
    fetch(&world.open(&job)).await.unwrap();
    world.clock.advance(Duration::from_secs(3600));
    let next = world.next_process();
    fetch(&next.open(&job)).await.unwrap();
    assert_eq!(shown(&server), ["Bearer access-1", "Bearer access-2"]);
    assert_eq!(asked(&server).len(), 2);
    assert!(world.drawer.text().contains("\"refresh-2\""), "{}", world.drawer.text());
}
