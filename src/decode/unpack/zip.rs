//! An archive of one file, by its directory. Names lead nowhere: nothing is ever written under them. Sizes in headers bound what is read,
//! and what comes out is counted.

use flate2::Crc;

use super::super::DecodeError;
use super::super::document::shorten;
use super::inflate;
use super::output::{Halt, Output};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";
/// Bytes of the end of the directory without its comment, and the longest comment.
const END_SIZE: usize = 22;
const COMMENT_MAX: usize = 0xffff;
/// So many entries are looked at.
const ENTRIES_MAX: u64 = 1_000;
const ENCRYPTED: u16 = 1;
const LINK: u32 = 0o120_000;

struct Entry<'a> {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    offset: u64,
    /// The entry's mode under Unix, where it has one.
    mode: u32,
    /// The entry's own fields in the directory.
    extra: &'a [u8],
}

pub fn unzip(body: &[u8], out: &mut Output) -> Result<(), DecodeError> {
    let entries = entries(body)?;
    let files: Vec<&Entry<'_>> = entries.iter().filter(|entry| !is_beside(&entry.name)).collect();
    let file = match files.as_slice() {
        [file] => *file,
        [] => return Err(DecodeError::data("the zip has no file in it")),
        many => {
            let names: Vec<String> = many.iter().take(5).map(|entry| format!("`{}`", shorten(&entry.name, 60))).collect();
            let more = if many.len() > names.len() { ", .." } else { "" };
            let message = format!("the zip has `{}` files where one is expected: {}{more}", many.len(), names.join(", "));
            return Err(DecodeError::config(message));
        }
    };
    if file.flags & ENCRYPTED != 0 {
        return Err(DecodeError::config("the file in the zip is encrypted; passwords are not taken"));
    }
    if file.mode & 0o170_000 == LINK {
        return Err(DecodeError::data("the file in the zip is a link"));
    }
    let data = data(body, file)?;
    match file.method {
        0 => {
            out.bytes.extend_from_slice(data);
            out.check()?;
        }
        8 => {
            inflate::inflate(data, false, out).map_err(|halt| halt.explain("zip"))?;
        }
        93 => super::unzstd(data, out)?,
        method => {
            let message = format!("the zip is packed by method `{method}`; deflate, zstd and stored are known");
            return Err(DecodeError::config(message));
        }
    }
    let mut crc = Crc::new();
    crc.update(&out.bytes);
    match crc.sum() == file.crc {
        true => Ok(()),
        false => Err(Halt::Broken("the checksum is another".to_owned()).explain("zip")),
    }
}

/// Directories, and what a Mac puts beside each file.
fn is_beside(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    name.ends_with('/') || name.starts_with("__MACOSX/") || last == ".DS_Store"
}

fn cut_off() -> DecodeError {
    DecodeError::unavailable("the zip is cut off, or its directory is broken")
}

fn entries(body: &[u8]) -> Result<Vec<Entry<'_>>, DecodeError> {
    let end = find_end(body).ok_or_else(cut_off)?;
    let (count, offset) = directory(body, end).ok_or_else(cut_off)?;
    if count > ENTRIES_MAX {
        return Err(DecodeError::data(format!("the zip has `{count}` entries where one file is expected")));
    }
    let mut entries = Vec::new();
    let mut at = usize::try_from(offset).map_err(|_| cut_off())?;
    for _ in 0..count {
        let (entry, next) = entry(body, at).ok_or_else(cut_off)?;
        entries.push(entry);
        at = next;
    }
    Ok(entries)
}

/// The end of the directory stands last, behind it at most a comment of the length that it tells.
fn find_end(body: &[u8]) -> Option<usize> {
    let last = body.len().checked_sub(END_SIZE)?;
    let first = last.saturating_sub(COMMENT_MAX);
    (first..=last).rev().find(|at| {
        let comment = body.len() - at - END_SIZE;
        body[*at..].starts_with(END) && number(body, at + 20, 2) == Some(comment as u64)
    })
}

/// Number of entries, and where the first one stands.
fn directory(body: &[u8], end: usize) -> Option<(u64, u64)> {
    let (count, offset) = (number(body, end + 10, 2)?, number(body, end + 16, 4)?);
    if count != 0xffff && offset != 0xffff_ffff {
        return Some((count, offset));
    }
    let locator = end.checked_sub(20)?;
    if !body.get(locator..)?.starts_with(LOCATOR_64) {
        return Some((count, offset));
    }
    let end = usize::try_from(number(body, locator + 8, 8)?).ok()?;
    if !body.get(end..)?.starts_with(END_64) {
        return None;
    }
    Some((number(body, end + 32, 8)?, number(body, end + 48, 8)?))
}

/// The entry at a place of the directory, and where the next one stands.
fn entry(body: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    if !body.get(at..)?.starts_with(CENTRAL) {
        return None;
    }
    let short = |offset: usize| number(body, at + offset, 2).and_then(|value| u16::try_from(value).ok());
    let word = |offset: usize| number(body, at + offset, 4).and_then(|value| u32::try_from(value).ok());
    let name_end = at + 46 + usize::from(short(28)?);
    let extra_end = name_end + usize::from(short(30)?);
    let mut entry = Entry {
        name: String::from_utf8_lossy(body.get(at + 46..name_end)?).into_owned(),
        flags: short(8)?,
        method: short(10)?,
        crc: word(16)?,
        packed: u64::from(word(20)?),
        offset: u64::from(word(42)?),
        mode: word(38)? >> 16,
        extra: body.get(name_end..extra_end)?,
    };
    entry.widen(u64::from(word(24)?))?;
    Some((entry, extra_end + usize::from(short(32)?)))
}

impl Entry<'_> {
    /// Zip64: numbers that do not fit stand in the extra field, in this order, those that fit left out.
    fn widen(&mut self, size: u64) -> Option<()> {
        const FULL: u64 = 0xffff_ffff;
        if self.packed != FULL && self.offset != FULL {
            return Some(());
        }
        let mut at = 0;
        while at + 4 <= self.extra.len() {
            let (id, length) = (number(self.extra, at, 2)?, number(self.extra, at + 2, 2)? as usize);
            if id == 1 {
                let field = self.extra.get(at + 4..at + 4 + length)?;
                let mut place = if size == FULL { 8 } else { 0 };
                for value in [&mut self.packed, &mut self.offset] {
                    if *value == FULL {
                        *value = number(field, place, 8)?;
                        place += 8;
                    }
                }
                return Some(());
            }
            at += 4 + length;
        }
        None
    }
}

/// The entry's packed bytes, behind its own header.
fn data<'a>(body: &'a [u8], entry: &Entry<'_>) -> Result<&'a [u8], DecodeError> {
    let find = || {
        let at = usize::try_from(entry.offset).ok()?;
        if !body.get(at..)?.starts_with(LOCAL) {
            return None;
        }
        let start = at + 30 + number(body, at + 26, 2)? as usize + number(body, at + 28, 2)? as usize;
        body.get(start..start.checked_add(usize::try_from(entry.packed).ok()?)?)
    };
    find().ok_or_else(cut_off)
}

/// A number of so many bytes, the lowest first.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let digits = bytes.get(at..at.checked_add(length)?)?;
    Some(digits.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
