use std::sync::Arc;

use url::Url;

use super::*;
use crate::config::catalog::{CountedEnd, LastPage, Paging, PagingKind, Placed, TokenPlace};
use crate::error::ErrorKind;
use crate::page::ParentAt;
use crate::source::FetchError;
use crate::source::http::origin::OriginRule;

fn path(text: &str) -> ResponsePath {
    ResponsePath::parse(text).unwrap()
}

fn pager(kind: PagingKind) -> Pager {
    Pager::new(Paging { kind, pages_max: 1000, last: None, result_cap: None }, &path("data.items"))
}

fn by_offset(end: CountedEnd) -> Pager {
    let kind = PagingKind::Offset {
        offset_param: "offset".to_owned(),
        limit_param: Some("limit".to_owned()),
        start: 0,
        page_size: 100,
        end,
        placed: Placed::Query,
    };
    pager(kind)
}

fn by_page(end: CountedEnd) -> Pager {
    let kind = PagingKind::Page {
        param: "page".to_owned(),
        start: 1,
        page_size: Some(50),
        size_param: Some("per_page".to_owned()),
        end,
        placed: Placed::Query,
    };
    pager(kind)
}

fn by_token() -> Pager {
    pager(PagingKind::PageToken { token: path("meta.next"), place: TokenPlace::Param("cursor".to_owned()) })
}

fn envelope(records: u64, captured: &[(&str, Captured)]) -> Envelope {
    let captured = captured.iter().map(|(name, value)| (path(name), value.clone())).collect();
    Envelope { captured, records, ..Envelope::default() }
}

fn text(text: &str) -> Captured {
    Captured::Text(text.to_owned())
}

fn digits(text: &str) -> Captured {
    Captured::Number(text.to_owned())
}

fn step(pager: &Pager, at: &PagePosition, envelope: &Envelope) -> Result<Option<PagePosition>, FetchError> {
    step_by(pager, at, envelope, &HeaderMap::new())
}

fn step_by(
    pager: &Pager,
    at: &PagePosition,
    envelope: &Envelope,
    headers: &HeaderMap,
) -> Result<Option<PagePosition>, FetchError> {
    let from = Url::parse("https://api.example.com/v1/items").unwrap();
    let origins = OriginRule::new(&from, &["files.example.com".to_owned()], false).unwrap();
    pager.next(at, envelope, headers, &from, &origins, &Ok)
}

fn at(number: u64, index: u64, records_before: u64) -> PagePosition {
    PagePosition { index, records_before, at: PageAt::Number(number), parent: None }
}

/// Walks until the end or an error; the error and the pages walked.
fn walk(pager: &Pager, mut answer: impl FnMut(u64) -> Envelope) -> (u64, Option<String>) {
    let mut position = PagePosition::start();
    loop {
        match step(pager, &position, &answer(position.index)) {
            Ok(Some(next)) => position = next,
            Ok(None) => return (position.index + 1, None),
            Err(error) => return (position.index + 1, Some(error.message)),
        }
    }
}

#[test]
fn positions_are_asked_for_as_their_kind_says() {
    let ask = by_page(CountedEnd::EmptyPage).ask(&PageAt::Start).unwrap();
    assert_eq!(ask.query, [("page".to_owned(), "1".to_owned()), ("per_page".to_owned(), "50".to_owned())]);
    let ask = by_offset(CountedEnd::EmptyPage).ask(&PageAt::Number(300)).unwrap();
    assert_eq!(ask.query, [("offset".to_owned(), "300".to_owned()), ("limit".to_owned(), "100".to_owned())]);
    assert!(by_token().ask(&PageAt::Start).unwrap().query.is_empty());
    assert_eq!(by_token().ask(&PageAt::Token("t1".to_owned())).unwrap().query, [("cursor".to_owned(), "t1".to_owned())]);
    let header =
        pager(PagingKind::PageToken { token: path("next"), place: TokenPlace::Header(HeaderName::from_static("x-next")) });
    assert_eq!(header.ask(&PageAt::Token("t1".to_owned())).unwrap().headers[0].1, "t1");
    // S-18
    assert!(header.ask(&PageAt::Token("t1\r\nX-Evil: 1".to_owned())).is_err());
    assert!(by_token().ask(&PageAt::Number(1)).is_err());
    assert!(pager(PagingKind::None).ask(&PageAt::Url("https://api.example.com/".to_owned())).is_err());
}

#[test]
fn only_body_paths_are_wanted_of_the_decoder() {
    assert_eq!(by_token().wanted(), [path("meta.next")]);
    assert_eq!(by_offset(CountedEnd::Total(path("meta.total"))).wanted(), [path("meta.total")]);
    assert!(by_offset(CountedEnd::Total(path("header.X-Total"))).wanted().is_empty());
    assert!(by_page(CountedEnd::EmptyPage).wanted().is_empty());
}

