//! What a stream's fields are, as far as it is known: the tree that the pages' findings are joined into.
//!
//! Open fields move up one lattice whose join is commutative and associative, so the order of pages never changes where they end:
//! null below all; whole numbers below floats; all scalars below text; everything below JSON text.

use std::collections::HashMap;

use ahash::RandomState;

use crate::schema::{ColumnType, Field, TableSchema, is_sibling, sibling_name};

/// Fields of one object in a column; objects with more of them are maps in disguise and stay JSON text.
pub const FIELDS_MAX: usize = 2_000;
/// Objects and lists that may stand in each other in a column, as comments do in the ones that they answer; what is nested deeper stays
/// JSON text. The columns stand in the log's records as JSON, up to three levels for one, and serde_json reads no more than 128.
pub const LEVELS_MAX: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochUnit {
    Seconds,
    Millis,
    Micros,
}

impl EpochUnit {
    /// Decimal places from this unit to microseconds.
    pub fn shift(self) -> i32 {
        match self {
            EpochUnit::Seconds => 6,
            EpochUnit::Millis => 3,
            EpochUnit::Micros => 0,
        }
    }
}

/// What the values of a field are.
#[derive(Clone, Debug)]
pub enum Kind {
    Null,
    Boolean,
    /// Whole numbers of 64 bits. `wide` if one of them is not exactly a float: then a fraction beside them makes the column text.
    Int {
        wide: bool,
    },
    Float,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Epoch(EpochUnit),
    Timestamp,
    Date,
    Text,
    Json,
    List(Box<Node>),
    /// Without any field it is written as JSON text: no file holds an empty struct.
    Object(Object),
}

/// Who says what a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The values seen so far.
    Open,
    /// The files that are committed.
    Committed,
    /// The user.
    Declared,
}

/// A field of the records, or the items of a list.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: u32,
    pub name: String,
    pub hold: Hold,
    pub kind: Kind,
    /// Committed fields for values that do not fit this one (`amount__float64`), as places in the same object.
    pub siblings: Vec<usize>,
    /// What the values are that fit neither this field nor a committed sibling.
    pub misfits: Kind,
}

impl Node {
    pub fn open(name: &str) -> Self {
        Node { id: 0, name: name.to_owned(), hold: Hold::Open, kind: Kind::Null, siblings: Vec::new(), misfits: Kind::Null }
    }

    fn item() -> Self {
        Node::open("item")
    }

    fn committed(field: &Field) -> Result<Self, ColumnType> {
        let kind = Kind::committed(&field.column_type)?;
        // What was only ever null is as open as what was never seen.
        let hold = if matches!(kind, Kind::Null) { Hold::Open } else { Hold::Committed };
        Ok(Node { id: field.id, hold, kind, ..Node::open(&field.name) })
    }

    pub fn field(&self) -> Field {
        Field { id: self.id, name: self.name.clone(), column_type: self.kind.column_type() }
    }
}

/// The fields of an object, in order of first appearance.
#[derive(Clone, Debug, Default)]
pub struct Object {
    pub nodes: Vec<Node>,
    index: HashMap<String, usize, RandomState>,
}

impl Object {
    /// The error is a type that no page can fill.
    pub fn committed(fields: &[Field]) -> Result<Self, ColumnType> {
        let mut object = Object::default();
        for field in fields {
            object.push(Node::committed(field)?);
        }
        for place in 0..object.nodes.len() {
            object.nodes[place].siblings = object.committed_siblings(place);
        }
        Ok(object)
    }

    fn committed_siblings(&self, place: usize) -> Vec<usize> {
        let base = &self.nodes[place];
        let mut siblings: Vec<usize> = Vec::new();
        for (other, node) in self.nodes.iter().enumerate() {
            let nested = matches!(node.kind, Kind::List(_) | Kind::Object(_));
            if base.hold != Hold::Committed || node.hold != Hold::Committed || nested {
                continue;
            }
            if !is_sibling(&base.name, &node.name, &node.kind.column_type()) {
                continue;
            }
            // Where the source has a field of that very name, the one with more underscores is ours.
            match siblings.iter_mut().find(|known| self.nodes[**known].kind.is_like(&node.kind)) {
                Some(known) if self.nodes[*known].name.len() < node.name.len() => *known = other,
                Some(_) => {}
                None => siblings.push(other),
            }
        }
        siblings
    }

    pub fn place(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    pub fn push(&mut self, node: Node) -> usize {
        let place = self.nodes.len();
        self.index.insert(node.name.clone(), place);
        self.nodes.push(node);
        place
    }

    /// The field of that name, a new open one if there is none.
    pub fn place_or_new(&mut self, name: &str) -> usize {
        match self.place(name) {
            Some(place) => place,
            None => self.push(Node::open(name)),
        }
    }

    /// Places of the fields that have misfits without a committed sibling: each makes one more column behind the fields.
    pub fn with_misfits(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|place| !matches!(self.nodes[*place].misfits, Kind::Null))
    }

