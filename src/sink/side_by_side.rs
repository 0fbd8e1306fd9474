//! Work that is shared out between whoever asks for it and threads that wait to help.

use std::sync::{Mutex, OnceLock, PoisonError};

use parquet::errors::ParquetError;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads that work for one caller at the same time, at most.
const THREADS_MAX: usize = 4;
/// Threads that help any of them, at most.
const HELPERS_MAX: usize = 64;
/// What is about fewer bytes is not worth a second thread.
pub(super) const SIDE_BY_SIDE_MIN: usize = 512 * 1024;

/// Does a piece of work for each item, which come with their weights, and returns what came of them in their order. The heaviest are
/// begun first. Without a second thread where all of it is about so few `bytes` that it is not worth one.
pub fn side_by_side<T: Send, R: Send>(
    items: Vec<(usize, T)>,
    bytes: usize,
    work: impl Fn(T) -> Result<R, ParquetError> + Sync,
) -> Result<Vec<R>, ParquetError> {
    let threads = if bytes < SIDE_BY_SIDE_MIN { 1 } else { THREADS_MAX.min(items.len()) };
    let Some(helpers) = helpers().filter(|_| threads > 1) else {
        return items.into_iter().map(|(_, item)| work(item)).collect();
    };
    let mut results: Vec<Option<Result<R, ParquetError>>> = items.iter().map(|_| None).collect();
    let mut left: Vec<_> = items.into_iter().zip(&mut results).collect();
    left.sort_by_key(|((weight, _), _)| *weight);
    let left = Mutex::new(left);
    let take_turns = || {
        loop {
            // In a statement of its own: the lock must be free while the work is done.
            let next = left.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(((_, item), result)) = next else { return };
            *result = Some(work(item));
        }
    };
    let _apart = Apart::begin();
    helpers.in_place_scope(|scope| {
        for _ in 1..threads.min(helpers.current_num_threads() + 1) {
            scope.spawn(|_| take_turns());
        }
        take_turns();
    });
    let lost = || Err(ParquetError::General("a column was not encoded".to_owned()));
    results.into_iter().map(|result| result.unwrap_or_else(lost)).collect()
}

/// Threads that are there for whoever encodes: one less than there are cores. `None` where there would be none.
fn helpers() -> Option<&'static ThreadPool> {
    static HELPERS: OnceLock<Option<ThreadPool>> = OnceLock::new();
    let begin = || {
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(HELPERS_MAX + 1) - 1;
        let builder = ThreadPoolBuilder::new().num_threads(count).thread_name(|number| format!("encode-{number}"));
        #[cfg(target_os = "linux")]
        let builder = builder.start_handler(|_| pair::note_helper());
        // Zero would mean as many as there are cores. Without a helper the work is done all the same.
        if count == 0 { None } else { builder.build().ok() }
    };
    HELPERS.get_or_init(begin).as_ref()
}

/// While it lives, the one helper of a machine of two cores is not on the core of whoever began it
/// ([ADR 55](../../docs/adr/0055-the-helper-is-on-the-other-core.md)). Nothing elsewhere.
struct Apart;

