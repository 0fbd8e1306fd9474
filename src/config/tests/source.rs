//! `sources/*.toml`.

use crate::config::catalog::{ApiKeyPlace, Auth, CountedEnd, CursorFormat, PagingKind, TokenPlace};

use super::{Files, SOURCE, shown, with_source};

const BASE: &str = "base_url = \"https://api.example.org/v1\"";

fn with_base(url: &str) -> String {
    with_source(BASE, &format!("base_url = \"{url}\""))
}

/// With lines added below `base_url`.
fn with_top(lines: &str) -> String {
    with_source(BASE, &format!("{BASE}\n{lines}"))
}

/// With lines added to the stream `plain`.
pub(super) fn with_stream(lines: &str) -> String {
    with_source("path = \"/plain\"", &format!("path = \"/plain\"\n{lines}"))
}

/// With lines added to the cursor of `orders`.
fn with_cursor(lines: &str) -> String {
    with_source("type = \"timestamp\"", lines)
}

/// With a cursor for the stream `plain`, which is gone over for each order.
fn below_orders(parent: &str, cursor: &str) -> String {
    let path = format!("path = \"/orders/{{{{ parent.id }}}}/plain\"\nparent = {{ stream = \"orders\"{parent} }}\n{cursor}");
    with_source("path = \"/plain\"", &path)
}

#[test]
fn a_cursor_below_a_parent_is_one_of_time_and_the_only_one() {
    let cursor = |name: &str| {
        format!(
            "primary_key = [\"id\"]\n[streams.plain.cursor]\nfield = \"at\"\ntype = \"{name}\"\nquery = {{ since = \"{{{{ from }}}}\" }}"
        )
    };
    assert_eq!(below_orders("", &cursor("timestamp")), "");
    assert_eq!(below_orders("", &cursor("epoch_ms")), "");
    let shown = below_orders("", &cursor("integer"));
    assert!(shown.contains("below a parent a cursor is a time or a date"), "{shown}");
    let shown = below_orders(", changed_only = true", &cursor("timestamp"));
    assert!(shown.contains("one of the two decides") && shown.contains("help: take this out"), "{shown}");
    let source = SOURCE.replacen("primary_key = [\"id\"]\n", "", 1).replacen(
        "path = \"/plain\"",
        &format!("path = \"/{{{{ parent.id }}}}\"\nparent = {{ stream = \"orders\" }}\n{}", cursor("timestamp")),
        1,
    );
    let shown = self::shown(&Files { source, ..Files::good() }.load().problems);
    assert!(shown.contains("nothing tells the records of `orders` from each other"), "{shown}");
}

