//! The four kinds of files, key by key. The only place where a key's name, form and meaning are said.

mod auth;
mod body;
mod cursor;
mod errors;
mod export;
mod format;
mod job;
mod limits;
mod paging;
mod parent;
mod session;
mod settings;
mod sink;
mod source;
mod stream;

pub(super) use job::JOB;
pub(super) use settings::SETTINGS;
pub(super) use sink::SINK;
pub(super) use source::SOURCE;
