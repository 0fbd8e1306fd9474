//! Pages made up by chance, compared value by value with a model that knows nothing of tapes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::show::{decode_all, object, rows, value};
use crate::config::catalog::OnTypeChange;
use crate::decode::fixture::{page, spec, spec_at};
use crate::decode::{DecodeSpec, Decoder};
use crate::schema::{ColumnType, Field, TableSchema};

#[derive(Clone, Debug)]
enum Model {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    List(Vec<Model>),
    Object(Vec<(String, Model)>),
}

impl Model {
    fn render(&self) -> String {
        match self {
            Model::Null => "null".to_owned(),
            Model::Boolean(value) => value.to_string(),
            Model::Number(text) => text.clone(),
            Model::Text(text) => quote(text),
            Model::List(items) => format!("[{}]", items.iter().map(Model::render).collect::<Vec<_>>().join(" ,\n")),
            Model::Object(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(key, value)| format!("{}: {}", quote(key), value.render())).collect();
                format!("{{ {}}}", fields.join(", "))
            }
        }
    }

    /// What a column of this type must show for this value; `None` for null.
    fn shown(&self, column_type: &ColumnType) -> Option<String> {
        if matches!(self, Model::Null) {
            return None;
        }
        Some(match (column_type, self) {
            (ColumnType::Json, any) => format!("{:?}", any.render()),
            (ColumnType::Boolean, Model::Boolean(value)) => value.to_string(),
            (ColumnType::Int64, Model::Number(text)) => text.parse::<i64>().unwrap().to_string(),
            (ColumnType::Float64, Model::Number(text)) => {
                let float = text.parse::<f64>().unwrap();
                if let Ok(whole) = text.parse::<i64>() {
                    assert_eq!(float as i128, i128::from(whole), "a float that is not the whole number it stands for");
                }
                assert!(float.is_finite());
                format!("{float:?}f")
            }
            (ColumnType::Text, Model::Text(text) | Model::Number(text)) => format!("{text:?}"),
            (ColumnType::Text, Model::Boolean(value)) => format!("{:?}", value.to_string()),
            (ColumnType::Timestamp, Model::Text(text)) => text.parse::<jiff::Timestamp>().unwrap().to_string(),
            (ColumnType::Date, Model::Text(text)) => text.parse::<jiff::civil::Date>().unwrap().to_string(),
            (ColumnType::List(item), Model::List(items)) => {
                let shown = |value: &Model| value.shown(&item.column_type).unwrap_or_else(|| "null".to_owned());
                format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(","))
            }
            (ColumnType::Struct(fields), Model::Object(members)) => {
                let last: BTreeMap<&str, &Model> = members.iter().map(|(key, value)| (key.as_str(), value)).collect();
                assert!(last.keys().all(|key| fields.iter().any(|field| field.name == **key)), "a field without a place");
                object(fields.iter().map(|field| {
                    let shown = last.get(field.name.as_str()).and_then(|value| value.shown(&field.column_type));
                    (field.name.as_str(), shown)
                }))
            }
            (column_type, value) => panic!("{value:?} in a column of type {column_type}"),
        })
    }
}

/// Now plain, now escaped, as servers do.
fn quote(text: &str) -> String {
    let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
    // Escaped all the way, beyond the first plane too.
    if text.len() % 3 == 1 { format!("\"{escaped}\"") } else { serde_json::to_string(text).unwrap() }
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        (-100i64..100).prop_map(|number| number.to_string()),
        Just("9007199254740993".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("1e400".to_owned()),
        Just("-0".to_owned()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        (any::<i32>(), 0u32..100_000).prop_map(|(whole, fraction)| format!("{whole}.{fraction}")),
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,20}",
        any::<String>(),
        Just("2026-01-31T10:00:00.5+02:00".to_owned()),
        Just("2026-01-31T10:00:00Z".to_owned()),
        Just("2026-01-31".to_owned()),
        Just("2026-02-31".to_owned()),
    ]
}

