//! Walks a file's spanned tree along its shape and reports everything that does not fit, where serde would stop at the first.

use std::ops::Range;

use jiff::{Timestamp, civil};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::template::{DEPTH_MAX, JsonTemplate, Template};

use super::kinds::Kind;
use super::node::{Node, Start, Table, Value, join_key};
use super::problem::{Place, Report, nearest, quote};
use super::secret::{SecretRef, SecretString};
use super::shape::{Choice, Literal, Shape, TableShape, Tagged};

/// A file with one mistake in a bracket yields many syntax errors; the first ones are the useful ones.
const SYNTAX_ERRORS_MAX: usize = 10;
/// Longest list and largest table that a file may hold.
const ITEMS_MAX: usize = 10_000;

/// What other tools call a key, and what it is called here.
const CALLED_ELSEWHERE: &[(&str, &str)] = &[
    ("pagination", "paging"),
    ("paginator", "paging"),
    ("params", "query"),
    ("parameters", "query"),
    ("endpoint", "path"),
    ("url", "base_url"),
    ("data_selector", "records"),
    ("records_path", "records"),
    ("incremental", "cursor"),
    ("cursor_field", "cursor"),
    ("authentication", "auth"),
    ("rate_limit", "limits"),
    ("write_disposition", "mode"),
    ("cron", "schedule"),
    ("destination", "sink"),
    ("header", "name"),
    ("key", "value"),
];

/// The same for words.
const WORDS_ELSEWHERE: &[(&str, &str)] = &[
    ("cursor", "page_token"),
    ("page_number", "page"),
    ("page_increment", "page"),
    ("offset_limit", "offset"),
    ("offset_increment", "offset"),
    ("limit_offset", "offset"),
    ("link", "link_header"),
    ("header_link", "link_header"),
    ("token", "bearer"),
    ("bearer_token", "bearer"),
    ("api_token", "api_key"),
    ("datetime", "timestamp"),
    ("iso8601", "timestamp"),
    ("unix", "epoch_s"),
    ("epoch", "epoch_s"),
    ("epoch_seconds", "epoch_s"),
    ("epoch_milliseconds", "epoch_ms"),
    ("upsert", "merge"),
    ("overwrite", "replace"),
    ("full_refresh", "replace"),
    ("rest", "http"),
];

/// What is meant by a word that is not known: as another tool has it, or misspelt; else the known ones.
fn meant<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone, kind: &str) -> String {
    let plain = word.to_ascii_lowercase().replace([' ', '-'], "_");
    let here = WORDS_ELSEWHERE.iter().find(|(other, ours)| *other == plain && known.clone().any(|word| word == *ours));
    here.map_or_else(|| nearest(word, known, kind), |(_, ours)| format!("it is called `{ours}` here"))
}

/// The variable's name in a text as a shell has it: `$NAME` or `${NAME}`. Names alone: whatever else begins so may be a secret.
fn shell_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    let is_name = name.starts_with(|sign: char| sign.is_ascii_uppercase()) && name.len() <= 64;
    (is_name && name.chars().all(|sign| sign.is_ascii_uppercase() || sign.is_ascii_digit() || sign == '_')).then_some(name)
}

