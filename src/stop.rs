//! The request to stop: seen between slices and between pages; a commit is never dropped half way.

use tokio_util::sync::CancellationToken;

/// Cheap to clone; all clones see the request.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    pub fn new() -> Self {
        Stop::default()
    }

    pub fn request(&self) {
        self.token.cancel();
    }

    pub fn requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns once stop was asked for. Safe to drop.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }
}
