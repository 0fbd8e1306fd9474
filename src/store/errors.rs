//! What an object store's error means to us, decided in one place, in words without credentials.

use std::error::Error as _;
use std::io;

use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::error::ErrorKind;

/// The store's name in `object_store::Error::Generic` for a local disk.
const LOCAL: &str = "LocalFileSystem";

const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();
const NO_LINKS: &str = "not permitted: the file system lacks hard links, which this needs (FAT, exFAT and some that are mounted over a \
    network do), or the folder is protected: take a folder on ext4, XFS, Btrfs, ZFS or APFS, or an object store";

/// Why a store did not do what was asked. Never means that it was not done.
#[derive(Debug, Error)]
#[error("{verb} `{address}`: {message}")]
pub struct StoreError {
    pub kind: ErrorKind,
    pub verb: &'static str,
    pub address: String,
    /// What the store said, without credentials.
    pub message: String,
}

/// Turns an error of object_store into ours. `secrets` are blotted out of whatever text is passed on.
pub(super) fn store_error(
    verb: &'static str,
    address: String,
    error: &object_store::Error,
    secrets: &[SecretString],
) -> StoreError {
    let (kind, message) = judge(error);
    StoreError { kind, verb, address, message: blot(message, secrets) }
}

/// Whether there was no answer at all: then it matters who was asked.
pub(super) fn is_unanswered(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::Generic { store, .. } if *store != LOCAL => {
            status(&error.to_string()).is_none() && judge(error).0 == ErrorKind::Unavailable
        }
        _ => false,
    }
}

/// The same for an error of the file system itself.
pub(super) fn io_error(verb: &'static str, address: String, error: &io::Error) -> StoreError {
    let (kind, message) = judge_io(error);
    StoreError { kind, verb, address, message }
}

/// Codes of a 404 that tell of the bucket, of S3 and Google, and of Azure.
const NO_BUCKET: [&str; 2] = ["<Code>NoSuchBucket</Code>", "<Code>ContainerNotFound</Code>"];

/// Whether an error says that the object is not there. A missing bucket is another matter: nothing will ever be there.
pub(super) fn is_missing(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::NotFound { .. } => {
            let text = error.to_string();
            !NO_BUCKET.iter().any(|code| text.contains(code))
        }
        _ => false,
    }
}

fn judge(error: &object_store::Error) -> (ErrorKind, String) {
    use object_store::Error;
    match error {
        Error::Generic { store, .. } if *store == LOCAL => match io_cause(error) {
            Some(cause) => judge_io(cause),
            None => (ErrorKind::Unavailable, root_cause(error)),
        },
        Error::Generic { .. } => judge_answer(error),
        Error::NotFound { .. } if is_missing(error) => (ErrorKind::Data, "there is no such object".to_owned()),
        Error::NotFound { .. } => (ErrorKind::Config, "there is no such bucket".to_owned()),
        Error::AlreadyExists { .. } => (ErrorKind::Conflict, said(error, "something is there already")),
        Error::Precondition { .. } | Error::NotModified { .. } => {
            (ErrorKind::Conflict, "the store refused a condition".to_owned())
        }
        Error::PermissionDenied { .. } => (ErrorKind::Auth, said(error, "permission denied")),
        Error::Unauthenticated { .. } => (ErrorKind::Auth, said(error, "the credentials were not accepted")),
        Error::InvalidPath { source } => (ErrorKind::Bug, source.to_string()),
        Error::NotSupported { .. } | Error::NotImplemented { .. } => (ErrorKind::Config, "the store cannot do that".to_owned()),
        Error::UnknownConfigurationKey { key, .. } => (ErrorKind::Config, format!("unknown key `{key}`")),
        Error::JoinError { .. } => (ErrorKind::Bug, "a blocking task ended early".to_owned()),
        _ => (ErrorKind::Unavailable, root_cause(error)),
    }
}