/// Reads a file's text. `None` if it is not TOML; everything else is in the tree or reported.
pub(super) fn walk(text: &str, shape: &'static TableShape, report: &mut Report) -> Option<Table> {
    let lines = Lines::new(text);
    let (tree, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(SYNTAX_ERRORS_MAX) {
        let place = error.span().map(|span| lines.place(span.start, String::new())).unwrap_or_default();
        report.error(&place, syntax_message(error.message()), syntax_help(error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    let mut walker = Walker { lines, report };
    let start = Place { line: 1, column: 1, key: String::new() };
    Some(walker.table(tree.get_ref(), start, shape))
}

fn syntax_message(message: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    format!("not TOML: {}", message.strip_suffix(", expected nothing").unwrap_or(&message))
}

fn syntax_help(message: &str) -> &'static str {
    match message.trim() {
        "duplicate key" => "a key stands once in a table, and a heading once in a file: keep one of them",
        message if message.starts_with("string values must be quoted") => "write texts in quotes: name = \"text\"",
        message if message.starts_with("key with no value") => "write name = value",
        _ => "",
    }
}

/// Where lines begin, to turn a byte offset into line and column.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Lines { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    pub(super) fn place(&self, offset: usize, key: String) -> Place {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let before = self.text.get(self.starts[line - 1]..offset).unwrap_or("");
        Place { line, column: before.chars().count() + 1, key }
    }
}

struct Walker<'a, 'r> {
    lines: Lines<'a>,
    report: &'r mut Report,
}

impl Walker<'_, '_> {
    fn place(&self, span: Range<usize>, key: String) -> Place {
        self.lines.place(span.start, key)
    }

    fn table(&mut self, tree: &DeTable<'_>, at: Place, shape: &'static TableShape) -> Table {
        self.table_beside(tree, at, shape, None)
    }

    /// `read_already` is a key that was looked at before the shape was known.
    fn table_beside(&mut self, tree: &DeTable<'_>, at: Place, shape: &'static TableShape, read_already: Option<&str>) -> Table {
        let mut table = Table { at, entries: Vec::new() };
        for (key, value) in in_file_order(tree) {
            let name = key.get_ref().as_ref();
            if read_already == Some(name) {
                continue;
            }
            let path = join_key(&table.at.key, name);
            match shape.key(name) {
                Some(known) => {
                    let node = self.value(value, path, known.shape);
                    table.entries.push((name.to_owned(), node));
                }
                None => self.refuse_key(name, self.place(key.span(), path), shape),
            }
        }
        for key in shape.keys.iter().filter(|key| key.required && !table.has(key.name)) {
            let place = table.place_of_missing(key.name);
            self.report.error(&place, format!("`{}` is missing", key.name), help_for_missing(key.name, key.shape));
        }
        if shape.exactly_one {
            self.check_exactly_one(tree, &table, shape);
        }
        table
    }

    fn refuse_key(&mut self, name: &str, place: Place, shape: &TableShape) {
        let keys = || shape.keys.iter().map(|key| key.name);
        let here = CALLED_ELSEWHERE.iter().find(|(other, ours)| *other == name && keys().any(|key| key == *ours));
        let help = here.map(|(_, ours)| format!("it is called `{ours}` here"));
        self.report.error(&place, "unknown key", help.unwrap_or_else(|| nearest(name, keys(), "keys here")));
    }

    fn check_exactly_one(&mut self, tree: &DeTable<'_>, table: &Table, shape: &TableShape) {
        // An unknown key is reported by itself; what it should have been counts here.
        if tree.len() == 1 {
            return;
        }
        let names: Vec<String> = shape.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        let message = if tree.is_empty() { "the entry is empty" } else { "the entry has more than one key" };
        self.report.error(&table.at, message, format!("write exactly one of {}", names.join(", ")));
    }

    fn value(&mut self, spanned: &Spanned<DeValue<'_>>, key: String, shape: Shape) -> Node {
        let at = self.place(spanned.span(), key);
        let value = self.read(spanned.get_ref(), &at, shape).unwrap_or(Value::Bad);
        Node { at, value }
    }

    /// `None` if it was reported.
    fn read(&mut self, value: &DeValue<'_>, at: &Place, shape: Shape) -> Option<Value> {
        match (shape, value) {
            (Shape::Version, DeValue::Integer(_)) if integer(value) == Some(1) => Some(Value::Integer(1)),
            (Shape::Version, _) => self.refuse(at, "this is not a version that this program knows", "write `version = 1`"),
            (Shape::Text(kind), DeValue::String(text)) => self.read_text(text, at, kind),
            (Shape::Choice(choice), DeValue::String(word)) => self.read_choice(word, at, choice),
            (Shape::Integer(min, max), DeValue::Integer(digits)) => match integer(value) {
                Some(number) if (min..=max).contains(&number) => Some(Value::Integer(number)),
                _ => self.refuse(at, format!("{} is out of range", quote(&digits.to_string())), range_help(min, max)),
            },
            (Shape::Boolean, DeValue::Boolean(value)) => Some(Value::Boolean(*value)),
            (Shape::Scalar, _) if scalar_text(value).is_some() => scalar_text(value).map(Value::Text),
            (Shape::ScalarTemplate, _) if scalar_text(value).is_some() => {
                self.read_text(&scalar_text(value).unwrap_or_default(), at, Kind::Template)
            }
            (Shape::JsonTemplate, _) => self.read_json(value, at, DEPTH_MAX).map(Value::Json),
            (Shape::Start, _) => self.read_start(value, at),
            (Shape::Lookback, DeValue::String(text)) => self.read_text(text, at, Kind::Duration),
            (Shape::Lookback, DeValue::Integer(_)) => self.read(value, at, Shape::Integer(0, i64::MAX)),
            (Shape::Secret(literal), _) => self.read_secret(value, at, literal),
            (Shape::StorageValue, DeValue::Table(_)) => self.read_secret(value, at, Literal::Warned),
            (Shape::StorageValue, _) if scalar_text(value).is_some() => scalar_text(value).map(Value::Text),
            (Shape::List(item), DeValue::Array(items)) => {
                self.check_count(items.len(), at)?;
                let numbered = items.iter().enumerate();
                Some(Value::List(
                    numbered.map(|(index, one)| self.value(one, format!("{}[{}]", at.key, index + 1), *item)).collect(),
                ))
            }
            (Shape::Map(kind, item), DeValue::Table(entries)) => self.read_map(entries, at, kind, *item),
            (Shape::Table(shape), DeValue::Table(entries)) => Some(Value::Table(self.table(entries, at.clone(), shape))),
            (Shape::Tagged(tagged), DeValue::Table(entries)) => self.read_tagged(entries, at, tagged),
            (_, found) => self.refuse(
                at,
                format!("expected {}, found {}", expected(shape), type_name(found)),
                help_for_type(at, shape, found),
            ),
        }
    }

    fn refuse<T>(&mut self, at: &Place, message: impl Into<String>, help: impl Into<String>) -> Option<T> {
        self.report.error(at, message, help);
        None
    }

    fn read_text(&mut self, text: &str, at: &Place, kind: Kind) -> Option<Value> {
        match kind.read(text) {
            Ok(Value::Template(template)) => {
                Some(Value::Template(template.read_from(&format!("{}:{}", self.report.file, at.line))))
            }
            Ok(value) => Some(value),
            Err(wrong) => self.refuse(at, wrong.message, wrong.help),
        }
    }

    fn read_choice(&mut self, word: &str, at: &Place, choice: &Choice) -> Option<Value> {
        if choice.words.contains(&word) {
            return Some(Value::Text(word.to_owned()));
        }
        if choice.later.contains(&word) {
            return self.refuse(at, format!("`{word}` is not built yet"), now_help(choice.words.iter().copied()));
        }
        self.refuse(at, format!("{} is not known here", quote(word)), meant(word, choice.words.iter().copied(), "words"))
    }

    /// A body of JSON, with templates for its texts.
    fn read_json(&mut self, value: &DeValue<'_>, at: &Place, depth: usize) -> Option<JsonTemplate> {
        if depth == 0 {
            return self.refuse(at, "the value is nested too deeply", "write a flatter one");
        }
        match value {
            DeValue::String(text) => match self.read_text(text, at, Kind::Template)? {
                Value::Template(template) => Some(JsonTemplate::Text(template)),
                _ => None,
            },
            DeValue::Boolean(value) => Some(JsonTemplate::Boolean(*value)),
            DeValue::Integer(_) | DeValue::Float(_) => match scalar_text(value).and_then(|text| text.parse().ok()) {
                Some(number) => Some(JsonTemplate::Number(number)),
                None => self.refuse(at, "this is no number that JSON has", "write it in quotes"),
            },
            DeValue::Datetime(moment) => Template::parse(moment.to_string()).ok().map(JsonTemplate::Text),
            DeValue::Array(items) => {
                self.check_count(items.len(), at)?;
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let place = self.place(item.span(), format!("{}[{}]", at.key, index + 1));
                    list.push(self.read_json(item.get_ref(), &place, depth - 1));
                }
                // Only now: every problem is reported, not just the first.
                list.into_iter().collect::<Option<_>>().map(JsonTemplate::List)
            }
            DeValue::Table(entries) => {
                self.check_count(entries.len(), at)?;
                let mut object = Vec::with_capacity(entries.len());
                for (key, value) in in_file_order(entries) {
                    let place = self.place(value.span(), join_key(&at.key, key.get_ref()));
                    let value = self.read_json(value.get_ref(), &place, depth - 1);
                    object.push(value.map(|value| (key.get_ref().to_string(), value)));
                }
                object.into_iter().collect::<Option<_>>().map(JsonTemplate::Object)
            }
        }
    }

    fn read_start(&mut self, value: &DeValue<'_>, at: &Place) -> Option<Value> {
        if let Some(number) = integer(value) {
            return Some(Value::Start(Start::Integer(number)));
        }
        let text = match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Datetime(datetime) => datetime.to_string(),
            _ => String::new(),
        };
        let instant = text.parse::<Timestamp>().ok().map(Start::Instant);
        // A civil date would also be read from the front of a longer text.
        let day = || text.parse::<civil::Date>().ok().filter(|day| day.to_string() == text).map(Start::Day);
        let help = "write an instant with its zone, such as \"2019-01-01T00:00:00Z\", or a day, such as \"2019-01-01\"";
        match (instant.or_else(day), text.as_str()) {
            (Some(start), _) => Some(Value::Start(start)),
            (None, "") => self.refuse(at, format!("expected a timestamp, found {}", type_name(value)), help),
            (None, text) => self.refuse(at, format!("{} is not a timestamp", quote(text)), help),
        }
    }

    /// Never quotes a value: where a reference is expected, a text may be the secret itself.
    fn read_secret(&mut self, value: &DeValue<'_>, at: &Place, literal: Literal) -> Option<Value> {
        let help = "write a reference: { env = \"NAME\" }, { file = \"path\" } or { credential = \"name\" }";
        let entries = match value {
            DeValue::Table(entries) => entries,
            DeValue::String(text) if text.is_empty() && literal != Literal::EmptyFine => {
                return self.refuse(at, "the secret is empty", help);
            }
            DeValue::String(text) if text.is_empty() => return Some(Value::Secret(SecretRef::Literal(SecretString::default()))),
            DeValue::String(text) => {
                if let (Literal::Warned | Literal::EmptyFine, Some(name)) = (literal, shell_name(text)) {
                    let help = format!("write {{ env = \"{name}\" }}");
                    return self.refuse(at, "nothing takes the place of a name that begins with `$`", help);
                }
                if literal != Literal::Fine {
                    self.report.warning(at, "a secret is written out in the file", help);
                }
                return Some(Value::Secret(SecretRef::Literal(SecretString::from(text.as_ref()))));
            }
            other => return self.refuse(at, format!("expected a reference to a secret, found {}", type_name(other)), help),
        };
        let only = in_file_order(entries);
        let [(key, reference)] = only.as_slice() else {
            return self.refuse(at, "a reference to a secret has exactly one key", help);
        };
        let name = key.get_ref().as_ref();
        let path = join_key(&at.key, name);
        let kind = match name {
            "env" => Kind::EnvName,
            "file" => Kind::Words,
            "credential" => Kind::FileName,
            _ => {
                let place = self.place(key.span(), path);
                return self.refuse(&place, "unknown key", nearest(name, ["env", "file", "credential"], "keys here"));
            }
        };
        match self.value(reference, path, Shape::Text(kind)).value {
            Value::Text(text) => Some(Value::Secret(match name {
                "env" => SecretRef::Env(text),
                "file" => SecretRef::File(text.into()),
                _ => SecretRef::Credential(text),
            })),
            _ => None,
        }
    }

    fn read_map(&mut self, entries: &DeTable<'_>, at: &Place, kind: Kind, item: Shape) -> Option<Value> {
        self.check_count(entries.len(), at)?;
        let mut table = Table { at: at.clone(), entries: Vec::new() };
        for (key, value) in in_file_order(entries) {
            let path = join_key(&at.key, key.get_ref());
            let name = match kind.read(key.get_ref()) {
                Ok(Value::Text(text)) => text,
                Ok(_) => key.get_ref().to_string(),
                Err(wrong) => {
                    let place = self.place(key.span(), path);
                    self.report.error(&place, wrong.message, wrong.help);
                    continue;
                }
            };
            let node = self.value(value, path, item);
            // `a.b` and `"a"."b"` are different keys of TOML and may be one path.
            if table.has(&name) {
                self.report.error(&node.at, format!("{} is given twice", quote(&name)), "keep one of them");
                continue;
            }
            table.entries.push((name, node));
        }
        Some(Value::Table(table))
    }

    fn read_tagged(&mut self, entries: &DeTable<'_>, at: &Place, tagged: &Tagged) -> Option<Value> {
        let names = || tagged.variants.iter().map(|variant| variant.name);
        let Some((_, tag)) = entries.iter().find(|(key, _)| key.get_ref() == "type") else {
            return self.refuse(at, "`type` is missing", now_help(names()));
        };
        let tag_at = self.place(tag.span(), join_key(&at.key, "type"));
        let DeValue::String(word) = tag.get_ref() else {
            return self.refuse(&tag_at, format!("expected text, found {}", type_name(tag.get_ref())), now_help(names()));
        };
        let Some(variant) = tagged.variant(word) else {
            if tagged.later.contains(&word.as_ref()) {
                return self.refuse(&tag_at, format!("`{word}` is not built yet"), now_help(names()));
            }
            return self.refuse(&tag_at, format!("{} is not known here", quote(word)), meant(word, names(), "types"));
        };
        let mut table = self.table_beside(entries, at.clone(), &variant.table, Some("type"));
        table.entries.push(("type".to_owned(), Node { at: tag_at, value: Value::Text(word.to_string()) }));
        Some(Value::Table(table))
    }

    fn check_count(&mut self, count: usize, at: &Place) -> Option<()> {
        match count <= ITEMS_MAX {
            true => Some(()),
            false => self.refuse(at, format!("there are more than {ITEMS_MAX} entries"), "split it"),
        }
    }
}

