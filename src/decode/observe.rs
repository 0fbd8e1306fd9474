//! The slow, careful way over a page that holds something new: what each record is, and what follows for the fields.
//!
//! It runs when the fast way met something it does not know: on the first page, and whenever a source changes.

use crate::config::catalog::OnTypeChange;
use crate::error::ErrorKind;
use crate::page::join_path;

use super::DecodeError;
use super::document::{Document, Item};
use super::kind::{FIELDS_MAX, Hold, Kind, LEVELS_MAX, Node, Object};

/// A record that does not fit, or a job that does not want to go on.
pub struct Misfit {
    /// Dotted path of the field.
    pub field: String,
    pub reason: String,
}

/// Judges a record. `Ok(None)` if its values have a place; then it may be [absorbed](absorb_record).
pub fn judge(doc: &Document<'_>, root: &Object, record: u32, policy: OnTypeChange) -> Result<Option<Misfit>, DecodeError> {
    Judge { doc, policy, path: Vec::new() }.object(root, record)
}

struct Judge<'a, 'd> {
    doc: &'a Document<'d>,
    policy: OnTypeChange,
    path: Vec<String>,
}

impl Judge<'_, '_> {
    fn object(&mut self, object: &Object, at: u32) -> Result<Option<Misfit>, DecodeError> {
        for (key, at) in self.doc.distinct_members(at) {
            let Some(place) = object.place(key) else { continue };
            let node = &object.nodes[place];
            if node.hold == Hold::Open || self.doc.is_null(at) {
                continue;
            }
            self.path.push(key.to_owned());
            let misfit = match (&node.kind, self.doc.item(at)) {
                (Kind::Object(inner), Item::Object(_)) => self.object(inner, at)?,
                _ if self.doc.fits(node, at) => None,
                _ => self.misfit(object, place, at)?,
            };
            self.path.pop();
            if misfit.is_some() {
                return Ok(misfit);
            }
        }
        Ok(None)
    }

    fn misfit(&self, object: &Object, place: usize, at: u32) -> Result<Option<Misfit>, DecodeError> {
        let node = &object.nodes[place];
        let field = join_path(&self.path);
        let (column_type, excerpt) = (node.kind.column_type(), self.doc.excerpt(at));
        if node.hold == Hold::Declared {
            let declared = describe(&node.kind);
            return Ok(Some(Misfit { reason: format!("the field is declared as {declared}, its value is `{excerpt}`"), field }));
        }
        let found = found_type(self.doc, at);
        match self.policy {
            OnTypeChange::NewColumn => Ok(None),
            OnTypeChange::DeadLetter => {
                Ok(Some(Misfit { reason: format!("the column is {column_type}, the value {found}: `{excerpt}`"), field }))
            }
            OnTypeChange::Fail => Err(DecodeError::new(
                ErrorKind::Data,
                format!("the type of `{field}` changed from {column_type} to {found}: `{excerpt}`"),
            )),
        }
    }
}

fn describe(kind: &Kind) -> String {
    match kind {
        Kind::Epoch(unit) => format!("epoch in {}", format!("{unit:?}").to_lowercase()),
        kind => kind.column_type().to_string(),
    }
}

fn found_type(doc: &Document<'_>, at: u32) -> String {
    match doc.item(at) {
        item @ (Item::List(_) | Item::Object(_)) => item.kind_name().to_owned(),
        _ => doc.kind_of(at).column_type().to_string(),
    }
}

/// Where the value of a committed field goes that it does not fit: the place of a committed sibling, or `None` for a column of its
/// own. It depends on the value and on what is committed alone, never on other records.
pub fn sibling_for(doc: &Document<'_>, object: &Object, place: usize, at: u32) -> Option<usize> {
    let kind = doc.kind_of(at);
    let siblings = &object.nodes[place].siblings;
    let alike =
        siblings.iter().find(|sibling| object.nodes[**sibling].kind.is_like(&kind) && doc.fits(&object.nodes[**sibling], at));
    alike.or_else(|| siblings.iter().find(|sibling| doc.fits(&object.nodes[**sibling], at))).copied()
}

