//! Records that come more than once within a preview: the sign of a definition whose paging or key is wrong.

use std::collections::HashMap;

use serde_json::Value;

use crate::config::catalog::Job;
use crate::page::split_path;

use super::refine::Refined;

/// Records that are remembered. A preview is about the first few.
const RECORDS_MAX: usize = 100_000;
/// Letters of a key that is shown.
const KEY_MAX: usize = 60;

/// The records so far, by their keys.
pub(super) struct Doubles {
    names: Vec<String>,
    key: Vec<Vec<String>>,
    seen: HashMap<String, Value>,
    count: u64,
    /// Records that are the same as one that came before, to the letter.
    same: u64,
    /// Records of a key that came before with other content.
    other: u64,
    example: Option<String>,
}

impl Doubles {
    pub(super) fn of(job: &Job) -> Doubles {
        let names = job.stream.primary_key.clone();
        let key = names.iter().filter_map(|name| split_path(name).ok()).collect();
        Doubles { names, key, seen: HashMap::new(), count: 0, same: 0, other: 0, example: None }
    }

    /// Takes in the records of a page.
    pub(super) fn note(&mut self, refined: &Refined) {
        if self.key.is_empty() || self.key.len() < self.names.len() {
            return;
        }
        for record in refined.raw.iter() {
            let Ok(record) = serde_json::from_slice::<Value>(record) else { continue };
            let Some(key) = self.key_of(&record) else { continue };
            self.count += 1;
            match self.seen.get(&key) {
                Some(before) => {
                    if *before == record {
                        self.same += 1;
                    } else {
                        self.other += 1;
                    }
                    self.example.get_or_insert(key);
                }
                None if self.seen.len() < RECORDS_MAX => drop(self.seen.insert(key, record)),
                None => {}
            }
        }
    }

    /// A key without one of its fields is another matter.
    fn key_of(&self, record: &Value) -> Option<String> {
        let field = |steps: &Vec<String>| steps.iter().try_fold(record, |value, step| value.get(step)).map(Value::to_string);
        let fields: Option<Vec<String>> = self.key.iter().map(field).collect();
        fields.map(|fields| fields.join(", "))
    }

    /// What there is to say of it.
    pub(super) fn tell(&self) -> Option<String> {
        let example = self.example.as_ref()?;
        let example: String = example.chars().filter(|c| !c.is_control()).take(KEY_MAX).collect();
        let (key, count) = (self.names.join("`, `"), self.count);
        Some(match (self.same, self.other) {
            (same, 0) => format!(
                "{same} of {count} records came again just as they were, `{key}` {example} for instance: where all pages are the \
                 first one, the API does not know the parameter that `paging` names"
            ),
            (same, other) => format!(
                "{} of {count} records came again with a key that was there already, {other} of them with other content, `{key}` \
                 {example} for instance: primary_key must name all fields that tell records apart, or a merge keeps only the newest \
                 of them",
                same + other
            ),
        })
    }
}
