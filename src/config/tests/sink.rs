//! `sinks/*.toml`.

use crate::config::catalog::{SinkPlace, StorageValue};

use super::{Files, with_sink};

fn with_url(url: &str) -> String {
    with_sink(&format!("version = 1\ntype = \"parquet\"\nurl = \"{url}\"\n"))
}

#[test]
fn kinds() {
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"delta\"\nurl = \"lake\"\n"), @"");
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"parket\"\nurl = \"lake\"\n"), @"");
}

#[test]
fn addresses() {
    insta::assert_snapshot!(with_url("gs://bucket/raw"), @"");
    insta::assert_snapshot!(with_url("ftp://host/raw"), @"");
    insta::assert_snapshot!(with_url("s3:///raw"), @"");
    insta::assert_snapshot!(with_url("s3://key:hunter2@bucket/raw"), @"");
    insta::assert_snapshot!(with_url("s3://bucket/a/../b"), @"");
}

#[test]
fn storage() {
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"parquet\"\nurl = \"lake\"\n[storage]\nregion = \"x\"\n"), @"");
    let s3 = "version = 1\ntype = \"parquet\"\nurl = \"s3://b\"\n[storage]\n";
    insta::assert_snapshot!(with_sink(&format!("{s3}secret_access_key = \"hunter2\"\nRegion = \"x\"\ntoken = {{ evn = \"X\" }}\n")), @"");
}

#[test]
fn parquet() {
    insta::assert_snapshot!(
        with_sink("version = 1\ntype = \"parquet\"\nurl = \"lake\"\n[parquet]\ncompression = \"zstd(99)\"\nfile_size = \"5GiB\"\nrow_group_size = \"0B\"\n"),
        @""
    );
}

#[test]
fn a_bucket_is_taken() {
    let sink = r#"version = 1
type = "parquet"
url = "s3://acme-lake/raw/"
[storage]
region = "eu-central-1"
allow_http = true
access_key_id = { env = "KEY" }
"#;
    let loaded = Files { sink: sink.to_owned(), ..Files::good() }.load();
    let job = loaded.catalog.jobs.values().next().unwrap();
    assert_eq!(job.sink.place, SinkPlace::S3 { bucket: "acme-lake".to_owned(), prefix: "raw".to_owned() });
    assert!(matches!(&job.sink.storage["allow_http"], StorageValue::Text(text) if text == "true"));
    assert!(matches!(&job.sink.storage["access_key_id"], StorageValue::Secret(_)));
}
