//! Templates of requests: minijinja, single pass, an undefined name is an error.

/// A checked template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    names: std::collections::BTreeSet<String>,
}

impl Template {
    /// Whether the template mentions a top-level name.
    pub fn uses(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}
