//! The same records in every format and packing come to the same table.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::http::{Response, StatusCode, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::{SignedDuration, Timestamp};

use crate::world::api::{Record, serve};
use crate::world::oracle::Oracle;
use crate::world::program::highwater;
use crate::world::project::{Project, job};
use crate::world::skip;

const RECORDS: usize = 60;
const NAMES: [&str; 6] = ["007", "Zürich; \"Süd\"", "true", "line\nend", "a & b <c>", "12,50 €"];

/// A record before it is written in any format.
struct Row {
    id: usize,
    at: Timestamp,
    name: Option<&'static str>,
    amount: String,
    flag: bool,
}

fn rows() -> Vec<Row> {
    let start: Timestamp = "2026-01-30T00:00:00Z".parse().unwrap();
    let row = |index: usize| Row {
        id: index + 1,
        at: start + SignedDuration::from_hours(index as i64),
        name: (index % 7 != 6).then(|| NAMES[index % 7]),
        amount: format!("{}.25", index * 3),
        flag: index.is_multiple_of(2),
    };
    (0..RECORDS).map(row).collect()
}

impl Row {
    fn json(&self) -> String {
        let (name, Row { id, at, amount, flag, .. }) = (serde_json::json!(self.name), self);
        format!("{{\"id\":{id},\"updated_at\":\"{at}\",\"name\":{name},\"amount\":{amount},\"flag\":{flag}}}")
    }

    fn csv(&self) -> String {
        let name = self.name.map_or(String::new(), |name| format!("\"{}\"", name.replace('"', "\"\"")));
        format!("{};{};{name};{};{}\r\n", self.id, self.at, self.amount, self.flag)
    }

    fn xml(&self) -> String {
        let name = self.name.map_or("<x:name/>".to_owned(), |name| match self.flag {
            true => format!("<x:name><![CDATA[{name}]]></x:name>"),
            false => format!("<x:name>{}</x:name>", name.replace('&', "&amp;").replace('<', "&lt;")),
        });
        let Row { id, at, amount, flag, .. } = self;
        format!("  <item><id>{id}</id><updated_at>{at}</updated_at>{name}<amount>{amount}</amount><flag>{flag}</flag></item>\n")
    }
}

fn xml(rows: &[Row], next: &str) -> Vec<u8> {
    let items: String = rows.iter().map(Row::xml).collect();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"windows-1252\"?>\n<feed xmlns:x=\"urn:x\" next=\"{next}\">\n<list>{items}</list></feed>\n"
    );
    encoding_rs::WINDOWS_1252.encode(&text).0.into_owned()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// An archive of one stored file.
fn zip(name: &str, text: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(text);
    let common = |signature: &[u8], before: &[u8]| {
        let numbers = [0, crc.sum(), text.len() as u32, text.len() as u32].map(u32::to_le_bytes).concat();
        [signature, before, &[20, 0, 0, 0, 0, 0], &numbers, &(name.len() as u16).to_le_bytes(), &[0; 2]].concat()
    };
    let local = [common(b"PK\x03\x04", &[]), name.as_bytes().to_vec(), text.to_vec()].concat();
    let entry = [common(b"PK\x01\x02", &[20, 3]), vec![0; 14], name.as_bytes().to_vec()].concat();
    let sizes = [entry.len() as u32, local.len() as u32].map(u32::to_le_bytes).concat();
    [local, entry, b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec(), sizes, vec![0; 2]].concat()
}

/// Bodies by path and token.
fn bodies(rows: &[Row]) -> BTreeMap<String, Vec<u8>> {
    let lines: Vec<String> = rows.iter().map(Row::json).collect();
    let json = format!("[{}]", lines.join(",\n")).into_bytes();
    let ndjson = format!("{}\n\n", lines.join("\n")).into_bytes();
    let csv = format!("id;updated_at;name;amount;flag\r\n{}", rows.iter().map(Row::csv).collect::<String>());
    let csv = encoding_rs::WINDOWS_1252.encode(&csv).0.into_owned();
    let half = rows.len() / 2;
    let bodies = [
        ("/json", json.clone()),
        ("/ndjson", ndjson.clone()),
        ("/csv", csv.clone()),
        ("/xml", xml(&rows[..half], "two")),
        ("/xml?token=two", xml(&rows[half..], "")),
        ("/gzip", gzip(&ndjson)),
        ("/zstd", zstd::encode_all(json.as_slice(), 3).unwrap()),
        ("/zip", zip("export/data.csv", &csv)),
    ];
    bodies.into_iter().map(|(path, body)| (path.to_owned(), body)).collect()
}

