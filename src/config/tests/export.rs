//! `[streams.NAME.export]` and logins.

use super::{Files, SOURCE, with_top};

/// The source with an export for its stream; `stream` and `export` are what stands there besides.
fn export(stream: &str, export: &str) -> String {
    let source = SOURCE.replacen("path = \"/{{ owner }}/orders\"\n", stream, 1);
    let source = format!("{source}\n[streams.orders.export]\n{export}\n");
    Files { source, ..Files::good() }.load().problems.iter().map(|problem| format!("{problem}\n")).collect()
}

const CREATE: &str =
    "create = { path = \"/jobs\", body = { type = \"json\", value = { from = \"{{ from }}\" } } }\nid = \"id\"\n";

#[test]
fn an_export_is_taken() {
    let poll = "poll = { path = \"/jobs/{{ export.id }}\", status = \"state\", done = [\"Done\"] }";
    assert_eq!(export("path = \"/jobs/{{ export.id }}\"\n", &format!("{CREATE}{poll}")), "");
    assert_eq!(export("", &format!("{CREATE}{poll}\ndownload = \"files.*.url\"\n")), "");
    assert_eq!(export("", &format!("{}poll = {{}}\ndownload = \"url\"\n", CREATE.replace("\"id\"", "\"header.location\""))), "");
}

#[test]
fn what_an_export_lacks_is_told() {
    insta::assert_snapshot!(export("", "create = { path = \"/jobs\", method = \"GET\", body = { type = \"json\", value = {} } }"), @r#"
    error: sources/shop.toml:16:1: streams.orders.export.id: `id` is missing
      help: add `id`
    error: sources/shop.toml:16:1: streams.orders.export.poll: `poll` is missing
      help: add `poll`
    error: sources/shop.toml:17:37: streams.orders.export.create.method: a GET carries no body
      help: write "POST", or take the body out
    "#);
    insta::assert_snapshot!(
        export(
            "path = \"/rows\"\n",
            "create = { path = \"/jobs/{{ export.id }}\" }\nid = \"id\"\npoll = { path = \"/jobs\", status = \"state\", failed = [\"x\"], every = \"0s\" }\ncleanup = { path = \"..\" }"
        ),
        @r#"
    error: sources/shop.toml:8:8: streams.orders.path: the request fetches the same for every export
      help: name it in the path: "/jobs/{{ export.id }}/results", or write `download`
    error: sources/shop.toml:18:19: streams.orders.export.create.path: `export` is in scope only once an export was asked for
      help: use it in what comes behind `create`, and give the stream an `export`
    error: sources/shop.toml:20:8: streams.orders.export.poll.done: nothing says when the export is done
      help: add the words, such as done = ["done"]
    error: sources/shop.toml:20:17: streams.orders.export.poll.path: the request is the same for every export
      help: name it: "/jobs/{{ export.id }}"
    error: sources/shop.toml:20:68: streams.orders.export.poll.every: that is no time
      help: give a duration above zero, such as "30s"
    error: sources/shop.toml:21:20: streams.orders.export.cleanup.path: the path leaves its folder
      help: write it without `.` and `..`
    "#
    );
    insta::assert_snapshot!(
        export(
            "path = \"/rows\"\npaging = { type = \"link_header\" }\n",
            &format!("{CREATE}poll = {{ method = \"GET\", done = [\"a\"], failed = [\"a\"], every = \"2m\", every_max = \"1m\" }}\ndownload = \"url\"")
        ),
        @r#"
    error: sources/shop.toml:8:8: streams.orders.path: the export tells the whole address to fetch
      help: take it out
    error: sources/shop.toml:9:10: streams.orders.paging: what an export's addresses lead to has no pages
      help: take it out: each address is a page of its own
    error: sources/shop.toml:21:19: streams.orders.export.poll.method: nothing says where to send it
      help: add `path`, or take this out
    error: sources/shop.toml:21:33: streams.orders.export.poll.done: nothing says where the word stands
      help: add `status`, such as status = "state"
    error: sources/shop.toml:21:49: streams.orders.export.poll.failed: nothing says where the word stands
      help: add `status`, such as status = "state"
    error: sources/shop.toml:21:49: streams.orders.export.poll.failed: `a` cannot mean both
      help: keep it in one of `done` and `failed`
    error: sources/shop.toml:21:82: streams.orders.export.poll.every_max: the longest wait is shorter than the first
      help: give at least `every`
    "#
    );
}

#[test]
fn a_login_shows_the_password_and_gives_one_thing() {
    let session = |keys: &str| {
        with_top(&format!("auth = {{ type = \"session\", username = \"jo\", password = {{ env = \"P\" }}, {keys} }}"))
    };
    let login =
        "login = { path = \"/login\", body = { type = \"form\", fields = { u = \"{{ username }}\", p = \"{{ password }}\" } } }";
    assert_eq!(session(&format!("{login}, token = \"token\", prefix = \"Bearer \", expires = \"1h\"")), "");
    assert_eq!(session(&format!("{login}, cookie = \"SID\"")), "");
    insta::assert_snapshot!(session("login = { path = \"/login/{{ password }}\" }"), @r#"
    error: sources/shop.toml:4:8: auth: nothing says what the login gives
      help: write `token` with its path in the answer, or `cookie` with the cookie's name
    error: sources/shop.toml:4:88: auth.login.path: `password` is not in scope here
      help: the names in scope are `lang`, `owner`
    "#);
    insta::assert_snapshot!(session(&format!("{login}, token = \"token\", cookie = \"S D\", expires = \"0s\"")), @r#"
    error: sources/shop.toml:4:209: auth.cookie: the session is shown in one way
      help: keep one of `token` and `cookie`
    error: sources/shop.toml:4:226: auth.expires: a session of no length helps nobody
      help: give a duration from "1s" on
    "#);
    insta::assert_snapshot!(session(&format!("{login}, cookie = \"S D\", prefix = \"x\"")), @r#"
    error: sources/shop.toml:4:192: auth.cookie: that is not a name of a cookie
      help: use letters, digits, `_` and `-`, such as "SID"
    error: sources/shop.toml:4:208: auth.prefix: a cookie goes back as a cookie
      help: take it out, or write `token`
    "#);
}
