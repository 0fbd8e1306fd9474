//! `sinks/*.toml`.

use crate::config::catalog::{SinkPlace, StorageValue};

use super::{Files, with_sink};

fn with_url(url: &str) -> String {
    with_sink(&format!("version = 1\ntype = \"parquet\"\nurl = \"{url}\"\n"))
}

#[test]
fn kinds() {
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"delta\"\nurl = \"lake\"\n"), @"");
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"parket\"\nurl = \"lake\"\n"), @r#"
    error: sinks/lake.toml:2:8: type: `parket` is not known here
      help: did you mean `parquet`?
    "#);
}

#[test]
fn addresses() {
    insta::assert_snapshot!(with_url("gcs://bucket/raw"), @r#"
    error: sinks/lake.toml:3:7: url: `gcs://` is another tool's way to say it
      help: write "gs://bucket/prefix"
    "#);
    insta::assert_snapshot!(with_url("abfss://raw@acme.dfs.core.windows.net/x"), @r#"
    error: sinks/lake.toml:3:7: url: `abfss://` is another tool's way to say it
      help: write "az://container/prefix", and the account as `account_name` under [storage]
    "#);
    insta::assert_snapshot!(with_url("https://acme.blob.core.windows.net/raw"), @r#"
    error: sinks/lake.toml:3:7: url: `https://` is not how a container is named here
      help: write "az://container/prefix", and the account as `account_name` under [storage]
    "#);
    insta::assert_snapshot!(with_url("az://Raw/x"), @r#"
    error: sinks/lake.toml:3:7: url: `Raw` is not a container
      help: write a folder, such as "lake", or an address such as "s3://bucket/prefix", "gs://bucket/prefix" or "az://container/prefix"
    "#);
    insta::assert_snapshot!(with_url("ftp://host/raw"), @r#"
    error: sinks/lake.toml:3:7: url: `ftp` is not a kind of storage
      help: write a folder, such as "lake", or an address such as "s3://bucket/prefix", "gs://bucket/prefix" or "az://container/prefix"
    "#);
    insta::assert_snapshot!(with_url("s3:///raw"), @r#"
    error: sinks/lake.toml:3:7: url: the empty text is not a bucket
      help: write a folder, such as "lake", or an address such as "s3://bucket/prefix", "gs://bucket/prefix" or "az://container/prefix"
    "#);
    insta::assert_snapshot!(with_url("s3://key:hunter2@bucket/raw"), @r#"
    error: sinks/lake.toml:3:7: url: credentials do not belong into an address
      help: use [storage] with references such as { env = "NAME" }
    "#);
    insta::assert_snapshot!(with_url("s3://bucket/a/../b"), @r#"
    error: sinks/lake.toml:3:7: url: `a/../b` is not a prefix in a bucket
      help: write plain parts with `/` between them
    "#);
}

#[test]
fn storage() {
    insta::assert_snapshot!(with_sink("version = 1\ntype = \"parquet\"\nurl = \"lake\"\n[storage]\nregion = \"x\"\n"), @r#"
    error: sinks/lake.toml:4:1: storage: a folder has no options
      help: take `storage` out
    "#);
    let s3 = "version = 1\ntype = \"parquet\"\nurl = \"s3://b\"\n[storage]\n";
    insta::assert_snapshot!(with_sink(&format!("{s3}secret_access_key = \"hunter2\"\nRegion = \"x\"\ntoken = {{ evn = \"X\" }}\n")), @r#"
    warning: sinks/lake.toml:5:21: storage.secret_access_key: a secret is written out in the file
      help: write a reference such as { env = "NAME" }
    error: sinks/lake.toml:6:10: storage.Region: `Region` is not an option of this store
      help: did you mean `region`?
    error: sinks/lake.toml:7:9: storage.token: `token` is not an option of this store
      help: the options are `access_key_id`, `checksum_algorithm`, `container_authorization_token_file`, `container_credentials_full_uri`, `container_credentials_relative_uri`, `endpoint`, `endpoint_url_sts`, `imdsv1_fallback`, `metadata_endpoint`, `region`, `request_payer`, `role_arn`, `role_session_name`, `secret_access_key`, `server_side_encryption`, `session_token`, `skip_signature`, `sse_bucket_key_enabled`, `sse_kms_key_id`, `unsigned_payload`, `virtual_hosted_style_request`, `web_identity_token_file`, `allow_http`, `allow_invalid_certificates`, ...
    error: sinks/lake.toml:7:11: storage.token.evn: unknown key
      help: did you mean `env`?
    "#);
}

#[test]
fn options_are_those_of_the_store() {
    let sink = |url: &str, storage: &str| {
        with_sink(&format!("version = 1\ntype = \"parquet\"\nurl = \"{url}\"\n[storage]\n{storage}\n"))
    };
    insta::assert_snapshot!(sink("s3://lake", "acces_key_id = { env = \"KEY\" }\nconditional_put = \"disabled\""), @r#"
    error: sinks/lake.toml:5:16: storage.acces_key_id: `acces_key_id` is not an option of this store
      help: did you mean `access_key_id`?
    error: sinks/lake.toml:6:19: storage.conditional_put: `conditional_put` is not an option of this store
      help: the options are `access_key_id`, `checksum_algorithm`, `container_authorization_token_file`, `container_credentials_full_uri`, `container_credentials_relative_uri`, `endpoint`, `endpoint_url_sts`, `imdsv1_fallback`, `metadata_endpoint`, `region`, `request_payer`, `role_arn`, `role_session_name`, `secret_access_key`, `server_side_encryption`, `session_token`, `skip_signature`, `sse_bucket_key_enabled`, `sse_kms_key_id`, `unsigned_payload`, `virtual_hosted_style_request`, `web_identity_token_file`, `allow_http`, `allow_invalid_certificates`, ...
    "#);
    insta::assert_snapshot!(sink("gs://lake", "region = \"eu\"\nservice_account_key = \"{}\""), @r#"
    error: sinks/lake.toml:5:10: storage.region: `region` is not an option of this store
      help: the options are `application_credentials`, `base_url`, `bearer_token`, `service_account`, `service_account_key`, `skip_signature`, `allow_http`, `allow_invalid_certificates`, `connect_timeout`, `http1_only`, `pool_idle_timeout`, `pool_max_idle_per_host`, `proxy_ca_certificate`, `proxy_excludes`, `proxy_url`, `read_timeout`, `timeout`, `user_agent`
    warning: sinks/lake.toml:6:23: storage.service_account_key: a secret is written out in the file
      help: write a reference such as { env = "NAME" }
    "#);
    insta::assert_snapshot!(sink("az://lake", "acount_name = \"acme\"\naccess_key = \"hunter2\""), @r#"
    error: sinks/lake.toml:5:15: storage.acount_name: `acount_name` is not an option of this store
      help: did you mean `account_name`?
    warning: sinks/lake.toml:6:14: storage.access_key: a secret is written out in the file
      help: write a reference such as { env = "NAME" }
    "#);
}

#[test]
fn parquet() {
    insta::assert_snapshot!(
        with_sink("version = 1\ntype = \"parquet\"\nurl = \"lake\"\n[parquet]\ncompression = \"zstd(99)\"\nfile_size = \"5GiB\"\nrow_group_size = \"0B\"\n"),
        @r#"
    error: sinks/lake.toml:5:15: parquet.compression: `zstd(99)` is not a compression
      help: write "zstd(3)" (1 to 22), "snappy" or "none"
    error: sinks/lake.toml:6:13: parquet.file_size: `5GiB` is out of range
      help: give a size above zero, at most "4GiB"
    error: sinks/lake.toml:7:18: parquet.row_group_size: `0B` is out of range
      help: give a size above zero, at most "4GiB"
    "#
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

#[test]
fn buckets_of_google_and_containers_of_azure_are_taken() {
    let place = |url: &str, storage: &str| {
        let sink = format!("version = 1\ntype = \"parquet\"\nurl = \"{url}\"\n[storage]\n{storage}\n");
        let loaded = Files { sink, ..Files::good() }.load();
        assert!(!loaded.has_errors(), "{:?}", loaded.problems);
        loaded.catalog.jobs.values().next().unwrap().sink.place.clone()
    };
    let google = place("gs://acme-lake/raw/", "service_account = \"/etc/key.json\"\ntimeout = \"60s\"");
    assert_eq!(google, SinkPlace::Gcs { bucket: "acme-lake".to_owned(), prefix: "raw".to_owned() });
    let azure = place("az://lake", "account_name = \"acme\"\naccess_key = { env = \"KEY\" }");
    assert_eq!(azure, SinkPlace::Azure { container: "lake".to_owned(), prefix: String::new() });
}

#[test]
fn what_only_a_shell_would_fill_in_is_no_folder() {
    for url in ["~", "~/lake", "$HOME/lake"] {
        let told = with_sink(&format!("version = 1\ntype = \"parquet\"\nurl = \"{url}\"\n"));
        assert!(told.contains("sinks/lake.toml:3:7: url: ") && told.contains("a shell's way to say it"), "{told}");
    }
    assert_eq!(with_sink("version = 1\ntype = \"parquet\"\nurl = \"lake~\"\n"), "");
}
