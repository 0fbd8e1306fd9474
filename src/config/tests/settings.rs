//! `config.toml`.

use std::path::Path;

use super::{Files, with_config};

#[test]
fn state() {
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"postgres://user:hunter2@db/x\"\n"), @r#"
    error: config.toml:3:7: state.url: `postgres` is not built yet
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db"
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"mysql://user:hunter2@db/x\"\n"), @r#"
    error: config.toml:3:7: state.url: `mysql` is not a kind of state
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db"
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"state.db\"\n"), @r#"
    error: config.toml:3:7: state.url: this is not an address of a state
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db"
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"sqlite://:memory:\"\n"), @r#"
    error: config.toml:3:7: state.url: `:memory:` is not the path of a file
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db"
    "#);
}

#[test]
fn limits() {
    insta::assert_snapshot!(with_config("version = 1\n[limits]\nmemory = \"1KiB\"\nruns = 0\n"), @r#"
    error: config.toml:3:10: limits.memory: `1KiB` is too little
      help: give at least "16MiB"
    error: config.toml:4:8: limits.runs: `0` is out of range
      help: write a whole number from 1 to 1000
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[limits]\nmemory = \"64MB!\"\n"), @r#"
    error: config.toml:3:10: limits.memory: `64MB!` is not a size
      help: write a whole number with a unit, such as "64MiB"
    "#);
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
