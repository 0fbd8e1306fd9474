//! Prometheus' text format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{self, Write};

/// A page of figures as it grows.
#[derive(Default)]
pub(super) struct Page {
    text: String,
    name: &'static str,
}

/// A value as it is written: counts stay whole.
pub(super) enum Value {
    Count(u64),
    Seconds(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Value::Count(count)
    }
}

impl From<f64> for Value {
    fn from(seconds: f64) -> Self {
        Value::Seconds(seconds)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Count(count) => write!(f, "{count}"),
            Value::Seconds(seconds) => write!(f, "{seconds}"),
        }
    }
}

impl Page {
    /// Begins a family; its samples follow. `kind` is `counter`, `gauge` or `summary`, `help` one line.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.name = name;
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self
    }

    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) {
        self.sample_of("", labels, value);
    }

    /// A sample of a summary: `suffix` is `_sum` or `_count`.
    pub fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Into<Value>) {
        let name = self.name;
        self.write(format_args!("{name}{suffix}"));
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.write(format_args!("{before}{label}=\"{}\"", Escaped(value)));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{after} {}\n", value.into()));
    }

    pub fn finish(self) -> String {
        self.text
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        // A String takes everything.
        let _written = self.text.write_fmt(text);
    }
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_counts_stay_whole() {
        let mut page = Page::default();
        page.family("a_total", "counter", "What it is.").sample(&[("job", "a\"b\\c\nd"), ("fate", "kept")], u64::MAX);
        page.family("b", "gauge", "Another.").sample(&[], 0.25);
        let expected = "# HELP a_total What it is.\n# TYPE a_total counter\n\
            a_total{job=\"a\\\"b\\\\c\\nd\",fate=\"kept\"} 18446744073709551615\n\
            # HELP b Another.\n# TYPE b gauge\nb 0.25\n";
        assert_eq!(page.finish(), expected);
    }
}
