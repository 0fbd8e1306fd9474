//! One page of what a request asks for, and the way to the next.

use serde_json::{Value, json};

use super::description::{AtEnd, Cap, Cut, Filter, In, Keeps, Kind, Order, Paging, Stream, UrlForm};
use super::records::{self, Row, get, put, written};
use super::{Inner, answer::Ask, answer::Reply};

/// A place in a reading: what it began with, and how far it is.
pub struct Token {
    pub stream: String,
    rows: Vec<Row>,
    start: usize,
    size: usize,
}

/// What one request gets of the records that it asks for.
struct Cutting {
    rows: Vec<Row>,
    start: usize,
    size: usize,
}

/// The number of the token that a request brings, if it is one of ours.
pub fn token(inner: &Inner, paging: &Paging, ask: &Ask) -> Option<usize> {
    let text = sent(paging, ask)?;
    text.strip_prefix("at-")?.parse().ok().filter(|number| *number < inner.tokens.len())
}

fn sent(paging: &Paging, ask: &Ask) -> Option<String> {
    match paging.kind {
        Kind::Graphql => ask.entry(In::Json, &format!("variables.{}", paging.variable.as_ref()?)),
        Kind::NextUrl => match &paging.next_path {
            Some(path) => ask.path.strip_prefix(path.split('{').next()?).map(str::to_owned),
            None => ask.query.get("_token").cloned(),
        },
        Kind::Token | Kind::Keyset => ask.entry(paging.place.unwrap_or(In::Query), paging.param.as_ref()?),
        _ => None,
    }
}

/// Answers a request for a stream whose `require` it fulfils.
pub fn page(inner: &mut Inner, name: &str, ask: &Ask) -> Reply {
    let stream = &inner.description.streams[name];
    let paging = &stream.paging;
    let asked = paging.size_param.as_ref().and_then(|param| ask.entry(paging.size_in.unwrap_or(In::Query), param));
    let asked = asked.map_or(paging.size_default, |text| Some(text.parse().expect("a page's size is a number")));
    let size = asked.unwrap_or(usize::MAX).min(paging.size_max.unwrap_or(usize::MAX));
    let size = if paging.kind == Kind::None { usize::MAX } else { size.min(inner.page_max) };
    let mut cutting = match token(inner, paging, ask) {
        Some(number) if paging.at_end == Some(AtEnd::Again) => {
            // An export goes on behind what it has told: what changed since comes, too.
            let told = inner.tokens[number].rows.last().and_then(|row| row.at);
            let rows = found(inner, name, ask).into_iter().filter(|row| row.at > told).collect();
            Cutting { rows, start: 0, size }
        }
        Some(number) => {
            let Token { rows, start, size, .. } = &inner.tokens[number];
            Cutting { rows: rows.clone(), start: *start, size: *size }
        }
        None => Cutting { rows: found(inner, name, ask), start: 0, size },
    };
    let number = |param: &Option<String>, first: usize| {
        let text = param.as_ref().and_then(|param| ask.query.get(param));
        text.map_or(0, |text| text.parse::<usize>().expect("a page is a number").checked_sub(first).expect("pages begin later"))
    };
    match (paging.kind, sent(paging, ask)) {
        (Kind::Page | Kind::LinkHeader, _) => cutting.start = number(&paging.param, paging.start.unwrap_or(1)) * size,
        (Kind::Offset, _) => cutting.start = number(&paging.param, paging.start.unwrap_or(0)),
        (Kind::Keyset, Some(last)) => {
            let at = cutting.rows.iter().position(|row| get(&row.value, &stream.id.field).is_some_and(|id| text(id) == last));
            let Some(at) = at else { return Reply::wrong(&format!("there is no {last}")) };
            cutting.start = at + 1;
        }
        (Kind::Token, sent) if paging.first.is_some() && sent.is_none() => return Reply::wrong("the first token is missing"),
        (Kind::Token | Kind::NextUrl | Kind::Graphql, Some(sent))
            if !sent.is_empty() && Some(&sent) != paging.first.as_ref() && token(inner, paging, ask).is_none() =>
        {
            return Reply::wrong(&format!("no token is called {sent}"));
        }
        _ => {}
    }
    let total = cutting.rows.len();
    if let Some(Cap { records, status, body }) = &stream.cap {
        if let (Some(status), true) = (status, cutting.start >= *records) {
            return Reply::new(*status, body.clone().unwrap_or_default());
        }
        cutting.rows.truncate(*records);
    }
    let start = cutting.start.min(cutting.rows.len());
    let end = start.saturating_add(cutting.size).min(cutting.rows.len());
    if let (true, true, Some(end)) = (start == end, cutting.start > 0, &paging.past_end) {
        return Reply::of(end);
    }
    let items: Vec<Value> = cutting.rows[start..end].iter().map(|row| row.value.clone()).collect();
    let count = items.len();
    let mut body: Value = stream.envelope.as_ref().map_or_else(|| json!({}), |text| serde_json::from_str(text).unwrap());
    match stream.records.as_str() {
        "" => body = items.into(),
        path => put(&mut body, path, items.into()),
    }
    let mut reply = Reply { status: 200, headers: stream.headers.clone().into_iter().collect(), body: String::new() };
    let more = end < cutting.rows.len();
    let told = [
        (&paging.more, json!(more)),
        (&paging.last, json!(!more)),
        (&paging.total, json!(total)),
        (&paging.total_pages, json!(total.div_ceil(cutting.size.max(1)))),
        (&paging.count, json!(count)),
    ];
    for (path, value) in told {
        match path.as_ref().map(|path| (path, path.strip_prefix("header."))) {
            Some((_, Some(header))) => reply.headers.push((header.to_owned(), text(&value))),
            Some((path, None)) => put(&mut body, path, value),
            None => {}
        }
    }
    let last_token = sent(paging, ask);
    let again = paging.at_end == Some(AtEnd::Again);
    let next = Token { stream: name.to_owned(), rows: cutting.rows, start: end, size: cutting.size };
    lead_on(inner, ask, next, Way { more, again, count, last_token }, &mut body, &mut reply);
    reply.body = body.to_string();
    reply
}