fn scalars() -> BoxedStrategy<Model> {
    prop_oneof![
        Just(Model::Null),
        any::<bool>().prop_map(Model::Boolean),
        numbers().prop_map(Model::Number),
        texts().prop_map(Model::Text),
    ]
    .boxed()
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![40 => "[abcd]", 1 => Just("a__text".to_owned()), 5 => Just("é\"\\".to_owned()), 5 => Just(String::new())]
}

fn objects(values: BoxedStrategy<Model>) -> impl Strategy<Value = Model> {
    prop::collection::vec((names(), values), 0..5).prop_map(Model::Object)
}

fn values() -> BoxedStrategy<Model> {
    let nested = |inner: BoxedStrategy<Model>| prop_oneof![2 => prop::collection::vec(inner.clone(), 0..4).prop_map(Model::List), 3 => objects(inner)];
    scalars().prop_recursive(3, 24, 4, move |inner| nested(inner.boxed())).boxed()
}

/// A value whose kind is drawn once for a column: so that columns also keep a type now and then.
fn calm_values() -> BoxedStrategy<Model> {
    prop_oneof![
        Just(Model::Null),
        (-9i64..9).prop_map(|number| Model::Number(number.to_string())),
        (-9i64..9).prop_map(|number| Model::Number(format!("{number}.5"))),
        Just(Model::Number("9007199254740993".to_owned())),
        Just(Model::Text("2026-01-31T10:00:00Z".to_owned())),
        Just(Model::Text("x".to_owned())),
        Just(Model::Boolean(true)),
        prop::collection::vec((0i64..9).prop_map(|number| Model::Number(number.to_string())), 0..3).prop_map(Model::List),
        Just(Model::Object(vec![("a".to_owned(), Model::Number("1".to_owned()))])),
        Just(Model::Object(vec![("a".to_owned(), Model::Text("y".to_owned())), ("b".to_owned(), Model::Null)])),
        Just(Model::Object(Vec::new())),
    ]
    .boxed()
}

fn pages(values: BoxedStrategy<Model>) -> impl Strategy<Value = Vec<Model>> {
    // Now and then a page that is not built in one go.
    let times = prop_oneof![15 => Just(1), 1 => Just(40)];
    let page = (prop::collection::vec(objects(values), 0..5), times)
        .prop_map(|(records, times)| Model::List(vec![records; times].concat()));
    prop::collection::vec(page, 1..5)
}

fn shuffled(values: BoxedStrategy<Model>) -> impl Strategy<Value = (Vec<Model>, Vec<usize>)> {
    pages(values).prop_flat_map(|pages| {
        let order: Vec<usize> = (0..pages.len()).collect();
        (Just(pages), Just(order).prop_shuffle())
    })
}

/// A schema without the order of its fields.
fn as_set(fields: &[Field]) -> Vec<String> {
    fn shown(column_type: &ColumnType) -> String {
        match column_type {
            ColumnType::Struct(fields) => format!("struct{:?}", as_set(fields)),
            ColumnType::List(item) => format!("list({})", shown(&item.column_type)),
            other => other.to_string(),
        }
    }
    let mut set: Vec<String> = fields.iter().map(|field| format!("{:?} {}", field.name, shown(&field.column_type))).collect();
    set.sort();
    set
}

/// What pages become, in the order of `pages` whatever the order they are decoded in.
fn outcome(
    spec: &DecodeSpec,
    committed: Option<&TableSchema>,
    pages: &[Model],
    order: &[usize],
) -> (Vec<String>, Vec<Vec<String>>) {
    let mut decoder = Decoder::new(spec.clone(), committed.cloned()).unwrap();
    let bodies: Vec<String> = order.iter().map(|index| pages[*index].render()).collect();
    let decoded = decode_all(&mut decoder, &bodies);
    let mut by_page = vec![Vec::new(); pages.len()];
    for (index, decoded) in order.iter().zip(decoded) {
        by_page[*index] = rows(&decoded.rows);
        let rejects = decoded.rejects.iter().map(|reject| format!("{} {} {}", reject.place, reject.field, reject.reason));
        by_page[*index].extend(rejects);
    }
    (as_set(&decoder.schema().fields), by_page)
}

