//! Whether the daemon is able to work: the state answers, and so does the loop that starts runs.

use std::time::Duration;

use tokio::sync::Mutex;

use super::WebPorts;

/// Who does not answer within this does not answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer is good for this long: everybody may ask, and asking must not be work for the state.
const GOOD_FOR: Duration = Duration::from_secs(1);

type Answer = Result<(), &'static str>;

#[derive(Default)]
pub(super) struct Readiness {
    /// The last answer, and when it was given by the monotonic clock. Whoever asks meanwhile waits for the one who asks.
    last: Mutex<Option<(Duration, Answer)>>,
}

impl Readiness {
    pub async fn ask(&self, ports: &WebPorts) -> Answer {
        let mut last = self.last.lock().await;
        let now = ports.clock.elapsed();
        if let Some((at, answer)) = *last
            && now.saturating_sub(at) < GOOD_FOR
        {
            return answer;
        }
        let answer = tokio::select! {
            answer = ask(ports) => answer,
            () = ports.clock.sleep(PATIENCE) => Err("no answer in time"),
        };
        *last = Some((ports.clock.elapsed(), answer));
        answer
    }
}

async fn ask(ports: &WebPorts) -> Answer {
    let (state, daemon) = tokio::join!(ports.state.ping(), ports.daemon.ping());
    if let Err(error) = state {
        tracing::warn!(%error, "not ready: {error}");
        return Err("the state does not answer");
    }
    if daemon { Ok(()) } else { Err("the scheduler does not answer") }
}