/// An answer over the network that object_store has no name for, or no answer at all.
fn judge_answer(error: &object_store::Error) -> (ErrorKind, String) {
    let text = error.to_string();
    // The chain of credential providers ends at the addresses of the cloud's metadata services.
    if text.contains("//169.254.") || text.contains("//metadata.google.internal") {
        let message = "no credentials: `[storage]` and the environment give none, and no metadata service gave any";
        return (ErrorKind::Auth, message.to_owned());
    }
    if text.contains("redirect without LOCATION") {
        return (ErrorKind::Config, "the bucket lives in another region: set `region` under `[storage]`".to_owned());
    }
    if text.contains("<Code>AuthorizationHeaderMalformed</Code>")
        && let Some(region) = between(&text, "<Region>", "</Region>").filter(|region| is_region(region))
    {
        return (ErrorKind::Config, format!("the bucket lives in another region: set `region` under `[storage]` to `{region}`"));
    }
    let Some(status) = status(&text) else {
        return (ErrorKind::Unavailable, root_cause(error));
    };
    let code = between(&text, "<Code>", "</Code>").unwrap_or_default();
    let kind = match (status, code) {
        (_, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId" | "RequestExpired") => {
            ErrorKind::Auth
        }
        (500.. | 429 | 408, _) | (200..300, _) | (_, "SlowDown" | "RequestTimeout" | "OperationAborted") => {
            ErrorKind::Unavailable
        }
        // What arrived was not what was sent: the store noticed, and the next try may get through whole.
        (_, "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" | "Md5Mismatch") => {
            ErrorKind::Unavailable
        }
        (401 | 403, _) => ErrorKind::Auth,
        _ => ErrorKind::Config,
    };
    (kind, said(error, &format!("status {status}")))
}

fn is_region(text: &str) -> bool {
    !text.is_empty() && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn judge_io(error: &io::Error) -> (ErrorKind, String) {
    use io::ErrorKind as Io;
    match error.kind() {
        Io::StorageFull => (ErrorKind::Unavailable, "no space left on the disk".to_owned()),
        Io::QuotaExceeded => (ErrorKind::Unavailable, "the disk quota is used up".to_owned()),
        Io::ReadOnlyFilesystem => (ErrorKind::Config, "the file system is read-only".to_owned()),
        // What the likes of FAT answer to a hard link; a lack of rights is EACCES.
        Io::PermissionDenied if error.raw_os_error() == Some(EPERM) => (ErrorKind::Config, NO_LINKS.to_owned()),
        Io::PermissionDenied => (ErrorKind::Config, "permission denied".to_owned()),
        Io::NotADirectory => (ErrorKind::Config, "a part of the path is a file, not a folder".to_owned()),
        // Staging lies under the sink's own root, so only a folder below it that is a mount or a link elsewhere comes here.
        Io::CrossesDevices => (
            ErrorKind::Config,
            "the table's folder and `_highwater` lie on different file systems, between which nothing can be renamed".to_owned(),
        ),
        Io::Unsupported => (ErrorKind::Config, NO_LINKS.to_owned()),
        _ => (ErrorKind::Unavailable, error.to_string()),
    }
}

/// What a server said, without the parts that quote the request: S3 repeats signed headers, session token included.
fn said(error: &object_store::Error, otherwise: &str) -> String {
    let text = error.to_string();
    let code = between(&text, "<Code>", "</Code>");
    let message = between(&text, "<Message>", "</Message>");
    match (code, message) {
        // Azure goes on with the request's number and time, on lines of their own.
        (Some(code), Some(message)) => {
            let first = message.lines().next().unwrap_or_default();
            format!("{otherwise}: {code}: {}", first.trim_end_matches('.'))
        }
        (Some(code), None) => format!("{otherwise}: {code}"),
        _ => otherwise.to_owned(),
    }
}

/// The status in `Server returned non-2xx status code: 503 Service Unavailable: ...`. The type that knows it is private.
fn status(text: &str) -> Option<u16> {
    match between(text, "status code: ", " ") {
        Some(digits) => digits.trim_end_matches(':').parse().ok(),
        // One of the answers inside of Azure's answer to a batch, in which object_store deletes.
        None if text.contains("delete request failed") => between(text, "(code: ", ")").and_then(|digits| digits.parse().ok()),
        None if text.contains("Server returned error response") => Some(200),
        None => None,
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    let (inner, _) = rest.split_once(end)?;
    Some(inner)
}

fn io_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = inner.source();
    }
    None
}

