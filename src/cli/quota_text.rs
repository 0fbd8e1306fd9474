//! An account's quota in words.

use std::time::Duration;

use crate::quota::{AccountView, WindowView};

use super::text::{length, thousands};

/// Jobs that are named as users of a quota.
const USERS_MAX: usize = 5;

/// One line for each limit, and one for what else there is to say.
pub(crate) fn quota_lines(account: &AccountView) -> Vec<String> {
    let whose = match account.credential.as_str() {
        "" => account.host.clone(),
        credential => format!("{} ({credential})", account.host),
    };
    let mut lines: Vec<String> = account.windows.iter().map(|window| format!("quota {whose}: {}", window_text(window))).collect();
    let mut more = Vec::new();
    if let Some(seconds) = account.paused_for {
        more.push(format!("no request for {}", length(Duration::from_secs(seconds))));
    }
    if account.broken {
        more.push("it fails, one request at a time is tried".to_owned());
    }
    if let Some(pace) = account.pace {
        more.push(format!("it was found to bear {pace:.1} requests a second"));
    }
    if account.under_way + account.waiting > 0 {
        more.push(format!("{} under way, {} waiting", account.under_way, account.waiting));
    }
    if !account.used_by.is_empty() {
        let users = account.used_by.iter().take(USERS_MAX).map(|by| format!("{} {}", by.job, thousands(by.requests)));
        more.push(format!("in the last hour: {}", users.collect::<Vec<_>>().join(", ")));
    }
    if !more.is_empty() {
        lines.push(format!("quota {whose}: {}", more.join("; ")));
    }
    lines
}

/// `4,210 of 5,000 requests in 1h 00m left, all of it in 12m 00s`.
pub(crate) fn window_text(window: &WindowView) -> String {
    let what = if window.points { "points" } else { "requests" };
    let per =
        window.per.filter(|per| *per > 0).map(|per| format!(" in {}", length(Duration::from_secs(per)))).unwrap_or_default();
    let amount = match (window.left, window.limit) {
        (Some(left), Some(limit)) => format!("{} of {} {what}{per} left", thousands(left), thousands(limit)),
        (Some(left), None) => format!("{} {what}{per} left", thousands(left)),
        (None, Some(limit)) => format!("{} {what}{per}", thousands(limit)),
        (None, None) => format!("a limit of {what}"),
    };
    let mut text = match window.name.as_str() {
        "" => amount,
        name => format!("{name}: {amount}"),
    };
    if let Some(seconds) = window.resets_in.filter(|seconds| *seconds > 0) {
        text.push_str(&format!(", all of it in {}", length(Duration::from_secs(seconds))));
    }
    if !window.declared {
        text.push_str(" (as it tells)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::UsedBy;

    #[test]
    fn a_quota_in_words() {
        let window = WindowView {
            name: String::new(),
            declared: true,
            points: false,
            limit: Some(5000),
            per: Some(3600),
            left: Some(4210),
            resets_in: Some(720),
        };
        let told = WindowView { name: "search".to_owned(), declared: false, per: None, resets_in: None, ..window.clone() };
        let account = AccountView {
            host: "api.example.com".to_owned(),
            credential: "1a2b3c4d".to_owned(),
            windows: vec![window, told],
            paused_for: Some(90),
            used_by: vec![UsedBy { job: "orders".to_owned(), requests: 1200 }],
            ..AccountView::default()
        };
        assert_eq!(
            quota_lines(&account),
            [
                "quota api.example.com (1a2b3c4d): 4,210 of 5,000 requests in 1h 00m left, all of it in 12m 00s",
                "quota api.example.com (1a2b3c4d): search: 4,210 of 5,000 requests left (as it tells)",
                "quota api.example.com (1a2b3c4d): no request for 1m 30s; in the last hour: orders 1,200",
            ]
        );
    }
}