impl Apart {
    fn begin() -> Apart {
        #[cfg(target_os = "linux")]
        pair::part();
        Apart
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        pair::IN_USE.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Two cores and the helper.
#[cfg(target_os = "linux")]
mod pair {
    use std::mem::{size_of, zeroed};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use libc::{CPU_COUNT, CPU_ISSET, CPU_SET, CPU_SETSIZE, cpu_set_t, pid_t};

    static HELPER: OnceLock<pid_t> = OnceLock::new();
    /// Callers that it may be at work for.
    pub(super) static IN_USE: AtomicUsize = AtomicUsize::new(0);
    /// The core that it was told last.
    static TOLD: AtomicUsize = AtomicUsize::new(usize::MAX);

    /// To be called by each helper.
    pub(super) fn note_helper() {
        // Where there are more helpers than one there are more cores than two.
        // SAFETY: it takes nothing, and always comes back with a number.
        HELPER.get_or_init(|| unsafe { libc::gettid() });
    }

    /// The cores that a thread may use; 0 is the one that asks.
    fn allowed(thread: pid_t) -> Option<cpu_set_t> {
        // SAFETY: it is numbers, for which zero is good.
        let mut set: cpu_set_t = unsafe { zeroed() };
        // SAFETY: it fills in a set of that size, which is ours (sched_setaffinity(2)).
        let failed = unsafe { libc::sched_getaffinity(thread, size_of::<cpu_set_t>(), &mut set) } != 0;
        (!failed).then_some(set)
    }

    /// Has a thread use these cores alone; whether it will.
    fn allow(thread: pid_t, set: &cpu_set_t) -> bool {
        // SAFETY: it reads a set of that size (sched_setaffinity(2)).
        unsafe { libc::sched_setaffinity(thread, size_of::<cpu_set_t>(), set) == 0 }
    }

    fn members(set: &cpu_set_t) -> impl Iterator<Item = usize> {
        // SAFETY: the core's number is within the set.
        (0..CPU_SETSIZE as usize).filter(move |core| unsafe { CPU_ISSET(*core, set) })
    }

    fn only(core: usize) -> cpu_set_t {
        // SAFETY: it is numbers, for which zero is good, and the core's number came from such a set.
        unsafe {
            let mut set: cpu_set_t = zeroed();
            CPU_SET(core, &mut set);
            set
        }
    }

    /// The cores that the process may use, as its first thread may.
    fn allowed_to_all() -> Option<cpu_set_t> {
        // SAFETY: it takes nothing, and always comes back with a number.
        allowed(unsafe { libc::getpid() })
    }

    /// The same, if they are two.
    fn cores() -> Option<(usize, usize)> {
        static CORES: OnceLock<Option<(usize, usize)>> = OnceLock::new();
        *CORES.get_or_init(|| {
            // SAFETY: it reads a set that is ours.
            let allowed = allowed_to_all().filter(|allowed| unsafe { CPU_COUNT(allowed) } == 2)?;
            let mut cores = members(&allowed);
            Some((cores.next()?, cores.next()?))
        })
    }

    /// Tells the helper to use the core that the caller does not. One that works for somebody else stays where it is.
    pub(super) fn part() {
        let is_free = IN_USE.fetch_add(1, Ordering::Relaxed) == 0;
        let (Some((one, other)), Some(helper)) = (cores(), HELPER.get()) else { return };
        // SAFETY: it takes nothing; less than zero where it is not known.
        let here = unsafe { libc::sched_getcpu() };
        let there = if usize::try_from(here) == Ok(one) { other } else { one };
        if !is_free || TOLD.load(Ordering::Relaxed) == there {
            return;
        }
        // Somebody may have given the process other cores meanwhile.
        let may_both =
            allowed_to_all().is_some_and(|allowed| members(&allowed).filter(|core| [one, other].contains(core)).count() == 2);
        // Harmless where it fails: the system finds it a place.
        if may_both && allow(*helper, &only(there)) {
            TOLD.store(there, Ordering::Relaxed);
        }
    }

    /// The thread is on one core until this goes.
    #[cfg(test)]
    pub(super) struct Held(cpu_set_t);

    #[cfg(test)]
    impl Drop for Held {
        fn drop(&mut self) {
            assert!(allow(0, &self.0), "as before");
        }
    }

    /// Holds the calling thread on one of two cores; the other one.
    #[cfg(test)]
    pub(super) fn hold_caller() -> Option<(Held, usize)> {
        let (one, other) = cores()?;
        let held = Held(allowed(0)?);
        allow(0, &only(one)).then_some((held, other))
    }

    #[cfg(test)]
    pub(super) fn helpers_cores() -> Vec<usize> {
        HELPER.get().and_then(|helper| allowed(*helper)).iter().flat_map(members).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_heaviest_is_begun_first_and_an_error_is_told() {
        let begun = Mutex::new(Vec::new());
        let items = vec![(1, "light"), (9, "heavy"), (5, "other")];
        let names = side_by_side(items.clone(), usize::MAX, |name| {
            begun.lock().unwrap().push(name);
            Ok(name)
        });
        assert_eq!(names.unwrap(), ["light", "heavy", "other"]);
        if helpers().is_some() {
            assert_ne!(begun.into_inner().unwrap()[2], "heavy");
        }
        let done = AtomicUsize::new(0);
        let failed = side_by_side(items, usize::MAX, |name| {
            done.fetch_add(1, Ordering::Relaxed);
            if name == "other" { Err(ParquetError::General("it broke".to_owned())) } else { Ok(()) }
        });
        assert_eq!((failed.unwrap_err().to_string().as_str(), done.into_inner()), ("Parquet error: it broke", 3));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_two_cores_the_helper_is_told_to_use_the_other_one() {
        // Threads that are counted first: one that is held counts one core.
        if helpers().is_none() {
            return;
        }
        let Some((held, other)) = pair::hold_caller() else { return };
        // Other tests have it now and then.
        let told = (0..10_000).any(|_| {
            let _apart = Apart::begin();
            std::thread::yield_now();
            pair::helpers_cores() == [other]
        });
        drop(held);
        assert!(told);
    }
}
