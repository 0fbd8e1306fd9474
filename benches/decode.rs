//! Decoding alone, beside plain arrow-json on the same pages: `decode FOLDER [TURNS]`, where FOLDER holds pages of JSON with their
//! records at `data` (`just bench-decode` makes them).
//!
//! arrow-json is told the columns and their types, and gives whatever it makes of a page; ours finds them out, page by page, on one
//! thread as well. Both must come to the same columns. They take turns, and the figure is the median of the turns' ratios.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::json::ReaderBuilder;
use bytes::Bytes;
use highwater::config::catalog::{Format, OnTypeChange, Packing};
use highwater::decode::{DecodeSpec, Decoder};
use highwater::page::{PagePosition, RawPage, ResponsePath};

type Columns = Vec<ArrayRef>;

/// What the decoder must reach of arrow-json's pace.
const AIM: f64 = 0.85;
const TURNS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    // cargo gives `--bench` to whatever it runs so.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let folder = arguments.next().ok_or("which FOLDER of pages?")?;
    let turns = arguments.next().map_or(Ok(TURNS), |turns| turns.parse())?.max(1);
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let pages: Vec<Bytes> = paths.into_iter().map(|path| std::fs::read(path).map(Bytes::from)).collect::<Result<_, _>>()?;
    let (fields, wanted) = ours(&pages, true)?;
    if theirs(&pages, &fields, true)?.1 != wanted {
        return Err("the two came to different columns".into());
    }
    let rows: usize = wanted.iter().map(|columns| columns.first().map_or(0, |column| column.len())).sum();
    drop(wanted);
    let mut taken = Vec::new();
    for _ in 0..turns {
        taken.push((time(|| ours(&pages, false).map(drop))?, time(|| theirs(&pages, &fields, false).map(drop))?));
    }
    let bytes: usize = pages.iter().map(Bytes::len).sum();
    let pace = |seconds: f64| bytes as f64 / 1e6 / seconds;
    let median = |of: &dyn Fn(&(Duration, Duration)) -> f64| {
        let mut all: Vec<f64> = taken.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let ratio = median(&|(ours, theirs)| theirs.as_secs_f64() / ours.as_secs_f64());
    println!("{} pages, {rows} rows, {:.1} MB, {turns} turns", pages.len(), bytes as f64 / 1e6);
    println!("ours, types not known   {:6.0} MB/s", pace(median(&|(ours, _)| ours.as_secs_f64())));
    println!("arrow-json, types told  {:6.0} MB/s", pace(median(&|(_, theirs)| theirs.as_secs_f64())));
    println!("ours / arrow-json       {ratio:6.2} ({AIM} is the aim)");
    if ratio < AIM { Err("below the aim".into()) } else { Ok(()) }
}

#[expect(clippy::disallowed_methods, reason = "the machine's own time is what is measured")]
fn time(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// The columns' types as they stand after the last page, and each page's columns where they are to be kept.
fn ours(pages: &[Bytes], keep: bool) -> Result<(Fields, Vec<Columns>), Box<dyn Error>> {
    let spec = DecodeSpec {
        packing: Packing::Auto,
        format: Format::Json,
        body_max: 64 << 20,
        records: ResponsePath::parse("data")?,
        records_optional: false,
        one_record: false,
        declared: Default::default(),
        cursor: None,
        keep_keys: false,
        deleted: None,
        deleted_is: Vec::new(),
        key: vec!["id".to_owned()],
        wanted: Vec::new(),
        on_type_change: OnTypeChange::NewColumn,
    };
    let mut decoder = Decoder::new(spec, None)?;
    let (mut fields, mut kept) = (Fields::empty(), Vec::new());
    for (index, body) in (0..).zip(pages) {
        let position = PagePosition { index, ..PagePosition::start() };
        let page = RawPage { position, status: 200, body: body.clone(), ..RawPage::nothing() };
        let rows: RecordBatch = decoder.decode(&page)?.rows;
        fields = rows.schema().fields().clone();
        if keep {
            kept.push(rows.columns().to_vec());
        }
    }
    Ok((fields, kept))
}

/// Each page is one document with a list of structs in it.
fn theirs(pages: &[Bytes], fields: &Fields, keep: bool) -> Result<(Fields, Vec<Columns>), Box<dyn Error>> {
    let records = Field::new_list_field(DataType::Struct(fields.clone()), true);
    let schema = Schema::new(vec![Field::new("data", DataType::List(Arc::new(records)), true)]);
    let mut decoder = ReaderBuilder::new(Arc::new(schema)).build_decoder()?;
    let mut kept = Vec::new();
    for body in pages {
        let mut rest = body.as_ref();
        while !rest.is_empty() {
            let taken = decoder.decode(rest)?;
            rest = &rest[taken..];
        }
        let page = decoder.flush()?.ok_or("a page without a document")?;
        let columns = page.column(0).as_list::<i32>().values().as_struct().columns().to_vec();
        if keep {
            kept.push(columns);
        }
    }
    Ok((fields.clone(), kept))
}
