//! How many files the process may have open. A shell mostly allows 1,024, while a load into many partitions keeps one for each that is
//! begun on the disk, and connections and databases besides.

/// As many as anybody needs here, and as the service's unit allows.
const WANTED: libc::rlim_t = 65536;

/// Allows as many as are wanted, as far as the system lets the process do so by itself (setrlimit(2)).
pub fn allow_many() {
    let mut limit = limit();
    if limit.rlim_cur < WANTED {
        limit.rlim_cur = WANTED.min(limit.rlim_max);
        // SAFETY: gets a valid pointer to a structure of ours that outlives the call. A limit that cannot be set stays as it was.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    }
}

/// As many as may be open at the moment, files and all else.
pub fn allowed() -> usize {
    usize::try_from(limit().rlim_cur.min(WANTED)).unwrap_or(0)
}

/// None where the system does not say.
fn limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: gets a valid pointer to a structure of ours that outlives the call, which fills it or leaves it as it is (getrlimit(2)).
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_system_lets_us() {
        // Enough for what other tests do meanwhile.
        let fewer = libc::rlimit { rlim_cur: 4096, ..limit() };
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const fewer) };
        assert_eq!(allowed(), 4096);
        allow_many();
        assert_eq!(allowed() as libc::rlim_t, WANTED.min(limit().rlim_max));
    }
}
