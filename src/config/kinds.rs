//! The kinds of text that files hold, each with how it is read, how it is refused and its form for editors.

use http::{HeaderName, Method};
use jiff::tz::TimeZone;
use url::Url;

use crate::page::{ResponsePath, join_path, split_path};
use crate::schema::ColumnType;
use crate::template::Template;

use super::address::AddressTemplate;
use super::catalog::{Compression, DeclaredType, PartitionColumn, PartitionUnit, PathPattern};
use super::node::Value;
use super::problem::{nearest, quote};
use super::units;

/// Types that `[columns]` and `cast` both take, by name; decimals stand apart for their numbers.
const PLAIN_TYPES: [(&str, ColumnType); 6] = [
    ("boolean", ColumnType::Boolean),
    ("int64", ColumnType::Int64),
    ("float64", ColumnType::Float64),
    ("text", ColumnType::Text),
    ("timestamp", ColumnType::Timestamp),
    ("date", ColumnType::Date),
];

/// Types that a value can only be cast to.
const NARROW_TYPES: [(&str, ColumnType); 8] = [
    ("int8", ColumnType::Int8),
    ("int16", ColumnType::Int16),
    ("int32", ColumnType::Int32),
    ("uint8", ColumnType::Uint8),
    ("uint16", ColumnType::Uint16),
    ("uint32", ColumnType::Uint32),
    ("uint64", ColumnType::Uint64),
    ("float32", ColumnType::Float32),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Any,
    /// Any text but the empty one.
    Words,
    /// The stem of a file in one of the project's folders.
    Name,
    Template,
    Duration,
    Size,
    /// Requests per time.
    Rate,
    /// Points of cost per time.
    PointRate,
    Percent,
    /// Paths of the API, with stars.
    PathPattern,
    /// A path into a response: header or body.
    ResponsePath,
    /// A path into a response's body.
    BodyPath,
    /// A path into a record, at least one step.
    FieldPath,
    HeaderName,
    /// A request's method (RFC 9110 section 9.1), in capitals.
    Method,
    /// An address, http or https, without credentials, query and fragment.
    Address,
    /// The same, with parameters in its host.
    AddressTemplate,
    /// A host with an optional port.
    Host,
    /// An IP address with its port.
    Socket,
    Zone,
    DeclaredType,
    CastType,
    Partition,
    Compression,
    EnvName,
    FileName,
}

/// Why a text is refused, and what to write instead.
#[derive(Debug)]
pub(super) struct Wrong {
    pub message: String,
    pub help: String,
}

fn wrong(message: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong { message: message.into(), help: help.into() }
}

