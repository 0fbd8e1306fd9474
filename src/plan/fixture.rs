//! A job for tests, as the user would write it.

use std::fs;

use crate::config::catalog::Job;

/// The one job of a small project. `source` and `job` are what stands in their files besides the lines that are always the same:
/// the source is called `shop`.
pub(crate) fn job(source: &str, job: &str) -> Job {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    write("config.toml", "version = 1\n");
    write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
    let source = format!("version = 1\ntype = \"http\"\nbase_url = \"https://api.example.com\"\n{source}\n");
    write("sources/shop.toml", &source);
    write("jobs/rows.toml", &format!("version = 1\nsource = \"shop\"\nsink = \"lake\"\n{job}\n"));
    let mut loaded = crate::config::load(folder.path(), None);
    assert!(!loaded.has_errors(), "{:?}", loaded.problems);
    loaded.catalog.jobs.pop_first().expect("the job").1
}
