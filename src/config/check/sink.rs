//! `sinks/*.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::catalog::{Compression, ParquetSettings, Sink, SinkPlace, StorageValue, TableFormat};
use crate::config::node::{Table, Value};
use crate::config::problem::{Report, nearest, quote};
use crate::config::read::{Project, ProjectFile};
use crate::config::secret::SecretRef;
use crate::config::storage::is_secret;
use crate::config::units::size_text;

use super::keep;

const FILE_SIZE: u64 = 128 << 20;
const FILE_SIZE_MAX: u64 = 4 << 30;
const ROW_GROUP_SIZE: u64 = 16 << 20;

pub(super) fn check(file: &ProjectFile, table: &Table, project: &Project, report: &mut Report) -> Option<Sink> {
    let parquet = parquet(table.table("parquet"), report);
    let keep = keep::sink(table, report);
    let place = table.text("url").and_then(|url| place(&url, table, &project.base, report));
    let storage = storage(table, place.as_ref(), report);
    if matches!(place, Some(SinkPlace::Local(_))) && !storage.is_empty() {
        report.error(&table.place("storage"), "a folder has no options", "take `storage` out");
    }
    let format = match table.text("type")?.as_str() {
        "delta" => TableFormat::Delta,
        _ => TableFormat::Parquet,
    };
    keep::refuse_history(table, format, report);
    Some(Sink { name: file.name.clone(), file: file.file.clone(), format, place: place?, storage, parquet, keep })
}

fn place(url: &str, table: &Table, base: &Path, report: &mut Report) -> Option<SinkPlace> {
    let at = table.place("url");
    let help = "write a folder, such as \"lake\", or an address such as \"s3://bucket/prefix\", \"gs://bucket/prefix\" or \
                \"az://container/prefix\"";
    let Some((scheme, rest)) = url.split_once("://") else {
        if url.contains('\0') {
            report.error(&at, "the path holds a control character", help);
            return None;
        }
        if url == "~" || url.starts_with("~/") || url.starts_with('$') {
            let message = format!("{} is a shell's way to say it: nothing takes the place of `{}` here", quote(url), &url[..1]);
            report.error(&at, message, "write the whole path, or one below the project's folder");
            return None;
        }
        return Some(SinkPlace::Local(base.join(url)));
    };
    match scheme {
        "s3" | "gs" | "az" => {}
        "s3a" | "s3n" | "gcs" | "abfs" | "abfss" | "adl" | "azure" | "wasb" | "wasbs" => {
            report.error(&at, format!("`{scheme}://` is another tool's way to say it"), own_way(scheme));
            return None;
        }
        "http" | "https" if rest.contains(".core.windows.net") => {
            report.error(&at, format!("`{scheme}://` is not how a container is named here"), own_way("abfss"));
            return None;
        }
        _ => {
            report.error(&at, format!("{} is not a kind of storage", quote(scheme)), help);
            return None;
        }
    }
    if rest.contains('@') {
        report.error(
            &at,
            "credentials do not belong into an address",
            "use [storage] with references such as { env = \"NAME\" }",
        );
        return None;
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let odd =
        |part: &str| matches!(part, "" | "." | "..") || part.contains(['?', '#', '*', '\\']) || part.contains(char::is_control);
    if !fits(scheme, bucket) {
        let noun = if scheme == "az" { "container" } else { "bucket" };
        report.error(&at, format!("{} is not a {noun}", quote(bucket)), help);
        return None;
    }
    if !prefix.is_empty() && prefix.split('/').any(odd) {
        report.error(&at, format!("{} is not a prefix in a bucket", quote(prefix)), "write plain parts with `/` between them");
        return None;
    }
    let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
    Some(match scheme {
        "gs" => SinkPlace::Gcs { bucket, prefix },
        "az" => SinkPlace::Azure { container: bucket, prefix },
        _ => SinkPlace::S3 { bucket, prefix },
    })
}

/// How a place is named here that other tools name by this scheme.
fn own_way(scheme: &str) -> &'static str {
    match scheme {
        "s3a" | "s3n" => "write \"s3://bucket/prefix\"",
        "gcs" => "write \"gs://bucket/prefix\"",
        _ => "write \"az://container/prefix\", and the account as `account_name` under [storage]",
    }
}

/// Whether a store could have a bucket of this name. Azure has the narrower rule, and a wrong name there is answered with 400.
fn fits(scheme: &str, bucket: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let azure = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '$');
    match scheme {
        "az" => (3..=63).contains(&bucket.len()) && bucket.chars().all(azure),
        _ => !bucket.is_empty() && bucket.chars().all(plain),
    }
}

fn storage(table: &Table, place: Option<&SinkPlace>, report: &mut Report) -> BTreeMap<String, StorageValue> {
    let mut storage = BTreeMap::new();
    for (name, node) in table.map("storage") {
        // Of a folder they are refused as a whole, and of a place that is not understood nothing can be said.
        let known = |place: &&SinkPlace| !matches!(place, SinkPlace::Local(_)) && place.storage_keys().all(|key| key != name);
        if let Some(place) = place.filter(known) {
            let help = nearest(name, place.storage_keys(), "options");
            report.error(&node.at, format!("{} is not an option of this store", quote(name)), help);
            continue;
        }
        let value = match &node.value {
            Value::Text(text) => {
                if is_secret(name) {
                    report.warning(
                        &node.at,
                        "a secret is written out in the file",
                        "write a reference such as { env = \"NAME\" }",
                    );
                    StorageValue::Secret(SecretRef::Literal(text.clone().into()))
                } else {
                    StorageValue::Text(text.clone())
                }
            }
            Value::Secret(secret) => StorageValue::Secret(secret.clone()),
            _ => continue,
        };
        storage.insert(name.clone(), value);
    }
    storage
}

fn parquet(table: Option<&Table>, report: &mut Report) -> ParquetSettings {
    let mut parquet = ParquetSettings { compression: Compression::Zstd(3), file_size: FILE_SIZE, row_group_size: ROW_GROUP_SIZE };
    let Some(table) = table else {
        return parquet;
    };
    parquet.compression = table.compression("compression").unwrap_or(parquet.compression);
    parquet.file_size = table.size("file_size").unwrap_or(FILE_SIZE);
    parquet.row_group_size = table.size("row_group_size").unwrap_or(ROW_GROUP_SIZE);
    for (key, size) in [("file_size", parquet.file_size), ("row_group_size", parquet.row_group_size)] {
        if size == 0 || size > FILE_SIZE_MAX {
            let help = format!("give a size above zero, at most \"{}\"", size_text(FILE_SIZE_MAX));
            report.error(&table.place(key), format!("{} is out of range", quote(&size_text(size))), help);
        }
    }
    parquet
}
