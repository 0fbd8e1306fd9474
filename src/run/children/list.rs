//! The parents as a run has listed them: asked for once, and gone over again from a local file for every further slice.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::page::{PageAt, PagePosition, ParentId, RawPage};
use crate::scratch::{self, Kept, Scratch};

use super::super::roster::sheet::Collector;

/// Parents of a page that is read from the file, at most, and their bytes.
const PAGE_RECORDS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// A parent's record as JSON, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub json: String,
    pub id: Option<ParentId>,
}

/// What the parents' requests hang on, by parameter.
pub(super) type Key = BTreeMap<String, String>;

/// A list that is being made. A parent that comes twice, because pages shifted while they were read, is listed once.
pub(super) struct Draft {
    scratch: Arc<Scratch>,
    key: Key,
    seen: Collector,
    /// `None` where nobody goes over it a second time.
    file: Option<(Kept, BufWriter<std::fs::File>)>,
    end: u64,
    /// Of the first page: time is closed by what was known of it then.
    first: Option<RawPage>,
}

/// A list that is whole.
pub(super) struct List {
    pub key: Key,
    kept: Kept,
    end: u64,
    /// The first page of parents, without its body.
    pub first: RawPage,
    /// There are more than the API gives for one query.
    pub capped: bool,
}

impl Draft {
    pub fn new(scratch: Arc<Scratch>, key: Key, keep: bool) -> io::Result<Self> {
        let file = match keep {
            false => None,
            true => {
                let kept = Kept::new(&scratch, scratch::PARENTS)?;
                let writer = BufWriter::new(kept.file.try_clone()?);
                Some((kept, writer))
            }
        };
        Ok(Draft { scratch, key, seen: Collector::default(), file, end: 0, first: None })
    }

    /// Takes in a page's parents, and gives back those that did not come before.
    pub fn take(&mut self, page: &RawPage, parents: Vec<Listed>) -> io::Result<Vec<Listed>> {
        self.first.get_or_insert_with(|| page.clone().into_nothing());
        let mut new = Vec::with_capacity(parents.len());
        for parent in parents {
            let is_new = match parent.id {
                Some(id) => self.seen.insert(&self.scratch, id)?,
                None => true,
            };
            if is_new {
                self.write(&parent)?;
                new.push(parent);
            }
        }
        Ok(new)
    }