#[test]
fn an_offset_advances_by_what_came() {
    // C-25: asked for 100, the server caps at 30.
    let next = step(&by_offset(CountedEnd::EmptyPage), &PagePosition::start(), &envelope(30, &[])).unwrap().unwrap();
    assert_eq!(next, at(30, 1, 30));
    let next = step(&by_offset(CountedEnd::EmptyPage), &next, &envelope(30, &[])).unwrap().unwrap();
    assert_eq!(next, at(60, 2, 60));
}

#[test]
fn a_last_page_that_is_exactly_full_is_followed_by_an_empty_one() {
    // C-27
    for pager in [by_offset(CountedEnd::EmptyPage), by_page(CountedEnd::EmptyPage), by_page(CountedEnd::ShortPage)] {
        let (pages, error) = walk(&pager, |index| envelope(if index < 3 { 50 } else { 0 }, &[]));
        assert_eq!((pages, error), (4, None));
    }
    let (pages, error) = walk(&by_offset(CountedEnd::Total(path("total"))), |_| envelope(50, &[("total", digits("150"))]));
    assert_eq!((pages, error), (3, None));
}

#[test]
fn a_short_page_ends_only_where_that_is_said() {
    assert!(step(&by_page(CountedEnd::EmptyPage), &PagePosition::start(), &envelope(3, &[])).unwrap().is_some());
    let (pages, error) = walk(&by_page(CountedEnd::ShortPage), |index| envelope([50, 50, 3][index as usize], &[]));
    assert_eq!((pages, error), (3, None));
}

#[test]
fn a_short_page_that_is_no_shorter_than_those_before_it_is_not_the_last() {
    // C-25: asked for 50, the server caps at 30.
    for pager in [by_page(CountedEnd::ShortPage), by_offset(CountedEnd::ShortPage)] {
        let (pages, error) = walk(&pager, |index| envelope(if index < 3 { 30 } else { 12 }, &[]));
        assert_eq!((pages, error), (4, None));
        // Another account may be capped lower: what is known by then says nothing of the next sequence.
        let (pages, error) = walk(&pager, |index| envelope(if index < 3 { 20 } else { 5 }, &[]));
        assert_eq!((pages, error), (4, None));
        let (pages, error) = walk(&pager, |index| envelope(if index < 3 { 30 } else { 0 }, &[]));
        assert_eq!((pages, error), (4, None));
    }
    // The first of all pages may be the last: only the one behind it can tell.
    let pager = by_page(CountedEnd::ShortPage);
    let next = step(&pager, &PagePosition::start(), &envelope(3, &[])).unwrap().unwrap();
    assert!(pager.is_behind_a_short_page(&next));
    assert!(!pager.is_behind_a_short_page(&at(2, 1, 50)) && !pager.is_behind_a_short_page(&PagePosition::start()));
    assert!(!by_page(CountedEnd::EmptyPage).is_behind_a_short_page(&next));
    assert!(step(&pager, &next, &envelope(0, &[])).unwrap().is_none());
    assert!(step(&pager, &PagePosition::start(), &envelope(2, &[])).unwrap().is_some());
    // Below parents a request each would be as many again.
    let parent = ParentAt { page: PagePosition::start(), nth: 0, record: None, identity: None };
    let below = PagePosition { parent: Some(Arc::new(parent)), ..PagePosition::start() };
    let ends = |pager: &Pager| step(pager, &below, &envelope(3, &[])).unwrap().is_none();
    assert!(!ends(&pager));
    assert!(step(&pager, &PagePosition::start(), &envelope(50, &[])).unwrap().is_some());
    assert!(ends(&pager), "the server gives as many as it is asked for");
    assert!(step(&pager, &PagePosition::start(), &envelope(3, &[])).unwrap().is_some(), "of another account, maybe not");
}

#[test]
fn a_total_of_nothing_beside_records_is_no_end() {
    for (pager, what) in
        [(by_offset(CountedEnd::Total(path("n"))), "0 records"), (by_page(CountedEnd::TotalPages(path("n"))), "0 pages")]
    {
        let error = step(&pager, &PagePosition::start(), &envelope(10, &[("n", digits("0"))])).unwrap_err();
        assert!(error.message.contains(what) && error.kind == ErrorKind::Data, "{error:?}");
        assert_eq!(step(&pager, &PagePosition::start(), &envelope(0, &[("n", digits("0"))])).unwrap(), None);
    }
}