impl Kind {
    pub fn read(self, text: &str) -> Result<Value, Wrong> {
        let plain = || Value::Text(text.to_owned());
        let refuse = |what: &str, help: &str| wrong(format!("{} is not {what}", quote(text)), help);
        match self {
            Kind::Any => Ok(plain()),
            Kind::Words if text.trim().is_empty() => Err(wrong("the text is empty", "write a text, or leave the key out")),
            Kind::Words => Ok(plain()),
            Kind::Name => safe_name(text).map(|()| plain()),
            Kind::Template => Template::parse(text)
                .map(Value::Template)
                .map_err(|message| wrong(message, "a name stands in double braces, such as \"{{ from }}\"")),
            Kind::Duration => units::parse_duration(text)
                .map(Value::Duration)
                .ok_or_else(|| refuse("a duration", "write whole numbers with units, such as \"30s\", \"1h30m\" or \"7d\"")),
            Kind::Size => units::parse_size(text)
                .map(Value::Size)
                .ok_or_else(|| refuse("a size", "write a whole number with a unit, such as \"64MiB\"")),
            Kind::Rate => units::parse_rate(text)
                .map(Value::Rate)
                .ok_or_else(|| refuse("a rate", "write requests per time, such as \"100/min\", \"5000/h\" or \"100/10s\"")),
            Kind::PointRate => units::parse_rate(text)
                .map(Value::Rate)
                .ok_or_else(|| refuse("a rate", "write points per time, such as \"1000/min\" or \"50/s\"")),
            Kind::Percent => units::parse_percent(text)
                .map(Value::Share)
                .ok_or_else(|| refuse("a percentage", "write a number from 0 to 100 with its sign, such as \"2%\" or \"0.5%\"")),
            Kind::PathPattern => PathPattern::parse(text).map(Value::Pattern).ok_or_else(|| {
                refuse(
                    "a pattern of paths",
                    "write a path below `base_url` with `*` for any characters, such as \"/search/*\"; a star stands where parameters do",
                )
            }),
            Kind::ResponsePath => read_path(text),
            Kind::BodyPath => match read_path(text)? {
                Value::Path(ResponsePath::Header(_)) => {
                    Err(refuse("a path into the body", "records stand in the body, such as \"data.items\""))
                }
                path => Ok(path),
            },
            Kind::FieldPath => read_field(text).map(Value::Text),
            Kind::HeaderName => read_header_name(text).map(Value::Header),
            Kind::Method => read_method(text).map(Value::Method),
            Kind::Address => read_address(text).map(Value::Url),
            Kind::AddressTemplate => AddressTemplate::read(text).map(Value::Address),
            Kind::Host if is_host(text) => Ok(plain()),
            Kind::Host => {
                Err(refuse("a host", "write a host with an optional port, such as \"files.example.org\" or \"localhost:8080\""))
            }
            Kind::Socket => text.parse().map(Value::Socket).map_err(|_| {
                refuse("an address to listen on", "write an IP address and a port, such as \"127.0.0.1:7077\" or \"[::1]:7077\"")
            }),
            Kind::Zone => TimeZone::get(text).map(Value::Zone).map_err(|_| {
                refuse("a time zone", "write a name of the IANA time zone database, such as \"UTC\" or \"Europe/Berlin\"")
            }),
            Kind::DeclaredType => read_declared(text).map(Value::Type),
            Kind::CastType => read_cast(text).map(|column| Value::Type(DeclaredType::Column(column))),
            Kind::Partition => read_partition(text).map(Value::Partition),
            Kind::Compression => read_compression(text)
                .map(Value::Compression)
                .ok_or_else(|| refuse("a compression", "write \"zstd(3)\" (1 to 22), \"snappy\" or \"none\"")),
            Kind::EnvName if is_env_name(text) => Ok(plain()),
            Kind::EnvName => Err(wrong(
                "that is not a name of an environment variable",
                "write letters, digits and `_`, such as \"API_TOKEN\"",
            )),
            Kind::FileName if safe_name(text).is_ok() => Ok(plain()),
            Kind::FileName => {
                Err(wrong("that is not a name of a credential", "write the plain name that systemd's LoadCredential= gives it"))
            }
        }
    }

    /// A regular expression for editors, where one says something useful.
    pub fn pattern(self) -> Option<&'static str> {
        Some(match self {
            Kind::Words | Kind::FieldPath => "\\S",
            Kind::Name | Kind::FileName => "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            Kind::Duration => "^([0-9]+(w|d|h|m|min|s|ms))+$",
            Kind::Size => "^[0-9]+(B|KB|MB|GB|KiB|MiB|GiB|TiB)$",
            Kind::Rate | Kind::PointRate => "^[1-9][0-9]*/([0-9]*(w|d|h|m|min|s|ms))+$",
            Kind::Percent => "^[0-9]+(\\.[0-9]+)?%$",
            Kind::PathPattern => "^[/*]",
            Kind::Address | Kind::AddressTemplate => "^https?://",
            Kind::HeaderName => "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$",
            Kind::Method => "^[!#$%&'*+.^_`|~0-9A-Z-]+$",
            Kind::DeclaredType => {
                "^(boolean|int64|float64|text|json|timestamp|date|epoch_s|epoch_ms|epoch_us|decimal\\([0-9]+, ?[0-9]+\\))$"
            }
            Kind::CastType => "^(boolean|u?int(8|16|32|64)|float(32|64)|text|timestamp|date|decimal\\([0-9]+, ?[0-9]+\\))$",
            Kind::Compression => "^(none|snappy|zstd|zstd\\([0-9]+\\))$",
            Kind::EnvName => "^[A-Za-z_][A-Za-z0-9_]*$",
            Kind::Socket => "^([0-9.]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]+$",
            Kind::Any | Kind::Template | Kind::ResponsePath | Kind::BodyPath | Kind::Host | Kind::Zone | Kind::Partition => {
                return None;
            }
        })
    }
}

