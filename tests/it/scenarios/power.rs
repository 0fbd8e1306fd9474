//! The power fails: a file system of its own in an image, of which only what was synced is in the image. What a copy of it holds when
//! the process died is what a machine finds after its restart.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::loads::api_with;
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::feed;
use crate::world::kind::{self, Kind, Table, Tried, tried};
use crate::world::oracle::Oracle;
use crate::world::program::{Ended, highwater};
use crate::world::project::Project;
use crate::world::skip;

const PAGE: usize = 8;
/// Syncs that a run makes at most.
const SYNCS_MAX: usize = 400;
/// One of so many is where the power fails: what lies between two of them is alike.
const ONE_OF: usize = 7;

fn done(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A file system in a file, which writes nothing by itself for as long as a test takes.
struct Disk {
    image: PathBuf,
    folder: PathBuf,
}

impl Disk {
    fn new(image: PathBuf, folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::File::create(&image).unwrap().set_len(48 << 20).unwrap();
        let made = done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image));
        (made && mount(&image, &folder)).then_some(Disk { image, folder })
    }

    /// The power fails and comes back: what was written and not synced is gone.
    fn fails(&mut self) {
        let copy = self.image.with_extension("after");
        assert!(done(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&copy)));
        unmount(&self.folder);
        std::fs::rename(&copy, &self.image).unwrap();
        assert!(mount(&self.image, &self.folder), "the file system is whole");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.folder);
    }
}

fn mount(image: &Path, folder: &Path) -> bool {
    done(Command::new("mount").args(["-o", "loop,commit=600"]).arg(image).arg(folder))
}

fn unmount(folder: &Path) {
    assert!(done(Command::new("umount").arg(folder)), "unmount {}", folder.display());
}

fn versions() -> Vec<Record> {
    [feed::plain(1, 10, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

fn newest() -> Vec<Record> {
    [feed::plain(1, 5, "2026-01-31T23:55:00Z"), feed::plain(6, 10, "2026-02-14T23:55:00Z")].concat()
}

/// A table whose state is on a disk that may fail, and so is its lake where that is a folder. The disk goes first: it lies in the
/// project's folder.
struct Machine {
    disk: Disk,
    table: Table,
}

/// `None` where no disk can be had.
fn machine(tried: &Tried, api: &FakeApi, kind: Kind) -> Option<Machine> {
    let table = tried.table(kind, api, PAGE).merging();
    table.write("config.toml", "version = 1\n[state]\nurl = \"sqlite://disk/state/highwater.db\"\n");
    if !kind.is_on_s3() {
        table.edit("sinks/lake.toml", "url = \"lake\"", "url = \"disk/lake\"");
    }
    let disk = Disk::new(table.at("disk.img"), table.at("disk"))?;
    Some(Machine { disk, table })
}

fn again(project: &Project) -> Ended {
    highwater(project, &["run", "items", "--json"]).run()
}

/// A run ends well and the power fails: whether the next one finds all of it, and a table that is whole.
fn all_is_kept(tried: &Tried, api: &FakeApi, kind: Kind, mutant: Option<&str>) -> bool {
    let Machine { mut disk, table } = machine(tried, api, kind).expect("tried before");
    let call = highwater(&table, &["run", "items"]);
    let call = match mutant {
        Some(name) => call.env("HIGHWATER_MUTANT", name),
        None => call,
    };
    call.run().expect_code(0);
    disk.fails();
    let next = again(&table);
    let verified = highwater(&table, &["verify"]).run();
    drop(disk);
    next.code == Some(0) && next.json()[0]["commits"] == 0 && verified.code == Some(0)
}

/// A skip, noted, where no disk can be made.
fn prepared(test: &str) -> Option<(FakeApi, Oracle)> {
    let api = api_with(Pages::Token, PAGE, versions());
    let folder = tempfile::tempdir().unwrap();
    if Disk::new(folder.path().join("disk.img"), folder.path().join("disk")).is_none() {
        skip(test, "no right to mount a file system in a file");
        return None;
    }
    if !done(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"])) {
        skip(test, "there is no strace, or it may not trace");
        return None;
    }
    Some((api, kind::prepared(test)?))
}

#[test]
fn what_was_committed_is_there_after_the_power_failed() {
    // D-11 on every kind: of a table in a bucket the state is what may be lost.
    // D-12 on delta-local
    let Some((api, _)) = prepared("what_was_committed_is_there_after_the_power_failed") else { return };
    let tried = tried!();
    for kind in Kind::ALL {
        assert!(all_is_kept(&tried, &api, kind, None), "{kind}");
    }
    // D-44
    assert!(!all_is_kept(&tried, &api, Kind::ParquetLocal, Some("synced")), "the guard guards nothing");
}

#[test]
fn the_power_fails_at_a_sync() {
    // D-11 on parquet-local, delta-local
    // D-12 on delta-local
    let Some((api, mut oracle)) = prepared("the_power_fails_at_a_sync") else { return };
    let tried = tried!();
    let mut kept = Vec::new();
    for (kind, first) in [(Kind::ParquetLocal, 1), (Kind::DeltaLocal, 4)] {
        for at in (first..SYNCS_MAX).step_by(ONE_OF) {
            let Machine { mut disk, table: project } = machine(&tried, &api, kind).expect("tried before");
            let inject = format!("inject=fsync,fdatasync:signal=KILL:when={at}");
            let wrapper = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", &inject];
            let died = highwater(&project, &["run", "items"]).under(&wrapper).run();
            disk.fails();
            let name = format!("{kind}: the power failed at sync {at}");
            let next = again(&project);
            assert_eq!(next.code, Some(0), "{name}: {next:?}");
            highwater(&project, &["verify"]).run().expect_code(0);
            // The disk goes with the life; who compares comes later.
            let table = project.at("kept");
            assert!(done(Command::new("cp").arg("-r").arg(project.at("disk/lake/items")).arg(&table)));
            match kind.is_delta() {
                true => oracle.expect_delta(&name, &serde_json::json!(table), &newest()),
                false => oracle.expect(&name, &table, &newest()),
            };
            drop(disk);
            kept.push(project);
            if died.signal.is_none() {
                assert!(died.code == Some(0) && at > ONE_OF, "{name}: {died:?}");
                break;
            }
        }
    }
    assert!(kept.len() >= 6, "only {} lives", kept.len());
    oracle.check();
}