#[test]
fn a_total_may_change_while_it_is_paged() {
    // C-32
    let totals = ["150", "120", "90"];
    let (pages, error) =
        walk(&by_offset(CountedEnd::Total(path("total"))), |index| envelope(40, &[("total", digits(totals[index as usize]))]));
    assert_eq!((pages, error), (3, None));
}

#[test]
fn totals_of_pages_and_booleans_end_too() {
    let (pages, error) = walk(&by_page(CountedEnd::TotalPages(path("pages"))), |_| envelope(1, &[("pages", text("4"))]));
    assert_eq!((pages, error), (4, None));
    let more = |index| envelope(1, &[("more", Captured::Boolean(index < 2))]);
    assert_eq!(walk(&by_page(CountedEnd::More(path("more"))), more), (3, None));
}

#[test]
fn a_last_page_that_was_promised_and_is_empty_is_an_error() {
    // 8 pages of an API that counts from 0, read from 1 on.
    let answer = |index| envelope([100, 100, 100, 100, 100, 100, 30, 0][index as usize], &[("pages", digits("8"))]);
    let (pages, error) = walk(&by_page(CountedEnd::TotalPages(path("pages"))), answer);
    assert_eq!(pages, 8);
    assert!(error.unwrap().contains("`pages` tells of 8 pages, and the last of them is empty"));
    // Nothing at all is one page of nothing, an empty page on the way is none of its business, and what vanished is not promised.
    let pager = by_page(CountedEnd::TotalPages(path("pages")));
    assert_eq!(walk(&pager, |_| envelope(0, &[("pages", digits("1"))])), (1, None));
    assert_eq!(walk(&pager, |index| envelope(if index == 1 { 0 } else { 9 }, &[("pages", digits("3"))])), (3, None));
    let vanished = |index| envelope([100, 100, 0][index as usize], &[("pages", digits(["3", "3", "2"][index as usize]))]);
    assert_eq!(walk(&pager, vanished), (3, None));
}

#[test]
fn a_total_that_tells_what_is_left_is_an_error() {
    let left = |index: u64, totals: &[u64]| envelope(100, &[("total", digits(&totals[index as usize].to_string()))]);
    let pager = by_offset(CountedEnd::Total(path("total")));
    let (pages, error) = walk(&pager, |index| left(index, &[730, 630, 530, 430, 330]));
    assert_eq!(pages, 5);
    assert!(error.unwrap().contains("tells what is left, `330` with this page"));
    // Records that vanish meanwhile, a total of each page, and one whose pages are all read.
    for totals in [&[730, 630, 530, 429, 330][..], &[730, 730, 530, 430, 330], &[730, 730, 730, 730, 730, 730, 730, 730]] {
        assert_eq!(walk(&pager, |index| left(index, totals)).1, None, "{totals:?}");
    }
    assert_eq!(walk(&pager, |index| left(index, &[200, 100])), (2, None));
}

#[test]
fn a_total_that_may_count_the_page_is_in_doubt() {
    let doubt = |pager: &Pager, at: &PagePosition, records, total| {
        let envelope = envelope(records, &[("total", digits(total))]);
        let doubt = pager.doubt_of_total(at, &envelope, &HeaderMap::new());
        assert_eq!(pager.ending(at, &envelope, &HeaderMap::new()).doubt, doubt);
        doubt.is_some_and(|doubt| doubt.contains("it counts those of a page"))
    };
    let (by_page, start) = (by_page(CountedEnd::Total(path("total"))), PagePosition::start());
    assert!(doubt(&by_page, &start, 50, "50"));
    assert!(doubt(&by_offset(CountedEnd::Total(path("total"))), &start, 100, "100"));
    // A page that is not full, one of many, the last of several, and ends that are told otherwise.
    assert!(!doubt(&by_page, &start, 49, "49") && !doubt(&by_page, &start, 50, "51"));
    assert!(!doubt(&by_page, &at(2, 1, 50), 50, "100"));
    assert!(!doubt(&self::by_page(CountedEnd::TotalPages(path("total"))), &start, 50, "50"));
}

#[test]
fn an_empty_page_whose_token_leads_to_itself_is_the_end() {
    let answer = |index: u64| envelope(if index < 3 { 5 } else { 0 }, &[("meta.next", digits(&index.min(2).to_string()))]);
    assert_eq!(walk(&by_token(), answer), (4, None));
}

