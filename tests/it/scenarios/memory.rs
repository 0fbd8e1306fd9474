//! No memory left: the kernel ends the process, wherever it is.

use std::path::{Path, PathBuf};

use super::loads::{api_with, mark, run};
use crate::world::api::{Pages, Record};
use crate::world::kind::{Kind, prepared, tried};
use crate::world::program::highwater;
use crate::world::skip;

const SIGKILL: i32 = 9;
const PAGE: usize = 30;
/// A process of this program does with less than this.
const MEMORY_MAX: u64 = 200 << 20;

/// What a whole machine has, of which a debug build with its code takes half.
const MACHINE: u64 = 128 << 20;

/// A control group whose processes get so much memory.
struct Group {
    folder: PathBuf,
    is_first_version: bool,
}

impl Group {
    /// `None` where groups of control cannot be made.
    fn new(name: &str) -> Option<Self> {
        let is_first_version = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
        let root = Path::new(if is_first_version { "/sys/fs/cgroup/memory" } else { "/sys/fs/cgroup" });
        if !is_first_version {
            std::fs::write(root.join("cgroup.subtree_control"), "+memory").ok()?;
        }
        let folder = root.join(format!("highwater-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        Some(Group { folder, is_first_version })
    }

    fn set(&self, bytes: u64) {
        let name = if self.is_first_version { "memory.limit_in_bytes" } else { "memory.max" };
        std::fs::write(self.folder.join(name), bytes.to_string()).unwrap();
    }

    /// For `sh -c`: a program in the group.
    fn enter(&self) -> String {
        format!("echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"", self.folder.display())
    }

    /// Processes that the kernel ended here.
    fn ended(&self) -> u64 {
        let name = if self.is_first_version { "memory.oom_control" } else { "memory.events" };
        let text = std::fs::read_to_string(self.folder.join(name)).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        drop(std::fs::remove_dir(&self.folder));
    }
}

/// Rows that take their place in memory, all of one slice.
fn heavy(count: u64) -> Vec<Record> {
    let at = "2026-02-01T00:00:00Z";
    let record = |id: u64| {
        let text: String = (0..20_000).map(|n| char::from(b'a' + ((id * 7 + n * n) % 26) as u8)).collect();
        Record { json: format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":\"{text}\"}}"), cursor: Some(at.parse().unwrap()) }
    };
    (1..=count).map(record).collect()
}

#[test]
fn more_than_the_machine_has_goes_through_in_one_slice() {
    // O-07 on parquet-local: two hundred megabytes of it; `just stream` is for ten gigabytes.
    const NAME: &str = "more_than_the_machine_has_goes_through_in_one_slice";
    let Some(mut oracle) = prepared(NAME) else { return };
    let Some(group) = Group::new(NAME) else { return skip(NAME, "no right to limit the memory of a process") };
    let tried = tried!();
    let records = heavy(10_000);
    let api = api_with(Pages::Token, 100, records.clone());
    let table = tried.table(Kind::ParquetLocal, &api, 100);
    table.write("config.toml", "version = 1\n[limits]\nmemory = \"64MiB\"\n");
    // What the system caches of its files is in it, too.
    group.set(MACHINE);
    highwater(&table, &["run", "items"]).under(&["sh", "-c", &group.enter()]).run().expect_code(0);
    assert_eq!(group.ended(), 0);
    table.expect(&mut oracle, "more than the machine has", &records);
    oracle.check();
}

#[test]
fn a_process_is_ended_by_the_kernel_for_want_of_memory() {
    // D-10 on every kind
    const NAME: &str = "a_process_is_ended_by_the_kernel_for_want_of_memory";
    let Some(mut oracle) = prepared(NAME) else { return };
    let Some(group) = Group::new(NAME) else { return skip(NAME, "no right to limit the memory of a process") };
    let tried = tried!();
    let enter = group.enter();
    let api = api_with(Pages::Token, PAGE, heavy(300));
    let (mut tables, mut while_reading) = (Vec::new(), 0);
    for kind in Kind::ALL {
        let (ended_before, step) = (group.ended(), if kind.is_on_s3() { 5 << 20 } else { 3 << 20 });
        let table = tried.table(kind, &api, PAGE).merging();
        for memory in ((8 << 20)..MEMORY_MAX).step_by(step) {
            group.set(memory);
            let asked = api.seen().len();
            let ended = highwater(&table, &["run", "items", "--full", "--yes"]).under(&["sh", "-c", &enter]).run();
            if ended.signal != Some(SIGKILL) {
                ended.expect_code(0);
                break;
            }
            while_reading += usize::from(api.seen().len() > asked + 1);
            // Whatever it left: the mark does not stand before what is there.
            assert!(mark(&table).is_null() || !table.records().is_empty(), "{kind}: {memory} bytes");
        }
        assert!(group.ended() > ended_before, "{kind}: nothing was ended by the kernel");
        run(&table);
        assert_eq!(run(&table)["commits"], 0, "{kind}");
        highwater(&table, &["verify"]).run().expect_code(0);
        table.expect(&mut oracle, "ended for want of memory", &heavy(300));
        tables.push(table);
    }
    println!("{} processes ended by the kernel, {while_reading} of them while they read", group.ended());
    assert!(while_reading > 0, "every process was ended before it had read a page: this shows nothing");
    oracle.check();
}
