//! Whether a thread waits for the work that it gives to others.

use std::cell::Cell;

thread_local! {
    static WAITS: Cell<bool> = const { Cell::new(false) };
}

/// From now on this thread does nothing else while work that it gave away is being done: in a runtime of one thread, effects come in the
/// same order every time.
pub fn wait_for_work() {
    WAITS.set(true);
}

/// Whether this thread waits so.
pub fn waits_for_work() -> bool {
    WAITS.get()
}