/// The innermost text alone: the outer ones hold the request's address, which may hold a user name and password.
fn root_cause(error: &object_store::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}

fn blot(text: String, secrets: &[SecretString]) -> String {
    let mut text = text;
    for secret in secrets.iter().map(|secret| secret.expose_secret()) {
        if !secret.is_empty() && text.contains(secret) {
            text = text.replace(secret, "***");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn local(kind: io::ErrorKind) -> object_store::Error {
        object_store::Error::Generic { store: LOCAL, source: Box::new(io::Error::from(kind)) }
    }

    #[test]
    fn statuses_become_kinds() {
        let cases = [
            (
                "Error performing PUT http://h/b in 1s - Server returned non-2xx status code: 503 Service Unavailable: ",
                ErrorKind::Unavailable,
            ),
            (
                "x - Server returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code></Error>",
                ErrorKind::Auth,
            ),
            (
                "x - Server returned non-2xx status code: 400 Bad Request: <Error><Code>InvalidRequest</Code></Error>",
                ErrorKind::Config,
            ),
            ("x - Server returned error response: <Error><Code>InternalError</Code></Error>", ErrorKind::Unavailable),
            (
                "x - Server returned non-2xx status code: 400 Bad Request: <Error><Code>BadDigest</Code></Error>",
                ErrorKind::Unavailable,
            ),
            ("Bulk delete request failed for key p: Forbidden (code: 403)", ErrorKind::Auth),
            ("Received redirect without LOCATION, this normally indicates", ErrorKind::Config),
            ("Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error", ErrorKind::Auth),
            ("connection refused", ErrorKind::Unavailable),
        ];
        for (text, kind) in cases {
            assert_eq!(judge(&generic(text)).0, kind, "{text}");
        }
    }

    #[test]
    fn a_full_or_closed_disk_says_so() {
        // A full disk passes, a read-only one needs an operator.
        let (kind, message) = judge(&local(io::ErrorKind::StorageFull));
        assert_eq!((kind, message.as_str()), (ErrorKind::Unavailable, "no space left on the disk"));
        assert_eq!(judge(&local(io::ErrorKind::ReadOnlyFilesystem)).0, ErrorKind::Config);
        assert_eq!(judge(&local(io::ErrorKind::PermissionDenied)).0, ErrorKind::Config);
    }

    #[test]
    fn answers_that_quote_the_request_are_cut() {
        let body = "x - Server returned non-2xx status code: 403 Forbidden: <Error><Code>SignatureDoesNotMatch</Code>\
            <Message>The key s3cret is wrong.</Message><CanonicalRequest>x-amz-security-token:TOKEN</CanonicalRequest></Error>";
        let error = object_store::Error::PermissionDenied { path: "p".to_owned(), source: body.into() };
        let ours = store_error("put", "s3://b/p".to_owned(), &error, &[SecretString::from("s3cret")]);
        assert_eq!(ours.kind, ErrorKind::Auth);
        assert_eq!(ours.to_string(), "put `s3://b/p`: permission denied: SignatureDoesNotMatch: The key *** is wrong");
    }

    #[test]
    fn a_missing_bucket_is_no_missing_object() {
        let missing = |body: &str| object_store::Error::NotFound { path: "p".to_owned(), source: body.to_owned().into() };
        assert!(is_missing(&missing("<Code>NoSuchKey</Code>")));
        assert!(!is_missing(&missing("<Code>NoSuchBucket</Code>")));
        assert!(!is_missing(&missing("<Code>ContainerNotFound</Code>")));
        assert_eq!(judge(&missing("<Code>NoSuchBucket</Code>")).0, ErrorKind::Config);
    }
}
