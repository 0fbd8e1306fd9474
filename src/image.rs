//! The program's own file in memory. The system maps it page by page as code runs for the first time, and sixteen where one was asked
//! for; what only the start needed stays mapped for as long as the process lives, unless it is given back.

use std::sync::Once;

/// Gives back all pages of the program's code and constants, wherever they are clean and come from its file. They stay in the system's
/// cache, and whatever runs next maps its own again: some hundred faults, less than a millisecond. Does nothing but on Linux.
pub fn give_back() {
    #[cfg(target_os = "linux")]
    // SAFETY: `release` is what dl_iterate_phdr(3) calls, and takes no data.
    unsafe {
        libc::dl_iterate_phdr(Some(linux::release), std::ptr::null_mut())
    };
}

/// The same, once in the life of the process: to be called when the start is over.
pub fn give_back_start() {
    static START: Once = Once::new();
    START.call_once(give_back);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::slice;

    /// Releases what of the first object, which is the program itself, is never written to.
    ///
    /// # Safety
    /// `info` is what dl_iterate_phdr(3) gives.
    pub unsafe extern "C" fn release(info: *mut libc::dl_phdr_info, _size: usize, _data: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it points to a whole `dl_phdr_info` for as long as this runs, whose headers are those of an object that is mapped.
        let (base, headers) = unsafe {
            let info = &*info;
            (info.dlpi_addr as usize, slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
        };
        // SAFETY: it takes an integer by value.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1);
        for header in headers {
            // What was relocated, and is read-only since, stands in a segment that may be written to.
            if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
                continue;
            }
            let begin = base + header.p_vaddr as usize;
            let (first, end) = (begin.next_multiple_of(page), (begin + header.p_memsz as usize) / page * page);
            if first < end {
                // SAFETY: whole pages of a private mapping of a file that nobody has written to: what is read there next is the file's
                // bytes, as before (madvise(2), MADV_DONTNEED). Pages that are locked are left as they are.
                unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
            }
        }
        1
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// What of the program's code is in memory, KiB.
    fn code() -> usize {
        let program = std::env::current_exe().expect("a program");
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("smaps");
        let (mut is_code, mut resident) = (false, 0);
        for line in smaps.lines() {
            if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_code) {
                resident += size.trim().trim_end_matches(" kB").parse::<usize>().expect("KiB");
            } else if line.contains('-') && line.contains("000 ") {
                is_code = line.contains(" r-xp ") && line.ends_with(program.to_str().expect("a path"));
            }
        }
        resident
    }

    #[test]
    fn what_was_mapped_goes_and_comes_back_as_it_was() {
        // Other tests map theirs meanwhile.
        let goes = || {
            let before = code();
            give_back();
            code() < before
        };
        assert!((0..100).any(|_| goes()));
        // Code and constants that were not read lately.
        assert_eq!(crate::config::units::size_text(512 << 20), "512MiB");
    }
}
