//! What comes out of a packed body, counted as it comes.

use std::io::{self, ErrorKind, Read};

use super::super::DecodeError;

/// Beyond so many bytes the ratio counts.
const RATIO_FROM: usize = 10 << 20;
/// Text packs to a tenth, logs to a fiftieth; only what is made to burst packs to less than this part.
const RATIO_MAX: usize = 200;
pub const CHUNK: usize = 64 * 1024;

/// What was unpacked so far, within its bounds.
pub struct Output {
    pub bytes: Vec<u8>,
    /// Size of the packed body.
    pub packed: usize,
    pub body_max: u64,
}

/// Why unpacking stopped.
pub enum Halt {
    Refused(DecodeError),
    /// The input ended too soon.
    CutOff,
    Broken(String),
}

impl Output {
    pub fn check(&self) -> Result<(), DecodeError> {
        let length = self.bytes.len();
        if length as u64 > self.body_max {
            return Err(DecodeError::beyond_cap("the unpacked body", self.body_max));
        }
        if length > RATIO_FROM && length / RATIO_MAX > self.packed {
            let message = format!(
                "the body unpacks to more than `{RATIO_MAX}` times its size, as only a bomb does: `{}` bytes so far; body_max is `{}`",
                length, self.body_max
            );
            return Err(DecodeError::config(message));
        }
        Ok(())
    }

    pub fn take(&mut self, bytes: Vec<u8>) -> Result<(), Halt> {
        self.bytes.extend(bytes);
        self.check().map_err(Halt::Refused)
    }

    /// Takes all that a reader gives.
    pub fn drain(&mut self, mut reader: impl Read) -> Result<(), Halt> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.bytes.extend_from_slice(&chunk[..length]);
                    self.check().map_err(Halt::Refused)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Halt::CutOff,
            _ => Halt::Broken(error.to_string()),
        }
    }
}

impl Halt {
    // What is broken may have been broken on its way: the page is fetched again.
    pub fn explain(self, packing: &str) -> DecodeError {
        match self {
            Halt::Refused(error) => error,
            Halt::CutOff => DecodeError::unavailable(format!("the packed body is cut off: its {packing} stream does not end")),
            Halt::Broken(why) => DecodeError::unavailable(format!("the body cannot be unpacked as {packing}: {why}")),
        }
    }
}
