//! The header of a Parquet page, as far as its size hangs on it: `PageHeader` of
//! <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift> in Thrift's compact protocol
//! (<https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>).
//!
//! Its first three fields are whole numbers of 32 bits with the ids 1, 2 and 3: kind, size unpacked, size packed. All behind them stays.

use bytes::Bytes;
use parquet::errors::ParquetError;

/// A field whose id is one more than that of the field before it, a whole number of 32 bits.
const NEXT_I32: u8 = 0x15;
/// Bytes of a whole number of 32 bits, at most.
const VARINT_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    Data,
    Dictionary,
}

#[derive(Debug)]
pub struct Header {
    pub kind: PageKind,
    pub unpacked_size: usize,
    before: Bytes,
    behind: Bytes,
}

impl Header {
    /// An error for what does not begin as the header of a page with rows or a dictionary does.
    pub fn read(header: &Bytes) -> Result<Header, ParquetError> {
        let strange = || ParquetError::General("a page has a header of another form".to_owned());
        let (kind, at) = next_i32(header, 0).ok_or_else(strange)?;
        let (unpacked, at) = next_i32(header, at).ok_or_else(strange)?;
        let (_, end) = next_i32(header, at).ok_or_else(strange)?;
        // `PageType`: 0 is a page of the first form, 2 a dictionary; the second form, 3, packs only a part of the page.
        let kind = match kind {
            0 => PageKind::Data,
            2 => PageKind::Dictionary,
            _ => return Err(strange()),
        };
        let unpacked_size = usize::try_from(unpacked).map_err(|_| strange())?;
        Ok(Header { kind, unpacked_size, before: header.slice(..=at), behind: header.slice(end..) })
    }

    /// The header, of a page that is packed into so many bytes.
    pub fn with_packed_size(&self, size: i32) -> Bytes {
        let mut written = Vec::with_capacity(self.before.len() + VARINT_MAX + self.behind.len());
        written.extend_from_slice(&self.before);
        // Zigzag: the sign is the lowest bit.
        let mut left = ((size << 1) ^ (size >> 31)).cast_unsigned();
        while left >= 0x80 {
            written.push((left & 0x7f) as u8 | 0x80);
            left >>= 7;
        }
        written.push(left as u8);
        written.extend_from_slice(&self.behind);
        Bytes::from(written)
    }
}

/// The number at a place, and the place behind it; `None` where another field stands.
fn next_i32(header: &[u8], at: usize) -> Option<(i32, usize)> {
    if *header.get(at)? != NEXT_I32 {
        return None;
    }
    let mut value: u32 = 0;
    for (place, byte) in header.get(at + 1..)?.iter().take(VARINT_MAX).enumerate() {
        value |= u32::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte & 0x80 == 0 {
            return Some(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), at + 2 + place));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_packed_size_changes() {
        // A page with rows: kind 0, 300 bytes, packed 300, then a struct.
        let header = Bytes::from_static(&[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0xd8, 0x04, 0x2c, 0x15, 0x02, 0x00, 0x00]);
        let read = Header::read(&header).unwrap();
        assert_eq!((read.kind, read.unpacked_size), (PageKind::Data, 300));
        assert_eq!(read.with_packed_size(300), header);
        assert_eq!(*read.with_packed_size(5), [0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x0a, 0x2c, 0x15, 0x02, 0x00, 0x00]);
        for size in [0, 1, 63, 64, 8191, 8192, 1 << 20, i32::MAX] {
            let written = read.with_packed_size(size);
            assert_eq!(next_i32(&written, 5).map(|(found, _)| found), Some(size), "{size}");
        }
        let dictionary = Bytes::from_static(&[0x15, 0x04, 0x15, 0x02, 0x15, 0x02, 0x4c]);
        assert_eq!(Header::read(&dictionary).unwrap().kind, PageKind::Dictionary);
    }

    #[test]
    fn what_is_no_such_header_is_an_error() {
        let headers: [&'static [u8]; 6] = [
            &[],
            &[0x15],
            &[0x15, 0x00, 0x25, 0x02, 0x15, 0x02],
            &[0x15, 0x06, 0x15, 0x02, 0x15, 0x02],
            &[0x15, 0x00, 0x15, 0x01, 0x15, 0x02],
            &[0x15, 0x00, 0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x15, 0x02],
        ];
        for header in headers {
            assert!(Header::read(&Bytes::from_static(header)).is_err(), "{header:?}");
        }
    }
}
