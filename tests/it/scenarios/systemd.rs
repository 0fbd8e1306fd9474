//! The units that ship, as systemd's own tools see them.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::rust_text::root;
use crate::world::skip;

/// The highest exposure that a unit may have, in tenths; 1.0 is the least that a service with a network can have.
const EXPOSURE_MAX: u32 = 12;

/// The units in a folder of their own, with a program that is there.
fn units() -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let mut services = Vec::new();
    for (name, instance) in [
        ("highwater.service", "highwater.service"),
        ("highwater-run@.service", "highwater-run@earthquakes.service"),
        ("highwater-run@.timer", "highwater-run@earthquakes.timer"),
    ] {
        let text = std::fs::read_to_string(root().join("systemd").join(name)).unwrap();
        let text = text.replace("/usr/local/bin/highwater", env!("CARGO_BIN_EXE_highwater"));
        std::fs::write(folder.path().join(name), &text).unwrap();
        std::fs::write(folder.path().join(instance), &text).unwrap();
        services.push(folder.path().join(instance));
    }
    (folder, services)
}

fn analyze(args: &[&str], unit: &PathBuf) -> Option<Output> {
    Command::new("systemd-analyze").args(args).arg(unit).env("SYSTEMD_COLORS", "0").output().ok()
}

#[test]
fn the_units_are_sound_and_shut() {
    // S-67
    let (_folder, units) = units();
    for unit in &units {
        let Some(verified) = analyze(&["verify", "--man=no"], unit) else {
            return skip("the_units_are_sound_and_shut", "there is no systemd-analyze");
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        // Other units of this machine are not ours to judge.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("highwater")).collect();
        assert!(verified.status.success() && ours.is_empty(), "{}: {said}", unit.display());
    }
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    for unit in units.iter().filter(|unit| unit.extension().is_some_and(|kind| kind == "service")) {
        let judged = analyze(&["security", "--offline=true", "--no-pager", &threshold], unit).unwrap();
        assert!(judged.status.success(), "{}: {}", unit.display(), String::from_utf8_lossy(&judged.stdout));
    }
}

#[test]
fn the_unit_restarts_what_passes_and_not_what_has_to_be_edited() {
    // O-05
    let unit = std::fs::read_to_string(root().join("systemd/highwater.service")).unwrap();
    for line in [
        "Type=notify",
        "NotifyAccess=main",
        "Restart=on-failure",
        "RestartPreventExitStatus=64 78",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "DynamicUser=yes",
        "StateDirectory=highwater",
    ] {
        assert!(unit.lines().any(|other| other == line), "highwater.service lacks {line}");
    }
    assert!(unit.contains("WatchdogSec=") && unit.contains("RestartSec="));
}