/// What the stream's file says of each.
const STREAMS: [(&str, &str); 7] = [
    ("json", ""),
    ("ndjson", "format = { type = \"ndjson\" }"),
    ("csv", "format = { type = \"csv\", delimiter = \";\", encoding = \"windows-1252\" }"),
    (
        "xml",
        "records = \"feed.list.item\"\nformat = { type = \"xml\" }\npaging = { type = \"page_token\", token = \"feed.@next\", param = \"token\" }",
    ),
    ("gzip", "format = { type = \"ndjson\" }"),
    ("zstd", ""),
    ("zip", "format = { type = \"csv\", delimiter = \";\", encoding = \"windows-1252\" }\ncompression = \"zip\""),
];

#[test]
fn the_same_records_in_every_format_come_to_the_same_table() {
    // C-64
    // C-65
    let rows = rows();
    let truth: Vec<Record> = rows.iter().map(|row| Record { json: row.json(), cursor: Some(row.at) }).collect();
    let bodies = bodies(&rows);
    let asked: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let log = Arc::clone(&asked);
    let (address, stop, thread) = serve(axum::Router::new().fallback(move |request: Request| {
        let (bodies, log) = (bodies.clone(), Arc::clone(&log));
        async move {
            let query = request.uri().query().unwrap_or_default();
            let token = query.split('&').find(|entry| entry.starts_with("token="));
            let path = token.map_or(request.uri().path().to_owned(), |token| format!("{}?{token}", request.uri().path()));
            let accept = request.headers()[header::ACCEPT].to_str().unwrap().to_owned();
            let mut log = log.lock().unwrap();
            let is_first = !log.iter().any(|(known, _)| *known == path);
            log.push((path.clone(), accept));
            let mut body = bodies[&path].clone();
            // Every body comes cut off at first, with a status and a length as if it were whole.
            if is_first {
                body.truncate(body.len() - 12);
            }
            Response::builder().status(StatusCode::OK).body(axum::body::Body::from(body)).unwrap()
        }
    }));
    let mut oracle = Oracle::new();
    let mut projects = Vec::new();
    for (name, lines) in STREAMS {
        let project = Project::new();
        project.write("sinks/lake.toml", "version = 1\ntype = \"parquet\"\nurl = \"lake\"\n");
        let source = format!(
            "version = 1\ntype = \"http\"\nbase_url = \"http://{address}\"\n\n[streams.items]\npath = \"/{name}\"\n{lines}\n\
             primary_key = [\"id\"]\n[streams.items.cursor]\nfield = \"updated_at\"\ntype = \"timestamp\"\nquery = {{ from = \"{{{{ from }}}}\" }}\n"
        );
        project.write("sources/api.toml", &source);
        let types = "[columns]\nid = \"int64\"\nname = \"text\"\namount = \"float64\"\nflag = \"boolean\"\n";
        project.write("jobs/items.toml", &format!("{}{types}", job("")));
        let ended = highwater(&project, &["run", "items", "--json"]).run().expect_code(0);
        let report = ended.json()[0].take();
        assert_eq!(report["counts"]["kept"].as_u64(), Some(RECORDS as u64), "{name}: {report}");
        assert_eq!(report["counts"]["rejected"].as_u64(), Some(0), "{name}: {report}");
        let lake = project.listing("lake");
        highwater(&project, &["run", "items"]).run().expect_code(0);
        assert_eq!(project.listing("lake"), lake, "{name}: the second run wrote");
        if let Some(oracle) = &mut oracle {
            oracle.expect(name, &project.at("lake/items"), &truth);
        }
        projects.push(project);
    }
    let asked = asked.lock().unwrap().clone();
    let accepted = |path: &str| asked.iter().find(|(known, _)| known == path).map(|(_, accept)| accept.as_str());
    assert_eq!(accepted("/csv"), Some("text/csv, */*;q=0.1"));
    assert_eq!(accepted("/json"), Some("application/json"));
    drop(stop);
    thread.join().unwrap();
    match oracle {
        Some(oracle) => oracle.check(),
        None => skip("the_same_records_in_every_format", "the independent readers are not installed"),
    }
}
