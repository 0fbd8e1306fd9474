//! What open files may take, all of them together: the more partitions, the smaller their row groups, and then their files.

use super::open_file::{OpenFile, encode_error};
use super::{Encoder, Piece, SinkError};

impl Encoder {
    /// Ends row groups and files until all that is held fits.
    pub(super) fn keep_within_memory(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        self.end_row_groups(&mut pieces)?;
        // What was encoded may wait to be a part that a store takes.
        let part = self.settings.part.length(self.open.len() + self.resting.len()) as u64;
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
        let files = || self.open.iter().chain(&self.resting);
        let mut held: usize = files().map(|(_, file)| holds(file)).sum();
        if held <= ceiling {
            return Ok(());
        }
        let worth = |file: &OpenFile| holds(file) as u64 * (self.turn - file.last_turn + 1);
        let mut worths: Vec<_> = files().map(|(key, file)| (worth(file), file.number, key.clone())).collect();
        worths.sort_unstable_by_key(|(worth, number, _)| (*worth, *number));
        while held > ceiling
            && let Some((_, _, key)) = worths.pop()
        {
            let Some(file) = self.open.remove(&key).or_else(|| self.resting.remove(&key)) else { break };
            held -= holds(&file);
            pieces.extend(file.close()?);
        }
        Ok(())
    }
}
