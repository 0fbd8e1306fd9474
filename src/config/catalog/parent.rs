//! A stream that is read once for each record of another.

use super::Stream;

/// The stream that is gone over.
#[derive(Clone, Debug)]
pub struct Parent {
    pub stream: Box<Stream>,
    /// Columns that records get from their parent: name, and the steps of the parent's field.
    pub carry: Vec<(String, Vec<String>)>,
    /// The parents' cursor decides which of them are read: its line is what slices cut.
    pub changed_only: bool,
}

impl Stream {
    /// The cursor whose line slices cut and coverage tells of: the stream's own, or its parent's where only changed ones are gone over.
    pub fn window_cursor(&self) -> Option<&super::Cursor> {
        match &self.parent {
            Some(parent) if parent.changed_only => parent.stream.window_cursor(),
            _ => self.cursor.as_ref(),
        }
    }

    /// The stream that `window_cursor` belongs to.
    pub fn window_stream(&self) -> &Stream {
        match &self.parent {
            Some(parent) if parent.changed_only => parent.stream.window_stream(),
            _ => self,
        }
    }
}
