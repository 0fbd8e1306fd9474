//! What stands on the disk.

use std::fs;

use crate::config::load;
use crate::ids::JobName;

use super::{JOB, SINK, SOURCE, shown};

fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, text) in
        [("config.toml", "version = 1\n"), ("sources/shop.toml", SOURCE), ("sinks/lake.toml", SINK), ("jobs/orders.toml", JOB)]
    {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_goes_on() {
    let folder = project();
    let jobs = folder.path().join("jobs");
    fs::write(jobs.join("binary.toml"), b"version = 1\n\xff\xfe").unwrap();
    fs::write(jobs.join("huge.toml"), vec![b'#'; 1024 * 1024 + 1]).unwrap();
    fs::write(jobs.join("a b.toml"), JOB).unwrap();
    fs::write(jobs.join("line\nbreak.toml"), JOB).unwrap();
    fs::write(jobs.join("OTHER.TOML"), JOB).unwrap();
    fs::write(jobs.join(".orders.toml.swp"), "noise").unwrap();
    fs::write(jobs.join("README.md"), "notes").unwrap();
    fs::create_dir(jobs.join("more")).unwrap();
    std::os::unix::fs::symlink("/nowhere", jobs.join("gone.toml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", jobs.join("endless.toml")).unwrap();
    let loaded = load(folder.path(), None);
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    error: jobs/OTHER.TOML: the file's name does not end in `.toml`, in lower case
      help: name it like "orders.toml": letters, digits, `_`, `-` and `.`, beginning with a letter or a digit
    error: jobs/a b.toml: the file's name is not one that is safe in a path
      help: name it like "orders.toml": letters, digits, `_`, `-` and `.`, beginning with a letter or a digit
    error: jobs/binary.toml: the file is not UTF-8 (at byte 12)
      help: save it as UTF-8
    error: jobs/endless.toml: this is not a regular file
    error: jobs/gone.toml: the file cannot be read: No such file or directory (os error 2)
    error: jobs/huge.toml: the file has more than 1MiB
      help: split it
    error: jobs/line\nbreak.toml: the file's name is not one that is safe in a path
      help: name it like "orders.toml": letters, digits, `_`, `-` and `.`, beginning with a letter or a digit
    error: jobs/more: folders are not read here
      help: put the files directly into `jobs`
    "#);
    assert!(loaded.catalog.jobs.contains_key(&JobName::new("orders")));
    assert_eq!(loaded.parked[&JobName::new("binary")], "jobs/binary.toml: the file is not UTF-8 (at byte 12)");
}

#[test]
fn a_file_name_that_is_not_utf8_is_told() {
    use std::os::unix::ffi::OsStrExt;
    let folder = project();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.toml");
    fs::write(folder.path().join("jobs").join(name), JOB).unwrap();
    insta::assert_snapshot!(shown(&load(folder.path(), None).problems), @r#"
    error: jobs/caf�.toml: the file's name is not UTF-8
      help: name it like "orders.toml": letters, digits, `_`, `-` and `.`, beginning with a letter or a digit
    "#);
}

#[test]
fn a_folder_that_is_no_project_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let loaded = load(folder.path(), None);
    insta::assert_snapshot!(shown(&loaded.problems), @r#"
    error: config.toml: the file is missing
      help: a project has a `config.toml` with `version = 1`; `-C DIR` names its folder
    "#);
    assert!(loaded.catalog.jobs.is_empty());
    assert_eq!(load(&folder.path().join("nowhere"), None).problems, loaded.problems);
}
