//! Reads bodies, never more of them than allowed.

use bytes::Bytes;
use reqwest::Response;

use super::buffer::Buffer;

#[derive(Debug)]
pub(super) enum BodyError {
    /// More bytes than allowed, after decompression.
    TooLarge,
    /// Cut off, damaged, too slow.
    Broken(reqwest::Error),
}

/// The whole body, decompressed. The bytes that come out are counted, not those that come in: a few kilobytes can become gigabytes.
pub(super) async fn read_all(mut response: Response, max: u64) -> Result<Bytes, BodyError> {
    let announced = response.content_length().unwrap_or(0);
    if announced > max {
        return Err(BodyError::TooLarge);
    }
    let mut body = Buffer::of(announced);
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() as u64 + chunk.len() as u64 > max {
            return Err(BodyError::TooLarge);
        }
        body.extend(&chunk);
    }
    Ok(body.into_bytes())
}

/// The beginning of a body, for a message; what goes wrong here is of no interest beside the status that it explains.
pub(super) async fn read_start(mut response: Response, max: usize) -> Vec<u8> {
    let mut start = Vec::new();
    while start.len() < max {
        match response.chunk().await {
            Ok(Some(chunk)) => start.extend_from_slice(&chunk[..chunk.len().min(max - start.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    start
}