    fn write(&mut self, parent: &Listed) -> io::Result<()> {
        let Some((_, writer)) = &mut self.file else { return Ok(()) };
        let length = u32::try_from(parent.json.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        writer.write_all(&length.to_le_bytes())?;
        writer.write_all(&[u8::from(parent.id.is_some())])?;
        writer.write_all(&parent.id.unwrap_or_default())?;
        writer.write_all(parent.json.as_bytes())?;
        self.end += HEAD as u64 + u64::from(length);
        Ok(())
    }

    /// All pages were taken in.
    pub fn finish(self, capped: bool) -> io::Result<Option<List>> {
        let (Some((kept, mut writer)), Some(first)) = (self.file, self.first) else { return Ok(None) };
        writer.flush()?;
        Ok(Some(List { key: self.key, kept, end: self.end, first, capped }))
    }
}

/// Bytes before a parent's record.
const HEAD: usize = 4 + 1 + 16;

impl List {
    /// The parents at a position of the list, and the position behind them.
    pub fn page(&self, at: &PagePosition) -> io::Result<(Vec<Listed>, Option<PagePosition>)> {
        let mut offset = match at.at {
            PageAt::Number(offset) => offset,
            _ => 0,
        };
        let mut file = &self.kept.file;
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = BufReader::with_capacity(64 * 1024, file);
        let (mut parents, mut bytes) = (Vec::new(), 0);
        while offset < self.end && parents.len() < PAGE_RECORDS && bytes < PAGE_BYTES {
            let mut length = [0; 4];
            let mut flag = [0; 1];
            let mut id = [0; 16];
            reader.read_exact(&mut length)?;
            reader.read_exact(&mut flag)?;
            reader.read_exact(&mut id)?;
            let length = u32::from_le_bytes(length) as usize;
            let mut json = vec![0; length];
            reader.read_exact(&mut json)?;
            let json = String::from_utf8(json).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
            parents.push(Listed { json, id: (flag[0] == 1).then_some(id) });
            bytes += length;
            offset += (HEAD + length) as u64;
        }
        let next = (offset < self.end).then(|| at.after(parents.len() as u64, PageAt::Number(offset)));
        Ok((parents, next))
    }
}

/// Which record a parent is: by its key, and by its own parent. `None` where the key is not there.
pub(super) fn identity(json: &str, key: &[Vec<String>], above: Option<&ParentId>) -> Option<ParentId> {
    if key.is_empty() {
        return None;
    }
    let mut hash = Sha256::new();
    hash.update(above.map_or(&[][..], |above| &above[..]));
    for steps in key {
        let value = raw_at(json, steps)?;
        // A text has many spellings in JSON; a number stands as the source wrote it.
        let text = match serde_json::from_str::<String>(&value) {
            Ok(text) => serde_json::Value::from(text).to_string(),
            Err(_) => value,
        };
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().get(..16)?.try_into().ok()
}

/// The JSON text of a value that is there and not null.
fn raw_at(json: &str, steps: &[String]) -> Option<String> {
    let mut at: &str = json;
    for step in steps {
        let inner: &RawValue = match at.trim_start().as_bytes().first()? {
            b'{' => serde_json::from_str::<BTreeMap<String, &RawValue>>(at).ok()?.remove(step)?,
            b'[' => serde_json::from_str::<Vec<&RawValue>>(at).ok()?.get(step.parse::<usize>().ok()?).copied()?,
            _ => return None,
        };
        at = inner.get();
    }
    (at != "null").then(|| at.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BatchId;
    use crate::page::split_path;

    fn id(json: &str, key: &[&str], above: Option<&ParentId>) -> Option<ParentId> {
        let key: Vec<Vec<String>> = key.iter().map(|field| split_path(field).expect("a path")).collect();
        identity(json, &key, above)
    }

    #[test]
    fn a_parent_is_known_by_its_key_however_it_is_spelt() {
        let plain = id(r#"{"a":{"id":"é"},"b":1}"#, &["a.id", "b"], None);
        assert!(plain.is_some());
        assert_eq!(plain, id(r#" {"b" : 1, "more": [1], "a":{"id":"\u00e9"}}"#, &["a.id", "b"], None));
        assert_ne!(plain, id(r#"{"a":{"id":"e"},"b":1}"#, &["a.id", "b"], None));
        assert_ne!(
            plain,
            id(r#"{"a":{"id":"é"},"b":1}"#, &["a.id", "b"], Some(&[1; 16])),
            "below another parent it is another one"
        );
        let (large, next) = (r#"{"id":90071992547409931234}"#, r#"{"id":90071992547409931235}"#);
        assert_ne!(id(large, &["id"], None), id(next, &["id"], None));
        assert_ne!(id(r#"{"a":"x","b":"yz"}"#, &["a", "b"], None), id(r#"{"a":"xy","b":"z"}"#, &["a", "b"], None));
        assert_eq!(id(r#"{"id":null}"#, &["id"], None), None);
        assert_eq!(id(r#"{"id":1}"#, &[], None), None);
    }

    #[test]
    fn a_list_is_gone_over_again_as_it_was_and_nobody_stands_in_it_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let scratch = Arc::new(Scratch::new(folder.path(), BatchId(uuid::Uuid::nil())));
        let mut draft = Draft::new(scratch, Key::new(), true).expect("begun");
        let listed =
            |number: u16| Listed { json: format!("{{\"id\":{number}}}"), id: id(&format!("{{\"id\":{number}}}"), &["id"], None) };
        let mut truth = Vec::new();
        for page in 0..7u16 {
            // The last one of a page is the first of the next.
            let parents: Vec<Listed> = (page * 100..=(page + 1) * 100).map(listed).collect();
            truth.extend(draft.take(&RawPage::nothing(), parents).expect("kept"));
        }
        assert_eq!(truth.len(), 701);
        let list = draft.finish(false).expect("written").expect("a list");
        let mut found = Vec::new();
        let mut at = Some(PagePosition::start());
        while let Some(position) = at {
            let (parents, next) = list.page(&position).expect("readable");
            assert!(parents.len() <= PAGE_RECORDS);
            found.extend(parents);
            at = next;
        }
        assert_eq!(found, truth);
        drop(list);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 0);
    }
}
