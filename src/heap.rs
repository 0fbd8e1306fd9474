//! The C library's allocator, told to give back what is not used. Nothing else knows that there is one.
//!
//! As it is, glibc keeps a heap a thread and holds on to what was freed in each, which for the pages and row groups that come and go
//! here is half of what the process takes. Measured beside jemalloc and mimalloc: docs/adr/0036.

/// Heaps that threads share. More would be for many threads that allocate at once; what is large does not go through them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const HEAPS: libc::c_int = 2;
/// Blocks of at least so many bytes are pages of their own, and go back to the kernel when they are freed. Each of these is zeroed anew
/// (docs/adr/0042).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: libc::c_int = 4 * 1024 * 1024;
/// So many free bytes may lie at a heap's end.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const SPARE: libc::c_int = 8 * 1024 * 1024;

/// Gives whole pages that are free back to the kernel, wherever in the heaps they lie (malloc_trim(3)). Takes milliseconds, in which the
/// heaps cannot be used. Does nothing where the C library is another.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes an integer by value, and touches only what is free.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Holds for the whole process; to be called before there is a second thread. Does nothing where the C library is another.
pub fn keep_small() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [(libc::M_ARENA_MAX, HEAPS), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, SPARE)] {
        // SAFETY: `mallopt` takes two integers by value and touches nothing of ours; no other thread allocates yet. A value that it
        // does not take leaves the allocator as it was (mallopt(3)).
        unsafe { libc::mallopt(parameter, value) };
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Bytes in memory.
    fn resident() -> usize {
        let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
        text.split(' ').nth(1).expect("resident").parse::<usize>().expect("pages") * 4096
    }

    #[test]
    fn what_lies_free_between_what_is_used_goes_back() {
        // More than other tests take and free meanwhile.
        const BLOCKS: usize = 8192;
        let mut blocks: Vec<Vec<u8>> = (0..BLOCKS).map(|at| vec![at as u8; 64 * 1024]).collect();
        let full = resident();
        // One in sixteen stays, so that no heap becomes any shorter.
        blocks.retain(|block| block[0].is_multiple_of(16));
        give_back();
        let now = resident();
        assert!(now + 256 * 1024 * 1024 < full, "{now} after {full}");
        assert_eq!(blocks.len(), BLOCKS / 16);
    }
}
