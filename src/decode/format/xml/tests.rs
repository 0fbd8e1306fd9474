use proptest::prelude::*;

use crate::config::catalog::{DeclaredType, Format, Xml};
use crate::decode::fixture::{page, spec_at};
use crate::decode::tests::show::decode_one;
use crate::decode::{DecodeError, DecodeSpec, Decoded, Decoder};
use crate::error::ErrorKind;
use crate::page::{Captured, ResponsePath};
use crate::schema::ColumnType;

fn plain() -> Xml {
    Xml { keep_prefixes: false, lists: Vec::new() }
}

fn xml(records: &str, xml: Xml) -> DecodeSpec {
    DecodeSpec { format: Format::Xml(xml), ..spec_at(records) }
}

fn decode(spec: DecodeSpec, body: impl Into<Vec<u8>>) -> Result<Decoded, DecodeError> {
    Decoder::new(spec, None).expect("a decoder").decode(&page(body))
}

fn json(spec: DecodeSpec, body: impl Into<Vec<u8>>) -> String {
    String::from_utf8(decode(spec, body).expect("a page").raw.json().to_vec()).expect("text")
}

fn error(body: impl Into<Vec<u8>>) -> (ErrorKind, String) {
    let error = decode(xml("r.i", plain()), body).expect_err("no page");
    (error.kind, error.message)
}

#[test]
fn elements_are_fields_and_what_is_repeated_is_a_list() {
    let body = concat!(
        "<?xml version=\"1.0\"?><!-- by hand -->\n<r v='1'>\n",
        "  <i id=\"7\"><name>a &lt;b&gt; &amp; <![CDATA[<c>]]></name><tag>x</tag><n/><tag>y</tag></i>\n",
        "  <next>tok</next>\n  <i id=\"8\">mixed <b>bold</b> text</i>\n</r>\n"
    );
    let expected = concat!(
        r##"{"r":{"@v":"1","i":[{"@id":"7","name":"a <b> & <c>","tag":["x","y"],"n":null},"##,
        r##"{"@id":"8","b":"bold","#text":"mixed  text"}],"next":"tok"}}"##
    );
    assert_eq!(json(xml("r.i", plain()), body), expected);
}

