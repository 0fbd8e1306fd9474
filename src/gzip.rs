//! gzip, one member after the other (RFC 1952, 2.2: a file is a series of members): logs that were appended to each other are of many.

use std::io::{self, ErrorKind, Write};

use flate2::write::GzDecoder;

/// What each member begins with.
const MAGIC: u8 = 0x1f;

/// Where in a series of members the bytes are.
#[derive(Default)]
pub enum Members {
    /// Nothing came yet.
    #[default]
    Nothing,
    Within(Box<GzDecoder<Vec<u8>>>),
    /// Behind the end of one.
    Between,
    /// Archives on tape are filled up with zeros, and gzip itself does not mind.
    Padding,
}

impl Members {
    /// What comes out of these bytes.
    ///
    /// # Errors
    /// Where they are no such series, or a checksum says that they were spoilt.
    pub fn take(&mut self, mut packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        while let Some(first) = packed.first() {
            match self {
                Members::Within(member) => {
                    let taken = member.write(packed)?;
                    plain.append(member.get_mut());
                    packed = packed.get(taken..).unwrap_or_default();
                    if taken == 0 {
                        plain.append(&mut self.end()?);
                        *self = Members::Between;
                    }
                }
                Members::Nothing | Members::Between if *first == MAGIC => {
                    *self = Members::Within(Box::new(GzDecoder::new(Vec::new())));
                }
                Members::Between | Members::Padding if packed.iter().all(|byte| *byte == 0) => {
                    *self = Members::Padding;
                    packed = &[];
                }
                Members::Nothing => return Err(spoilt("this is no gzip stream")),
                Members::Between | Members::Padding => return Err(spoilt("there is more after the end of the gzip stream")),
            }
        }
        Ok(plain)
    }

    /// The last bytes of a member that is whole.
    ///
    /// # Errors
    /// Where it is not, or was spoilt: where the end is missing, the two cannot be told apart.
    pub fn end(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Members::Within(member) => {
                member.try_finish().map_err(|_| spoilt("it is cut off, or its checksum is another"))?;
                Ok(std::mem::take(member.get_mut()))
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn spoilt(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}
