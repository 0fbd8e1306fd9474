//! The power fails: a file system of its own in an image, of which only what was synced is in the image. What a copy of it holds when
//! the process died is what a machine finds after its restart.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::loads::api_with;
use crate::world::api::{FakeApi, Pages, Record};
use crate::world::feed;
use crate::world::oracle::Oracle;
use crate::world::program::{Ended, highwater};
use crate::world::project::{Project, job};
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

/// A project whose lake and state are on a disk that may fail. The disk goes first: it lies in the project's folder.
struct Machine {
    disk: Disk,
    project: Project,
}

/// `None` where no disk can be had.
fn machine(api: &FakeApi, kind: &str) -> Option<Machine> {
    let project = Project::of_items(api, &Pages::Token, PAGE);
    project.write("config.toml", "version = 1\n[state]\nurl = \"sqlite://disk/state/highwater.db\"\n");
    project.write("sinks/lake.toml", &format!("version = 1\ntype = \"{kind}\"\nurl = \"disk/lake\"\n"));
    project.write("jobs/items.toml", &format!("{}step = \"14d\"\n", job("").replace("2026-01-01", "2026-01-31")));
    project.edit("jobs/items.toml", "mode = \"append\"", "mode = \"merge\"");
    let disk = Disk::new(project.at("disk.img"), project.at("disk"))?;
    Some(Machine { disk, project })
}

fn again(project: &Project) -> Ended {
    highwater(project, &["run", "items", "--json"]).run()
}

/// A run ends well and the power fails: whether the next one finds all of it, and a table that is whole.
fn all_is_kept(api: &FakeApi, kind: &str, mutant: Option<&str>) -> bool {
    let Machine { mut disk, project } = machine(api, kind).expect("tried before");
    let call = highwater(&project, &["run", "items"]);
    let call = match mutant {
        Some(name) => call.env("HIGHWATER_MUTANT", name),
        None => call,
    };
    call.run().expect_code(0);
    disk.fails();
    let next = again(&project);
    let verified = highwater(&project, &["verify"]).run();
    drop(disk);
    next.code == Some(0) && next.json()[0]["commits"] == 0 && verified.code == Some(0)
}

/// A skip, noted, where no disk can be made.
fn prepared(test: &str) -> Option<(FakeApi, Oracle)> {
    let api = api_with(Pages::Token, PAGE, versions());
    if machine(&api, "parquet").is_none() {
        skip(test, "no right to mount a file system in a file");
        return None;
    }
    let traces = done(Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]));
    let oracle = Oracle::new().filter(|_| traces);
    if oracle.is_none() {
        skip(test, "there is no strace, or the independent readers are not installed");
    }
    Some((api, oracle?))
}

#[test]
fn what_was_committed_is_there_after_the_power_failed() {
    // D-11, D-12
    let Some((api, _)) = prepared("what_was_committed_is_there_after_the_power_failed") else { return };
    for kind in ["parquet", "delta"] {
        assert!(all_is_kept(&api, kind, None), "{kind}");
    }
    // D-44
    assert!(!all_is_kept(&api, "parquet", Some("synced")), "the guard guards nothing");
}

#[test]
fn the_power_fails_at_a_sync() {
    // D-11, D-12
    let Some((api, mut oracle)) = prepared("the_power_fails_at_a_sync") else { return };
    let mut kept = Vec::new();
    for (kind, first) in [("parquet", 1), ("delta", 4)] {
        for at in (first..SYNCS_MAX).step_by(ONE_OF) {
            let Machine { mut disk, project } = machine(&api, kind).expect("tried before");
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
            match kind {
                "delta" => oracle.expect_delta(&name, &serde_json::json!(table), &newest()),
                _ => oracle.expect(&name, &table, &newest()),
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