#[test]
fn records_are_a_list_however_many_there_are() {
    assert_eq!(json(xml("r.i", plain()), "<r><i><a>1</a></i></r>"), r#"{"r":{"i":[{"a":"1"}]}}"#);
    assert_eq!(json(xml("r.i", plain()), "<r><a/></r>"), r#"{"r":{"a":null,"i":[]}}"#);
    assert_eq!(json(xml("r.i", plain()), "<r/>"), r#"{"r":{"i":[]}}"#);
    assert_eq!(json(xml("r.c.i", plain()), "<r><c>\n</c></r>"), r#"{"r":{"c":{"i":[]}}}"#);
    let (kind, message) = error("<s><i/></s>");
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Unavailable, "the body has no list of records at `r.i`; its fields are `s`")
    );
    let optional = DecodeSpec { records_optional: true, ..xml("r.c.i", plain()) };
    assert_eq!(decode(optional, "<r/>").expect("an empty page").envelope.records, 0);
}

#[test]
fn elements_can_be_said_to_be_lists() {
    let lists = vec![vec!["tag".to_owned()], vec!["a".to_owned(), "b".to_owned()]];
    let body = "<r><i><tag>x</tag><a><b>1</b><c>2</c></a></i><i><a><b/><b>2</b></a><a/></i><tag>no record</tag></r>";
    let expected =
        concat!(r#"{"r":{"i":[{"tag":["x"],"a":{"b":["1"],"c":"2"}},{"a":[{"b":[null,"2"]},null]}],"#, r#""tag":"no record"}}"#);
    assert_eq!(json(xml("r.i", Xml { lists, ..plain() }), body), expected);
}

#[test]
fn prefixes_are_stripped_or_kept_and_nil_is_null() {
    let body = "<a:r xmlns:a='urn:a' xmlns='urn:b'><i x:id='1' xmlns:x='urn:x'><x:n x:nil='true'> </x:n><n>2</n></i></a:r>";
    assert_eq!(json(xml("r.i", plain()), body), r#"{"r":{"i":[{"@id":"1","n":[null,"2"]}]}}"#);
    let keep = Xml { keep_prefixes: true, ..plain() };
    assert_eq!(json(xml("a:r.i", keep), body), r#"{"a:r":{"i":[{"@x:id":"1","x:n":null,"n":"2"}]}}"#);
}

#[test]
fn what_is_around_the_records_is_captured() {
    let wanted = vec![ResponsePath::parse("r.page.@next").expect("a path"), ResponsePath::parse("r.total").expect("a path")];
    let spec = DecodeSpec { wanted: wanted.clone(), ..xml("r.page.i", plain()) };
    let decoded = decode(spec, "<r><page next='t&#x41;2'><i/><i><a>1</a></i></page><total>2</total></r>").expect("a page");
    assert_eq!(decoded.envelope.captured[&wanted[0]], Captured::Text("tA2".to_owned()));
    assert_eq!(decoded.envelope.captured[&wanted[1]], Captured::Text("2".to_owned()));
    assert_eq!((decoded.envelope.records, decoded.rejects.len()), (2, 1));
    assert_eq!(decoded.raw.get(1), br#"{"a":"1"}"#);
}

#[test]
fn declared_types_read_the_texts() {
    let declared = [
        ("n", DeclaredType::Column(ColumnType::Int64)),
        ("p", DeclaredType::Column(ColumnType::Decimal { precision: 9, scale: 2 })),
        ("b", DeclaredType::Column(ColumnType::Boolean)),
    ];
    let declared = declared.into_iter().map(|(name, declared)| (name.to_owned(), declared)).collect();
    let spec = DecodeSpec { declared, ..xml("r.i", plain()) };
    let (columns, shown) = decode_one(spec, "<r><i><n>12</n><p>1.50</p><b>false</b><at>2026-01-31T00:00:00Z</at></i></r>");
    assert_eq!(columns, ["b boolean", "n int64", "p decimal(9,2)", "at timestamp"]);
    assert_eq!(shown.len(), 1);
}

#[test]
fn the_declaration_says_what_the_bytes_mean() {
    let western = b"<?xml version='1.0' encoding='ISO-8859-1'?><r><i><a>\xe9</a></i></r>".to_vec();
    assert_eq!(json(xml("r.i", plain()), western), r#"{"r":{"i":[{"a":"é"}]}}"#);
    let wide: Vec<u8> =
        "<?xml version='1.0' encoding='utf-16'?><r><i><a>é</a></i></r>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(json(xml("r.i", plain()), wide), r#"{"r":{"i":[{"a":"é"}]}}"#);
    let wrong = "<?xml version='1.0' encoding='utf-16'?><r><i><a>é</a></i></r>";
    assert_eq!(json(xml("r.i", plain()), wrong), r#"{"r":{"i":[{"a":"é"}]}}"#);
    assert_eq!(error("<?xml version='1.0' encoding='klingon'?><r/>").1, "the document's encoding is not known: `klingon`");
    assert_eq!(error(b"<r>\xff</r>".to_vec()).0, ErrorKind::Data);
}

#[test]
fn entities_and_documents_that_declare_them_are_refused() {
    // S-22
    let doctype = "the document has a DOCTYPE, which is refused: entities could make it read files or burst";
    let bodies = [
        "<!DOCTYPE r [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><r><i><a>&x;</a></i></r>",
        "<!DOCTYPE r SYSTEM \"http://evil.example/x.dtd\"><r/>",
        "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;\">]><r><i>&lol2;</i></r>",
    ];
    for body in bodies {
        assert_eq!(error(body), (ErrorKind::Data, doctype.to_owned()), "{body}");
    }
    assert_eq!(error("<r><i>&x;</i></r>").1, "the document uses an entity that XML does not have: `x`");
    assert_eq!(error("<r><i a='&x;'/></r>").0, ErrorKind::Unavailable);
}

#[test]
fn what_would_take_too_much_is_refused() {
    let deep = format!("<r>{}{}</r>", "<a>".repeat(100_000), "</a>".repeat(100_000));
    assert_eq!(error(deep).1, "elements are nested deeper than `60`");
    let attributes: String = (0..300).map(|number| format!(" a{number}='1'")).collect();
    assert_eq!(error(format!("<r><i{attributes}/></r>")).1, "`i` has more than `256` attributes");
    let names: String = (0..10_001).map(|number| format!("<n{number}/>")).collect();
    assert!(error(format!("<r>{names}</r>")).1.contains("more than `10000` names"));
    assert!(error(format!("<r><{}/></r>", "n".repeat(2_000))).1.contains("more than `1000` bytes"));
    let small = DecodeSpec { body_max: 100_000, ..xml("r.i", plain()) };
    let error = decode(small, format!("<r>{}</r>", "<a_rather_long_name/>".repeat(5_000))).expect_err("too much");
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.message.contains("body_max"), "{error}");
    let deepest = format!("<r><i>{}{}</i></r>", "<a>".repeat(58), "</a>".repeat(58));
    assert!(decode(xml("r.i", plain()), deepest).is_ok());
}

#[test]
fn every_cut_of_a_document_is_noticed() {
    let body = "<?xml version=\"1.0\"?><r a='&amp;'><!-- x --><i><a>&#65;b</a><![CDATA[x]]></i><i/></r>";
    for cut in 0..body.len() {
        assert_eq!(error(&body[..cut]).0, ErrorKind::Unavailable, "{}", &body[..cut]);
    }
}

#[test]
fn what_is_no_document_is_fetched_again() {
    let cases = [
        ("", "the body is empty"),
        ("{\"error\":\"no\"}", "the body is not XML; it begins with `{\"error\":\"no\"}`"),
        ("<!DOCTYPE html><html></html>", "the body is HTML, not XML"),
        ("<r><i></r>", "the body is not XML: "),
        ("</r>", "the body is not XML: "),
        ("<r/><r/>", "there is more after the end of the document"),
        ("<r/>x", "the body is not XML: there is text outside of the document"),
        ("<r a=1/>", "the body is not XML: "),
        ("<r a='1' a='2'/>", "the body is not XML: "),
        ("<?xml version='1.0'?>", "the document has no element"),
    ];
    for (body, message) in cases {
        let (kind, found) = error(body);
        assert_eq!(kind, ErrorKind::Unavailable, "{body}: {found}");
        assert!(found.starts_with(message), "{body}: {found}");
    }
}

/// Records of plain texts, and the XML that somebody would write of them.
fn written(records: &[Vec<(String, String)>]) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('\r', "&#13;");
    let mut body = "<r>\n".to_owned();
    for record in records {
        body.push_str(" <i>");
        record.iter().for_each(|(name, text)| body.push_str(&format!("<{name}>{}</{name}>", escape(text))));
        body.push_str("</i>\n");
    }
    body + "</r>"
}

proptest! {
    #[test]
    fn what_is_written_by_hand_comes_back(
        records in prop::collection::vec(prop::collection::btree_map("[a-z]{1,3}", "[a-z<>&\"'\u{e9}\u{1f600}\\\\\n\r ]{0,6}x", 1..5), 0..5),
    ) {
        let records: Vec<Vec<(String, String)>> = records.into_iter().map(|record| record.into_iter().collect()).collect();
        let document: serde_json::Value = serde_json::from_str(&json(xml("r.i", plain()), written(&records))).expect("JSON");
        let expected: Vec<serde_json::Value> = records
            .iter()
            .map(|record| record.iter().map(|(name, text)| (name.clone(), serde_json::Value::from(text.as_str()))).collect())
            .collect();
        prop_assert_eq!(&document["r"]["i"], &serde_json::Value::from(expected));
    }

    #[test]
    fn what_comes_out_is_always_json(body in "(<[/?!]?[a-c:]{0,2}( a='[&x;]?')?/?>|[x ]|&lt;|&#6;|<!\\[CDATA\\[|\\]\\]>|<!--|-->){0,12}") {
        for body in [body.clone(), format!("<r>{body}</r>"), format!("<r><i>{body}</i></r>")] {
            let lists = vec![vec!["a".to_owned()], vec!["b".to_owned(), "a".to_owned()]];
            let plan = crate::decode::spec::Plan::new(&xml("r.i", Xml { lists, ..plain() })).expect("a plan");
            if let Ok(text) = crate::decode::format::to_json(&bytes::Bytes::from(body.clone()), &plan) {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&text.json).is_ok(), "{}", body);
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
        let inside = [b"<r><i>", body.as_slice()].concat();
        for body in [body, inside] {
            let result = decode(xml("r.i", plain()), body);
            prop_assert!(result.is_ok() || result.is_err());
        }
    }
}
