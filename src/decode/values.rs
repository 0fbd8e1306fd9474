//! Single values read as a type, exactly or not at all.

use super::document::{Document, Item};
use super::instant;
use super::kind::{EpochUnit, Hold, Kind, Node};
use super::number;

/// Whether a whole number lies where not all of them are floats.
#[inline]
pub fn is_wide(value: i64) -> bool {
    value.unsigned_abs() > number::FLOAT_WHOLE_MAX.unsigned_abs()
}

impl<'a> Document<'a> {
    /// Declared fields also take it from a string: XML has nothing else.
    #[inline]
    pub fn boolean(&self, at: u32, hold: Hold) -> Option<bool> {
        match self.item(at) {
            Item::Boolean(value) => Some(value),
            Item::Text("true") if hold == Hold::Declared => Some(true),
            Item::Text("false") if hold == Hold::Declared => Some(false),
            _ => None,
        }
    }

    /// A whole number of 64 bits. Declared fields also take it from a string, and written as `5.0`.
    #[inline]
    pub fn int(&self, at: u32, hold: Hold) -> Option<i64> {
        match (self.item(at), hold) {
            (Item::Number(text), Hold::Open | Hold::Committed) => text.parse().ok(),
            (Item::Number(text) | Item::Text(text), Hold::Declared) => i64::try_from(number::exact_whole(text)?).ok(),
            _ => None,
        }
    }

    /// A finite number. Whole ones only if the float is exactly them, unless the user wants floats.
    #[inline]
    pub fn float(&self, at: u32, hold: Hold) -> Option<f64> {
        let text = match (self.item(at), hold) {
            (Item::Number(text), _) => text,
            (Item::Text(text), Hold::Declared) if number::is_numeric(text.as_bytes()) => text,
            _ => return None,
        };
        if hold != Hold::Declared && number::is_whole(text) {
            let value = text.parse::<i64>().ok()?;
            let fits = match hold {
                Hold::Open => !is_wide(value),
                _ => number::is_exact_float(value),
            };
            if !fits {
                return None;
            }
        }
        number::float(text)
    }

    pub fn decimal(&self, at: u32, precision: u8, scale: i8) -> Option<i128> {
        match self.item(at) {
            Item::Number(text) | Item::Text(text) => number::decimal(text, precision, scale),
            _ => None,
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[inline]
    pub fn timestamp(&self, at: u32, hold: Hold) -> Option<i64> {
        match self.item(at) {
            Item::Text(text) if hold == Hold::Declared => instant::declared_timestamp(text, &self.timezone),
            Item::Text(text) => instant::exact_timestamp(text),
            _ => None,
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z, rounded towards the past.
    pub fn epoch(&self, at: u32, unit: EpochUnit) -> Option<i64> {
        match self.item(at) {
            Item::Number(text) | Item::Text(text) => {
                let (micros, _) = number::scaled(text, unit.shift())?;
                instant::in_range(i64::try_from(micros).ok()?)
            }
            _ => None,
        }
    }

    /// Days since 1970-01-01.
    pub fn date(&self, at: u32) -> Option<i32> {
        match self.item(at) {
            Item::Text(text) => instant::date(text),
            _ => None,
        }
    }

    /// A scalar as text: a string's content, a number as it is written. Declared fields also take what is nested, as JSON.
    #[inline]
    pub fn text(&self, at: u32, hold: Hold) -> Option<&'a str> {
        match self.item(at) {
            Item::Text(text) | Item::Number(text) => Some(text),
            Item::Boolean(true) => Some("true"),
            Item::Boolean(false) => Some("false"),
            Item::List(_) | Item::Object(_) if hold == Hold::Declared => Some(self.raw(at)),
            _ => None,
        }
    }

    /// What a value is by itself; `Json` for objects and lists.
    pub fn kind_of(&self, at: u32) -> Kind {
        match self.item(at) {
            Item::Null => Kind::Null,
            Item::Boolean(_) => Kind::Boolean,
            Item::Number(text) if number::is_whole(text) => match text.parse::<i64>() {
                Ok(value) => Kind::Int { wide: is_wide(value) },
                Err(_) => Kind::Text,
            },
            Item::Number(text) if number::float(text).is_some() => Kind::Float,
            Item::Number(_) => Kind::Text,
            Item::Text(text) if instant::exact_timestamp(text).is_some() => Kind::Timestamp,
            Item::Text(text) if instant::date(text).is_some() => Kind::Date,
            Item::Text(_) => Kind::Text,
            Item::List(_) | Item::Object(_) => Kind::Json,
        }
    }

    /// Whether a value fits a field that may not move, everything inside of it included. Null fits all; open fields take all.
    pub fn fits(&self, node: &Node, at: u32) -> bool {
        if node.hold == Hold::Open || self.is_null(at) {
            return true;
        }
        match &node.kind {
            Kind::Null => false,
            Kind::Boolean => self.boolean(at, node.hold).is_some(),
            Kind::Int { .. } => self.int(at, node.hold).is_some(),
            Kind::Float => self.float(at, node.hold).is_some(),
            Kind::Decimal { precision, scale } => self.decimal(at, *precision, *scale).is_some(),
            Kind::Epoch(unit) => self.epoch(at, *unit).is_some(),
            Kind::Timestamp => self.timestamp(at, node.hold).is_some(),
            Kind::Date => self.date(at).is_some(),
            Kind::Text => self.text(at, node.hold).is_some(),
            Kind::Json => true,
            Kind::List(item) => matches!(self.item(at), Item::List(_)) && self.items(at).all(|at| self.fits(item, at)),
            Kind::Object(object) => {
                let fits = |(key, at): (&str, u32)| object.place(key).is_none_or(|place| self.fits(&object.nodes[place], at));
                matches!(self.item(at), Item::Object(_)) && self.distinct_members(at).into_iter().all(fits)
            }
        }
    }

    /// The same for a field of a record or struct: what does not fit inside of an object goes to siblings there, so any object fits.
    pub fn fits_as_field(&self, node: &Node, at: u32) -> bool {
        match (&node.kind, self.item(at)) {
            (Kind::Object(_), Item::Object(_)) => true,
            _ => self.fits(node, at),
        }
    }
}
