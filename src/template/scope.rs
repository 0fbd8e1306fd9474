//! What a template may speak of.

use std::collections::BTreeMap;

use minijinja::Value;

/// Names that every scope keeps for itself; a parameter cannot take one.
pub const RESERVED: [&str; 9] = ["from", "to", "parent", "export", "page", "partition", "response", "last_record", "headers"];

/// The names in scope and their values. A value is text and is never read as a template again.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    values: BTreeMap<String, Value>,
}

impl Scope {
    pub fn new() -> Scope {
        Scope::default()
    }

    /// A job's parameters, each under its own name.
    pub fn parameters(mut self, parameters: &BTreeMap<String, String>) -> Scope {
        for (name, value) in parameters {
            self.values.insert(name.clone(), Value::from(value.as_str()));
        }
        self
    }

    /// The slice's bounds as the cursor writes them. A missing bound renders to nothing and is false in a condition.
    pub fn bounds(mut self, from: Option<&str>, to: Option<&str>) -> Scope {
        self.values.insert("from".to_owned(), Value::from(from.unwrap_or("")));
        self.values.insert("to".to_owned(), Value::from(to.unwrap_or("")));
        self
    }

    /// The bounds as numbers, where they are whole ones: what a body of JSON holds of a cursor that counts.
    pub fn with_bounds_as_numbers(mut self) -> Scope {
        for name in ["from", "to"] {
            if let Some(bound) = self.values.get_mut(name)
                && let Some(number) = bound.as_str().and_then(|text| text.parse::<i64>().ok())
            {
                *bound = Value::from(number);
            }
        }
        self
    }

    /// One more name.
    pub fn set(mut self, name: &str, value: &str) -> Scope {
        self.values.insert(name.to_owned(), Value::from(value));
        self
    }

    /// One more name that has fields of its own: `page.number`.
    pub fn set_fields(mut self, name: &str, fields: impl IntoIterator<Item = (&'static str, Value)>) -> Scope {
        self.values.insert(name.to_owned(), Value::from_pairs(fields));
        self
    }

    /// One more name, whose value may have fields of its own.
    pub fn set_value(mut self, name: &str, value: Value) -> Scope {
        self.values.insert(name.to_owned(), value);
        self
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    pub(super) fn is_empty_text(&self, name: &str) -> bool {
        self.values.get(name).and_then(|value| value.as_str()).is_some_and(str::is_empty)
    }

    /// The names for a message: "`a`, `b`", or "nothing".
    pub(super) fn describe(&self) -> String {
        if self.values.is_empty() {
            return "nothing".to_owned();
        }
        let quoted: Vec<String> = self.values.keys().map(|name| format!("`{name}`")).collect();
        quoted.join(", ")
    }

    pub(super) fn value(&self) -> Value {
        Value::from_pairs(self.values.iter().map(|(name, value)| (name.as_str(), value.clone())))
    }
}