#[test]
fn base_url() {
    insta::assert_snapshot!(with_base("ftp://api.example.org"), @r#"
    error: sources/shop.toml:3:12: base_url: the scheme `ftp` is not http or https
      help: write an address such as "https://api.example.org/v1"
    "#);
    insta::assert_snapshot!(with_base("api.example.org/v1"), @r#"
    error: sources/shop.toml:3:12: base_url: the address cannot be read: relative URL without a base
      help: write an address such as "https://api.example.org/v1"
    "#);
    insta::assert_snapshot!(with_base("https://user:hunter2@api.example.org"), @r#"
    error: sources/shop.toml:3:12: base_url: credentials do not belong into an address
      help: take them out and use `auth` with a reference such as { env = "API_TOKEN" }
    "#);
    insta::assert_snapshot!(with_base("https://api.example.org/?key=hunter2"), @r#"
    error: sources/shop.toml:3:12: base_url: the address has a query or a fragment
      help: take it out; a stream's `query` takes what every request carries
    "#);
    insta::assert_snapshot!(with_base("https://example.org/{{ owner }}"), @r#"
    error: sources/shop.toml:3:12: base_url: only the host of an address takes parameters, each by itself
      help: write it as in "https://{{ shop }}.example.com/v1"; a stream's path takes templates of all kinds
    "#);
    insta::assert_snapshot!(with_base("https://{{ ower }}.example.org"), @r#"
    error: sources/shop.toml:3:12: base_url: `ower` is no parameter of this source
      help: did you mean `owner`?
    "#);
}

/// The good project with this address of the API, and of its tokens, and this instead of the job's parameters.
fn located(parameters: &str) -> crate::config::Loaded {
    const AUTH: &str = "auth = { type = \"oauth2\", grant = \"client_credentials\", token_url = \"https://id-{{ owner }}.example.org/token\", client_id = \"me\", client_secret = { env = \"SECRET\" } }";
    let base = format!("base_url = \"https://{{{{ owner }}}}.example.org/v1\"\n{AUTH}");
    let source = SOURCE.replacen("base_url = \"https://api.example.org/v1\"", &base, 1);
    let job = super::JOB.replacen("parameters = { owner = \"acme\" }", parameters, 1);
    Files { source, jobs: vec![("orders".to_owned(), job)], ..Files::good() }.load()
}

#[test]
fn a_job_fills_in_the_host_of_the_address_and_of_its_tokens() {
    let loaded = located("parameters = { owner = \"acme\" }");
    assert_eq!(shown(&loaded.problems), "");
    let job = loaded.catalog.jobs.values().next().unwrap();
    assert_eq!(job.source.base_url.as_str(), "https://acme.example.org/v1");
    let crate::config::catalog::Auth::OAuth2(oauth2) = &job.source.auth else { panic!("{:?}", job.source.auth) };
    assert_eq!(oauth2.token_url.as_str(), "https://id-acme.example.org/token");
    let same = located("for_each = [{ owner = \"acme\", lang = \"de\" }, { owner = \"acme\", lang = \"en\" }]");
    assert_eq!(shown(&same.problems), "");
    assert_eq!(same.catalog.jobs.values().next().unwrap().source.base_url.as_str(), "https://acme.example.org/v1");
}

#[test]
fn what_a_job_gives_for_a_host_is_a_name() {
    insta::assert_snapshot!(shown(&located("parameters = { owner = \"evil.example/\" }").problems), @r#"
    error: jobs/orders.toml:6:24: parameters.owner: the value of `owner` is no part of a host's name
      help: sources/shop.toml has it in an address: write letters, digits, `-` and dots, such as "acme"
    "#);
    let missing = shown(&located("parameters = {}").problems);
    assert!(missing.matches("error: ").count() == 1 && missing.contains("needs the parameter `owner`"), "{missing}");
    let other = shown(&located("for_each = [{ owner = \"acme\" }, { owner = \"other\" }]").problems);
    assert!(other.matches("error: ").count() == 1 && other.contains("the sets differ in `owner`"), "{other}");
}

#[test]
fn headers() {
    // S-18
    insta::assert_snapshot!(with_top("headers = { \"X\\r\\nY\" = \"a\", Host = \"b\" }"), @r#"
    error: sources/shop.toml:4:13: headers."X\r\nY": `X\r\nY` is not a header name
      help: use letters, digits and `-`, such as "X-Api-Version"
    error: sources/shop.toml:4:29: headers.Host: the header `Host` is written by the transport
      help: leave it out
    "#);
    insta::assert_snapshot!(with_top("headers = { Accept = \"a\\r\\nX-Admin: 1\" }"), @r#"
    error: sources/shop.toml:4:22: headers.Accept: the value cannot stand in a header
      help: use visible ASCII without line breaks
    "#);
    insta::assert_snapshot!(with_top("headers = { Accept = '{{ \"a\\r\\nX-Admin: 1\" }}' }"), @r#"
    error: sources/shop.toml:4:22: headers.Accept: the value cannot stand in a header
      help: use visible ASCII without line breaks
    "#);
    insta::assert_snapshot!(with_top("headers = { Accept = \"{{ from }}\", accept = \"{{ ownr }}\" }"), @r#"
    error: sources/shop.toml:4:22: headers.Accept: `from` is not in scope in a header
      help: use it in `path` or `query`
    error: sources/shop.toml:4:45: headers.accept: `ownr` is not in scope here
      help: did you mean `owner`?
    error: sources/shop.toml:4:45: headers.accept: the header `accept` is given twice
      help: keep one of them
    "#);
    insta::assert_snapshot!(with_top("headers = { Authorization = \"Bearer hunter2\" }\nauth = { type = \"bearer\", token = { env = \"T\" } }"), @r#"
    warning: sources/shop.toml:4:29: headers.Authorization: the header `authorization` looks like a secret that is written out
      help: use `auth` with a reference such as { env = "API_TOKEN" }
    error: sources/shop.toml:4:29: headers.Authorization: `auth` writes the header `authorization` already
      help: keep one of them
    "#);
}

#[test]
fn auth() {
    insta::assert_snapshot!(with_top("auth = { token = { env = \"T\" } }"), @r#"
    error: sources/shop.toml:4:8: auth: `type` is missing
      help: write one of "none", "bearer", "basic", "api_key", "oauth2", "session", "hmac"
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"oauth1\" }"), @r#"
    error: sources/shop.toml:4:17: auth.type: `oauth1` is not built yet
      help: write one of "none", "bearer", "basic", "api_key", "oauth2", "session", "hmac"
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"baerer\", token = { env = \"T\" } }"), @r#"
    error: sources/shop.toml:4:17: auth.type: `baerer` is not known here
      help: did you mean `bearer`?
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = \"hunter2\" }"), @r#"
    warning: sources/shop.toml:4:35: auth.token: a secret is written out in the file
      help: write a reference: { env = "NAME" }, { file = "path" } or { credential = "name" }
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = 12 }"), @r#"
    error: sources/shop.toml:4:35: auth.token: expected a reference to a secret, found a whole number
      help: write a reference: { env = "NAME" }, { file = "path" } or { credential = "name" }
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = { env = \"A\", file = \"b\" } }"), @r#"
    error: sources/shop.toml:4:35: auth.token: a reference to a secret has exactly one key
      help: write a reference: { env = "NAME" }, { file = "path" } or { credential = "name" }
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"bearer\", token = { env = \"hunter2 \" } }"), @r#"
    error: sources/shop.toml:4:43: auth.token.env: that is not a name of an environment variable
      help: write letters, digits and `_`, such as "API_TOKEN"
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"basic\", username = \"me\" }"), @r#"
    error: sources/shop.toml:4:8: auth.password: `password` is missing
      help: add `password`
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"basic\", username = { env = \"KEY\" }, password = \"\" }"), @"");
    insta::assert_snapshot!(with_top("auth = { type = \"api_key\", name = \"k=\", in = \"cookie\", value = { credential = \"../x\" } }"), @r#"
    error: sources/shop.toml:4:35: auth.name: that is not a name of a cookie
      help: use letters, digits, `_` and `-`, such as "SID"
    error: sources/shop.toml:4:79: auth.value.credential: that is not a name of a credential
      help: write the plain name that systemd's LoadCredential= gives it
    "#);
    insta::assert_snapshot!(with_top("auth = { type = \"api_key\", name = \"a b\", value = { env = \"K\" }, prefix = \"a\\nb\" }"), @r#"
    error: sources/shop.toml:4:35: auth.name: `a b` is not a header name
      help: use letters, digits and `-`, such as "X-Api-Version"
    error: sources/shop.toml:4:74: auth.prefix: the prefix cannot stand in a header
      help: use visible ASCII without line breaks
    "#);
}

#[test]
fn values() {
    insta::assert_snapshot!(
        with_top("timeout = \"0s\"\nbody_max = \"1TiB\"\nallow_hosts = [\"https://x/\", \"a@b\"]\nretry = { attempts = 0 }\nlimits = { requests = [\"100\", \"5/fortnight\"], concurrency = 0 }"),
        @r#"
    error: sources/shop.toml:4:11: timeout: nothing can be done in `0s`
      help: give a duration above zero, such as "60s"
    error: sources/shop.toml:5:12: body_max: `1TiB` is above the memory limit
      help: give at most "512MiB", or raise `limits.memory` in config.toml
    error: sources/shop.toml:6:16: allow_hosts[1]: `https://x/` is not a host
      help: write a host with an optional port, such as "files.example.org" or "localhost:8080"
    error: sources/shop.toml:6:30: allow_hosts[2]: `a@b` is not a host
      help: write a host with an optional port, such as "files.example.org" or "localhost:8080"
    error: sources/shop.toml:7:22: retry.attempts: `0` is out of range
      help: write a whole number from 1 to 20
    error: sources/shop.toml:8:24: limits.requests[1]: `100` is not a rate
      help: write requests per time, such as "100/min", "5000/h" or "100/10s"
    error: sources/shop.toml:8:31: limits.requests[2]: `5/fortnight` is not a rate
      help: write requests per time, such as "100/min", "5000/h" or "100/10s"
    error: sources/shop.toml:8:61: limits.concurrency: `0` is out of range
      help: write a whole number from 1 to 10000
    "#
    );
    insta::assert_snapshot!(with_top("proxy = \"http://u:hunter2@proxy\"\nca_file = \"\"\ntls = {}"), @r#"
    error: sources/shop.toml:4:9: proxy: credentials do not belong into an address
      help: take them out and use `auth` with a reference such as { env = "API_TOKEN" }
    error: sources/shop.toml:5:11: ca_file: the text is empty
      help: write a text, or leave the key out
    error: sources/shop.toml:6:7: tls.certificate: `certificate` is missing
      help: add `certificate`
    error: sources/shop.toml:6:7: tls.key: `key` is missing
      help: add `key`
    "#);
}

#[test]
fn parameters() {
    insta::assert_snapshot!(with_source("lang = { default = \"en\" }", "from = {}\n\"a-b\" = {}\nx = { required = true, default = 1 }"), @r#"
    error: jobs/orders.toml:6:14: parameters: sources/shop.toml needs the parameter `x`
      help: add parameters = { x = "..." }
    error: sources/shop.toml:6:8: parameters.from: `from` has a meaning of its own in templates
      help: choose another name
    error: sources/shop.toml:7:9: parameters.a-b: `a-b` cannot be used in a template
      help: use letters, digits and `_`, beginning with a letter
    error: sources/shop.toml:8:5: parameters.x: a required parameter has no use for a default
      help: keep one of them
    "#);
}

#[test]
fn template_names() {
    insta::assert_snapshot!(with_source("/{{ owner }}/orders", "/{{ ownr }}/{{ parent.id }}"), @r#"
    error: sources/shop.toml:8:8: streams.orders.path: `ownr` is not in scope here
      help: did you mean `owner`?
    error: sources/shop.toml:8:8: streams.orders.path: `parent` is in scope only where a stream is gone over for another
      help: give the stream a parent: parent = { stream = ".." }
    "#);
    insta::assert_snapshot!(with_stream("query = { since = \"{{ from }}\" }"), @r#"
    error: sources/shop.toml:16:19: streams.plain.query.since: `from` is in scope only where the stream has a cursor
      help: add a `cursor`, or take it out
    "#);
    insta::assert_snapshot!(with_stream("query = { a = \"{{ lang\", b = \"{{ lang|uper }}\" }"), @r#"
    error: sources/shop.toml:16:15: streams.plain.query.a: not a template: unexpected end of input, expected end of variable block
      help: a name stands in double braces, such as "{{ from }}"
    error: sources/shop.toml:16:30: streams.plain.query.b: filter uper is unknown
      help: a name stands in double braces, such as "{{ from }}"
    "#);
}

#[test]
fn paths() {
    for path in ["https://evil.example/x", "//evil.example", "/a?b=c", "/a/../b"] {
        let text = with_source("path = \"/plain\"", &format!("path = \"{path}\""));
        assert!(text.starts_with("error: sources/shop.toml:15:8: streams.plain.path: the path "), "{path}: {text}");
    }
    insta::assert_snapshot!(with_stream("records = \"header.X\"\nprimary_key = [\"a..b\", \"\"]"), @r#"
    error: sources/shop.toml:16:11: streams.plain.records: `header.X` is not a path into the body
      help: records stand in the body, such as "data.items"
    error: sources/shop.toml:17:16: streams.plain.primary_key[1]: `a..b` has an empty step
      help: write the field's path, such as "updated_at" or "properties.time"
    error: sources/shop.toml:17:24: streams.plain.primary_key[2]: the path is empty
      help: write the field's path, such as "updated_at" or "properties.time"
    "#);
    insta::assert_snapshot!(with_stream("primary_key = [\"id\", \"\\\"id\\\"\"]"), @r#"
    error: sources/shop.toml:16:22: streams.plain.primary_key[2]: the field `id` stands twice in the key
      help: name it once
    "#);
}

#[test]
fn paging() {
    insta::assert_snapshot!(with_stream("paging = { type = \"keyset\" }"), @r#"
    error: sources/shop.toml:16:10: streams.plain.paging.from: `from` is missing
      help: add `from`
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"offset\", offset_param = \"o\" }"), @r#"
    error: sources/shop.toml:16:10: streams.plain.paging.page_size: `page_size` is missing
      help: add `page_size`
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"page\", param = \"p\", until = \"short_page\" }"), @r#"
    error: sources/shop.toml:16:48: streams.plain.paging.until: without `page_size` no page is short
      help: add `page_size`
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"page\", param = \"p\", size_param = \"s\", more = \"a\", total = \"b\" }"), @r#"
    error: sources/shop.toml:16:53: streams.plain.paging.size_param: `size_param` has no size to send
      help: add `page_size`
    error: sources/shop.toml:16:78: streams.plain.paging.total: the end is given more than once
      help: keep one of `more`, `total`
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"page_token\", token = \"next\", body = \"x\" }"), @r#"
    error: sources/shop.toml:16:56: streams.plain.paging.body: the stream has no body
      help: give it one: body = { type = "json", value = {} }
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"page_token\", token = \"next\", param = \"a\", header = \"b\" }"), @r#"
    error: sources/shop.toml:16:10: streams.plain.paging: the token goes back in one place
      help: keep one of `param`, `header` and `body`
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"next_url\", url = \"a..b\", pages_max = 0 }"), @r#"
    error: sources/shop.toml:16:37: streams.plain.paging.url: `a..b` has an empty step
      help: write a dotted path, such as "data.items" or "header.X-Next"; a key with a dot is quoted: '"a.b"'
    error: sources/shop.toml:16:57: streams.plain.paging.pages_max: `0` is out of range
      help: write a whole number from 1 to 1000000000
    "#);
    insta::assert_snapshot!(with_stream("query = { p = 1 }\npaging = { type = \"page\", param = \"p\" }"), @r#"
    error: sources/shop.toml:16:15: streams.plain.query.p: `paging` writes the query entry `p` already
      help: keep one of them
    "#);
}

#[test]
fn bodies() {
    insta::assert_snapshot!(with_stream("method = \"GET\"\nbody = { type = \"json\", value = {} }"), @r#"
    error: sources/shop.toml:16:10: streams.plain.method: a GET carries no body
      help: write "POST", or take the body out
    "#);
    insta::assert_snapshot!(with_stream("body = { type = \"graphql\", query = \"{ a(x: \\\"{{ from }}\\\") }\", query_file = \"a\" }"), @r#"
    error: sources/shop.toml:16:77: streams.plain.body.query_file: the query is given twice
      help: keep one of `query` and `query_file`
    "#);
    insta::assert_snapshot!(with_stream("body = { type = \"graphql\" }"), @r#"
    error: sources/shop.toml:16:8: streams.plain.body: there is no query
      help: write `query`, or `query_file`
    "#);
    insta::assert_snapshot!(with_stream("body = { type = \"json\", value = { a = [\"{{ frm }}\", \"{{ x\"], b = 2026-01-01, c = nan } }"), @r#"
    error: sources/shop.toml:16:53: streams.plain.body.value.a[2]: not a template: unexpected end of input, expected end of variable block
      help: a name stands in double braces, such as "{{ from }}"
    error: sources/shop.toml:16:82: streams.plain.body.value.c: this is no number that JSON has
      help: write it in quotes
    "#);
    insta::assert_snapshot!(with_stream("body = { type = \"text\", text = \"x\", content_type = \"sql\" }"), @r#"
    error: sources/shop.toml:16:52: streams.plain.body.content_type: `sql` is not a media type
      help: write one, such as "application/sparql-query"
    "#);
    insta::assert_snapshot!(with_stream("body = { type = \"form\", fields = { a = 1 } }\npaging = { type = \"page_token\", token = \"next\", body = \"a.b\" }"), @r#"
    error: sources/shop.toml:17:56: streams.plain.paging.body: a form's fields have no paths
      help: name one field
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"page\", param = \"p\", in = \"body\" }"), @r#"
    error: sources/shop.toml:16:35: streams.plain.paging.param: the stream has no body
      help: give it one: body = { type = "json", value = {} }
    "#);
    insta::assert_snapshot!(with_stream("paging = { type = \"graphql\", page_info = \"data.x.pageInfo\" }"), @r#"
    error: sources/shop.toml:16:19: streams.plain.paging.type: only a GraphQL query has a variable for the next page
      help: give the stream body = { type = "graphql", query = ".." }
    "#);
}

#[test]
fn rules_for_errors() {
    insta::assert_snapshot!(with_stream("[[streams.plain.errors]]\nthen = \"skip\""), @r#"
    error: sources/shop.toml:16:1: streams.plain.errors[1]: the rule holds for every answer
      help: add `status`, `at` or `contains`
    "#);
    insta::assert_snapshot!(with_stream("[[streams.plain.errors]]\nstatus = [99]\nis = [\"a\"]\ncontains = \"b\"\nwait = \"0s\"\nthen = \"dead_letter\""), @r#"
    error: sources/shop.toml:17:11: streams.plain.errors[1].status[1]: `99` is out of range
      help: write a whole number from 100 to 599
    error: sources/shop.toml:18:6: streams.plain.errors[1].is: nothing says where it should stand
      help: add `at`, such as "error.code"
    error: sources/shop.toml:19:12: streams.plain.errors[1].contains: `is` and `contains` are given both
      help: keep one of them, or write two rules
    error: sources/shop.toml:20:8: streams.plain.errors[1].wait: nothing is waited for
      help: give a duration above zero, such as "60s"
    error: sources/shop.toml:20:8: streams.plain.errors[1].wait: only then = "wait" waits
      help: take it out, or write then = "wait"
    "#);
    insta::assert_snapshot!(with_stream("[[streams.plain.errors]]\nat = \"error.code\"\nwait = \"5s\"\nthen = \"fail\""), @r#"
    error: sources/shop.toml:18:8: streams.plain.errors[1].wait: only then = "wait" waits
      help: take it out, or write then = "wait"
    "#);
}

#[test]
fn a_body_makes_a_post_and_a_streams_rules_come_first() {
    let rule = "[[errors]]\nstatus = [409]\nthen = \"retry\"\n[streams.orders]";
    let own =
        "body = { type = \"json\", value = { since = \"{{ from }}\", until = \"{{ to }}\", n = 1.5 } }\nprimary_key = [\"id\"]";
    let source = SOURCE
        .replacen("[streams.orders]", rule, 1)
        .replacen("primary_key = [\"id\"]", own, 1)
        .replacen("query = { since = \"{{ from }}\", until = \"{{ to }}\" }", "", 1)
        .replacen("[streams.plain]", "[[streams.orders.errors]]\nstatus = [404]\nthen = \"skip\"\n[streams.plain]", 1);
    let loaded = Files { source, ..Files::good() }.load();
    assert_eq!(shown(&loaded.problems), "");
    let job = loaded.catalog.jobs.values().next().unwrap();
    assert_eq!(job.stream.method, http::Method::POST);
    assert_eq!(job.stream.errors.iter().map(|rule| rule.status[0]).collect::<Vec<_>>(), [404, 409]);
    // The bounds in the body are bounds like those in a query.
    assert!(job.stream.cursor.as_ref().unwrap().has_upper_bound(&job.stream));
}

#[test]
fn any_method_that_is_answered_with_records_is_taken() {
    for method in ["SEARCH", "QUERY", "REPORT", "PROPFIND", "PUT", "PATCH", "OPTIONS"] {
        let line = format!("method = \"{method}\"\nbody = {{ type = \"text\", text = \"all\" }}");
        assert_eq!(with_stream(&line), "", "{method}");
    }
    let refused = ["HEAD", "CONNECT", "TRACE", "search", "GET IT"].map(|method| with_stream(&format!("method = \"{method}\"")));
    insta::assert_snapshot!(refused.join(""), @r#"
    error: sources/shop.toml:16:10: streams.plain.method: a HEAD is answered without a body: there would be nothing to read
      help: write a method such as "GET", "POST", "SEARCH" or "QUERY"
    error: sources/shop.toml:16:10: streams.plain.method: a CONNECT opens a tunnel: there would be nothing to read
      help: write a method such as "GET", "POST", "SEARCH" or "QUERY"
    error: sources/shop.toml:16:10: streams.plain.method: a TRACE is answered with the request itself, secrets too: there would be nothing to read
      help: write a method such as "GET", "POST", "SEARCH" or "QUERY"
    error: sources/shop.toml:16:10: streams.plain.method: `search` is not a method
      help: write "SEARCH": the case counts
    error: sources/shop.toml:16:10: streams.plain.method: `GET IT` is not a method
      help: write a method such as "GET", "POST", "SEARCH" or "QUERY"
    "#);
    insta::assert_snapshot!(with_stream("method = \"DELETE\""), @r#"
    warning: sources/shop.toml:16:10: streams.plain.method: a DELETE may take away what it reads
      help: check that the API only reads here: a request is made again after a failure, by `preview` and by each run
    "#);
}

#[test]
fn cursors() {
    insta::assert_snapshot!(with_cursor("type = \"token\"\norder = \"ascending\""), @r#"
    error: sources/shop.toml:13:9: streams.orders.cursor.order: `order` has no meaning for a token cursor
      help: take it out
    error: sources/shop.toml:14:41: streams.orders.cursor.query.until: such a cursor has no `to`: it is read from the mark on
      help: take the entry out
    "#);
    insta::assert_snapshot!(with_cursor("type = \"string\"\nprecision = \"1s\""), @r#"
    error: sources/shop.toml:13:13: streams.orders.cursor.precision: `precision` has no meaning for a string cursor
      help: take it out
    error: sources/shop.toml:14:41: streams.orders.cursor.query.until: such a cursor has no `to`: it is read from the mark on
      help: take the entry out
    "#);
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\ntimezone = \"Mars/Base\"\norder = \"up\""), @r#"
    error: sources/shop.toml:13:12: streams.orders.cursor.timezone: `Mars/Base` is not a time zone
      help: write a name of the IANA time zone database, such as "UTC" or "Europe/Berlin"
    error: sources/shop.toml:14:9: streams.orders.cursor.order: `up` is not known here
      help: the words are `none`, `ascending`, `descending`
    "#);
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nformat = \"%Y-%m-%dT%J\""), @r#"
    error: sources/shop.toml:13:10: streams.orders.cursor.format: `%Y-%m-%dT%J` is not a pattern: strftime formatting failed: found unrecognized specifier directive `J`
      help: write a strftime pattern, such as "%Y-%m-%dT%H:%M:%SZ"
    "#);
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nformat = \"%Y-%m-%d\""), @r#"
    error: sources/shop.toml:13:10: streams.orders.cursor.format: the format cannot show a difference of `1s`
      help: give a `precision` no finer than what the format shows, such as "1s" or "1d"
    "#);
    insta::assert_snapshot!(with_cursor("type = \"epoch_s\"\nprecision = \"1ms\""), @r#"
    error: sources/shop.toml:13:13: streams.orders.cursor.precision: the format cannot show a difference of `1ms`
      help: give a `precision` no finer than what the format shows, such as "1s" or "1d"
    "#);
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nprecision = \"0s\""), @r#"
    error: sources/shop.toml:13:13: streams.orders.cursor.precision: `0s` is not a precision
      help: give a duration above zero, such as "1s"
    "#);
    insta::assert_snapshot!(with_cursor("type = \"timestamp\"\nformat = \"%Y-%m-%d %H:%M:%S\"\ntimezone = \"Europe/Berlin\""), @r#"
    error: sources/shop.toml:13:10: streams.orders.cursor.format: the format does not tell apart the hour that comes twice when summer time ends
      help: add `%:z` to the format, or give precision = "1h"
    "#);
    insta::assert_snapshot!(with_cursor("type = \"integer\"\nformat = \"%s\""), @r#"
    error: sources/shop.toml:13:10: streams.orders.cursor.format: `format` has no meaning for an integer cursor
      help: take it out
    error: sources/shop.toml:14:41: streams.orders.cursor.query.until: such a cursor has no `to`: it is read from the mark on
      help: take the entry out
    "#);
    insta::assert_snapshot!(with_source("query = { since = \"{{ from }}\", until = \"{{ to }}\" }", ""), @r#"
    warning: sources/shop.toml:10:1: streams.orders.cursor.query: the API is never asked for what changed: every run reads everything
      help: add an entry such as query = { since = "{{ from }}" }
    "#);
}

#[test]
fn what_is_written_is_what_is_built() {
    let source = SOURCE
        .replacen(BASE, &format!("{BASE}\nauth = {{ type = \"api_key\", name = \"key\", in = \"query\", value = {{ env = \"K\" }} }}"), 1)
        .replacen("type = \"timestamp\"", "type = \"date\"\ntimezone = \"Europe/Berlin\"", 1)
        .replacen(
            "primary_key = [\"id\"]",
            "primary_key = [\"id\"]\nrecords = \"data.items\"\nquery = { zebra = 1, apple = true }\npaging = { type = \"page_token\", token = \"header.X-Next\", param = \"t\", pages_max = 7 }",
            1,
        );
    let loaded = Files { source, ..Files::good() }.load();
    assert_eq!(super::shown(&loaded.problems), "");
    let job = loaded.catalog.jobs.values().next().unwrap();
    assert!(matches!(&job.source.auth, Auth::ApiKey { place: ApiKeyPlace::Query, .. }));
    assert_eq!(job.stream.records.to_string(), "data.items");
    let query: Vec<_> = job.stream.query.iter().map(|(name, template)| (name.as_str(), template.text())).collect();
    assert_eq!(query, [("zebra", "1"), ("apple", "true")], "entries keep the file's order");
    assert_eq!(job.stream.paging.pages_max, 7);
    match &job.stream.paging.kind {
        PagingKind::PageToken { token, place } => {
            assert_eq!((token.to_string().as_str(), place), ("header.x-next", &TokenPlace::Param("t".to_owned())));
        }
        other => panic!("{other:?}"),
    }
    let cursor = job.stream.cursor.as_ref().unwrap();
    assert_eq!(cursor.format, CursorFormat::Strftime("%Y-%m-%d".to_owned()));
    assert_eq!(cursor.precision, jiff::SignedDuration::from_hours(24));
    assert_eq!(job.source.attempts_max, 5);
}

#[test]
fn counted_paging_is_built() {
    for (end, expected) in
        [("", "EmptyPage"), (", more = \"more\"", "More"), (", total = \"n\"", "Total("), (", total_pages = \"n\"", "TotalPages")]
    {
        let paging = format!("primary_key = [\"id\"]\npaging = {{ type = \"page\", param = \"p\", start = 0{end} }}");
        let source = SOURCE.replacen("primary_key = [\"id\"]", &paging, 1);
        let loaded = Files { source, ..Files::good() }.load();
        let job = loaded.catalog.jobs.values().next().unwrap();
        match &job.stream.paging.kind {
            PagingKind::Page { start: 0, page_size: None, end, .. } => assert!(format!("{end:?}").starts_with(expected)),
            other => panic!("{other:?}"),
        }
        assert!(!matches!(&job.stream.paging.kind, PagingKind::Page { end: CountedEnd::ShortPage, .. }));
    }
}

#[test]
fn a_whole_number_cursor_without_a_key() {
    let lines = "[streams.plain.cursor]\nfield = \"seq\"\ntype = \"integer\"\nquery = { after = \"{{ from }}\" }";
    insta::assert_snapshot!(with_stream(lines), @r#"
    error: sources/shop.toml:18:8: streams.plain.cursor.type: an integer cursor needs a key: rows at the mark are read again and told apart by it
      help: add primary_key = ["id"] to the stream
    "#);
}

#[test]
fn a_source_says_whether_it_was_held_to_its_api() {
    let is = |lines: &str| {
        let source = SOURCE.replacen(BASE, &format!("{BASE}\n{lines}"), 1);
        Files { source, ..Files::good() }.load().catalog.jobs.values().next().unwrap().source.experimental
    };
    assert_eq!([is(""), is("experimental = false"), is("experimental = true")], [false, false, true]);
    assert_eq!(with_top("experimental = true"), "", "it is no problem");
}
