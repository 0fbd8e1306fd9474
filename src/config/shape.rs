//! How a file may look, as data: the walk checks files against it and the schemas for editors are made of it.

use super::kinds::Kind;

/// What may stand at a place.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// `version = 1`.
    Version,
    Text(Kind),
    Choice(&'static Choice),
    /// A whole number from the first to the second, both included.
    Integer(i64, i64),
    Boolean,
    /// Text, number or boolean, taken as text.
    Scalar,
    /// A template, or a number or boolean that is sent as it is.
    ScalarTemplate,
    /// A JSON value whose texts are templates.
    JsonTemplate,
    /// `window.start`: an instant, a day or a whole number.
    Start,
    /// `window.lookback`: a duration or a whole number.
    Lookback,
    /// A reference to a secret.
    Secret(Literal),
    /// What an object store's option takes: text, number, boolean or a reference.
    StorageValue,
    List(&'static Shape),
    /// Free keys of one kind, values of one shape.
    Map(Kind, &'static Shape),
    Table(&'static TableShape),
    /// A table whose `type` says which keys it has.
    Tagged(&'static Tagged),
}

/// Whether a secret may be written out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    /// It is no secret, such as a user name.
    Fine,
    /// Taken, with a warning.
    Warned,
    /// The same, but an empty one is none: some APIs have a user name alone.
    EmptyFine,
}

/// One word of several.
pub(super) struct Choice {
    pub words: &'static [&'static str],
    /// Words that the design has and this version has not.
    pub later: &'static [&'static str],
}

pub(super) struct TableShape {
    pub keys: &'static [Key],
    /// Exactly one of the keys is written.
    pub exactly_one: bool,
}

impl TableShape {
    pub const fn new(keys: &'static [Key]) -> TableShape {
        TableShape { keys, exactly_one: false }
    }

    pub const fn exactly_one(self) -> TableShape {
        TableShape { exactly_one: true, ..self }
    }

    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

pub(super) struct Key {
    pub name: &'static str,
    pub shape: Shape,
    pub required: bool,
    /// One sentence for editors; defaults are said here.
    pub about: &'static str,
}

/// A key that must be written.
pub(super) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: true, about }
}

/// A key that may be written.
pub(super) const fn optional(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, required: false, about }
}

pub(super) struct Tagged {
    pub variants: &'static [Variant],
    /// Variants that the design has and this version has not.
    pub later: &'static [&'static str],
}

/// One value of `type` and the keys beside it.
pub(super) struct Variant {
    pub name: &'static str,
    pub about: &'static str,
    pub table: TableShape,
}

impl Tagged {
    pub fn variant(&self, name: &str) -> Option<&'static Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}

pub(super) const VERSION: Key = required("version", Shape::Version, "Version of the file's form: 1.");
pub(super) const WORDS: Shape = Shape::Text(Kind::Words);
pub(super) const FIELDS: Shape = Shape::List(&Shape::Text(Kind::FieldPath));