proptest! {
    #[test]
    fn every_value_is_what_it_was(pages in pages(values())) {
        let mut decoder = Decoder::new(spec(), None).unwrap();
        let bodies: Vec<String> = pages.iter().map(Model::render).collect();
        let decoded = decode_all(&mut decoder, &bodies);
        let record_type = ColumnType::Struct(decoder.schema().fields.clone());
        for (model, decoded) in pages.iter().zip(&decoded) {
            let Model::List(records) = model else { unreachable!() };
            prop_assert!(decoded.rejects.is_empty());
            let expected: Vec<String> = records.iter().map(|record| record.shown(&record_type).unwrap()).collect();
            prop_assert_eq!(rows(&decoded.rows), expected);
        }
    }

    #[test]
    fn the_order_of_pages_changes_nothing((pages, order) in shuffled(values())) {
        let straight: Vec<usize> = (0..pages.len()).collect();
        prop_assert_eq!(outcome(&spec(), None, &pages, &straight), outcome(&spec(), None, &pages, &order));
    }

    #[test]
    fn nor_over_committed_columns(
        first in pages(calm_values()),
        (pages, order) in shuffled(calm_values()),
        policy in prop_oneof![Just(OnTypeChange::NewColumn), Just(OnTypeChange::DeadLetter)],
    ) {
        let mut decoder = Decoder::new(spec(), None).unwrap();
        decode_all(&mut decoder, &first.iter().map(Model::render).collect::<Vec<_>>());
        let committed = decoder.schema().clone();
        let spec = DecodeSpec { on_type_change: policy, ..spec() };
        let straight: Vec<usize> = (0..pages.len()).collect();
        let one = outcome(&spec, Some(&committed), &pages, &straight);
        prop_assert_eq!(&one, &outcome(&spec, Some(&committed), &pages, &order));
        // A source field with the name of a column for misfits may take them from its second slice on.
        let is_named_so = first.iter().chain(&pages).any(|page| format!("{page:?}").contains("a__text"));
        if policy != OnTypeChange::NewColumn || is_named_so {
            return Ok(());
        }
        // A third slice over what the second left.
        let mut second = Decoder::new(spec.clone(), Some(committed)).unwrap();
        decode_all(&mut second, &pages.iter().map(Model::render).collect::<Vec<_>>());
        let settled = second.schema().clone();
        let third = outcome(&spec, Some(&settled), &pages, &order);
        prop_assert_eq!(as_set(&settled.fields), third.0, "the same pages again bring nothing new");
        prop_assert_eq!(one.1, third.1);
    }

    #[test]
    fn over_committed_columns_no_value_is_lost(first in pages(calm_values()), second in pages(calm_values())) {
        let mut decoder = Decoder::new(spec(), None).unwrap();
        decode_all(&mut decoder, &first.iter().map(Model::render).collect::<Vec<_>>());
        let mut decoder = Decoder::new(spec(), Some(decoder.schema().clone())).unwrap();
        let bodies: Vec<String> = second.iter().map(Model::render).collect();
        for (model, decoded) in second.iter().zip(decode_all(&mut decoder, &bodies)) {
            let Model::List(records) = model else { unreachable!() };
            for (row, place) in decoded.places.iter().enumerate() {
                let Model::Object(members) = &records[*place as usize] else { unreachable!() };
                let last: BTreeMap<&str, &Model> = members.iter().map(|(key, value)| (key.as_str(), value)).collect();
                let given = last.values().filter(|value| !matches!(value, Model::Null)).count();
                let kept = decoded.rows.columns().iter().filter(|column| value(column, row).is_some()).count();
                prop_assert_eq!(kept, given, "{:?}", members);
            }
        }
    }

    #[test]
    fn raw_records_are_what_was_written(records in prop::collection::vec(values(), 0..6)) {
        let body = format!("{{\"x\":[1], \"data\" : {} }}", Model::List(records.clone()).render());
        let decoded = Decoder::new(spec_at("data"), None).unwrap().decode(&page(body)).unwrap();
        let shown: Vec<String> = decoded.raw.iter().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).collect();
        prop_assert_eq!(&shown, &records.iter().map(Model::render).collect::<Vec<_>>());
        for reject in decoded.rejects {
            prop_assert_eq!(&reject.record, decoded.raw.get(reject.place));
        }
    }
}
