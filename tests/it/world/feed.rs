//! Feeds made by seed: records as an unkind API would send them, with the exact text as the ground truth.

use jiff::{SignedDuration, Timestamp};

use super::api::Record;
use super::dice::Dice;

/// What a record's texts are made of: scripts, escapes, signs that have a meaning somewhere else.
const WORDS: &[&str] = &[
    "plain",
    "Zürich",
    "naïve",
    "日本語",
    "العربية",
    "עברית",
    "हिन्दी",
    "🦀🌊",
    "👩‍👩‍👧",
    "e\u{301}",
    "\"quoted\"",
    "back\\slash",
    "tab\tnew\nline",
    "a/b",
    "'; DROP TABLE x; --",
    "{{ from }}",
    "${HOME}",
    "\u{202e}right to left",
    "\u{feff}bom",
    "null",
    "NaN",
    "",
    " ",
    "\u{7f}",
    "\u{1}",
];

/// Makes `count` records with ids from `first_id`, cursors about a minute apart from `start` on. `page_size` places the field
/// that shows up on page 7 only.
pub fn unkind(seed: u64, first_id: u64, count: u64, start: &str, page_size: u64) -> Vec<Record> {
    let mut dice = Dice::new(seed);
    let mut at: Timestamp = start.parse().expect("an RFC 3339 time");
    let mut records = Vec::new();
    for index in 0..count {
        at += SignedDuration::from_micros(i64::try_from(dice.below(120_000_000)).unwrap());
        let json = record(&mut dice, first_id + index, at, index, page_size);
        records.push(Record { json, cursor: Some(at) });
    }
    records
}

/// A list of plain records: `id`, `updated_at`, `name`. One a minute.
pub fn plain(first_id: u64, count: u64, start: &str) -> Vec<Record> {
    let start: Timestamp = start.parse().expect("an RFC 3339 time");
    let record = |index: u64| {
        let at = start + SignedDuration::from_mins(i64::try_from(index).unwrap());
        let json = format!("{{\"id\":{},\"updated_at\":\"{at}\",\"name\":\"n{index}\"}}", first_id + index);
        Record { json, cursor: Some(at) }
    };
    (0..count).map(record).collect()
}

fn record(dice: &mut Dice, id: u64, at: Timestamp, index: u64, page_size: u64) -> String {
    let mut fields = vec![
        field("updated_at", format!("\"{}\"", at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))),
        field("title", text(dice)),
        field("größe mit Ümlaut", dice.below(100).to_string()),
        field("flag", ["true", "false", "null"][dice.below(3) as usize].to_owned()),
        // Exact to the last digit at both ends of 64 bits.
        field("big", dice.pick(&["9223372036854775807", "-9223372036854775808", "9007199254740993", "0", "-0"]).to_string()),
        // One value beyond makes the whole column text.
        field("beyond", if index == 3 { "9223372036854775808".to_owned() } else { dice.below(1000).to_string() }),
        field("huge", if index == 5 { "1e400".to_owned() } else { format!("{}.5", dice.below(1000)) }),
        field("mixed", if dice.once_in(2) { dice.below(50).to_string() } else { format!("{}.25", dice.below(50)) }),
        field(
            "small",
            dice.pick(&["0.1", "-1.5e-7", "1E5", "3.0", "2.2250738585072014e-308", "1.7976931348623157e308", "-0.0"]).to_string(),
        ),
        field("scalar", dice.pick(&["7", "\"seven\"", "true", "7.5", "null"]).to_string()),
        field("never", "null".to_owned()),
        field("day", format!("\"2026-0{}-1{}\"", 1 + dice.below(9), dice.below(9))),
        field("due", if dice.once_in(40) { "\"tomorrow\"".to_owned() } else { "\"2026-01-01T00:00:00Z\"".to_owned() }),
        field("offset", format!("\"2026-03-0{}T0{}:00:00+02:00\"", 1 + dice.below(9), dice.below(9))),
        field("user", user(dice)),
        field("labels", labels(dice)),
        field("matrix", format!("[[{},{}],[],[null,{}]]", dice.below(9), dice.below(9), dice.below(9))),
        // An object, and now and then a list in its place.
        field(
            "shape",
            if dice.once_in(9) {
                "[1,{\"a\":2}]".to_owned()
            } else {
                format!("{{\"kind\": \"circle\", \"r\":{}}}", dice.below(9))
            },
        ),
    ];
    if index >= 6 * page_size {
        fields.push(field("late", format!("{{\"from\":\"page 7\",\"n\":{index}}}")));
    }
    if dice.once_in(3) {
        fields.push(field("sometimes", dice.below(10).to_string()));
    }
    // The order of fields means nothing and changes from record to record.
    for last in (1..fields.len()).rev() {
        fields.swap(last, dice.below(last as u64 + 1) as usize);
    }
    fields.insert(dice.below(3) as usize, field("id", id.to_string()));
    let gap = *dice.pick(&["", " ", "  "]);
    format!("{{{gap}{}{gap}}}", fields.join(&format!(",{gap}")))
}

fn field(name: &str, value: String) -> String {
    format!("{}:{value}", serde_json::to_string(name).unwrap())
}

fn text(dice: &mut Dice) -> String {
    if dice.once_in(8) {
        return "null".to_owned();
    }
    let words: Vec<&str> = (0..1 + dice.below(4)).map(|_| *dice.pick(WORDS)).collect();
    let text = words.join(" ");
    if dice.once_in(2) { serde_json::to_string(&text).unwrap() } else { escaped(&text) }
}

/// Every sign outside of ASCII letters as `\uXXXX`, surrogate pairs included.
fn escaped(text: &str) -> String {
    let escape = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>())
}

fn user(dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => "null".to_owned(),
        1 => "{\"login\":null,\"seen\":{\"at\":null}}".to_owned(),
        _ => format!(
            "{{\"login\":\"u{}\",\"site.admin\":{},\"seen\":{{\"at\":\"2026-02-0{}T00:00:00.5Z\",\"score\":{}}}}}",
            dice.below(50),
            dice.once_in(2),
            1 + dice.below(9),
            dice.below(5)
        ),
    }
}

fn labels(dice: &mut Dice) -> String {
    let label = |dice: &mut Dice| format!("{{\"name\":{},\"color\":\"#{:06x}\"}}", text(dice), dice.below(1 << 24));
    match dice.below(5) {
        0 => "null".to_owned(),
        1 => "[]".to_owned(),
        count => format!("[{}]", (1..count).map(|_| label(dice)).collect::<Vec<_>>().join(",")),
    }
}
