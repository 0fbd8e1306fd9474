//! Exports: made by one request, looked at by others, fetched page by page as CSV.

use serde_json::Value;

use super::Inner;
use super::answer::{Ask, Reply};
use super::description::{Export, In, Stream};
use super::pages::{found, text};
use super::records::{Row, fill, put};

/// An export that was asked for.
pub struct Made {
    stream: String,
    rows: Vec<Row>,
    /// How often somebody looked at it.
    looks: usize,
    is_gone: bool,
}

/// What a request wants of an export.
pub enum Wish {
    Create,
    Look(Option<usize>),
    Delete(Option<usize>),
    Fetch(Option<usize>),
}

/// The stream whose export a request is about, and what it wants. An error says what it lacks.
pub fn wish(inner: &Inner, ask: &Ask) -> Option<Result<(String, Wish), String>> {
    let mut lacks = None;
    for (name, stream) in &inner.description.streams {
        let Some(export) = &stream.export else { continue };
        let number = |pattern: &str| {
            let id = ask.segment(pattern, "job")?;
            inner
                .exports
                .iter()
                .enumerate()
                .find(|(number, made)| !made.is_gone && id_of(export, *number) == id)
                .map(|(at, _)| at)
        };
        match ask.method.as_str() {
            "POST" if ask.path == export.create => match ask.fulfils(&stream.require) {
                Ok(_) => return Some(Ok((name.clone(), Wish::Create))),
                Err(why) => lacks = Some(Err(format!("{name} needs {why}"))),
            },
            "GET" if ask.is_at(&export.poll) => return Some(Ok((name.clone(), Wish::Look(number(&export.poll))))),
            "DELETE" if ask.is_at(&export.poll) => return Some(Ok((name.clone(), Wish::Delete(number(&export.poll))))),
            "GET" if ask.is_at(&stream.path) => return Some(Ok((name.clone(), Wish::Fetch(number(&stream.path))))),
            _ => {}
        }
    }
    lacks
}

pub fn answer(inner: &mut Inner, name: &str, wish: &Wish, ask: &Ask) -> Reply {
    let export = inner.description.streams[name].export.as_ref().unwrap();
    match wish {
        Wish::Create => {
            let rows = found(inner, name, ask);
            let number = inner.exports.len();
            let reply = told(export, number, 0);
            inner.exports.push(Made { stream: name.to_owned(), rows, looks: 0, is_gone: false });
            reply
        }
        Wish::Look(Some(number)) => {
            let held = inner.exports_held;
            let made = &mut inner.exports[*number];
            made.looks = if held { 1 } else { made.looks + 1 };
            told(export, *number, made.looks)
        }
        Wish::Delete(Some(number)) => {
            inner.exports[*number].is_gone = true;
            Reply::new(204, String::new())
        }
        Wish::Fetch(Some(number)) => {
            fetched(&inner.description.streams[name], export, &inner.exports[*number], ask, inner.page_max)
        }
        Wish::Look(None) | Wish::Delete(None) | Wish::Fetch(None) => Reply::of(&export.unknown),
    }
}

fn id_of(export: &Export, number: usize) -> String {
    text(&fill(&export.id.form, number + 1))
}

fn told(export: &Export, number: usize, looks: usize) -> Reply {
    let mut body: Value = serde_json::from_str(&export.answer).unwrap();
    put(&mut body, &export.id.field, id_of(export, number).into());
    let word = export.words.get(looks).or(export.words.last()).unwrap();
    put(&mut body, &export.state, word.as_str().into());
    Reply::new(200, body.to_string())
}

fn fetched(stream: &Stream, export: &Export, made: &Made, ask: &Ask, page_max: usize) -> Reply {
    if made.looks + 1 < export.words.len() {
        return Reply::wrong("the export is not done");
    }
    let paging = &stream.paging;
    let entry = |param: &Option<String>| param.as_ref().and_then(|param| ask.entry(In::Query, param));
    let start = entry(&paging.param).map_or(0, |token| token.strip_prefix("at-").unwrap().parse().unwrap());
    let size = entry(&paging.size_param).map_or(usize::MAX, |size| size.parse().unwrap()).min(page_max);
    let end = (start + size).min(made.rows.len());
    let sample: Value = serde_json::from_str(&stream.sample).unwrap();
    let columns: Vec<&String> = sample.as_object().unwrap().keys().collect();
    let mut body = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",") + "\n";
    for row in &made.rows[start..end] {
        let cells = columns.iter().map(|name| match &row.value[name.as_str()] {
            Value::Null => String::new(),
            value => quoted(&text(value)),
        });
        body.push_str(&(cells.collect::<Vec<_>>().join(",") + "\n"));
    }
    let mut reply = Reply::new(200, body);
    let header = |path: &Option<String>| path.as_ref().and_then(|path| path.strip_prefix("header.")).unwrap().to_owned();
    let next = if end < made.rows.len() { format!("at-{end}") } else { "null".to_owned() };
    reply.headers.push((header(&paging.token), next));
    reply.headers.push((header(&paging.count), (end - start).to_string()));
    reply
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

impl Made {
    pub fn stream(&self) -> &str {
        &self.stream
    }
}