/// A name that is one part of a path on any file system and in any object store, and nothing else.
pub(super) fn safe_name(name: &str) -> Result<(), Wrong> {
    const LONGEST: usize = 128;
    // Names that Windows keeps for devices, whatever their case or ending: a lake is often synchronised to a laptop.
    const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];
    let help = "use letters, digits, `_`, `-` and `.`, beginning with a letter or a digit, such as \"github_issues\"";
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins_well || !name.chars().all(fits) || name.ends_with('.') || name.contains("..") {
        return Err(wrong(format!("{} is not a name that is safe in a path", quote(name)), help));
    }
    if name.len() > LONGEST {
        return Err(wrong(
            format!("a name of {} characters is too long", name.len()),
            format!("use at most {LONGEST} characters"),
        ));
    }
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let numbered =
        |device: &str| stem.strip_prefix(device).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit());
    if DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        return Err(wrong(format!("{} is a device on Windows", quote(name)), "choose another name"));
    }
    Ok(())
}

/// The field's path in its one normal form.
pub(super) fn read_field(text: &str) -> Result<String, Wrong> {
    let help = "write the field's path, such as \"updated_at\" or \"properties.time\"";
    if text == "$" || text.starts_with("$.") || text.starts_with("$[") {
        return Err(wrong(format!("{} is written as a JSONPath", quote(text)), help));
    }
    match split_path(text) {
        Ok(steps) if steps.is_empty() => Err(wrong("the path is empty", help)),
        Ok(steps) => Ok(join_path(&steps)),
        Err(message) => Err(wrong(message, help)),
    }
}

fn read_path(text: &str) -> Result<Value, Wrong> {
    const HELP: &str = "write a dotted path, such as \"data.items\" or \"header.X-Next\"; a key with a dot is quoted: '\"a.b\"'";
    // It would be taken for the names of keys, and lead nowhere.
    let is_json_path = !text.contains('"') && (text.contains('[') || text == "$" || text.starts_with("$."));
    if is_json_path {
        return Err(wrong(format!("{} is written as a JSONPath", quote(text)), HELP));
    }
    if text.starts_with('/') {
        return Err(wrong(format!("{} is written as a JSON pointer", quote(text)), HELP));
    }
    ResponsePath::parse(text).map(Value::Path).map_err(|message| wrong(message, HELP))
}

fn read_header_name(text: &str) -> Result<HeaderName, Wrong> {
    // The transport writes these itself; a second one would break the request's framing or its destination.
    const OURS: [&str; 6] = ["host", "content-length", "transfer-encoding", "connection", "upgrade", "te"];
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| {
        wrong(format!("{} is not a header name", quote(text)), "use letters, digits and `-`, such as \"X-Api-Version\"")
    })?;
    match OURS.contains(&name.as_str()) {
        true => Err(wrong(format!("the header {} is written by the transport", quote(text)), "leave it out")),
        false => Ok(name),
    }
}

fn read_method(text: &str) -> Result<Method, Wrong> {
    const HELP: &str = "write a method such as \"GET\", \"POST\", \"SEARCH\" or \"QUERY\"";
    let why = match text {
        "HEAD" => "a HEAD is answered without a body",
        "CONNECT" => "a CONNECT opens a tunnel",
        "TRACE" => "a TRACE is answered with the request itself, secrets too",
        _ if text.chars().any(|letter| letter.is_ascii_lowercase()) => {
            let help = format!("write \"{}\": the case counts", text.to_ascii_uppercase());
            return Err(wrong(format!("{} is not a method", quote(text)), help));
        }
        _ => return Method::from_bytes(text.as_bytes()).map_err(|_| wrong(format!("{} is not a method", quote(text)), HELP)),
    };
    Err(wrong(format!("{why}: there would be nothing to read"), HELP))
}

/// Never quotes the address: a wrong one may hold a password.
pub(super) fn read_address(text: &str) -> Result<Url, Wrong> {
    let example = "write an address such as \"https://api.example.org/v1\"";
    if text.contains("{{") {
        return Err(wrong("the address is not a template", "write it out"));
    }
    let url = Url::parse(text).map_err(|error| wrong(format!("the address cannot be read: {error}"), example))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong(format!("the scheme {} is not http or https", quote(url.scheme())), example));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(
            "credentials do not belong into an address",
            "take them out and use `auth` with a reference such as { env = \"API_TOKEN\" }",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(
            "the address has a query or a fragment",
            "take it out; a stream's `query` takes what every request carries",
        ));
    }
    Ok(url)
}

