//! Takes `Content-Encoding: gzip` off an answer, to its last member: the client's own layer stops behind the first one without a word.

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use reqwest::{Body, Response};

use crate::gzip::Members;

/// What is unpacked at once, bytes: it becomes a thousand times as much at most, and whoever counts what comes out stops soon enough.
const PIECE: usize = 8 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The answer without gzip, if that alone is around it; any other as it is.
pub(super) fn gunzipped(response: Response) -> Response {
    if !is_gzip(response.headers()) {
        return response;
    }
    let (status, version, mut headers) = (response.status(), response.version(), response.headers().clone());
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
    let body = Body::wrap_stream(unpacked(Box::pin(response.bytes_stream().fuse())));
    let mut plain = ::http::Response::new(body);
    (*plain.status_mut(), *plain.version_mut(), *plain.headers_mut()) = (status, version, headers);
    Response::from(plain)
}

/// `x-gzip` is the same (RFC 9110, 8.4.1.3).
fn is_gzip(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let (Some(encoding), None) = (encodings.next(), encodings.next()) else { return false };
    let is = |name: &&str| encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    ["gzip", "x-gzip"].iter().any(is)
}

fn unpacked<E: Into<Error>>(packed: impl Stream<Item = Result<Bytes, E>> + Unpin) -> impl Stream<Item = Result<Bytes, Error>> {
    stream::try_unfold((packed, Members::default(), Bytes::new()), |(mut packed, mut members, mut rest)| async move {
        loop {
            if rest.is_empty() {
                match packed.next().await {
                    Some(more) => rest = more.map_err(Into::into)?,
                    None => {
                        let last = members.end()?;
                        return Ok((!last.is_empty()).then(|| (Bytes::from(last), (packed, Members::default(), rest))));
                    }
                }
            }
            let plain = members.take(&rest.split_to(rest.len().min(PIECE)))?;
            if !plain.is_empty() {
                return Ok(Some((Bytes::from(plain), (packed, members, rest))));
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use futures::TryStreamExt;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(plain).unwrap();
        packed.finish().unwrap()
    }

    /// What comes out of a body that arrives in pieces of this size.
    async fn plain(packed: &[u8], size: usize) -> Result<Vec<u8>, String> {
        let pieces = packed.chunks(size).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece)));
        let pieces: Vec<Result<Bytes, Infallible>> = pieces.collect();
        let all = unpacked(stream::iter(pieces)).try_collect::<Vec<Bytes>>().await;
        all.map(|all| all.concat()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn every_member_counts_however_they_arrive() {
        let texts: Vec<Vec<u8>> =
            (0..5).map(|member| format!("line of member {member}\n").repeat(9_000 * member).into()).collect();
        let (packed, expected) = (texts.iter().flat_map(|text| gzip(text)).collect::<Vec<u8>>(), texts.concat());
        let padded = [&packed[..], &[0; 700]].concat();
        for size in [1, 7, 19, 4096, PIECE, PIECE + 1, usize::MAX] {
            assert_eq!(plain(&packed, size).await.as_ref(), Ok(&expected), "{size}");
            assert_eq!(plain(&padded, size).await.as_ref(), Ok(&expected), "{size}, filled up with zeros");
        }
        assert_eq!(plain(b"", 1).await, Ok(Vec::new()), "no body");
    }

    #[tokio::test]
    async fn what_is_not_whole_is_an_error() {
        let packed = [gzip(b"first"), gzip(b"second")].concat();
        let (first, zeros) = (gzip(b"first").len(), [0; 9]);
        for size in [1, 5, usize::MAX] {
            for cut in (1..packed.len()).filter(|cut| *cut != first) {
                assert!(plain(&packed[..cut], size).await.is_err(), "cut behind {cut} bytes");
            }
            // Its checksum.
            let mut spoilt = packed.clone();
            spoilt[first - 8] ^= 0x55;
            assert!(plain(&spoilt, size).await.is_err());
            let told = plain(&[&packed[..], b"more"].concat(), size).await.unwrap_err();
            assert!(told.contains("after the end"), "{told}");
            assert!(plain(&[&packed[..], &zeros, b"more"].concat(), size).await.is_err());
            assert!(plain(b"plain text", size).await.is_err());
        }
    }
}