#[test]
fn an_end_that_cannot_be_found_is_an_error() {
    for (end, key) in [
        (CountedEnd::More(path("meta.x")), "more"),
        (CountedEnd::Total(path("meta.x")), "total"),
        (CountedEnd::TotalPages(path("meta.x")), "total_pages"),
    ] {
        for captured in [&[][..], &[("meta.x", Captured::Null)], &[("meta.x", text("many"))], &[("meta.x", Captured::Nested)]] {
            let error = step(&by_page(end.clone()), &PagePosition::start(), &envelope(1, captured)).unwrap_err();
            assert!(error.message.contains(key) && error.message.contains("`meta.x`"), "{}", error.message);
        }
    }
}

#[test]
fn an_offset_that_cannot_move_is_an_error() {
    let answer = |index| envelope(if index < 2 { 100 } else { 0 }, &[("total", digits("1000"))]);
    let (pages, error) = walk(&by_offset(CountedEnd::Total(path("total"))), answer);
    assert_eq!(pages, 3);
    assert!(error.unwrap().contains("offset `200` is empty"));
}

#[test]
fn tokens_end_with_nothing() {
    for captured in
        [&[][..], &[("meta.next", Captured::Null)], &[("meta.next", text(""))], &[("meta.next", Captured::Boolean(false))]]
    {
        assert!(step(&by_token(), &PagePosition::start(), &envelope(1, captured)).unwrap().is_none());
    }
    let next = step(&by_token(), &PagePosition::start(), &envelope(7, &[("meta.next", digits("12"))])).unwrap().unwrap();
    assert_eq!(next, PagePosition { index: 1, records_before: 7, at: PageAt::Token("12".to_owned()), parent: None });
    assert!(step(&by_token(), &PagePosition::start(), &envelope(1, &[("meta.next", Captured::Nested)])).is_err());
}

#[test]
fn an_empty_page_in_the_middle_is_paged_over() {
    // C-26
    let answer = |index| match index {
        9 => envelope(1, &[]),
        _ => envelope(0, &[("meta.next", text(&format!("t{index}")))]),
    };
    assert_eq!(walk(&by_token(), answer), (10, None));
}

#[test]
fn empty_pages_that_promise_more_for_ever_are_an_error() {
    let (pages, error) = walk(&by_token(), |index| envelope(0, &[("meta.next", text(&format!("t{index}")))]));
    assert_eq!(pages, 11);
    assert!(error.unwrap().contains("`11` empty pages"));
}

#[test]
fn a_token_that_repeats_is_an_error() {
    // C-28
    let (pages, error) = walk(&by_token(), |_| envelope(1, &[("meta.next", text("same"))]));
    assert_eq!(pages, 2);
    assert!(error.unwrap().contains("token `same`"));
}

#[test]
fn tokens_that_go_in_a_circle_are_an_error() {
    // C-29
    for length in [2u64, 3, 7, 40] {
        let (pages, error) = walk(&by_token(), |index| envelope(1, &[("meta.next", text(&format!("t{}", index % length)))]));
        assert!(error.unwrap().contains("circle"));
        assert!(pages <= 4 * length + 4, "{length}: found after {pages} pages only");
    }
}

#[test]
fn sequences_side_by_side_do_not_disturb_each_other() {
    let pager = by_token();
    let answer = |at: &PagePosition| envelope(1, &[("meta.next", text(&format!("t{}", at.index)))]);
    let (mut one, mut other) = (PagePosition::start(), PagePosition::start());
    for _ in 0..50 {
        one = step(&pager, &one, &answer(&one)).unwrap().unwrap();
        // The same page decoded again, as after a retry.
        step(&pager, &other, &answer(&other)).unwrap();
        other = step(&pager, &other, &answer(&other)).unwrap().unwrap();
    }
}

#[test]
fn endless_paging_meets_its_bound() {
    let kind = PagingKind::Page {
        param: "page".to_owned(),
        start: 1,
        page_size: None,
        size_param: None,
        end: CountedEnd::EmptyPage,
        placed: Placed::Query,
    };
    let pager = Pager::new(Paging { kind, pages_max: 25, last: None, result_cap: None }, &ResponsePath::root());
    let (pages, error) = walk(&pager, |_| envelope(1, &[]));
    assert_eq!(pages, 25);
    assert!(error.unwrap().contains("`25` pages"));
}

#[test]
fn next_addresses_are_resolved_and_checked() {
    let pager = pager(PagingKind::NextUrl { url: path("links.next") });
    let next = |link: &str| step(&pager, &PagePosition::start(), &envelope(1, &[("links.next", text(link))]));
    let PageAt::Url(url) = next("?page=2").unwrap().unwrap().at else { panic!("no address") };
    assert_eq!(url, "https://api.example.com/v1/items?page=2");
    assert!(next("https://files.example.com/x").unwrap().is_some());
    assert!(next("").unwrap().is_none());
    // C-31 S-10
    let error = next("https://evil.example/?page=2").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Data);
    assert!(error.message.contains("allow_hosts") && !error.message.contains("page=2"), "{}", error.message);
    assert!(next("http://[").is_err());
}

