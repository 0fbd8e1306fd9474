//! What is around a body is taken off: gzip, deflate, zstd, brotli, or an archive of one file. What comes out is counted as it comes:
//! a header's claim of a size is never believed, and nothing is unpacked twice.

mod inflate;
mod output;
mod zip;

use std::io::Read;

use bytes::Bytes;

use crate::config::catalog::Packing;
use crate::gzip::Members;

use super::DecodeError;
use output::{CHUNK, Halt, Output};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const ZIP: &[u8] = b"PK\x03\x04";
/// An archive without an entry has nothing but its end.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06";

/// What is unpacked at once, bytes: what comes out is counted before the next, and is a thousand times as much at most.
const PACKED: usize = 4 * 1024;
/// Windows of a zstd frame up to 128 MiB, as zstd itself allows; the body's cap may ask for less.
const ZSTD_WINDOW_LOG: std::ops::RangeInclusive<u32> = 17..=27;

/// The body without what it is packed in; the body itself, uncopied, where that is nothing.
pub fn unpack(body: &Bytes, packing: Packing, body_max: u64) -> Result<Bytes, DecodeError> {
    let Some(packing) = named(packing, body) else { return Ok(body.clone()) };
    let mut out = Output { bytes: Vec::new(), packed: body.len(), body_max };
    match packing {
        Packing::Gzip => gunzip(body, &mut out).map_err(|halt| halt.explain("gzip"))?,
        Packing::Deflate => inflate::deflate(body, &mut out)?,
        Packing::Zstd => unzstd(body, &mut out)?,
        Packing::Brotli => unbrotli(body, &mut out)?,
        _ => zip::unzip(body, &mut out)?,
    }
    if let Some(inner) = recognise(&out.bytes) {
        let message = format!("the unpacked body is packed once more, in {}; only one layer is taken off", name(inner));
        return Err(DecodeError::data(message));
    }
    Ok(Bytes::from(out.bytes))
}

/// What is to be taken off this body.
fn named(packing: Packing, body: &[u8]) -> Option<Packing> {
    match packing {
        Packing::None => None,
        Packing::Auto => recognise(body),
        named => Some(named),
    }
}

/// No text in any encoding begins with these bytes.
fn recognise(body: &[u8]) -> Option<Packing> {
    if body.starts_with(GZIP) {
        return Some(Packing::Gzip);
    }
    if body.starts_with(ZSTD) {
        return Some(Packing::Zstd);
    }
    (body.starts_with(ZIP) || body.starts_with(EMPTY_ZIP)).then_some(Packing::Zip)
}

fn name(packing: Packing) -> &'static str {
    match packing {
        Packing::Gzip => "gzip",
        Packing::Zstd => "zstd",
        _ => "zip",
    }
}

/// A body that is to be packed has a member.
fn gunzip(body: &[u8], out: &mut Output) -> Result<(), Halt> {
    if body.is_empty() {
        return Err(Halt::CutOff);
    }
    let mut members = Members::default();
    for piece in body.chunks(PACKED) {
        out.take(members.take(piece)?)?;
    }
    out.take(members.end()?)
}

fn unzstd(body: &[u8], out: &mut Output) -> Result<(), DecodeError> {
    let broken = |error: std::io::Error| Halt::Broken(error.to_string()).explain("zstd");
    let mut reader = zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?;
    // A frame says how much memory it wants before it has given anything.
    let window = (out.body_max.max(1).ilog2() + 1).clamp(*ZSTD_WINDOW_LOG.start(), *ZSTD_WINDOW_LOG.end());
    reader.window_log_max(window).map_err(broken)?;
    out.drain(reader).map_err(|halt| halt.explain("zstd"))
}

fn unbrotli(body: &[u8], out: &mut Output) -> Result<(), DecodeError> {
    let mut reader = brotli_decompressor::Decompressor::new(body, CHUNK);
    out.drain(&mut reader).map_err(|halt| halt.explain("brotli"))?;
    // Its end is told before what it has taken in behind it, which one more reading finds; what lies further on it leaves where it is.
    let is_done = matches!(reader.read(&mut [0]), Ok(0));
    match is_done && reader.into_inner().is_empty() {
        true => Ok(()),
        false => Err(DecodeError::unavailable("there is more after the end of the brotli stream")),
    }
}

#[cfg(test)]
mod tests;