/// Whether a record has a value of its own in the very column to which another of its values must go.
pub fn collision(doc: &Document<'_>, object: &Object, at: u32) -> Option<String> {
    let members = doc.distinct_members(at);
    for (key, at) in &members {
        let Some(place) = object.place(key) else { continue };
        let node = &object.nodes[place];
        match (&node.kind, doc.item(*at)) {
            (Kind::Object(inner), Item::Object(_)) => {
                if let Some(found) = collision(doc, inner, *at) {
                    return Some(join_path(&[*key, &found]));
                }
            }
            _ if node.siblings.is_empty() || doc.fits_as_field(node, *at) => {}
            _ => {
                let sibling = sibling_for(doc, object, place, *at).map(|sibling| object.nodes[sibling].name.as_str());
                let is_taken = |name: &str| members.iter().any(|(key, at)| *key == name && !doc.is_null(*at));
                if sibling.is_some_and(is_taken) {
                    return Some((*key).to_owned());
                }
            }
        }
    }
    None
}

/// Joins what a record holds into the tree of fields.
pub fn absorb_record(doc: &Document<'_>, root: &mut Object, record: u32) -> Result<(), DecodeError> {
    absorb_fields(doc, root, record, 0)?;
    match root.nodes.len() > FIELDS_MAX {
        true => Err(DecodeError::new(ErrorKind::Data, format!("the records have more than `{FIELDS_MAX}` fields"))),
        false => Ok(()),
    }
}

/// Into an object of which some fields may not move, so many levels below the record.
fn absorb_fields(doc: &Document<'_>, object: &mut Object, at: u32, level: usize) -> Result<(), DecodeError> {
    for (key, at) in doc.distinct_members(at) {
        let place = object.place_or_new(key);
        if object.nodes.len() > FIELDS_MAX {
            // Whoever asked makes JSON of it, or refuses it: of a map of millions of keys no more is to be remembered.
            break;
        }
        if object.nodes[place].hold != Hold::Open && !doc.fits_as_field(&object.nodes[place], at) {
            if sibling_for(doc, object, place, at).is_none() {
                object.nodes[place].misfits.join(doc.kind_of(at));
            }
            continue;
        }
        absorb(doc, &mut object.nodes[place], at, level)?;
    }
    Ok(())
}

fn absorb(doc: &Document<'_>, node: &mut Node, at: u32, level: usize) -> Result<(), DecodeError> {
    if doc.is_null(at) {
        return Ok(());
    }
    if node.hold == Hold::Open {
        return absorb_open(doc, node, at, level);
    }
    match (&mut node.kind, doc.item(at)) {
        (Kind::Object(object), Item::Object(_)) => {
            absorb_fields(doc, object, at, level + 1)?;
            if object.nodes.len() > FIELDS_MAX {
                let message = format!("the objects of one field have more than `{FIELDS_MAX}` fields: `{}`", node.name);
                return Err(DecodeError::new(ErrorKind::Data, message));
            }
        }
        (Kind::List(item), Item::List(_)) => {
            for at in doc.items(at) {
                absorb(doc, item, at, level + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn absorb_open(doc: &Document<'_>, node: &mut Node, at: u32, level: usize) -> Result<(), DecodeError> {
    match (&node.kind, doc.item(at)) {
        // Joined below, which makes JSON of what is nested.
        (Kind::Null, _) if level >= LEVELS_MAX => {}
        (Kind::Null, Item::Object(_)) => node.kind = Kind::Object(Object::default()),
        (Kind::Null, Item::List(_)) => node.kind = Kind::new_list(),
        _ => {}
    }
    match (&mut node.kind, doc.item(at)) {
        (Kind::Object(object), Item::Object(_)) => {
            absorb_fields(doc, object, at, level + 1)?;
            if object.nodes.len() > FIELDS_MAX {
                node.kind = Kind::Json;
            }
        }
        (Kind::List(item), Item::List(_)) => {
            for at in doc.items(at) {
                absorb(doc, item, at, level + 1)?;
            }
        }
        (kind, _) => kind.join(doc.kind_of(at)),
    }
    Ok(())
}
