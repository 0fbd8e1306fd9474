//! Deflate streams to their very end: flate2's readers take a stream that is cut off for one that ends.

use flate2::{Decompress, FlushDecompress, Status};

use super::super::DecodeError;
use super::output::{CHUNK, Halt, Output};

/// `Content-Encoding: deflate` in both its meanings: with zlib's header (RFC 9110) or, as many servers send it, without.
pub fn deflate(body: &[u8], out: &mut Output) -> Result<(), DecodeError> {
    // The header's two bytes are a multiple of 31 (RFC 1950), and name method 8.
    let has_header =
        matches!(body, [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
    let consumed = inflate(body, has_header, out).map_err(|halt| halt.explain("deflate"))?;
    match consumed == body.len() {
        true => Ok(()),
        false => Err(DecodeError::unavailable("there is more after the end of the deflate stream")),
    }
}

/// Unpacks one stream and says how many bytes of the input it took.
pub fn inflate(input: &[u8], has_header: bool, out: &mut Output) -> Result<usize, Halt> {
    let mut stream = Decompress::new(has_header);
    let mut chunk = vec![0; CHUNK];
    // Every turn takes input or gives output; one that does neither ends it.
    loop {
        let (taken, given) = (stream.total_in(), stream.total_out());
        let rest = input.get(taken as usize..).unwrap_or_default();
        let status = stream.decompress(rest, &mut chunk, FlushDecompress::None);
        let length = (stream.total_out() - given) as usize;
        out.bytes.extend_from_slice(&chunk[..length]);
        out.check().map_err(Halt::Refused)?;
        match status {
            Ok(Status::StreamEnd) => return Ok(stream.total_in() as usize),
            Ok(_) if length == 0 && stream.total_in() == taken => return Err(Halt::CutOff),
            Ok(_) => {}
            Err(error) => return Err(Halt::Broken(error.to_string())),
        }
    }
}
