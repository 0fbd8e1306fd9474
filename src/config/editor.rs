//! JSON Schemas (draft 2020-12) of the files for editors, from the same shapes that the files are checked against.

use serde_json::{Map, Value, json};

use super::kinds::Kind;
use super::shape::{Choice, Shape, TableShape, Tagged};
use super::shapes;

/// The schema of each kind of file, by the kind's name.
pub fn schemas() -> Vec<(&'static str, Value)> {
    [("config", &shapes::SETTINGS), ("source", &shapes::SOURCE), ("sink", &shapes::SINK), ("job", &shapes::JOB)]
        .into_iter()
        .map(|(name, shape)| (name, file_schema(name, shape)))
        .collect()
}

fn file_schema(name: &str, shape: &'static TableShape) -> Value {
    let mut schema = table(shape);
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!(format!("highwater {name}")));
    Value::Object(schema)
}

fn table(shape: &'static TableShape) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in shape.keys {
        let mut property = describe(key.shape);
        property.insert("description".into(), json!(key.about));
        properties.insert(key.name.into(), Value::Object(property));
    }
    let required: Vec<&str> = shape.keys.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = object(json!({ "type": "object", "properties": properties, "additionalProperties": false }));
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if shape.exactly_one {
        schema.insert("minProperties".into(), json!(1));
        schema.insert("maxProperties".into(), json!(1));
    }
    schema
}

fn describe(shape: Shape) -> Map<String, Value> {
    object(match shape {
        Shape::Version => json!({ "const": 1 }),
        Shape::Text(kind) => Value::Object(text(kind)),
        Shape::Choice(Choice { words, .. }) => json!({ "enum": words }),
        Shape::Integer(min, i64::MAX) => json!({ "type": "integer", "minimum": min }),
        Shape::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Boolean => json!({ "type": "boolean" }),
        Shape::Scalar | Shape::ScalarTemplate => json!({ "type": ["string", "number", "boolean"] }),
        Shape::JsonTemplate => json!({ "type": ["string", "number", "boolean", "array", "object"] }),
        Shape::Start | Shape::Lookback => json!({ "type": ["string", "integer"] }),
        Shape::Secret(_) => json!({ "anyOf": [{ "type": "string" }, reference()] }),
        Shape::StorageValue => json!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, reference()] }),
        Shape::List(item) => json!({ "type": "array", "items": describe(*item) }),
        Shape::Map(kind, item) => {
            json!({ "type": "object", "propertyNames": text(kind), "additionalProperties": describe(*item) })
        }
        Shape::Table(shape) => Value::Object(table(shape)),
        Shape::Tagged(tagged) => json!({ "oneOf": variants(tagged) }),
    })
}

fn text(kind: Kind) -> Map<String, Value> {
    let mut schema = object(json!({ "type": "string" }));
    if let Some(pattern) = kind.pattern() {
        schema.insert("pattern".into(), json!(pattern));
    }
    schema
}

fn variants(tagged: &'static Tagged) -> Vec<Value> {
    let mut all = Vec::new();
    for variant in tagged.variants {
        let mut schema = table(&variant.table);
        schema.insert("description".into(), json!(variant.about));
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.insert("type".into(), json!({ "const": variant.name }));
        }
        let required = variant.table.keys.iter().filter(|key| key.required).map(|key| key.name);
        let required: Vec<&str> = std::iter::once("type").chain(required).collect();
        schema.insert("required".into(), json!(required));
        all.push(Value::Object(schema));
    }
    all
}

fn reference() -> Value {
    let one = |key: &str, about: &str| {
        json!({
            "type": "object",
            "properties": { key: { "type": "string", "description": about } },
            "required": [key],
            "additionalProperties": false,
        })
    };
    json!({ "oneOf": [
        one("env", "Name of an environment variable."),
        one("file", "Path of a file, below the project folder unless absolute."),
        one("credential", "Name of a systemd credential."),
    ] })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
