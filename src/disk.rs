//! Room on the disks that we write to: a run that finds none fails half way, and a full disk under the state stops everything.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::catalog::{Job, Settings, SinkPlace};
use crate::config::units::size_text;

/// The folders that a job's run writes to on this machine: state and spool, and the lake where it is a folder.
pub fn folders(settings: &Settings, job: &Job) -> Vec<PathBuf> {
    let state = settings.state_path.parent().map(Path::to_owned);
    let lake = match &job.sink.place {
        SinkPlace::Local(folder) => Some(folder.clone()),
        SinkPlace::S3 { .. } | SinkPlace::Gcs { .. } | SinkPlace::Azure { .. } => None,
    };
    state.into_iter().chain(lake).collect()
}

/// What is free on the disk of a folder, in bytes, for users without privileges. A folder that is not there yet stands for the
/// first one above it that is.
pub fn free(folder: &Path) -> io::Result<u64> {
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statvfs(there)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// What a folder lies on, as far as it matters to what was committed there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    Local,
    /// Renames and links over a network may be applied and answered with an error, or the other way round.
    Network(&'static str),
    /// Gone with the machine's power, whatever was synced.
    Memory(&'static str),
    /// Most often the layer of a container, gone with it; some are mounted so that syncs do nothing.
    Overlay,
}

/// What kind of file system a folder lies on.
#[cfg(target_os = "linux")]
pub fn file_system(folder: &Path) -> io::Result<FileSystem> {
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statfs(there)?;
    // The field's width differs between architectures, and none of the numbers needs more than 32 bits.
    Ok(by_number(u32::try_from(found.f_type as i64 & 0xffff_ffff).unwrap_or_default()))
}

/// By the numbers of statfs(2).
#[cfg(target_os = "linux")]
fn by_number(number: u32) -> FileSystem {
    match number {
        0x6969 => FileSystem::Network("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => FileSystem::Network("SMB"),
        0x6573_5546 => FileSystem::Network("FUSE"),
        0x00c3_6400 => FileSystem::Network("CephFS"),
        0x0102_1997 => FileSystem::Network("9P"),
        0x0102_1994 => FileSystem::Memory("tmpfs"),
        0x8584_58f6 => FileSystem::Memory("ramfs"),
        0x794c_7630 => FileSystem::Overlay,
        _ => FileSystem::Local,
    }
}

/// Only Linux has these numbers.
#[cfg(not(target_os = "linux"))]
pub fn file_system(_folder: &Path) -> io::Result<FileSystem> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether something can be renamed from one folder to the other; both must be there.
#[cfg(unix)]
pub fn same_file_system(one: &Path, other: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(one)?.dev() == std::fs::metadata(other)?.dev())
}

/// Whether a run may begin. The error says where there is too little room, and what to do.
///
/// A disk that does not tell what is free is no reason to stop: the run itself will meet what is wrong with it.
pub fn check(floor: u64, folders: &[PathBuf]) -> Result<(), String> {
    let found = folders.iter().filter_map(|folder| Some((folder.as_path(), free(folder).ok()?)));
    judge(floor, found)
}

fn judge<'a>(floor: u64, mut found: impl Iterator<Item = (&'a Path, u64)>) -> Result<(), String> {
    match found.find(|(_, free)| *free < floor) {
        None => Ok(()),
        Some((folder, free)) => Err(format!(
            "the disk of `{}` has `{}MiB` free and `limits.disk_free` is `{}`: make room, or lower it",
            folder.display(),
            free >> 20,
            size_text(floor)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // O-13
    #[test]
    fn too_little_room_is_told_with_the_way_out() {
        let found = || [(Path::new("/state"), 4 << 30), (Path::new("/lake"), 100 << 20)].into_iter();
        assert_eq!(judge(100 << 20, found()), Ok(()));
        assert_eq!(judge(0, found()), Ok(()));
        let told = judge(512 << 20, found()).expect_err("the lake is full");
        assert_eq!(told, "the disk of `/lake` has `100MiB` free and `limits.disk_free` is `512MiB`: make room, or lower it");
    }

    #[test]
    fn one_disk_is_one_disk() {
        let folder = tempfile::tempdir().expect("folder");
        let other = folder.path().join("a");
        assert!(same_file_system(folder.path(), &other).is_err(), "it is not there");
        std::fs::create_dir(&other).expect("folder");
        assert!(same_file_system(folder.path(), &other).expect("told"));
        assert!(!same_file_system(folder.path(), Path::new("/proc")).expect("told"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_folder_lies_on_is_told() {
        // O-18
        assert_eq!(file_system(Path::new("/proc/not-there")).expect("told"), FileSystem::Local);
        let kinds = [0xef53, 0x0102_1994, 0x794c_7630, 0x6969].map(by_number);
        let (tmpfs, nfs) = (FileSystem::Memory("tmpfs"), FileSystem::Network("NFS"));
        assert_eq!(kinds, [FileSystem::Local, tmpfs, FileSystem::Overlay, nfs]);
        // Where there is one, as on every Linux that people log in to.
        if std::fs::read_to_string("/proc/mounts").is_ok_and(|mounts| mounts.contains(" /dev/shm tmpfs")) {
            assert_eq!(file_system(Path::new("/dev/shm")).expect("told"), tmpfs);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        let folder = tempfile::tempdir().expect("folder");
        let missing = folder.path().join("a/b/c");
        assert!(free(&missing).expect("told") > 0);
        assert_eq!(check(1, std::slice::from_ref(&missing)), Ok(()));
        assert!(check(u64::MAX, &[missing]).is_err());
    }
}