    /// The columns of this object: its fields, then those of misfits.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields: Vec<Field> = self.nodes.iter().map(Node::field).collect();
        for place in self.with_misfits() {
            let node = &self.nodes[place];
            let mut name = sibling_name(&node.name, &node.misfits.column_type());
            // A field of the source may have this very name.
            while self.place(&name).is_some() {
                name.push('_');
            }
            fields.push(Field::new(name, node.misfits.column_type()));
        }
        fields
    }

    pub fn schema(&self) -> TableSchema {
        TableSchema { fields: self.fields() }
    }
}

impl Kind {
    fn committed(column_type: &ColumnType) -> Result<Self, ColumnType> {
        use ColumnType::*;
        Ok(match column_type {
            Null => Kind::Null,
            Boolean => Kind::Boolean,
            Int8 | Int16 | Int32 | Int64 | Uint8 | Uint16 | Uint32 => Kind::Int { wide: true },
            Float64 => Kind::Float,
            Decimal { precision, scale } => Kind::Decimal { precision: *precision, scale: *scale },
            Text => Kind::Text,
            Json => Kind::Json,
            Timestamp => Kind::Timestamp,
            Date => Kind::Date,
            List(item) => Kind::List(Box::new(Node::committed(item)?)),
            Struct(fields) => Kind::Object(Object::committed(fields)?),
            Uint64 | Float32 | LocalTimestamp | Time => return Err(column_type.clone()),
        })
    }

    pub fn column_type(&self) -> ColumnType {
        match self {
            Kind::Null => ColumnType::Null,
            Kind::Boolean => ColumnType::Boolean,
            Kind::Int { .. } => ColumnType::Int64,
            Kind::Float => ColumnType::Float64,
            Kind::Decimal { precision, scale } => ColumnType::Decimal { precision: *precision, scale: *scale },
            Kind::Epoch(_) | Kind::Timestamp => ColumnType::Timestamp,
            Kind::Date => ColumnType::Date,
            Kind::Text => ColumnType::Text,
            Kind::Json => ColumnType::Json,
            Kind::List(item) => ColumnType::List(Box::new(item.field())),
            Kind::Object(object) if object.nodes.is_empty() => ColumnType::Json,
            Kind::Object(object) => ColumnType::Struct(object.fields()),
        }
    }

    /// Joins in a scalar's kind, or `Json` for what is nested.
    pub fn join(&mut self, other: Kind) {
        let known = std::mem::replace(self, Kind::Json);
        *self = match (known, other) {
            (Kind::Null, other) => other,
            (known, Kind::Null) => known,
            (Kind::Int { wide }, Kind::Int { wide: other }) => Kind::Int { wide: wide || other },
            (Kind::Int { wide: false }, Kind::Float) | (Kind::Float, Kind::Int { wide: false }) | (Kind::Float, Kind::Float) => {
                Kind::Float
            }
            (Kind::Boolean, Kind::Boolean) => Kind::Boolean,
            (Kind::Timestamp, Kind::Timestamp) => Kind::Timestamp,
            (Kind::Date, Kind::Date) => Kind::Date,
            (known, other) if known.is_scalar() && other.is_scalar() => Kind::Text,
            _ => Kind::Json,
        };
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Kind::Json | Kind::List(_) | Kind::Object(_))
    }

    /// The same kind of value, whatever is inside.
    pub fn is_like(&self, other: &Kind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    pub fn object(&mut self) -> Option<&mut Object> {
        match self {
            Kind::Object(object) => Some(object),
            _ => None,
        }
    }

    pub fn new_list() -> Kind {
        Kind::List(Box::new(Node::item()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        prop_oneof![
            Just(Kind::Null),
            Just(Kind::Boolean),
            any::<bool>().prop_map(|wide| Kind::Int { wide }),
            Just(Kind::Float),
            Just(Kind::Timestamp),
            Just(Kind::Date),
            Just(Kind::Text),
            Just(Kind::Json),
        ]
    }

    fn joined(kinds: &[Kind]) -> String {
        let mut all = Kind::Null;
        for kind in kinds {
            all.join(kind.clone());
        }
        format!("{all:?}")
    }

    proptest! {
        #[test]
        fn joining_knows_no_order(kinds in prop::collection::vec(kinds(), 0..6).prop_flat_map(|kinds| (Just(kinds.clone()), Just(kinds).prop_shuffle()))) {
            let (one, other) = kinds;
            prop_assert_eq!(joined(&one), joined(&other));
            // Joined in two heaps first.
            let (mut left, mut right) = (Kind::Null, Kind::Null);
            one.iter().take(3).for_each(|kind| left.join(kind.clone()));
            one.iter().skip(3).for_each(|kind| right.join(kind.clone()));
            left.join(right);
            prop_assert_eq!(format!("{left:?}"), joined(&one));
        }
    }
}