fn in_file_order<'t, 'i>(tree: &'t DeTable<'i>) -> Vec<(&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = tree.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let digits = value.as_integer()?;
    i64::from_str_radix(digits.as_str(), digits.radix()).ok()
}

/// Text, number or boolean as the text that is sent; numbers keep their digits.
fn scalar_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Float(digits) if digits.as_str().parse::<f64>().is_ok_and(f64::is_finite) => Some(digits.as_str().to_owned()),
        _ => integer(value).map(|number| number.to_string()),
    }
}

fn expected(shape: Shape) -> &'static str {
    match shape {
        Shape::Version | Shape::Integer(..) => "a whole number",
        Shape::Text(Kind::Duration) => "a duration in quotes",
        Shape::Text(Kind::Size) => "a size in quotes",
        Shape::Text(Kind::Rate | Kind::PointRate) => "a rate in quotes",
        Shape::Text(Kind::Percent) => "a percentage in quotes",
        Shape::Text(_) | Shape::Choice(_) => "text",
        Shape::Boolean => "true or false",
        Shape::Scalar | Shape::ScalarTemplate => "text, a number or a boolean",
        Shape::JsonTemplate => "text, a number, a boolean, a list or a table",
        Shape::Start => "a timestamp",
        Shape::Lookback => "a duration or a whole number",
        Shape::Secret(_) => "a reference to a secret",
        Shape::StorageValue => "text, a number, a boolean or a reference to a secret",
        Shape::List(_) => "a list",
        Shape::Map(..) | Shape::Table(_) | Shape::Tagged(_) => "a table",
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn help_for_type(at: &Place, shape: Shape, found: &DeValue<'_>) -> String {
    match (shape, found) {
        (Shape::Text(Kind::ResponsePath | Kind::BodyPath | Kind::FieldPath), DeValue::Array(_)) => {
            "write one path, its steps parted by dots, such as \"data.items\"".to_owned()
        }
        (Shape::Text(_) | Shape::Choice(_) | Shape::Scalar | Shape::ScalarTemplate, DeValue::Array(_)) => {
            "write one value, without brackets".to_owned()
        }
        (Shape::Table(_) | Shape::Map(..) | Shape::Tagged(_), DeValue::Array(items))
            if items.iter().all(|item| matches!(item.get_ref(), DeValue::Table(_))) && !items.is_empty() =>
        {
            format!("there is one of it: write its heading in single brackets, [{}]", at.key)
        }
        (Shape::Tagged(tagged), DeValue::String(word)) if tagged.variant(word).is_some() => {
            format!("write {{ type = \"{word}\" }}")
        }
        (Shape::Table(shape), _) => {
            let key = shape.keys.iter().find(|key| key.required).or(shape.keys.first()).map_or("name", |key| key.name);
            format!("write a table, such as {{ {key} = .. }}")
        }
        (Shape::Map(..), _) => "write a table, such as { name = \"value\" }".to_owned(),
        (Shape::Text(_) | Shape::Scalar | Shape::ScalarTemplate, DeValue::Table(_)) if at.key.contains('.') => {
            "a name with a dot is quoted: \"outer.inner\" = ...".to_owned()
        }
        (Shape::Text(Kind::Duration), _) => "write it with a unit, such as \"30s\"".to_owned(),
        (Shape::Text(Kind::Size), _) => "write it with a unit, such as \"64MiB\"".to_owned(),
        (Shape::Text(Kind::Rate), _) => "write requests per time, such as \"100/min\"".to_owned(),
        (Shape::Text(Kind::PointRate), _) => "write points per time, such as \"1000/min\"".to_owned(),
        (Shape::Text(Kind::Percent), _) => "write it with its sign, such as \"2%\"".to_owned(),
        (Shape::List(_), _) => "write it in brackets: [...]".to_owned(),
        (Shape::Boolean, DeValue::String(_)) => "write it without quotes".to_owned(),
        (Shape::Integer(..), DeValue::String(_)) => "write it without quotes".to_owned(),
        (Shape::Text(_) | Shape::Choice(_), _) => "write it in quotes".to_owned(),
        (Shape::Tagged(tagged), _) => {
            format!("write {{ type = \"{}\" }}", tagged.variants.first().map_or("", |variant| variant.name))
        }
        _ => String::new(),
    }
}

fn help_for_missing(name: &str, shape: Shape) -> String {
    match shape {
        Shape::Version => "write `version = 1` at the top of the file".to_owned(),
        Shape::Choice(choice) => now_help(choice.words.iter().copied()),
        Shape::Map(_, Shape::Table(_)) => format!("add a table [{name}.NAME], with a name of your own"),
        _ => format!("add `{name}`"),
    }
}

fn now_help<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.as_slice() {
        [only] => format!("write {only}"),
        _ => format!("write one of {}", quoted.join(", ")),
    }
}

fn range_help(min: i64, max: i64) -> String {
    match max {
        i64::MAX => format!("write a whole number from {min} on"),
        _ => format!("write a whole number from {min} to {max}"),
    }
}
