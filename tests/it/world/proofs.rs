//! The fakes are tests' ground: they are tested themselves.

use std::collections::BTreeSet;

use super::api::{FakeApi, Fault, Pages, Stream};
use super::feed;

fn get(url: &str) -> Result<(u16, reqwest::header::HeaderMap, String), reqwest::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
        let answer = client.get(url).send().await?;
        Ok((answer.status().as_u16(), answer.headers().clone(), answer.text().await?))
    })
}

fn api(pages: Pages) -> FakeApi {
    let api = FakeApi::start("2026-03-01T00:00:00Z");
    api.put_stream("items", Stream { pages, page_size: 10, records: feed::plain(1, 25, "2026-02-01T00:00:00Z") });
    api
}

/// Follows next links from the first page; the ids seen, page by page.
fn follow(
    api: &FakeApi,
    mut url: String,
    next: impl Fn(&serde_json::Value, &reqwest::header::HeaderMap) -> Option<String>,
) -> Vec<usize> {
    let mut sizes = Vec::new();
    for _ in 0..9 {
        let (status, headers, body) = get(&url).unwrap();
        assert_eq!(status, 200);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        let records = body.get("data").unwrap_or(&body).as_array().unwrap();
        sizes.push(records.len());
        match next(&body, &headers) {
            Some(token) if token.starts_with("http") => url = token,
            Some(token) => url = format!("{}/items?{token}", api.url()),
            None => break,
        }
    }
    sizes
}

#[test]
fn the_api_pages_in_every_way() {
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    let first = |api: &FakeApi| format!("{}/items", api.url());
    let by_token = api(Pages::Token);
    let sizes = follow(&by_token, first(&by_token), |body, _| text(&body["next_token"]).map(|token| format!("token={token}")));
    assert_eq!(sizes, [10, 10, 5]);
    let by_url = api(Pages::NextUrl);
    assert_eq!(follow(&by_url, first(&by_url), |body, _| text(&body["next"])), [10, 10, 5]);
    let by_link = api(Pages::LinkHeader);
    let link = |headers: &reqwest::header::HeaderMap| {
        let link = headers.get("link")?.to_str().unwrap();
        Some(link[1..link.find('>').unwrap()].to_owned())
    };
    assert_eq!(follow(&by_link, first(&by_link), |_, headers| link(headers)), [10, 10, 5]);
    let endless = api(Pages::Endless);
    assert_eq!(
        follow(&endless, first(&endless), |body, _| text(&body["next_token"]).map(|token| format!("token={token}"))),
        [10; 9]
    );
    let counted = api(Pages::Page);
    assert!(get(&format!("{}/items?page=3", counted.url())).unwrap().2.contains("\"more\":false"));
    let offset = api(Pages::Offset);
    let (_, headers, body) =
        get(&format!("{}/items?offset=20&from=2026-02-01T00:02:00Z&to=2026-02-01T00:24:00Z", offset.url())).unwrap();
    assert!(body.contains("\"total\":22") && body.matches("\"id\"").count() == 2, "{body}");
    assert_eq!(headers["date"], "Sun, 01 Mar 2026 00:00:00 GMT");
    assert_eq!(offset.seen()[0].query["offset"], "20");
}

#[test]
fn the_api_fails_as_told() {
    let api = api(Pages::None);
    let url = format!("{}/items", api.url());
    api.fail(0..1, Fault::TooMany { retry_after: 7 });
    api.fail(1..2, Fault::CutBody);
    api.fail(2..3, Fault::CutJson);
    api.fail(3..4, Fault::Html);
    api.fail(4..5, Fault::Redirect("http://127.0.0.1:1/".to_owned()));
    let (status, headers, _) = get(&url).unwrap();
    assert_eq!((status, headers["retry-after"].to_str().unwrap()), (429, "7"));
    assert!(get(&url).is_err(), "a body that ends early is an error of the connection");
    let (status, _, body) = get(&url).unwrap();
    assert!(status == 200 && serde_json::from_str::<serde_json::Value>(&body).is_err());
    assert!(get(&url).unwrap().2.contains("<html>"));
    assert_eq!(get(&url).unwrap().0, 302);
    assert_eq!(get(&url).unwrap().0, 200);
    assert_eq!(get(&format!("{}/else", api.url())).unwrap().0, 404);
}

#[test]
fn a_feed_is_the_same_for_the_same_seed_and_holds_what_it_promises() {
    let feed = feed::unkind(7, 1, 400, "2026-01-05T00:00:00Z", 50);
    let again = feed::unkind(7, 1, 400, "2026-01-05T00:00:00Z", 50);
    let texts: Vec<&str> = feed.iter().map(|record| record.json.as_str()).collect();
    assert!(again.iter().map(|record| record.json.as_str()).eq(texts.iter().copied()));
    assert_ne!(feed::unkind(8, 1, 1, "2026-01-05T00:00:00Z", 50)[0].json, texts[0]);
    let all = texts.join("\n");
    for promised in
        ["9223372036854775807", "9223372036854775808", "1e400", "[1,{\"a\":2}]", "\\ud83e\\udd80", "日本語", "\"late\""]
    {
        assert!(all.contains(promised), "{promised} is missing");
    }
    // The number that no float holds is there for other readers; this one would refuse the record.
    for text in texts.iter().filter(|text| !text.contains("1e400")) {
        serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    }
    let first_late = texts.iter().position(|text| text.contains("\"late\"")).unwrap();
    assert_eq!(first_late, 300, "the late field is on page 7");
    let instants: BTreeSet<_> = feed.iter().map(|record| record.cursor).collect();
    assert!(instants.len() > 390);
}