fn is_host(text: &str) -> bool {
    let plain = !text.contains(['/', '@', '?', '#', '\\', '*', ' ', '%']);
    let url = Url::parse(&format!("https://{text}/"));
    plain && url.is_ok_and(|url| url.has_host() && url.username().is_empty() && url.path() == "/")
}

fn is_env_name(text: &str) -> bool {
    let begins_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins_well && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn read_declared(text: &str) -> Result<DeclaredType, Wrong> {
    let epochs = [("epoch_s", DeclaredType::EpochS), ("epoch_ms", DeclaredType::EpochMs), ("epoch_us", DeclaredType::EpochUs)];
    if let Some((_, declared)) = epochs.iter().find(|(name, _)| *name == text) {
        return Ok(declared.clone());
    }
    if text == "json" {
        return Ok(DeclaredType::Column(ColumnType::Json));
    }
    let known = PLAIN_TYPES.iter().map(|(name, _)| *name).chain(["json", "decimal(18,2)", "epoch_s", "epoch_ms", "epoch_us"]);
    read_type(text, &PLAIN_TYPES, known).map(DeclaredType::Column)
}

fn read_cast(text: &str) -> Result<ColumnType, Wrong> {
    let all: Vec<(&str, ColumnType)> = PLAIN_TYPES.iter().chain(&NARROW_TYPES).cloned().collect();
    let known = all.iter().map(|(name, _)| *name).chain(["decimal(18,2)"]);
    read_type(text, &all, known)
}

fn read_type<'a>(text: &str, plain: &[(&str, ColumnType)], known: impl Iterator<Item = &'a str>) -> Result<ColumnType, Wrong> {
    if let Some((_, column)) = plain.iter().find(|(name, _)| *name == text) {
        return Ok(column.clone());
    }
    match text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')')) {
        Some(numbers) => read_decimal(numbers).ok_or_else(|| {
            wrong(
                format!("{} is not a decimal type", quote(text)),
                "write decimal(precision,scale): precision 1 to 38, scale 0 to precision",
            )
        }),
        None => Err(wrong(format!("{} is not a type", quote(text)), nearest(text, known, "types"))),
    }
}

fn read_decimal(numbers: &str) -> Option<ColumnType> {
    let (precision, scale) = numbers.split_once(',')?;
    let precision = precision.trim().parse::<u8>().ok().filter(|precision| (1..=38).contains(precision))?;
    let scale = scale.trim().parse::<i8>().ok().filter(|scale| *scale >= 0 && *scale as u8 <= precision)?;
    Some(ColumnType::Decimal { precision, scale })
}

fn read_partition(text: &str) -> Result<PartitionColumn, Wrong> {
    let help = "write a column, or year, month, day or hour of one, such as \"month(created_at)\"";
    let (unit, column) = match text.split_once('(') {
        None => (PartitionUnit::Value, text),
        Some((name, rest)) => {
            let column =
                rest.strip_suffix(')').ok_or_else(|| wrong(format!("{} lacks its closing bracket", quote(text)), help))?;
            let unit = match name {
                "year" => PartitionUnit::Year,
                "month" => PartitionUnit::Month,
                "day" => PartitionUnit::Day,
                "hour" => PartitionUnit::Hour,
                _ => {
                    return Err(wrong(
                        format!("{} is not a unit of time", quote(name)),
                        nearest(name, ["year", "month", "day", "hour"], "units"),
                    ));
                }
            };
            (unit, column)
        }
    };
    // The column's name becomes a directory `name=value`.
    let unsafe_part = |c: char| c.is_control() || matches!(c, '/' | '\\' | '=' | '(' | ')' | '%' | ' ' | ',');
    if column.is_empty() || column.len() > 128 || column.starts_with('.') || column.contains(unsafe_part) {
        return Err(wrong(format!("{} does not name a column that can stand in a path", quote(text)), help));
    }
    Ok(PartitionColumn { column: column.to_owned(), unit })
}

fn read_compression(text: &str) -> Option<Compression> {
    match text {
        "none" => Some(Compression::None),
        "snappy" => Some(Compression::Snappy),
        "zstd" => Some(Compression::Zstd(3)),
        _ => {
            let level = text.strip_prefix("zstd(")?.strip_suffix(')')?.parse::<i32>().ok()?;
            (1..=22).contains(&level).then_some(Compression::Zstd(level))
        }
    }
}
