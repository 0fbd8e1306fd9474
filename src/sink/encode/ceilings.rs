//! What open files may take, all of them together: the more partitions, the smaller their row groups, and then their files.

use super::{Encoder, OpenFile, Piece, SinkError, encode_error};

impl Encoder {
    /// Ends row groups and files until all that is held fits.
    pub(super) fn keep_within_memory(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        self.end_row_groups(&mut pieces)?;
        // What was encoded may wait to be a part that a store takes.
        let part = self.settings.part.max(1) as u64;
        self.end_files(self.settings.held, |file| (file.bytes % part) as usize, &mut pieces)?;
        self.end_files(self.settings.ended, |file| file.parquet.ended_memory(), &mut pieces)?;
        Ok(pieces)
    }

    /// The largest first, and rather those that got no rows for long.
    fn end_row_groups(&mut self, pieces: &mut Vec<Piece>) -> Result<(), SinkError> {
        let mut held: usize = self.open.values().map(|file| file.parquet.memory()).sum();
        while held > self.settings.memory {
            let turn = self.turn;
            let worth = |file: &OpenFile| file.parquet.memory() as u64 * (turn - file.last_turn + 1);
            let Some(file) = self.open.values_mut().max_by_key(|file| worth(file)) else { break };
            let before = file.parquet.memory();
            file.parquet.end_row_group().map_err(encode_error)?;
            pieces.extend(file.take_pieces(1));
            let after = file.parquet.memory();
            if after >= before {
                break;
            }
            held -= before - after;
        }
        Ok(())
    }

    /// Until what they hold is no more than `ceiling`, bytes.
    fn end_files(
        &mut self,
        ceiling: usize,
        holds: impl Fn(&OpenFile) -> usize,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), SinkError> {
        let turn = self.turn;
        let mut held: usize = self.open.values().map(&holds).sum();
        while held > ceiling {
            let worth = |file: &OpenFile| holds(file) as u64 * (turn - file.last_turn + 1);
            let Some(key) = self.open.iter().max_by_key(|(_, file)| worth(file)).map(|(key, _)| key.clone()) else { break };
            let Some(file) = self.open.remove(&key) else { break };
            held -= holds(&file);
            pieces.extend(file.close()?);
        }
        Ok(())
    }
}
