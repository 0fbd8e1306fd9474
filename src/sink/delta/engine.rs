//! Delta's kernel on top of our store. Its calls block: they are made off the async threads.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use delta_kernel::{Engine, KernelError, KernelResult};
use delta_kernel_default_engine::DefaultEngineBuilder;
use delta_kernel_default_engine::executor::TaskExecutor;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::runtime::{EnterGuard, Handle};

use crate::error::ErrorKind;
use crate::sink::SinkError;
use crate::store::as_objects::as_objects;
use crate::store::{Store, StoreError};

/// Does blocking work with an engine over `store`, off the async threads.
pub(super) async fn with_engine<T: Send + 'static>(
    store: Arc<dyn Store>,
    work: impl FnOnce(&dyn Engine) -> Result<T, SinkError> + Send + 'static,
) -> Result<T, SinkError> {
    let handle = Handle::current();
    let outcome = tokio::task::spawn_blocking(move || {
        let engine = DefaultEngineBuilder::new(as_objects(store)).with_task_executor(Arc::new(Here { handle })).build();
        work(&engine)
    });
    outcome.await.map_err(|error| SinkError::bug(format!("work on a Delta table panicked: {error}")))?
}

/// What the kernel said, as an error of ours. What the store said through it keeps its kind.
pub(super) fn told(what: &str, error: KernelError) -> SinkError {
    let error = match error {
        KernelError::Backtraced { source, .. } => *source,
        error => error,
    };
    if let KernelError::ObjectStore(inner) = &error
        && let Some(store) = inner_store_error(inner)
    {
        let source =
            StoreError { kind: store.kind, verb: store.verb, address: store.address.clone(), message: store.message.clone() };
        return SinkError { kind: store.kind, message: what.to_owned(), source: Some(Box::new(source)) };
    }
    let kind = match &error {
        KernelError::ObjectStore(_) | KernelError::IOError(_) | KernelError::FileNotFound(_) => ErrorKind::Unavailable,
        _ => ErrorKind::Data,
    };
    SinkError::new(kind, format!("{what}: {error}"))
}

fn inner_store_error<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e StoreError> {
    std::iter::successors(Some(error), |error| error.source()).take(8).find_map(|error| error.downcast_ref::<StoreError>())
}

/// Futures of the kernel run on the thread that waits for them, one within another where a checkpoint reads while it writes. The
/// runtime of the process drives their timers and sockets.
struct Here {
    handle: Handle,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl TaskExecutor for Here {
    type Guard<'a> = EnterGuard<'a>;

    fn block_on<T>(&self, task: T) -> T::Output
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        let _entered = self.handle.enter();
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut task = Box::pin(task);
        // As long as the store takes: its requests have timeouts of their own.
        loop {
            match task.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.handle.spawn(task);
    }

    fn spawn_blocking<T, R>(&self, task: T) -> BoxFuture<'_, KernelResult<R>>
    where
        T: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let work = self.handle.spawn_blocking(task);
        async move { work.await.map_err(KernelError::join_failure) }.boxed()
    }

    fn enter(&self) -> EnterGuard<'_> {
        self.handle.enter()
    }
}
