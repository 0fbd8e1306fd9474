//! `format = { ... }` and `compression` of a stream.

use std::collections::BTreeSet;

use encoding_rs::{Encoding, UTF_8};

use crate::config::catalog::{Csv, Format, Packing, Xml};
use crate::config::node::{Node, Table};
use crate::config::problem::{Report, quote};
use crate::page::{ResponsePath, split_path};

/// `table` is the stream's. `None` if what is written is bad, which was reported.
pub(super) fn check(table: &Table, report: &mut Report) -> Option<Format> {
    let Some(format) = table.table("format") else {
        // A format that is no table was reported; the body must not be taken for JSON.
        return (!table.has("format")).then_some(Format::Json);
    };
    let kind = format.text("type")?;
    if table.has("one_record") && kind != "json" {
        let message = format!("`one_record` has no meaning for {kind}, whose records come in lines or elements");
        report.error(&table.place("one_record"), message, "take it out");
    }
    match kind.as_str() {
        "ndjson" => {
            refuse_records(table, "ndjson", report);
            if table.has("records_optional") {
                let message = "`records_optional` has no meaning for ndjson: a body without a line is an empty page";
                report.error(&table.place("records_optional"), message, "take it out");
            }
            Some(Format::Ndjson)
        }
        "csv" => {
            refuse_records(table, "csv", report);
            csv(format, report).map(Format::Csv)
        }
        "xml" => xml(table, format, report).map(Format::Xml),
        _ => Some(Format::Json),
    }
}

pub(super) fn packing(table: &Table) -> Packing {
    match table.text("compression").as_deref() {
        Some("none") => Packing::None,
        Some("gzip") => Packing::Gzip,
        Some("deflate") => Packing::Deflate,
        Some("zstd") => Packing::Zstd,
        Some("brotli") => Packing::Brotli,
        Some("zip") => Packing::Zip,
        _ => Packing::Auto,
    }
}

/// A path into lines of records leads nowhere. Where that is the end of the pages, they would end with the first one.
pub(super) fn refuse_paths(paging: Option<&Table>, format: &Format, report: &mut Report) {
    let name = match format {
        Format::Ndjson => "ndjson",
        Format::Csv(_) => "csv",
        Format::Json | Format::Xml(_) => return,
    };
    let Some(paging) = paging else { return };
    if matches!(paging.text("type").as_deref(), Some("odata" | "graphql")) {
        let help = "take another kind of paging, or format = { type = \"json\" }";
        report.error(&paging.place("type"), format!("pages of this kind come in JSON, not in {name}"), help);
    }
    for key in ["token", "url", "more", "total", "total_pages"] {
        let Some(ResponsePath::Body(steps)) = paging.path(key) else { continue };
        let is_index = |step: &String| step == "-1" || step.bytes().all(|byte| byte.is_ascii_digit());
        if !steps.first().is_some_and(is_index) {
            let message = format!("a body in {name} has records and nothing around them");
            report.error(&paging.place(key), message, "write the path of a header, such as \"header.X-Next\"");
        }
    }
}

fn refuse_records(table: &Table, format: &str, report: &mut Report) {
    if table.path("records").is_some_and(|path| path != ResponsePath::root()) {
        let message = format!("a body in {format} has no path: each of its lines is a record");
        report.error(&table.place("records"), message, "take `records` out");
    }
}

