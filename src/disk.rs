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

/// What kind of network file system a folder lies on; `None` for a local disk. Renames and links over a network may be applied
/// and answered with an error, or the other way round.
#[cfg(target_os = "linux")]
pub fn network(folder: &Path) -> io::Result<Option<&'static str>> {
    let there = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statfs(there)?;
    // Numbers of statfs(2); the field's width differs between architectures, and none of them needs more than 32 bits.
    Ok(match u32::try_from(found.f_type as i64 & 0xffff_ffff).unwrap_or_default() {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x00c3_6400 => Some("CephFS"),
        0x0102_1997 => Some("9P"),
        _ => None,
    })
}

/// Only Linux has these numbers.
#[cfg(not(target_os = "linux"))]
pub fn network(_folder: &Path) -> io::Result<Option<&'static str>> {
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
        assert_eq!(network(folder.path()).expect("told"), None);
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
