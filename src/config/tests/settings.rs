//! `config.toml`.

use std::path::Path;

use super::{Files, with_config};

#[test]
fn state() {
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"postgres://user:hunter2@db/x\"\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"mysql://user:hunter2@db/x\"\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"state.db\"\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"sqlite://:memory:\"\n"), @"");
}

#[test]
fn limits() {
    insta::assert_snapshot!(with_config("version = 1\n[limits]\nmemory = \"1KiB\"\nruns = 0\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[limits]\nmemory = \"64MB!\"\n"), @"");
}

#[test]
fn settings_are_taken() {
    let config = "version = 1\n[state]\nurl = \"sqlite:///var/x.db\"\n[limits]\nmemory = \"32MiB\"\nruns = 3\n".to_owned();
    let loaded = Files { config, ..Files::good() }.load();
    let settings = &loaded.catalog.settings;
    assert_eq!((settings.memory, settings.runs), (32 << 20, 3));
    assert_eq!(settings.state_path, Path::new("/var/x.db"));
    // The default for bodies follows a small ceiling.
    assert!(loaded.catalog.jobs.values().all(|job| job.source.body_max == 32 << 20));
}