fn csv(table: &Table, report: &mut Report) -> Option<Csv> {
    let delimiter = character(table, "delimiter", "\",\", \";\" or \"\\t\"", report);
    let quote_written = table.text("quote");
    let quote = match quote_written.as_deref() {
        Some("") => None,
        _ => character(table, "quote", "\"\\\"\", \"'\", or \"\" for none", report).or((!table.has("quote")).then_some(b'"')),
    };
    let comment = character(table, "comment", "\"#\"", report);
    let delimiter = delimiter.or((!table.has("delimiter")).then_some(b','));
    refuse_equal(table, &[("delimiter", delimiter), ("quote", quote), ("comment", comment)], report);
    let quote_is_bad = table.has("quote") && quote.is_none() && quote_written.as_deref() != Some("");
    let comment_is_bad = table.has("comment") && comment.is_none();
    let encoding = encoding(table, report);
    let columns = columns(table, report)?;
    if quote_is_bad || comment_is_bad {
        return None;
    }
    let infer = table.boolean("infer").unwrap_or(true);
    Some(Csv { delimiter: delimiter?, quote, comment, columns, encoding: encoding?, infer })
}

/// A written character that the format can be made of.
fn character(table: &Table, key: &str, example: &str, report: &mut Report) -> Option<u8> {
    let text = table.text(key)?;
    match text.as_bytes() {
        [byte] if *byte == b'\t' || byte.is_ascii_graphic() || *byte == b' ' => Some(*byte),
        _ => {
            let message = format!("{} is not one character of ASCII", quote(&text));
            report.error(&table.place(key), message, format!("write one such as {example}"));
            None
        }
    }
}

fn refuse_equal(table: &Table, characters: &[(&str, Option<u8>)], report: &mut Report) {
    for (place, (key, character)) in characters.iter().enumerate() {
        let twin = characters[..place].iter().find(|(_, other)| character.is_some() && other == character);
        if let Some((twin, _)) = twin {
            // The one that is written is the one to change.
            let at = if table.has(key) { key } else { twin };
            report.error(&table.place(at), format!("`{twin}` and `{key}` are the same character"), "choose another one");
        }
    }
}

/// The outer `None` is for what was reported.
fn columns(table: &Table, report: &mut Report) -> Option<Option<Vec<String>>> {
    let has_header = table.boolean("header").unwrap_or(true);
    if has_header && table.has("columns") {
        let help = "write header = false where the body has none, or take `columns` out";
        report.error(&table.place("columns"), "the header names the columns already", help);
        return None;
    }
    if has_header {
        return Some(None);
    }
    let nodes = table.list("columns");
    if nodes.is_empty() {
        let help = "add columns = [\"id\", \"name\"], one name a field";
        report.error(&table.place("columns"), "nothing names the columns", help);
        return None;
    }
    let mut known = BTreeSet::new();
    for node in nodes {
        if let Some(name) = node.text()
            && !known.insert(name)
        {
            report.error(&node.at, format!("the column {} is there twice", quote(name)), "give each column a name of its own");
        }
    }
    Some(Some(nodes.iter().filter_map(Node::text).map(str::to_owned).collect()))
}

fn encoding(table: &Table, report: &mut Report) -> Option<&'static Encoding> {
    if !table.has("encoding") {
        return Some(UTF_8);
    }
    let label = table.text("encoding")?;
    let found = Encoding::for_label_no_replacement(label.as_bytes());
    if found.is_none() {
        let help = "write a label of the Encoding Standard, such as \"utf-8\", \"windows-1252\" or \"shift_jis\"";
        report.error(&table.place("encoding"), format!("{} is not an encoding", quote(&label)), help);
    }
    found
}

fn xml(stream: &Table, table: &Table, report: &mut Report) -> Option<Xml> {
    let steps = match stream.path("records") {
        Some(ResponsePath::Body(steps)) => steps.len(),
        Some(ResponsePath::Header(_)) => return None,
        None if stream.has("records") => return None,
        None => 0,
    };
    if steps < 2 {
        let message = "the records of an XML document are elements below its root";
        report.error(&stream.place("records"), message, "write their path from the root on, such as \"rss.channel.item\"");
    }
    let lists = table.list("lists").iter().filter_map(Node::text).filter_map(|path| split_path(path).ok()).collect();
    Some(Xml { keep_prefixes: table.text("namespaces").as_deref() == Some("keep"), lists })
}
