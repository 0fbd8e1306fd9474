//! Templates of requests: minijinja, single pass, an undefined name is an error.
//!
//! What a value contains is never looked at again: a parameter that holds `{{ }}` stays what it is. There are no includes, no
//! functions and no escaping: whoever uses a rendered text encodes it for the place where it goes. Work and output are bounded.

mod json;
mod scope;

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, LazyLock};

use http::HeaderValue;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value, escape_formatter};

pub use json::{DEPTH_MAX, JsonTemplate};
pub use scope::{RESERVED, Scope};

/// Longest template and longest rendered text, bytes.
pub const TEXT_MAX: usize = 64 * 1024;
/// Instructions that one rendering may take; a request needs dozens.
const FUEL: u64 = 50_000;

static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_formatter(written);
    // A text is sent as it was written, its last newline included.
    engine.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the default delimiters are valid"));
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(64);
    // What a template may say comes from its scope alone.
    let globals: Vec<String> = engine.globals().map(|(name, _)| name.to_owned()).collect();
    for name in globals {
        engine.remove_global(&name);
    }
    engine
});

/// A value as an API reads it: nothing for null, `true` and `false`, lists and objects as JSON. The engine's own way is Python's.
fn written(output: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => Ok(()),
        ValueKind::Bool => output.write_str(if value.is_true() { "true" } else { "false" }).map_err(Error::from),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let text = serde_json::to_string(value)
                .map_err(|_| Error::new(ErrorKind::BadSerialization, "a value in the template is none that JSON has"))?;
            output.write_str(&text).map_err(Error::from)
        }
        _ => escape_formatter(output, state, value),
    }
}

/// A checked template.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    names: BTreeSet<String>,
    /// For messages: the file and line that it was read from.
    place: Option<Arc<str>>,
}

/// Where it was read from makes no other template of it.
impl PartialEq for Template {
    fn eq(&self, other: &Template) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

impl Template {
    /// Reads a template. The error says what is wrong with it, lower case, without a full stop: a syntax error, a filter or
    /// test that does not exist, a text above [`TEXT_MAX`].
    pub fn parse(text: impl Into<String>) -> Result<Template, String> {
        let text = text.into();
        if text.len() > TEXT_MAX {
            return Err(format!("a template has at most {TEXT_MAX} bytes"));
        }
        let compiled = ENGINE.template_from_str(&text).map_err(|error| explain(&error))?;
        let names: BTreeSet<String> = compiled.undeclared_variables(false).into_iter().collect();
        refuse_unknown_filters(&compiled, &names)?;
        Ok(Template { text, names, place: None })
    }

    /// The same, read from a place such as `sources/api.toml:7`.
    pub fn read_from(self, place: &str) -> Template {
        Template { place: Some(Arc::from(place)), ..self }
    }

    /// Whether the template mentions a top-level name.
    pub fn uses(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The top-level names that the template mentions, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fills the template in. The error names an undefined name and the names in scope, never a value; and the template's place.
    pub fn render(&self, scope: &Scope) -> Result<String, String> {
        self.filled(scope).map_err(|why| self.placed(why, scope))
    }

    fn filled(&self, scope: &Scope) -> Result<String, String> {
        if let Some(missing) = self.names.iter().find(|name| !scope.has(name)) {
            return Err(format!("`{missing}` is not defined here; in scope: {}", scope.describe()));
        }
        let compiled = ENGINE.template_from_str(&self.text).map_err(|error| explain(&error))?;
        let mut output = Bounded { bytes: Vec::new(), full: false };
        let rendered = compiled.render_captured_to(scope.value(), &mut output).map(drop);
        if output.full {
            return Err(format!("the rendered text has more than {TEXT_MAX} bytes"));
        }
        rendered.map_err(|error| explain(&error))?;
        String::from_utf8(output.bytes).map_err(|_| "the rendered text is not UTF-8".to_owned())
    }

    /// Fills the template in as a JSON value: what the expression gives where the template is one expression and nothing else, else
    /// the rendered text.
    pub fn render_json(&self, scope: &Scope) -> Result<serde_json::Value, String> {
        let Some(expression) = self.single_expression() else { return self.render(scope).map(serde_json::Value::String) };
        self.evaluated(expression, scope).map_err(|why| self.placed(why, scope))
    }

    fn evaluated(&self, expression: &str, scope: &Scope) -> Result<serde_json::Value, String> {
        if let Some(missing) = self.names.iter().find(|name| !scope.has(name)) {
            return Err(format!("`{missing}` is not defined here; in scope: {}", scope.describe()));
        }
        let compiled = ENGINE.compile_expression(expression).map_err(|error| explain(&error))?;
        let value = compiled.eval(scope.value()).map_err(|error| explain(&error))?;
        if value.is_undefined() {
            return Err("a value in the template is undefined".to_owned());
        }
        serde_json::to_value(&value).map_err(|_| "the expression gives a value that JSON does not have".to_owned())
    }

    /// Why it cannot be filled in, with the way out where that is an empty bound, and with its place.
    fn placed(&self, mut why: String, scope: &Scope) -> String {
        if let Some(bound) = ["from", "to"].into_iter().find(|bound| self.uses(bound) && scope.is_empty_text(bound)) {
            why.push_str(&format!(
                "; `{bound}` is empty where nothing bounds the read, as on a first load: write `({bound} or 0)`"
            ));
        }
        if let Some(place) = &self.place {
            why.push_str(&format!(" (at {place})"));
        }
        why
    }

    /// What stands between the braces, where they enclose the whole text.
    fn single_expression(&self) -> Option<&str> {
        let inner = self.text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        let inner = inner.strip_suffix('-').unwrap_or(inner);
        // A second pair of braces, or a text that holds some, is rendered as text.
        (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then_some(inner)
    }

    /// Fills the template in as a header's value, which has no line break or other control character (RFC 9110 section 5.5):
    /// a parameter can never add a header of its own. The error never shows the value, it may be a secret.
    pub fn render_header(&self, scope: &Scope) -> Result<HeaderValue, String> {
        let text = self.render(scope)?;
        HeaderValue::from_str(&text).map_err(|_| "a header's value is visible ASCII without line breaks".to_owned())
    }
}

/// minijinja looks filters up when they are reached; a trial with empty values reaches the ones outside of branches.
fn refuse_unknown_filters(compiled: &minijinja::Template<'_, '_>, names: &BTreeSet<String>) -> Result<(), String> {
    let blanks = Value::from_pairs(names.iter().map(|name| (name.as_str(), Value::from(""))));
    let mut output = Bounded { bytes: Vec::new(), full: false };
    let Err(error) = compiled.render_captured_to(blanks, &mut output) else {
        return Ok(());
    };
    match error.kind() {
        ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction | ErrorKind::OutOfFuel => {
            Err(explain(&error))
        }
        // An empty text is not what the template was written for; real values decide.
        _ => Ok(()),
    }
}

/// What is wrong, without the engine's template name and line decoration.
fn explain(error: &Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "the template takes too many steps".to_owned(),
        (ErrorKind::UndefinedError, None) => "a value in the template is undefined".to_owned(),
        (ErrorKind::SyntaxError, Some(detail)) => format!("not a template: {detail}"),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    }
}

/// Takes at most [`TEXT_MAX`] bytes, then refuses more.
struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + piece.len() > TEXT_MAX {
            self.full = true;
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
