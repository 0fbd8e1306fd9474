//! Takes `Content-Encoding: gzip` off an answer, one member after the other (RFC 1952, 2.2: a file is a series of members). The client's
//! own layer stops behind the first one without a word, and logs that were appended to each other are of many.

use std::io::{self, ErrorKind, Write};

use bytes::Bytes;
use flate2::write::GzDecoder;
use futures::stream::{self, Stream, StreamExt};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use reqwest::{Body, Response};

/// What is unpacked at once, bytes: it becomes a thousand times as much at most, and whoever counts what comes out stops soon enough.
const PIECE: usize = 8 * 1024;
/// What each member begins with.
const MAGIC: u8 = 0x1f;

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

/// Where in a series of members the bytes are.
#[derive(Default)]
enum Members {
    /// Nothing came yet; an answer without a body has no member either.
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
    fn take(&mut self, mut packed: &[u8]) -> io::Result<Vec<u8>> {
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

    /// The last bytes of a member that is whole; an error if it is not.
    fn end(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Members::Within(member) => {
                member.try_finish()?;
                Ok(std::mem::take(member.get_mut()))
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn spoilt(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

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
