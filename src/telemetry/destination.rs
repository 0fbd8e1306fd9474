//! Where log lines end up, which decides their form.

use std::io::IsTerminal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A person reads along: text.
    Terminal,
    /// systemd's journal: native fields.
    Journal,
    /// A file, a pipe, a container's log: one JSON object a line.
    Lines,
}

impl Destination {
    /// Where stderr leads. `journal_stream` is `$JOURNAL_STREAM`: systemd sets it to device and inode of the stream that it has
    /// connected to the journal, and a service may have redirected its stderr since (systemd.exec(5)).
    pub fn of_stderr(journal_stream: Option<&str>) -> Destination {
        if std::io::stderr().is_terminal() {
            return Destination::Terminal;
        }
        match (journal_stream.and_then(read), identity_of_stderr()) {
            (Some(journal), Some(stderr)) if journal == stderr => Destination::Journal,
            _ => Destination::Lines,
        }
    }
}

/// `8:12345` as device and inode.
fn read(journal_stream: &str) -> Option<(u64, u64)> {
    let (device, inode) = journal_stream.split_once(':')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

#[cfg(unix)]
fn identity_of_stderr() -> Option<(u64, u64)> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok()?;
    let about = std::fs::File::from(stderr).metadata().ok()?;
    Some((about.dev(), about.ino()))
}

#[cfg(not(unix))]
fn identity_of_stderr() -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_from_a_pipe_by_its_identity() {
        assert_eq!(read("8:12345"), Some((8, 12345)));
        assert_eq!((read("8"), read("8:x"), read("")), (None, None, None));
        // Tests have no terminal, or have one: the journal they never have.
        assert_ne!(Destination::of_stderr(Some("0:0")), Destination::Journal);
        assert_ne!(Destination::of_stderr(None), Destination::Journal);
        let (device, inode) = identity_of_stderr().expect("stderr is open");
        let own = format!("{device}:{inode}");
        let expected = if std::io::stderr().is_terminal() { Destination::Terminal } else { Destination::Journal };
        assert_eq!(Destination::of_stderr(Some(&own)), expected);
    }
}
