//! `config.toml`.

use std::path::Path;

use super::{Files, with_config};

#[test]
fn state() {
    // S-35
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"postgres://user:hunter2@db/x\"\n"), @r#"
    warning: config.toml:3:7: state.url: a password is written out in the file
      help: write a reference: { env = "NAME" }, { file = "path" } or { credential = "name" }
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"mysql://user:hunter2@db/x\"\n"), @r#"
    error: config.toml:3:7: state.url: `mysql` is not a kind of state
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db", or "postgres://.."
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"state.db\"\n"), @r#"
    error: config.toml:3:7: state.url: this is not an address of a state
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db", or "postgres://.."
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[state]\nurl = \"sqlite://:memory:\"\n"), @r#"
    error: config.toml:3:7: state.url: `:memory:` is not the path of a file
      help: write "sqlite://" and a path, such as "sqlite://state/highwater.db", or "postgres://.."
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

#[test]
fn nothing_listens_and_nobody_is_told_unless_a_file_says_so() {
    let loaded = Files::good().load();
    let settings = &loaded.catalog.settings;
    assert!(settings.web.is_none() && settings.alerts.is_empty());
    assert_eq!(settings.disk_free, 512 << 20);
    assert!(loaded.catalog.jobs.values().all(|job| job.freshness.is_none()));
}

#[test]
fn web_is_taken() {
    let with =
        |web: &str| Files { config: format!("version = 1\n{web}"), ..Files::good() }.load().catalog.settings.web.expect("web");
    let web = with("[web]\n");
    // S-51: who does not say more is heard by this machine alone.
    assert_eq!((web.listen.to_string().as_str(), web.token.is_none()), ("127.0.0.1:7077", true));
    let web = with("[web]\nlisten = \"[::]:80\"\ntoken = { env = \"T\" }\nhosts = [\"ETL.example.org:80\", \"etl\"]\n");
    assert_eq!((web.listen.to_string().as_str(), web.token.is_some()), ("[::]:80", true));
    assert_eq!(web.hosts.into_iter().collect::<Vec<_>>(), ["etl", "etl.example.org"]);
}

// S-51
#[test]
fn web_that_others_can_reach_needs_a_token() {
    insta::assert_snapshot!(with_config("version = 1\n[web]\nlisten = \"0.0.0.0:7077\"\n"), @r#"
    error: config.toml:3:10: web.listen: `0.0.0.0:7077` can be reached from other machines, and there is no `token`
      help: add token = { env = "HIGHWATER_WEB_TOKEN" }, or listen on "127.0.0.1:7077"
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[web]\nlisten = \"[2001:db8::1]:7077\"\nhosts = []\n"), @r#"
    error: config.toml:3:10: web.listen: `[2001:db8::1]:7077` can be reached from other machines, and there is no `token`
      help: add token = { env = "HIGHWATER_WEB_TOKEN" }, or listen on "127.0.0.1:7077"
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[web]\nlisten = \"[::1]:0\"\n"), @"");
    insta::assert_snapshot!(with_config("version = 1\n[web]\nlisten = \"localhost\"\ntoken = \"hunter2\"\nport = 1\n"), @r#"
    error: config.toml:3:10: web.listen: `localhost` is not an address to listen on
      help: write an IP address and a port, such as "127.0.0.1:7077" or "[::1]:7077"
    warning: config.toml:4:9: web.token: a secret is written out in the file
      help: write a reference: { env = "NAME" }, { file = "path" } or { credential = "name" }
    error: config.toml:5:1: web.port: unknown key
      help: the keys here are `listen`, `token`, `hosts`
    "#);
}

#[test]
fn alerts() {
    let config = "version = 1\n[alerts.ops]\ntype = \"webhook\"\nurl = { env = \"A\" }\n[alerts.night]\ntype = \"webhook\"\nurl = { credential = \"b\" }\non = [\"late\", \"recovered\", \"late\"]\n";
    let loaded = Files { config: config.to_owned(), ..Files::good() }.load();
    let channels = &loaded.catalog.settings.alerts;
    let shown: Vec<(&str, usize)> = channels.iter().map(|channel| (channel.name.as_str(), channel.on.len())).collect();
    assert_eq!(shown, [("ops", 6), ("night", 2)]);
    insta::assert_snapshot!(with_config("version = 1\n[alerts.ops]\ntype = \"webhook\"\nurl = \"https://hooks/CANARY\"\non = []\n"), @r#"
    warning: config.toml:4:7: alerts.ops.url: a secret is written out in the file
      help: write a reference: { env = "NAME" }, { file = "path" } or { credential = "name" }
    error: config.toml:5:6: alerts.ops.on: nothing would ever be told
      help: name what it is to be told: run_failed, late, parked, schema_changed, lost
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[alerts.ops]\ntype = \"mail\"\n[alerts.\"a b\"]\ntype = \"webhook\"\n"), @r#"
    error: config.toml:3:8: alerts.ops.type: `mail` is not known here
      help: there is only `webhook`
    error: config.toml:4:9: alerts."a b": `a b` is not a name that is safe in a path
      help: use letters, digits, `_`, `-` and `.`, beginning with a letter or a digit, such as "github_issues"
    "#);
    insta::assert_snapshot!(with_config("version = 1\n[alerts.ops]\ntype = \"webhook\"\nurl = { env = \"A\" }\non = [\"recovered\"]\n[alerts.two]\ntype = \"webhook\"\non = [\"failed\"]\n"), @r#"
    error: config.toml:5:6: alerts.ops.on: `recovered` alone is never told
      help: name what it is to be told: run_failed, late, parked, schema_changed, lost
    error: config.toml:6:1: alerts.two.url: `url` is missing
      help: add `url`
    error: config.toml:8:7: alerts.two.on[1]: `failed` is not known here
      help: the words are `run_failed`, `late`, `parked`, `schema_changed`, `lost`, `recovered`
    "#);
}

#[test]
fn disk_free() {
    let config = |size: &str| Files { config: format!("version = 1\n[limits]\ndisk_free = \"{size}\"\n"), ..Files::good() };
    assert_eq!(config("0B").load().catalog.settings.disk_free, 0);
    assert_eq!(config("2GiB").load().catalog.settings.disk_free, 2 << 30);
}
