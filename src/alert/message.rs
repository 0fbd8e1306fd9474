//! What a channel reads: what happened, since when, and what to do.

use std::time::Duration;

use serde::Serialize;

use crate::config::service::AlertKind;
use crate::ids::JobName;
use crate::printable::{one_line, shortened};
use crate::state::Told;

use super::book::{BY_FILES, FOR_TIME, Item, moment, rounded};

/// Letters of one reason: the rest stands in the history.
const REASON_MAX: usize = 600;

/// The body of a webhook that takes Slack's form.
#[derive(Serialize)]
pub(super) struct Body {
    text: String,
}

/// One message of one or several conditions; `speaker` stands at its front.
pub(super) fn body(speaker: &str, items: &[Item]) -> Body {
    let text = match items {
        [only] => format!("{}: {}", foreign(speaker), sentence(only)),
        _ => {
            let lines: String = items.iter().map(|item| format!("\n• {}", sentence(item))).collect();
            format!("{}:{lines}", foreign(speaker))
        }
    };
    Body { text }
}

fn sentence(item: &Item) -> String {
    let job = foreign(item.key.job.as_str());
    if let (Told::Cleared, Some(until)) = (item.telling, item.until) {
        let length = Duration::try_from(until.duration_since(item.since)).unwrap_or_default();
        return format!("`{job}` is well again since {}: {} for {}.", moment(until), past(item.kind), rounded(length));
    }
    let since = moment(item.since);
    let reason = foreign(&shortened(&item.reason, REASON_MAX));
    match item.kind {
        AlertKind::RunFailed => format!(
            "`{job}` fails since {since}: {reason}. What was committed stands, the next run reads the rest. History: `highwater runs {job}`"
        ),
        AlertKind::Late => format!("`{job}` is late since {since}: {reason}. Look: `highwater status`, `highwater runs {job}`"),
        AlertKind::Parked => format!("`{job}` is parked since {since}: {reason}. {}", way_out(&item.key.detail, &item.key.job)),
        AlertKind::SchemaChanged => {
            format!("`{job}`: the table's columns changed at {since}: {reason}. Whoever reads the table may want to know.")
        }
        AlertKind::Lost => format!(
            "`{job}`: what had been committed was gone from the lake, as was noticed at {since}: {reason}. Look for who removed it, then: `highwater verify {job}`"
        ),
        AlertKind::Recovered => format!("`{job}`: {reason}"),
    }
}

fn way_out(detail: &str, job: &JobName) -> String {
    match detail {
        BY_FILES => "It does not run before the file is right: `highwater check`, then `systemctl reload highwater`".to_owned(),
        FOR_TIME => "It goes on by itself then.".to_owned(),
        _ => format!(
            "It is tried once an hour, and at once after its file or its secret was changed and `systemctl reload highwater`, or \
             `restart` where the secret stands in the environment or is a credential of systemd. History: `highwater runs {}`",
            foreign(job.as_str())
        ),
    }
}

fn past(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::RunFailed => "it failed",
        AlertKind::Late => "it was late",
        AlertKind::Parked => "it was parked",
        AlertKind::SchemaChanged | AlertKind::Lost | AlertKind::Recovered => "something was wrong",
    }
}

/// One harmless line. `&`, `<` and `>` are Slack's marks of links and of calls for everybody, and are escaped as it asks for.
fn foreign(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::book::BY_RUN;
    use super::*;
    use crate::state::ConditionKey;

    fn item(kind: AlertKind, detail: &str, reason: &str) -> Item {
        let at = |text: &str| text.parse::<Timestamp>().expect("instant");
        let key = ConditionKey { job: JobName::new("orders"), kind: kind.name().to_owned(), detail: detail.to_owned() };
        let (since, until) = (at("2026-01-31T07:08:09Z"), None);
        Item { key, kind, telling: Told::Raised, since, until, reason: reason.to_owned() }
    }

    fn said(items: &[Item]) -> String {
        body("highwater on etl-1", items).text
    }

    #[test]
    fn each_condition_says_what_since_when_and_what_to_do() {
        let cleared = Item {
            telling: Told::Cleared,
            until: Some("2026-01-31T09:20:00Z".parse().expect("instant")),
            ..item(AlertKind::Late, "", "")
        };
        let all = [
            item(AlertKind::RunFailed, "", "fetch page 3: status 503"),
            item(AlertKind::Late, "", "its table is 3h old and should be at most 2h old"),
            item(AlertKind::Parked, BY_FILES, "jobs/orders.toml:3:1: unknown key"),
            item(AlertKind::Parked, BY_RUN, "GET https://api/x answered 401"),
            item(AlertKind::Parked, FOR_TIME, "the source wants no request; until 2026-01-31 12:00 UTC"),
            item(AlertKind::SchemaChanged, "new column `tip`", "new column `tip`"),
            item(AlertKind::Lost, "", "the state knew 9, the log ends at 7; what is missing is read again"),
            cleared,
        ];
        insta::assert_snapshot!(said(&all), @r"
        highwater on etl-1:
        • `orders` fails since 2026-01-31 07:08 UTC: fetch page 3: status 503. What was committed stands, the next run reads the rest. History: `highwater runs orders`
        • `orders` is late since 2026-01-31 07:08 UTC: its table is 3h old and should be at most 2h old. Look: `highwater status`, `highwater runs orders`
        • `orders` is parked since 2026-01-31 07:08 UTC: jobs/orders.toml:3:1: unknown key. It does not run before the file is right: `highwater check`, then `systemctl reload highwater`
        • `orders` is parked since 2026-01-31 07:08 UTC: GET https://api/x answered 401. It is tried once an hour, and at once after its file or its secret was changed and `systemctl reload highwater`, or `restart` where the secret stands in the environment or is a credential of systemd. History: `highwater runs orders`
        • `orders` is parked since 2026-01-31 07:08 UTC: the source wants no request; until 2026-01-31 12:00 UTC. It goes on by itself then.
        • `orders`: the table's columns changed at 2026-01-31 07:08 UTC: new column `tip`. Whoever reads the table may want to know.
        • `orders`: what had been committed was gone from the lake, as was noticed at 2026-01-31 07:08 UTC: the state knew 9, the log ends at 7; what is missing is read again. Look for who removed it, then: `highwater verify orders`
        • `orders` is well again since 2026-01-31 09:20 UTC: it was late for 2h11m.
        ");
    }

    // S-74
    #[test]
    fn what_a_server_said_calls_nobody_and_breaks_no_line() {
        let text =
            said(&[item(AlertKind::RunFailed, "", "body: `<!channel> <https://evil|click>`\n• `other` is well &c\u{1b}[31m")]);
        assert!(text.contains("`&lt;!channel&gt; &lt;https://evil|click&gt;`\\n• `other` is well &amp;c\u{fffd}[31m"), "{text}");
        assert_eq!(text.lines().count(), 1);
        let long = said(&[item(AlertKind::RunFailed, "", &"x".repeat(10_000))]);
        assert!(long.chars().count() < 1_000, "{}", long.len());
    }
}
