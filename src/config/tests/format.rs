//! What bodies a stream has: lines, tables of commas, XML, and what is packed around them.

use crate::config::catalog::{Format, Packing, Xml};

use super::source::with_stream;
use super::{Files, SOURCE};

#[test]
fn formats() {
    insta::assert_snapshot!(with_stream("format = { type = \"avro\" }\ncompression = \"rar\""), @r#"
    error: sources/shop.toml:16:19: streams.plain.format.type: `avro` is not known here
      help: the types are `json`, `ndjson`, `csv`, `xml`
    error: sources/shop.toml:17:15: streams.plain.compression: `rar` is not known here
      help: the words are `auto`, `none`, `gzip`, `deflate`, `zstd`, `brotli`, `zip`
    "#);
    insta::assert_snapshot!(with_stream("records = \"data\"\nformat = { type = \"ndjson\" }\nrecords_optional = true\none_record = true"), @r#"
    error: sources/shop.toml:16:11: streams.plain.records: a body in ndjson has no path: each of its lines is a record
      help: take `records` out
    error: sources/shop.toml:18:20: streams.plain.records_optional: `records_optional` has no meaning for ndjson: a body without a line is an empty page
      help: take it out
    error: sources/shop.toml:19:14: streams.plain.one_record: `one_record` has no meaning for ndjson, whose records come in lines or elements
      help: take it out
    "#);
    insta::assert_snapshot!(with_stream("records = \"data\"\nformat = { type = \"csv\", delimiter = \"\\t\\t\", quote = \"é\", comment = \"\", encoding = \"utf-9\", columns = [\"a\"] }"), @r##"
    error: sources/shop.toml:16:11: streams.plain.records: a body in csv has no path: each of its lines is a record
      help: take `records` out
    error: sources/shop.toml:17:38: streams.plain.format.delimiter: `\t\t` is not one character of ASCII
      help: write one such as ",", ";" or "\t"
    error: sources/shop.toml:17:54: streams.plain.format.quote: `é` is not one character of ASCII
      help: write one such as "\"", "'", or "" for none
    error: sources/shop.toml:17:69: streams.plain.format.comment: the empty text is not one character of ASCII
      help: write one such as "#"
    error: sources/shop.toml:17:84: streams.plain.format.encoding: `utf-9` is not an encoding
      help: write a label of the Encoding Standard, such as "utf-8", "windows-1252" or "shift_jis"
    error: sources/shop.toml:17:103: streams.plain.format.columns: the header names the columns already
      help: write header = false where the body has none, or take `columns` out
    "##);
    insta::assert_snapshot!(with_stream("format = { type = \"csv\", delimiter = \"\\\"\", header = false, columns = [\"a\", \"a\"] }"), @r#"
    error: sources/shop.toml:16:38: streams.plain.format.delimiter: `delimiter` and `quote` are the same character
      help: choose another one
    error: sources/shop.toml:16:76: streams.plain.format.columns[2]: the column `a` is there twice
      help: give each column a name of its own
    "#);
    insta::assert_snapshot!(with_stream("format = { type = \"csv\", header = false }"), @r#"
    error: sources/shop.toml:16:10: streams.plain.format.columns: nothing names the columns
      help: add columns = ["id", "name"], one name a field
    "#);
    insta::assert_snapshot!(with_stream("records = \"feed\"\nformat = { type = \"xml\", namespaces = \"no\", lists = [\"a..b\"] }"), @r#"
    error: sources/shop.toml:16:11: streams.plain.records: the records of an XML document are elements below its root
      help: write their path from the root on, such as "rss.channel.item"
    error: sources/shop.toml:17:39: streams.plain.format.namespaces: `no` is not known here
      help: the words are `strip`, `keep`
    error: sources/shop.toml:17:54: streams.plain.format.lists[1]: `a..b` has an empty step
      help: write the field's path, such as "updated_at" or "properties.time"
    "#);
}

#[test]
fn paging_through_lines_of_records() {
    let paging = "paging = { type = \"page_token\", token = \"next\", param = \"t\" }";
    insta::assert_snapshot!(with_stream(&format!("format = {{ type = \"csv\" }}\n{paging}")), @r#"
    error: sources/shop.toml:17:41: streams.plain.paging.token: a body in csv has records and nothing around them
      help: write the path of a header, such as "header.X-Next"
    "#);
    insta::assert_snapshot!(with_stream("format = { type = \"ndjson\" }\npaging = { type = \"odata\" }"), @r#"
    error: sources/shop.toml:17:19: streams.plain.paging.type: pages of this kind come in JSON, not in ndjson
      help: take another kind of paging, or format = { type = "json" }
    "#);
    for fine in ["header.X-Next", "-1.id"] {
        let lines = format!("format = {{ type = \"ndjson\" }}\n{}", paging.replace("next", fine));
        assert_eq!(with_stream(&lines), "", "{fine}");
    }
}

#[test]
fn formats_are_built() {
    let csv = |written: &str| {
        let lines = format!("primary_key = [\"id\"]\nformat = {{ type = \"csv\"{written} }}");
        let source = SOURCE.replacen("primary_key = [\"id\"]", &lines, 1);
        let loaded = Files { source, ..Files::good() }.load();
        assert_eq!(super::shown(&loaded.problems), "", "{written}");
        match &loaded.catalog.jobs.values().next().unwrap().stream.format {
            Format::Csv(csv) => format!("{csv:?}"),
            other => panic!("{other:?}"),
        }
    };
    let plain = csv("");
    assert_eq!(
        plain,
        "Csv { delimiter: 44, quote: Some(34), comment: None, columns: None, encoding: Encoding { name: \"UTF-8\", .. }, infer: true }"
    );
    let all = csv(
        ", delimiter = \"\\t\", quote = \"\", comment = \"#\", header = false, columns = [\"a b\"], encoding = \"latin1\", infer = false",
    );
    assert_eq!(
        all,
        "Csv { delimiter: 9, quote: None, comment: Some(35), columns: Some([\"a b\"]), encoding: Encoding { name: \"windows-1252\", .. }, infer: false }"
    );
    let lines = "primary_key = [\"id\"]\nrecords = \"rss.channel.item\"\nformat = { type = \"xml\", namespaces = \"keep\", lists = [\"a.b\"] }\ncompression = \"zip\"";
    let source = SOURCE.replacen("primary_key = [\"id\"]", lines, 1);
    let loaded = Files { source, ..Files::good() }.load();
    let stream = &loaded.catalog.jobs.values().next().unwrap().stream;
    let lists = vec![vec!["a".to_owned(), "b".to_owned()]];
    assert_eq!(stream.format, Format::Xml(Xml { keep_prefixes: true, lists }));
    assert_eq!(stream.packing, Packing::Zip);
}
