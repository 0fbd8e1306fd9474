//! arrow-json's way to its tape: a reader of one made-up column, whose decoder is ours and gets the whole document.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, NullArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::{ArrayDecoder, Decoder as ArrowDecoder, DecoderContext, DecoderFactory, Tape};

use crate::error::ErrorKind;

use super::DecodeError;
use super::document::{Document, shorten};
use super::read::{Outcome, Task, read};
use super::surrogates::join_pairs;

/// Reads pages one after the other; its buffers are used again.
pub struct TapeReader {
    /// `None` after a body that was no document: what arrow-json holds then is of no use.
    decoder: Option<ArrowDecoder>,
    desk: Desk,
}

/// Where the task goes in and the outcome comes out, since arrow-json's own way out is one array.
#[derive(Clone, Debug, Default)]
struct Desk(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
enum Slot {
    #[default]
    Empty,
    Task(Task),
    Done(Box<Result<Outcome, DecodeError>>),
}

impl Desk {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swap(&self, slot: Slot) -> Slot {
        std::mem::replace(&mut *self.slot(), slot)
    }
}

impl DecoderFactory for Desk {
    fn make_default_decoder(
        &self,
        _context: &DecoderContext,
        _field: &FieldRef,
        _is_nullable: bool,
    ) -> Result<Option<Box<dyn ArrayDecoder>>, ArrowError> {
        Ok(Some(Box::new(self.clone())))
    }
}

impl ArrayDecoder for Desk {
    fn decode(&mut self, tape: &Tape<'_>, places: &[u32]) -> Result<ArrayRef, ArrowError> {
        if let (Slot::Task(task), [root]) = (self.swap(Slot::Empty), places) {
            let outcome = match Document::new(tape, &task.body, *root, task.plan.timezone.clone()) {
                Ok(document) => read(&document, &task),
                Err(malformed) => Err(unavailable(format!("the body is not JSON: {}", malformed.0))),
            };
            self.swap(Slot::Done(Box::new(outcome)));
        }
        Ok(Arc::new(NullArray::new(places.len())))
    }
}

impl TapeReader {
    pub fn new() -> Self {
        TapeReader { decoder: None, desk: Desk::default() }
    }

    /// Reads one page, or says why it is no whole document.
    pub fn read(&mut self, task: Task) -> Result<Outcome, DecodeError> {
        let mut decoder = match self.decoder.take() {
            Some(decoder) => decoder,
            None => self.open()?,
        };
        fill(&mut decoder, &join_pairs(&task.body))?;
        self.desk.swap(Slot::Task(task));
        let flushed = decoder.flush();
        let Slot::Done(outcome) = self.desk.swap(Slot::Empty) else {
            return Err(match flushed {
                Err(error) => unavailable(format!("the body is not JSON: {}", reason(&error))),
                Ok(_) => DecodeError::new(ErrorKind::Bug, "the page was not read".to_owned()),
            });
        };
        self.decoder = Some(decoder);
        *outcome
    }

    fn open(&self) -> Result<ArrowDecoder, DecodeError> {
        let column = Field::new("page", DataType::Null, true);
        ReaderBuilder::new_with_field(column)
            .with_batch_size(1)
            .with_decoder_factory(Arc::new(self.desk.clone()))
            .build_decoder()
            .map_err(|error| DecodeError::new(ErrorKind::Bug, format!("failed to open a JSON reader: {error}")))
    }
}

/// Puts a body on the tape: exactly one document, to its end.
fn fill(decoder: &mut ArrowDecoder, body: &[u8]) -> Result<(), DecodeError> {
    let Some(first) = body.iter().find(|byte| !byte.is_ascii_whitespace()) else {
        return Err(unavailable("the body is empty".to_owned()));
    };
    if *first == b'<' {
        return Err(unavailable(format!("the body is {}, not JSON", markup(body))));
    }
    let end = decoder.decode(body).map_err(|error| {
        unavailable(format!("the body is not JSON: {}; it begins with `{}`", reason(&error), beginning(body)))
    })?;
    if end < body.len() {
        return Err(unavailable(format!("there is more after the end of the document, at byte `{end}`")));
    }
    if decoder.has_partial_record() {
        // A number at the end of the input might go on; a space ends it.
        let ended = decoder.decode(b" ").is_ok() && !decoder.has_partial_record();
        if !ended {
            return Err(unavailable(format!("the document is cut off, it ends in the middle at byte `{}`", body.len())));
        }
    }
    Ok(())
}

pub fn markup(body: &[u8]) -> &'static str {
    let head = String::from_utf8_lossy(&body[..body.len().min(1024)]).to_lowercase();
    if head.contains("<html") || head.contains("<!doctype html") {
        return "HTML";
    }
    if head.contains("<?xml") { "XML" } else { "HTML or XML" }
}

fn beginning(body: &[u8]) -> String {
    let head = String::from_utf8_lossy(&body[..body.len().min(256)]).into_owned();
    shorten(&head.split_whitespace().collect::<Vec<_>>().join(" "), 60)
}

/// arrow-json's own words, as part of a sentence.
fn reason(error: &ArrowError) -> String {
    let text = match error {
        ArrowError::JsonError(text) => text.clone(),
        other => other.to_string(),
    };
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn unavailable(message: String) -> DecodeError {
    DecodeError::new(ErrorKind::Unavailable, message)
}