/// What is known of the way behind a page.
struct Way {
    more: bool,
    again: bool,
    count: usize,
    last_token: Option<String>,
}

/// Says where the next page is, if there is one.
fn lead_on(inner: &mut Inner, ask: &Ask, mut next: Token, way: Way, body: &mut Value, reply: &mut Reply) {
    let new = format!("at-{}", inner.tokens.len());
    let Inner { description, tokens, .. } = inner;
    let paging = &description.streams[&next.stream].paging;
    let at_end = match paging.at_end {
        Some(AtEnd::Null) => Some(Value::Null),
        Some(AtEnd::Empty) => Some("".into()),
        _ => None,
    };
    let (path, value) = match paging.kind {
        Kind::Token if way.again && way.count == 0 => (&paging.token, way.last_token.map(Value::from)),
        Kind::Token if way.again || way.more || paging.at_end == Some(AtEnd::Same) => {
            if way.again {
                next.rows.truncate(next.start);
            }
            tokens.push(next);
            (&paging.token, Some(new.into()))
        }
        Kind::Token => (&paging.token, at_end),
        Kind::NextUrl if way.more => {
            tokens.push(next);
            let place = match &paging.next_path {
                Some(path) => path.replace("{token}", &new),
                None => ask.with("_token", &new),
            };
            let host = if paging.form == Some(UrlForm::Path) { "" } else { &ask.host };
            (&paging.url, Some(format!("{host}{place}").into()))
        }
        Kind::NextUrl => (&paging.url, at_end),
        Kind::LinkHeader if way.more => {
            let place = ask.with(paging.param.as_ref().unwrap(), &(next.start / next.size + 1).to_string());
            reply.headers.push(("Link".to_owned(), format!("<{}{place}>; rel=\"next\"", ask.host)));
            return;
        }
        Kind::Graphql => {
            let end = (way.count > 0).then_some(new);
            tokens.push(next);
            let info = json!({ "hasNextPage": way.more, "endCursor": end });
            put(body, &format!("{}.pageInfo", paging.connection.as_ref().unwrap()), info);
            return;
        }
        _ => return,
    };
    if let Some(value) = value {
        put(body, path.as_ref().unwrap(), value);
    }
}

/// The records that a request asks for, in the stream's order.
pub fn found(inner: &Inner, name: &str, ask: &Ask) -> Vec<Row> {
    let stream = &inner.description.streams[name];
    let is_under = |row: &Row| {
        let Some(parent) = &stream.parent else { return true };
        let id = &inner.description.streams[&parent.stream].id.field;
        let segment = ask.segment(&stream.path, &parent.segment).unwrap();
        row.under.as_ref().and_then(|above| get(above, id)).is_some_and(|id| text(id) == segment)
    };
    let mut rows: Vec<Row> = inner.rows[name].iter().filter(|row| is_under(row) && keeps(stream, row, ask)).cloned().collect();
    match stream.order {
        Order::Id => {}
        Order::Ascending => rows.sort_by_key(|row| row.at),
        Order::Descending => rows.sort_by_key(|row| std::cmp::Reverse(row.at)),
    }
    rows
}

fn keeps(stream: &Stream, row: &Row, ask: &Ask) -> bool {
    stream.filters.iter().all(|filter| {
        let Some(bound) = bound(filter, ask) else { return true };
        let at = row.at.expect("what is filtered has a cursor");
        match filter.keeps {
            Keeps::AtOrAfter => at >= bound,
            Keeps::After => at > bound,
            Keeps::AtOrBefore => at <= bound,
            Keeps::Before => at < bound,
        }
    })
}

fn bound(filter: &Filter, ask: &Ask) -> Option<jiff::Timestamp> {
    let mut value = ask.entry(filter.place, &filter.name)?;
    if let Some(pattern) = &filter.pattern {
        let (before, after) = pattern.split_once("{}").expect("a pattern marks its value");
        let rest = &value[value.find(before)? + before.len()..];
        let end = match after {
            "" => rest.find([' ', '\'', '"', ',', '(', ')', '[', ']']).unwrap_or(rest.len()),
            after => rest.find(after)?,
        };
        value = rest[..end].to_owned();
    }
    if ["", "*", "0"].contains(&value.as_str()) {
        return None;
    }
    let bound = records::read(&value, &filter.form);
    Some(match filter.cut {
        Some(Cut::Day) => records::read(&written(bound, "date"), "date"),
        None => bound,
    })
}

/// A value as it stands in an address.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