#[test]
fn a_token_that_never_ends_is_ended_by_what_the_page_says() {
    let kind = PagingKind::PageToken { token: path("after"), place: TokenPlace::Param("cursor".to_owned()) };
    let pager = Pager::new(
        Paging { kind, pages_max: 1000, last: Some(LastPage { path: path("end"), is: true }), result_cap: None },
        &ResponsePath::root(),
    );
    assert!(pager.wanted().contains(&path("end")));
    let page = |end: Captured| envelope(10, &[("after", text("t")), ("end", end)]);
    assert!(step(&pager, &PagePosition::start(), &page(Captured::Boolean(false))).unwrap().is_some());
    assert_eq!(step(&pager, &PagePosition::start(), &page(Captured::Boolean(true))).unwrap(), None);
    let lacking = step(&pager, &PagePosition::start(), &envelope(10, &[("after", text("t"))])).unwrap_err();
    assert!(lacking.message.contains("`last` names a path that the answer does not have"), "{}", lacking.message);
}

#[test]
fn a_token_is_followed_for_as_long_as_the_page_says_that_there_is_more() {
    let kind = PagingKind::PageToken { token: path("after"), place: TokenPlace::Param("cursor".to_owned()) };
    let last = Some(LastPage { path: path("has_more"), is: false });
    let pager = Pager::new(Paging { kind, pages_max: 1000, last, result_cap: None }, &ResponsePath::root());
    assert!(pager.wanted().contains(&path("has_more")));
    let page = |more: bool, token: Captured| envelope(10, &[("after", token), ("has_more", Captured::Boolean(more))]);
    let start = PagePosition::start();
    assert!(step(&pager, &start, &page(true, text("t"))).unwrap().is_some());
    assert_eq!(step(&pager, &start, &page(false, text("t"))).unwrap(), None);
    assert_eq!(step(&pager, &start, &page(false, Captured::Null)).unwrap(), None);
    // What promises more and does not lead there must not pass for the end.
    let broken = step(&pager, &start, &page(true, Captured::Null)).unwrap_err();
    assert!(broken.message.contains("`has_more` promises more pages"), "{}", broken.message);
    let lacking = step(&pager, &start, &envelope(10, &[("after", text("t"))])).unwrap_err();
    assert!(lacking.message.contains("`more` names a path that the answer does not have"), "{}", lacking.message);
}

#[test]
fn a_header_beyond_ascii_leads_on_and_one_that_cannot_be_read_is_no_end() {
    let by_token = || {
        let kind = PagingKind::PageToken { token: path("header.X-Next"), place: TokenPlace::Param("cursor".to_owned()) };
        Paging { kind, pages_max: 1000, last: None, result_cap: None }
    };
    let pager = |paging: Paging| Pager::new(paging, &ResponsePath::root());
    let by_url = || Paging { kind: PagingKind::NextUrl { url: path("header.X-Next") }, ..by_token() };
    let ending = |is: bool| Paging { last: Some(LastPage { path: path("header.X-Next"), is }), ..by_token() };
    let told = |pager: &Pager, value: &[u8]| {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-next"), HeaderValue::from_bytes(value).unwrap())]);
        step_by(pager, &PagePosition::start(), &envelope(5, &[]), &headers)
    };
    let next = |paging: Paging, value: &str| told(&pager(paging), value.as_bytes()).unwrap().map(|next| next.at);
    assert_eq!(next(by_token(), "Zoë"), Some(PageAt::Token("Zoë".to_owned())));
    let address = "https://api.example.com/v1/items?after=Zo%C3%AB";
    assert_eq!(next(by_url(), "?after=Zoë"), Some(PageAt::Url(address.to_owned())));
    let counted = [CountedEnd::Total, CountedEnd::TotalPages, CountedEnd::More].map(|end| by_page(end(path("header.X-Next"))));
    let others = [by_token(), by_url(), ending(true), ending(false)].map(pager);
    for pager in counted.iter().chain(&others) {
        // Latin-1.
        let error = told(pager, b"Zo\xeb").unwrap_err();
        assert!(error.message.ends_with("the header `x-next` cannot be read, it is not UTF-8"), "{}", error.message);
        assert_eq!(error.kind, ErrorKind::Data);
    }
    assert_eq!(step(&pager(by_token()), &PagePosition::start(), &envelope(5, &[])).unwrap(), None, "nothing is the end");
}
