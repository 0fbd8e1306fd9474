//! One JSON value a line: the lines become the items of a list, each still exactly one.

use serde::de::IgnoredAny;

use super::super::DecodeError;
use super::{Text, refuse_markup};

/// Lines without a value are left out, and so is what begins a record in JSON text sequences (RFC 7464). A body without any line is
/// an empty page: such an answer has no other way to say that there is nothing.
pub fn to_json(body: &[u8]) -> Result<Text, DecodeError> {
    refuse_markup(body, "NDJSON")?;
    let mut json = Vec::with_capacity(body.len() + 2);
    let mut starts = Vec::new();
    json.push(b'[');
    for line in lines(body).filter(|line| !line.is_empty()) {
        if !starts.is_empty() {
            json.push(b',');
        }
        let start = u32::try_from(json.len()).map_err(|_| DecodeError::data("the body is larger than 4 GiB"))?;
        starts.push(start);
        json.extend_from_slice(line);
    }
    json.push(b']');
    if starts.len() == 1 && json.get(1) == Some(&b'[') {
        return Err(DecodeError::data("the body is one list in JSON, not NDJSON; write format = { type = \"json\" }"));
    }
    Ok(Text { json: json.into(), starts: Some(starts) })
}

fn lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let trim = |line: &'_ [u8]| -> usize { line.iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == 0x1e).count() };
    body.split(|byte| *byte == b'\n').map(move |line| line[trim(line)..].trim_ascii_end())
}

/// Names the line that is no value. Nothing is known of the others: joined they may have made sense, and not what they say.
pub fn explain(body: &[u8], error: DecodeError) -> DecodeError {
    let count = body.split(|byte| *byte == b'\n').count();
    for (index, line) in lines(body).enumerate().filter(|(_, line)| !line.is_empty()) {
        let Err(why) = serde_json::from_slice::<IgnoredAny>(line) else { continue };
        let number = index + 1;
        return DecodeError::unavailable(match number == count && why.is_eof() {
            true => format!("the body is cut off in line `{number}`"),
            false => format!("line `{number}` is not one JSON value: {why}"),
        });
    }
    error
}

#[cfg(test)]
mod tests;
